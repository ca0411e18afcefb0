"""The development broker's data directory: whose it is, and what kind of cluster lives there."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from ingest_actors.errors import DevBrokerFailed

_STEP = "use the data directory"
_VERSION = 1


class DataDirectory:
    """A directory that one cluster at a time may use.

    Attributes:
        path: where it is.
        temporary: whether it goes when it is released.
    """

    def __init__(self, path: Path | None) -> None:
        """Args: path, or None for a temporary directory. Nothing is made before `claim`."""
        self.temporary = path is None
        self.path = (path or Path(tempfile.gettempdir()) / f"ingest-actors-kafka-{uuid4().hex}").absolute()
        self._lock: TextIO | None = None

    def claim(self, *, nodes: int, secured: bool) -> str:
        """Take the directory for a cluster of this kind.

        Returns:
            The cluster's id: the one that is noted in the directory, else a new one, noted there.

        Raises:
            DevBrokerFailed: it is in use, holds another kind of cluster, or cannot be read or written.
        """
        shape = {"version": _VERSION, "nodes": nodes, "secured": secured}
        note = self.path / "cluster.json"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            if not note.exists():
                # Hexadecimal: an id that begins with a dash is taken for an option by Kafka's tools.
                note.write_text(json.dumps({**shape, "cluster_id": uuid4().hex[:22]}), encoding="utf-8")
            found = json.loads(note.read_text(encoding="utf-8"))
            cluster_id = str(found.pop("cluster_id"))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DevBrokerFailed(_STEP, f"{self.path}: {error!r}") from error
        if found != shape:
            raise DevBrokerFailed(
                _STEP,
                f"{self.path} holds another kind of cluster ({found}, wanted {shape})",
                hint="name another directory",
            )
        return cluster_id

    def release(self) -> None:
        """Let others have the directory, or remove it; idempotent."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        """Kafka has a lock of its own, but takes it only after it has begun to read."""
        self._lock = (self.path / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DevBrokerFailed(
                _STEP, f"{self.path} is in use by another development broker", hint="name another directory"
            ) from error
