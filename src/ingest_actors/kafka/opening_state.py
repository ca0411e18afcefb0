"""The resume state of a sink without transactions: read it, and get ready to write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ingest_actors.kafka.config import client_options
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.kafka.handle import ProducerHandle
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.owner import new_owner
from ingest_actors.kafka.rival import RivalWatch
from ingest_actors.kafka.state_topic import read_state
from ingest_actors.kafka.state_writer import StateWriter
from ingest_actors.protocols import Progress
from ingest_actors.settings import Settings

QUEUE_KBYTES = 16 * 1024
"""Of the state's own producer: one change of many thousands of series. What does not fit waits for the rest."""

STATE_TIMEOUT_MS = 30_000
"""A state that was not written in so long is given up; there will be a newer one."""


class KeptState(NamedTuple):
    """The state of one instance, read and ready to be written."""

    writer: StateWriter
    away_s: float | None
    """How long nobody wrote, seconds; None: nobody ever did."""


async def open_state(
    settings: Settings,
    *,
    make_options: Callable[[Limits], dict[str, Any]],
    limits: Limits,
    progress: Progress[Any],
    credentials: Credentials,
    timeout_s: float,
    clock_ms: Callable[[], int],
) -> KeptState:
    """Read the state into `progress`, make its writer, and claim it. Raises as `state_topic.read_state`."""
    read = await read_state(settings, progress, timeout_s=timeout_s)
    owner = new_owner(read.seen.owner, clock_ms=clock_ms())

    def make_handle() -> ProducerHandle:
        options = make_options(limits) | {
            "enable.idempotence": False,  # it must be able to give up; of a key the last record holds
            "enable.gapless.guarantee": False,
            "max.in.flight.requests.per.connection": 1,
            "message.timeout.ms": STATE_TIMEOUT_MS,
            "delivery.report.only.error": False,
            "queue.buffering.max.kbytes": QUEUE_KBYTES,
            "queue.buffering.max.messages": 100_000,
        }
        return ProducerHandle(options, lambda _: None, credentials)

    writer = StateWriter(
        make_handle,
        progress=progress,
        owner=owner,
        instance=settings.instance_name,
        topic=settings.kafka_topic_state,
        watch=RivalWatch(
            lambda: dict(client_options(settings)),
            instance=settings.instance_name,
            topic=settings.kafka_topic_state,
            credentials=credentials,
        ),
        clock_ms=clock_ms,
    )
    await writer.claim()
    away_s = None if read.seen.at is None else max(owner.started - read.seen.at, 0) / 1000
    return KeptState(writer, away_s)
