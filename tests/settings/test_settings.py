"""Defaults, precedence, values, names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.settings import Settings, SettingsError
from ingest_actors.settings.values import size_text

CONTRACT = {
    "binance_symbols": ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT"),
    "binance_stream_types": ("aggTrade", "depth@100ms", "trade", "kline_1m"),
    "binance_ws_url": ("wss://stream.binance.com:9443",),
    "binance_rest_url": ("https://api.binance.com",),
    "instance_name": "binance-ingest",
    "kafka_bootstrap_servers": "localhost:9092",
    "kafka_topic_raw_events": "binance-raw-events",
    "kafka_topic_trades": "binance-trades",
    "kafka_topic_depth": "binance-depth",
    "kafka_topic_dead_letters": "binance-dead-letters",
    "kafka_topic_gaps": "binance-gaps",
    "kafka_topic_state": "binance-ingest-state",
    "kafka_create_topics": True,
    "kafka_topic_partitions": 6,
    "kafka_topic_replication": -1,
    "kafka_compression": "snappy",
    "kafka_acks": "all",
    "kafka_retries": 3,
    "kafka_delivery": "at_least_once",
    "kafka_commit_interval_ms": 100,
    "kafka_security_protocol": None,
    "kafka_sasl_mechanism": None,
    "kafka_sasl_username": None,
    "kafka_sasl_password": None,
    "kafka_sasl_password_file": None,
    "kafka_ssl_ca_location": None,
    "kafka_ssl_certificate_location": None,
    "kafka_ssl_key_location": None,
    "kafka_producer_options": {},
    "kafka_client_options": {},
    "reconnect_interval": 5,
    "max_retries": 5,
    "batch_size": 100,
    "batch_timeout_seconds": 5,
    "batch_eager": True,
    "buffer_max_bytes": 67_108_864,
    "spool_dir": None,
    "spool_max_bytes": 10_737_418_240,
    "backfill": ("trade", "aggTrade"),
    "gap_hold_seconds": 10,
    "gap_hold_max_events": 50_000,
    "resume_max_age_seconds": 3600,
    "rest_weight_per_minute": 3000,
    "connections_per_stream": 1,
    "ws_rotate_after_seconds": 82_800,
    "depth_snapshot_interval_seconds": 3600,
    "depth_snapshot_limit": 1000,
    "receive_pause_max_ms": 1,
    "ws_message_max_bytes": 4_194_304,
    "stream_silence_seconds": None,
    "websocket_fast_path": True,
    "shutdown_timeout_seconds": 10,
    "monitor_interval_seconds": 30,
    "http_host": "127.0.0.1",
    "http_port": 8000,
    "http_token": None,
    "log_level": "INFO",
    "log_format": "json",
}
"""Names and defaults that users were promised."""

KUBERNETES = {
    "KAFKA_SERVICE_HOST": "10.0.0.1",
    "KAFKA_SERVICE_PORT": "9092",
    "KAFKA_SERVICE_PORT_CLIENT": "9092",
    "KAFKA_PORT": "tcp://10.0.0.1:9092",
    "KAFKA_PORT_9092_TCP": "tcp://10.0.0.1:9092",
    "KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
    "KAFKA_PORT_9092_TCP_PORT": "9092",
    "KAFKA_PORT_9092_TCP_PROTO": "tcp",
    "KAFKA_PRODUCER_SERVICE_HOST": "10.0.0.2",
    "KAFKA_PRODUCER_SERVICE_PORT": "80",
    "KAFKA_PRODUCER_PORT": "udp://10.0.0.2:80",
    "KAFKA_PRODUCER_PORT_80_UDP_ADDR": "10.0.0.2",
    "KAFKA_CLIENT_PORT_80_TCP": "tcp://10.0.0.2:80",
    "BINANCE_SERVICE_HOST": "10.0.0.3",
    "BINANCE_SYMBOLS_SERVICE_PORT_HTTP": "80",
    "BINANCE_PORT": "tcp://10.0.0.3:80",
    "HTTP_PORT": "tcp://10.0.0.4:80",
    "HTTP_SERVICE_HOST": "10.0.0.4",
}
"""What the platform sets for services called kafka, kafka-producer, kafka-client, binance, binance-symbols and http."""


def test_defaults_are_the_contract():
    settings = Settings()
    assert {name: getattr(settings, name) for name in type(settings).model_fields} == CONTRACT


def test_settings_given_by_a_program_read_no_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BATCH_SIZE", "7")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("BATCH_SIZE=8\n")
    assert Settings().batch_size == 100
    assert Settings.from_env().batch_size == 7
    monkeypatch.delenv("BATCH_SIZE")
    assert Settings.from_env().batch_size == 8


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().batch_size = 3


def test_the_environment_goes_before_the_file_and_the_file_before_defaults(tmp_path):
    file = tmp_path / "my.env"
    file.write_text("# a comment\nexport BATCH_SIZE=2\nMAX_RETRIES = 3\nLOG_LEVEL='debug' # ours\nOTHER=x\nPORT=y\n")
    settings = Settings.from_env(file, {"BATCH_SIZE": "1", "PATH": "/bin"})
    assert (settings.batch_size, settings.max_retries, settings.log_level, settings.batch_eager) == (
        1,
        3,
        "DEBUG",
        True,
    )


def test_an_empty_value_is_the_same_as_none(tmp_path):
    file = tmp_path / "my.env"
    file.write_text("BATCH_SIZE=2\nMAX_RETRIES=\nKAFKA_SASL_USERNAME=\nHTTP_TOKEN\n")
    settings = Settings.from_env(file, {"BATCH_SIZE": "", "KAFKA_SASL_PASSWORD": "", "BINANCE_SYMBOLS": ""})
    assert (settings.batch_size, settings.max_retries, settings.kafka_sasl_password) == (2, 5, None)


def test_values_in_the_file_are_taken_as_they_stand(tmp_path):
    file = tmp_path / "my.env"
    file.write_text("HTTP_TOKEN=pa${HOME}ss$word\n")
    assert Settings.from_env(file, {}).http_token.get_secret_value() == "pa${HOME}ss$word"


def test_the_file_may_be_absent_unless_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Settings.from_env(environ={}) == Settings()
    with pytest.raises(SettingsError, match=r"no\.env: No such file; accepted: a file of NAME=value lines"):
        Settings.from_env("no.env", {})


def test_a_file_that_cannot_be_read_is_a_problem_like_others(tmp_path):
    (tmp_path / "latin").write_bytes(b"BATCH_SIZE=\xff\n")
    (tmp_path / "lines").write_text('BATCH_SIZE=1\nwhat is "this\nMAX_RETRIES=x\n')
    for file, said in (
        (tmp_path, ["Is a directory"]),
        (tmp_path / "latin", ["it is not UTF-8"]),
        (tmp_path / "lines", ["line 2: accepted: NAME=value", "MAX_RETRIES='x'"]),
    ):
        with pytest.raises(SettingsError) as caught:
            Settings.from_env(file, {})
        assert len(caught.value.problems) == len(said)
        for problem, words in zip(caught.value.problems, said, strict=True):
            assert words in problem


def test_a_name_in_lower_case_in_the_file_is_refused_rather_than_ignored(tmp_path):
    file = tmp_path / "my.env"
    file.write_text("batch_size=2\n")
    with pytest.raises(SettingsError, match="batch_size: unknown; the nearest name is BATCH_SIZE"):
        Settings.from_env(file, {})
    assert Settings.from_env(None, {"batch_size": "2"}).batch_size == 100  # in the environment it may be anybody's


@pytest.mark.parametrize("name", KUBERNETES)
def test_what_container_platforms_inject_is_ignored(name):
    assert Settings.from_env(None, {name: KUBERNETES[name]}) == Settings()


def test_what_container_platforms_inject_is_ignored_all_together_and_in_the_file(tmp_path):
    file = tmp_path / "my.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in KUBERNETES.items()))
    assert Settings.from_env(file, KUBERNETES) == Settings()


def test_a_port_that_is_ours_is_not_taken_for_an_injected_one():
    assert Settings.from_env(None, {"HTTP_PORT": "9000"}).http_port == 9000


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("64MiB", 64 * 1024**2),
        ("64M", 64 * 1024**2),
        ("64mb", 64 * 1024**2),
        ("10GiB", 10 * 1024**3),
        ("2048k", 2 * 1024**2),
        ("1.5 MiB", 1024 * 1536),
        ("1048577", 1_048_577),
        ("1T", 1024**4),
        ("2097152 B", 2 * 1024**2),
    ],
)
def test_sizes_are_read_with_units(text, count):
    assert Settings.from_env(None, {"SPOOL_MAX_BYTES": text}).spool_max_bytes == count
    assert Settings(spool_max_bytes=count).spool_max_bytes == count


@given(st.integers(min_value=1024**2, max_value=1024**5))
def test_a_size_reads_back_as_it_is_written(count):
    assert Settings(spool_max_bytes=size_text(count)).spool_max_bytes == count


def test_values_take_their_canonical_form():
    settings = Settings.from_env(
        None,
        {
            "BINANCE_SYMBOLS": " btcusdt, *Usdt ,币安人生usdt,",
            "BINANCE_STREAM_TYPES": "!miniTicker@arr,kline_1d@+08:00",
            "BINANCE_WS_URL": "WSS://stream.binance.com:443/, ws://127.0.0.1:9/base/",
            "KAFKA_BOOTSTRAP_SERVERS": "a:1, [::1]:2 ,c",
            "KAFKA_ACKS": "-1",
            "KAFKA_SECURITY_PROTOCOL": "plaintext",
            "LOG_LEVEL": "warning",
            "BATCH_EAGER": "No",
            "BACKFILL": "off",
            "HTTP_HOST": "[::1]",
            "HTTP_PORT": "OFF",
        },
    )
    assert settings.binance_symbols == ("BTCUSDT", "*USDT", "币安人生USDT")
    assert settings.binance_stream_types == ("!miniTicker@arr", "kline_1d@+08:00")
    assert settings.binance_ws_url == ("wss://stream.binance.com:443", "ws://127.0.0.1:9/base")
    assert settings.kafka_bootstrap_servers == "a:1,[::1]:2,c"
    assert (settings.kafka_acks, settings.kafka_security_protocol) == ("all", "PLAINTEXT")
    assert (settings.log_level, settings.batch_eager) == ("WARNING", False)
    assert (settings.backfill, settings.http_host, settings.http_port) == ((), "::1", None)


def test_a_program_may_give_python_values():
    settings = Settings(
        binance_symbols=["btcusdt"], backfill=(), http_port=None, http_token="12345678", stream_silence_seconds=None,
        kafka_topic_replication=-1, batch_eager=False, kafka_bootstrap_servers=["a:1", "b:2"],
        kafka_client_options={"socket_keepalive_enable": True, "log_level": 3},
    )  # fmt: skip
    assert settings.binance_symbols == ("BTCUSDT",)
    assert (settings.backfill, settings.http_port, settings.batch_eager) == ((), None, False)
    assert settings.kafka_bootstrap_servers == "a:1,b:2"
    assert settings.kafka_client_options == {"socket.keepalive.enable": "true", "log_level": "3"}


def test_options_of_librdkafka_are_collected_by_their_names():
    settings = Settings.from_env(
        None, {"KAFKA_PRODUCER_LINGER_MS": "20", "KAFKA_PRODUCER_BATCH_SIZE": "9", "KAFKA_CLIENT_CLIENT_RACK": "a"}
    )
    assert settings.kafka_producer_options == {"linger.ms": "20", "batch.size": "9"}
    assert settings.kafka_client_options == {"client.rack": "a"}


def test_replacing_checks_again_and_keeps_secrets():
    settings = Settings(batch_size=7, http_token="12345678")
    changed = settings.replace(batch_timeout_seconds="2")
    assert (changed.batch_size, changed.batch_timeout_seconds) == (7, 2.0)
    assert changed.http_token.get_secret_value() == "12345678"
    with pytest.raises(SettingsError, match="BATCH_SIZE=0"):
        settings.replace(batch_size=0)


def test_a_description_tells_what_differs_as_the_environment_would_write_it():
    settings = Settings(
        batch_size=7, buffer_max_bytes="1G", http_port="off", backfill="off", http_token="12345678", batch_eager=False,
        reconnect_interval=0.5, binance_symbols="A,B", kafka_producer_options={"linger.ms": 2},
    )  # fmt: skip
    description = settings.describe()
    assert description == {
        "BINANCE_SYMBOLS": "A,B",
        "RECONNECT_INTERVAL": "0.5",
        "BACKFILL": "off",
        "BATCH_SIZE": "7",
        "BATCH_EAGER": "false",
        "BUFFER_MAX_BYTES": "1GiB",
        "HTTP_PORT": "off",
        "HTTP_TOKEN": "***",
        "KAFKA_PRODUCER_LINGER_MS": "2",
    }
    del description["HTTP_TOKEN"]
    assert Settings.from_env(None, description) == settings.replace(http_token=None)


def test_what_weakens_a_promise_is_warned_about():
    assert Settings().warnings() == []
    acks, embedded = Settings(kafka_acks=1, kafka_bootstrap_servers="embedded").warnings()
    assert acks.startswith("KAFKA_ACKS=1: idempotence is off")
    assert embedded.startswith("KAFKA_BOOTSTRAP_SERVERS=embedded: records live in this process's memory")


def test_a_bound_of_a_spool_that_is_not_there_is_warned_about(tmp_path):
    assert Settings(spool_max_bytes=2**30).warnings() == ["SPOOL_MAX_BYTES: no effect without SPOOL_DIR"]
    assert Settings(spool_max_bytes=2**30, spool_dir=tmp_path).warnings() == []
