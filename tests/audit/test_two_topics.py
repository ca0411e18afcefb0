"""Topics against each other: on what both hold, within bounds of memory."""

from __future__ import annotations

import pytest
from audit_market import SYMBOLS, aggregate, audit, depth, found, market, snapshot, trade

from ingest_actors.audit import Role, aggregates, auditor, compare, digests
from ingest_actors.audit.aggregates import Held, Pairing
from ingest_actors.audit.digests import Budget
from ingest_actors.audit.forms import FORMS


def topics_of(raw, *, trades=(), depths=()):
    return {role: [] for role in Role} | {Role.RAW: list(raw), Role.TRADES: list(trades), Role.DEPTH: list(depths)}


def numbered(*numbers, **terms):
    return [trade(number, **terms) for number in numbers]


def test_what_one_topic_alone_still_holds_is_not_compared():
    topics = topics_of(numbered(5, 6, 7), trades=numbered(1, 2, 3, 4, 5, 6, 7))
    report = audit(topics, whole=[Role.TRADES])
    assert report.ok
    assert (found(report)["first_id"], found(report)["records"]) == (1, 7)
    topics = topics_of(numbered(1, 2, 3, 4, 5, 6, 7), trades=numbered(5, 6, 7))
    assert audit(topics, whole=[Role.RAW]).ok


def test_of_topics_that_lost_nothing_both_must_begin_alike():
    topics = topics_of(numbered(1, 2, 3), trades=numbered(2, 3))
    assert found(audit(topics))["only_in"] == {"raw": [[1, 1]]}
    topics = topics_of(numbered(2, 3), trades=numbered(1, 2, 3))
    assert found(audit(topics))["only_in"] == {"trades": [[1, 1]]}


def test_what_is_on_its_way_at_the_end_is_not_compared():
    assert audit(topics_of(numbered(1, 2, 3, 4), trades=numbered(1, 2))).ok
    assert audit(topics_of(numbered(1, 2), trades=numbered(1, 2, 3, 4))).ok


def test_a_difference_below_what_both_hold_is_none():
    older = [trade(number, maker=True) for number in (1, 2, 3)]
    topics = topics_of(numbered(3, 4, 5), trades=[*older[:2], *numbered(3, 4, 5)])
    assert audit(topics, whole=[]).ok


def test_snapshots_are_compared_too():
    raw = [depth(1, 4), snapshot(4), depth(5, 9), snapshot(9), depth(10, 12), snapshot(12)]
    altered = raw[3]._replace(value=raw[3].value.replace(b"3.0", b"3.1"))
    report = audit(topics_of(raw, depths=[*raw[:3], altered, *raw[4:]]))
    assert found(report, "depth_snapshot")["altered"] == [[9, ["asks"]]]
    report = audit(topics_of(raw, depths=raw[:3] + raw[4:]))
    assert found(report, "depth_snapshot")["only_in"] == {"raw": [[9, 9]]}


def test_an_update_with_another_border_is_altered():
    raw = [depth(1, 4), depth(5, 9), depth(10, 12)]
    report = audit(topics_of(raw, depths=[raw[0], depth(4, 9), raw[2]]))
    assert found(report, "depth_update")["altered"] == [[9, ["U"]]]


def test_what_is_no_object_any_more_differs_as_a_whole():
    raw = numbered(1, 2, 3)
    broken = raw[1]._replace(value=raw[1].value.replace(b'"e":"trade"', b'"e":"trad\xff"'))
    assert found(audit(topics_of(raw, trades=[raw[0], broken, raw[2]])))["altered"] == [[2, ["value"]]]


def test_bytes_that_are_no_text_are_unreadable():
    raw = numbered(1, 2, 3)
    broken = raw[1]._replace(value=raw[1].value.replace(b'"p":"100', b'"p":"\xff00'))
    deep = raw[1]._replace(value=raw[1].value.replace(b'"M":true', b'"M":' + b"[" * 100_000 + b"]" * 100_000))
    for spoilt in (broken, deep):
        report = audit(topics_of(raw, trades=[raw[0], spoilt, raw[2]]))
        assert found(report)["missing"] == [[2, 2]]
        assert [len(topic.unreadable) for topic in report.topics if topic.role is Role.TRADES] == [1]


def test_an_absent_topic_is_told_and_nothing_is_compared_with_it():
    topics = topics_of(numbered(1, 2), trades=[], depths=[])
    report = audit(topics, absent=(Role.TRADES, Role.DEPTH, Role.GAPS))
    assert report.ok
    assert {topic.role for topic in report.topics if topic.absent} == {Role.TRADES, Role.DEPTH, Role.GAPS}
    assert audit(topics_of([], trades=numbered(1, 2, 4)), absent=(Role.RAW,)).series[0].defects == {"missing": 1}


def test_a_series_in_two_partitions_is_whole_if_together_they_are():
    """As after partitions were added to a topic."""
    from ingest_actors.audit import Auditor  # noqa: PLC0415

    def fed(*parts):
        whole = Auditor(absent=(Role.TRADES, Role.DEPTH))
        for partition, numbers in enumerate(parts):
            whole.feed(Role.RAW, partition, [(n, b"BTCUSDT", trade(n).value, trade(n).time) for n in numbers])
        return found(whole.report())

    assert fed(range(5, 9), range(1, 5))["ok"]
    assert fed(range(1, 5), range(6, 9))["missing"] == [[5, 5]]
    assert fed(range(1, 6), range(5, 9))["duplicates"] == [[5, 2]]
    assert fed(range(1, 5), range(5, 9))["by_topic"]["raw"]["partitions"] == [0, 1]


def differing(topics):
    series = found(audit(topics), "aggregate_trade")
    return series["aggregates"]["differing"]


@pytest.mark.parametrize(
    ("agg", "what"),
    [
        (aggregate(1, 1, 3, price="100.00000001"), "price"),
        (aggregate(1, 1, 3, maker=True), "side"),
        (aggregate(1, 1, 3, quantity="1.50000001"), "quantity"),
        (aggregate(1, 1, 3, quantity="oops"), "quantity"),
        (aggregate(1, 3, 3, price="99.00000000"), "price"),
        (aggregate(1, 3, 3, quantity="0.4"), "quantity"),
    ],
)
def test_an_aggregate_must_agree_with_its_trades(agg, what):
    records = [*numbered(1, 2, 3), agg]
    assert differing(topics_of(records, trades=records)) == [[1, what]]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (0, 3, 1, 2), (0, 2, 3, 1)])
def test_the_two_streams_may_come_in_any_order(order):
    records = [*numbered(1, 2, 3), aggregate(1, 1, 3)]
    records = [records[index] for index in order]
    series = found(audit(topics_of(records, trades=records)), "aggregate_trade")
    assert series["aggregates"] == {"compared": 1, "not_compared": 0, "differing": []}


def test_another_way_to_write_a_number_is_no_difference():
    records = [*numbered(1, 2), aggregate(1, 1, 2, price="100.0", quantity="1")]
    assert audit(topics_of(records, trades=records)).ok


def test_an_aggregate_without_its_trades_is_not_compared():
    """That the trade is missing is told of the trades."""
    records = [*numbered(1, 3), aggregate(1, 1, 2), aggregate(2, 3, 3)]
    report = audit(topics_of(records, trades=records))
    series = found(report, "aggregate_trade")
    assert series["aggregates"] == {"compared": 1, "not_compared": 1, "differing": []}
    assert series["ok"]
    assert found(report)["missing"] == [[2, 2]]


def test_what_waits_for_the_other_stream_is_bounded(monkeypatch):
    monkeypatch.setattr(aggregates, "WINDOW_MAX", 100)
    held = Held(held_max=150)
    one, other = Pairing(held), Pairing(held)
    decode = FORMS[b"trade"].decode
    for number in range(1000):
        one.trade(decode(trade(number).value))
        other.aggregate(FORMS[b"aggregate_trade"].decode(aggregate(number, number, number).value))
        assert held.count <= 150
    assert one.let_go > 800
    assert other.let_go > 800
    one.aggregate(FORMS[b"aggregate_trade"].decode(aggregate(5000, 1, 500).value))
    assert (one.compared, one.differing.total) == (0, 0)


def test_blocks_are_bounded_and_still_tell_every_difference(monkeypatch):
    monkeypatch.setattr(digests, "BLOCKS_MAX", 4)
    monkeypatch.setattr(auditor, "Budget", lambda: Budget(4))
    topics = market(2000)
    own = [index for index, one in enumerate(topics[Role.TRADES]) if b'"e":"trade"' in one.value]
    place = own[777]
    was = topics[Role.TRADES][place]
    topics[Role.TRADES][place] = was._replace(value=was.value.replace(b'"M":true', b'"M":null'))
    report = audit(topics)
    assert [one.name.event_type for one in report.series if not one.ok] == ["trade"]
    assert len(found(report)["altered"]) == 1


def test_the_number_of_blocks_never_exceeds_its_bound():
    budget = Budget(10)
    series = [budget.digest(2) for _ in range(3)]
    for number in range(1000):
        for digest in series:
            digest.add(number, number * 7, number)
            assert sum(len(one.blocks) for one in series) <= 10
    assert [sum(block.total for block in one.blocks.values()) for one in series] == [sum(range(1000)) * 7] * 3
    assert [sum(block.records for block in one.blocks.values()) for one in series] == [1000] * 3


def test_beyond_what_is_read_again_the_rest_is_told_as_spans(monkeypatch):
    monkeypatch.setattr(auditor, "SUSPECTS_MAX", 1)
    monkeypatch.setattr(compare, "SUSPECTS_MAX", 1)
    raw = numbered(*range(10_000))
    altered = [
        one._replace(value=one.value.replace(b'"M":true', b'"M":null')) if index in (5, 5000, 9000) else one
        for index, one in enumerate(raw)
    ]
    series = found(audit(topics_of(raw, trades=altered)))
    assert series["altered"] == [[5, ["M"]]]
    assert series["not_examined"] == [[4096, 9999]]
    assert not series["ok"]


def test_second_readings_are_cut_into_parts(monkeypatch):
    monkeypatch.setattr(compare, "READING_MAX", 5000)
    raw = numbered(*range(20_000))
    altered = [
        one._replace(value=one.value.replace(b'"M":true', b'"M":null')) if index % 4000 == 5 else one
        for index, one in enumerate(raw)
    ]
    series = found(audit(topics_of(raw, trades=altered)))
    assert [number for number, _ in series["altered"]] == [5, 4005, 8005, 12005, 16005]


def test_symbols_that_are_not_wanted_are_left_out_but_strays_of_wanted_ones_are_seen():
    topics = market(20)
    own = [index for index, one in enumerate(topics[Role.RAW]) if one.key == b"BTCUSDT" and b'"t":' in one.value]
    was = topics[Role.RAW][own[9]]
    topics[Role.RAW][own[9]] = was._replace(key=b"ETHUSDT")
    report = audit(topics, wants=lambda symbol: symbol == "BTCUSDT")
    assert {one.name.symbol for one in report.series} == {"BTCUSDT"}
    assert not report.ok
    report = audit(topics, wants=lambda symbol: symbol == "ETHUSDT")
    assert {one.name.symbol for one in report.series} == {"ETHUSDT"}
    assert report.ok
    assert len(SYMBOLS) == 2


def test_a_list_of_defects_is_bounded_and_says_so(monkeypatch):
    from ingest_actors.audit import findings, sequences  # noqa: PLC0415

    monkeypatch.setattr(findings, "FINDINGS_MAX", 10)
    monkeypatch.setattr(sequences, "HOLES_MAX", 10)
    numbers = [number for place in range(0, 200, 4) for number in (place + 1, place)]
    series = found(audit(topics_of(numbered(*numbers)), absent=(Role.TRADES, Role.DEPTH)))
    assert len(series["out_of_order"]) == 10
    assert len(series["missing"]) <= 10
    assert series["truncated"]
