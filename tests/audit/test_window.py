"""A part of the record, by Kafka timestamps: whole within itself, although timestamps are not quite in order."""

from __future__ import annotations

import pytest
from audit_market import SYMBOLS, audit, found, gap, market, trade

from ingest_actors.audit import Role
from ingest_actors.audit.records import Window


def report_of(records, window, journal=()):
    topics = {role: [] for role in Role}
    topics[Role.RAW] = topics[Role.TRADES] = list(records)
    topics[Role.GAPS] = list(journal)
    return audit(topics, window=window)


def test_only_what_lies_in_the_window_counts():
    records = [trade(number, time=number * 100) for number in (1, 2, 5, 6, 8, 9)]
    series = found(report_of(records, Window(200, 800)))
    assert (series["first_id"], series["last_id"], series["missing"]) == (2, 6, [[3, 4]])
    assert found(report_of(records, Window(since_ms=500)))["missing"] == [[7, 7]]
    assert found(report_of(records, Window(until_ms=500)))["missing"] == []
    assert report_of(records, Window(500, 600)).ok


def test_the_end_is_not_included():
    records = [trade(number, time=number * 100) for number in (1, 2, 3)]
    assert found(report_of(records, Window(100, 300)))["last_id"] == 2


def test_timestamps_out_of_order_at_an_edge_are_no_defect():
    """What was fetched again has the time of the trade, not the later one of the event."""
    times = {1: 100, 2: 205, 3: 195, 4: 210, 5: 395, 6: 405, 7: 390, 8: 410}
    records = [trade(number, time=time) for number, time in times.items()]
    series = found(report_of(records, Window(200, 400)))
    assert series["ok"]
    assert (series["first_id"], series["last_id"]) == (2, 5)


def test_what_was_written_again_from_before_the_window_is_left_out():
    records = [trade(number, time=number * 100) for number in (1, 2, 3, 4)]
    assert report_of([*records, records[0], records[1]], Window(since_ms=300)).ok
    assert found(report_of([*records, records[3]], Window(since_ms=300)))["duplicates"] == [[4, 2]]


def test_late_repairs_count_by_their_own_time():
    journal = [gap(2, 2, state="open"), gap(6, 6, state="open")]
    records = [trade(number, time=number * 100) for number in (1, 3, 4, 5, 7)]
    late = [trade(number, time=number * 100, late=True) for number in (2, 6)]
    series = found(report_of([*records, *late], Window(100, 500), journal))
    assert (series["late"], series["missing"], series["missing_explained"]) == ([[2, 2]], [], [])
    series = found(report_of([*records, *late], Window(300), journal))
    assert (series["late"], series["first_id"]) == ([[6, 6]], 3)


def test_wrong_keys_outside_the_window_are_left_out():
    records = [trade(number, time=number * 100) for number in (1, 2, 3)]
    records[0] = records[0]._replace(key=b"X")
    assert report_of(records, Window(since_ms=200)).ok
    assert not report_of(records, Window(until_ms=200)).ok


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_window_into_whole_topics_is_whole(share):
    topics = market(60)
    times = sorted(one.time for one in topics[Role.TRADES])
    at = times[int(len(times) * share)]
    for window in (Window(since_ms=at), Window(until_ms=at)):
        report = audit(topics, window=window)
        assert report.ok
        assert {one.name.symbol for one in report.series} == set(SYMBOLS)
        assert report.to_json()["since"] == window.since_ms
