"""A small market as it stands in the topics: records of every kind, whole, to be spoilt by tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from ingest_actors.audit import Auditor, Report, Role

START_MS = 1_700_000_000_000
PARTITIONS = 3
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Written(NamedTuple):
    """One record as it was produced."""

    key: bytes | None
    value: bytes
    time: int


def record(event: dict[str, Any], event_type: str, *, key: str | None, time: int, late: bool = False, **appended: str):
    tail: dict[str, Any] = {
        **appended, "ingestion_timestamp": time + 5, "source": "binance_websocket", "event_type": event_type,
    }  # fmt: skip
    value = json.dumps(event | tail | ({"late": True} if late else {}), separators=(",", ":")).encode()
    return Written(None if key is None else key.encode(), value, time)


def trade(number, symbol="BTCUSDT", *, time=None, price="100.00000000", quantity="0.50000000", maker=False, late=False):
    time = START_MS + number * 10 if time is None else time
    event = {
        "e": "trade", "E": time, "s": symbol, "t": number, "p": price, "q": quantity, "T": time, "m": maker, "M": True,
    }  # fmt: skip
    return record(event, "trade", key=symbol, time=time, late=late)


def aggregate(
    number, first, last, symbol="BTCUSDT", *, time=None, price="100.00000000", quantity=None, maker=False, late=False
):
    time = START_MS + last * 10 if time is None else time
    quantity = quantity or f"{(last - first + 1) * 0.5:.8f}"
    event = {
        "e": "aggTrade", "E": time, "s": symbol, "a": number, "p": price, "q": quantity, "f": first, "l": last,
        "T": time, "m": maker, "M": True,
    }  # fmt: skip
    return record(event, "aggregate_trade", key=symbol, time=time, late=late)


def depth(first, last, symbol="BTCUSDT", *, time=None):
    time = START_MS + last * 10 if time is None else time
    event = {"e": "depthUpdate", "E": time, "s": symbol, "U": first, "u": last, "b": [["1.0", "2.0"]], "a": []}
    return record(event, "depth_update", key=symbol, time=time)


def snapshot(number, symbol="BTCUSDT", *, time=None):
    time = START_MS + number * 10 if time is None else time
    event = {"lastUpdateId": number, "bids": [["1.0", "2.0"]], "asks": [["3.0", "4.0"]]}
    return record(event, "depth_snapshot", key=symbol, time=time, symbol=symbol)


def kline(open_ms, symbol="BTCUSDT", *, interval="1m", trades=1, closed=False, time=None, stream=None):
    time = open_ms + trades if time is None else time
    candle = {"t": open_ms, "T": open_ms + 59_999, "s": symbol, "i": interval, "f": 1, "L": trades, "n": trades}
    event = {"e": "kline", "E": time, "s": symbol, "k": candle | {"x": closed, "B": "0"}}
    appended = {"symbol": symbol, "stream": stream} if stream else {}
    return record(event, "kline", key=symbol, time=time, **appended)


def book_ticker(number, symbol="BTCUSDT"):
    event = {"u": number, "s": symbol, "b": "1.0", "B": "2.0", "a": "3.0", "A": "4.0"}
    stream = f"{symbol.lower()}@bookTicker"
    return record(event, "book_ticker", key=symbol, time=START_MS + number * 10, symbol=symbol, stream=stream)


def ticker(time, symbol="BTCUSDT", *, name="24hrTicker", event_type="ticker"):
    return record({"e": name, "E": time, "s": symbol, "p": "1.0"}, event_type, key=symbol, time=time)


def partial_book(number, symbol="BTCUSDT", *, levels="depth5"):
    event = {"lastUpdateId": number, "bids": [], "asks": []}
    stream = f"{symbol.lower()}@{levels}"
    return record(event, "partial_depth", key=symbol, time=START_MS + number, symbol=symbol, stream=stream)


def gap(first, last, *, stream="btcusdt@trade", event_type="trade", state="lost", reason="too_old", **more):
    symbol = stream.partition("@")[0].upper()
    entry = {
        "v": 1, "gap": f"{stream}:{first}-{last}", "symbol": symbol, "stream": stream, "event_type": event_type,
        "first_id": first, "last_id": last, "state": state, "reason": reason, "detected_at": START_MS,
        "resolved_at": None, "resolved_by": None, "recovered": 0,
    }  # fmt: skip
    return Written(symbol.encode(), json.dumps(entry | more).encode(), START_MS)


def market(rounds: int = 120, symbols: Iterable[str] = SYMBOLS) -> dict[Role, list[Written]]:
    """Whole topics: in each round some trades, the aggregate of them, a diff of the book, and samples."""
    topics: dict[Role, list[Written]] = {role: [] for role in Role}
    for symbol in symbols:
        number, update = 1000, 5000
        for turn in range(rounds):
            together = turn % 3 + 1
            trades = [trade(number + index, symbol) for index in range(together)]
            agg = aggregate(700 + turn, number, number + together - 1, symbol)
            diff = depth(update, update + turn % 5, symbol)
            of_trades = [*trades, agg] if turn % 2 else [trades[0], agg, *trades[1:]]
            of_depth = ([snapshot(update - 1, symbol)] if turn % 40 == 0 else []) + [diff]
            minute = START_MS - START_MS % 60_000 + turn // 4 * 60_000
            samples = [
                kline(minute, symbol, trades=turn % 4 + 1, closed=turn % 4 == 3),
                book_ticker(update + turn % 5, symbol),
                ticker(START_MS + turn * 1000, symbol),
            ]
            topics[Role.TRADES] += of_trades
            topics[Role.DEPTH] += of_depth
            topics[Role.RAW] += of_trades + of_depth + samples
            number += together
            update += turn % 5 + 1
    return topics


def partition_of(key: bytes | None, partitions: int = PARTITIONS) -> int:
    return sum(key or b"") % partitions


def spread(records: Iterable[Written], partitions: int = PARTITIONS):
    """As a topic has them: by partition, with offsets."""
    found: dict[int, list[tuple[int, bytes | None, bytes, int]]] = {}
    for written in records:
        own = found.setdefault(partition_of(written.key, partitions), [])
        own.append((len(own) * 2, written.key, written.value, written.time))  # as behind markers of transactions
    return found


def audit(topics: dict[Role, list[Written]], *, letters=(), **options) -> Report:
    """The report of topics, as `run_audit` would come to it."""
    auditor = Auditor(**options)
    lying = {role: spread(records) for role, records in topics.items()}
    for partition, records in lying[Role.GAPS].items():
        auditor.journal(partition, records)
    auditor.dead_letters(letters)
    for role in (Role.RAW, Role.TRADES, Role.DEPTH):
        if role not in options.get("absent", ()):
            _feed(auditor, role, lying[role])
    for reading in auditor.second_readings():
        for role in (Role.TRADES, Role.DEPTH, Role.RAW):
            _read_again(reading, role, lying[role])
    return auditor.report()


def _feed(auditor, role, lying):
    for partition, records in lying.items():
        for start in range(0, len(records), 50):
            auditor.feed(role, partition, records[start : start + 50])


def _read_again(reading, role, lying):
    for partition, spans in reading.places.get(role, {}).items():
        for offset, _, value, _ in lying[partition]:
            if offset in spans:
                reading.take(role, value)


def found(report: Report, event_type: str = "trade", symbol: str = "BTCUSDT", stream: str | None = None) -> dict:
    """The series of that name, as JSON has it."""
    (series,) = [
        one.to_json()
        for one in report.series
        if (one.name.symbol, one.name.event_type) == (symbol, event_type) and stream in (None, one.name.stream)
    ]
    return series


def sound(report: Report) -> list[str]:
    """The series without defects."""
    return [str(one.name) for one in report.series if one.ok]
