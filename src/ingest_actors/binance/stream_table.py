"""THE table of what the exchange publishes and what becomes of it; nothing else in this package names an event type.

The rows follow the stream catalogue of the exchange's documentation (``web-socket-streams.md`` of
``binance-spot-api-docs``). To carry a new kind of event, add a row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ingest_actors.messages import Route

SOURCE_WEBSOCKET = "binance_websocket"
SOURCE_REST = "binance_rest_backfill"

UNPARSED = "unparsed"
"""Event type, in the ledger, of what could not even be told to be an event of some kind."""

UNLISTED = "unlisted"
"""Event type of kinds that this table does not know, once there are more of them than `UNLISTED_KINDS_MAX`."""

UNLISTED_KINDS_MAX = 64
"""How many unknown kinds get a name of their own: names become metric labels, and labels must be few."""

SERVER_SHUTDOWN = "serverShutdown"
"""An event about the connection, not about the market: acted on, never written."""

INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
OFFSET = "@+08:00"
"""Klines whose days begin at UTC+8; nothing in the payload tells them from the others."""

_PARTIAL_DEPTH = re.compile(r"depth(?:5|10|20)(?:@.*)?")
_UNLISTED_NAME = re.compile(r"[A-Za-z0-9_]{1,48}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Continuity(Enum):
    """How one event of a series follows another."""

    CONSECUTIVE = "the id grows by one"
    OVERLAPPING = "the first id of an event is the last one's last id plus one; spliced by overlap"
    RISING = "the id or time grows, skips are normal"
    CANDLES = "one closed candle an interval"
    MEASURED = "no promise of the exchange is known: by what is measured"
    NONE = "nothing to go by"


class Repair(Enum):
    """What is done after a gap."""

    AGG_TRADES = "fetched again from REST aggTrades"
    HISTORICAL_TRADES = "fetched again from REST historicalTrades"
    BOOK_SNAPSHOT = "journalled as lost; a book snapshot follows"
    JOURNAL = "journalled as lost"
    SECONDS = "a sample: the seconds without it are counted"
    CLOSED_CANDLES = "the seconds without it are counted; a closed candle that was missed is journalled"
    NONE = "nothing"


class Append(Enum):
    """Whether ``symbol`` and ``stream`` are appended, because the payload does not say its stream unmistakably."""

    NEVER = "never"
    ALWAYS = "always"
    WITH_OFFSET = "when the stream is cut at another offset than UTC"
    SYMBOL = "the symbol alone: the answer of a REST call that named it"


class EventKind(NamedTuple):
    """One row of the table."""

    event_type: str
    """Its name in records, ledger and metrics."""
    names: tuple[str, ...]
    """Values of ``e``; empty when the payload has none."""
    stream_types: tuple[str, ...]
    """What follows the symbol's ``@`` in the stream's name, e.g. ``depth@100ms``."""
    arrays: tuple[str, ...] = ()
    """Streams of all symbols at once: each element of their arrays is one event."""
    copy: str = ""
    """Which topic beside the raw one gets it: ``trades``, ``depth`` or none."""
    identity: tuple[str, ...] = ()
    """Fields that tell one event of a series from another; ``k.`` = within the candle."""
    id_fields: tuple[str, ...] = ()
    """One of these must be there as an integer, or the event cannot be told from others of its series."""
    continuity: Continuity = Continuity.RISING
    first_field: str = ""
    """The field that continues the id of the event before, where that is not the id itself."""
    repair: Repair = Repair.SECONDS
    append: Append = Append.NEVER
    braces: int = 2
    """Opening braces of a message as the exchange writes it, the envelope's included."""
    of_symbol: bool = True
    """Whether each event belongs to a symbol."""
    silence_s: float | None = None
    """How long a stream of this kind may be silent before that is suspicious; None: it may be silent for ever."""
    implied_by: tuple[str, ...] = ()
    """Event types of the same symbol that this kind cannot stay silent beside: each of their events has one here. Not
    every neighbour is one: far levels of a book change without any trade, and a candle's end needs none."""
    of_top: bool = False
    """Whether each change of the best bid or ask has an event of this kind."""
    timed: bool = True
    """Whether its payload tells when it was made; the others bear the time of receipt."""

    @property
    def repairable(self) -> bool:
        """Whether what is missing can be fetched again."""
        return self.repair in (Repair.AGG_TRADES, Repair.HISTORICAL_TRADES)

    @property
    def sample(self) -> bool:
        """Whether the events are samples of a state, of which a missing one is no defect of the record."""
        return self.repair in (Repair.SECONDS, Repair.CLOSED_CANDLES)


_TRADES = ("trade", "aggregate_trade")
"""A trade is in the candles and the statistics, and it takes from the top of the book."""

_ROLLING_WINDOWS = ("1h", "4h", "1d")

KINDS: tuple[EventKind, ...] = (
    EventKind(
        "aggregate_trade", ("aggTrade",), ("aggTrade",), copy="trades",
        identity=("a",), id_fields=("a",), continuity=Continuity.CONSECUTIVE, repair=Repair.AGG_TRADES, silence_s=300,
        implied_by=_TRADES,
    ),
    EventKind(
        "trade", ("trade",), ("trade",), copy="trades",
        identity=("t",), id_fields=("t",), continuity=Continuity.CONSECUTIVE, repair=Repair.HISTORICAL_TRADES,
        silence_s=300, implied_by=_TRADES,
    ),
    EventKind(
        "block_trade", ("blockTrade",), ("blockTrade",),
        identity=("t",), id_fields=("t",), continuity=Continuity.MEASURED, repair=Repair.JOURNAL,
    ),
    EventKind(
        "depth_update", ("depthUpdate",), ("depth", "depth@100ms"), copy="depth",
        identity=("u",), id_fields=("u",), first_field="U", continuity=Continuity.OVERLAPPING,
        repair=Repair.BOOK_SNAPSHOT, silence_s=60, implied_by=(*_TRADES, "book_ticker"), of_top=True,
    ),
    EventKind(
        "depth_snapshot", (), (), copy="depth",
        identity=("lastUpdateId",), id_fields=("lastUpdateId",), continuity=Continuity.NONE, repair=Repair.NONE,
        append=Append.SYMBOL,
    ),
    EventKind(
        "partial_depth", (), tuple(f"depth{n}{speed}" for n in (5, 10, 20) for speed in ("", "@100ms")),
        identity=("lastUpdateId",), id_fields=("lastUpdateId", "u"), append=Append.ALWAYS, silence_s=60,
        implied_by=(*_TRADES, "book_ticker"), of_top=True, timed=False,
    ),
    EventKind(
        "book_ticker", ("bookTicker",), ("bookTicker",),
        identity=("u",), id_fields=("u",), append=Append.ALWAYS, silence_s=60, implied_by=_TRADES, of_top=True,
        timed=False,
    ),
    EventKind(
        "kline", ("kline",), tuple(f"kline_{i}{offset}" for i in INTERVALS for offset in ("", OFFSET)),
        identity=("k.i", "k.t", "k.L", "k.n", "k.x"), continuity=Continuity.CANDLES, repair=Repair.CLOSED_CANDLES,
        append=Append.WITH_OFFSET, braces=3, silence_s=300, implied_by=_TRADES,
    ),
    EventKind(
        "mini_ticker", ("24hrMiniTicker",), ("miniTicker",), ("!miniTicker@arr",), identity=("E",), silence_s=60,
        implied_by=_TRADES,
    ),
    EventKind(
        "ticker", ("24hrTicker",), ("ticker",), identity=("E",), silence_s=60, implied_by=(*_TRADES, "mini_ticker"),
    ),
    EventKind(
        "rolling_ticker", tuple(f"{window}Ticker" for window in _ROLLING_WINDOWS),
        tuple(f"ticker_{window}" for window in _ROLLING_WINDOWS),
        tuple(f"!ticker_{window}@arr" for window in _ROLLING_WINDOWS),
        identity=("e", "E"), silence_s=60, implied_by=_TRADES,
    ),
    EventKind("average_price", ("avgPrice",), ("avgPrice",), identity=("E",), silence_s=60, implied_by=_TRADES),
    EventKind("reference_price", ("referencePrice",), ("referencePrice",), identity=("t",)),
)  # fmt: skip
"""Timestamps are the same for all: ``E``, else ``T``, else the time of receipt. See `event_time`."""


class TopicNames(NamedTuple):
    """The Kafka topics that events go to."""

    raw: str = "binance-raw-events"
    trades: str = "binance-trades"
    depth: str = "binance-depth"
    dead_letters: str = "binance-dead-letters"
    gaps: str = "binance-gaps"


class StreamTable:
    """The table with the topics of one service filled in; owns the shared `Route` of each kind.

    Args:
        topics: where events go.
    """

    def __init__(self, topics: TopicNames | None = None) -> None:
        self.topics = topics or TopicNames()
        self.dead_letter_topics = (self.topics.dead_letters,)
        self._kinds = {kind.event_type: kind for kind in KINDS}
        self._routes = {
            kind.event_type: Route(kind.event_type, self._topics_of(kind), timed=kind.timed) for kind in KINDS
        }
        self._by_name = {name: kind for kind in KINDS for name in kind.names}
        self._by_stream_type = {name: kind for kind in KINDS for name in (*kind.stream_types, *kind.arrays)}
        self._unlisted: dict[str, EventKind] = {}

    @property
    def routes(self) -> Mapping[str, Route]:
        """The route of each event type, the unlisted ones seen so far included."""
        return self._routes

    def kind(self, event_type: str) -> EventKind | None:
        """The row of an event type, e.g. ``depth_snapshot`` for what REST answered."""
        return self._kinds.get(event_type)

    def route(self, kind: EventKind) -> Route:
        """Where events of this kind go."""
        return self._routes[kind.event_type]

    def kind_of_stream(self, stream: str) -> EventKind | None:
        """The kind that a stream's name promises, e.g. ``trade`` for ``btcusdt@trade``; None when it is unknown."""
        stream_type = stream if stream.startswith("!") else stream.partition("@")[2]
        kind = self._by_stream_type.get(stream_type)
        if kind is None and _PARTIAL_DEPTH.fullmatch(stream_type):
            return self._kinds["partial_depth"]
        return kind

    def kind_of_event(self, name: str, stream: str) -> EventKind | None:
        """The kind of an event.

        A partial book is told by its stream even where it calls itself an update, as it does on the futures market:
        taken for a diff it would spoil every book built from the record.

        Args:
            name: its ``e``; empty when it has none.
            stream: the stream that it came by; empty when that is not known.

        Returns:
            The row of the table, one made up for an unknown name, or None when nothing tells what it is.
        """
        promised = self.kind_of_stream(stream) if stream else None
        if promised is not None and (not name or promised.event_type == "partial_depth"):
            return promised
        return self._by_name.get(name) or self._unlisted_kind(name)

    def _unlisted_kind(self, name: str) -> EventKind | None:
        kind = self._unlisted.get(name)
        if kind is None and _UNLISTED_NAME.fullmatch(name):
            event_type = _HUMP.sub("_", name).lower() if len(self._unlisted) < UNLISTED_KINDS_MAX else UNLISTED
            if event_type in self._by_reserved_name():
                event_type = f"unlisted_{event_type}"
            kind = EventKind(event_type, (name,), (), continuity=Continuity.NONE, repair=Repair.NONE, of_symbol=False)
            if len(self._unlisted) < UNLISTED_KINDS_MAX:
                self._unlisted[name] = kind
            self._routes.setdefault(event_type, Route(event_type, (self.topics.raw,)))
        return kind

    def _by_reserved_name(self) -> set[str]:
        return {*self._kinds, UNPARSED}

    def _topics_of(self, kind: EventKind) -> tuple[str, ...]:
        return (self.topics.raw, getattr(self.topics, kind.copy)) if kind.copy else (self.topics.raw,)


def symbol_of_stream(stream: str) -> str:
    """The symbol that a stream's name begins with, in upper case; empty for streams of all symbols."""
    symbol, at, _ = stream.partition("@")
    return "" if not at or symbol.startswith("!") else symbol.upper()
