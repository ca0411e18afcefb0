"""From settings to librdkafka's options."""

import pytest
from confluent_kafka import Producer
from kafka_support import settings_for

from ingest_actors.kafka.config import RECORD_OVERHEAD_BYTES, client_options, producer_options
from ingest_actors.kafka.option_rules import is_secret_option, option_name, option_problems

QUEUE = 32 * 1024 * 1024


def settings(**more):
    return settings_for("localhost:9092", "t-", **more)


def test_a_producer_keeps_its_promises_whatever_the_settings_say():
    options = producer_options(settings(), queue_bytes=QUEUE)
    assert (
        options.items()
        >= {
            "bootstrap.servers": "localhost:9092",
            "acks": "all",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "retries": 2_147_483_647,
            "message.timeout.ms": 0,
            "partitioner": "murmur2_random",
            "compression.type": "snappy",
            "linger.ms": 5,
            "client.id": "binance-ingest",
        }.items()
    )
    Producer(options)  # librdkafka takes them all


def test_without_acks_of_all_replicas_only_one_request_at_a_time_keeps_the_order():
    options = producer_options(settings(kafka_acks="1"), queue_bytes=QUEUE)
    assert options["acks"] == "1"
    assert options["enable.idempotence"] is False
    assert options["max.in.flight.requests.per.connection"] == 1
    assert "enable.gapless.guarantee" not in options
    Producer(options)


def test_the_queue_is_bounded_by_memory_in_payload_and_in_records():
    options = producer_options(settings(), queue_bytes=QUEUE)
    assert options["queue.buffering.max.kbytes"] == QUEUE // 2 // 1024
    assert options["queue.buffering.max.messages"] == QUEUE // 2 // RECORD_OVERHEAD_BYTES
    tiny = producer_options(settings(), queue_bytes=1)
    assert (tiny["queue.buffering.max.kbytes"], tiny["queue.buffering.max.messages"]) == (1, 1)
    Producer(producer_options(settings(), queue_bytes=2**40))


def test_a_batch_fits_into_the_smallest_topic_and_a_message_into_the_largest():
    options = producer_options(settings(), queue_bytes=QUEUE, message_bytes=(100_000, 8_388_608))
    assert options["batch.size"] == 100_000 - 2_048
    assert options["message.max.bytes"] == 8_388_608
    Producer(producer_options(settings(), queue_bytes=QUEUE, message_bytes=(10, 10)))
    assert (
        producer_options(settings(), queue_bytes=QUEUE, message_bytes=(9_000_000, 9_000_000))["batch.size"] == 1_000_000
    )


def test_options_pass_through_to_the_producer_or_to_every_client():
    given = settings(
        kafka_producer_options={"LINGER_MS": "20", "batch.size": "50000"},
        kafka_client_options={"SOCKET_KEEPALIVE_ENABLE": "false", "client.id": "me"},
    )
    client = client_options(given)
    producer = producer_options(given, queue_bytes=QUEUE)
    assert "linger.ms" not in client
    assert client["client.id"] == "me"
    assert producer["linger.ms"] == "20"
    assert producer["batch.size"] == 50_000
    assert client["socket.keepalive.enable"] == producer["socket.keepalive.enable"] == "false"
    Producer(producer)


def test_security_is_the_same_for_every_client(tmp_path):
    ca, certificate, key, password = (tmp_path / name for name in ("ca", "certificate", "key", "password"))
    for path in (ca, certificate, key, password):
        path.write_text("geheim\r\n")
    given = settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_sasl_username="me",
        kafka_sasl_password_file=password,
        kafka_ssl_ca_location=ca,
        kafka_ssl_certificate_location=certificate,
        kafka_ssl_key_location=key,
    )
    wanted = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "geheim",
        "ssl.ca.location": str(ca),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(key),
    }
    assert client_options(given).items() >= wanted.items()
    assert producer_options(given, queue_bytes=QUEUE).items() >= wanted.items()


def test_the_embedded_cluster_takes_the_place_of_the_brokers():
    assert client_options(settings(), bootstrap_servers="127.0.0.1:1")["bootstrap.servers"] == "127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("acks", "KAFKA_ACKS"),
        ("auto.offset.reset", "reads"),
        ("batch.num.messages", ""),
        ("bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS"),
        ("compression.type", "KAFKA_COMPRESSION"),
        ("delivery.report.only.error", "accounted"),
        ("delivery.timeout.ms", "expire"),
        ("dr_msg_cb", "not for configuration"),
        ("enable.gapless.guarantee", "overtake"),
        ("enable.idempotence", "KAFKA_ACKS"),
        ("group.id", "decides"),
        ("isolation.level", "committed"),
        ("log_level", "LOG_LEVEL"),
        ("max.in.flight", "order"),
        ("message.max.bytes", "topics"),
        ("message.timeout.ms", "expire"),
        ("partitioner", "Java"),
        ("plugin.library.paths", "foreign code"),
        ("queue.buffering.max.kbytes", "BUFFER_MAX_BYTES"),
        ("retries", "KAFKA_RETRIES"),
        ("sasl.password", "KAFKA_SASL_PASSWORD"),
        ("security.protocol", "KAFKA_SECURITY_PROTOCOL"),
        ("test.mock.num.brokers", "embedded"),
        ("transactional.id", "INSTANCE_NAME"),
        ("transaction.timeout.ms", "KAFKA_DELIVERY"),
    ],
)
@pytest.mark.parametrize("prefix", ["KAFKA_PRODUCER_", "KAFKA_CLIENT_"])
def test_options_that_would_break_a_promise_are_refused_with_the_reason(prefix, name, word):
    given = {name: "1000"}
    problems = option_problems(*((given, {}) if prefix == "KAFKA_PRODUCER_" else ({}, given)))
    if not word:
        assert problems == []
        return
    (problem,) = problems
    assert problem.startswith(prefix + name.upper().replace(".", "_") + "=")
    assert "refused" in problem
    assert word in problem


def test_what_librdkafka_does_not_accept_is_told_in_its_words():
    problems = option_problems({"linger.mss": "1", "linger.ms": "-7"}, {"stats_cb": "x", "client.id": "fine"})
    assert len(problems) == 3
    assert problems[0].startswith("KAFKA_PRODUCER_LINGER_MS=-7: librdkafka does not accept it: ")
    assert problems[1].startswith("KAFKA_PRODUCER_LINGER_MSS=1: librdkafka does not accept it: No such configuration")
    assert problems[2].startswith("KAFKA_CLIENT_STATS_CB=x: refused")
    (problem,) = option_problems({}, {"default.topic.config": "x"})
    assert "no option that a text can set" in problem


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"])
def test_secrets_are_masked_in_problems(name):
    assert is_secret_option(name)
    for problem in option_problems({name: "geheim"}, {name: "geheim"}):
        assert "geheim" not in problem
        assert "=***" in problem


def test_names_as_in_the_environment_and_as_in_librdkafka_are_the_same():
    assert option_name("LINGER_MS") == option_name("linger.ms") == "linger.ms"
    assert option_name("LOG_LEVEL") == "log_level"
