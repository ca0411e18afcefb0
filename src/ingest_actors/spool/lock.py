"""One process a spool: a lock on a file beside it, which the system lets go of however the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class SpoolLock:
    """The lock of one spool.

    Args:
        path: of the file that is locked; made if it is not there, and left there.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self) -> bool:
        """Take it, unless somebody else has it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"pid {os.getpid()}".encode(), 0)
        return True

    def holder(self) -> str:
        """What is known of who has it."""
        return os.pread(self._descriptor, 100, 0).decode("utf-8", "replace").strip() or "unknown"

    def let_go(self) -> None:
        """Let go of it; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
