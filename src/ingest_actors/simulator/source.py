"""What stands behind the servers: a market or a recording."""

from __future__ import annotations

from typing import Protocol

import trio

from ingest_actors.simulator.rest_data import RestData
from ingest_actors.simulator.session import Session


class Source(Protocol):
    """Publishes streams to sessions, and answers REST."""

    lossless: bool
    """Whether the source waits for slow readers instead of having them cut off."""
    rest: RestData
    """What REST is answered from."""

    def attach(self, session: Session, stream: str) -> None:
        """Send `stream` to `session` from now on; a stream that does not exist stays silent."""

    def detach(self, session: Session, stream: str) -> None:
        """Stop that; harmless when it was not attached."""

    def now_ms(self) -> int:
        """The exchange's clock, ms since the epoch."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish until cancelled."""
