"""What REST tells when a recording stands behind it: only what the recording holds, and was published so far."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Sequence

import msgspec

from ingest_actors.recordings.lines import RecordedAnswer, raw_payload, time_ns
from ingest_actors.simulator.market.decimals import quote, text
from ingest_actors.simulator.market.symbols import make_specs
from ingest_actors.simulator.recorded_tickers import day_of, price_text, statistics, units
from ingest_actors.simulator.recording import Block, Recording
from ingest_actors.simulator.rest_data import AggregateRow, KlineRow, TickerRow, TopRow, TradeRow
from ingest_actors.simulator.rest_rules import RestRefusal

_MICROSECONDS_FROM = 10**14
_AVERAGE_US = 300_000_000


class _Trade(msgspec.Struct):
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Aggregate(msgspec.Struct):
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the exchange's own name
    T: int
    m: bool


_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_aggregate = msgspec.json.Decoder(_Aggregate).decode


class RecordedRest:
    """Answers from a recording.

    Args:
        recording: what is played.
        history: how many trades, and how many aggregates, of a symbol are remembered.
    """

    def __init__(self, recording: Recording, *, history: int) -> None:
        self._symbols = list(recording.symbols)
        self._statuses: dict[str, str] = {}
        self.extra_lag_us = 0
        self._history = history
        self._published: dict[bytes, deque[bytes]] = defaultdict(lambda: deque(maxlen=history))
        self._position_ns = 0
        self._books: dict[str, list[RecordedAnswer]] = defaultdict(list)
        self._infos = {spec.name: spec.info() for spec in make_specs(self._symbols, seed=0, levels=1)}
        for answer in recording.answers:
            if answer.endpoint == "depth":
                self._books[answer.symbol].append(answer)
            elif answer.endpoint == "exchangeInfo":
                entries = {str(entry.get("symbol")): entry for entry in _entries(answer.body)}
                self._infos.update({name: entry for name, entry in entries.items() if name in self._infos})

    def published(self, block: Block) -> None:
        """Take note of frames that were just sent."""
        self._position_ns = time_ns(block.frames[-1][0])
        for name in block.streams:
            if name.endswith((b"@trade", b"@aggTrade")):
                frames = [frame for _, frame, stream in block.frames if stream == name]
                self._published[name].extend(frames[-self._history :])

    def symbols(self) -> Sequence[str]:
        """The recording's symbols."""
        return self._symbols

    def status(self, symbol: str) -> str:
        """As recorded, or as it was changed."""
        return str(self.symbol_info(symbol)["status"])

    def set_status(self, symbol: str, status: str) -> None:
        """Tell another status from now on."""
        self._statuses[symbol] = status

    def list_symbol(self, symbol: str) -> None:
        """Tell of one more symbol, of which nothing is recorded."""
        if symbol not in self._infos:
            self._symbols.append(symbol)
            self._infos[symbol] = make_specs([symbol], seed=0, levels=1)[0].info()

    def symbol_info(self, symbol: str) -> dict[str, object]:
        """As recorded; invented when exchangeInfo was not."""
        info = self._infos[symbol]
        return info | {"status": self._statuses[symbol]} if symbol in self._statuses else info

    def depth(self, symbol: str, limit: int) -> bytes:
        """The last snapshot that was recorded before what is played now; before the first one, that one.

        Raises:
            RestRefusal: the recording has none of this symbol.
        """
        answers = self._books.get(symbol)
        if not answers:
            raise RestRefusal(-1001, "Internal error; no book of this symbol is in the recording.", status=500)
        position = bisect_right(answers, self._position_ns, key=lambda answer: answer.time_ns)
        body = answers[max(0, position - 1)].body
        book = json.loads(body)
        if max(len(book["bids"]), len(book["asks"])) <= limit:
            return body
        book["bids"], book["asks"] = book["bids"][:limit], book["asks"][:limit]
        return json.dumps(book, separators=(",", ":")).encode()

    def trades(self, symbol: str, *, from_id: int | None, limit: int, lagging: bool) -> list[TradeRow]:  # noqa: ARG002
        """Trades played so far, oldest first."""
        stream = f"{symbol.lower()}@trade".encode()
        frames = list(self._published[stream])
        start = max(0, len(frames) - limit)
        if from_id is not None:
            start = bisect_left(frames, from_id, key=lambda frame: _decode_trade(raw_payload(frame, stream)).t)
        trades = (_decode_trade(raw_payload(frame, stream)) for frame in frames[start : start + limit])
        return [TradeRow(t.t, t.p, t.q, _quote_text(t.p, t.q), _microseconds(t.T), t.m) for t in trades]

    def aggregates(
        self,
        symbol: str,
        *,
        from_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
        lagging: bool = True,  # noqa: ARG002
    ) -> list[AggregateRow]:
        """Aggregate trades played so far, oldest first."""
        stream = f"{symbol.lower()}@aggTrade".encode()
        frames = list(self._published[stream])

        def decoded(frame: bytes) -> _Aggregate:
            return _decode_aggregate(raw_payload(frame, stream))

        def time_of(frame: bytes) -> int:
            return _microseconds(decoded(frame).T)

        start, end = 0, len(frames)
        if from_id is not None:
            start = bisect_left(frames, from_id, key=lambda frame: decoded(frame).a)
        if end_us is not None:
            end = bisect_right(frames, end_us, key=time_of)
        if start_us is not None:
            start = bisect_left(frames, start_us, key=time_of)
        elif from_id is None:
            start = max(0, end - limit)
        rows = [decoded(frame) for frame in frames[start : min(end, start + limit)]]
        return [AggregateRow(a.a, a.p, a.q, a.f, a.l, _microseconds(a.T), a.m) for a in rows]

    def klines(
        self, symbol: str, interval: str, *, start_us: int | None, end_us: int | None, limit: int, offset_us: int = 0
    ) -> list[KlineRow]:
        """None: a recording's candles are not put together again."""
        del symbol, interval, start_us, end_us, limit, offset_us
        return []

    def top(self, symbol: str) -> TopRow:
        """The best levels of the book that `depth` tells.

        Raises:
            RestRefusal: the recording has none of this symbol, or one without levels.
        """
        book = json.loads(self.depth(symbol, 1))
        if not book["bids"] or not book["asks"]:
            raise RestRefusal(-1001, "Internal error; the recorded book of this symbol is empty.", status=500)
        return TopRow(*book["bids"][0][:2], *book["asks"][0][:2])

    def block_trades(self, symbol: str, *, from_id: int, limit: int) -> list[TradeRow]:
        """None: they are not looked for in recordings."""
        del symbol, from_id, limit
        return []

    def last_price(self, symbol: str) -> str:
        """Of what was played so far; 0 before the first trade."""
        rows = self._traded(symbol)
        return rows[-1].price if rows else text(0)

    def average_price(self, symbol: str) -> tuple[str, int]:
        """Of the last five minutes that were played."""
        rows = self._traded(symbol)
        if not rows:
            return text(0), 0
        recent = [row for row in rows if row.time_us > rows[-1].time_us - _AVERAGE_US]
        base = sum(units(row.quantity) for row in recent)
        return price_text(sum(units(row.quote_quantity) for row in recent), base), rows[-1].time_us

    def reference_price(self, symbol: str) -> tuple[str | None, int] | None:
        """None: recordings have none."""
        del symbol
        return None

    def ticker(self, symbol: str, window: str, window_us: int) -> TickerRow:
        """Of what was played so far and is still remembered."""
        del window
        rows = self._traded(symbol)
        now_us = self._position_ns // 1000
        return statistics(rows, now_us - window_us, now_us)

    def trading_day(self, symbol: str, offset_us: int) -> TickerRow:
        """Of what was played so far and is still remembered, on the recording's own day."""
        start_us, end_us = day_of(self._position_ns // 1000, offset_us)
        return statistics(self._traded(symbol), start_us, end_us)

    def _traded(self, symbol: str) -> list[TradeRow]:
        """The trades that are remembered, or, when trades were not recorded, the aggregates in their place."""
        rows = self.trades(symbol, from_id=None, limit=self._history, lagging=False)
        if rows:
            return rows
        aggregates = self.aggregates(symbol, from_id=None, start_us=None, end_us=None, limit=self._history)
        return [
            TradeRow(a.last_id, a.price, a.quantity, _quote_text(a.price, a.quantity), a.time_us, a.buyer_is_maker)
            for a in aggregates
        ]


def _entries(body: bytes) -> list[dict[str, object]]:
    """The symbols of an exchangeInfo, as far as it is one."""
    info = json.loads(body)
    entries = info.get("symbols") if isinstance(info, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _microseconds(time: int) -> int:
    return time if time >= _MICROSECONDS_FROM else time * 1000


def _quote_text(price: str, quantity: str) -> str:
    return text(quote(units(price), units(quantity)))
