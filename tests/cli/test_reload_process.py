"""SIGHUP from outside: what moves over, what is refused, and that what stays has no gap in Kafka."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest_actors.testing import ListSymbol, SimulatorConfig, exchange_in_thread

SYMBOLS = "BTCUSDT,ETHUSDT,BNBUSDT"
LISTED = SimulatorConfig(symbols=tuple(SYMBOLS.split(",")), activity=5.0)
SECRET = "hunter2-swordfish"
ACCEPTED = "a change of it needs a restart; accepted: changes of BINANCE_STREAM_TYPES, BINANCE_SYMBOLS, LOG_LEVEL"


@pytest.fixture
def serving(start, tmp_path):
    """Starts an exchange, and the service with all settings in a file, until events flow."""

    def serving(*, environ=None, **given):
        exchange = exchanges.enter_context(exchange_in_thread(LISTED))
        common = {
            "BINANCE_WS_URL": exchange.ws_url,
            "BINANCE_REST_URL": exchange.rest_url,
            "BINANCE_SYMBOLS": "BTCUSDT",
            "BINANCE_STREAM_TYPES": "trade",
            "KAFKA_BOOTSTRAP_SERVERS": "embedded",
            "MONITOR_INTERVAL_SECONDS": "0.2",
            "HTTP_PORT": "off",
        } | given

        def write(**changes):
            (tmp_path / "service.env").write_text("".join(f"{k}={v}\n" for k, v in (common | changes).items()))

        write()
        service = start("run", "--env-file", "service.env", **(environ or {}))
        flows(service)
        return Serving(service, write, exchange)

    with ExitStack() as exchanges:
        yield serving


class Serving:
    def __init__(self, service, write, exchange):
        self.service, self.write, self.exchange = service, write, exchange

    def hang_up(self, answer, **changes):
        """Write the file with changes, and have it read; the line that answers."""
        self.write(**changes)
        self.service.send(signal.SIGHUP)
        return self.service.wait_for(answer)


def flows(service):
    """Wait until more is delivered than was."""
    before = service.wait_for("service_metrics")["messages_processed"]
    while service.wait_for("service_metrics")["messages_processed"] <= before:
        pass


def named(service, *events):
    return [line for line in service.log() if line["event"] in events]


def read_ids(servers, topic, symbol):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "log_level": 0})
    try:
        numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ids = []
        for number in numbers:
            place = TopicPartition(topic, number, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([place])
            left = end
            while left:
                for message in consumer.consume(1000, 1.0):
                    left -= 1
                    if message.key() == symbol:
                        ids.append(json.loads(message.value())["t"])
        return ids
    finally:
        consumer.close()


@pytest.mark.broker
def test_what_stays_has_no_gap_in_kafka_whatever_comes_and_goes(serving, broker, topic_prefix):
    names = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")
    world = serving(
        KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers,
        KAFKA_TOPIC_PARTITIONS="2",
        INSTANCE_NAME=topic_prefix + "x",
        **{f"KAFKA_TOPIC_{name}": topic_prefix + name.lower() for name in names},
    )
    service = world.service
    for symbols, types in (
        ("BTCUSDT,ETHUSDT,BNBUSDT", "trade,bookTicker"), ("BNBUSDT,BTCUSDT", "trade,depth@100ms"), ("BTCUSDT", "trade"),
    ):  # fmt: skip
        changed = world.hang_up("streams_changed", BINANCE_SYMBOLS=symbols, BINANCE_STREAM_TYPES=types)
        assert "btcusdt@trade" not in changed["streams_added"] + changed["streams_removed"]
        flows(service)
    service.send(signal.SIGTERM)
    assert service.end() == 0
    ids = read_ids(broker.bootstrap_servers, topic_prefix + "trades", b"BTCUSDT")
    assert len(ids) > 10
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert read_ids(broker.bootstrap_servers, topic_prefix + "gaps", b"BTCUSDT") == []
    assert [line["event"] for line in named(service, "connection_opened", "connection_closed")] == ["connection_opened"]
    assert len(named(service, "settings_reloaded")) == 3


def test_a_bad_setting_is_refused_with_all_that_came_with_it_and_the_old_goes_on(serving, tmp_path):
    world = serving(KAFKA_CLIENT_SSL_KEY_PASSWORD=SECRET)
    bad = {
        "BINANCE_SYMBOLS": "ETHUSDT",
        "BATCH_SIZE": "none",
        "KAFKA_ACK": "1",
        "KAFKA_CLIENT_SSL_KEY_PASSWORD": SECRET + "2",
    }
    refused = world.hang_up("reload_refused", **bad)
    assert refused["hint"] == "the former settings go on"
    assert [problem.partition(";")[0] for problem in refused["problems"]] == [
        "KAFKA_ACK: unknown",
        "BATCH_SIZE='none': it is no whole number",
    ]
    restart = {"BINANCE_SYMBOLS": "ETHUSDT", "BATCH_SIZE": "7", "HTTP_TOKEN": SECRET, "SPOOL_DIR": "spool"}
    refused = world.hang_up("reload_refused", **restart, KAFKA_CLIENT_SSL_KEY_PASSWORD=SECRET + "2")
    assert sorted(refused["problems"]) == [
        f"BATCH_SIZE='7': {ACCEPTED}",
        f"HTTP_TOKEN=***: {ACCEPTED}",
        f"KAFKA_CLIENT_OPTIONS: {ACCEPTED}",
        f"SPOOL_DIR='spool': {ACCEPTED}",
    ]
    refused = world.hang_up("reload_refused", BINANCE_SYMBOLS="ETHUSTD")
    assert refused["problems"] == ["BINANCE_SYMBOLS=ETHUSTD: the exchange lists none of these; near: ETHUSDT"]
    (tmp_path / "service.env").unlink()
    world.service.send(signal.SIGHUP)
    refused = world.service.wait_for("reload_refused")
    assert refused["problems"] == ["--env-file service.env: No such file; accepted: a file of NAME=value lines"]
    flows(world.service)
    assert named(world.service, "streams_changed", "settings_reloaded") == []
    assert SECRET not in "".join(world.service.stderr)
    assert world.hang_up("streams_changed", BINANCE_SYMBOLS="BTCUSDT,ETHUSDT")["streams_added"] == ["ethusdt@trade"]
    world.service.send(signal.SIGTERM)
    assert world.service.end() == 0


def test_names_that_the_environment_sets_too_are_named_and_have_no_effect(serving):
    world = serving(environ={"BINANCE_SYMBOLS": "BTCUSDT", "LOG_LEVEL": "INFO"})
    shadowed = world.hang_up("settings_shadowed", BINANCE_SYMBOLS="ETHUSDT", LOG_LEVEL="ERROR")
    assert shadowed["names"] == ["BINANCE_SYMBOLS", "LOG_LEVEL"]
    assert shadowed["hint"] == "the environment goes before the file"
    world.service.wait_for("settings_reloaded")
    flows(world.service)
    assert named(world.service, "streams_changed") == []


def test_the_log_level_moves_over_at_once_and_back(serving):
    world = serving()
    world.hang_up("settings_reloaded", LOG_LEVEL="WARNING")
    time.sleep(0.5)  # what was on its way
    before = len(world.service.stderr)
    time.sleep(0.7)  # three more lines would have come
    assert len(world.service.stderr) == before
    world.hang_up("settings_reloaded", LOG_LEVEL="DEBUG")
    flows(world.service)


def test_a_new_listing_under_a_pattern_moves_in_when_the_settings_are_read_again(serving):
    world = serving(BINANCE_SYMBOLS="*USDT")
    world.exchange.inflict(ListSymbol("NEWUSDT"))
    world.exchange.wait_for_faults()
    changed = world.hang_up("listings_changed")
    assert changed["streams_added"] == ["newusdt@trade"]
    assert (changed["added"], changed["removed"]) == (1, 0)
    flows(world.service)
    world.service.send(signal.SIGTERM)
    assert world.service.end() == 0
    assert named(world.service, "gap_opened", "connection_closed") == []


def test_an_exchange_that_is_away_keeps_no_later_settings_waiting(serving):
    world = serving()
    world.exchange.close()
    world.service.wait_for("connection_closed")
    world.hang_up("settings_reloaded", BINANCE_SYMBOLS="ETHUSDT")
    world.hang_up("settings_reloaded", BINANCE_SYMBOLS="BNBUSDT")
    failed = world.hang_up("reload_failed", BINANCE_SYMBOLS="*USDT")
    assert failed["hint"] == "the former settings go on; try again"
    world.service.send(signal.SIGTERM)
    assert world.service.end() == 0
