"""What follows what, for each rule of the stream table."""

from __future__ import annotations

import pytest
from audit_market import (
    START_MS,
    aggregate,
    audit,
    book_ticker,
    depth,
    found,
    kline,
    partial_book,
    record,
    snapshot,
    ticker,
    trade,
)

from ingest_actors.audit import Role
from ingest_actors.binance.stream_table import KINDS

MINUTE_MS = 60_000


def topics_of(*records, copy=None):
    topics = {role: [] for role in Role}
    topics[Role.RAW] = list(records)
    if copy is not None:
        topics[copy] = list(records)
    return topics


def raw(*records):
    """The report of a raw topic alone."""
    return audit(topics_of(*records), absent=(Role.TRADES, Role.DEPTH))


def trades(*numbers):
    return found(raw(*(trade(number) for number in numbers)))


def test_trades_in_a_row_are_whole():
    series = trades(5, 6, 7)
    assert series["ok"]
    assert (series["first_id"], series["last_id"], series["records"]) == (5, 7, 3)


def test_what_is_missing_between_trades_is_told_as_spans():
    assert trades(1, 2, 5, 6, 8)["missing"] == [[3, 4], [7, 7]]


def test_an_id_that_comes_again_is_a_duplicate_and_its_times_are_counted():
    assert trades(1, 2, 2, 3, 1, 2)["duplicates"] == [[1, 2], [2, 3]]


def test_what_comes_after_its_place_is_out_of_order_and_not_missing():
    series = trades(1, 2, 5, 3, 4, 6)
    assert series["out_of_order"] == [[3, 5], [4, 5]]
    assert (series["missing"], series["duplicates"]) == ([], [])


def test_what_comes_before_the_first_is_out_of_order():
    series = trades(5, 4, 6)
    assert (series["first_id"], series["out_of_order"], series["missing"]) == (4, [[4, 5]], [])


def test_the_chain_of_aggregates_is_checked_beside_their_ids():
    report = raw(aggregate(1, 10, 12), aggregate(2, 13, 13), aggregate(3, 15, 16), aggregate(4, 17, 17))
    series = found(report, "aggregate_trade")
    assert series["broken_chain"] == [(3, 15, 14)]
    assert (series["missing"], series["ok"]) == ([], False)


def test_behind_a_missing_aggregate_the_chain_begins_anew():
    series = found(raw(aggregate(1, 10, 12), aggregate(3, 20, 21), aggregate(4, 22, 22)), "aggregate_trade")
    assert (series["missing"], series["broken_chain"]) == ([[2, 2]], [])


def test_updates_of_the_book_follow_by_their_first_id():
    series = found(raw(depth(1, 4), depth(5, 5), depth(8, 9)), "depth_update")
    assert (series["missing"], series["first_id"], series["last_id"]) == ([[6, 7]], 1, 9)


def test_overlaps_at_a_splice_are_no_defect_and_counted():
    series = found(raw(depth(1, 4), depth(3, 6), depth(7, 9)), "depth_update")
    assert series["ok"]
    assert series["splices"] == 1


def test_an_update_that_brings_nothing_new_is_a_duplicate():
    assert found(raw(depth(1, 4), depth(5, 9), depth(5, 9), depth(2, 3)), "depth_update")["duplicates"] == [
        [3, 2], [9, 2],
    ]  # fmt: skip


def test_an_update_that_fills_a_hole_is_out_of_order():
    series = found(raw(depth(1, 4), depth(8, 9), depth(5, 7), depth(10, 10)), "depth_update")
    assert (series["out_of_order"], series["missing"]) == ([[7, 9]], [])


def test_a_snapshot_that_reaches_over_a_hole_resynchronises_readers():
    series = found(raw(depth(1, 4), depth(8, 9), snapshot(9), depth(10, 10)), "depth_update")
    assert (series["missing"], series["without_snapshot"]) == ([[5, 7]], [])
    for number in (7, 8):  # mostly on the border of the first event behind the hole, sometimes inside it
        series = found(raw(depth(1, 4), snapshot(number), depth(8, 9)), "depth_update")
        assert series["without_snapshot"] == []


def test_a_hole_without_a_snapshot_is_told():
    series = found(raw(snapshot(0), depth(1, 4), depth(8, 9)), "depth_update")
    assert series["without_snapshot"] == [[5, 7]]
    series = found(raw(depth(1, 4), snapshot(6), depth(8, 9)), "depth_update")
    assert series["without_snapshot"] == [[5, 7]]


def test_a_snapshot_behind_updates_beyond_it_is_out_of_order():
    report = raw(depth(1, 4), depth(5, 9), snapshot(7))
    assert found(report, "depth_snapshot")["out_of_order"] == [[7, 9]]
    assert found(report, "depth_update")["ok"]


def test_a_quiet_book_may_have_two_snapshots_of_one_id_but_none_twice():
    assert found(raw(snapshot(7, time=1), snapshot(7, time=9)), "depth_snapshot")["ok"]
    assert found(raw(snapshot(7), snapshot(7)), "depth_snapshot")["duplicates"] == [[7, 2]]


@pytest.mark.parametrize(
    ("make", "event_type"),
    [(book_ticker, "book_ticker"), (partial_book, "partial_depth"), (ticker, "ticker")],
)
def test_samples_may_skip_but_neither_come_again_nor_go_back(make, event_type):
    series = found(raw(make(10), make(15), make(15), make(12), make(20)), event_type)
    assert (series["duplicates"], series["out_of_order"], series["missing"]) == ([[15, 2]], [[12, 15]], [])
    assert (series["first_id"], series["last_id"], series["records"]) == (10, 20, 5)
    assert found(raw(make(10), make(15), make(20)), event_type)["ok"]


def test_a_sample_without_its_time_is_counted():
    bare = record({"e": "24hrTicker", "s": "BTCUSDT"}, "ticker", key="BTCUSDT", time=1)
    series = found(raw(ticker(10), bare, bare, ticker(11)), "ticker")
    assert (series["records"], series["ok"], series["last_id"]) == (4, True, 11)


def test_names_of_unknown_kinds_are_few():
    report = raw(*(record({"e": "x", "s": "B"}, f"kind_{n}", key="B", time=1) for n in range(200)))
    assert report.ok
    assert len(report.series) == 65
    assert found(report, "unlisted", "B")["records"] == 136


def test_a_repetition_far_back_is_at_least_out_of_order():
    series = found(raw(*(book_ticker(number) for number in range(1, 5000)), book_ticker(7)), "book_ticker")
    assert series["out_of_order"] == [[7, 4999]]


def test_partial_books_of_two_sizes_are_two_series():
    report = raw(partial_book(5), partial_book(5, levels="depth20"), partial_book(6), partial_book(6, levels="depth20"))
    assert report.ok
    assert [one.name.stream for one in report.series] == ["btcusdt@depth20", "btcusdt@depth5"]


def test_windows_of_rolling_tickers_are_series_of_their_own():
    names = ("1hTicker", "4hTicker")
    report = raw(*(ticker(time, name=name, event_type="rolling_ticker") for time in (5, 6) for name in names))
    assert report.ok
    assert [one.name.stream for one in report.series] == ["btcusdt@ticker_1h", "btcusdt@ticker_4h"]


def test_a_closed_candle_that_is_missing_is_found_by_its_opening_time():
    at = [START_MS - START_MS % MINUTE_MS + number * MINUTE_MS for number in range(6)]
    report = raw(*(kline(open_ms, closed=True) for open_ms in (at[0], at[1], at[4], at[5])))
    series = found(report, "kline")
    assert series["missing"] == [[at[2], at[3]]]
    assert report.series[0].defects == {"missing": 1}
    assert (series["first_id"], series["last_id"]) == (at[0], at[5])


def test_samples_between_closes_are_not_missed():
    at = START_MS - START_MS % MINUTE_MS
    assert raw(kline(at), kline(at + MINUTE_MS, trades=7), kline(at + 3 * MINUTE_MS)).ok


def test_a_candle_closes_once():
    at = START_MS - START_MS % MINUTE_MS
    closed = kline(at, trades=3, closed=True)
    assert found(raw(kline(at), closed, closed), "kline")["duplicates"] == [[at, 2]]
    assert found(raw(kline(at, trades=4), kline(at, trades=4)), "kline")["duplicates"] == [[at, 2]]
    assert found(raw(closed, kline(at, trades=2)), "kline")["out_of_order"] == [[at, at]]


def test_a_candle_that_is_told_again_later_is_no_repetition():
    at = START_MS - START_MS % MINUTE_MS
    assert raw(kline(at, trades=4, time=at + 10), kline(at, trades=4, time=at + 4_000)).ok


def test_a_closed_candle_behind_a_later_one_is_out_of_order():
    at = [START_MS - START_MS % MINUTE_MS + number * MINUTE_MS for number in range(3)]
    series = found(raw(*(kline(open_ms, closed=True) for open_ms in (at[0], at[2], at[1]))), "kline")
    assert (series["missing"], series["out_of_order"]) == ([], [[at[1], at[2]]])


@pytest.mark.parametrize(
    ("interval", "opens", "missing"),
    [
        ("1M", [1_672_531_200_000, 1_675_209_600_000, 1_680_307_200_000], [1_677_628_800_000]),
        ("1w", [1_672_617_600_000, 1_673_827_200_000], [1_673_222_400_000]),
        ("3d", [1_672_531_200_000, 1_673_049_600_000], [1_672_790_400_000]),
    ],
)
def test_candles_of_every_length_follow_each_other(interval, opens, missing):
    series = found(raw(*(kline(open_ms, interval=interval, closed=True) for open_ms in opens)), "kline")
    assert series["missing"] == [[missing[0], missing[0]]]
    whole = sorted(opens + missing)
    assert raw(*(kline(open_ms, interval=interval, closed=True) for open_ms in whole)).ok


def test_months_of_another_offset_follow_each_other():
    eight_hours = 8 * 3_600_000
    opens = [at - eight_hours for at in (1_672_531_200_000, 1_675_209_600_000, 1_680_307_200_000)]
    stream = "btcusdt@kline_1M@+08:00"
    series = found(raw(*(kline(at, interval="1M", stream=stream, closed=True) for at in opens)), "kline")
    assert series["stream"] == stream
    assert series["missing"] == [[1_677_628_800_000 - eight_hours] * 2]


def test_candles_in_microseconds_are_told_in_ms():
    at = START_MS - START_MS % MINUTE_MS
    series = found(raw(kline(at * 1000, closed=True), kline((at + 2 * MINUTE_MS) * 1000, closed=True)), "kline")
    assert series["missing"] == [[at + MINUTE_MS] * 2]


def test_an_interval_that_nobody_knows_is_unreadable():
    report = raw(kline(START_MS, interval="7x"))
    assert not report.ok
    assert "'7x' is no interval" in report.topics[0].unreadable[0].reason


def test_kinds_that_the_table_does_not_know_are_counted():
    later = record({"e": "newThing", "s": "BTCUSDT", "x": 1}, "new_thing", key="BTCUSDT", time=1)
    bare = record({"e": "newThing", "x": 1}, "new_thing", key=None, time=1)
    report = raw(later, later, bare)
    assert report.ok
    assert (found(report, "new_thing")["records"], found(report, "new_thing", "")["records"]) == (2, 1)


def test_what_has_no_event_type_is_named_by_its_place():
    report = raw(trade(1)._replace(value=b"junk"), trade(1)._replace(value=b""), trade(1))
    assert not report.ok
    assert [one.reason for one in report.topics[0].unreadable] == ["no event_type"] * 2


def test_an_event_without_its_id_is_unreadable():
    broken = trade(2)._replace(value=trade(2).value.replace(b'"t":2', b'"t":"2"'))
    report = raw(trade(1), broken, trade(2))
    assert [(one.partition, one.offset) for one in report.topics[0].unreadable] == [
        (report.topics[0].unreadable[0].partition, 2)
    ]
    assert found(report)["ok"]


def test_an_event_in_a_topic_that_is_not_for_it_is_named():
    topics = topics_of(trade(1), depth(1, 1))
    topics[Role.TRADES] = [trade(1), depth(1, 1)]
    topics[Role.DEPTH] = [depth(1, 1), book_ticker(4)]
    report = audit(topics)
    told = {topic.role: [one.reason for one in topic.misplaced] for topic in report.topics if topic.misplaced}
    assert told == {Role.TRADES: ["depth_update"], Role.DEPTH: ["book_ticker"]}
    assert not report.ok


def test_every_row_of_the_stream_table_is_audited():
    from ingest_actors.audit.forms import FORMS  # noqa: PLC0415

    assert [name.decode() for name in FORMS] == [kind.event_type for kind in KINDS]
