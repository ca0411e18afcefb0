"""Bad settings at the real command line: exit code 2, every problem at once, no secret anywhere."""

from __future__ import annotations

import json

import pytest

from ingest_actors.checks import start_problems
from ingest_actors.service import Service
from ingest_actors.settings import Settings, SettingsError

SECRET = "hunter2-swordfish"

MANY = {
    "BATCH_SIZE": "0",
    "BINANCE_SYMBOL": "BTCUSDT",
    "BINANCE_STREAM_TYPES": "trade,depth,depth@100ms,foo",
    "KAFKA_ACKS": "1",
    "KAFKA_DELIVERY": "exactly_once",
    "KAFKA_PRODUCER_ENABLE_IDEMPOTENCE": "false",
    "KAFKA_CLIENT_NO_SUCH_OPTION": "x",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_PASSWORD": SECRET,
    "KAFKA_CLIENT_SASL_PASWORD": SECRET,
    "KAFKA_CLIENT_SSL_KEY_PASSWORD": SECRET,
    "HTTP_TOKEN": f"{SECRET} with spaces",
    "BINANCE_REST_URL": f"https://me:{SECRET}@x",
}
NAMED = [
    "BINANCE_SYMBOL: unknown",
    "BATCH_SIZE='0'",
    "BINANCE_STREAM_TYPES=foo",
    "BINANCE_STREAM_TYPES=depth,depth@100ms",
    "KAFKA_ACKS='1': KAFKA_DELIVERY=exactly_once needs every replica",
    "KAFKA_PRODUCER_ENABLE_IDEMPOTENCE=false: refused",
    "KAFKA_CLIENT_NO_SUCH_OPTION=x: librdkafka does not accept it",
    "KAFKA_CLIENT_SASL_PASWORD=***: librdkafka does not accept it",
    "KAFKA_SASL_MECHANISM is unset",
    "HTTP_TOKEN=***",
    "BINANCE_REST_URL='https://***@x'",
]

BAD_FOR_THE_SERVICE = [
    ({"binance_stream_types": "trade,foo"}, "BINANCE_STREAM_TYPES=foo: the exchange has no such stream"),
    ({"binance_stream_types": "btcusdt@trade"}, "leave the symbol out"),
    ({"binance_stream_types": "depth@250ms"}, "the exchange has no such speed"),
    ({"binance_stream_types": "depth,depth@100ms"}, "the two cannot be told apart in Kafka"),
    ({"binance_stream_types": "miniTicker,!miniTicker@arr"}, "the two cannot be told apart in Kafka"),
    *(
        ({"kafka_producer_options": {name: "1"}}, f"KAFKA_PRODUCER_{name.upper().replace('.', '_')}=1: refused")
        for name in (
            "enable.idempotence", "acks", "request.required.acks", "retries", "message.send.max.retries", "partitioner",
            "transactional.id", "transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms",
            "delivery.report.only.error", "max.in.flight", "queuing.strategy", "queue.buffering.max.messages",
            "bootstrap.servers", "compression.type",
        )
    ),
    ({"kafka_client_options": {"sasl.password": SECRET}}, "KAFKA_CLIENT_SASL_PASSWORD=***: refused"),
    ({"kafka_client_options": {"sasl.pasword": SECRET}}, "KAFKA_CLIENT_SASL_PASWORD=***: librdkafka does not"),
    ({"kafka_producer_options": {"linger.ms": "-5"}}, "KAFKA_PRODUCER_LINGER_MS=-5: librdkafka does not accept it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"), BAD_FOR_THE_SERVICE, ids=[str(given)[1:60] for given, _ in BAD_FOR_THE_SERVICE]
)
def test_what_takes_knowledge_of_the_exchange_or_of_librdkafka_is_checked_before_a_start(given, said):
    (problem,) = start_problems(Settings(**given))
    assert said in problem
    assert SECRET not in problem


def test_good_settings_have_no_problems():
    settings = Settings(kafka_producer_options={"linger.ms": 20}, kafka_client_options={"client.rack": "a"})
    assert start_problems(settings) == []


def test_the_checks_are_part_of_one_report():
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(None, MANY, checks=[start_problems])
    problems = caught.value.problems
    assert [name for name in NAMED if not any(problem.startswith(name) for problem in problems)] == []
    assert len(problems) == len(NAMED)


def test_the_service_refuses_with_one_log_line_that_names_every_problem(start):
    program = start(**MANY)
    assert program.end() == 2
    (line,) = program.log()
    assert line["event"] == "settings_refused"
    assert line["level"] == "error"
    assert line["exit_code"] == 2
    assert len(line["problems"]) == len(NAMED)
    assert SECRET not in "".join(program.stdout + program.stderr)


@pytest.mark.parametrize("where", ["environment", "file"])
def test_people_get_a_list(start, tmp_path, where):
    given = MANY | {"LOG_FORMAT": "console"}
    if where == "file":
        (tmp_path / "my.env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        program = start("--env-file", "my.env")
    else:
        program = start("run", **given)
    assert program.end() == 2
    assert program.stderr[0] == "settings refused:\n"
    assert len(program.stderr) == 1 + len(NAMED)
    assert SECRET not in "".join(program.stdout + program.stderr)


def test_a_tool_refuses_in_the_same_words(start):
    program = start("setup-topics", BATCH_SIZE="0", KAFKA_PRODUCER_ACKS="1")
    assert program.end() == 2
    assert program.stderr[0] == "settings refused:\n"
    assert [line.split("=")[0].strip() for line in program.stderr[1:]] == ["BATCH_SIZE", "KAFKA_PRODUCER_ACKS"]


def test_what_kubernetes_injects_does_not_stop_a_start(start):
    program = start(
        "run",
        KAFKA_PORT="tcp://10.0.0.1:9092", KAFKA_SERVICE_HOST="10.0.0.1", KAFKA_PORT_9092_TCP="tcp://10.0.0.1:9092",
        KAFKA_PRODUCER_SERVICE_PORT="80", BATCH_SIZE="0",
    )  # fmt: skip
    assert program.end() == 2
    assert len(json.loads(program.stderr[0])["problems"]) == 1


def test_embedded_the_service_refuses_the_same():
    settings = Settings(binance_stream_types="foo", kafka_producer_options={"acks": "0"})
    with pytest.raises(SettingsError) as caught:
        Service(settings)
    assert caught.value.problems == start_problems(settings)
    assert len(caught.value.problems) == 2
