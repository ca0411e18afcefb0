"""What the gap journal and the dead letters explain, and what they do not."""

from __future__ import annotations

import json

import pytest
from audit_market import START_MS, audit, depth, found, gap, kline, partial_book, snapshot, trade

from ingest_actors.audit import Role
from ingest_actors.audit.records import Window
from ingest_actors.errors import JournalTooNew

WITHOUT_COPIES = {"absent": (Role.TRADES, Role.DEPTH)}


def report_of(records, journal=(), *, letters=(), **options):
    topics = {role: [] for role in Role}
    topics[Role.RAW] = list(records)
    topics[Role.GAPS] = list(journal)
    return audit(topics, letters=letters, **(WITHOUT_COPIES | options))


def trades(*numbers):
    return [trade(number) for number in numbers]


@pytest.mark.parametrize(
    "journal",
    [
        pytest.param([gap(3, 5)], id="lost"),
        pytest.param([gap(3, 5, state="open", reason="disconnected")], id="open"),
        pytest.param([gap(1, 9, state="lost")], id="lost, and more"),
        pytest.param([gap(3, 4), gap(5, 5, reason="crashed")], id="lost in two"),
        pytest.param([gap(3, 5, state="closed", reason="exchange_skipped", resolved_by="rest_backfill")], id="skipped"),
        pytest.param([gap(3, 5, state="open"), gap(3, 5, state="lost")], id="open, then lost"),
    ],
)
def test_a_gap_in_the_journal_explains_what_is_missing(journal):
    report = report_of(trades(1, 2, 6, 7), journal)
    series = found(report)
    assert report.ok
    assert (series["missing"], series["missing_explained"]) == ([], [[3, 5]])
    assert {why["state"] for why in series["explanations"]} == {json.loads(journal[-1].value)["state"]}


@pytest.mark.parametrize(
    "journal",
    [
        pytest.param([], id="nothing"),
        pytest.param([gap(3, 5, stream="ethusdt@trade")], id="another symbol"),
        pytest.param([gap(3, 5, event_type="aggregate_trade", stream="btcusdt@aggTrade")], id="another kind"),
        pytest.param([gap(8, 9)], id="other ids"),
        pytest.param([gap(3, 5, last_id=None)], id="no ids"),
        pytest.param([gap(3, 5, state="closed", resolved_by="rest_backfill", resolved_at=START_MS)], id="closed"),
        pytest.param(
            [gap(3, 5, state="open"), gap(3, 5, state="closed", resolved_by="rest_backfill")], id="then closed"
        ),
    ],
)
def test_what_the_journal_does_not_explain_is_missing(journal):
    report = report_of(trades(1, 2, 6, 7), journal)
    assert not report.ok
    assert (found(report)["missing"], found(report)["missing_explained"]) == ([[3, 5]], [])


def test_a_gap_may_be_explained_in_part():
    series = found(report_of(trades(1, 9), [gap(3, 5)]))
    assert (series["missing"], series["missing_explained"]) == ([[2, 2], [6, 8]], [[3, 5]])
    assert not series["ok"]


def test_a_hole_in_the_book_that_a_snapshot_closed_is_explained():
    hole = {"stream": "btcusdt@depth@100ms", "event_type": "depth_update"}
    closed = gap(5, 7, state="closed", resolved_by="book_snapshot", **hole)
    assert found(report_of([depth(1, 4), depth(8, 9)], [closed]), "depth_update")["missing_explained"] == [[5, 7]]


def test_gaps_of_candles_belong_to_their_interval():
    at = [START_MS - START_MS % 60_000 + number * 60_000 for number in range(3)]
    records = [kline(at[0], closed=True), kline(at[2], closed=True)]
    one = gap(at[1], at[1], stream="btcusdt@kline_1m", event_type="kline")
    other = gap(at[1], at[1], stream="btcusdt@kline_5m", event_type="kline")
    assert report_of(records, [one]).ok
    assert not report_of(records, [other]).ok


def test_what_was_closed_after_the_window_is_as_good_as_open():
    records = trades(1, 2, 6, 7)
    closed = gap(3, 5, state="closed", reason="disconnected", resolved_by="rest_backfill", resolved_at=START_MS + 500)
    assert report_of(records, [closed], window=Window(until_ms=START_MS + 400)).ok
    assert not report_of(records, [closed], window=Window(until_ms=START_MS + 600)).ok


def test_late_repairs_that_the_journal_names_are_explained():
    journal = [gap(3, 4, state="open"), gap(3, 4, state="closed", reason="disconnected", resolved_by="rest_backfill")]
    records = [*trades(1, 2, 5, 6), trade(3, late=True), trade(4, late=True), *trades(7)]
    report = report_of(records, journal)
    assert report.ok
    assert (found(report)["late"], found(report)["missing"], found(report)["out_of_order"]) == ([[3, 4]], [], [])


def test_late_repairs_that_no_journal_names_are_out_of_order():
    series = found(report_of([*trades(1, 2, 4), trade(3, late=True)]))
    assert (series["late"], series["out_of_order"], series["ok"]) == ([], [[3, 4]], False)


def test_late_repairs_of_what_lies_before_the_first_record_do_not_make_it_begin_there():
    journal = [gap(1, 2, state="open")]
    series = found(report_of([trade(1, late=True), *trades(8, 9), trade(2, late=True), *trades(10)], journal))
    assert (series["first_id"], series["late"], series["missing"], series["ok"]) == (8, [[1, 2]], [], True)


def test_a_late_repair_may_be_the_newest_of_its_series():
    series = found(report_of([*trades(1, 2), trade(3, late=True), *trades(4)], [gap(3, 3, state="open")]))
    assert (series["late"], series["ok"]) == ([[3, 3]], True)


def test_a_late_repair_of_what_is_there_is_a_duplicate():
    assert found(report_of([*trades(1, 2, 3), trade(2, late=True)], [gap(2, 2)]))["duplicates"] == [[2, 2]]


def test_a_new_numbering_that_the_journal_tells_is_whole():
    reset = gap(1, 1, state="closed", reason="exchange_reset")
    later = [trade(number, time=START_MS + 9_999_999 + number) for number in (1, 2, 3, 5)]
    series = found(report_of([*trades(1000, 1001, 1003), *later], [reset]))
    assert (series["duplicates"], series["out_of_order"]) == ([], [])
    assert series["missing"] == [[4, 4], [1002, 1002]]
    assert series["by_topic"]["raw"]["epochs"] == 2
    assert (series["first_id"], series["last_id"]) == (1, 1003)


def test_a_snapshot_of_a_former_numbering_makes_up_for_no_hole_of_the_new_one():
    reset = gap(1, 1, stream="btcusdt@depth", event_type="depth_update", reason="exchange_reset")
    later = START_MS + 9_999_999
    new = [depth(1, 4, time=later + 1), depth(8, 9, time=later + 2)]
    series = found(report_of([snapshot(999), depth(1000, 1001), *new], [reset]), "depth_update")
    assert (series["missing"], series["without_snapshot"]) == ([[5, 7]], [[5, 7]])
    series = found(report_of([snapshot(999), depth(1000, 1001), *new, snapshot(9)], [reset]), "depth_update")
    assert series["without_snapshot"] == []


def test_ids_that_go_back_without_a_word_in_the_journal_are_defects():
    later = [trade(number, time=START_MS + 9_999_999 + number) for number in (1, 2)]
    assert found(report_of([*trades(1000, 1001), *later]))["out_of_order"] == [[1, 1001], [2, 1001]]


def test_a_repetition_is_no_new_numbering():
    reset = gap(1, 1, state="closed", reason="exchange_reset")
    assert found(report_of(trades(1000, 1001, 1000), [reset]))["duplicates"] == [[1000, 2]]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(trade(3).value, id="refused by the broker"),
        pytest.param(b'{"stream":"btcusdt@trade","data":{"e":"trade","t":3,"p":oops}}', id="not JSON"),
        pytest.param(trade(3).value[:60], id="cut short"),
    ],
)
def test_a_dead_letter_explains_the_id_that_it_was(value):
    headers = {"reason": "too_large", "symbol": "BTCUSDT", "event_type": "trade", "stream": "btcusdt@trade"}
    report = report_of(trades(1, 2, 4), letters=[(value, headers)])
    series = found(report)
    assert report.ok
    assert series["missing_explained"] == [[3, 3]]
    assert series["explanations"] == [{"first_id": 3, "last_id": 3, "state": "dead_lettered", "reason": "too_large"}]
    told = report.to_json()["topics"]["dead_letters"]
    assert (told["records"], told["reasons"]) == (1, {"too_large": 1})


def test_dead_letters_are_counted_by_reason_and_reasons_without_end_are_counted_together():
    letters = [(b"junk", {"reason": reason}) for reason in ["refused", "too_large", "refused"]]
    assert report_of([], letters=[*letters, (b"junk", {})]).to_json()["topics"]["dead_letters"]["reasons"] == {
        "": 1, "refused": 2, "too_large": 1,
    }  # fmt: skip
    many = report_of([], letters=[(b"junk", {"reason": f"r{number}"}) for number in range(1000)])
    reasons = many.to_json()["topics"]["dead_letters"]["reasons"]
    assert (len(reasons), reasons["other"], sum(reasons.values())) == (101, 900, 1000)


def test_a_dead_letter_of_an_update_explains_all_its_ids():
    headers = {"reason": "too_large", "stream": "btcusdt@depth", "event_type": "depth_update"}
    series = found(report_of([depth(1, 4), depth(8, 9)], letters=[(depth(5, 7).value, headers)]), "depth_update")
    assert series["missing_explained"] == [[5, 7]]


def test_a_dead_letter_that_tells_nothing_explains_nothing():
    letters = [(b"\x00junk", {"reason": "malformed_json"}), (b"{}", {"event_type": "trade", "symbol": "BTCUSDT"})]
    assert found(report_of(trades(1, 3), letters=letters))["missing"] == [[2, 2]]
    assert report_of([partial_book(4)], letters=[(b"{}", {"event_type": "partial_depth"})]).ok


def test_a_dead_letter_explains_why_one_topic_alone_has_an_event():
    topics = {role: [] for role in Role}
    topics[Role.RAW], topics[Role.TRADES] = trades(1, 2, 3), trades(1, 3)
    assert not audit(topics).ok
    headers = {"reason": "refused", "symbol": "BTCUSDT", "event_type": "trade"}
    assert audit(topics, letters=[(trade(2).value, headers)]).ok


def test_a_repair_that_is_under_way_may_have_come_to_one_topic_alone():
    topics = {role: [] for role in Role}
    topics[Role.RAW] = [*trades(1, 2, 4), trade(3, late=True)]
    topics[Role.TRADES] = trades(1, 2, 4)
    for state, ok in (("open", True), ("lost", False)):
        topics[Role.GAPS] = [gap(3, 3, state=state)]
        assert audit(topics).ok is ok


def test_a_journal_of_a_newer_release_is_refused_by_name():
    with pytest.raises(JournalTooNew, match=r"gaps-\d@0 has version 2, this release knows versions up to 1"):
        report_of(trades(1), [gap(1, 2, v=2, gap={"of": "another form"})])


def test_what_is_no_record_of_a_journal_is_named_and_explains_nothing():
    report = report_of(trades(1, 3), [gap(2, 2)._replace(value=b"{}")])
    assert found(report)["missing"] == [[2, 2]]
    (gaps,) = [topic for topic in report.topics if topic.role is Role.GAPS]
    assert [one.offset for one in gaps.unreadable] == [0]
    assert gaps.records == 1
