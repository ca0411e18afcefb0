"""Laws that the exchange's streams obey: the same checks for recordings of the real one and for the seeded market.

Events are fed in the order in which one connection received them; what breaks a law becomes a line in `problems`.
Figures that are no laws but were measured (shares, delays) are in `figures()`.
"""

from __future__ import annotations

import json
import re
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from typing import Any

from invariant_book import BookCheck, unordered
from invariant_tape import Tape, units

PROBLEMS_KEPT = 200
_GRID_MS = 100
_GRID_SLACK_MS = 2
_GRID_DRIFT = 0.0006
"""The phase drifts by so much of the time between two events."""
_DELAYS_KEPT = 200_000
_EXTREMES_EVERY = 29
"""Highs and lows of long windows are looked at in one ticker of so many: they cost a walk over all trades."""

_NOT_EIGHT = re.compile(rb'(?<!"P":)"-?\d+(?:\.(?!\d{8}")\d*)?"')
_NO_DECIMALS = {"blockTrade"}
_TICKERS = {"24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker"}


class _Symbol:
    """What is known of one symbol."""

    def __init__(self) -> None:
        self.tape = Tape()
        self.source = ""
        self.last: dict[str, dict[str, Any]] = {}
        self.aggregates: dict[int, dict[str, Any]] = {}
        self.pending: list[dict[str, Any]] = []
        self.books: dict[str, BookCheck] = {}
        self.tickers_seen = 0


class Invariants:
    """The checks of one connection.

    Args:
        microseconds: times are in microseconds.

    Attributes:
        problems: what broke a law, the first `PROBLEMS_KEPT`.
        counts: how often what was looked at.
    """

    def __init__(self, *, microseconds: bool = False) -> None:
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self.phases: dict[str, set[int]] = defaultdict(set)
        self._ms = 1000 if microseconds else 1
        self._symbols: dict[str, _Symbol] = defaultdict(_Symbol)
        self._event_times: dict[str, int] = {}
        self._latest_event = 0
        self._delays: list[int] = []
        self._lengths: Counter[int] = Counter()
        self._burst: dict[str, int] = {}
        self._longest_burst = 0
        self._handlers = {
            "trade": self._trade, "aggTrade": self._aggregate, "blockTrade": self._block, "kline": self._kline,
            "depthUpdate": self._depth, **dict.fromkeys(_TICKERS, self._ticker),
        }  # fmt: skip

    def frame(self, payload: bytes) -> None:
        """One frame of a combined stream, as received."""
        message = json.loads(payload)
        self.wire(payload)
        data = message["data"]
        for event in data if isinstance(data, list) else [data]:
            self.event(message["stream"], event)

    def wire(self, payload: bytes) -> None:
        """The form: compact, eight decimals."""
        self.counts["frames"] += 1
        if b": " in payload or b", " in payload:
            self._problem(f"not compact: {payload[:80]!r}")
        if b'"e":"blockTrade"' in payload:
            return
        text = payload.replace(b',"B":"0"}', b"}") if b'"e":"kline"' in payload else payload
        found = _NOT_EIGHT.search(text)
        if found:
            self._problem(f"not eight decimals: {found[0]!r} in {payload[:80]!r}")

    def event(self, stream: str, event: dict[str, Any]) -> None:
        """One event of a stream."""
        name = event.get("e", "")
        self.counts[name or stream.partition("@")[2]] += 1
        if "E" in event:
            self._time(stream, event)
        if "bids" in event:
            self._partial(stream, event)
        elif not name:
            self._book_ticker(stream, event)
        elif name in self._handlers:
            self._handlers[name](stream, event)

    def snapshot(self, symbol: str, body: dict[str, Any]) -> None:
        """REST's depth answer, at this place among the events."""
        self.counts["snapshots"] += 1
        if unordered(body["bids"], falling=True) or unordered(body["asks"], falling=False):
            self._problem(f"{symbol}: snapshot {body['lastUpdateId']} is not best first")
        for check in self._symbols[symbol].books.values():
            check.snapshot(body)

    def finish(self) -> None:
        """Nothing more comes: what could wait until now is checked."""
        for name, symbol in self._symbols.items():
            for event in symbol.pending:
                self._check_aggregate(name, symbol, event)
            for book in symbol.books.values():
                book.finish()
                self.counts["books compared"] += book.compared
                self.counts["books agreed"] += book.agreed
                for kind, number in book.borders.items():
                    self.counts[f"snapshots {kind}"] += number

    def rest_trades(self, symbol: str, rows: list[dict[str, Any]]) -> None:
        """REST's trades, oldest first: those that the stream told are told alike."""
        tape = self._symbols[symbol].tape
        for row in rows:
            found = tape.rows(row["id"], row["id"])
            if found is None:
                continue
            at = found[0]
            self.counts["REST trades compared"] += 1
            told = (units(row["price"]), units(row["qty"]), row["time"], row["isBuyerMaker"])
            if told != (tape.prices[at], tape.quantities[at], tape.times[at], bool(tape.makers[at])):
                self._problem(f"{symbol}: REST tells trade {row['id']} otherwise than the stream")
        self._consecutive(symbol, [row["id"] for row in rows], "REST trades")

    def rest_aggregates(self, symbol: str, rows: list[dict[str, Any]]) -> None:
        """REST's aggregates, oldest first."""
        sent = self._symbols[symbol].aggregates
        for row in rows:
            event = sent.get(row["a"])
            if event is not None:
                self.counts["REST aggregates compared"] += 1
                if row != {key: value for key, value in event.items() if key not in "eEs"}:
                    self._problem(f"{symbol}: REST tells aggregate {row['a']} otherwise than the stream")
        self._consecutive(symbol, [row["a"] for row in rows], "REST aggregates")

    def rest_klines(self, symbol: str, rows: list[list[Any]]) -> None:
        """REST's closed candles, oldest first: each is the trades between its two times."""
        tape = self._symbols[symbol].tape
        for row in rows:
            if not len(tape) or row[0] < tape.times[0] or row[6] >= tape.times[-1]:
                continue
            start, end = _between(tape, row[0], row[6])
            self.counts["REST klines compared"] += 1
            if row[8] != end - start:
                self._problem(f"{symbol}: REST's candle {row[0]} has {row[8]} trades instead of {end - start}")
            elif row[8]:
                figures = tape.figures(start, end)
                told = {
                    key: units(row[column]) for key, column in zip("ohlcvqVQ", (1, 2, 3, 4, 5, 7, 9, 10), strict=True)
                }
                if told != figures:
                    self._problem(f"{symbol}: REST's candle {row[0]} is not its trades")

    def figures(self) -> dict[str, float]:
        """What is no law, but was measured on the real exchange (protocol, section 10)."""
        neighbours = max(1, self.counts["neighbours"])
        delays = sorted(self._delays) or [0]
        return {
            "share of aggregates of one trade": self._lengths[1] / max(1, self._lengths.total()),
            "longest aggregate": max(self._lengths, default=0),
            "share of neighbours with equal T": self.counts["neighbours with equal T"] / neighbours,
            "neighbours equal but for the id": self.counts["neighbours equal but for the id"],
            "most trades at one T": self._longest_burst,
            "median delay ms": statistics.median(delays),
            "p99 delay ms": delays[int(0.99 * len(delays))],
            "longest delay ms": delays[-1],
            "inversions of E across streams per 10000": 10_000
            * self.counts["inversions"]
            / max(1, self.counts["frames"]),
        }

    def _problem(self, text: str) -> None:
        self.counts["problems"] += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(text)

    def _time(self, stream: str, event: dict[str, Any]) -> None:
        time = event["E"]
        if time < self._event_times.get(stream, 0):
            self._problem(f"{stream}: E falls to {time}")
        self._event_times[stream] = time
        if time < self._latest_event:
            self.counts["inversions"] += 1
        self._latest_event = max(self._latest_event, time)
        traded = event.get("T")
        if traded is not None and time < traded:
            self._problem(f"{stream}: E {time} before T {traded}")

    def _next(self, stream: str, symbol: _Symbol, event: dict[str, Any], key: str) -> dict[str, Any] | None:
        """The stream's event before; the id must have risen by one since."""
        last = symbol.last.get(stream)
        symbol.last[stream] = event
        if last is not None and event[key] != last[key] + 1:
            self._problem(f"{stream}: {key} {event[key]} follows {last[key]}")
        return last

    def _trade(self, stream: str, event: dict[str, Any]) -> None:
        symbol = self._symbols[event["s"]]
        last = self._next(stream, symbol, event, "t")
        if last is not None and event["T"] < last["T"]:
            self._problem(f"{stream}: T falls to {event['T']}")
        if symbol.source == "aggTrade":
            symbol.tape = Tape()
        symbol.source = "trade"
        symbol.tape.add(event, event["t"], event["t"])
        if len(self._delays) < _DELAYS_KEPT:
            self._delays.append((event["E"] - event["T"]) // self._ms)
        together = last is not None and (last["T"], last["m"]) == (event["T"], event["m"])
        self._burst[event["s"]] = self._burst.get(event["s"], 0) + 1 if together else 1
        self._longest_burst = max(self._longest_burst, self._burst[event["s"]])
        while symbol.pending and symbol.pending[0]["l"] <= event["t"]:
            self._check_aggregate(event["s"], symbol, symbol.pending.pop(0))

    def _aggregate(self, stream: str, event: dict[str, Any]) -> None:
        symbol = self._symbols[event["s"]]
        last = self._next(stream, symbol, event, "a")
        if last is not None:
            self._neighbours(stream, last, event)
        self._lengths[event["l"] - event["f"] + 1] += 1
        symbol.aggregates[event["a"]] = event
        if len(symbol.aggregates) > 4000:
            for number in list(symbol.aggregates)[:2000]:
                del symbol.aggregates[number]
        if symbol.source == "trade":
            symbol.pending.append(event)
            while symbol.pending and symbol.tape.last_ids and symbol.pending[0]["l"] <= symbol.tape.last_ids[-1]:
                self._check_aggregate(event["s"], symbol, symbol.pending.pop(0))
        else:
            symbol.source = "aggTrade"
            symbol.tape.add(event, event["f"], event["l"])

    def _neighbours(self, stream: str, last: dict[str, Any], event: dict[str, Any]) -> None:
        if event["f"] != last["l"] + 1:
            self._problem(f"{stream}: f {event['f']} follows l {last['l']}")
        self.counts["neighbours"] += 1
        if event["T"] == last["T"]:
            self.counts["neighbours with equal T"] += 1
            self.counts["neighbours equal but for the id"] += (last["p"], last["m"]) == (event["p"], event["m"])

    def _check_aggregate(self, name: str, symbol: _Symbol, event: dict[str, Any]) -> None:
        tape = symbol.tape
        found = tape.rows(event["f"], event["l"])
        if found is None:
            if len(tape) and tape.first_ids[0] <= event["f"] and event["l"] <= tape.last_ids[-1]:
                self._problem(f"{name}: trades {event['f']} to {event['l']} of aggregate {event['a']} are missing")
            return
        start, end = found
        self.counts["aggregates compared with trades"] += 1
        said = {(units(event["p"]), event["T"], event["m"])}
        were = {(tape.prices[at], tape.times[at], bool(tape.makers[at])) for at in range(start, end)}
        if said != were or tape.base[end] - tape.base[start] != units(event["q"]):
            self._problem(f"{name}: aggregate {event['a']} is not its trades {event['f']} to {event['l']}")

    def _block(self, stream: str, event: dict[str, Any]) -> None:
        self._next(stream, self._symbols[event["s"]], event, "t")
        if "M" in event:
            self._problem(f"{stream}: a block trade with M")

    def _depth(self, stream: str, event: dict[str, Any]) -> None:
        symbol = self._symbols[event["s"]]
        last = symbol.last.get(stream)
        symbol.last[stream] = event
        if last is not None and event["U"] != last["u"] + 1:
            self._problem(f"{stream}: U {event['U']} follows u {last['u']}")
        if event["u"] < event["U"]:
            self._problem(f"{stream}: u {event['u']} below U {event['U']}")
        if not event["b"] and not event["a"]:
            self._problem(f"{stream}: nothing changed in {event['U']} to {event['u']}")
        if unordered(event["b"], falling=True) or unordered(event["a"], falling=False):
            self._problem(f"{stream}: levels of {event['u']} are not best first")
        if stream.endswith("@100ms"):
            time = event["E"] // self._ms
            self.phases[stream].add(time % _GRID_MS)
            if last is not None:
                step = time - last["E"] // self._ms
                if min(step % _GRID_MS, -step % _GRID_MS) > _GRID_SLACK_MS + _GRID_DRIFT * step:
                    self._problem(f"{stream}: E {event['E']} is off the grid of {last['E']}")
        if stream not in symbol.books:
            symbol.books[stream] = BookCheck(stream, self._problem)
        symbol.books[stream].event(event)

    def _book_ticker(self, stream: str, event: dict[str, Any]) -> None:
        symbol = self._symbols[event["s"]]
        last = symbol.last.get(stream)
        symbol.last[stream] = event
        if last is not None and event["u"] <= last["u"]:
            self._problem(f"{stream}: u {event['u']} follows {last['u']}")
        if units(event["b"]) >= units(event["a"]):
            self._problem(f"{stream}: best bid is not below best ask at {event['u']}")
        for check in symbol.books.values():
            check.ticker(event)

    def _partial(self, stream: str, event: dict[str, Any]) -> None:
        if unordered(event["bids"], falling=True) or unordered(event["asks"], falling=False):
            self._problem(f"{stream}: {event['lastUpdateId']} is not best first")

    def _kline(self, stream: str, event: dict[str, Any]) -> None:
        symbol, k = self._symbols[event["s"]], event["k"]
        last = symbol.last.get(stream)
        symbol.last[stream] = event
        if k["n"] != (k["L"] - k["f"] + 1 if k["f"] != -1 else 0):
            self._problem(f"{stream}: n {k['n']} with f {k['f']} and L {k['L']}")
        if last is not None:
            self._follows(stream, symbol, last["k"], k)
        if k["f"] != -1:
            symbol.last[stream + " f"] = k
            self._check_span(stream, (k["f"], k["L"]), event["s"], k, "ohlcvqVQ")
            found = symbol.tape.rows(k["f"], k["L"])
            times = symbol.tape.times
            if found and not (k["t"] <= times[found[0]] and times[found[1] - 1] <= k["T"]):
                self._problem(f"{stream}: candle {k['t']} has trades of other times")
            if found and found[0] and times[found[0] - 1] >= k["t"]:
                self._problem(f"{stream}: candle {k['t']} lacks its first trades")

    def _follows(self, stream: str, symbol: _Symbol, last: dict[str, Any], k: dict[str, Any]) -> None:
        if k["t"] == last["t"]:
            if last["x"]:
                self._problem(f"{stream}: candle {k['t']} goes on after it was closed")
            elif last["f"] != -1 and (k["f"] != last["f"] or k["L"] < last["L"]):
                self._problem(f"{stream}: candle {k['t']} goes back")
            return
        if not last["x"]:
            self._problem(f"{stream}: candle {last['t']} was never closed")
        if k["t"] != last["T"] + 1:
            self._problem(f"{stream}: candle {k['t']} follows {last['t']}")
        before = symbol.last.get(stream + " f")
        if k["f"] != -1 and before is not None:
            self.counts["candles chained"] += 1
            if k["f"] != before["L"] + 1:
                self._problem(f"{stream}: f {k['f']} follows L {before['L']}")

    def _ticker(self, stream: str, event: dict[str, Any]) -> None:
        symbol = self._symbols[event["s"]]
        symbol.tickers_seen += 1
        if "F" not in event:
            return
        if event["n"] != (event["L"] - event["F"] + 1 if event["F"] != -1 else 0):
            self._problem(f"{stream}: n {event['n']} with F {event['F']} and L {event['L']}")
        if event["F"] == -1:
            return
        keys = "ohlcvq" if symbol.tickers_seen % _EXTREMES_EVERY == 0 else "ocvq"
        self._check_span(stream, (event["F"], event["L"]), event["s"], event, keys)
        found = symbol.tape.rows(event["F"], event["L"])
        if found and not event["O"] <= symbol.tape.times[found[0]]:
            self._problem(f"{stream}: the window from {event['O']} has older trades")
        if found and found[0] and symbol.tape.times[found[0] - 1] >= event["O"]:
            self._problem(f"{stream}: the window from {event['O']} lacks its first trades")
        if units(event["c"]) - units(event["o"]) != _signed(event["p"]):
            self._problem(f"{stream}: p {event['p']} is not c - o")

    def _check_span(self, stream: str, ids: tuple[int, int], name: str, told: dict[str, Any], keys: str) -> None:
        symbol = self._symbols[name]
        first_id, last_id = ids
        found = symbol.tape.rows(first_id, last_id)
        if found is None:
            return
        self.counts["candles and tickers compared with trades"] += 1
        figures = symbol.tape.figures(*found, extremes="h" in keys)
        exact = symbol.source == "trade"
        for key in keys:
            said, was = units(told[key]), figures[key]
            slack = 0 if exact or key not in "qQ" else found[1] - found[0] + told["n"]
            if abs(said - was) > slack:
                self._problem(f"{stream}: {key} {told[key]} of trades {first_id} to {last_id} is not theirs ({was})")

    def _consecutive(self, symbol: str, ids: list[int], what: str) -> None:
        if ids != list(range(ids[0], ids[0] + len(ids))) if ids else False:
            self._problem(f"{symbol}: {what} have a gap")


def _between(tape: Tape, start: int, end: int) -> tuple[int, int]:
    return bisect_left(tape.times, start), bisect_right(tape.times, end)


def _signed(decimal: str) -> int:
    return -units(decimal[1:]) if decimal.startswith("-") else units(decimal)
