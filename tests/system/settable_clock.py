"""A clock of a process's own, which a test sets while the process runs.

Python asks the system for the time in C; so each process that is to have another clock gets a ``sitecustomize``, which
puts something else in the place of `time.time` and `time.time_ns` before anything else is imported.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_CUSTOMIZE = """
import mmap, os, struct, time

with open(os.environ["CLOCK_OFFSET_FILE"], "r+b") as file:
    offset = mmap.mmap(file.fileno(), 8)
real_ns, unpack = time.time_ns, struct.Struct("<q").unpack_from
time.time_ns = lambda: real_ns() + unpack(offset)[0]
time.time = lambda: time.time_ns() / 1e9
"""


class SettableClock:
    """An offset to the system's clock, zero at first.

    Args:
        directory: where it lives; nothing else may be in it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._file = directory / "offset"
        self._file.write_bytes(struct.pack("<q", 0))
        (directory / "sitecustomize.py").write_text(_CUSTOMIZE)
        path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
        self.environ = {"PYTHONPATH": path, "CLOCK_OFFSET_FILE": str(self._file)}

    def step(self, by_s: float) -> None:
        """Set it so much ahead, or back, of the system's."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("<q", int(by_s * 1e9)))
