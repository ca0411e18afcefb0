"""`audit` as its users have it: what the service wrote is whole, and a spoilt copy of it is not."""

from __future__ import annotations

import json
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import closing

import pytest
from confluent_kafka import Message, Producer
from kafka_topics import Topics
from service_process import Command, Service

pytestmark = pytest.mark.broker

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
STREAM_TYPES = (
    "trade,aggTrade,depth@100ms,depth5@100ms,bookTicker,kline_1s,kline_1m,miniTicker,ticker,ticker_1h,avgPrice"
)


def audit(directory, topics: Topics, *options: str, **environ: str):
    """The exit code, and the report."""
    with Command(directory, "audit", "--format", "json", *options, **topics.settings, **environ) as command:
        report = command.answer()
        return command.end(), report


def by_name(report):
    return {(one["symbol"], one["event_type"]): one for one in report["series"]}


@pytest.fixture(scope="session")
def written(broker, tmp_path_factory) -> Topics:
    """What the real service wrote of a simulated market within some seconds."""
    topics = Topics(broker.bootstrap_servers, f"audited-{time.time_ns()}-")
    directory = tmp_path_factory.mktemp("audited")
    market = ("--symbols", ",".join(SYMBOLS), "--activity", "20", "--speed", "3", "--seed", "7")
    with Command(directory, "simulate", *market) as exchange:
        ready = exchange.answer()
        at = {"BINANCE_WS_URL": ready["ws_url"], "BINANCE_REST_URL": ready["rest_url"]}
        wanted = {"BINANCE_SYMBOLS": ",".join(SYMBOLS), "BINANCE_STREAM_TYPES": STREAM_TYPES}
        with Service(directory, **topics.settings, **at, **wanted) as service:
            service.wait_ready()
            deadline = time.monotonic() + 60
            while service.total("delivered") < 6_000:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            topics.delivered = service.stop()["ledger"]["delivered"]
    return topics


def test_what_the_service_wrote_is_whole(tmp_path, written):
    code, report = audit(tmp_path, written)
    assert [(name, one) for name, one in by_name(report).items() if not one["ok"]] == []
    assert (code, report["ok"]) == (0, True)
    assert sum(one["records"] for one in report["series"]) == written.delivered == report["topics"]["raw"]["records"]
    assert report["topics"]["raw"]["name"] == written.names["raw"]
    assert report["records_per_second"] > 0
    series = by_name(report)
    for symbol in SYMBOLS:
        assert series[symbol, "trade"]["by_topic"].keys() == {"raw", "trades"}
        assert series[symbol, "depth_update"]["by_topic"].keys() == {"raw", "depth"}
        assert series[symbol, "aggregate_trade"]["aggregates"]["compared"] > 0


def test_the_table_is_for_people(tmp_path, written):
    with Command(tmp_path, "audit", "--symbols", "btc*", **written.settings) as command:
        text = command.answers()
        assert command.end() == 0
    assert "aggregate_trade" in text
    assert "ETHUSDT" not in text
    assert text.rstrip().endswith("records/s: whole")
    assert command.text() == "", "stderr is no terminal"


def copy(
    broker, written: Topics, name: str, change: Callable[[str, list[Message]], Iterable[Message | Spoilt]]
) -> Topics:
    """The same topics again, each partition in order, but for what was changed."""
    spoilt = Topics(broker.bootstrap_servers, f"{name}-{time.time_ns()}-")
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True})
    for role in ("raw", "trades", "depth"):
        for message in change(role, written.read(role)):
            producer.produce(
                spoilt.names[role], message.value(), message.key(),
                partition=message.partition(), timestamp=message.timestamp()[1],
            )  # fmt: skip
        producer.flush()
    return spoilt


class Spoilt:
    """A message with something else in it."""

    def __init__(self, message: Message, *, key: bytes | None = None, value: bytes | None = None) -> None:
        self._message = message
        self.key = lambda: key or message.key()
        self.value = lambda: value or message.value()

    def __getattr__(self, name: str):
        return getattr(self._message, name)


def test_every_defect_of_a_spoilt_copy_is_named(tmp_path, broker, written):
    chance = random.Random(1)
    expected: dict[tuple[str, str], dict[str, object]] = {}
    ids = {"trade": "t", "aggregate_trade": "a", "depth_update": "u"}

    def change(role: str, messages: list[Message]) -> list[Message | Spoilt]:
        records: list[Message | Spoilt] = list(messages)
        for (symbol, event_type), kind in DEFECTS.items():
            if role != ("depth" if event_type == "depth_update" else "trades"):
                continue
            mark = f'"event_type":"{event_type}"'.encode()
            own = [n for n, one in enumerate(records) if one.key() == symbol.encode() and mark in one.value()]
            place = chance.randrange(5, len(own) - 5)
            was = records[own[place]]
            event = json.loads(was.value())
            number = event[ids[event_type]]
            if kind == "missing":
                del records[own[place]]
                expected[symbol, event_type] = {kind: [[event.get("U", number), number]]}
            elif kind == "duplicates":
                records.insert(own[place + 3], was)
                expected[symbol, event_type] = {kind: [[number, 2]]}
            elif kind == "out_of_order":
                other = records[own[place + 1]]
                records[own[place]], records[own[place + 1]] = other, was
                expected[symbol, event_type] = {kind: [[number, json.loads(other.value())[ids[event_type]]]]}
            elif kind == "altered":
                value = was.value().replace(f'"p":"{event["p"]}"'.encode(), b'"p":"0.00000001"')
                records[own[place]] = Spoilt(was, value=value)
                expected[symbol, event_type] = {kind: [[number, ["p"]]]}
            else:
                records[own[place]] = Spoilt(was, key=b"NOBODY")
                expected[symbol, event_type] = {kind: [[number, "NOBODY"]]}
        return records

    spoilt = copy(broker, written, "spoilt", change)
    code, report = audit(tmp_path, spoilt)
    assert (code, report["ok"]) == (1, False)
    kinds = ("missing", "duplicates", "out_of_order", "altered", "wrongly_keyed", "missing_explained", "late")
    series = by_name(report)
    told = {name: {kind: one[kind] for kind in kinds if one[kind]} for name, one in series.items()}
    aggregates = series["ETHUSDT", "aggregate_trade"]["aggregates"]["differing"]
    assert [what for _, what in aggregates] == ["price"], "the altered trade is in one aggregate, which tells too"
    assert {name: defects for name, defects in told.items() if defects} == expected
    assert {name for name, one in series.items() if not one["ok"]} == {*expected, ("ETHUSDT", "aggregate_trade")}


DEFECTS = {
    ("BTCUSDT", "trade"): "missing",
    ("ETHUSDT", "trade"): "altered",
    ("BNBUSDT", "trade"): "wrongly_keyed",
    ("BTCUSDT", "aggregate_trade"): "duplicates",
    ("BNBUSDT", "aggregate_trade"): "out_of_order",
    ("BTCUSDT", "depth_update"): "missing",
    ("ETHUSDT", "depth_update"): "duplicates",
    ("BNBUSDT", "depth_update"): "out_of_order",
}


def test_an_untouched_copy_is_whole(tmp_path, broker, written):
    assert audit(tmp_path, copy(broker, written, "untouched", lambda _, messages: messages))[0] == 0


def test_a_window_and_symbols_choose_a_part(tmp_path, written):
    times = sorted(message.timestamp()[1] for message in written.read("trades"))
    window = ("--since", str(times[len(times) // 3]), "--until", str(times[2 * len(times) // 3]))
    code, report = audit(tmp_path, written, *window, "--symbols", "btcusdt,BNB*")
    assert (code, report["ok"]) == (0, True)
    assert {one["symbol"] for one in report["series"]} == {"BTCUSDT", "BNBUSDT"}
    assert 0 < sum(one["records"] for one in report["series"]) < written.delivered
    assert [str(report["since"]), str(report["until"])] == [window[1], window[3]]


def test_aborted_records_are_not_read(tmp_path, broker, written):
    doubled = copy(broker, written, "aborted", lambda _, messages: messages)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": doubled.names["raw"]})
    producer.init_transactions(30)
    for finish in (producer.abort_transaction, producer.commit_transaction):
        producer.begin_transaction()
        for role in ("raw", "trades"):
            for message in written.read(role)[:500] if finish == producer.abort_transaction else ():
                producer.produce(doubled.names[role], message.value(), message.key(), partition=message.partition())
        producer.flush()
        finish(30)
    code, report = audit(tmp_path, doubled)
    assert (code, report["ok"]) == (0, True)
    assert report["topics"]["raw"]["records"] == written.delivered


def test_topics_that_are_not_there_end_it_with_75(tmp_path, broker, topic_prefix):
    absent = Topics(broker.bootstrap_servers, topic_prefix, create=False)
    with Command(tmp_path, "audit", **absent.settings) as command:
        assert command.end() == 75
    assert command.text().startswith("audit: cannot use Kafka at ")
    assert absent.names["trades"] in command.text()


def test_a_signal_ends_it_without_a_verdict(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        servers = f"127.0.0.1:{mute.getsockname()[1]}"
        # Once somebody is there to be accepted, it has come as far as to ask.
        with Command(tmp_path, "audit", KAFKA_BOOTSTRAP_SERVERS=servers) as command, closing(mute.accept()[0]):
            command.signal(signal.SIGINT)
            assert command.end() == 128 + signal.SIGINT
    assert command.text() == "audit: interrupted (SIGINT); no verdict\n"
