"""Samples that more than one connection brings: one of them leads, what the others bring is let fall.

A sample tells a state, and each connection may be told of it at other moments; to write them all would double the
record and tell nothing. So each stream stays with one connection until that ends or falls silent while another brings
it. Whoever takes over goes on with what is newer than what was written last, so the order holds and nothing is
repeated. A closed candle, of which there is one only, is taken from whoever brings it first. What is lost when another
takes over is what the leader had not brought yet: nothing, unless it was behind.

Streams that one connection alone brings are unknown here, and cost nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ingest_actors.binance.stream_table import Continuity as Kind
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import Event

SILENT_S: Final = 5.0
"""A leader that brings nothing for so long while another does leads no more: streams that bring something at all bring
it every second or two, or so seldom that it does not matter who does."""

STREAMS_MAX: Final = 65_536
"""Bounds what a recording that makes up names can cost; the whole spot market has a third of that."""

RECENT_MAX: Final = 1000
"""Ids that are remembered of a stream whose events have ids and no order that is known: block trades, of which there
are some a minute."""


class _Candle(msgspec.Struct, gc=False):
    t: int = 0
    x: bool = False
    L: int = 0
    n: int = 0


class _Sample(msgspec.Struct, gc=False):
    """What tells one sample from another; each kind has some of it."""

    u: Any = None
    lastUpdateId: Any = None  # noqa: N815 - the exchange's name
    t: Any = None
    E: Any = None
    k: _Candle | None = None


_decode = msgspec.json.Decoder(_Sample).decode


class _Written(NamedTuple):
    key: tuple[int, ...] | None
    by: str


class Lead:
    """One stream that several connections bring.

    Attributes:
        touched: the parser asks it of every series; there is nothing to be touched here.
        staged: likewise; no event goes on by itself.
        latest_ms: likewise.
        leader: the connection whose samples are taken; empty: of whoever comes first.
        heard: the mark at which it last brought something.
        written: by symbol, what was taken last: its key, and who brought it.
        by_id: whether each event counts, by an id of its own, whoever brings it.
    """

    __slots__ = ("by_id", "heard", "latest_ms", "leader", "recent", "staged", "stream", "touched", "written")

    def __init__(self, stream: str, leader: str, heard: float, *, by_id: bool) -> None:
        self.touched = True
        self.staged: int | None = None
        self.latest_ms = 0
        self.stream = stream
        self.leader = leader
        self.heard = heard
        self.by_id = by_id
        self.written: dict[bytes | None, _Written] = {}
        self.recent: OrderedDict[int, None] = OrderedDict()


class Leads:
    """All streams of samples that several connections bring.

    Args:
        table: tells which streams bring samples.
        alive: whether a connection is open.

    Attributes:
        streams: by name.
        version: another number whenever other streams are among them.
        mark: the time, by any one clock, as far as the parser knows it; seconds.
    """

    def __init__(self, table: StreamTable, alive: Callable[[str], bool] = lambda _: True) -> None:
        self._table = table
        self._alive = alive
        self._undo: list[tuple[Lead, str, float, bytes | None, _Written | None]] = []
        self._undo_ids: list[tuple[Lead, int]] = []
        self.streams: dict[str, Lead] = {}
        self.version = 0
        self.mark = 0.0

    def share(self, leaders: Mapping[str, str], *, for_good: bool = False) -> None:
        """These streams, and no others, may come by more than one connection.

        Args:
            leaders: by stream, the connection that brought it so far; of streams that were shared already, whoever
                leads goes on.
            for_good: those that were shared before are so still: one that nobody wants any more may come by either
                connection until it is unsubscribed from, and may be wanted again.
        """
        if leaders.keys() == self.streams.keys():
            return
        kept = {stream: lead for stream, lead in self.streams.items() if for_good or stream in leaders}
        for stream, leader in leaders.items():
            if stream not in kept and (lead := _lead_of(self._table, stream, leader, self.mark)) is not None:
                kept[stream] = lead
        if kept.keys() != self.streams.keys():
            self.streams = kept
            self.version += 1

    def share_everything(self) -> None:
        """Any stream may come by more than one connection, for good."""
        self.streams = _Everything(self._table)
        self.version += 1

    def hand_over(self, leader: str, successor: str) -> None:
        """What a connection led is led by another from now on."""
        for lead in self.streams.values():
            if lead.leader == leader:
                lead.leader = successor

    def take(self, lead: Lead, connection: str, event: Event) -> bool:
        """Whether an event is to be taken; if not, it is let fall.

        Args:
            lead: its stream's.
            connection: that has brought it.
            event: it.
        """
        sample = _sample(event[0])
        if lead.by_id:
            return self._first_of_its_id(lead, sample)
        key, symbol = _key(sample), event[1]
        last = lead.written.get(symbol)
        newer = last is None or last.by == connection or key is None or last.key is None or key > last.key
        leads = lead.leader == connection or (newer and self._over(lead))
        closed = sample.k is not None and sample.k.x
        taken = newer and (leads or closed)
        if leads or taken:
            self._undo.append((lead, lead.leader, lead.heard, symbol, last))
        if leads:
            lead.leader, lead.heard = connection, self.mark
        if taken:
            lead.written[symbol] = _Written(key, connection)
        return taken

    def begin(self) -> None:
        """A batch is parsed, perhaps again: what was decided and not committed is forgotten."""
        for lead, leader, heard, symbol, last in reversed(self._undo):
            lead.leader, lead.heard = leader, heard
            if last is None:
                lead.written.pop(symbol, None)
            else:
                lead.written[symbol] = last
        for lead, number in self._undo_ids:
            lead.recent.pop(number, None)
        self.commit()

    def commit(self) -> None:
        """The batch has gone downstream."""
        self._undo.clear()
        self._undo_ids.clear()

    def _over(self, lead: Lead) -> bool:
        """Whether nobody leads a stream any more."""
        return not lead.leader or self.mark - lead.heard > SILENT_S or not self._alive(lead.leader)

    def _first_of_its_id(self, lead: Lead, sample: _Sample) -> bool:
        if type(sample.t) is not int:
            return True
        if sample.t in lead.recent:
            return False
        lead.recent[sample.t] = None
        self._undo_ids.append((lead, sample.t))
        if len(lead.recent) > RECENT_MAX:
            lead.recent.popitem(last=False)
        return True


class _Everything(dict[str, Lead]):
    """A lead for every stream of samples that is asked for; as many as there are streams."""

    def __init__(self, table: StreamTable) -> None:
        super().__init__()
        self._table = table

    def get(self, stream: str, default: Any = None) -> Any:
        """The lead of a stream; made when there is none yet."""
        known = super().get(stream)
        if known is None and len(self) < STREAMS_MAX:
            known = _lead_of(self._table, stream, "", 0.0)
            if known is not None:
                self[stream] = known
        return known or default


def _lead_of(table: StreamTable, stream: str, leader: str, heard: float) -> Lead | None:
    """None for streams whose events say which one comes before: those need no leader."""
    kind = table.kind_of_stream(stream)
    if kind is not None and kind.continuity in (Kind.CONSECUTIVE, Kind.OVERLAPPING):
        return None
    return Lead(stream, leader, heard, by_id=kind is not None and kind.continuity is Kind.MEASURED)


def _sample(event: bytes) -> _Sample:
    try:
        return _decode(event)
    except msgspec.DecodeError:
        return _Sample()


def _key(sample: _Sample) -> tuple[int, ...] | None:
    """What grows from one sample of a series to the next, and is alike for two that tell the same; None: unknown."""
    candle = sample.k
    if candle is not None:
        return (candle.t, candle.x, candle.L, candle.n)
    numbers = (sample.lastUpdateId, sample.u, sample.E, sample.t)
    return next(((number,) for number in numbers if type(number) is int), None)
