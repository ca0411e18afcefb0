"""One replay from start to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ingest_actors.ledger import LedgerEntry
from ingest_actors.nursery import open_nursery
from ingest_actors.protocols import Sink
from ingest_actors.replayer.player import Player
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.status import Status

SHOW_INTERVAL_S = 0.5
"""Between two looks at how far it is."""

SUFFIX = "-replay"
"""Behind `INSTANCE_NAME`: a replay is another writer than the service, which goes on beside it undisturbed."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of it.

    Attributes:
        finished: whether everything was played and nothing is in flight; otherwise it was stopped.
        ledger: the totals.
        unbalanced: event types whose tallies do not balance; empty, or there is a bug.
        records: acknowledged, by topic.
        messages: played.
        answers: of REST, passed over.
        unended: files that end without their end, with the size of the block that was left out.
    """

    finished: bool
    ledger: LedgerEntry
    unbalanced: dict[str, int]
    records: dict[str, int]
    messages: int
    answers: int
    unended: list[tuple[Path, int]] = field(default_factory=list)


async def run_replay(
    settings: Settings,
    player: Player,
    *,
    show: Callable[[Player, Status], None] = lambda _player, _status: None,
    obey_signals: Callable[..., Any] | None = None,
    sink: Sink | None = None,
) -> Replayed:
    """Send recordings through the pipeline.

    Args:
        settings: Kafka and bounds, as of the service; the exchange is not asked for anything.
        player: of the recordings.
        show: called now and then with how far it is, and a last time at the end.
        obey_signals: turns signals into a stop, see `ingest_actors.commands.signals`; None = only cancellation ends it.
        sink: where the events go; None = Kafka, by the settings.

    Raises:
        RecordingError: a recording cannot be read on; what stands before the place is delivered.
        IngestError: it gave up on Kafka, or could not drain in time.

    Cancelled: everything stops at once.
    """
    own = settings.replace(instance_name=settings.instance_name[: 100 - len(SUFFIX)] + SUFFIX, backfill="off")
    service = Service(own, sink=sink, player=player)
    async with open_nursery() as nursery:
        if obey_signals is not None:
            await nursery.start(partial(obey_signals, stop=service.stop, cancel=service.cancel))
        nursery.start_soon(_show_on, show, player, service)
        await service.run()
        nursery.cancel_scope.cancel()
    status = service.status()
    show(player, status)
    drained = service.report is not None and service.report.reason == "stopped" and not service.report.left
    return Replayed(
        finished=player.finished and drained and status.total.in_flight == 0,
        ledger=status.total,
        unbalanced={kind: entry.difference for kind, entry in status.ledger.items() if entry.difference},
        records=dict(status.sink.records),
        messages=player.messages,
        answers=player.answers,
        unended=player.unended,
    )


async def _show_on(show: Callable[[Player, Status], None], player: Player, service: Service) -> None:
    while True:
        show(player, service.status())
        await trio.sleep(SHOW_INTERVAL_S)
