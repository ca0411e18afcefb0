"""What must hold of a record, whatever happened: judged by what the exchange published, not by what the service says.

Where a sudden death makes an `at_least_once` writer go back, it goes back to the state that it left, and everything
from there on comes again: so what was written since that state is taken away, and what remains (the *effective*
record) has to be as whole, as single and as ordered as an `exactly_once` one. What is taken away may hold nothing that
the exchange did not publish; and nothing that stands before that state may ever come again.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import audited
import msgspec
from lives import START_MS
from memory_kafka import Entry

TRADES = {"trade": "t", "aggregate_trade": "a"}
SAMPLES = ("book_ticker", "mini_ticker", "kline")
UNORDERED = ("duplicate", "reorder", "reset_ids")
"""Faults by which the exchange itself sends samples twice or out of order."""
STOPPING_MS = 2000
"""A stop takes no longer, when all is well."""
_IDS = {name: re.compile(rb'"%b":(\d+)' % name) for name in (b"t", b"a", b"u", b"U")}


class Event(msgspec.Struct, gc=False):
    """What is read of any record; what a kind does not have stays None."""

    e: str = ""
    event_ms: int | None = msgspec.field(name="E", default=None)
    time_ms: int | None = msgspec.field(name="T", default=None)
    t: int | None = None
    f: int | None = None
    l: int | None = None  # noqa: E741 - the exchange's name
    p: str = ""
    q: str = ""
    m: bool | None = None
    u: int | None = None
    first_u: int | None = msgspec.field(name="U", default=None)
    source: str = ""
    event_type: str = ""
    late: bool = False


class Sample(msgspec.Struct, gc=False):
    """What orders samples."""

    event_ms: int | None = msgspec.field(name="E", default=None)
    u: int | None = None
    k: dict | None = None


class AnyA(msgspec.Struct, gc=False):
    """The aggregate's id; in other kinds the field is something else."""

    a: int


class Line(msgspec.Struct, gc=False):
    """A record of the gap journal."""

    gap: str
    symbol: str
    stream: str
    event_type: str
    first_id: int
    last_id: int
    state: str
    reason: str
    detected_at: int
    resolved_at: int | None
    resolved_by: str | None
    recovered: int


_event = msgspec.json.Decoder(Event).decode
_sample = msgspec.json.Decoder(Sample).decode
_aggregate = msgspec.json.Decoder(AnyA).decode
_line = msgspec.json.Decoder(Line).decode


@dataclass
class Verdict:
    """What a run of one schedule came to; everything in it was allowed.

    Attributes:
        doubles: records that stand in the topics more than once, by event type.
        gaps: gaps by reason and how they ended.
        lost: ids of trades that are lost, by reason.
    """

    doubles: Counter = field(default_factory=Counter)
    gaps: Counter = field(default_factory=Counter)
    lost: Counter = field(default_factory=Counter)
    late: int = 0
    backfilled: int = 0
    depth_holes: int = 0
    dead_letters: int = 0


def judge(world):
    """Raise AssertionError when anything is not as promised."""
    verdict = Verdict()
    for number, lived in enumerate(world.lives):
        judge_life(world, number, lived)
    kept, taken_away = effective(world.kafka, spool=world.schedule.spool and not world.kafka.exactly_once)
    record = Record(world, kept, verdict)
    record.judge()
    judge_audit(world, kept, taken_away)
    spoilt = Record(world, [*kept, *taken_away], Verdict(), strict=False)
    assert not (taken_away and world.kafka.exactly_once)
    for entry in taken_away:
        spoilt.check_published(entry)
        verdict.doubles[entry.event[3].event_type] += 1
    return verdict


def effective(kafka, *, spool=False):
    """The entries that stand when each death has taken its own away, and those that it took.

    With a spool the next life goes on behind what lies there, and not behind the state: what was acknowledged between
    the two is not written again, and stands.
    """
    kept: list[tuple[int, Entry]] = []
    away = []
    for life, begin in enumerate(kafka.begins):
        candidates = []
        while kept and kept[-1][0] >= begin:
            candidates.append(kept.pop())
        again = {_identity(entry) for entry in kafka.entries if entry.life >= life} if spool and candidates else None
        for index, entry in reversed(candidates):
            if again is None or _identity(entry) in again:
                away.append(entry)
            else:
                kept.append((index, entry))
        for index, entry in enumerate(kafka.entries):
            if entry.life == life and entry.acknowledged:
                kept.append((index, entry))
            elif entry.life == life:
                away.append(entry)
    return [entry for _, entry in kept], away


def _identity(entry):
    """The same for whatever stands for the same event, or tells of the same gap."""
    value, key, _, route = entry.event
    if route.event_type == "gap":
        return route.event_type, _line(value).gap
    field = {"trade": b"t", "aggregate_trade": b"a", "depth_update": b"u"}.get(route.event_type)
    number = _IDS[field].search(value) if field else None
    return route.event_type, route.dead_letter, key, number[1] if number else value


def judge_audit(world, kept, taken_away):
    """`audit` agrees: nothing is wrong with the effective record, and in the whole one nothing is missing."""
    spooled = world.schedule.spool and not world.kafka.exactly_once
    unordered = spooled or any(fired.fault.action.DO in UNORDERED for fired in world.fired)
    # By Kafka's timestamps alone `audit` cannot tell a new numbering from disorder while the service's clock is an hour
    # behind: they are times of receipt then.
    far_off = any(abs(off_ms) > 50 * 60_000 for _, off_ms in world.schedule.clock_steps)
    reset = any(len(world.published.epochs(symbol)) > 1 for symbol in world.schedule.market["symbols"])
    found = audited.defects(
        audited.audit(kept),
        leaving_out=SAMPLES if unordered else (),
        allowing={"out_of_order"} if spooled or (reset and far_off) else frozenset(),
    )
    assert not found, ("audit disagrees", found)
    if not taken_away:
        return
    for one in audited.audit(world.kafka.entries).series:
        reset = len(world.published.epochs(one.name.symbol)) > 1
        for first, last in one.missing:
            assert reset or _stateless(one.name, first, kept), (
                "audit misses what is there",
                str(one.name),
                first,
                last,
            )


def _stateless(name, first, kept):
    """Whether nothing below an id was written in time for the resume state: a series' first second may be lost to it.

    Its first events are there, and nobody knows of them; so the next life begins anew, wherever the exchange is then.
    """
    field = {"trade": b"t", "aggregate_trade": b"a", "depth_update": b"u"}.get(name.event_type)
    if field is None:
        return True  # a closed candle
    key = name.symbol.encode()
    ids = (
        int(_IDS[field].search(entry.event[0])[1])
        for entry in kept
        if entry.event[3].event_type == name.event_type and entry.event[1] == key and not entry.event[3].dead_letter
    )
    return min(ids, default=first) >= first


# -- one life


def judge_life(world, number, lived):
    """The books balance, and after a clean end they agree with what was read and what is written."""
    assert not lived.ledger.unbalanced() or lived.died, lived.ledger.unbalanced()
    if lived.died:
        return
    report = lived.report
    assert (report.reason, report.error, report.unfinished, report.left) == ("stopped", None, (), {}), report
    total = lived.ledger.total()
    assert (total.in_flight, total.difference) == (0, 0)
    written = [entry.event for entry in world.kafka.entries if entry.life == number and entry.acknowledged]
    written = [event for event in written if event[3].counted]
    letters = [event for event in written if event[3].dead_letter]
    assert (total.delivered, total.dead_lettered) == (len(written) - len(letters), len(letters))
    # A reply that came when nobody waited for it any more is read like a message.
    no_events = (b'{"result":', b'"e":"serverShutdown"')
    frames = [frame for frame in lived.read if not any(sign in frame for sign in no_events)]
    assert total.received == len(frames), (total.received, len(frames))
    if not world.schedule.spool:  # what lies on the disk is written by the next life
        _judge_bytes(frames, written, duplicates=total.duplicates)


def _judge_bytes(frames, written, *, duplicates):
    """What was read is written, byte for byte, or was there before; what was not read came from REST."""
    read = Counter(_value_of(frame) or frame for frame in frames)
    kept = Counter()
    for value, _, _, route in written:
        if route.dead_letter:
            bare = value[:-1] if value[:-1] in read else (_value_of(value) or value)
            if bare in read or dict(route.headers)["reason"] != b"refused":  # else REST had brought it
                kept[bare] += 1
        elif b'"source":"binance_websocket"' in value[-200:]:
            kept[_bare(value)] += 1
    dropped = read - kept
    assert kept - read == Counter(), next(iter((kept - read).items()))
    assert dropped.total() == duplicates, (dropped.total(), duplicates, next(iter(dropped.items()), None))


def _bare(value):
    return value.rpartition(b',"ingestion_timestamp":')[0].partition(b',"symbol":"')[0]


def _value_of(frame):
    """What a message's event is in the record, up to the closing brace; None when it is no event in an envelope."""
    start = frame.find(b'"data":{')
    return frame[start + 7 : -2] if frame.startswith(b'{"stream":"') and start > 0 else None


# -- the record


class Series:
    """One symbol and event type as they stand in the record.

    Attributes:
        order: numbering and id of what is not late, in order; of a book, its first and last id.
        late: the same of what is late.
        journal: the lines of the journal about it, in order.
        letters: ids in the dead letters.
    """

    def __init__(self):
        self.order = []
        self.late = []
        self.journal = []
        self.letters = set()
        self.highest = (-1, -1)


class Record:
    """The effective record of a world, series by series."""

    def __init__(self, world, entries, verdict, *, strict=True):
        self.world = world
        self.verdict = verdict
        self.symbols = world.schedule.market["symbols"]
        self.epochs = {symbol: world.published.epochs(symbol) for symbol in self.symbols}
        self.spooled = world.schedule.spool and not world.kafka.exactly_once
        """What a spool brings again after a death comes behind some that had gone past it, and is not brought again."""
        self.series = {}
        self.samples = {}
        if strict:
            for entry in entries:
                self._take(entry)

    # .. sorting

    def _of(self, event_type, symbol):
        key = event_type, symbol
        if key not in self.series:
            self.series[key] = Series()
        return self.series[key]

    def _take(self, entry):
        value, key, _, route = entry.event
        assert entry.topics == route.topics
        symbol = key.decode() if key is not None else ""
        if route.dead_letter:
            self.verdict.dead_letters += 1
            self._take_letter(value, dict(route.headers))
        elif route.event_type == "gap":
            line = _line(value)
            assert line.symbol == symbol
            self._of(line.event_type, symbol).journal.append(line)
        elif route.event_type in TRADES:
            event = _event(value)
            place = self._trade(route.event_type, symbol, event, value)
            self.verdict.backfilled += event.source == "binance_rest_backfill"
            series = self._of(route.event_type, symbol)
            if event.late or (self.spooled and place < series.highest):
                series.late.append(place)
                self.verdict.late += event.late
                assert place < series.highest, ("late, and after everything", route.event_type, symbol, place)
            else:
                assert place > series.highest, (
                    "out of order or doubled",
                    route.event_type,
                    symbol,
                    place,
                    series.highest,
                )
                series.highest = place
                series.order.append(place)
        elif route.event_type == "depth_update":
            self._depth(symbol, _event(value))
        elif route.event_type in SAMPLES:
            self.samples.setdefault((route.event_type, symbol), []).append(_sample(value))

    def check_published(self, entry):
        """Whatever it is, the exchange said it."""
        value, key, _, route = entry.event
        if route.event_type in TRADES and not route.dead_letter:
            self._trade(route.event_type, key.decode(), _event(value), value)

    def _take_letter(self, value, headers):
        event_type = headers.get("event_type", b"").decode()
        stream = headers.get("stream", b"").decode()
        symbol = headers.get("symbol", b"").decode() or stream.partition("@")[0].upper()
        if event_type in TRADES:
            found = _IDS[TRADES[event_type].encode()].search(value)
            if found:
                self._of(event_type, symbol).letters.add(int(found[1]))
        elif event_type == "depth_update":
            first, last = _IDS[b"U"].search(value), _IDS[b"u"].search(value)
            if first and last:
                self._of(event_type, symbol).letters.update(range(int(first[1]), int(last[1]) + 1))

    def _trade(self, event_type, symbol, event, value):
        """The numbering and the id; what a record says is what the exchange published."""
        if event_type == "trade":
            number, told = event.t, (event.time_ms, event.p, event.q, event.m)
        else:
            number = _aggregate(value).a
            told = (event.time_ms, event.p, event.q, event.m, event.f, event.l)
        for index in range(len(self.epochs[symbol]) - 1, -1, -1):
            epoch = self.epochs[symbol][index]
            if (epoch.trades if event_type == "trade" else epoch.aggregates).get(number) == told:
                return index, number
        raise AssertionError(("never published", value))

    def _depth(self, symbol, event):
        series = self._of("depth_update", symbol)
        first, last = event.first_u, event.u
        epoch = self._epoch_of_book(symbol, event)
        before = series.order[-1] if series.order else None
        assert first <= last
        assert not event.late
        if before is not None and before[0] == epoch and not self.spooled:
            assert last > before[2], ("doubled", "depth_update", symbol, (first, last), before)
        assert before is None or epoch >= before[0] or self.spooled
        series.order.append((epoch, first, last))

    def _epoch_of_book(self, symbol, event):
        """Which numbering of the book an update is of."""
        for index, epoch in enumerate(self.epochs[symbol]):
            if event.event_ms <= epoch.ended_ms and event.u <= epoch.updates[1]:
                return index
        raise AssertionError(("never published", event))

    # .. judging

    def judge(self):
        """Everything that is missing is explained, and everything that is said of it is true."""
        for event_type in (*TRADES, "depth_update"):
            for symbol in self.symbols:
                series = self._of(event_type, symbol)
                self._judge_journal(series)
                self._judge_whole(event_type, symbol, series)
        for (event_type, symbol), events in self.samples.items():
            self._judge_samples(event_type, symbol, events)

    def _judge_journal(self, series):
        told = {}
        for line in series.journal:
            told.setdefault((line.gap, line.detected_at), []).append(line)
            assert line.gap == f"{line.stream}:{line.first_id}-{line.last_id}"
            assert line.first_id <= line.last_id
        for lines in told.values():
            states = [line.state for line in lines]
            assert states in (["open"], ["open", "closed"], ["open", "lost"]), [
                msgspec.to_builtins(one) for one in lines
            ]
            self.verdict.gaps[lines[-1].reason, lines[-1].state] += 1

    def _judge_whole(self, event_type, symbol, series):
        """What is missing is in the dead letters, or the journal says that it is lost, or looked for still."""
        ended = {(line.gap, line.detected_at): line for line in series.journal if line.reason != "exchange_reset"}
        fell = sum(after[0] > before[0] and after[-1] <= before[-1] for before, after in pairwise(series.order))
        said = sum(line.reason == "exchange_reset" and line.state == "lost" for line in series.journal)
        assert said >= fell, ("ids began again, and the journal does not say so", event_type, symbol)
        there_at_all = set()
        for epoch in dict.fromkeys(place[0] for place in series.order):
            places = sorted(place for place in series.order if place[0] == epoch)
            if event_type == "depth_update":
                missing = self._missing_updates(places)
            else:
                there = self._there(event_type, symbol, epoch, places, series.late)
                missing = self._missing_trades(event_type, symbol, epoch, there)
                there_at_all |= there
            missing -= series.letters
            for line in ended.values():
                if line.state != "closed":
                    lost = missing & set(range(line.first_id, line.last_id + 1))
                    missing -= lost
                    if event_type in TRADES and lost:
                        self._judge_loss(event_type, symbol, line, lost)
            assert not missing, ("missing, and nobody says so", event_type, symbol, epoch, _shortened(missing))
        if event_type in TRADES and len(self.epochs[symbol]) == 1:
            for line in ended.values():
                self._judge_line(line, there_at_all, series.letters)

    def _there(self, event_type, symbol, epoch, places, late):
        came_late = [place[1] for place in late if place[0] == epoch]
        assert len(came_late) == len(set(came_late)), ("late and doubled", event_type, symbol)
        in_order = {number for _, number in places}
        assert in_order.isdisjoint(came_late), ("late, and there before", event_type, symbol)
        return in_order.union(came_late)

    def _missing_trades(self, event_type, symbol, epoch, there):
        published = self.epochs[symbol][epoch]
        published = published.trades if event_type == "trade" else published.aggregates
        return {number for number in range(min(there), max(there) + 1) if number in published} - there

    def _missing_updates(self, places):
        """What is missing between the updates of a book."""
        missing = set()
        reached = places[0][2]
        for _, first, last in places:
            if first > reached + 1:
                self.verdict.depth_holes += 1
                missing.update(range(reached + 1, first))
            reached = max(reached, last)
        return missing

    def _judge_line(self, line, there, letters):
        """What the journal says of a gap is so."""
        ids = set(range(line.first_id, line.last_id + 1))
        if line.state == "closed":
            assert ids <= there | letters, ("said to be closed, and missing", line.gap, _shortened(ids - there))
            assert line.recovered == len(ids), line
        elif line.state == "lost" and not self.world.schedule.spool:  # which has what the state knows nothing of
            assert len(ids & there) <= line.recovered <= len(ids & (there | letters)), ("recovered", line)

    def _judge_loss(self, event_type, symbol, line, lost):
        """Trades are lost for a reason, or not at all."""
        self.verdict.lost[line.reason] += len(lost)
        world = self.world
        off = {"trade": "trade", "aggregate_trade": "aggTrade"}[event_type] not in world.schedule.settings["backfill"]
        reset = len(self.epochs[symbol]) > 1
        too_old = line.reason == "too_old" and any(lived.too_old for lived in world.lives)
        if line.state == "open":  # what shows only as the last life is stopped is left to the next
            since_ms = world.lives[-1].ended_ms + world.clock_off_ms - line.detected_at
            assert since_ms < STOPPING_MS, ("not looked for", line, _shortened(lost))
        else:
            assert off or reset or too_old, ("lost without need", line, _shortened(lost))

    def _judge_samples(self, event_type, symbol, events):
        """In order, and none twice, unless the exchange itself sent it so."""
        if self.spooled or any(fired.fault.action.DO in UNORDERED for fired in self.world.fired):
            return
        keys = [_sample_key(event_type, event) for event in events]
        for before, after in pairwise(keys):
            assert after > before, ("sample doubled or out of order", event_type, symbol, before, after)


def _sample_key(event_type, event):
    if event_type == "book_ticker":
        return event.u
    if event_type == "kline":
        return event.k["t"], event.k["L"], event.k["n"], event.k["x"], event.event_ms
    return event.event_ms


def _shortened(ids):
    ids = sorted(ids)
    return len(ids), ids[:5], ids[-2:]


__all__ = ["START_MS", "Verdict", "effective", "judge"]
