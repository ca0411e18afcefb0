"""Logins and certificates: who is kept out is told why and what to do; whoever is in stays in over another password."""

from __future__ import annotations

import time

import pytest
import trio
import trustme
from confluent_kafka.admin import AclOperation, ResourceType
from exactly_once import CountingProgress, letter_of, read_committed
from guarded_broker import DAY, REAUTHENTICATE_MS
from kafka_support import NAMES, deliver, in_batches, numbered, route_for

from ingest_actors.errors import SecondWriter, SinkUnreachable
from ingest_actors.kafka.opening import open_sink
from ingest_actors.settings import Settings

pytestmark = pytest.mark.broker

FIRST, SECOND = "first-secret", "second-secret"
GUESS = "guess-secret"


@pytest.fixture(scope="module")
def carol(guarded):
    """Somebody who may do anything, by a login and by a certificate of that name."""
    guarded.set_password("carol", FIRST)
    names = {ResourceType.TOPIC: "*", ResourceType.TRANSACTIONAL_ID: "*"}
    rights = [(kind, f"t{name}", AclOperation.ALL) for kind, name in names.items()]
    guarded.allow("carol", *rights)
    return {"kafka_sasl_username": "carol", "kafka_sasl_password": FIRST}


def topics(prefix):
    return {f"kafka_topic_{name}": prefix + name for name in NAMES} | {"instance_name": prefix + "x"}


async def opened(given, prefix, *, progress=None, **more):
    given = given | topics(prefix) | more
    progress = progress or CountingProgress(given["instance_name"])
    return await open_sink(Settings(kafka_topic_partitions=3, **given), progress=progress, letter=letter_of(prefix))


async def kept_out(given, prefix="t"):
    """The error of an attempt; it must come soon, and hold no secret."""
    began = time.monotonic()
    with pytest.raises(SinkUnreachable) as caught:
        await opened(given, prefix)
    assert time.monotonic() - began < 6
    error = caught.value
    assert error.exit_code == 75
    assert [word for word in (FIRST, SECOND, GUESS, "PRIVATE KEY") if word in str(error)] == []
    return error


LOGINS = [
    ({"kafka_sasl_password": GUESS}, "the brokers do not let us in", "KAFKA_SASL_PASSWORD"),
    ({"kafka_sasl_username": "nobody"}, "the brokers do not let us in", "KAFKA_SASL_USERNAME"),
    ({"kafka_sasl_mechanism": "PLAIN"}, "SCRAM-SHA-512", "set KAFKA_SASL_MECHANISM to one that the brokers take"),
    (
        {"kafka_sasl_mechanism": "SCRAM-SHA-256"},
        "SCRAM-SHA-512",
        "set KAFKA_SASL_MECHANISM to one that the brokers take",
    ),
]


@pytest.mark.parametrize("door", ["scram", "login"])
@pytest.mark.parametrize(("wrong", "cause", "hint"), LOGINS, ids=[str(login[0])[6:30] for login in LOGINS])
async def test_a_login_that_is_refused_is_told_with_what_to_set(guarded, carol, door, *, wrong, cause, hint):
    error = await kept_out(guarded.settings(door, **carol) | wrong)
    assert cause in error.cause
    assert hint in error.hint


@pytest.mark.parametrize(
    ("door", "protocol", "cause"),
    [
        ("scram", None, "they hang up"),
        ("scram", "SASL_PLAINTEXT", "they hang up"),
        ("scram", "SSL", "they hang up"),
        ("login", None, "they hang up"),
        ("login", "SASL_SSL", "no TLS with the brokers"),
        ("plain", "SASL_PLAINTEXT", "the brokers do not let us in"),
        ("plain", "SSL", "no TLS with the brokers"),
        ("mutual", None, "they hang up"),
    ],
)
async def test_another_protocol_than_the_port_speaks_is_told(guarded, carol, door, protocol, cause):
    given = {"kafka_bootstrap_servers": guarded.bootstrap_servers if door == "plain" else guarded.address(door)}
    if protocol is not None:
        given |= {"kafka_security_protocol": protocol}
    if protocol in ("SASL_SSL", "SASL_PLAINTEXT"):
        given |= {"kafka_sasl_mechanism": "SCRAM-SHA-512", **carol}
    if protocol in ("SASL_SSL", "SSL"):
        given |= {"kafka_ssl_ca_location": guarded.ca_path}
    error = await kept_out(given)
    assert error.cause.startswith(cause)
    assert "KAFKA_SECURITY_PROTOCOL" in error.hint


@pytest.mark.parametrize(
    ("door", "why", "hint"),
    [
        ("stale", "certificate has expired", "renew the brokers' certificates, or mend the clock of this machine"),
        ("misnamed", "Hostname mismatch, certificate is not valid for 'localhost'.", "KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
async def test_a_certificate_of_the_brokers_that_is_no_good_is_told_with_the_reason(guarded, door, why, hint):
    error = await kept_out(guarded.settings(door))
    assert error.cause.startswith(f"the brokers' certificate is not trusted: {why} (ssl://localhost:")
    assert hint in error.hint


async def test_an_authority_that_is_not_theirs_is_told_with_the_reason(guarded, carol, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    error = await kept_out(guarded.settings("scram", **carol) | {"kafka_ssl_ca_location": tmp_path / "other.pem"})
    assert error.cause.startswith("the brokers' certificate is not trusted: unable to get local issuer certificate (")
    assert "KAFKA_SSL_CA_LOCATION" in error.hint


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_a_certificate_of_ones_own_lets_in(guarded, carol, topic_prefix, tmp_path, delivery):
    given = guarded.settings("mutual", kafka_delivery=delivery) | guarded.client_certificate(tmp_path, "carol")
    sink = await opened(given, topic_prefix)
    try:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix), range(200))))
    finally:
        await sink.aclose()
    parts = await trio.to_thread.run_sync(read_committed, guarded.bootstrap_servers, topic_prefix + "trades")
    assert sum(map(len, parts.values())) == 200


async def test_no_certificate_where_one_is_wanted_is_told(guarded):
    error = await kept_out(guarded.settings("mutual"))
    assert error.cause.startswith("the brokers want a certificate of ours: ")
    assert "set KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION" in error.hint


async def test_a_certificate_that_has_expired_is_told(guarded, tmp_path):
    error = await kept_out(guarded.settings("mutual") | guarded.client_certificate(tmp_path, "carol", age=DAY))
    assert error.cause.startswith("the brokers do not take our certificate: certificate has expired")
    assert "renew the certificate in KAFKA_SSL_CERTIFICATE_LOCATION" in error.hint


async def test_a_certificate_of_an_authority_that_the_brokers_do_not_know_is_told(guarded, tmp_path):
    own = guarded.client_certificate(tmp_path, "carol", authority=trustme.CA())
    error = await kept_out(guarded.settings("mutual") | own)
    assert error.cause.startswith("the brokers do not take our certificate: ")
    assert "signed by an authority that the brokers trust" in error.hint


async def test_a_key_of_another_certificate_is_told(guarded, tmp_path):
    own = guarded.client_certificate(tmp_path, "carol")
    other = guarded.client_certificate(tmp_path, "other")
    error = await kept_out(
        guarded.settings("mutual") | own | {"kafka_ssl_key_location": other["kafka_ssl_key_location"]}
    )
    assert error.cause.startswith("the client cannot be made: ")
    assert "KAFKA_SSL_KEY_LOCATION" in error.hint


@pytest.fixture
def dave(guarded, topic_prefix, tmp_path):
    """Somebody whose password lies in a file, and who must log in again every other second."""
    user = f"dave-{topic_prefix}"
    guarded.set_password(user, FIRST)
    guarded.allow(user, (ResourceType.TOPIC, "t*", AclOperation.ALL))
    guarded.allow(user, (ResourceType.TRANSACTIONAL_ID, "t*", AclOperation.ALL))
    path = tmp_path / "password"
    path.write_text(FIRST + "\n")
    yield user, path, guarded.settings("brief", kafka_sasl_username=user, kafka_sasl_password_file=path)
    guarded.take_away(user)


async def keep_delivering(sink, prefix, *, until):
    """Deliver, batch by batch, until something is so; how many events."""
    count = 0
    with trio.fail_after(40):
        while not until():
            await deliver(sink, in_batches(numbered(route_for(prefix), range(count, count + 10))), within_s=40)
            count += 10
            await trio.sleep(0.05)
    return count


def told(caplog, event):
    return [record.fields for record in caplog.records if record.getMessage().startswith(event)]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_a_password_that_is_changed_in_its_file_and_then_on_the_brokers_is_taken_up_without_loss(
    guarded, dave, topic_prefix, caplog, delivery
):
    caplog.set_level("INFO", "ingest_actors")
    user, path, given = dave
    progress = CountingProgress(topic_prefix + "x")
    sink = await opened(given, topic_prefix, kafka_delivery=delivery, progress=progress)
    try:
        await deliver(sink, in_batches(numbered(route_for(topic_prefix, "depth"), range(10))))
        path.write_text(SECOND)
        await trio.to_thread.run_sync(guarded.set_password, user, SECOND)
        changed_s = time.monotonic()
        count = await keep_delivering(
            sink,
            topic_prefix,
            until=lambda: (
                told(caplog, "kafka_password_changed") and time.monotonic() - changed_s > 3 * REAUTHENTICATE_MS / 1000
            ),
        )
    finally:
        await sink.aclose()
    assert told(caplog, "kafka_password_changed") == [{"file": str(path)}]
    assert FIRST not in caplog.text
    assert SECOND not in caplog.text
    parts = await trio.to_thread.run_sync(read_committed, guarded.bootstrap_servers, topic_prefix + "trades")
    numbers = [int(message.value()[:9]) for part in parts.values() for message in part]
    assert sorted(numbers) == list(range(count))
    again = CountingProgress(topic_prefix + "x")
    await (await opened(given, topic_prefix, kafka_delivery=delivery, progress=again)).aclose()
    assert again.settled == progress.marks


async def test_a_password_that_is_changed_on_the_brokers_alone_is_an_outage_that_says_what_to_do(
    guarded, dave, topic_prefix, caplog
):
    caplog.set_level("INFO", "ingest_actors")
    user, path, given = dave
    sink = await opened(given, topic_prefix)
    events = in_batches(numbered(route_for(topic_prefix), range(100)), 10)
    try:
        await deliver(sink, events[:1])
        await trio.to_thread.run_sync(guarded.set_password, user, SECOND)
        await trio.sleep(REAUTHENTICATE_MS / 1000 + 0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver, sink, events[1:])
            with trio.fail_after(20):
                while not told(caplog, "kafka_unreachable"):  # noqa: ASYNC110 - a line of the log
                    await trio.sleep(0.05)
            path.write_text(SECOND)
    finally:
        await sink.aclose()
    (line,) = told(caplog, "kafka_unreachable")
    assert "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD (or its file)" in line["hint"]
    assert len(told(caplog, "kafka_recovered")) == 1
    assert len(told(caplog, "kafka_password_changed")) == 1
    assert SECOND not in caplog.text


async def test_a_second_writer_is_noticed_after_another_password_too(guarded, dave, topic_prefix, caplog):
    caplog.set_level("INFO", "ingest_actors")
    user, path, given = dave
    sink = await opened(given, topic_prefix)
    try:
        path.write_text(SECOND)
        await trio.to_thread.run_sync(guarded.set_password, user, SECOND)
        changed_s = time.monotonic()
        await keep_delivering(
            sink, topic_prefix, until=lambda: time.monotonic() - changed_s > 2 * REAUTHENTICATE_MS / 1000
        )
        other = await opened(given, topic_prefix)
        try:
            with pytest.raises(SecondWriter), trio.fail_after(20):
                await sink.acknowledged()
        finally:
            await other.aclose()
    finally:
        await sink.aclose()
