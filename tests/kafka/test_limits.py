"""What topics take, without any."""

import pytest
from kafka_support import numbered, route_for

from ingest_actors.kafka.limits import RECORD_FRAMING_BYTES, Limits, TopicLimits
from ingest_actors.messages import EventBatch

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
ROUTE = route_for("t-", "a", "b")


def limits(**a):
    return Limits({"t-a": TopicLimits(**a), "t-b": TopicLimits()}, clock_ms=lambda: NOW_MS)


def screened(limits, *events):
    return limits.screen(EventBatch(list(events), received_at_ms=0))


def event(size=10, age_ms=0, key=b"k"):
    return (b"x" * size, key, NOW_MS - age_ms, ROUTE)


def test_ordinary_events_pass():
    assert screened(limits(), *numbered(ROUTE, range(1000), timestamp_ms=NOW_MS)) == {}


@pytest.mark.parametrize(
    ("size", "refused"), [(999 - RECORD_FRAMING_BYTES, False), (1000 - RECORD_FRAMING_BYTES, True)]
)
def test_the_smallest_topic_of_the_route_decides(size, refused):
    found = screened(limits(message_bytes_max=1000), event(), event(size))
    assert found.keys() == ({1} if refused else set())
    for refusal in found.values():
        assert refusal.reason == "too_large"
        assert "topic t-a takes 1000" in refusal.detail


def test_headers_count():
    route = route_for("t-", "a", headers=(("detail", b"x" * 900),))
    found = screened(limits(message_bytes_max=1000), (b"", None, NOW_MS, route))
    assert found[0].reason == "too_large"


@pytest.mark.parametrize(
    ("bounds", "age_ms", "refused"),
    [
        ({"age_ms_max": DAY_MS}, DAY_MS, False),
        ({"age_ms_max": DAY_MS}, DAY_MS + 1, True),
        ({"ahead_ms_max": 1000}, -1000, False),
        ({"ahead_ms_max": 1000}, -1001, True),
        ({}, 50 * 365 * DAY_MS, False),
    ],
)
def test_time_stamps_out_of_a_topics_range_are_known(bounds, age_ms, refused):
    found = screened(limits(**bounds), event(age_ms=age_ms))
    assert [refusal.reason for refusal in found.values()] == (["timestamp_out_of_range"] if refused else [])


def test_a_compacted_topic_wants_keys():
    found = screened(limits(keys_wanted=True), event(), event(key=None))
    assert {position: refusal.reason for position, refusal in found.items()} == {1: "invalid_record"}


def test_a_topic_that_is_not_known_has_kafkas_defaults():
    unknown = Limits({}, clock_ms=lambda: NOW_MS)
    assert unknown.message_bytes == (1_048_588, 1_048_588)
    assert screened(unknown, event(1_048_588))[0].reason == "too_large"
    assert screened(unknown, event(1_000_000)) == {}
