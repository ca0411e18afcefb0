"""A plan for people: a few small tables, then what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ingest_actors.commands.output import say, say_table
from ingest_actors.commands.plan_brokers import Brokers, Topic
from ingest_actors.commands.plan_effects import Effect, effects
from ingest_actors.commands.plan_exchange import Endpoint, Exchange
from ingest_actors.commands.plan_figures import Carried, Figures
from ingest_actors.commands.plan_findings import Findings
from ingest_actors.settings import Settings
from ingest_actors.settings.values import size_text

DAY_MS = 86_400_000

SHOWN_CHARACTERS_MAX = 40
"""Of a setting's value; hundreds of symbols would drown the rest."""


def say_plan(settings: Settings, figures: Figures, exchange: Exchange, brokers: Brokers, findings: Findings) -> None:
    """All of it, to stdout."""
    say_table(("what", "amount", "of which"), _amounts(settings, figures, exchange))
    if exchange.rest:
        say_table(("exchange", "answers", "cause", "proxy"), _endpoints(exchange))
    say_table(
        ("topic", "state", "partitions", "replication", "in sync", "kept", "largest record"), _topics(brokers.topics)
    )
    say_table(("setting", "what it brings about"), [_effect(effect) for effect in effects(settings, figures, brokers)])
    for text in findings.problems:
        say(f"problem: {text}")
    for text in findings.unasked:
        say(f"not asked: {text}")
    for text in findings.warnings:
        say(f"warning: {text}")
    say(_verdict(findings, asked=bool(exchange.rest)))


def _amounts(settings: Settings, figures: Figures, exchange: Exchange) -> Sequence[Sequence[str]]:
    symbols = exchange.symbols
    rows = [
        ("symbols", "?" if symbols.found is None else f"{symbols.found:,}", _checked(exchange)),
        ("streams", f"{figures.streams:,}", _by_type(settings, figures)),
        *_of_connections(figures),
        ("REST weight", f"{figures.weight_at_start:,} at start", _weight(settings, figures, exchange)),
        *_books(settings, figures),
        ("memory", size_text(settings.buffer_max_bytes), _memory(figures.memory)),
    ]
    if exchange.clock_offset_ms is not None:
        remark = f"against this machine's; asked and answered in {exchange.round_trip_ms} ms"
        rows.append(("exchange's clock", f"{exchange.clock_offset_ms:+} ms", remark))
    return rows


def _by_type(settings: Settings, figures: Figures) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in figures.by_type.items())
    return kinds if settings.connections_per_stream == 1 else f"{kinds}; each on two connections"


def _of_connections(figures: Figures) -> Sequence[tuple[str, str, str]]:
    connections = figures.connections
    messages = sum(connection.messages for connection in connections)
    size = sum(connection.size_bytes for connection in connections)
    most = max((connection.messages for connection in connections), default=0)
    longest_s = max((connection.subscribe_s for connection in connections), default=0.0)
    pace = f"{figures.attempts_max} in {_seconds(figures.attempts_period_s)} are made at most; the exchange allows 300"
    return [
        ("connections", f"{len(connections):,}", _sizes(connections)),
        ("to open them", _seconds(figures.open_s), f"{len(connections):,} attempts; {pace}"),
        (
            "subscription messages",
            f"{messages:,}",
            f"{size:,} bytes; at most {most} on one connection, which takes {_seconds(longest_s)}",
        ),
        ("all subscribed after", _seconds(figures.ready_s), "beside the network's own time"),
    ]


def _checked(exchange: Exchange) -> str:
    if not exchange.listed:
        return "not checked against the exchange"
    return f"{len(exchange.symbols.unlisted)} not listed, {len(exchange.symbols.not_trading)} not trading"


def _weight(settings: Settings, figures: Figures, exchange: Exchange) -> str:
    used = f"; used of this minute: {exchange.used_weight}" if exchange.used_weight is not None else ""
    set_to = f"{settings.rest_weight_per_minute:,}"
    return f"at most {figures.weight_a_minute:,} a minute afterwards; the exchange gives 6,000, set are {set_to}{used}"


def _books(settings: Settings, figures: Figures) -> Sequence[tuple[str, str, str]]:
    snapshots = figures.snapshots
    if not snapshots.books:
        return []
    every = f"again every {_seconds(settings.depth_snapshot_interval_seconds)}"
    within = f"within {_seconds(snapshots.take_s)}" if snapshots.take_s else "at once"
    took = f"weight {snapshots.weight} each; all are written {within}, {every}"
    return [("book snapshots", f"{snapshots.books:,}", took)]


def _memory(memory: Mapping[str, int]) -> str:
    shares = {
        "Kafka's queue": "kafka_queue",
        "batches": "batches",
        "batches on their way from the spool": "spool",
        "events": "events",
        "frames": "frames",
        "reading ahead, each connection": "read_ahead_of_each_connection",
    }
    return ", ".join(f"{what} {_size(memory[name])}" for what, name in shares.items() if name in memory)


def _size(count: int) -> str:
    """Shares of odd sizes to the nearest KiB."""
    return size_text(count if count % 1024 == 0 else round(count / 1024) * 1024)


def _sizes(connections: Sequence[Carried]) -> str:
    counts = Counter(connection.streams for connection in connections)
    return ", ".join(f"{count} with {size:,} streams" for size, count in sorted(counts.items(), reverse=True))


def _endpoints(exchange: Exchange) -> Sequence[Sequence[str]]:
    return [_endpoint(endpoint) for endpoint in (*exchange.rest, *exchange.websockets)]


def _endpoint(endpoint: Endpoint) -> Sequence[str]:
    return (endpoint.url, "yes" if endpoint.reachable else "no", endpoint.cause, endpoint.proxy)


def _topics(topics: Sequence[Topic]) -> Sequence[Sequence[str]]:
    return [
        (
            topic.name,
            topic.state,
            str(topic.partitions),
            "the brokers' default" if topic.replication == -1 else str(topic.replication),
            "" if topic.in_sync_min is None else f"{topic.in_sync_min} needed",
            _kept(topic.retention_ms),
            "" if topic.message_bytes_max is None else f"{topic.message_bytes_max:,} bytes",
        )
        for topic in topics
    ]


def _effect(effect: Effect) -> Sequence[str]:
    given = [f"{name}={_cut(value)}" if value else name for name, value in effect.settings.items()]
    return ("\n".join(given), effect.effect)


def _cut(value: str) -> str:
    return value if len(value) <= SHOWN_CHARACTERS_MAX else f"{value[:SHOWN_CHARACTERS_MAX]}..."


def _kept(retention_ms: int | None) -> str:
    if retention_ms is None:
        return "compacted"
    return "for ever" if retention_ms < 0 else f"{retention_ms / DAY_MS:g} days"


def _verdict(findings: Findings, *, asked: bool) -> str:
    if findings.problems:
        return "This cannot run as it should: see the problems."
    if findings.unasked:
        return "Not everybody could be asked whether this can run."
    return "This can run." if asked else "This can run, as far as can be told without asking anybody."


def _seconds(value: float) -> str:
    return f"{value:g} s"
