"""`replay`: sends recordings through the pipeline into Kafka, and tells how far it is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio

from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.commands.endings import EXIT_CLEAN, EXIT_FAILURE, EXIT_USAGE
from ingest_actors.commands.output import say, tell
from ingest_actors.commands.progress import progress_of
from ingest_actors.commands.record import log_form
from ingest_actors.commands.signals import obey_signals
from ingest_actors.kafka.keeping import Loss, create_kept_for_ever, expected_losses
from ingest_actors.logs import setup_logging
from ingest_actors.recordings.reader import RecordingError
from ingest_actors.replayer import Player, Replayed, run_replay
from ingest_actors.replayer.looking import look_into
from ingest_actors.settings import Settings
from ingest_actors.settings.addresses import EMBEDDED
from ingest_actors.topology import topic_names

DAY_MS: Final = 86_400_000
TOPICS: Final = ("raw_events", "trades", "depth", "dead_letters", "gaps", "state")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What is replayed, and how.

    Attributes:
        paths: the recordings, in their order.
        speed: recorded seconds a second; 0 = as fast as Kafka takes them.
        topic_prefix: before the name of every topic; empty = the topics of the settings.
        yes: go on although Kafka will delete the records.
    """

    paths: tuple[Path, ...]
    speed: float = 0.0
    topic_prefix: str = ""
    yes: bool = False


def run_it(settings: Settings, options: ReplayOptions, *, confirm: Callable[[str], bool]) -> int:
    """Replay, and answer with one line of JSON.

    Args:
        settings: of Kafka.
        options: what, and how.
        confirm: asks whoever sits there; only when somebody does.

    Returns:
        The exit code.

    Raises:
        IngestError: what ended it, unless it was a recording.
    """
    level = settings.log_level if "log_level" in settings.model_fields_set else "WARNING"
    setup_logging(level, log_form(settings), instance=settings.instance_name)
    if options.topic_prefix:
        settings = _with_prefix(settings, options.topic_prefix)
    for warning in settings.warnings():
        tell(f"warning: {warning}")
    try:
        warning = trio.run(_losses, settings, options)
    except RecordingError as error:
        tell(f"replay: {error}")
        return EXIT_USAGE
    if warning:
        tell(f"warning: {warning}")
        if not options.yes and not (sys.stdin.isatty() and sys.stderr.isatty() and confirm("Replay all the same?")):
            tell("replay: nothing was written; --yes replays all the same")
            return EXIT_USAGE
    return trio.run(_replay, settings, options)


def _with_prefix(settings: Settings, prefix: str) -> Settings:
    names = {f"kafka_topic_{topic}": prefix + getattr(settings, f"kafka_topic_{topic}") for topic in TOPICS}
    return settings.replace(**names)


async def _losses(settings: Settings, options: ReplayOptions) -> str:
    """What Kafka would do to the records; empty when it would keep them."""
    parser = EventParser(StreamTable(topic_names(settings)))
    earliest_ms = await trio.to_thread.run_sync(look_into, options.paths, parser.parse)
    if options.topic_prefix and settings.kafka_bootstrap_servers != EMBEDDED:
        for name in await create_kept_for_ever(settings):
            tell(f"created {name}, which keeps its records for ever")
    if earliest_ms is None:
        return ""
    losses = await expected_losses(settings, age_ms=time.time_ns() // 1_000_000 - earliest_ms)
    return told_losses(losses, earliest_ms, settings.kafka_bootstrap_servers) if losses else ""


def told_losses(losses: Sequence[Loss], earliest_ms: int, servers: str) -> str:
    """The trap, and the way out of it."""
    began = datetime.fromtimestamp(earliest_ms / 1e3, UTC)
    lines = [f"the recording begins {began:%Y-%m-%d %H:%M} UTC, and to Kafka a record is as old as its own timestamp:"]
    for loss in losses:
        limit = f"{loss.limit_ms / DAY_MS:g} days"
        if loss.refused:
            lines.append(f"  {loss.topic} refuses what is older than {limit} (message.timestamp.before.max.ms)")
        elif loss.exists:
            lines.append(f"  {loss.topic} deletes what is older than {limit}, some minutes after it is written")
        else:
            lines.append(f"  {loss.topic} would be created to delete what is older than {limit}")
    lines += [
        "the way out: topics of its own, which are created to keep their records for ever: --topic-prefix replay-"
    ]
    alter = [_alteration(loss, servers) for loss in losses if loss.exists]
    return "\n".join([*lines, *(["or let those that are there keep them:", *alter] if alter else [])])


def _alteration(loss: Loss, servers: str) -> str:
    entry = f"message.timestamp.before.max.ms={2**63 - 1}" if loss.refused else "retention.ms=-1"
    return (
        f"  kafka-configs --bootstrap-server {servers} --alter --entity-type topics --entity-name {loss.topic}"
        f" --add-config {entry}"
    )


async def _replay(settings: Settings, options: ReplayOptions) -> int:
    began_s = time.monotonic()
    player = Player(options.paths, speed=options.speed)
    progress = progress_of(sys.stderr)
    try:
        with progress:
            replayed = await run_replay(settings, player, show=progress.show, obey_signals=obey_signals)
    except RecordingError as error:
        tell(f"replay: {error}")
        tell(f"replay: {player.messages:,} messages before that place were replayed")
        return EXIT_FAILURE
    _tell_shortcomings(player, replayed)
    took_s = time.monotonic() - began_s
    say(json.dumps(_answer(replayed, took_s)))
    return EXIT_CLEAN if replayed.finished and not replayed.unbalanced else EXIT_FAILURE


def _answer(replayed: Replayed, took_s: float) -> dict[str, object]:
    ledger = replayed.ledger
    return {
        "finished": replayed.finished,
        "messages": replayed.messages,
        "received": ledger.received,
        "delivered": ledger.delivered,
        "dead_lettered": ledger.dead_lettered,
        "records": replayed.records,
        "seconds": round(took_s, 3),
    }


def _tell_shortcomings(player: Player, replayed: Replayed) -> None:
    for path, left_bytes in replayed.unended:
        left = f"; its last block, {left_bytes:,} bytes, was cut off and is left out" if left_bytes else ""
        tell(f"note: recording {path} has no end: its recorder was killed, or is still running{left}")
    if replayed.answers:
        tell(f"note: {replayed.answers:,} answers of REST in the recording belong to no stream and were left out")
    if replayed.ledger.dead_lettered:
        tell(f"note: {replayed.ledger.dead_lettered:,} messages went to the dead letters")
    if not replayed.finished:
        at = datetime.fromtimestamp(player.at_ns / 1e9, UTC)
        tell(f"replay: stopped before the end, at {at:%Y-%m-%d %H:%M:%S} UTC in {player.file}")
    for kind, difference in replayed.unbalanced.items():
        tell(f"replay: the ledger of {kind} does not balance: {difference:+,}")
