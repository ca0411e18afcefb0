"""A series goes on where an earlier process ended."""

from __future__ import annotations

from ingest_actors.binance.gaps import Gap, Reason
from ingest_actors.binance.resume import Mark, OpenGap
from ingest_actors.binance.sequence import Hole, Sequence
from ingest_actors.binance.series import Series


def go_on(series: Series, mark: Mark, reason: Reason) -> list[Gap]:
    """Let a series go on from a mark, before anything of it has come.

    Args:
        series: new.
        mark: where it ended.
        reason: why ids are missing before whatever comes first.

    Returns:
        The gaps that the journal says are open, with what is missing of them still.
    """
    late = [Hole(first, min(last, mark.last)) for first, last in mark.holes if first <= mark.last]
    gaps = [_gap(series, gap) for gap in mark.gaps]
    waited_for = [gap.hole.last for gap in gaps if gap.reason is not Reason.EXCHANGE_RESET]
    series.sequence = Sequence(mark.last + 1, late, known_to=max(waited_for, default=None))
    series.latest_ms = mark.at
    series.resumed = reason
    for gap in gaps:
        missing = [*late, Hole(mark.last + 1, gap.hole.last)]
        gap.recovered = gap.hole.size - sum(_shared(gap.hole, hole) for hole in missing)
    return gaps


def _gap(series: Series, gap: OpenGap) -> Gap:
    known = {str(reason): reason for reason in Reason}
    return Gap(
        gap.stream,
        series.symbol,
        series.route.event_type,
        Hole(gap.first_id, gap.last_id),
        known.get(gap.reason, Reason.DISCONNECTED),
        gap.detected_at,
        repairable=series.repairable,
    )


def _shared(one: Hole, other: Hole) -> int:
    return max(0, min(one.last, other.last) - max(one.first, other.first) + 1)
