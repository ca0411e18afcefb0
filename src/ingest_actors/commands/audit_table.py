"""The report of an audit for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ingest_actors.audit.records import Role
from ingest_actors.audit.report import Report, SeriesReport, TopicReport
from ingest_actors.commands.output import say, say_table

_SHOWN = 3
"""How many defects of a kind a cell names; `--format json` has them all."""

_NO_REASON = "without a reason"

_COLUMNS = (
    "symbol", "event type", "stream", "records", "first id", "last id", "missing", "explained", "duplicates",
    "out of order", "late", "altered", "wrong key", "in one topic only", "broken chain", "aggregates", "verdict",
)  # fmt: skip


def say_report(report: Report) -> None:
    """A table of the series, a line for each topic, and the verdict."""
    if report.series:
        say_table(_COLUMNS, [_row(one) for one in report.series])
    for topic in report.topics:
        say(_topic(topic))
    bad = sum(not one.ok for one in report.series)
    explained = sum(bool(len(one.explained)) for one in report.series)
    verdict = "whole" if not explained else f"whole, but for what is explained in {explained} series"
    if not report.series:
        verdict = "nothing to judge, for no event of what was asked for is in the topics"
    if not report.ok:
        verdict = f"NOT whole: unexplained defects in {bad} of {len(report.series)} series"
        if any(not topic.ok for topic in report.topics):
            verdict += ", and records that do not belong where they are"
    say(f"{_window(report)}{report.records:,} records, {report.records_per_second:,} records/s: {verdict}")


def _row(one: SeriesReport) -> Sequence[str]:
    return (
        one.name.symbol or "-",
        one.name.event_type,
        one.name.stream,
        str(one.records),
        _text(one.first),
        _text(one.last),
        _spans(one.missing),
        _spans(one.explained) + _reasons(one),
        _some([f"{id_} x{times}" for id_, times in sorted(one.duplicates.items())]),
        _some([f"{id_} after {after}" for id_, after in one.out_of_order]),
        _spans(one.late),
        _some([f"{id_} ({', '.join(fields)})" for id_, fields in one.altered], more=len(one.not_examined)),
        _some([f"{id_} under {key or 'no key'}" for id_, key in one.strays]),
        "; ".join(f"{role.value}: {_spans(spans)}" for role, spans in one.only_in.items()),
        _some([f"{id_}: {first}, not {wanted}" for view in one.views for id_, first, wanted in view.chain]),
        _some([f"{id_}: {what}" for view in one.views for id_, what in view.differing]),
        "ok" if one.ok else "DEFECT",
    )


def _topic(topic: TopicReport) -> str:
    if topic.absent:
        return f"{topic.name}: there is no such topic; nothing was compared with it"
    text = f"{topic.name}: {topic.records:,} records"
    if topic.reasons:
        text += f" ({', '.join(f'{count:,} {reason or _NO_REASON}' for reason, count in topic.reasons.items())})"
    if topic.first_time is not None and topic.last_time is not None:
        text += f" from {_time(topic.first_time)} to {_time(topic.last_time)}"
    if topic.role not in (Role.GAPS, Role.DEAD_LETTERS) and not topic.from_the_start:
        text += "; what was before is deleted"
    for what, found in (("no event of ours", topic.unreadable), ("does not belong here", topic.misplaced)):
        if found:
            text += f"; {what}: {_some([f'{one.partition}@{one.offset} ({one.reason})' for one in found])}"
    return text


def _window(report: Report) -> str:
    since, until = report.window
    words = [f"{word} {_time(time)}" for word, time in (("since", since), ("until", until)) if time is not None]
    return f"{' '.join(words)} (Kafka timestamps): " if words else ""


def _time(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def _spans(spans: Iterable[tuple[int, int]]) -> str:
    return _some([str(first) if first == last else f"{first}-{last}" for first, last in spans])


def _reasons(one: SeriesReport) -> str:
    reasons = sorted({f"{why.state}: {why.reason}" if why.reason else why.state for why in one.explanations})
    return f" ({', '.join(reasons)})" if reasons else ""


def _some(texts: Sequence[str], *, more: int = 0) -> str:
    left = len(texts) - _SHOWN + more if len(texts) > _SHOWN else more
    return ", ".join(texts[:_SHOWN]) + (f" and {left} more" if left else "")


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
