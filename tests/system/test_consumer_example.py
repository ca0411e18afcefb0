"""The consumer that people copy: true books and bars, through holes, late trades, repeats, aborts and restarts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka_topics import Topics
from service_process import Service

from ingest_actors.testing import Fault, RestLag, SimulatorConfig, exchange_in_thread

pytestmark = pytest.mark.broker

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "books_and_bars.py"
SYMBOLS = ("BTCUSDT", "ETHUSDT")
ROLES = ("trades", "depth")


class Written:
    """What the service wrote of a market, and what was true there.

    Attributes:
        records: by role, values with their keys, in order by symbol.
        books: by symbol, the book as it was at the last update that is written.
        trades: by symbol, all trades that are written, by id.
    """

    def __init__(self, topics, exchange):
        self.records = {role: [(record.value(), record.key()) for record in topics.read(role)] for role in ROLES}
        last = {}
        for value, key in self.records["depth"]:
            if b'"depth_update"' in value:
                last[key.decode()] = json.loads(value)["u"]
        self.books = {symbol: exchange.book(symbol, update_id) for symbol, update_id in last.items()}
        ids = {symbol: [] for symbol in SYMBOLS}
        for value, key in self.records["trades"]:
            event = json.loads(value)
            if event["event_type"] == "trade":
                ids[key.decode()].append(event["t"])
        self.trades = {symbol: exchange.trades(symbol, min(own), max(own)) for symbol, own in ids.items()}


@pytest.fixture(scope="module")
def written(broker, tmp_path_factory):
    """Some seconds of a market, with a cut in the middle, and trades that REST gave too late to be in their places."""
    topics = Topics(broker.bootstrap_servers, f"example-{time.time_ns()}-")
    directory = tmp_path_factory.mktemp("example")
    with exchange_in_thread(SimulatorConfig(symbols=SYMBOLS, activity=10, seed=3)) as exchange:
        environ = {
            "BINANCE_WS_URL": exchange.ws_url, "BINANCE_REST_URL": exchange.rest_url,
            "BINANCE_SYMBOLS": ",".join(SYMBOLS), "BINANCE_STREAM_TYPES": "trade,aggTrade,depth@100ms",
            "RECONNECT_INTERVAL": "0.5", "GAP_HOLD_SECONDS": "0.2",
        }  # fmt: skip
        with Service(directory, **topics.settings, **environ).wait_ready() as service:
            time.sleep(1.5)
            exchange.inflict(Fault(RestLag(2), for_s=5))
            exchange.cut()
            service.wait_for("gap_lost")
            time.sleep(1)
            deadline = time.monotonic() + 30
            while service.metrics()["gaps_open"][""]:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            service.stop()
        yield Written(topics, exchange)


def write(topics, records, *, commit=None):
    """Put records into topics; in a transaction, committed or aborted, unless `commit` is None."""
    options = {"bootstrap.servers": topics.settings["KAFKA_BOOTSTRAP_SERVERS"], "partitioner": "murmur2_random"}
    producer = Producer(options | ({} if commit is None else {"transactional.id": topics.names["raw"]}))
    if commit is not None:
        producer.init_transactions(30)
        producer.begin_transaction()
    for role, own in records.items():
        for value, key in own:
            producer.produce(topics.names[role], value, key)
    assert producer.flush(30) == 0
    if commit is not None:
        (producer.commit_transaction if commit else producer.abort_transaction)(30)


def consume(topics, path):
    """Run the example to the end of the topics; what it said, and what it knows."""
    done = subprocess.run(
        [sys.executable, EXAMPLE, path, "--to-end"],
        env=os.environ | topics.settings, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_bytes())


def split(records):
    """Each symbol's records of each topic in two halves."""
    halves = ({}, {})
    for role, own in records.items():
        for symbol in SYMBOLS:
            mine = [record for record in own if record[1] == symbol.encode()]
            for half, part in zip(halves, (mine[: len(mine) // 2], mine[len(mine) // 2 :]), strict=True):
                half.setdefault(role, []).extend(part)
    return halves


def true_bars(trades):
    """By minute: open, close, high, low, volume."""
    minutes = {}
    for row in sorted(trades, key=lambda row: row.trade_id):
        minutes.setdefault(str(row.time_us // 60_000_000 * 60_000), []).append(row)
    return {
        minute: (
            Decimal(rows[0].price), Decimal(rows[-1].price), max(Decimal(row.price) for row in rows),
            min(Decimal(row.price) for row in rows), sum(Decimal(row.quantity) for row in rows),
        )
        for minute, rows in minutes.items()
    }  # fmt: skip


def found_bars(bars):
    names = ("open", "close", "high", "low", "volume")
    return {minute: tuple(Decimal(bar[name]) for name in names) for minute, bar in bars.items()}


def assert_true(known, written):
    """Books are those of the exchange at their last id, bars those of its trades, each counted once."""
    for symbol, book in written.books.items():
        found = known["books"][symbol]
        assert found["update_id"] == book.update_id
        assert (found["bids"], found["asks"]) == (dict(book.bids), dict(book.asks))
        trades = known["trades"][symbol]
        assert trades["missing"] == []
        assert found_bars(trades["bars"]) == true_bars(written.trades[symbol])


def test_books_and_bars_are_those_of_the_exchange_through_a_hole_late_trades_and_a_restart(
    tmp_path, broker, topic_prefix, written
):
    topics = Topics(broker.bootstrap_servers, topic_prefix)
    first, second = split(written.records)
    state = tmp_path / "state.json"
    write(topics, first)
    consume(topics, state)
    between = state.read_bytes()
    write(topics, second)
    told, known = consume(topics, state)
    assert_true(known, written)
    assert state.stat().st_size > 1000

    state.write_bytes(between)  # it died before it could save
    assert consume(topics, state)[1] == known
    assert consume(topics, state)[1] == known, "nothing new: nothing changes"
    told_at_once, known_at_once = consume(topics, tmp_path / "anew.json")
    assert known_at_once == known
    assert "of the book are missing: no book until the next snapshot" in told_at_once
    assert "are missing: lost, or they come late" in told_at_once
    assert "came late" in told_at_once
    assert "BTCUSDT book" in told


def test_repeats_count_once_and_what_was_aborted_does_not_count_at_all(tmp_path, broker, topic_prefix, written):
    topics = Topics(broker.bootstrap_servers, topic_prefix)
    first, second = split(written.records)
    write(topics, first)
    write(topics, {"trades": [record for record in first["trades"] for _ in range(2)]})  # as after a crash
    write(topics, {role: own[5:] for role, own in second.items()}, commit=False)
    write(topics, second, commit=True)
    assert_true(consume(topics, tmp_path / "state.json")[1], written)


def test_a_lost_update_is_told_and_there_is_no_book_until_the_next_snapshot(tmp_path, broker, topic_prefix, written):
    topics = Topics(broker.bootstrap_servers, topic_prefix)
    own = [record for record in written.records["depth"] if record[1] == b"BTCUSDT"]
    snapshots = [index for index, (value, _) in enumerate(own) if b'"depth_snapshot"' in value]
    lost = json.loads(own.pop(snapshots[-1] + 3)[0])
    write(topics, {"depth": own})
    told, known = consume(topics, tmp_path / "state.json")
    assert f"BTCUSDT: updates {lost['U']}-{lost['u']} of the book are missing" in told
    assert known["books"]["BTCUSDT"] == {"update_id": None, "bids": {}, "asks": {}}
    snapshot = json.loads(own[snapshots[-1]][0]) | {"lastUpdateId": lost["u"] + 10**6}
    write(topics, {"depth": [(json.dumps(snapshot).encode(), b"BTCUSDT")]})
    told, known = consume(topics, tmp_path / "state.json")
    assert f"BTCUSDT: book begins at {lost['u'] + 10**6}" in told
    assert known["books"]["BTCUSDT"]["bids"] == dict(snapshot["bids"])
