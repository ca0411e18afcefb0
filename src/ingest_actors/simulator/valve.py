"""What can be held up for a while."""

from __future__ import annotations

import trio


class Valve:
    """Lets pass, or holds up, whoever asks before going on."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()

    @property
    def shut(self) -> bool:
        """Whether nobody passes."""
        return not self._opened.is_set()

    def close(self) -> None:
        """Let nobody pass."""
        if not self.shut:
            self._opened = trio.Event()

    def open(self) -> None:
        """Let everybody pass again."""
        self._opened.set()

    async def passed(self) -> None:
        """Until one may pass; at once, and without a checkpoint, when it is open."""
        while self.shut:
            await self._opened.wait()
