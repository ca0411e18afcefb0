"""Whole topics have no defect; one that is put into them is found, named, and found alone."""

from __future__ import annotations

import pytest
from audit_market import SYMBOLS, audit, found, market, sound
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_actors.audit import Role

MARKET = market(40)
SERIES = {
    "trade": (Role.TRADES, "t"), "aggregate_trade": (Role.TRADES, "a"), "depth_update": (Role.DEPTH, "u"),
}  # fmt: skip
LISTS = (
    "missing", "missing_explained", "duplicates", "out_of_order", "late", "altered", "not_examined", "wrongly_keyed",
)  # fmt: skip


def copied():
    return {role: list(records) for role, records in MARKET.items()}


def places(records, event_type, symbol):
    """Where the records of a series lie in a topic."""
    mark = f'"event_type":"{event_type}"'.encode()
    return [index for index, one in enumerate(records) if mark in one.value and one.key == symbol.encode()]


def number_of(written, field):
    return int(written.value.partition(f'"{field}":'.encode())[2].partition(b",")[0])


def first_of(written, event_type):
    return number_of(written, "U") if event_type == "depth_update" else number_of(written, SERIES[event_type][1])


@st.composite
def targets(draw):
    """A series, topics that hold it, and a place within it that is neither its first nor its last record."""
    event_type = draw(st.sampled_from(sorted(SERIES)))
    symbol = draw(st.sampled_from(SYMBOLS))
    copy, field = SERIES[event_type]
    roles = draw(st.sampled_from([(Role.RAW,), (copy,), (Role.RAW, copy)]))
    length = len(places(MARKET[copy], event_type, symbol))
    return event_type, symbol, field, roles, draw(st.integers(1, length - 3))


def spoil(target, change):
    """Apply a change to the place in each topic of the target; what was there in the last of them."""
    event_type, symbol, _, roles, place = target
    topics = copied()
    for role in roles:
        own = places(topics[role], event_type, symbol)
        was = topics[role][own[place]]
        change(topics[role], own, place)
    return topics, was


def told(report, target):
    series = found(report, *target[:2])
    return {name: series[name] for name in LISTS if series[name]}


def alone(report, target):
    """Every other series is whole."""
    return len(report.series) - len(sound(report)) == 1 and not found(report, *target[:2])["ok"]


def test_whole_topics_have_no_defect():
    report = audit(copied())
    assert report.ok
    assert len(sound(report)) == 7 * len(SYMBOLS)


@settings(deadline=None, max_examples=60)
@given(targets())
def test_a_missing_event_is_found(target):
    topics, was = spoil(target, lambda records, own, place: records.pop(own[place]))
    report = audit(topics)
    last = number_of(was, target[2])
    assert told(report, target) == {"missing": [[first_of(was, target[0]), last]]}
    assert alone(report, target)
    here = {role.value for role in (Role.RAW, SERIES[target[0]][0])} - {role.value for role in target[3]}
    assert set(found(report, *target[:2])["only_in"]) == (here if len(target[3]) == 1 else set())


@settings(deadline=None, max_examples=60)
@given(targets(), st.integers(0, 30))
def test_a_doubled_event_is_found_however_far_its_copy_lies(target, behind):
    def double(records, own, place):
        records.insert(own[min(place + behind, len(own) - 1)] + 1, records[own[place]])

    topics, was = spoil(target, double)
    report = audit(topics)
    assert told(report, target) == {"duplicates": [[number_of(was, target[2]), 2]]}
    assert alone(report, target)


@settings(deadline=None, max_examples=60)
@given(targets())
def test_events_that_changed_places_are_found(target):
    def swap(records, own, place):
        one, other = own[place], own[place + 1]
        records[one], records[other] = records[other], records[one]

    topics, was = spoil(target, swap)
    report = audit(topics)
    _, after = spoil((*target[:4], target[4] + 1), lambda *_: None)
    assert told(report, target) == {"out_of_order": [[number_of(was, target[2]), number_of(after, target[2])]]}
    assert alone(report, target)


@settings(deadline=None, max_examples=60)
@given(targets(), st.sampled_from([("E", b'"E":', b'"E":1'), ("source", b"binance_websocket", b"binance_websockeT")]))
def test_an_event_that_differs_between_topics_is_found_with_the_field(target, change):
    field, old, new = change
    target = (*target[:3], target[3][:1], target[4])  # changed in both alike, nothing could tell

    def alter(records, own, place):
        was = records[own[place]]
        records[own[place]] = was._replace(value=was.value.replace(old, new, 1))

    topics, was = spoil(target, alter)
    report = audit(topics)
    assert told(report, target) == {"altered": [[number_of(was, target[2]), [field]]]}
    assert alone(report, target)


@settings(deadline=None, max_examples=60)
@given(targets(), st.sampled_from([None, b"XRPUSDT", b"btcusdt", b"\xff", b"another"]))
def test_a_wrong_key_is_found_and_the_event_does_not_count_as_missing(target, key):
    if key == b"another":
        key = next(symbol for symbol in SYMBOLS if symbol != target[1]).encode()

    def change(records, own, place):
        records[own[place]] = records[own[place]]._replace(key=key)

    topics, was = spoil(target, change)
    report = audit(topics)
    text = "" if key is None else key.decode("utf-8", "replace")
    assert told(report, target) == {"wrongly_keyed": [[number_of(was, target[2]), text]]}
    assert alone(report, target)
    assert found(report, *target[:2])["only_in"] == {}


@settings(deadline=None, max_examples=40)
@given(targets())
def test_a_record_that_is_no_event_is_named_by_its_place(target):
    def cut(records, own, place):
        records[own[place]] = records[own[place]]._replace(value=b'{"e":"trade","E":17')

    topics, was = spoil(target, cut)
    report = audit(topics)
    last = number_of(was, target[2])
    assert told(report, target) == {"missing": [[first_of(was, target[0]), last]]}
    for topic in report.topics:
        assert [one.reason for one in topic.unreadable] == ["no event_type"] * (topic.role in target[3])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_many_defects_at_one_time_are_all_found(seed, count):
    """Every defect in a series of its own, so that what each must give is known."""
    import random  # noqa: PLC0415

    chance = random.Random(seed)
    symbols = [f"S{index}USDT" for index in range(count)]
    topics = market(12, symbols)
    expected = {}
    for symbol in symbols:
        kind = chance.choice(["missing", "duplicates", "wrongly_keyed", "altered"])
        own = places(topics[Role.TRADES], "trade", symbol)
        place = chance.randrange(1, len(own) - 1)
        was = topics[Role.TRADES][own[place]]
        number = number_of(was, "t")
        if kind == "missing":
            del topics[Role.TRADES][own[place]]
            expected[symbol] = {kind: [[number, number]]}
        elif kind == "duplicates":
            topics[Role.TRADES].insert(own[place], was)
            expected[symbol] = {kind: [[number, 2]]}
        elif kind == "wrongly_keyed":
            topics[Role.TRADES][own[place]] = was._replace(key=b"OTHER")
            expected[symbol] = {kind: [[number, "OTHER"]]}
        else:
            topics[Role.TRADES][own[place]] = was._replace(value=was.value.replace(b'"M":true', b'"M":null'))
            expected[symbol] = {kind: [[number, ["M"]]]}
    report = audit(topics)
    assert {symbol: told(report, ("trade", symbol)) for symbol in symbols} == expected


@pytest.mark.parametrize("role", [Role.RAW, Role.TRADES])
def test_a_series_that_one_topic_lacks_altogether_is_found(role):
    topics = copied()
    topics[role] = [one for one in topics[role] if b'"t":' not in one.value or one.key != b"BTCUSDT"]
    series = found(audit(topics))
    assert series["only_in"] == {("trades" if role is Role.RAW else "raw"): [[1000, 1078]]}
