"""Whether the brokers can be reached, judged without any."""

from confluent_kafka import KafkaError

from ingest_actors.kafka import codes
from ingest_actors.kafka.health import CONFIRM_S, STALL_S, Health

DOWN = KafkaError(codes.ALL_BROKERS_DOWN, "1/1 brokers are down")
REFUSED = KafkaError(codes.TRANSPORT, "Connection refused")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def new():
    clock = Clock()
    return Health(clock), clock


def test_silence_while_records_wait_is_an_outage_and_an_answer_ends_it(caplog):
    caplog.set_level("INFO", "ingest_actors")
    health, clock = new()
    health.began()
    clock.now += STALL_S
    health.check(7)
    assert health.reachable
    clock.now += 0.1
    for _ in range(3):
        health.check(7)
    assert not health.reachable
    assert health.suspect
    assert health.detail == "nothing was acknowledged for 5 s while 7 records wait"
    clock.now += 10
    health.answered()
    assert (health.reachable, health.detail, health.suspect) == (True, "", False)
    lines = [record.getMessage().split()[0] for record in caplog.records]
    assert lines == ["kafka_unreachable", "kafka_recovered"]
    assert "outage_s=15.1" in caplog.records[-1].getMessage()


def test_silence_while_nothing_waits_is_no_outage():
    health, clock = new()
    clock.now += 1_000
    health.check(0)
    assert health.reachable


def test_all_brokers_down_is_believed_sooner_and_the_reason_is_kept():
    health, clock = new()
    health.began()
    health.on_error(REFUSED)
    health.on_error(DOWN)
    health.on_error(DOWN)
    clock.now += CONFIRM_S + 0.1
    health.check(3)
    assert not health.reachable
    assert health.detail.endswith("last error: Connection refused")
    assert health.errors == 3


def test_all_brokers_down_is_forgotten_when_something_is_acknowledged():
    health, clock = new()
    health.on_error(DOWN)
    assert health.suspect
    health.answered()
    clock.now += CONFIRM_S + 0.1
    health.began()
    health.check(3)
    assert health.reachable
    assert not health.suspect


def test_an_outage_is_told_once_although_its_reason_changes(caplog):
    caplog.set_level("INFO", "ingest_actors")
    health, _ = new()
    health.down("first")
    health.down("second")
    assert health.detail == "second"
    assert len(caplog.records) == 1


def test_an_outage_and_its_end_are_told_to_whoever_is_given_instead_of_to_the_log(caplog):
    caplog.set_level("INFO", "ingest_actors")
    told, clock = [], Clock()
    health = Health(clock, announce=lambda name, **fields: told.append((name, fields)))
    health.on_error(KafkaError(codes.AUTHENTICATION, "kafka:9092/1: Authentication failed"))
    health.down("no broker answers")
    clock.now += 4
    health.answered()
    detail = "no broker answers; last error: kafka:9092/1: Authentication failed"
    hint = "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD (or its file) and KAFKA_SASL_MECHANISM"
    assert told == [
        ("kafka_unreachable", {"level": "warning", "detail": detail, "hint": hint}),
        ("kafka_recovered", {"level": "warning", "outage_s": 4.0}),
    ]
    assert caplog.records == []
