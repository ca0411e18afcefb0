"""Reaching the cluster at start: what goes wrong is told clearly, within bounds, and without secrets."""

import socket
import time
from contextlib import contextmanager

import pytest
import trio
import trio.lowlevel
import trustme
from confluent_kafka.admin import AclOperation, AdminClient
from kafka_support import (
    PASSWORD,
    allow,
    deliver,
    forbid,
    in_batches,
    numbered,
    permit_again,
    read_topic,
    route_for,
    secure,
    settings_for,
    sink_on,
)

from ingest_actors.errors import SettingsError, SinkBroken, SinkUnreachable
from ingest_actors.kafka.opening import open_sink

pytestmark = pytest.mark.broker


async def failure(settings, *, within_s=10.0):
    """The error of an attempt that must fail, and fail soon."""
    began = time.monotonic()
    with pytest.raises(SinkUnreachable) as caught:
        await open_sink(settings)
    assert time.monotonic() - began < within_s
    assert caught.value.exit_code == 75
    assert caught.value.hint
    assert PASSWORD not in str(caught.value)
    assert "wrong-secret" not in str(caught.value)
    return caught.value


@contextmanager
def silent_listener():
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


async def test_missing_topics_are_created_with_their_partitions(broker, topic_prefix):
    async with sink_on(broker.bootstrap_servers, topic_prefix, kafka_topic_partitions=5):
        there = AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=10).topics
    ours = {name: len(topic.partitions) for name, topic in there.items() if name.startswith(topic_prefix)}
    assert ours == {
        topic_prefix + name: 5 for name in ("raw_events", "trades", "depth", "dead_letters", "gaps", "state")
    }


async def test_missing_topics_are_told_when_they_are_not_to_be_created(broker, topic_prefix):
    error = await failure(settings_for(broker.bootstrap_servers, topic_prefix, kafka_create_topics=False))
    assert "do not exist" in error.cause
    assert topic_prefix + "raw_events" in error.cause
    assert "setup-topics" in error.hint


async def test_nothing_listens(topic_prefix):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = await failure(settings_for(f"127.0.0.1:{port}", topic_prefix), within_s=4)
    assert "nothing listens" in error.cause
    assert "KAFKA_BOOTSTRAP_SERVERS" in error.hint
    assert error.target == f"127.0.0.1:{port}"


async def test_somebody_listens_who_says_nothing(topic_prefix):
    with silent_listener() as address:
        error = await failure(settings_for(address, topic_prefix))
    assert "no answer within 8 s" in error.cause


async def test_a_name_that_is_not_known(topic_prefix):
    error = await failure(settings_for("no-such-host.invalid:9092", topic_prefix))
    assert "name is not known" in error.cause


async def test_one_address_of_several_is_enough(broker, topic_prefix):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with sink_on(f"127.0.0.1:{port},{broker.bootstrap_servers}", topic_prefix) as sink:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(10))))


async def test_tls_on_a_port_that_speaks_none(broker, topic_prefix):
    error = await failure(settings_for(broker.bootstrap_servers, topic_prefix, kafka_security_protocol="SSL"))
    assert "TLS" in error.cause
    assert "KAFKA_SECURITY_PROTOCOL" in error.hint


async def test_an_attempt_can_be_cancelled_at_once(topic_prefix):
    with silent_listener() as address:
        began = trio.current_time()
        with trio.move_on_after(0.2):
            await open_sink(settings_for(address, topic_prefix))
        assert trio.current_time() - began < 1
        await trio.lowlevel.checkpoint()


async def test_scram_over_tls_with_an_authority_of_its_own(secure_broker, topic_prefix):
    settings = secure(secure_broker, topic_prefix)
    sink = await open_sink(settings)
    try:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(100))))
    finally:
        await sink.aclose()
    options = {name: value for name, value in secure_broker.client_settings.items() if name != "bootstrap.servers"}
    found = await trio.to_thread.run_sync(
        lambda: read_topic(secure_broker.bootstrap_servers, topic_prefix + "raw_events", **options)
    )
    assert sum(map(len, found.values())) == 100


async def test_the_password_may_come_from_a_file(secure_broker, topic_prefix, tmp_path):
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    sink = await open_sink(secure(secure_broker, topic_prefix, kafka_sasl_password=None, kafka_sasl_password_file=path))
    await sink.aclose()
    settings = secure(secure_broker, topic_prefix, kafka_sasl_password=None, kafka_sasl_password_file=path)
    path.unlink()
    with pytest.raises(SettingsError, match=r"KAFKA_SASL_PASSWORD_FILE=.*cannot be read"):
        await open_sink(settings)


@pytest.mark.parametrize("wrong", [{"kafka_sasl_password": "wrong-secret"}, {"kafka_sasl_username": "nobody"}])
async def test_a_wrong_password_or_user_is_told_at_once(secure_broker, topic_prefix, wrong, caplog):
    error = await failure(secure(secure_broker, topic_prefix, **wrong), within_s=4)
    assert "do not let us in" in error.cause
    assert "KAFKA_SASL_PASSWORD" in error.hint
    assert "secret" not in caplog.text


async def test_a_wrong_authority_is_told_at_once(secure_broker, topic_prefix, tmp_path):
    other = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(other)
    error = await failure(secure(secure_broker, topic_prefix, kafka_ssl_ca_location=other), within_s=4)
    assert "certificate is not trusted" in error.cause
    assert "KAFKA_SSL_CA_LOCATION" in error.hint


async def test_an_authority_that_is_no_certificate(secure_broker, topic_prefix, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    error = await failure(secure(secure_broker, topic_prefix, kafka_ssl_ca_location=path), within_s=4)
    assert "client cannot be made" in error.cause
    assert "KAFKA_SSL_CA_LOCATION" in error.hint


async def test_plain_text_on_a_tls_port(secure_broker, topic_prefix):
    error = await failure(settings_for(secure_broker.bootstrap_servers, topic_prefix))
    assert "hang up" in error.cause
    assert "KAFKA_SECURITY_PROTOCOL" in error.hint


async def test_no_right_to_create(secure_broker, topic_prefix):
    error = await failure(
        secure(secure_broker, topic_prefix, kafka_sasl_username="alice", kafka_sasl_password="alice-secret")
    )
    assert "not allowed" in error.cause
    assert "CREATE" in error.hint


async def test_no_right_to_write(secure_broker, topic_prefix):
    await (await open_sink(secure(secure_broker, topic_prefix))).aclose()
    allow(secure_broker, topic_prefix, AclOperation.DESCRIBE)
    alice = secure(secure_broker, topic_prefix, kafka_sasl_username="alice", kafka_sasl_password="alice-secret")
    error = await failure(alice)
    assert error.cause.endswith("the right WRITE is missing")

    # Least rights: with WRITE and DESCRIBE it works; the limits of the topics are not known then, which it survives.
    allow(secure_broker, topic_prefix, AclOperation.WRITE)
    sink = await open_sink(alice)
    try:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(100))))
    finally:
        await sink.aclose()


async def test_a_right_that_is_taken_away_breaks_the_sink_and_a_reset_resumes_exactly(secure_broker, topic_prefix):
    await (await open_sink(secure(secure_broker, topic_prefix))).aclose()
    allow(secure_broker, topic_prefix, AclOperation.DESCRIBE, AclOperation.WRITE)
    sink = await open_sink(
        secure(secure_broker, topic_prefix, kafka_sasl_username="alice", kafka_sasl_password="alice-secret")
    )
    events = numbered(route_for(topic_prefix), range(2_000))
    batches = in_batches(events)
    acknowledged = []
    try:
        await deliver(sink, batches[:3])
        await trio.to_thread.run_sync(forbid, secure_broker, topic_prefix + "trades")
        await trio.sleep(0.5)
        with pytest.raises(SinkBroken) as caught, trio.fail_after(30):
            await push(sink, batches[3:], acknowledged)
        assert "authorization failed" in str(caught.value).lower()
        assert not sink.status().reachable
        assert "authorization failed" in sink.status().detail.lower()
        with pytest.raises(SinkBroken):
            await sink.accept(batches[-1])
        with pytest.raises(SinkBroken):
            await sink.acknowledged()

        await trio.to_thread.run_sync(permit_again, secure_broker, topic_prefix + "trades")
        await sink.reset()
        assert sink.status().reachable
        assert sink.status().queue_records == 0
        rest = [batch for batch in batches[3:] if batch not in acknowledged]
        done = await deliver(sink, rest)
        assert [each.batch for each in done] == rest
    finally:
        await sink.aclose()
    options = {name: value for name, value in secure_broker.client_settings.items() if name != "bootstrap.servers"}
    for name in ("raw_events", "trades"):
        found = await trio.to_thread.run_sync(
            lambda name=name: read_topic(secure_broker.bootstrap_servers, topic_prefix + name, **options)
        )
        values = sorted(message.value() for messages in found.values() for message in messages)
        assert values == sorted(value for value, *_ in events)


async def push(sink, batches, acknowledged):
    for batch in batches:
        await sink.accept(batch)
    while True:
        acknowledged.append((await sink.acknowledged()).batch)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_an_outage_and_its_end_are_told_to_whoever_opened_the_sink(broker, topic_prefix, delivery):
    told = []
    sink = await open_sink(
        settings_for(broker.bootstrap_servers, topic_prefix, kafka_delivery=delivery),
        announce=lambda name, **fields: told.append((name, sorted(fields))),
    )
    try:
        sink._health.down("no broker answers")
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(10))))
    finally:
        await sink.aclose()
    assert told == [("kafka_unreachable", ["detail", "level"]), ("kafka_recovered", ["level", "outage_s"])]
