"""A service to be looked at: its particulars, made up, and a server for it in a thread of its own."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial

import trio

from ingest_actors.console.http import serve_http
from ingest_actors.details import ConnectionDetail, GapSums, Happening, JournalEntry, StreamDetail

NOW_MS = 1_700_000_100_000


def stream_detail(name="btcusdt@trade", **changes):
    fields = {
        "name": name,
        "symbol": name.partition("@")[0].upper(),
        "event_type": name.partition("@")[2],
        "connection": "ws-1",
        "state": "flowing",
        "age_s": 0.4,
        "next_id": 1000,
        "by_ones": True,
        "gap_s": 1.0,
        "gaps_open": 0,
        "gaps_closed": 0,
        "gaps_lost": 0,
        "ids_lost": 0,
    }
    return StreamDetail(**(fields | changes))


def connection_detail(name="ws-1", **changes):
    fields = {
        "name": name,
        "url": "wss://stream.example:9443/stream",
        "state": "open",
        "role": "",
        "streams": 20,
        "acknowledged": 20,
        "age_s": 90.0,
        "rotation_in_s": 80_000.0,
        "heard_s": 0.2,
        "failures": 0,
        "held_up": False,
    }
    return ConnectionDetail(**(fields | changes))


def journal_entry(state="closed", **changes):
    fields = {
        "at_ms": NOW_MS - 60_000,
        "state": state,
        "stream": "btcusdt@trade",
        "event_type": "trade",
        "first_id": 100,
        "last_id": 139,
        "missing": 40,
        "recovered": 40,
        "reason": "disconnected",
        "resolved_by": "rest_backfill",
    }
    return JournalEntry(**(fields | changes))


class MadeUp:
    """Particulars that a test has made up; `streams_now` may change while it is looked at."""

    def __init__(self, streams=(), **changes):
        self.streams_now = list(streams)
        self.draining = False
        self.buffer_bytes_max = 64 * 1024 * 1024
        self.ids_missing = 0
        self.connections_now = [connection_detail("ws-1"), connection_detail("ws-2")]
        self.journal_now: list[JournalEntry] = []
        self.happenings_now: list[Happening] = []
        self.sums: dict[str, GapSums] = {}
        self.looks = 0
        vars(self).update(changes)

    def streams(self, chunk):
        self.looks += 1
        for start in range(0, len(self.streams_now), chunk):
            yield self.streams_now[start : start + chunk]

    def again(self, streams):
        now = {stream.name: stream for stream in self.streams_now}
        return [now.get(stream.name, stream) for stream in streams]

    def connections(self):
        return self.connections_now

    def journal(self):
        return self.journal_now

    def happenings(self):
        return self.happenings_now

    def gap_sums(self):
        return self.sums


@contextmanager
def served(status, **options):
    """Serve in a thread, for a browser; gives the URL, and a function that ends it."""
    started, scopes, urls, token = threading.Event(), [], [], []

    async def run():
        with trio.CancelScope() as scope:
            scopes.append(scope)
            token.append(trio.lowlevel.current_trio_token())
            async with trio.open_nursery() as nursery:
                serve = partial(serve_http, status, host="127.0.0.1", port=0, instance="binance-ingest", **options)
                urls.append(await nursery.start(serve))
                started.set()

    thread = threading.Thread(target=trio.run, args=(run,), daemon=True)
    thread.start()
    assert started.wait(10)

    def end():
        if thread.is_alive():
            token[0].run_sync_soon(scopes[0].cancel)
        thread.join(10)

    try:
        yield urls[0], end
    finally:
        end()
