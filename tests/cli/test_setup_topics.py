"""`setup-topics` against a real Kafka."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from ingest_actors import cli

pytestmark = pytest.mark.broker

NAMES = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")


@pytest.fixture
def topics(broker, topic_prefix, monkeypatch):
    """Names of topics of this test alone; the settings that lead to them."""
    names = {name: f"{topic_prefix}{name.lower()}" for name in NAMES}
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("KAFKA_TOPIC_PARTITIONS", "3")
    for name, topic in names.items():
        monkeypatch.setenv(f"KAFKA_TOPIC_{name}", topic)
    yield names
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})  # one that is let go never answers
    for future in admin.delete_topics(list(names.values())).values():
        future.exception(timeout=60)


@pytest.fixture
def with_one_that_differs(broker, topics):
    """The trades topic is there, with one partition and a day's retention."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    new = NewTopic(topics["TRADES"], 1, config={"retention.ms": "86400000"})
    next(iter(admin.create_topics([new]).values())).result(20)
    until(lambda: topics["TRADES"] in admin.list_topics(timeout=10).topics)
    return topics


def until(true):
    """Brokers learn of a change a moment after it was made."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answered(capsys, *arguments):
    assert cli.main(["setup-topics", "--format", "json", *arguments]) == 0
    captured = capsys.readouterr()
    return {topic["topic"]: topic for topic in json.loads(captured.out)["topics"]}, captured.err


def test_missing_topics_are_created_and_then_are_as_they_should_be(topics, capsys):
    answer, _ = answered(capsys)
    assert {topic: told["state"] for topic, told in answer.items()} == dict.fromkeys(topics.values(), "created")
    answer, _ = answered(capsys)
    assert {topic: told["state"] for topic, told in answer.items()} == dict.fromkeys(topics.values(), "ok")
    assert answer[topics["TRADES"]]["config"]["retention.ms"] == str(30 * 86_400_000)


def test_what_differs_is_told_and_left_alone(with_one_that_differs, capsys):
    trades = with_one_that_differs["TRADES"]
    answer, notes = answered(capsys)
    assert answer[trades]["state"] == "drift"
    assert {drift["what"]: drift["actual"] for drift in answer[trades]["drift"]} == {
        "partitions": "1", "retention.ms": "86400000",
    }  # fmt: skip
    assert "setup-topics --apply" in notes
    assert answered(capsys)[0][trades]["drift"] == answer[trades]["drift"]


def test_apply_mends_all_but_partitions_which_need_a_word_of_their_own(with_one_that_differs, capsys):
    trades = with_one_that_differs["TRADES"]
    answer, _ = answered(capsys, "--apply")
    assert [drift["what"] for drift in answer[trades]["mended"]] == ["retention.ms"]
    assert [drift["what"] for drift in answer[trades]["drift"]] == ["partitions"]
    until(lambda: [drift["what"] for drift in answered(capsys)[0][trades]["drift"]] == ["partitions"])
    answer, _ = answered(capsys, "--apply", "--allow-repartition")
    assert [drift["what"] for drift in answer[trades]["mended"]] == ["partitions"]
    assert answer[trades]["state"] == "mended"
    until(lambda: answered(capsys)[0][trades]["state"] == "ok")


def test_the_table_is_for_people(with_one_that_differs, capsys):
    assert cli.main(["setup-topics"]) == 0
    text = capsys.readouterr().out
    assert with_one_that_differs["RAW_EVENTS"] in text
    for word in (
        "created",
        "kept for 7 days",
        "compacted",
        "drift",
        "retention.ms",
        "2592000000",
        "--allow-repartition",
    ):
        assert word in text


def test_the_trap_of_old_recordings_is_told_with_the_way_out(topics, broker, capsys):
    _, notes = answered(capsys)
    assert "Kafka deletes by the exchange's time stamps" in notes
    assert f"kafka-configs --bootstrap-server {broker.bootstrap_servers}" in notes
    assert "retention.ms=-1" in notes
    _, notes = answered(capsys)
    assert notes == "", "once is enough"


def test_brokers_that_do_not_answer_end_it_with_75(monkeypatch, capsys):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert cli.main(["setup-topics"]) == 75
    assert capsys.readouterr().err.startswith("setup-topics: cannot use Kafka at 127.0.0.1:1")
