"""A broker that does not answer at full feed: memory is bounded, pings are answered, nothing is lost, flow resumes.

``INGEST_PAUSE_SECONDS`` makes the outage of the first test longer; ``--log-cli-level=INFO`` shows the figures.
"""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest
from numbered_trades import SYMBOLS, Trades, numbers_of
from raw_exchange import frame
from service_process import wait_until

pytestmark = pytest.mark.broker
log = logging.getLogger(__name__)

PAUSE_S = float(os.environ.get("INGEST_PAUSE_SECONDS", "10"))
MIB = 1024 * 1024
BUFFER_BYTES = 64 * MIB
SMALL_BUFFER = {"BUFFER_MAX_BYTES": "8MiB"}


def wait_until_blocked(service, still_s=1.0):
    """Until nothing enters the pipeline any more; how many events have."""
    received, since_s = -1, 0.0
    deadline = time.monotonic() + 60
    while received != (now := service.total("received")) or time.monotonic() < since_s + still_s:
        assert time.monotonic() < deadline, "something still flows"
        if now != received:
            received, since_s = now, time.monotonic()
        time.sleep(0.05)
    return received


def test_at_full_feed_memory_stays_bounded_nothing_is_lost_and_the_flow_resumes(
    exchange, serve, pausable, paused_topics
):
    trades, stop = Trades(SYMBOLS), threading.Event()

    def script(client):
        for chunk in trades.chunks():
            client.send(chunk)
            if stop.is_set():
                break

    service = serve(exchange(script).settings, paused_topics.settings)
    before = service.rss_bytes()
    wait_until(lambda: service.total("delivered") > 10_000)
    pausable.pause()
    held = wait_until_blocked(service)
    time.sleep(PAUSE_S)
    assert service.running
    assert service.metrics()["mailbox_fill_ratio"]["frames"] > 0.9
    service.wait_for("kafka_unreachable", 1)
    assert service.buffer_peak_bytes <= BUFFER_BYTES
    assert service.rss_peak_bytes <= before + BUFFER_BYTES
    log.info(
        "resident: %.0f MiB before any event, at most %.0f MiB until %g s into the outage; buffers, by its own account:"
        " at most %.0f MiB; looked %d times",
        before / MIB, service.rss_peak_bytes / MIB, PAUSE_S, service.buffer_peak_bytes / MIB, service.looks,
    )  # fmt: skip

    pausable.resume()
    wait_until(lambda: service.total("delivered") > held + 10_000)
    service.wait_for("kafka_recovered", 1)
    stop.set()
    wait_until(lambda: service.total("delivered") == trades.made)
    ledger = service.stop()["ledger"]
    assert ledger["received"] == ledger["delivered"] == paused_topics.count("raw") == trades.made
    assert numbers_of(paused_topics.read("raw")) == trades.numbers()


def test_a_flood_of_what_cannot_be_parsed_stays_within_the_bound_too(exchange, serve, pausable, paused_topics):
    """A dead letter is many times as large in memory as what came."""
    flood = b"".join(frame(b'{"stream":"btcusdt@aggTrade","data":{"no":%d}}' % number) for number in range(1000))
    sent: list[int] = []
    stop = threading.Event()

    def script(client):
        while not stop.is_set():
            client.send(flood)
            sent.append(1000)

    service = serve(exchange(script).settings, paused_topics.settings)
    before = service.rss_bytes()
    wait_until(lambda: service.total("dead_lettered") > 5_000)
    pausable.pause()
    wait_until_blocked(service)
    assert service.rss_peak_bytes <= before + BUFFER_BYTES
    stop.set()
    pausable.resume()
    wait_until(lambda: service.total("dead_lettered") == sum(sent))
    assert service.rss_peak_bytes <= before + BUFFER_BYTES
    assert service.stop()["ledger"]["dead_lettered"] == paused_topics.count("dead_letters")
    assert len(service.log("dead_lettered")) < 200, "a flood fills the log"


def test_a_ping_that_was_read_is_answered_although_every_mailbox_is_full(exchange, serve, pausable, paused_topics):
    trades = Trades(SYMBOLS)
    raw = exchange(lambda client: None)
    service = serve(raw.settings, paused_topics.settings, SMALL_BUFFER)
    client = raw.client(1)
    client.send(trades.frames(500))
    wait_until(lambda: service.total("delivered") == trades.made)  # every series has begun
    pausable.pause()
    while service.metrics()["mailbox_fill_ratio"]["frames"] < 0.8:
        client.send(trades.frames(500))
    held = -1
    while held != (held := service.total("received")):
        client.send(trades.frames(200))
        time.sleep(0.3)

    answered_s: list[float] = []
    while (seconds := client.ping_s(b"%d" % trades.made, 3, ahead=trades.frames(20))) is not None:
        answered_s.append(seconds)
    assert service.total("received") == held, "the pipeline was not blocked after all"
    log.info("%d pings answered, the slowest after %.1f ms", len(answered_s), max(answered_s) * 1000)
    assert len(answered_s) > 20
    assert max(answered_s) < 1

    pausable.resume()
    wait_until(lambda: service.total("delivered") == trades.made)
    assert len(client.pongs) == len(answered_s) + 1, "the one that had to wait to be read is answered too"
    service.stop()
    assert numbers_of(paused_topics.read("raw")) == trades.numbers()


def test_a_reader_that_was_cut_because_it_stopped_reconnects_says_so_and_never_gives_up(
    exchange, serve, pausable, paused_topics
):
    """With MAX_RETRIES=1 the first end of a connection that counts as a failure is the service's end."""
    trades, stop = Trades(SYMBOLS), threading.Event()
    cuts: list[int] = []

    def script(client):
        for chunk in trades.chunks():
            if stop.is_set():
                break
            try:
                client.send(chunk, patience_s=1.5)
            except TimeoutError:
                cuts.append(client.number)
                client.cut()

    raw = exchange(script)
    retries = {"RECONNECT_INTERVAL": "0.2", "MAX_RETRIES": "1"}
    service = serve(raw.settings, paused_topics.settings, SMALL_BUFFER, retries)
    for outage in (1, 2):
        raw.client(outage)
        delivered = service.total("delivered")
        wait_until(lambda delivered=delivered: service.total("delivered") > delivered + 1000)
        pausable.pause()
        wait_until(lambda outage=outage: len(cuts) == outage)
        time.sleep(1)
        assert service.running
        pausable.resume()
        closed = service.wait_for("connection_closed", count=outage)
        assert closed["blocked_s"] > 1
        assert "cuts readers that stop" in closed["hint"]
        service.wait_for("reconnecting", count=outage)
        service.wait_for("connection_opened", count=outage + 1)
    raw.client(3)
    delivered = service.total("delivered")
    wait_until(lambda: service.total("delivered") > delivered + 1000)
    stop.set()
    time.sleep(0.5)
    assert service.reconnects() == {"blocked": 2}
    ledger = service.stop()["ledger"]
    assert ledger["received"] == ledger["delivered"] == paused_topics.count("raw")
    for numbers in numbers_of(paused_topics.read("raw")).values():
        assert numbers == sorted(set(numbers))
