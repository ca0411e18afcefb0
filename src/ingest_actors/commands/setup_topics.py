"""`setup-topics`: creates what is missing, tells what differs, mends it when asked."""

from __future__ import annotations

import json
from functools import partial

import trio

from ingest_actors.commands.output import say, say_table, tell
from ingest_actors.commands.signals import run_until_stopped
from ingest_actors.errors import SettingsError
from ingest_actors.kafka.topics import DesiredTopic, Drift, apply, desired_topics, ensure_topics, read_drift
from ingest_actors.settings import Settings
from ingest_actors.settings.addresses import EMBEDDED

DAY_MS = 86_400_000

OLD_EVENTS = (
    "Kafka deletes by the exchange's time stamps, so an old recording vanishes minutes after it is written. Before you"
    " write one: kafka-configs --bootstrap-server {servers} --alter --entity-type topics --entity-name <topic>"
    " --add-config retention.ms=-1"
)
"""Told when topics are made: that is when somebody might write a recording next."""


def setup_topics(settings: Settings, *, mend: bool, allow_repartition: bool, as_json: bool) -> None:
    """Do it and say it.

    Args:
        settings: which topics, and where.
        mend: mend what differs.
        allow_repartition: add partitions to keyed topics too.
        as_json: one JSON object instead of a table.

    Raises:
        SettingsError: the brokers are the embedded ones, whose topics end with their process.
        SinkUnreachable: no answer, no entry, or no right.
    """
    if settings.kafka_bootstrap_servers == EMBEDDED:
        problem = (
            "KAFKA_BOOTSTRAP_SERVERS='embedded': its topics live and die with the process that writes them; accepted by"
            " setup-topics: the brokers of a real Kafka (`dev-broker` starts one)"
        )
        raise SettingsError([problem])
    trio.run(
        run_until_stopped, partial(_setup, settings, mend=mend, allow_repartition=allow_repartition, as_json=as_json)
    )


async def _setup(settings: Settings, *, mend: bool, allow_repartition: bool, as_json: bool) -> None:
    created = set(await ensure_topics(settings))
    mended: list[Drift] = []
    if mend:
        mended, left = await apply(settings, allow_repartition=allow_repartition)
    else:
        left = await read_drift(settings)
    desired = desired_topics(settings)
    (_say_json if as_json else _say_table)(desired, created, mended, left)
    if created:
        tell(f"note: {OLD_EVENTS.format(servers=settings.kafka_bootstrap_servers)}")
    if not mend and any(drift.mendable for drift in left):
        tell("note: `setup-topics --apply` mends what differs")


def _say_json(desired: list[DesiredTopic], created: set[str], mended: list[Drift], left: list[Drift]) -> None:
    topics = [
        {
            "topic": topic.name,
            "state": _state(topic, created, mended, left),
            "partitions": topic.partitions,
            "config": dict(topic.config),
            "mended": [drift._asdict() for drift in mended if drift.topic == topic.name],
            "drift": [drift._asdict() for drift in left if drift.topic == topic.name],
        }
        for topic in desired
    ]
    say(json.dumps({"topics": topics}))


def _say_table(desired: list[DesiredTopic], created: set[str], mended: list[Drift], left: list[Drift]) -> None:
    rows = []
    for topic in desired:
        state = _state(topic, created, mended, left)
        differences = [
            (drift, "mended" if drift in mended else drift.note or "to be mended with --apply")
            for drift in (*mended, *left)
            if drift.topic == topic.name
        ]
        for drift, remark in differences:
            rows.append((topic.name, state, drift.what, drift.wanted, drift.actual, remark))
        if not differences:
            rows.append((topic.name, state, "", "", "", _kept(topic)))
    say_table(("topic", "state", "what differs", "wanted", "actual", "remark"), rows)


def _state(topic: DesiredTopic, created: set[str], mended: list[Drift], left: list[Drift]) -> str:
    if topic.name in created:
        return "created"
    if any(drift.topic == topic.name for drift in left):
        return "drift"
    return "mended" if any(drift.topic == topic.name for drift in mended) else "ok"


def _kept(topic: DesiredTopic) -> str:
    retention_ms = topic.config.get("retention.ms")
    return f"kept for {int(retention_ms) // DAY_MS} days" if retention_ms else "compacted"
