"""What librdkafka tells of itself: read from what it really says, counted over producers that follow each other."""

import json

import pytest
import trio
from confluent_kafka import Producer
from kafka_support import deliver, in_batches, numbered, route_for, sink_on, until

from ingest_actors.kafka.statistics import BROKERS_MAX, STATISTICS_INTERVAL_MS, ClientStatistics
from ingest_actors.protocols import ClientStatus


def told(name="rdkafka#producer-1", txn_state="Init", **brokers):
    return json.dumps({
        "name": name, "type": "producer", "msg_cnt": 3,
        "brokers": {
            key: {
                "name": f"localhost:9092/{key}", "nodeid": int(key[1:]), "state": "UP", "outbuf_cnt": 1,
                "waitresp_cnt": 2, "txretries": 0, "req_timeouts": 0, "connects": 1, "disconnects": 0,
                "rtt": {"p99": 1500},
            } | fields
            for key, fields in brokers.items()
        },
        "eos": {"txn_state": txn_state},
    })  # fmt: skip


def test_nothing_is_known_before_it_tells():
    assert ClientStatistics().latest is None


def test_what_matters_is_taken_and_the_rest_left():
    statistics = ClientStatistics()
    statistics.take(told(b1={"txretries": 3}, b2={"state": "DOWN", "disconnects": 4, "req_timeouts": 2}))
    latest = statistics.latest
    assert [tuple(broker) for broker in latest.brokers] == [
        ("1", True, pytest.approx(0.0015), 3),
        ("2", False, pytest.approx(0.0015), 3),
    ]
    assert latest[1:] == (3, 2, 2, 4, "")


def test_brokers_that_were_never_connected_to_are_not_told():
    statistics = ClientStatistics()
    text = told(b1={}, b2={"connects": 0}).replace('"nodeid": 1', '"nodeid": -1')
    statistics.take(text)
    assert statistics.latest.brokers == ()


def test_of_many_brokers_the_slowest_are_told_and_all_are_counted():
    statistics = ClientStatistics()
    count = 3 * BROKERS_MAX
    statistics.take(told(**{f"b{n}": {"rtt": {"p99": n}} for n in range(count)}))
    assert [int(broker.name) for broker in statistics.latest.brokers] == list(range(2 * BROKERS_MAX, count))
    assert statistics.latest.connects == count


def test_counts_never_fall_when_one_producer_follows_another():
    statistics = ClientStatistics()
    for life in range(20):
        for retries in (1, 5):
            statistics.take(told(f"rdkafka#producer-{life}", b1={"txretries": retries}))
            assert statistics.latest.retries == 5 * life + retries
    assert statistics.latest.connects == 20


@pytest.mark.parametrize(
    ("state", "shown"),
    [("Ready", "ready"), ("InTransaction", "open"), ("CommittingTransaction", "ending"), ("FatalError", "failed")],
)
def test_the_state_of_transactions_is_told_where_there_are_any(state, shown):
    statistics, plain = ClientStatistics(transactional=True), ClientStatistics()
    for one in (statistics, plain):
        one.take(told(txn_state=state, b1={}))
    assert (statistics.latest.transaction, plain.latest.transaction) == (shown, "")


@pytest.mark.parametrize("text", ["", "[]", '{"brokers": 3}', '{"brokers": {"a": {"rtt": {"p99": "x"}}}}'])
def test_what_cannot_be_read_is_passed_over(text):
    statistics = ClientStatistics()
    statistics.take(text)
    assert statistics.latest is None
    statistics.take(told(b1={}))
    assert isinstance(statistics.latest, ClientStatus)


def test_what_a_user_has_set_stands():
    options = ClientStatistics().options({"statistics.interval.ms": 0})
    assert options["statistics.interval.ms"] == 0
    assert ClientStatistics().options({})["statistics.interval.ms"] == STATISTICS_INTERVAL_MS


def test_librdkafka_takes_the_options_and_says_what_is_expected():
    statistics = ClientStatistics()
    producer = Producer(statistics.options({"test.mock.num.brokers": 1, "statistics.interval.ms": 20}))
    producer.produce("t", b"x")
    producer.flush(10)
    for _ in range(500):
        producer.poll(0.02)
        if statistics.latest is not None and statistics.latest.brokers:
            break
    (broker,) = statistics.latest.brokers
    assert (broker.name, broker.up) == ("1", True)
    assert statistics.latest.connects >= 1


@pytest.mark.broker
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_a_sink_tells_of_its_brokers(delivery, broker, topic_prefix):
    often = {"statistics.interval.ms": "100"}
    async with sink_on(
        broker.bootstrap_servers, topic_prefix, kafka_delivery=delivery, kafka_producer_options=often
    ) as sink:

        async def write():  # what nobody uses has no round trips
            while True:
                await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(200)), 50))

        transactions = {""} if delivery == "at_least_once" else {"ready", "open", "ending"}

        def connected():
            client = sink.status().client
            return (
                client is not None
                and client.brokers
                and client.brokers[0].rtt_p99_s > 0
                and client.transaction in transactions  # the first statistics may still tell of the start
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await until(connected, 20)
            nursery.cancel_scope.cancel()
        client = sink.status().client
        assert [broker.up for broker in client.brokers] == [True]
