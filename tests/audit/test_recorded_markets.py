"""Recordings of the real exchange: the whole ones are whole, and the known defects of the spoilt ones are found."""

from __future__ import annotations

import csv
import gzip
from itertools import groupby

import pytest
from audit_market import Written, audit, found, record

from ingest_actors.audit import Role
from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable, TopicNames
from ingest_actors.messages import FrameBatch
from ingest_actors.simulator.recording import Recording

NAMES = TopicNames()
ROLES = {NAMES.raw: Role.RAW, NAMES.trades: Role.TRADES, NAMES.depth: Role.DEPTH, NAMES.dead_letters: Role.DEAD_LETTERS}
CSV = "csv_{}_{}_stream_spot_trxusdt_2025-03-04.csv.gz"


def rows(captures, twin, stream):
    with gzip.open(captures / CSV.format(twin, stream), "rt") as file:
        return list(csv.DictReader(file))


def trades(captures, twin) -> list[Written]:
    return [
        record(
            {
                "e": "trade", "E": int(row["EventTime"]), "s": row["Symbol"], "t": int(row["TradeId"]),
                "p": row["Price"], "q": row["Quantity"], "T": int(row["TransactionTime"]),
                "m": row["IsBuyerMarketMaker"] == "1", "M": True,
            },
            "trade", key=row["Symbol"], time=int(row["TimestampOfReceive"]) // 1000,
        )
        for row in rows(captures, twin, "trade")
    ]  # fmt: skip


def updates(captures, twin) -> list[Written]:
    """One row is one level; the rows of an event have the same ids."""
    found_ = []
    of_event = groupby(
        rows(captures, twin, "difference_depth"), lambda row: (row["FirstUpdateId"], row["FinalUpdateId"])
    )
    for (first, last), rows_of_event in of_event:
        levels = list(rows_of_event)
        sides = {side: [[row["Price"], row["Quantity"]] for row in levels if row["IsAsk"] == side] for side in "01"}
        event = {
            "e": "depthUpdate", "E": int(levels[0]["EventTime"]), "s": levels[0]["Symbol"],
            "U": int(first), "u": int(last), "b": sides["0"], "a": sides["1"],
        }  # fmt: skip
        time = int(levels[0]["TimestampOfReceive"]) // 1000
        found_.append(record(event, "depth_update", key=levels[0]["Symbol"], time=time))
    return found_


def topics(raw, role, copy):
    return {one: [] for one in Role} | {Role.RAW: raw, role: copy}


def test_the_whole_twins_are_whole(captures):
    for role, records in ((Role.TRADES, trades(captures, "positive")), (Role.DEPTH, updates(captures, "positive"))):
        report = audit(topics(records, role, records))
        assert [one.name.event_type for one in report.series if not one.ok] == []
        assert report.series[0].records == len(records) > 500


def test_the_two_breaks_of_the_spoilt_trades_are_found(captures):
    spoilt = trades(captures, "negative")
    series = found(audit(topics(spoilt, Role.TRADES, spoilt)), symbol="TRXUSDT")
    assert series["duplicates"] == [[348656871, 2]]
    assert series["missing"] == [[348656872, 348656872]]
    assert series["out_of_order"] == []


def test_the_break_in_the_ids_of_the_spoilt_updates_is_found(captures):
    spoilt = updates(captures, "negative")
    series = found(audit(topics(spoilt, Role.DEPTH, spoilt)), "depth_update", "TRXUSDT")
    assert series["missing"] == [[5434434570, 5434434570]]
    assert (series["duplicates"], series["out_of_order"]) == ([], [])


def test_against_the_whole_twin_every_spoilt_event_is_found(captures):
    """Those too whose ids are right: a time of zero, a price of -1, times of receipt in the future."""
    report = audit(topics(updates(captures, "positive"), Role.DEPTH, updates(captures, "negative")))
    series = found(report, "depth_update", "TRXUSDT")
    fields = dict(series["altered"])
    assert set(fields[5434434566]) == {"E", "b"}
    assert set(fields[5434434571]) == {"E", "U"}
    assert set(fields) == {5434434566, 5434434571, 5434456664}
    report = audit(topics(trades(captures, "positive"), Role.TRADES, trades(captures, "negative")))
    series = found(report, symbol="TRXUSDT")
    assert (series["missing"], series["duplicates"]) == ([[348656872, 348656872]], [[348656871, 2]])
    assert series["altered"] == [[348666869, ["ingestion_timestamp"]]]


RECORDINGS = {
    "BTCUSDT over midnight": (["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"], 99_573),
    "three symbols": (["spot_2021-04-04_3symbols.txt.gz"], 4_716),
    "ten illiquid symbols": (["spot_2021-04-17_ws.txt.gz"], None),
    "four symbols": (["spot_2021-08-14_ws.txt.gz"], None),
    "four symbols later": (["spot_2021-10-11_ws.txt.gz"], None),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_was_recorded_of_the_exchange_is_whole_once_it_is_parsed(captures, name):
    files, count = RECORDINGS[name]
    parser = EventParser(StreamTable())
    written = {role: [] for role in Role}
    for _, block in Recording([captures / file for file in files]).blocks():
        frames = [frame for _, frame, _ in block.frames]
        for value, key, time, route in parser.parse(FrameBatch(frames, received_at_ms=1, connection="c")).events:
            for topic in route.topics:
                written[ROLES[topic]].append(Written(key, value, time))
    report = audit(written)
    assert [(str(one.name), one.defects) for one in report.series if not one.ok] == []
    assert report.ok
    assert sum(one.records for one in report.series) == len(written[Role.RAW])
    assert len(written[Role.RAW]) == (count or len(written[Role.RAW])) > 100
    chained = [found(report, *one.name[1::-1]) for one in report.series if one.name.event_type == "aggregate_trade"]
    assert [one["broken_chain"] for one in chained] == [[]] * len(chained)
