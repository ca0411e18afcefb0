"""Every bad setting is refused, all at once, with its name, its value and what is accepted; secrets are masked."""

from __future__ import annotations

import json
import pickle

import pytest
from bad_settings import BAD_SETTINGS, LOGIN, SECRET

from ingest_actors.errors import IngestError
from ingest_actors.settings import Settings, SettingsError

IDS = [" ".join(f"{name}={value}"[:40] for name, value in given.items()) for given, _ in BAD_SETTINGS]


@pytest.mark.parametrize(("given", "said"), BAD_SETTINGS, ids=IDS)
def test_a_bad_setting_is_refused_with_name_value_and_what_is_accepted(problems_of, given, said):
    problems = problems_of(given)
    assert len(problems) == 1
    assert said in problems[0]
    assert any(name in problems[0] for name in given)
    assert SECRET not in problems[0]


def test_the_table_is_as_long_as_promised():
    assert len(BAD_SETTINGS) >= 40


def test_all_problems_of_one_start_come_at_once(problems_of):
    given = {
        "BATCH_SIZE": "0",  # a value
        "KAFKA_TOPIC_GAPS": "binance-trades",  # a relation
        "SPOOL_DIR": "/dev/null",  # what the machine does not bear out
        "KAFKA_DELIVERY": "exactly_once",
        "KAFKA_ACKS": "1",  # a relation with the one before
        "BINANCE_SYMBOL": "X",  # a name
        "HTTP_TOKEN": "short",  # a secret
    }
    problems = problems_of(given)
    assert [problem.split("=")[0].split(":")[0] for problem in problems] == [
        "BINANCE_SYMBOL",
        "BATCH_SIZE",
        "HTTP_TOKEN",
        "KAFKA_TOPIC_GAPS",
        "KAFKA_ACKS",
        "SPOOL_DIR",
    ]


def test_a_relation_does_not_speak_of_a_value_that_was_refused(problems_of):
    problems = problems_of({"BUFFER_MAX_BYTES": "a lot", "WS_MESSAGE_MAX_BYTES": "1GiB"})
    assert [problem.split("=")[0] for problem in problems] == ["BUFFER_MAX_BYTES"]


def test_embedded_and_exactly_once_exclude_each_other(problems_of):
    problems = problems_of({"KAFKA_BOOTSTRAP_SERVERS": "EMBEDDED", "KAFKA_DELIVERY": "exactly_once"})
    assert any("the in-process cluster shows aborted records" in problem for problem in problems)


def test_checks_of_others_are_reported_with_the_rest_and_see_defaults_in_place_of_what_was_refused():
    seen = []

    def check(settings):
        seen.append(settings.batch_size)
        return ["one more problem"]

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(None, {"BATCH_SIZE": "0"}, checks=[check])
    assert seen == [100]
    assert len(caught.value.problems) == 2
    assert caught.value.problems[1] == "one more problem"


def test_a_program_gets_the_same_refusals_as_the_environment():
    with pytest.raises(SettingsError) as caught:
        Settings(batch_size=True, batch_sizes=3, http_port=8.5, binance_symbols=(), reconnect_interval=None)
    names = sorted(problem.split("=")[0].split(":")[0] for problem in caught.value.problems)
    assert names == ["BATCH_SIZE", "BATCH_SIZES", "BINANCE_SYMBOLS", "HTTP_PORT", "RECONNECT_INTERVAL"]
    assert isinstance(caught.value, IngestError)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("options", [["linger.ms"], "linger.ms=5", 3])
def test_options_of_librdkafka_must_be_a_mapping(options):
    with pytest.raises(SettingsError, match=r"KAFKA_PRODUCER_OPTIONS=.*: accepted: options of librdkafka"):
        Settings(kafka_producer_options=options)


@pytest.mark.parametrize("symbols", [5, None, True])
def test_something_that_is_no_list_is_refused_like_any_other_value(symbols):
    with pytest.raises(SettingsError, match="BINANCE_SYMBOLS"):
        Settings(binance_symbols=symbols)


def test_a_long_value_is_cut_short_in_the_text(problems_of):
    (problem,) = problems_of({"BINANCE_SYMBOLS": "/" * 10_000})
    assert len(problem) < 700


def test_a_secret_is_in_no_text_that_the_settings_give_away():
    settings = Settings.from_env(
        None,
        LOGIN
        | {
            "KAFKA_SASL_PASSWORD": SECRET,
            "HTTP_TOKEN": SECRET,
            "KAFKA_CLIENT_SSL_KEY_PASSWORD": SECRET,
            "KAFKA_PRODUCER_SASL_OAUTHBEARER_CLIENT_SECRET": SECRET,
        },
    )
    texts = [
        repr(settings),
        str(settings),
        json.dumps(settings.describe()),
        settings.model_dump_json(),
        str(settings.model_dump()),
        str(settings.warnings()),
    ]
    assert not [text for text in texts if SECRET in text]
    assert settings.describe()["KAFKA_SASL_PASSWORD"] == "***"
    assert settings.describe()["KAFKA_CLIENT_SSL_KEY_PASSWORD"] == "***"
    assert settings.kafka_sasl_password.get_secret_value() == SECRET
    assert settings.kafka_client_options == {"ssl.key.password": SECRET}


def test_a_secret_is_in_no_error(problems_of):
    given = {
        "KAFKA_SASL_PASSWORD": SECRET,
        "KAFKA_SASL_PASSWORD_FILE": "/nowhere",
        "HTTP_TOKEN": f"{SECRET} with a space",
        "KAFKA_SASL_PASS": SECRET,
        "KAFKA_BOOTSTRAP_SERVERS": f"me:{SECRET}@broker:9092",
        "BINANCE_WS_URL": f"wss://me:{SECRET}@x",
        "BATCH_SIZE": "0",
    }
    problems = problems_of(given)
    assert len(problems) >= 6
    assert not [problem for problem in problems if SECRET in problem]


def test_the_error_travels_between_processes():
    with pytest.raises(SettingsError) as caught:
        Settings(batch_size=0)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
