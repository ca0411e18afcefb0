"""An outage with a spool, with real processes and a real broker: the socket is read all the while, nothing is lost.

All of it with at-least-once delivery: nothing is missing, and what was in flight when something was killed may come
twice, each time in order. ``INGEST_PAUSE_SECONDS`` makes the outages longer; ``--log-cli-level=INFO`` shows figures.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import threading
import time

import pytest
from numbered_trades import SYMBOLS, Trades, numbers_of, without_repeats
from service_process import wait_until

pytestmark = pytest.mark.broker
log = logging.getLogger(__name__)

PAUSE_S = float(os.environ.get("INGEST_PAUSE_SECONDS", "10"))
SECOND_WRITER_EXIT = 76
RATE = 4000
"""Trades a second: a market at its busiest, and less than the disk and the machine take."""


def ready_status(service):
    """What ``/readyz`` answers."""
    host = service.wait_for("http_listening")["url"].removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/readyz")
        return connection.getresponse().status


class Flow:
    """Numbered trades at a steady pace to whoever connects, until told to stop."""

    def __init__(self):
        self.trades = Trades(SYMBOLS)
        self.stop = threading.Event()
        self.late_s = 0.0

    def __call__(self, client):
        due = time.monotonic()
        while not self.stop.is_set():
            client.send(self.trades.frames(RATE // 50))
            due += 0.02
            self.late_s = max(self.late_s, time.monotonic() - due)
            time.sleep(max(0.0, due - time.monotonic()))


def test_while_kafka_is_paused_the_socket_is_read_and_all_of_it_arrives_in_order(
    exchange, serve, pausable, paused_topics, tmp_path
):
    flow = Flow()
    service = serve(exchange(flow).settings, paused_topics.settings, SPOOL_DIR=str(tmp_path / "spool"))
    wait_until(lambda: service.total("delivered") > RATE)
    pausable.pause()
    service.wait_for("spool_started")
    time.sleep(PAUSE_S)
    received, made = service.total("received"), flow.trades.made
    assert received > made - RATE, "the socket is read"
    metrics = service.metrics()
    assert metrics["spool_bytes"][""] > RATE * PAUSE_S * 150
    assert service.total("spooled") > (PAUSE_S - 1) * RATE
    assert ready_status(service) == 200, "the spool accepts"
    resumed = time.monotonic()
    pausable.resume()
    drained = service.wait_for("spool_drained")
    log.info("%d events drained in %.1f s, live ones behind them", drained["events"], time.monotonic() - resumed)
    flow.stop.set()
    wait_until(lambda: service.total("delivered") == flow.trades.made)
    log.info("the exchange had to wait for %.2f s at most", flow.late_s)
    ledger = service.stop()["ledger"]
    assert ledger["spooled"] == ledger["recovered"] > 0
    assert ledger["received"] == ledger["delivered"] == paused_topics.count("raw") == flow.trades.made
    assert numbers_of(paused_topics.read("raw")) == flow.trades.numbers()


def test_a_broker_that_is_killed_and_comes_back_gets_everything_in_order(
    exchange, serve, pausable, paused_topics, tmp_path
):
    flow = Flow()
    service = serve(exchange(flow).settings, paused_topics.settings, SPOOL_DIR=str(tmp_path / "spool"))
    wait_until(lambda: service.total("delivered") > RATE)
    pausable.kill()
    service.wait_for("spool_started")
    time.sleep(5)
    pausable.restart()
    service.wait_for("spool_drained", 120)
    flow.stop.set()
    wait_until(lambda: service.total("delivered") == flow.trades.made)
    ledger = service.stop()["ledger"]
    assert ledger["received"] == ledger["delivered"] == flow.trades.made
    found = numbers_of(paused_topics.read("raw"))
    assert {key: without_repeats(numbers) for key, numbers in found.items()} == flow.trades.numbers()


def test_what_a_killed_service_had_on_the_disk_goes_out_first_when_it_is_started_again(
    exchange, serve, pausable, paused_topics, tmp_path
):
    flow = Flow()
    spool = {"SPOOL_DIR": str(tmp_path / "spool")}
    raw = exchange(flow)
    service = serve(raw.settings, paused_topics.settings, spool)
    wait_until(lambda: service.total("delivered") > RATE)
    pausable.pause()
    service.wait_for("spool_started")
    time.sleep(3)
    spooled = service.total("spooled")
    service.signal(9)
    service.end()
    flow.stop.set()
    made = flow.trades.made
    pausable.resume()
    again = serve(raw.settings, paused_topics.settings, spool)
    found = again.wait_for("spool_found")
    assert found["events"] >= spooled
    again.wait_for("spool_drained")
    ledger = again.stop()["ledger"]
    assert ledger["recovered"] == ledger["delivered"] == found["events"]
    for key, numbers in numbers_of(paused_topics.read("raw")).items():
        firsts = without_repeats(numbers)
        assert firsts == list(range(1, len(firsts) + 1)), f"a hole in {key}"
    log.info("%d trades were made, %d were on the disk when it was killed", made, found["events"])


def test_a_stop_in_an_outage_ends_well_and_leaves_the_rest_on_the_disk(
    exchange, serve, pausable, paused_topics, tmp_path
):
    flow = Flow()
    service = serve(exchange(flow).settings, paused_topics.settings, SPOOL_DIR=str(tmp_path / "spool"))
    wait_until(lambda: service.total("delivered") > RATE)
    pausable.pause()
    service.wait_for("spool_started")
    time.sleep(1)
    ledger = service.stop()["ledger"]
    left = service.log("spool_left")[0]
    assert left["events"] == ledger["spooled"] - ledger["recovered"] > 0
    assert ledger["received"] == ledger["delivered"] + left["events"]


def test_of_two_with_the_same_spool_the_one_started_later_takes_over(
    exchange, serve, pausable, paused_topics, tmp_path
):
    flow = Flow()
    raw, spool = exchange(flow), {"SPOOL_DIR": str(tmp_path / "spool")}
    first = serve(raw.settings, paused_topics.settings, spool)
    second = serve(raw.settings, paused_topics.settings, spool)
    assert first.end() == SECOND_WRITER_EXIT, first.text()[-2000:]
    assert second.log("spool_waits")
    before = second.total("delivered")
    wait_until(lambda: second.total("delivered") > before + RATE)
    flow.stop.set()
    second.stop()


def test_a_full_spool_holds_up_the_reading_and_what_that_costs_is_in_the_journal(
    exchange, serve, pausable, paused_topics, tmp_path
):
    trades, stop = Trades(SYMBOLS), threading.Event()
    cuts = []

    def script(client):
        for chunk in trades.chunks():
            if stop.is_set():
                break
            try:
                client.send(chunk, patience_s=6)
            except TimeoutError:
                cuts.append(client.number)
                client.cut()

    spool = {"SPOOL_DIR": str(tmp_path / "spool"), "SPOOL_MAX_BYTES": "4MiB", "BUFFER_MAX_BYTES": "8MiB"}
    service = serve(exchange(script).settings, paused_topics.settings, spool, BACKFILL="off", RECONNECT_INTERVAL="0.2")
    wait_until(lambda: service.total("delivered") > RATE)
    pausable.pause()
    service.wait_for("spool_full")
    assert (tmp_path / "spool" / "binance-ingest.spool").stat().st_size <= 4 * 1024 * 1024
    wait_until(lambda: cuts)
    assert ready_status(service) == 503
    pausable.resume()
    service.wait_for("spool_drained")
    service.wait_for("gap_lost", count=len(SYMBOLS))
    stop.set()
    time.sleep(1)
    ledger = service.stop()["ledger"]
    assert ledger["received"] == ledger["delivered"] == paused_topics.count("raw")
    told = [json.loads(record.value()) for record in paused_topics.read("gaps")]
    assert {gap["reason"] for gap in told} == {"spool_full"}
    missing = {
        (gap["symbol"].encode(), number)
        for gap in told if gap["state"] == "lost"
        for number in range(gap["first_id"], gap["last_id"] + 1)
    }  # fmt: skip
    for key, numbers in numbers_of(paused_topics.read("raw")).items():
        assert numbers == [number for number in range(1, numbers[-1] + 1) if (key, number) not in missing]
