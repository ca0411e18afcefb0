from __future__ import annotations

import io
import json
import logging
import signal
import subprocess
import sys
import time

import httpx
import pytest
import trio
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from ingest_actors.demo import DemoOptions, run_demo, screen
from ingest_actors.demo.ledger_table import balances, ledger_table, verdict
from ingest_actors.demo.run import _tell_end
from ingest_actors.demo.view import Addresses, RateMeter, make_line, make_screen
from ingest_actors.ledger import LedgerEntry
from ingest_actors.logs import setup_logging
from ingest_actors.protocols import SinkStatus
from ingest_actors.service import StopReport
from ingest_actors.status import ConnectionStatus, MailboxStatus, Status, Tallies

NOW_MS = 1_700_000_000_000
ADDRESSES = Addresses("ws://127.0.0.1:1", "http://127.0.0.1:2", "127.0.0.1:3", "http://127.0.0.1:4")


def a_status(*, at_ms=NOW_MS, received=1500, **changes):
    entry = LedgerEntry(received=received, delivered=received - 7, in_flight=7)
    tallies = Tallies()
    tallies.last_event_ms["trade"] = NOW_MS - 1500
    tallies.latency["ack"].observe(0.002, 10)
    fields = {
        "instance_name": "demo", "started_at_ms": NOW_MS - 60_000, "at_ms": at_ms,
        "ledger": {"trade": entry}, "total": entry,
        "connections": (ConnectionStatus("ws-1", "ws://x", "open", 20, 20, NOW_MS, 0),),
        "streams_wanted": 20, "streams_listed": 20, "streams_flowing": 0, "streams_silent": 0,
        "mailboxes": (MailboxStatus("frames", events=50, events_max=100, bytes=0, bytes_max=100),), "buffer_bytes": 0,
        "sink": SinkStatus(reachable=True, queue_records=5, queue_bytes=500, errors=0, records={"b-trades": 1234}),
        "tallies": tallies, "gaps_open": 0, "rest_weight_used": 0, "actors": (), "rates": {},
    }  # fmt: skip
    return Status(**(fields | changes))


def printed(*renderables, width=110):
    console = Console(file=io.StringIO(), width=width)
    for renderable in renderables:
        console.print(renderable)
    return console.file.getvalue()


# -- what is shown


def test_the_screen_shows_rates_lag_mailboxes_the_ledger_and_where_to_look_in():
    text = printed(make_screen(a_status(), {"trade": 321.4}, ADDRESSES))
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("trade"))
    assert row == ["trade", "1,500", "321", "1.5", "s", "1,493", "7"]
    assert "1,500 received + 0 from REST = 1,493 delivered + 0 dead letters + 0 duplicates + 7 in flight: " in text
    assert "mailbox frames ██████████░░░░░░░░░░ 50 held" in " ".join(text.split())
    assert "5 records" in text
    assert "b-trades 1,234" in text
    assert "kcat -b 127.0.0.1:3 -t binance-trades" in text
    assert "http://127.0.0.1:4/metrics" in text
    assert "ready   up 60 s   1 of 1 connections open, 20 streams" in text


def test_the_screen_fits_a_terminal_of_80_columns():
    assert max(map(len, printed(make_screen(a_status(), {}, ADDRESSES), width=80).splitlines())) <= 80
    head = printed(ledger_table(a_status(), title="x"), width=80).splitlines()[2]
    assert head.split() == [
        "event", "type", "received", "REST", "delivered", "dead", "duplicates", "in", "flight",
    ]  # fmt: skip


def test_the_screen_says_why_it_is_not_ready():
    tallies = Tallies()
    text = printed(make_screen(a_status(connections=(), tallies=tallies), {}, ADDRESSES))
    assert "not ready: no connection is planned yet" in text
    assert "acknowledges in -" in " ".join(text.split())


def test_a_ledger_that_does_not_balance_is_shown_with_what_is_missing():
    entry = LedgerEntry(received=10, delivered=4)
    status = a_status(ledger={"trade": entry}, total=entry)
    assert not balances(status)
    assert verdict(status).plain.endswith("0 in flight: 6 MISSING")


def test_a_ledger_whose_errors_cancel_out_does_not_balance():
    ledger = {"trade": LedgerEntry(received=1), "kline": LedgerEntry(delivered=1)}
    assert not balances(a_status(ledger=ledger, total=LedgerEntry(received=1, delivered=1)))


def test_rates_are_those_of_the_last_three_seconds():
    meter = RateMeter()
    assert meter.update(a_status(at_ms=NOW_MS, received=1000)) == {"trade": 0.0}
    assert meter.update(a_status(at_ms=NOW_MS + 1000, received=1100)) == {"trade": 100.0}
    assert meter.update(a_status(at_ms=NOW_MS + 2000, received=1200)) == {"trade": 100.0}
    for second in range(3, 10):
        rates = meter.update(a_status(at_ms=NOW_MS + second * 1000, received=1200))
    assert rates == {"trade": 0.0}


def test_a_type_that_appears_later_has_a_rate_from_the_start():
    meter = RateMeter()
    meter.update(a_status(at_ms=NOW_MS, ledger={}))
    assert meter.update(a_status(at_ms=NOW_MS + 2000, received=1000)) == {"trade": 500.0}


def test_a_line_says_the_same_in_short():
    text = make_line(a_status(), {"trade": 300.0, "kline": 2.0}).plain
    assert text.startswith("302 events/s; 1,500 received + 0 from REST = ")


async def test_lines_come_now_and_then_where_nobody_looks_at_a_terminal(autojump_clock):
    console = Console(file=io.StringIO(), width=200)
    with trio.move_on_after(11):
        await screen.show_lines(a_status, ADDRESSES, console=console)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "Any Kafka client can look in at 127.0.0.1:3"
    assert [line.partition(";")[0] for line in lines[2:]] == ["0 events/s", "0 events/s"]


async def test_on_a_terminal_warnings_scroll_by_above_the_screen_and_nothing_else_does(autojump_clock):
    stderr = io.StringIO()
    setup_logging("INFO", "console", stream=stderr)
    root = logging.getLogger()
    before = root.handlers[:]
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=50)

    async def log_something():
        await trio.sleep(1)
        logging.getLogger("ingest_actors").warning("a warning")
        logging.getLogger("ingest_actors").info("chatter")

    try:
        with trio.move_on_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log_something)
                await screen.show_screen(a_status, ADDRESSES, console=console)
        assert root.handlers == before
    finally:
        logging.basicConfig(handlers=[], force=True)
    shown = console.file.getvalue()
    assert "a warning" in shown
    assert "chatter" not in shown
    assert "it balances" in shown
    assert stderr.getvalue() == ""


class Ended:
    """A service that is over."""

    def __init__(self, status, reason):
        self.status = lambda: status
        self.report = StopReport(reason, status.total)


@pytest.mark.parametrize(
    ("reason", "in_flight", "code", "text"),
    [
        ("stopped", 0, 0, "It balances: every event that was received is accounted for."),
        ("cancelled", 0, 1, "It balances"),
        ("stopped", 3, 1, "Stopped. 3 events were left in flight."),
    ],
)
def test_the_exit_code_is_0_only_when_it_drained_and_nothing_is_left(reason, in_flight, code, text):
    entry = LedgerEntry(received=10, delivered=10 - in_flight, in_flight=in_flight)
    console = Console(file=io.StringIO(), width=110)
    assert _tell_end(Ended(a_status(ledger={"trade": entry}, total=entry), reason), console) == code
    assert text in console.file.getvalue()


# -- the whole of it


def consume(servers, topic, count):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "onlooker", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        return [json.loads(record.value()) for record in consumer.consume(count, timeout=10)]
    finally:
        consumer.close()


async def test_events_flow_and_any_kafka_client_can_look_in():
    announced, seen, ready = [], {}, trio.Event()
    console = Console(file=io.StringIO(), width=200)

    def announce(where):
        announced.append(where)
        ready.set()

    async def look_in(*, stop, cancel, task_status):
        task_status.started()
        await ready.wait()
        servers = announced[0]["bootstrap_servers"]
        seen["records"] = await trio.to_thread.run_sync(consume, servers, "binance-raw-events", 50)
        async with httpx.AsyncClient(trust_env=False) as client:
            seen["ready"] = (await client.get(announced[0]["http_url"] + "/readyz")).json()
            seen["symbols"] = (await client.get(announced[0]["rest_url"] + "/api/v3/exchangeInfo")).json()["symbols"]
        stop()
        await trio.sleep_forever()

    options = DemoOptions(symbols=("BTCUSDT", "ETHUSDT"), stream_types=("trade", "aggTrade"), activity=5)
    with trio.fail_after(30):
        assert await run_demo(options, announce=announce, obey_signals=look_in, console=console) == 0
    assert [list(ready) for ready in announced] == [["ws_url", "rest_url", "bootstrap_servers", "http_url"]]
    assert len(seen["records"]) == 50
    assert {record["source"] for record in seen["records"]} == {"binance_websocket"}
    assert {record["event_type"] for record in seen["records"]} <= {"trade", "aggregate_trade"}
    assert seen["ready"] == {"ready": True, "reasons": []}
    assert {symbol["symbol"] for symbol in seen["symbols"]} == {"BTCUSDT", "ETHUSDT"}
    assert "It balances" in console.file.getvalue()


async def test_cancelling_it_at_once_is_a_failure_and_hangs_nowhere():
    async def give_up(*, stop, cancel, task_status):
        task_status.started()
        await trio.sleep(0.3)
        cancel()

    console = Console(file=io.StringIO())
    with trio.fail_after(15):
        code = await run_demo(DemoOptions(), announce=lambda _: None, obey_signals=give_up, console=console)
    assert code == 1


async def test_it_ends_by_itself_after_its_duration():
    announced = []
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=50)
    with trio.fail_after(30):
        assert await run_demo(DemoOptions(duration_s=1.0), announce=announced.append, console=console) == 0
    assert len(announced) == 1
    assert "aggregate_trade" in console.file.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_flows_within_ten_seconds_and_a_signal_ends_it_with_0(number):
    started = time.monotonic()
    command = [sys.executable, "-m", "ingest_actors", "demo", "--activity", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert len(consume(ready["bootstrap_servers"], "binance-raw-events", 10)) == 10
            assert time.monotonic() - started < 10
            process.send_signal(number)
            rest, stderr = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest == ""
    assert "It balances: every event that was received is accounted for." in stderr
    assert "Traceback" not in stderr
    assert "warn" not in stderr.lower()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1"])
async def test_no_proxy_of_the_environment_stands_in_its_way(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with trio.fail_after(30):
        options = DemoOptions(duration_s=0.2)
        assert await run_demo(options, announce=lambda _: None, console=Console(file=io.StringIO())) == 0
