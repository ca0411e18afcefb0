"""A book rebuilt from the depth topic alone is the exchange's book, whatever goes wrong with the stream and with REST.

``INGEST_BOOK_SCHEDULES`` says how many combinations of faults are drawn; a failing seed is told and replays by itself.
"""

import json
import os
from decimal import Decimal
from itertools import pairwise

import pytest
from fault_world import START_MS, SYMBOLS, judge, run

from book_reader import BookReader, TickerCheck, snapshots_out_of_place
from ingest_actors.audit import Auditor, Role
from ingest_actors.binance.books import WITHHOLD_S
from ingest_actors.binance.depth_snapshots import SnapshotFetcher
from ingest_actors.binance.parser import EventParser
from ingest_actors.simulator.faults import (
    Cut,
    Drop,
    Duplicate,
    Fault,
    FaultScript,
    HalfOpen,
    RefuseHandshake,
    Reorder,
    ResetIds,
    RestError,
    RestHang,
    RestNotJson,
)
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.rest import MarketRest

SCHEDULES = int(os.environ.get("INGEST_BOOK_SCHEDULES", "12"))
LASTING_S = 120.0
TYPES = "depth@100ms,bookTicker,trade"
INTERVAL_S = 20.0


def live(*faults, monkeypatch, seed=7, **options):
    settings = {"binance_stream_types": TYPES, "depth_snapshot_interval_seconds": INTERVAL_S} | options
    return run(FaultScript(faults), seed=seed, lasting_s=LASTING_S, monkeypatch=monkeypatch, **settings)


def depth_topic(world, symbol):
    """Its records of one symbol, in order."""
    return [
        value
        for value, key, _, route in world.sink.written
        if "binance-depth" in route.topics and key == symbol.encode()
    ]


def rebuild(world, symbol):
    """Read one symbol's records as a consumer would, and compare with what the exchange published."""
    reader, check = BookReader(), TickerCheck()
    for value, key, _, route in world.sink.written:
        if key != symbol.encode() or route.dead_letter:
            continue
        if route.event_type == "book_ticker":
            check.ticker(json.loads(value))
        elif "binance-depth" in route.topics and reader.read(value):
            check.book(reader)
    if not began_again(world, symbol):  # else ids do not tell which of two is the older
        check.finish()
        assert check.differing == []
        assert snapshots_out_of_place(depth_topic(world, symbol)) == []
    return reader, check


def began_again(world, symbol):
    """Whether the exchange used ids again, as the journal has it."""
    return any(key == symbol.encode() and b'"exchange_reset"' in value for value, key, *_ in world.sink.everything)


def is_the_exchanges_book(world, symbol, reader):
    """Level by level, as of the last update in it; of the last seconds, for the exchange remembers no more."""
    found, bids, asks = world.markets[symbol].book.at(reader.id, 10**6)
    if reader.id < found:
        return False
    assert found == reader.id
    units = Decimal(10) ** 8
    assert reader.sides() == tuple(
        [(Decimal(price) / units, Decimal(quantity) / units) for price, quantity in side] for side in (bids, asks)
    )
    return True


def holes(world, symbol):
    """Those that the journal has as lost, last ids."""
    gaps = [json.loads(value) for value, key, _, route in world.sink.everything if route.event_type == "gap"]
    return [
        gap["last_id"]
        for gap in gaps
        if (gap["symbol"], gap["event_type"], gap["state"]) == (symbol, "depth_update", "lost")
    ]


def judge_books(world):
    """Every book is whole at the end, and was right whenever it was whole."""
    judge(world)
    for symbol in SYMBOLS:
        reader, check = rebuild(world, symbol)
        assert check.compared > 20, symbol
        assert is_the_exchanges_book(world, symbol, reader)
        for last in holes(world, symbol):
            assert any(json.loads(value).get("lastUpdateId", -1) >= last for value in depth_topic(world, symbol)), (
                "no snapshot after a hole"
            )
    assert world.service._topology.overview.ledger.backfilled["depth_snapshot"] == sum(
        b'"event_type":"depth_snapshot"' in value for symbol in SYMBOLS for value in depth_topic(world, symbol)
    )


def test_without_faults_a_book_begins_with_the_stream_and_comes_again_with_the_interval(monkeypatch):
    world = live(monkeypatch=monkeypatch)
    judge_books(world)
    for symbol in SYMBOLS:
        reader, _ = rebuild(world, symbol)
        assert reader.began_anew == 0
        assert LASTING_S / INTERVAL_S - 1 <= reader.snapshots <= LASTING_S / INTERVAL_S + 1
        assert reader.unread < 20
    assert world.all("book_snapshot_failed") == []


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault(Cut(), at_s=20.0), Fault(RefuseHandshake(503), at_s=19.0, for_s=5.0)], id="cut"),
        pytest.param([Fault(Cut(), every_s=9.0, until_s=80.0)], id="cuts"),
        pytest.param([Fault(HalfOpen(), at_s=20.0)], id="half open"),
        pytest.param([Fault(Drop(2), every_s=7.0, until_s=90.0, streams="*@depth*")], id="dropped frames"),
        pytest.param([Fault(Duplicate(3), every_s=3.0, until_s=90.0, streams="*@depth*")], id="repeated frames"),
        pytest.param([Fault(Reorder(4), every_s=11.0, until_s=90.0, streams="*@depth*")], id="frames out of order"),
    ],
)
def test_a_book_that_was_interrupted_is_whole_again_after_the_next_snapshot(faults, monkeypatch):
    world = live(*faults, monkeypatch=monkeypatch, depth_snapshot_interval_seconds=3600)
    judge_books(world)
    for symbol in SYMBOLS:
        reader, _ = rebuild(world, symbol)
        assert reader.snapshots <= 1 + len(holes(world, symbol))


@pytest.mark.parametrize("fault", [RestError(503), RestError(429, retry_after_s=3), RestHang(), RestNotJson()])
def test_while_rest_is_away_updates_flow_and_the_book_is_whole_once_it_is_back(fault, monkeypatch):
    away = Fault(fault, at_s=15.0, for_s=40.0)
    world = live(Fault(Cut(), at_s=20.0), away, monkeypatch=monkeypatch)
    judge_books(world)
    assert world.all("book_snapshot_failed")
    latest = {}
    for value, _, timestamp_ms, route in world.sink.written:
        if route.event_type == "depth_update":
            waited_ms = int(value.partition(b'"ingestion_timestamp":')[2].partition(b",")[0]) - timestamp_ms
            latest[route] = max(latest.get(route, 0), waited_ms)
    assert len(world.all("actor_restarted")) == 0


def lag(monkeypatch, seconds):
    """REST's book is as old as that."""

    def depth(self, symbol, limit):
        book = self._markets[symbol].book
        marks = book._marks  # one a second
        return payloads.partial_depth(0, *book.at(marks[max(0, len(marks) - seconds)] if marks else 0, limit))

    monkeypatch.setattr(MarketRest, "depth", depth)


def test_a_book_that_lags_behind_its_stream_by_seconds_is_waited_for(monkeypatch):
    lag(monkeypatch, 3)
    world = live(Fault(Cut(), at_s=40.0), monkeypatch=monkeypatch)
    judge_books(world)
    assert world.all("book_snapshot_failed") == []
    for symbol in SYMBOLS:
        assert rebuild(world, symbol)[0].snapshots >= 4


def test_a_book_that_lags_behind_for_longer_is_never_written_out_of_place_and_delays_updates_by_a_bound(monkeypatch):
    monkeypatch.setattr("ingest_actors.binance.books.WITHHOLD_S", 2.0)
    lag(monkeypatch, 6)
    world = live(Fault(Cut(), at_s=40.0), monkeypatch=monkeypatch)
    judge(world)
    failed = world.all("book_snapshot_failed")
    assert {failure.fields["cause"] for failure in failed} == {
        "no book as new as its stream came for as long as the updates may wait"
    }
    for symbol in SYMBOLS:
        rebuild(world, symbol)  # what little there is, is right


def test_ids_that_begin_again_begin_a_new_book(monkeypatch):
    world = live(Fault(ResetIds(), at_s=30.0), monkeypatch=monkeypatch)
    judge(world)
    for symbol in SYMBOLS:
        reader = BookReader()
        for value in depth_topic(world, symbol):
            reader.read(value)
        assert is_the_exchanges_book(world, symbol, reader)


def test_a_stop_while_updates_are_withheld_loses_none_of_them(monkeypatch):
    world = run(
        FaultScript([Fault(RestHang(), at_s=2.0, for_s=1000.0)]), seed=3, lasting_s=4.0 + WITHHOLD_S / 2,
        monkeypatch=monkeypatch, binance_stream_types=TYPES, depth_snapshot_interval_seconds=4.0,
    )  # fmt: skip
    judge(world)
    for symbol in SYMBOLS:
        records = [json.loads(value) for value in depth_topic(world, symbol)]
        updates = [record for record in records if record["event_type"] == "depth_update"]
        assert len(records) == len(updates) + 1
        assert updates[-1]["E"] > START_MS + 7000
        assert all(after["U"] == before["u"] + 1 for before, after in pairwise(updates))


def test_crashes_of_parser_and_bookkeeper_lose_nothing_and_keep_the_order(monkeypatch):
    parse, fetch = EventParser.parse, SnapshotFetcher.__call__
    calls = {"parse": 0, "fetch": 0}

    def crashing_parse(self, batch):
        calls["parse"] += 1
        parsed = parse(self, batch)
        if calls["parse"] % 400 == 0:
            raise ZeroDivisionError
        return parsed

    async def crashing_fetch(self, symbol, *, sent):
        calls["fetch"] += 1
        answer = await fetch(self, symbol, sent=sent)
        if calls["fetch"] % 7 == 0:
            raise ZeroDivisionError
        return answer

    monkeypatch.setattr(EventParser, "parse", crashing_parse)
    monkeypatch.setattr(SnapshotFetcher, "__call__", crashing_fetch)
    world = live(Fault(Drop(2), every_s=13.0, until_s=90.0, streams="*@depth*"), monkeypatch=monkeypatch)
    assert {event.fields["actor"] for event in world.all("actor_restarted")} == {"parser", "bookkeeper"}
    world.happened = [event for event in world.happened if event.name != "actor_restarted"]
    judge_books(world)


def audited(world):
    """What `audit` finds in topics of one partition."""
    auditor = Auditor()
    roles = {f"binance-{name}": role for name, role in (
        ("gaps", Role.GAPS), ("raw-events", Role.RAW), ("trades", Role.TRADES), ("depth", Role.DEPTH)
    )}  # fmt: skip
    topics = {role: [] for role in roles.values()}
    for value, key, timestamp_ms, route in world.sink.everything:
        for topic in route.topics:
            records = topics[roles[topic]]
            records.append((len(records), key, value, timestamp_ms))
    auditor.journal(0, topics.pop(Role.GAPS))
    for role, records in topics.items():
        auditor.feed(role, 0, records)
    for reading in auditor.second_readings():
        for role, spans in reading.places.items():
            for offset, _, value, _ in topics[role]:
                if offset in spans[0]:
                    reading.take(role, value)
    return auditor.report().to_json()


def test_the_audit_finds_such_a_record_whole_its_holes_explained_and_each_followed_by_a_snapshot(monkeypatch):
    faults = [Fault(Cut(), every_s=19.0, until_s=80.0), Fault(Drop(2), every_s=7.0, until_s=90.0, streams="*@depth*")]
    world = live(*faults, monkeypatch=monkeypatch, depth_snapshot_interval_seconds=10.0)
    report = audited(world)
    assert report["ok"], [one for one in report["series"] if not one["ok"]]
    series = {(one["symbol"], one["event_type"]): one for one in report["series"]}
    for symbol in SYMBOLS:
        book = series[symbol, "depth_update"]
        assert len(book["missing_explained"]) >= 4
        assert (book["missing"], book["without_snapshot"]) == ([], [])
        snapshots = series[symbol, "depth_snapshot"]
        assert snapshots["records"] >= 10
        assert (snapshots["duplicates"], snapshots["out_of_order"]) == ([], [])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_through_any_combination_of_faults_a_book_that_is_whole_is_the_exchanges(seed, monkeypatch):
    script = FaultScript.random(seed, duration_s=80.0, symbols=SYMBOLS)
    try:
        world = live(*script.faults, seed=seed, monkeypatch=monkeypatch, config={"activity": 0.05})
        judge(world)
        for symbol in SYMBOLS:
            reader, _ = rebuild(world, symbol)
            at_the_end = world.markets[symbol].book.update_id
            if reader.id is not None and (reader.id <= at_the_end or not began_again(world, symbol)):
                is_the_exchanges_book(world, symbol, reader)  # unless the stream or REST was away at the end
    except BaseException as failure:
        failure.add_note(f"seed {seed}, script {script!r}")
        raise
