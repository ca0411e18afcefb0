"""Is my data whole, and is it fresh? The two answers, each one word or a few, a sentence, and the reasons.

Pure functions of a picture of the service. Loss weighs for `LOSS_FRESH_S` as an alarm; later it is said, in amber, for
as long as the process lives: what is lost stays lost, but nobody need get up for it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from ingest_actors.console.cells import CROWDED, FULL, clipped, count, milliseconds, rate, size, span
from ingest_actors.details import Details, GapSums
from ingest_actors.status import ConnectionStatus, Status

LOSS_FRESH_S: Final = 3600.0
"""How long a loss of trades counts as news."""

OLD_S: Final = 10.0
STALE_S: Final = 60.0
"""Age of the newest event of all from which something is odd, or wrong: five quiet symbols bring several a second."""

STARTING_S: Final = 30.0
"""A service that is not ready is only starting for so long."""

RESTARTED_S: Final = 60.0
"""How long a crash of an actor is worth amber."""

LATE_S: Final = 5.0
"""Exchange to receipt, seconds in the middle: from here on what comes is old."""

REASONS_MAX: Final = 6
"""Reasons that are shown; of more the number is."""

BOOKS: Final = frozenset(("depth_update",))
"""Of these nothing is ever fetched again; a snapshot follows each hole, so that books are right again."""

SEVERITY: Final = ("idle", "good", "warn", "bad")


class Verdict(NamedTuple):
    """One answer."""

    key: str
    """``whole`` or ``fresh``."""
    question: str
    tone: str
    """``good``, ``warn``, ``bad``, or ``idle``: there is nothing to judge yet."""
    word: str
    """Changes only when the answer does, so that it may be read aloud."""
    text: str
    reasons: tuple[str, ...] = ()


class Recent(NamedTuple):
    """What was measured over the last minute or so; None: nothing was."""

    exchange_p50_s: float | None = None
    ack_p50_s: float | None = None
    restarted: str = ""
    """The actor that crashed last."""
    restarted_s: float | None = None
    """How long ago."""


class _Trouble(NamedTuple):
    tone: str
    word: str
    text: str
    reasons: tuple[str, ...] = ()


def overall(verdicts: Iterable[Verdict]) -> str:
    """The worst tone of them."""
    return max((verdict.tone for verdict in verdicts), key=SEVERITY.index)


def whole(status: Status, details: Details | None) -> Verdict:
    """Whether everything that was due is in the record."""
    sums = {} if details is None else dict(details.gap_sums())
    if not status.total.received and not status.total.recovered:
        found = _Trouble("idle", "Nothing yet", "Nothing was received so far.")
    else:
        found = next(iter(_defects(status, details, sums)))
    notes = (*found.reasons, *_footnotes(status, _sum(sums.values())))
    return Verdict("whole", "Is my data whole?", found.tone, found.word, found.text, _bounded(notes))


class _Losses(NamedTuple):
    """What will never come."""

    ids: int
    """Of trades and the like."""
    ago_s: float
    """How long ago that was last told, seconds."""
    known: bool
    """Whether that is known."""
    books: GapSums

    @property
    def news(self) -> bool:
        """Whether it is worth an alarm."""
        return self.ids > 0 and self.ago_s < LOSS_FRESH_S


def _losses(status: Status, sums: Mapping[str, GapSums]) -> _Losses:
    books = _sum(entry for kind, entry in sums.items() if kind in BOOKS)
    last_ms = max((entry.last_lost_ms for kind, entry in sums.items() if kind not in BOOKS), default=0)
    ids = max(status.tallies.gap_ids_lost - books.ids_lost, 0)
    return _Losses(ids, (status.at_ms - last_ms) / 1000, known=last_ms > 0, books=books)


def _defects(status: Status, details: Details | None, sums: Mapping[str, GapSums]) -> Iterator[_Trouble]:
    """What stands against it, the worst first; at the end, that nothing does."""
    difference = {kind: entry.difference for kind, entry in status.ledger.items() if entry.difference}
    if difference:
        off = clipped(", ".join(f"{kind}: {number:+,}" for kind, number in difference.items()))
        yield _Trouble("bad", "Miscounted", f"The ledger does not balance ({off}): a defect of this program.")
    losses = _losses(status, sums)
    if status.gaps_open:
        missing = "" if details is None else f": {_ids(details.ids_missing)} missing"
        text = f"{_gaps(status.gaps_open)} open{missing}, asked for again from the exchange."
        if losses.news:
            gone = f"{_ids(losses.ids)} lost for good, the last {span(losses.ago_s)} ago"
            yield _Trouble("bad", "Not whole", text, (gone, *_backfill(status)))
        yield _Trouble("warn", "Being repaired", text, _backfill(status))
    if losses.news:
        text = f"{_ids(losses.ids)} lost, the last {span(losses.ago_s)} ago. The journal below names each gap."
        yield _Trouble("bad", "Not whole", text)
    down = _down(status)
    if down:
        text = (
            f"{len(down)} of {len(status.connections)} connections not open: what is missed shows when they are back."
        )
        yield _Trouble("warn", "Whole so far", text)
    yield from _old_losses(status, losses)
    if status.total.dead_lettered:
        yield _Trouble("warn", "Whole but for dead letters", "Every id is there; some events could not be read.")
    yield _Trouble("good", "Whole", "Every id that was due is in the record.")


def _backfill(status: Status) -> tuple[str, ...]:
    """How far a repair is that takes long."""
    if (progress := status.backfill) is None:
        return ()
    done = f"{count(progress.ids_fetched)} of {_ids(progress.ids_fetched + progress.ids_missing)} fetched"
    if progress.remaining_s is None:
        return (f"{done}, and nothing came lately: the exchange's REST does not bring any",)
    return (f"{done}, {rate(progress.ids_per_s)} a second: about {span(progress.remaining_s)} to go",)


def _old_losses(status: Status, losses: _Losses) -> Iterator[_Trouble]:
    """What nobody need get up for."""
    if losses.ids:
        since = f"Whole for {span(losses.ago_s)}; before that" if losses.known else "At some time"
        yield _Trouble("warn", "Whole again", f"{since} {_ids(losses.ids)} were lost.")
    if losses.books.ids_lost:
        ago_s = (status.at_ms - losses.books.last_lost_ms) / 1000
        lost = f"{_ids(losses.books.ids_lost)} of book updates were lost, the last {span(ago_s)} ago"
        text = f"Every trade is there. {lost}."
        then = "after each such hole a book snapshot is written, from which readers go on"
        yield _Trouble("warn" if ago_s < LOSS_FRESH_S else "good", "Whole but for books", text, (then,))


def _down(status: Status) -> list[ConnectionStatus]:
    """Planned connections that are not open."""
    return [connection for connection in status.connections if connection.state != "open" and not connection.on_trial]


def _footnotes(status: Status, sums: GapSums) -> list[str]:
    """What is worth knowing beside the answer."""
    notes = []
    if status.total.dead_lettered:
        notes.append(f"{count(status.total.dead_lettered)} events went to dead letters, with the reason")
    if sums.closed:
        notes.append(f"{_gaps(sums.closed)} found and closed: {_ids(sums.ids_recovered)} recovered")
    missed_s = sum(status.samples_missed_s.values())
    if missed_s >= 1:
        notes.append(f"samples (tickers, forming candles) without a listener: {span(missed_s)} over all streams")
    spool = status.sink.spool
    if spool is not None and spool.events:
        notes.append(f"{count(spool.events)} events are safe on the disk and not in Kafka yet")
    return notes


def fresh(status: Status, details: Details | None, recent: Recent = Recent()) -> Verdict:  # noqa: B008 - immutable
    """Whether what is in Kafka is of now."""
    question = "Is it fresh?"
    found = sorted(_troubles(status, recent), key=lambda trouble: -SEVERITY.index(trouble.tone))
    more = [trouble.text for trouble in found[1:]]
    said = (reason for trouble in found for reason in trouble.reasons)
    reasons = _bounded((*_last_failure(status, details), *said, *more))
    newest_s = _newest_s(status)
    newest = "Nothing was received so far." if newest_s is None else f"The newest event came {_ago(newest_s)}."
    if details is not None and details.draining:
        text = f"The service was asked to stop; {count(status.total.in_flight)} events are on their way to Kafka."
        return Verdict("fresh", question, "idle", "Stopping", text, reasons)
    starting = status.at_ms - status.started_at_ms < STARTING_S * 1000 and newest_s is None
    if starting and found:
        return Verdict("fresh", question, "idle", "Starting", "Connections are being opened.", reasons)
    if found:
        worst = found[0]
        return Verdict("fresh", question, worst.tone, worst.word, f"{worst.text} {newest}".strip(), reasons)
    if recent.ack_p50_s is not None:
        newest = f"{newest[:-1]}; events are in Kafka {milliseconds(recent.ack_p50_s)} after they are handed over."
    return Verdict("fresh", question, "good", "Fresh", newest)


def _troubles(status: Status, recent: Recent) -> Iterator[_Trouble]:
    """What stands against it; of the same weight, what comes first here is said first."""
    yield from _of_links(status)
    yield from _of_flow(status, recent)
    yield from _of_streams(status)
    if recent.restarted_s is not None and recent.restarted_s < RESTARTED_S:
        ago = span(recent.restarted_s)
        text = f"The {recent.restarted} crashed {ago} ago and was started again; that loses nothing."
        yield _Trouble("warn", "Unsteady", text)


def _of_links(status: Status) -> Iterator[_Trouble]:
    """Kafka and the exchange: are they there?"""
    if not status.sink.reachable:
        yield _Trouble("bad", "Kafka is away", _waiting(status), (_cause(status),))
    down = _down(status)
    reasons = tuple(
        f"{c.name} is {c.state}" + (f", after {c.failures} failures in a row" if c.failures else "") for c in down
    )
    if not status.connections:
        yield _Trouble("bad", "Not connected", "No connection is planned yet.")
    elif len(down) == len(status.connections):
        yield _Trouble("bad", "Not connected", "No connection to the exchange is open.", reasons)
    elif down:
        text = f"{len(down)} of {len(status.connections)} connections not open."
        yield _Trouble("bad", "Partly connected", text, reasons)


def _of_flow(status: Status, recent: Recent) -> Iterator[_Trouble]:
    """Does it come, and in time?"""
    newest_s = _newest_s(status)
    if newest_s is not None and newest_s >= OLD_S and not _down(status):
        yield _Trouble("bad" if newest_s >= STALE_S else "warn", "Stale", "Connected, but nothing comes.")
    full = [box for box in status.mailboxes if box.fill_ratio >= CROWDED]
    if full and status.sink.reachable:
        worst = max(box.fill_ratio for box in full)
        names = ", ".join(f"{box.name} {box.fill_ratio:.0%}" for box in full)
        yield _Trouble("bad" if worst >= FULL else "warn", "Behind", f"Mailboxes fill up: {names}.")
    if recent.exchange_p50_s is not None and recent.exchange_p50_s >= LATE_S:
        text = f"Events come {span(recent.exchange_p50_s)} after the exchange made them, or the clocks differ by that."
        yield _Trouble("warn", "Late", text)


def _of_streams(status: Status) -> Iterator[_Trouble]:
    """Are all there, and do they bring something?"""
    wanted = count(status.streams_wanted)
    if status.streams_silent:
        text = f"{count(status.streams_silent)} of {wanted} streams should flow and are silent."
        yield _Trouble("warn", "Partly silent", text)
    unlisted = status.streams_wanted - status.streams_listed
    if unlisted > 0:
        text = f"{count(unlisted)} of {wanted} wanted streams are not listed by the exchange."
        yield _Trouble("warn", "Partly unlisted", text)


def _waiting(status: Status) -> str:
    """Where events are while Kafka takes none."""
    spool = status.sink.spool
    if spool is not None and not spool.detail:
        return f"Events wait on the disk: {count(spool.events)}, {size(spool.used_bytes)}."
    worst = max((box.fill_ratio for box in status.mailboxes), default=0.0)
    text = f"{count(status.total.in_flight)} events wait in memory."
    if worst >= FULL:
        text += " It is full, so nothing more is read: the exchange may hang up."
    return text


def _cause(status: Status) -> str:
    spool = status.sink.spool
    full = f"; the spool takes nothing: {spool.detail}" if spool is not None and spool.detail else ""
    return clipped(f"Kafka: {status.sink.detail or 'no broker answers'}{full}")


def _newest_s(status: Status) -> float | None:
    """Seconds since anything was received; None: nothing was."""
    newest_ms = max(status.tallies.last_event_ms.values(), default=None)
    return None if newest_ms is None else max(0, status.at_ms - newest_ms) / 1000


def _ago(seconds: float) -> str:
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def _last_failure(status: Status, details: Details | None) -> tuple[str, ...]:
    """Why a connection could not be opened, while one is not: what the log said last, within a minute or so."""
    if details is None or not _down(status):
        return ()
    failures = (entry for entry in details.happenings() if entry.name == "websocket_connection_failed")
    last = max(failures, key=lambda entry: entry.at_ms, default=None)
    if last is None or status.at_ms - last.at_ms > STALE_S * 1000:
        return ()
    cause = last.text.partition("cause=")[2].partition(" failures=")[0]
    return (cause.replace(" hint=", ": "),) if cause else ()


def _sum(entries: Iterable[GapSums]) -> GapSums:
    closed = lost = recovered = ids_lost = last_ms = 0
    for entry in entries:
        closed += entry.closed
        lost += entry.lost
        recovered += entry.ids_recovered
        ids_lost += entry.ids_lost
        last_ms = max(last_ms, entry.last_lost_ms)
    return GapSums(closed, lost, recovered, ids_lost, last_ms)


def _bounded(reasons: Iterable[str]) -> tuple[str, ...]:
    found = tuple(map(clipped, reasons))
    more = len(found) - REASONS_MAX
    return found if more <= 0 else (*found[:REASONS_MAX], f"and {more} more")


def _ids(number: int) -> str:
    return f"{count(number)} id{'s' * (number != 1)}"


def _gaps(number: int) -> str:
    return f"{count(number)} gap{'s' * (number != 1)}"
