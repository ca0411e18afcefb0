"""What stands against a plan, and what should be known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ingest_actors.commands.endings import EXIT_CLEAN, EXIT_FAILURE
from ingest_actors.commands.plan_brokers import MESSAGE_BYTES_MIN, Brokers, Topic
from ingest_actors.commands.plan_effects_service import disk_room
from ingest_actors.commands.plan_exchange import Exchange
from ingest_actors.commands.plan_figures import Figures
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.settings import Settings
from ingest_actors.settings.values import size_text

CLOCK_OFFSET_MS_MAX: Final = 1000
"""More than this, and latencies and `ingestion_timestamp` say something else than people think."""

NAMES_MAX: Final = 10
"""Names that one line tells; of more than these the number is told."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The verdict.

    Attributes:
        problems: what would go wrong.
        warnings: what would go right, and should be known.
        unasked: who could not be asked, and why.
        exit_code: 0 = it can run, 1 = something would go wrong, 75 = somebody could not be asked.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    unasked: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What would go wrong for sure weighs more than what nobody could say."""
        if self.problems:
            return EXIT_FAILURE
        return ExchangeUnreachable.exit_code if self.unasked else EXIT_CLEAN


def judge(settings: Settings, figures: Figures, exchange: Exchange, brokers: Brokers) -> Findings:
    """Look at all that is known together."""
    return Findings(
        problems=(*_no_streams(exchange), *_topic_problems(settings, brokers)),
        warnings=(
            *settings.warnings(),
            *_symbol_warnings(exchange),
            *_endpoint_warnings(exchange),
            *_figure_warnings(settings, figures),
            *_topic_warnings(settings, brokers),
            *_spool_warnings(settings),
        ),
        unasked=tuple(_unasked(exchange, brokers)),
    )


def names(given: Sequence[str]) -> str:
    """Names in a line, a bounded number of them."""
    more = len(given) - NAMES_MAX
    return ", ".join(given[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _unasked(exchange: Exchange, brokers: Brokers) -> Iterator[str]:
    for what, endpoints in (("REST", exchange.rest), ("WebSocket", exchange.websockets)):
        if not any(endpoint.reachable for endpoint in endpoints):
            for endpoint in endpoints:
                yield _sentence(f"exchange, {what}: {endpoint.url}: {endpoint.cause}", endpoint.hint)
    if brokers.asked and not brokers.reachable:
        yield _sentence(f"brokers: {brokers.servers}: {brokers.cause}", brokers.hint)


def _no_streams(exchange: Exchange) -> Iterator[str]:
    symbols = exchange.symbols
    if not symbols.streams and symbols.found is not None:
        near = names([nearest for nearest in symbols.unlisted.values() if nearest])
        yield (
            f"BINANCE_SYMBOLS={names(symbols.wanted)}: the exchange lists none of these, so there is nothing to"
            f" subscribe{f'; near: {near}' if near else ''}"
        )


def _symbol_warnings(exchange: Exchange) -> Iterator[str]:
    symbols = exchange.symbols
    told = [f"{name} (near: {nearest})" if nearest else name for name, nearest in symbols.unlisted.items()]
    if told and symbols.streams:
        yield f"not listed by the exchange, and left out: {names(told)}"
    told = [f"{name} ({status})" for name, status in symbols.not_trading.items()]
    if told:
        yield f"listed, but not trading, so silent for the time being: {names(told)}"
    if symbols.unexpanded:
        yield (
            f"patterns, which only the exchange can say the meaning of: {names(symbols.unexpanded)}; the figures are"
            " without them"
        )
    if exchange.clock_offset_ms is not None and abs(exchange.clock_offset_ms) > CLOCK_OFFSET_MS_MAX:
        ahead = "behind" if exchange.clock_offset_ms > 0 else "ahead of"
        yield (
            f"this machine's clock is {abs(exchange.clock_offset_ms) / 1000:.1f} s {ahead} the exchange's; keep it with"
            " NTP, or latencies and ingestion_timestamp are off by as much"
        )


def _endpoint_warnings(exchange: Exchange) -> Iterator[str]:
    for endpoints in (exchange.rest, exchange.websockets):
        if any(endpoint.reachable for endpoint in endpoints):
            for endpoint in endpoints:
                if not endpoint.reachable:
                    yield _sentence(f"{endpoint.url}: {endpoint.cause}", endpoint.hint)


def _figure_warnings(settings: Settings, figures: Figures) -> Iterator[str]:
    connections = len(figures.connections)
    if connections > figures.attempts_max:
        yield (
            f"{connections} connections are more than the {figures.attempts_max} attempts within"
            f" {figures.attempts_period_s:g} s that keep within what the exchange allows an address"
        )
    snapshots = figures.snapshots
    weight = max(figures.weight_listing, figures.weight_a_minute, snapshots.weight if snapshots.books else 0)
    if weight > settings.rest_weight_per_minute:
        yield f"REST_WEIGHT_PER_MINUTE={settings.rest_weight_per_minute}: {weight} are used in one minute"
    if snapshots.take_s > settings.depth_snapshot_interval_seconds:
        yield (
            f"DEPTH_SNAPSHOT_INTERVAL_SECONDS={settings.depth_snapshot_interval_seconds:g}: {snapshots.books} books of"
            f" weight {snapshots.weight} take {snapshots.take_s:.0f} s within {settings.rest_weight_per_minute} a"
            " minute, so each is written that seldom; DEPTH_SNAPSHOT_LIMIT=100 or less weighs 5"
        )
    share = settings.buffer_max_bytes // 8
    if figures.memory["read_ahead"] > share:
        yield (
            f"BUFFER_MAX_BYTES={settings.buffer_max_bytes}: {connections} connections read ahead"
            f" {figures.memory['read_ahead']} bytes at the least, more than their share of {share}"
        )


def _topic_problems(settings: Settings, brokers: Brokers) -> Iterator[str]:
    missing = [topic.name for topic in brokers.topics if topic.state == "missing"]
    if missing:
        yield f"topics that do not exist, with KAFKA_CREATE_TOPICS=false: {names(missing)}; `setup-topics` creates them"
    if brokers.unwritable:
        yield f"no right to write to: {names(brokers.unwritable)}; grant WRITE"
    if brokers.unreadable:
        yield f"no right to read {names(brokers.unreadable)}, from where a restart goes on; grant READ"
    too_many = [
        topic for topic in brokers.topics if topic.state == "to be created" and topic.replication > brokers.count
    ]
    if too_many:
        yield (
            f"KAFKA_TOPIC_REPLICATION: {too_many[0].replication} replicas of a topic do not fit on {brokers.count}"
            f" broker(s), so these cannot be created: {_topics(too_many)}"
        )
    if settings.kafka_acks != "all":
        return
    stuck = [topic for topic in brokers.topics if 0 < topic.replication < (topic.in_sync_min or 0)]
    if stuck:
        yield (
            f"min.insync.replicas is more than there are replicas, so no record would be taken: {_topics(stuck)}; lower"
            " the one or raise the other"
        )


def _topic_warnings(settings: Settings, brokers: Brokers) -> Iterator[str]:
    for topic in brokers.topics:
        for drift in topic.drift:
            yield (
                f"topic {topic.name}: {drift.what} is {drift.actual}, not {drift.wanted}; `run` leaves it so,"
                f" {drift.note or '`setup-topics --apply` mends it'}"
            )
    small = [topic for topic in brokers.topics if 0 < (topic.message_bytes_max or 0) < MESSAGE_BYTES_MIN]
    if small:
        yield (f"max.message.bytes below {MESSAGE_BYTES_MIN}: {_topics(small)}; larger events would go to dead letters")
    brittle = [topic for topic in brokers.topics if 1 < topic.replication == topic.in_sync_min]
    if brittle and settings.kafka_acks == "all":
        yield f"min.insync.replicas is all of them, so one broker away stops the writing: {_topics(brittle)}"
    alone = [topic for topic in brokers.topics if topic.replication == 1 and brokers.reachable]
    if alone and brokers.count > 1:
        yield f"one replica alone, so one broker lost loses records: {_topics(alone)}"


def _spool_warnings(settings: Settings) -> Iterator[str]:
    room = None if settings.spool_dir is None else disk_room(settings.spool_dir)
    if room is not None and room < settings.spool_max_bytes:
        yield (
            f"SPOOL_MAX_BYTES={size_text(settings.spool_max_bytes)}: the disk of {settings.spool_dir} has {room} bytes"
            " left, what the spool holds already not counted; make room, or set what there is"
        )


def _topics(topics: Sequence[Topic]) -> str:
    return names([topic.name for topic in topics])


def _sentence(text: str, hint: str) -> str:
    return f"{text}; {hint}" if hint else text
