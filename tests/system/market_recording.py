"""A recording of our own making, in the formats of the recorders: every stream type, and what each event must become.

What is expected of an event is written down where the event is made, not derived from it.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")
STREAM_TYPES = (
    "trade", "aggTrade", "blockTrade", "depth@100ms", "depth5@100ms", "depth20", "bookTicker", "kline_1m",
    "kline_1d@+08:00", "ticker", "!miniTicker@arr", "ticker_1h", "!ticker_4h@arr", "avgPrice", "referencePrice",
)  # fmt: skip
COPIES = {"trade": "trades", "aggregate_trade": "trades", "depth_update": "depth"}
"""The topic beside the raw one."""
START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class ExpectedRecord(NamedTuple):
    """One event as it must stand in Kafka."""

    event_type: str
    key: bytes | None
    head: bytes
    """The value up to the fields that every record gets."""
    time_ms: int | None
    """None: the time of receipt."""
    roles: tuple[str, ...] = ("raw",)


class Recorded(NamedTuple):
    """One frame, and the events in it."""

    stream: str
    frame: bytes
    records: list[ExpectedRecord]


def write_json(event: object) -> bytes:
    """As the exchange writes it: no blanks, nothing escaped that need not be."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


class MarketRecording:
    """A seeded market of three symbols.

    Args:
        seed: the same seed makes the same recording.
        rounds: how often each stream has its turn.

    Attributes:
        frames: in order.
    """

    def __init__(self, seed: int, rounds: int) -> None:
        self._rng = random.Random(seed)
        self._now_ms = START_MS
        self._ids = dict.fromkeys(SYMBOLS, 10_000)
        self.frames: list[Recorded] = []
        for _ in range(rounds):
            self._now_ms += self._rng.randrange(1, 900)
            makers = [self._of_symbol(symbol) for symbol in SYMBOLS]
            turns = [turn for maker in makers for turn in maker] + list(self._of_all())
            self.frames += self._rng.sample(turns, len(turns))

    @property
    def records(self) -> list[ExpectedRecord]:
        """All events, in order."""
        return [record for recorded in self.frames for record in recorded.records]

    def write(self, directory: Path) -> list[Path]:
        """Two files, one after the other in time: seconds, compressed; then nanoseconds, its compressed end cut off."""
        half = len(self.frames) // 2
        first, second = directory / "first.txt.gz", directory / "second.gz"
        streams = "/".join(dict.fromkeys(recorded.stream for recorded in self.frames[:half]))
        book = write_json({"lastUpdateId": 9_999, "bids": [["1.00", "2.00"]], "asks": [["1.10", "3.00"]]})
        lines = [
            b"wss://stream.binance.com:9443/stream?streams=%b <-> 1699999999.5" % streams.encode(),
            b"https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000 -> 1699999999.9: %b" % book,
            *(b"%d.%06d: %b" % (1_700_000_000 + at // 1000, at % 1000, recorded.frame)
              for at, recorded in enumerate(self.frames[:half])),
        ]  # fmt: skip
        first.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
        lines = [b"%d %b" % (1_700_001_000_000_000_000 + at, each.frame) for at, each in enumerate(self.frames[half:])]
        second.write_bytes(gzip.compress(b"\n".join(lines) + b"\n")[:-8])
        return [first, second]

    def _next(self, symbol: str) -> int:
        self._ids[symbol] += 1
        return self._ids[symbol]

    def _amount(self) -> str:
        return f"{self._rng.randrange(1, 90_000)}.{self._rng.randrange(10**8):08d}"

    def _levels(self, count: int) -> list[list[str]]:
        return [[self._amount(), self._amount()] for _ in range(count)]

    def _of_symbol(self, symbol: str) -> Iterator[Recorded]:
        now, number, amount = self._now_ms, self._next(symbol), self._amount()
        levels = self._rng.randrange(4)
        old_ids = {"b": number * 7, "a": number * 9} if number % 2 else {}
        trade = {"t": number, "p": amount, "q": amount, **old_ids, "T": now - 2, "m": True, "M": True}
        aggregate = {"a": number, "p": amount, "q": amount, "f": number * 2, "l": number * 2 + 1, "T": now - 3}
        kline = {"t": now - 9, "T": now, "s": symbol, "i": "1m", "f": number, "L": number, "n": 1, "x": False}
        book = {"U": number * 5 - 4, "u": number * 5, "b": self._levels(levels), "a": self._levels(3 - levels)}
        ticker = {"p": amount, "P": "0.1", "w": amount, "o": amount, "h": amount, "l": amount, "O": 1, "C": now}

        def one(suffix: str, name: str, event_type: str, rest: dict[str, object]) -> Recorded:
            event = {"e": name, "E": now, "s": symbol, **rest}
            return self._alone(f"{symbol.lower()}@{suffix}", event, event_type, symbol, now)

        yield one("trade", "trade", "trade", trade)
        yield one("aggTrade", "aggTrade", "aggregate_trade", {**aggregate, "m": False, "M": True})
        yield one("blockTrade", "blockTrade", "block_trade", {"t": number, "p": amount, "q": amount, "T": now})
        yield one("depth@100ms", "depthUpdate", "depth_update", book)
        yield one("kline_1m", "kline", "kline", {"k": kline})
        yield one("kline_1d@+08:00", "kline", "kline", {"k": {**kline, "i": "1d"}})
        yield one("ticker", "24hrTicker", "ticker", ticker)
        yield one("ticker_1h", "1hTicker", "rolling_ticker", ticker)
        yield one("avgPrice", "avgPrice", "average_price", {"i": "5m", "w": amount, "T": now - 1})
        yield one("trade", "tradeXYZBust", "trade_xyz_bust", {"why": 'a "quoted" \\ reason, {braces}'})
        yield self._alone(
            f"{symbol.lower()}@referencePrice",
            {"e": "referencePrice", "s": symbol, "r": amount, "t": now}, "reference_price", symbol, None,
        )  # fmt: skip
        yield self._alone(
            f"{symbol.lower()}@bookTicker",
            {"u": number, "s": symbol, "b": amount, "B": "1.0", "a": amount, "A": "2.0"}, "book_ticker", symbol, None,
        )  # fmt: skip
        for partial in ("depth5@100ms", "depth20"):
            event = {"lastUpdateId": number, "bids": self._levels(5), "asks": self._levels(5)}
            yield self._alone(f"{symbol.lower()}@{partial}", event, "partial_depth", symbol, None)

    def _of_all(self) -> Iterator[Recorded]:
        now = self._now_ms
        mini = [{"e": "24hrMiniTicker", "E": now, "s": symbol, "c": self._amount()} for symbol in SYMBOLS]
        rolling = [{"e": "4hTicker", "E": now + 1, "s": symbol, "c": self._amount()} for symbol in SYMBOLS]
        notice = {"e": "exchangeNotice", "E": now, "text": "没有 symbol"}
        yield self._array("!miniTicker@arr", [(event, "mini_ticker", event["s"]) for event in mini])
        of_rolling: list[tuple[dict[str, object], str, object]] = [
            (event, "rolling_ticker", event["s"]) for event in rolling
        ]
        yield self._array("!ticker_4h@arr", [*of_rolling, (notice, "exchange_notice", None)])

    def _alone(
        self, stream: str, event: dict[str, object], event_type: str, symbol: str, time_ms: int | None
    ) -> Recorded:
        payload = write_json(event)
        said = ""
        if event_type in {"book_ticker", "partial_depth"} or stream.endswith("@+08:00"):
            said = f',"symbol":"{symbol}","stream":"{stream}"'
        head = payload[:-1] + said.encode()
        frame = b'{"stream":"%b","data":%b}' % (stream.encode(), payload)
        roles = ("raw", COPIES[event_type]) if event_type in COPIES else ("raw",)
        return Recorded(stream, frame, [ExpectedRecord(event_type, symbol.encode(), head, time_ms, roles)])

    def _array(self, stream: str, events: Sequence[tuple[dict[str, object], str, object]]) -> Recorded:
        payloads = [write_json(event) for event, _, _ in events]
        records = [
            ExpectedRecord(event_type, str(symbol).encode() if symbol else None, payload[:-1], int(str(event["E"])))
            for payload, (event, event_type, symbol) in zip(payloads, events, strict=True)
        ]
        return Recorded(stream, b'{"stream":"%b","data":[%b]}' % (stream.encode(), b",".join(payloads)), records)
