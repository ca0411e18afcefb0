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
    events: frozenset[str]
    """Which of the events on demand it can do, by the names of their methods; the others raise `SettingsError`.

    ``rest_lag`` is one more: whether the database can lag, by `RestData.extra_lag_us`.
    """

    def attach(self, session: Session, stream: str) -> None:
        """Send `stream` to `session` from now on; a stream that does not exist stays silent."""

    def detach(self, session: Session, stream: str) -> None:
        """Stop that; harmless when it was not attached."""

    def now_ms(self) -> int:
        """The exchange's clock, ms since the epoch."""

    def reset_ids(self, symbol: str | None = None) -> None:
        """Event on demand: ids of one symbol, or of all, begin again, lower."""

    def set_status(self, symbol: str, status: str) -> None:
        """Event on demand: a symbol's status changes; it is silent while it is not ``TRADING``."""

    def list_symbol(self, name: str) -> None:
        """Event on demand: one more symbol is there."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish until cancelled."""
