"""`audit`: reads the topics, tells what it found, and ends with a verdict."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import translate
from functools import partial
from re import compile as compile_pattern

import trio
import typer

from ingest_actors.audit.records import Window
from ingest_actors.audit.report import Report
from ingest_actors.audit.run import run_audit
from ingest_actors.commands.audit_progress import shown_progress
from ingest_actors.commands.audit_table import say_report
from ingest_actors.commands.endings import EXIT_CLEAN, EXIT_FAILURE
from ingest_actors.commands.output import say, tell
from ingest_actors.commands.signals import obey_signals
from ingest_actors.errors import SettingsError
from ingest_actors.settings import Settings
from ingest_actors.settings.addresses import EMBEDDED

_INTERRUPTED = 128
"""Plus the number of the signal: what shells make of a program that a signal ended. There is no verdict then."""

_MS_LEAST, _MS_MOST = 10**11, 10**14
"""1973 and 5138: a number outside is in another unit."""

_ACCEPTED = "accepted: ISO 8601, as in 2026-01-06T14:03Z, or ms since 1970, as in 1767708180000"


def audit(settings: Settings, *, window: Window, wants: Callable[[str], bool] | None, as_json: bool) -> int:
    """Do it and say it.

    Args:
        settings: where, as whom, which topics.
        window: which part of the record.
        wants: which symbols; None = all.
        as_json: one JSON object instead of a table.

    Returns:
        The exit code.

    Raises:
        SettingsError: the brokers are the embedded ones.
        SinkUnreachable: no answer, no entry, or no right.
        JournalTooNew: the gap journal has a record of a newer release.
    """
    if settings.kafka_bootstrap_servers == EMBEDDED:
        problem = (
            "KAFKA_BOOTSTRAP_SERVERS='embedded': its topics end with the process that writes them, and it shows"
            " aborted records; accepted by audit: the brokers of a real Kafka (`dev-broker` starts one)"
        )
        raise SettingsError([problem])
    outcome = trio.run(partial(_audit, settings, window, wants))
    if isinstance(outcome, signal.Signals):
        tell(f"audit: interrupted ({outcome.name}); no verdict")
        return _INTERRUPTED + outcome
    if as_json:
        say(json.dumps(outcome.to_json()))
    else:
        say_report(outcome)
    return EXIT_CLEAN if outcome.ok else EXIT_FAILURE


async def _audit(settings: Settings, window: Window, wants: Callable[[str], bool] | None) -> Report | signal.Signals:
    signals: list[signal.Signals] = []
    report: Report | None = None
    async with trio.open_nursery() as nursery:
        cancel = nursery.cancel_scope.cancel
        await nursery.start(partial(obey_signals, stop=cancel, cancel=lambda: None, told=signals.append))
        with shown_progress() as progress:
            report = await run_audit(settings, window=window, wants=wants, progress=progress)
        cancel()
    return report if report is not None else signals[0]


def read_window(since: str | None, until: str | None) -> Window:
    """The part of the record that is meant.

    Raises:
        typer.BadParameter: a time that is none, or no time between the two.
    """
    window = Window(_read_time(since, "--since"), _read_time(until, "--until"))
    if window.since_ms is not None and window.until_ms is not None and window.since_ms >= window.until_ms:
        raise typer.BadParameter(f"{until} is not after --since {since}", param_hint="--until")
    return window


def _read_time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    word = text.strip()
    if word.isdecimal():
        number = int(word)
        if not _MS_LEAST <= number < _MS_MOST:
            unit = "s" if number < _MS_LEAST else "us or ns"
            raise typer.BadParameter(f"{text} is taken for ms, and looks like {unit}; {_ACCEPTED}", param_hint=option)
        return number
    try:
        time = datetime.fromisoformat(word)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; {_ACCEPTED}", param_hint=option) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return round(time.timestamp() * 1000)


def symbol_filter(given: str | None) -> Callable[[str], bool] | None:
    """Whether a symbol is meant; None = all are.

    Raises:
        typer.BadParameter: there is none in it.
    """
    if given is None:
        return None
    patterns = [text.strip().upper() for text in given.split(",") if text.strip()]
    if not patterns:
        raise typer.BadParameter("at least one symbol is needed", param_hint="--symbols")
    matches = [compile_pattern(translate(pattern)).match for pattern in patterns]
    known: dict[str, bool] = {}

    def wants(symbol: str) -> bool:
        if symbol not in known:
            known[symbol] = any(match(symbol) for match in matches)
        return known[symbol]

    return wants
