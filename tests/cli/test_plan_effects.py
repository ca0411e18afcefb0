"""`plan` says of every setting what it brings about, with the values that are set."""

from __future__ import annotations

import shutil
from collections import Counter
from types import SimpleNamespace

import pytest

from ingest_actors.commands.plan_brokers import Brokers, Topic, unasked
from ingest_actors.commands.plan_effects import effects
from ingest_actors.commands.plan_exchange import Exchange, Symbols
from ingest_actors.commands.plan_figures import figures
from ingest_actors.commands.plan_findings import judge
from ingest_actors.settings import Settings

SECRET = "hunter2-swordfish"
STREAMS = ("btcusdt@trade", "btcusdt@depth@100ms")
SASL = {
    "kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_sasl_username": "ingest",
}  # fmt: skip


def told(brokers=None, **given):
    """What is said, by the name of each setting."""
    settings = Settings(**given)
    found = effects(settings, figures(settings, STREAMS), brokers or unasked(settings))
    return {name: effect for effect in found for name in effect.settings}


def test_every_setting_is_explained_once():
    settings = Settings()
    found = effects(settings, figures(settings, STREAMS), unasked(settings))
    names = Counter(name for effect in found for name in effect.settings)
    options = {"kafka_producer_options": "KAFKA_PRODUCER_<OPTION>", "kafka_client_options": "KAFKA_CLIENT_<OPTION>"}
    assert names == {options.get(name, name.upper()): 1 for name in Settings.model_fields}
    assert [effect for effect in found if not effect.effect or effect.effect.endswith(".")] == []
    assert [effect for effect in found if effect.given] == []


def test_what_is_given_is_told_apart_and_secrets_are_masked(tmp_path):
    given = told(
        **SASL, kafka_sasl_password=SECRET, http_token=SECRET, kafka_client_options={"ssl.key.password": SECRET}
    )  # fmt: skip
    assert SECRET not in str(given)
    assert given["KAFKA_SASL_PASSWORD"].settings["KAFKA_SASL_PASSWORD"] == "***"
    assert given["HTTP_TOKEN"].settings["HTTP_TOKEN"] == "***"
    assert given["KAFKA_CLIENT_SSL_KEY_PASSWORD"].settings["KAFKA_CLIENT_SSL_KEY_PASSWORD"] == "***"
    assert {name for name, effect in given.items() if effect.given} >= {"KAFKA_SASL_USERNAME", "HTTP_TOKEN"}
    assert not given["KAFKA_DELIVERY"].given


EFFECTS = [
    ({}, "KAFKA_DELIVERY", "what was written within about the last second may be there twice"),
    (
        {"kafka_delivery": "exactly_once", "kafka_commit_interval_ms": 250},
        "KAFKA_COMMIT_INTERVAL_MS",
        "a transaction every 250 ms over all topics and the resume state",
    ),
    ({"kafka_delivery": "exactly_once", "instance_name": "a"}, "INSTANCE_NAME", "a-writer is its transactional id"),
    ({"instance_name": "a"}, "INSTANCE_NAME", "the other ends with exit code 76; a/... are its keys"),
    ({}, "SPOOL_DIR", "no spool: in a long outage of Kafka trades come from REST later, everything else is lost"),
    ({"kafka_acks": "1"}, "KAFKA_ACKS", "records may be lost, doubled or out of order"),
    ({}, "MAX_RETRIES", "gives up with exit code 75 at failure 5 in a row, after 75 s at the most"),
    ({"max_retries": 0}, "MAX_RETRIES", "never gives up"),
    ({"binance_symbols": "*USDT"}, "BINANCE_SYMBOLS", "new listings under a pattern are found within five minutes"),
    ({"connections_per_stream": 2}, "CONNECTIONS_PER_STREAM", "2 connections, every stream on two"),
    ({"backfill": "off"}, "BACKFILL", "nothing is fetched again"),
    ({"http_port": "off"}, "HTTP_PORT", "no health, no metrics, no page"),
    ({"http_host": "0.0.0.0"}, "HTTP_HOST", "the page is open to whoever reaches it: HTTP_TOKEN"),
    ({"http_host": "::1"}, "HTTP_HOST", "health, metrics and page on ::1, port 8000"),
    ({"batch_eager": False}, "BATCH_EAGER", "100 events, or what 5 s brought"),
    ({"shutdown_timeout_seconds": 25}, "SHUTDOWN_TIMEOUT_SECONDS", "should wait 35 s before a SIGKILL"),
    ({"websocket_fast_path": False}, "WEBSOCKET_FAST_PATH", "at a fraction of the speed"),
    ({"stream_silence_seconds": 20}, "STREAM_SILENCE_SECONDS", "silent for 20 s is subscribed again"),
    (SASL | {"kafka_sasl_password": SECRET}, "KAFKA_SASL_MECHANISM", "encrypted, as ingest by SCRAM-SHA-512; another"),
    ({"kafka_security_protocol": "SSL"}, "KAFKA_SSL_CA_LOCATION", "the system's authorities, shows no certificate"),
    ({"kafka_create_topics": False}, "KAFKA_CREATE_TOPICS", "nothing is created"),
    ({"kafka_topic_replication": 3}, "KAFKA_TOPIC_REPLICATION", "get 6 partitions and 3 replicas"),
    ({"kafka_producer_options": {"linger.ms": "20"}}, "KAFKA_PRODUCER_LINGER_MS", "a record waits 20 ms for company"),
    ({"kafka_bootstrap_servers": "embedded"}, "KAFKA_BOOTSTRAP_SERVERS", "a Kafka in this process"),
]


@pytest.mark.parametrize(("given", "name", "text"), EFFECTS, ids=[f"{name} {text[:20]}" for _, name, text in EFFECTS])
def test_the_effect_follows_from_the_values(given, name, text):
    assert text in told(**given)[name].effect


def test_how_many_replicas_may_be_away_follows_from_the_topics():
    topics = [Topic("a", "exists", 6, 3, in_sync_min=2), Topic("b", "exists", 6, 3, in_sync_min=1)]
    brokers = Brokers("x", asked=True, reachable=True, count=3, topics=topics)
    assert told(brokers)["KAFKA_ACKS"].effect.endswith("1 of them may be away before writing stops")
    assert told(brokers)["KAFKA_BOOTSTRAP_SERVERS"].effect == "3 brokers answer"


def test_a_disk_with_less_room_than_the_spool_may_take_is_told(tmp_path, monkeypatch):
    room = SimpleNamespace(free=3 * 1024**3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    given = {"spool_dir": tmp_path / "not" / "there", "spool_max_bytes": "5GiB"}
    assert (
        "up to 5GiB, of which the disk has 3GiB left: about 4.26 h of 1,000 events/s"
        in told(**given)["SPOOL_DIR"].effect
    )
    settings = Settings(**given)
    exchange = Exchange(Symbols(("BTCUSDT",), STREAMS, 1))
    warnings = judge(settings, figures(settings, STREAMS), exchange, unasked(settings)).warnings
    (warning,) = warnings
    assert warning == (
        f"SPOOL_MAX_BYTES=5GiB: the disk of {tmp_path}/not/there has 3221225472 bytes left, what the spool holds"
        " already not counted; make room, or set what there is"
    )


def test_a_state_topic_that_may_not_be_read_is_a_problem():
    settings = Settings()
    exchange = Exchange(Symbols(("BTCUSDT",), STREAMS, 1))
    brokers = Brokers("x", asked=True, reachable=True, count=1, unreadable=("state",))
    findings = judge(settings, figures(settings, STREAMS), exchange, brokers)
    assert findings.problems == ("no right to read state, from where a restart goes on; grant READ",)
