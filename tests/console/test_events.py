from __future__ import annotations

import json
import socket
import time
from contextlib import asynccontextmanager
from functools import partial

import h11
import httpx
import pytest
import trio
from looked_at import MadeUp, stream_detail

from ingest_actors.console import events as events_module
from ingest_actors.console import server as server_module
from ingest_actors.console import view as view_module
from ingest_actors.console.http import serve_http


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pictures are made as fast as they can be."""
    monkeypatch.setattr(view_module, "TICK_S", 0.01)
    monkeypatch.setattr(view_module, "SHARE_MAX", 1000.0)


@pytest.fixture
def made_up():
    return MadeUp([stream_detail("btcusdt@trade"), stream_detail("ethusdt@trade")])


@pytest.fixture
def serve(nursery, status, made_up):
    async def start(look=lambda: status, **options):
        options = {"host": "127.0.0.1", "port": 0, "instance": "binance-ingest", "details": made_up} | options
        return await nursery.start(partial(serve_http, look, **options))

    return start


class Answer:
    """The answer to one who asks for events, read line by line."""

    def __init__(self, stream):
        self._stream, self._protocol, self._rest = stream, h11.Connection(h11.CLIENT), b""
        self.status_code, self.headers = 0, {}

    async def ask(self, query):
        request = h11.Request(method="GET", target="/events" + query, headers=[("host", "x")])
        await self._stream.send_all(self._protocol.send(request) + self._protocol.send(h11.EndOfMessage()))
        head = await self._event()
        self.status_code = head.status_code
        self.headers = {name.decode(): value.decode() for name, value in head.headers}

    async def line(self):
        """The next line; None at the end."""
        while b"\n" not in self._rest:
            event = await self._event()
            if not isinstance(event, h11.Data):
                return None
            self._rest += bytes(event.data)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def lines(self):
        """All that is left."""
        lines = []
        while (line := await self.line()) is not None:
            lines.append(line)
        return lines

    async def message(self):
        """The next message."""
        while True:
            line = await self.line()
            if line.startswith("data: "):
                return json.loads(line.removeprefix("data: "))

    async def _event(self):
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._stream.receive_some(65536))
        return event


@asynccontextmanager
async def listening(url, query=""):
    """Ask for events."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            answer = Answer(stream)
            await answer.ask(query)
            yield answer


async def test_an_onlooker_is_sent_everything_first_and_then_what_has_changed(serve, made_up):
    async with listening(await serve()) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert await answer.line() == "retry: 500"
        first = await answer.message()
        assert {"at", "tone", "whole", "fresh", "figures", "pages", "table-streams", "table-journal"} <= first.keys()
        assert first["whole"]["word"] == "Being repaired"
        assert [row[0] for row in first["table-streams"][0]] == ["BTCUSDT", "ETHUSDT"]
        made_up.streams_now[0] = stream_detail("btcusdt@trade", state="silent")
        second = await answer.message()
        assert second.keys() == {"table-streams"}
        assert second["table-streams"][0][0][2] == ["silent", "bad"]


async def test_an_onlooker_sees_the_part_that_was_asked_for(serve):
    async with listening(await serve(), "?q=eth&page=7") as answer:
        parts = await answer.message()
    assert [row[0] for row in parts["table-streams"][0]] == ["ETHUSDT"]
    assert parts["pages"] == [1, 1]


async def test_a_service_without_particulars_has_no_streams_to_show(serve):
    async with listening(await serve(details=None)) as answer:
        parts = await answer.message()
    assert "table-streams" not in parts
    assert parts["table-connections"][0][0][0] == "ws-1"


async def test_a_quiet_service_is_heard_of_by_comments(serve, monkeypatch):
    monkeypatch.setattr(events_module, "HEARTBEAT_S", 0.0)
    async with listening(await serve()) as answer:
        await answer.message()
        assert [await answer.line(), await answer.line()] == ["", ": nothing new"]


async def test_there_is_room_for_so_many_pages_and_the_next_is_told(serve, monkeypatch):
    monkeypatch.setattr(events_module, "CLIENTS_MAX", 1)
    url = await serve()
    async with listening(url) as answer:
        await answer.message()
        async with listening(url) as refused:
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            assert "1 pages are kept up to date already; close one" in "".join(await refused.lines())
    while True:  # the place is free as soon as the server has noticed
        async with listening(url) as answer:
            if answer.status_code == 200:
                break


async def test_an_answer_ends_by_itself_so_that_a_vanished_client_keeps_no_place(serve, monkeypatch):
    monkeypatch.setattr(events_module, "LIFE_S", 0.05)
    async with listening(await serve()) as answer:
        with trio.fail_after(5):
            assert "data: " in "".join(await answer.lines())


async def test_who_only_asks_for_the_head_is_not_sent_events(serve):
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.head(await serve() + "/events")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_onlookers_are_told_of_the_end_and_delay_it_by_nothing(status, made_up):
    heard = []
    async with trio.open_nursery() as listeners, trio.open_nursery() as nursery:
        serve = partial(serve_http, host="127.0.0.1", port=0, instance="x", details=made_up)
        url = await nursery.start(partial(serve, lambda: status))

        async def listen(task_status):
            async with listening(url) as answer:
                await answer.message()
                task_status.started()
                heard.extend(await answer.lines())

        await listeners.start(listen)
        began = time.monotonic()
        nursery.cancel_scope.cancel()
    assert "event: bye" in heard
    assert time.monotonic() - began < server_module.SHUTDOWN_MAX_S


async def stuck_client(url):
    """A client that asks for events and reads nothing; and what it is sent is never the same."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await trio.to_thread.run_sync(sock.connect, (host, int(port)))
    sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    return sock


@pytest.fixture
def restless(make_status, status):
    """Looks at a service of which everything changes all the time; counts the looks."""
    looks = []

    def look():
        looks.append(None)
        entry = status.ledger["depth_update"]
        changed = type(entry)(received=len(looks), in_flight=len(looks))
        return make_status(ledger={f"kind_{n}_{'x' * 200}": changed for n in range(100)})

    look.looks = looks
    return look


async def blocked(looks):
    """Until nothing more can be sent to anybody."""
    before = -1
    while len(looks) != before:
        before = len(looks)
        await trio.sleep(0.3)


async def test_a_client_that_does_not_read_costs_nothing_and_delays_no_end(restless, made_up):
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, restless, host="127.0.0.1", port=0, instance="x", details=made_up)
        sock = await stuck_client(await nursery.start(serve))
        await blocked(restless.looks)
        assert restless.looks
        began = time.monotonic()
        nursery.cancel_scope.cancel()
    assert time.monotonic() - began < 2
    sock.close()


async def test_a_client_that_does_not_read_is_hung_up_on_after_a_while(restless, serve, monkeypatch):
    monkeypatch.setattr(events_module, "CLIENTS_MAX", 1)
    monkeypatch.setattr(server_module, "SEND_MAX_S", 0.2)
    url = await serve(restless)
    sock = await stuck_client(url)
    with trio.fail_after(20):
        while not restless.looks:  # noqa: ASYNC110 - the service is looked at from outside
            await trio.sleep(0.01)
        while True:
            async with listening(url) as answer:
                if answer.status_code == 200:
                    break
            await trio.sleep(0.05)
    sock.close()


async def test_pictures_are_made_more_seldom_where_they_cost_more(status, monkeypatch, autojump_clock):
    monkeypatch.setattr(view_module, "TICK_S", 1.0)
    monkeypatch.setattr(view_module, "SHARE_MAX", 1e-9)
    looks = []
    view = view_module.View(lambda: looks.append(None) or status, None)
    for _ in range(100):
        view.board()
    assert (len(looks), view.tick_s) == (1, view_module.TICK_MAX_S)


async def test_latencies_are_of_the_last_minute(status, autojump_clock):
    view = view_module.View(lambda: status, None)
    histogram = status.tallies.latency["ack"]

    def acknowledged():
        view.tick_s = 0.0
        return next(figure for figure in view.board().figures if figure.name == "Kafka acknowledges in").value

    assert acknowledged() == "1.8 ms"  # of all since the start, as nobody has looked before
    for _ in range(30):
        await trio.sleep(5)
        histogram.observe(0.4, 10)
        last = acknowledged()
    assert last == "375 ms"
