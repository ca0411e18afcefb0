"""The parser of frames: the fast way for what the exchange writes, the slow way for everything else.

The fast way decodes all frames of a batch in one call into structs that name only what routing needs, and cuts the
event out of each frame where the stream's name says that it begins. That is right only for frames of one exact form,
so it is proven for each before it is used:

- One call decodes the joined frames; as many values as frames means that no newline is inside any of them, and that
  each is one whole JSON value, but for a newline before or behind it, which the next one sees. So what goes to a topic
  is valid JSON.
- No blank is in it, and no more braces than its kind has. Then the one object in the message begins where it does in
  the shortest message that names this stream (escapes, blanks, further or repeated members only make it longer) and
  ends with the message, in two braces; or the message is of another form.
- Event name and symbol are those that its stream had before: then the key and the suffix are those as well.

What fails any of these goes through `slow_path`, which also teaches the fast way new streams.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec

from ingest_actors.binance import dead_letters
from ingest_actors.binance.closed_candles import CLOSED
from ingest_actors.binance.continuity import Continuity
from ingest_actors.binance.dead_letters import DeadLetters
from ingest_actors.binance.event_time import FUTURE_LIMIT_MS, event_timestamp
from ingest_actors.binance.leads import Lead, Leads
from ingest_actors.binance.outcome import Outcome, Parsed
from ingest_actors.binance.series import ID_MAX, Series
from ingest_actors.binance.slow_path import Lane, SlowPath, memorable
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.messages import Event, FrameBatch

_OPENS: Final = ord("{")
_CLOSES: Final = ord("}")
_TRACKS_MAX: Final = 65536

NEVER: Final = -math.inf
"""When a stream was heard that never was."""

_RUN: Final = 16
"""Frames that are tried together again after a batch has failed; fewer than this is not worth a second look."""


class _Skipped(msgspec.Struct, array_like=True, gc=False):
    """An array whose elements are checked and not kept."""


class Fields(msgspec.Struct, gc=False):
    """What is read of an event on the fast way. A field more costs 15 ns a message."""

    e: str = ""
    E: int = 0
    s: str = ""
    a: int | str | _Skipped | None = None
    t: int | None = None
    T: int = 0
    U: int | None = None
    u: int | None = None
    lastUpdateId: int | None = None  # noqa: N815 - the exchange's name


class _Element(msgspec.Struct, gc=False):
    """An object whose members are checked and not kept."""


class _Envelope(msgspec.Struct, gc=False):
    """A message of two opening braces or more, which the counting of braces leans on."""

    stream: str
    data: Fields | Annotated[list[_Element], msgspec.Meta(min_length=1)]


@cache  # one for all streams of a kind: with many streams, whatever each has of its own is fetched from afar
def _getter(field: str) -> Callable[[Fields], Any]:
    return attrgetter(field)


class _Track:
    """What the fast way knows of a stream, from an event of it that went the slow way."""

    __slots__ = (
        "braces", "first", "heard", "identity", "ids", "key", "name",
        "offset", "prefix", "route", "series", "suffix", "symbol",
    )  # fmt: skip

    def __init__(self, stream: str, lane: Lane) -> None:
        self.heard = NEVER
        self.name = lane.name
        self.symbol = lane.payload_symbol
        self.prefix = b'{"stream":%b,"data":{' % msgspec.json.encode(stream)
        self.offset = len(self.prefix) - 1
        self.key = lane.key
        self.suffix = lane.suffix
        self.route = lane.route
        self.braces = lane.kind.braces
        self.ids = f"{lane.kind.first_field}{(*lane.kind.id_fields, 'E')[0]}"
        self.identity = _getter((*lane.kind.id_fields, "E")[0])
        self.first = _getter(lane.kind.first_field or (*lane.kind.id_fields, "E")[0])
        self.series: Series | Lead | None = lane.series

    def fits(self, frame: bytes) -> bool:
        """Whether a frame has this stream's form, where that does not follow from the count of all braces."""
        braces = self.braces
        return frame.count(b"{") == braces and frame.startswith(self.prefix) and frame.endswith(b"}" * braces)


class _CandleTrack(_Track):
    """Of a stream of candles: one that is closed goes the slow way, where that is noted.

    Its messages have braces of their own, so that each of a batch with candles in it is asked whether it fits.
    """

    __slots__ = ()

    def fits(self, frame: bytes) -> bool:
        """See `_Track`."""
        return CLOSED not in frame and super().fits(frame)


_decode_lines = msgspec.json.Decoder(_Envelope).decode_lines


class EventParser:
    """Turns frames into events. Not shared between threads; holds nothing of the frames from one batch to the next.

    Args:
        table: the stream table.
        fast: False = everything goes the slow way, for doubt and comparison.
        continuity: watches whether each series goes on where it ended; None: nobody does.
        leads: knows the streams of samples that several connections bring; None: there are none.

    Attributes:
        mark: what `heard` answers for streams that bring something from now on. Whoever watches the streams moves it
            on, from time to time; to look at a clock for each message would cost more than all that is done for it
            here.
    """

    def __init__(
        self,
        table: StreamTable,
        *,
        fast: bool = True,
        continuity: Continuity | None = None,
        leads: Leads | None = None,
    ) -> None:
        self._continuity = continuity
        self._leads = leads
        self._leads_version = 0
        self._letters = DeadLetters(table)
        self._slow = SlowPath(table, self._letters, continuity)
        self._tracks: dict[str, _Track] = {}
        self._fast = fast
        self._heard: dict[str, float] = {}
        self.mark = 0.0

    def heard(self, stream: str) -> float:
        """The mark that was set when a stream last brought something, be it a dead letter; `NEVER` if it never did."""
        track = self._tracks.get(stream)
        heard = self._heard.get(stream, NEVER)
        return heard if track is None or track.heard < heard else track.heard

    def parse(self, batch: FrameBatch) -> Parsed:
        """Parse a batch; never raises, whatever the bytes.

        Args:
            batch: frames of one connection, in the order of arrival.

        Returns:
            The events in the same order, and what is no event. See `Parsed`.
        """
        if self._continuity is not None:
            self._continuity.begin()
        if self._leads is not None:
            self._begin_leads(self._leads)
        outcome = Outcome(batch, self._continuity, self._leads)
        if batch.binary:
            outcome.events = [self._binary(frame, batch.received_at_ms) for frame in batch.frames]
        elif not self._fast:
            self._parse_slowly(batch.frames, outcome)
        elif not self._parse_run(batch.frames, outcome):
            for start in range(0, len(batch.frames), _RUN):
                run = batch.frames[start : start + _RUN]
                if not self._parse_run(run, outcome):
                    self._parse_slowly(run, outcome)
        return outcome.parsed()

    def _parse_run(self, frames: list[bytes], outcome: Outcome) -> bool:  # noqa: C901, PLR0912, PLR0915 - it is the hot loop
        """Parse frames together; False, and nothing done, when one of them is of no form that can be."""
        joined = b"\n".join(frames)
        if b" " in joined or b"\t" in joined or b"\r" in joined:
            return False
        try:
            if not joined.isascii():
                joined.decode()
            envelopes = _decode_lines(joined)
        except (ValueError, RecursionError):  # all errors of msgspec and of UTF-8 are the former
            return False
        if len(envelopes) != len(frames):
            return False
        flat = joined.count(b"{") == 2 * len(frames)
        tracks, tails, append, mark = self._tracks, outcome.tails, outcome.events.append, self.mark
        latest = tails.received_at_ms + FUTURE_LIMIT_MS
        touched = self._continuity.touched if self._continuity is not None else None
        for frame, envelope in zip(frames, envelopes, strict=True):
            data = envelope.data
            track = tracks.get(envelope.stream)
            if (
                track is None
                or data.__class__ is not Fields
                or data.s != track.symbol
                or data.e != track.name
                or not (
                    frame[track.offset] == _OPENS and frame[-2] == _CLOSES and frame[-1] == _CLOSES
                    if flat
                    else track.fits(frame)
                )
            ):
                self._parse_one(frame, outcome, envelope.stream)
                continue
            ids = track.ids
            first: Any
            number: Any
            if ids == "Uu":  # the names of most events stand here for themselves, which saves two calls for each
                first, number = data.U, data.u
            elif ids == "a":
                first = number = data.a
            else:
                first, number = track.first(data), track.identity(data)
            if number.__class__ is not int:
                self._parse_one(frame, outcome, envelope.stream)
                continue
            track.heard = mark
            time = data.E
            if not 0 < time <= latest:
                time, late = event_timestamp(time, data.T, tails.received_at_ms)
                outcome.future_timestamps += late
            event = (frame[track.offset : -2] + tails[track.suffix], track.key, time, track.route)
            series = track.series
            if series is None or touched is None:
                if 0 <= number <= ID_MAX:
                    append(event)
                else:
                    self._parse_one(frame, outcome, envelope.stream)
                continue
            if not series.touched:
                series.touched = True
                touched.append(series)  # type: ignore[arg-type]  # a `Lead` is never untouched
            if first == series.staged and first.__class__ is int and first <= number:
                series.staged = number + 1
                series.latest_ms = time
                append(event)
            elif series.__class__ is Lead:
                outcome.sample(series, event)
            elif first.__class__ is int and 0 <= first <= number <= ID_MAX and series.__class__ is Series:
                outcome.offer(series, first, number, event)
            else:
                self._parse_one(frame, outcome, envelope.stream)
        return True

    def _begin_leads(self, leads: Leads) -> None:
        leads.begin()
        leads.mark = self.mark
        if leads.version != self._leads_version:
            self._leads_version = leads.version
            for stream, track in self._tracks.items():
                if track.series is None or track.series.__class__ is Lead:
                    track.series = leads.streams.get(stream)

    def _parse_slowly(self, frames: list[bytes], outcome: Outcome) -> None:
        for frame in frames:
            self._parse_one(frame, outcome)

    def _parse_one(self, frame: bytes, outcome: Outcome, stream: str = "") -> None:
        """Parse one frame the slow way, and remember what it was under the name of its stream, where that is known."""
        lane = self._slow.parse(frame, outcome)
        name = stream or self._slow.stream
        if not memorable(name):
            return
        if name and (name in self._heard or len(self._heard) < _TRACKS_MAX):
            self._heard[name] = self.mark
        if stream and lane is not None and lane.memorable and len(self._tracks) < _TRACKS_MAX:
            make = _Track if lane.candles is None else _CandleTrack
            track = self._tracks.setdefault(stream, make(stream, lane))
            if track.series is None:
                track.series = outcome.lead(stream)

    def _binary(self, frame: bytes, received_at_ms: int) -> Event:
        detail = "a binary message on a feed of text"
        return self._letters.letter(frame, dead_letters.BINARY_FRAME, detail, received_at_ms=received_at_ms)
