"""Terminals for a tutorial: what it tells a reader to type is typed, and what it shows is waited for.

A tutorial is Markdown. Before a block of commands, `<!-- terminal: NAME -->` says where they are typed (else where the
last ones were); a block of `text` behind it shows lines that must come there, in this order, with `...` for whatever
differs. `<!-- look: NAME -->` looks at a terminal without typing, `<!-- Ctrl-C: NAME -->` is what it says. A terminal
must be done with what was typed before, and well, before it is given more; a block behind which nothing is shown must
be done.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 180.0
"""For one line. Most of it is for installing, on a machine that does other things as well."""
DONE = "done, with exit code"

_PIECE = re.compile(r"^<!-- ([\w-]+)(?:: (\w+))? -->$|^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """Something that a reader does."""

    terminal: str
    typed: str = ""
    pressed: bool = False
    """Ctrl-C."""
    shown: tuple[str, ...] = ()
    set_up: bool = False


def steps(text: str) -> list[Step]:
    """What a tutorial tells its reader to do."""
    found: list[Step] = []
    terminal, set_up = "", False
    for mark, name, kind, block in _PIECE.findall(text):
        if mark == "terminal":
            terminal = name
        elif mark == "set-up":
            set_up = True
        elif mark in ("look", "Ctrl-C"):
            found.append(Step(name, pressed=mark == "Ctrl-C"))
        elif kind == "sh":
            found.append(Step(terminal, block, set_up=set_up))
            set_up = False
        elif kind == "text":
            found[-1] = found[-1]._replace(shown=tuple(block.splitlines()))
        else:
            raise ValueError(f"a tutorial has no {mark or kind!r}")
    return found


class Terminal:
    """One shell. What is typed goes in by a pipe, what is written comes out by another.

    Args:
        name: for people.
        directory: where it begins.
        environment: what it knows.
    """

    def __init__(self, name: str, directory: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.lines: list[str] = []
        self._typed = 0
        self._seen = 0
        self._more = threading.Condition()
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=directory,
            env=environment, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def take(self, step: Step) -> None:
        """Do it, and see what it shows."""
        if step.typed:
            self.wait_done()
            self._seen = len(self.lines)
            self._typed += 1
            self._shell.stdin.write(f"{step.typed}echo {DONE} $?\n")
            self._shell.stdin.flush()
        elif step.pressed:
            self._seen = len(self.lines)
            for process in children(self._shell.pid):
                os.kill(process, signal.SIGINT)
        for line in step.shown:
            self._wait_for(line)
        if step.pressed or not step.shown:
            self.wait_done()

    def wait_done(self) -> None:
        """Until all that was typed is done, with exit code 0."""
        until = time.monotonic() + PATIENCE_S
        with self._more:
            while len(self._done()) < self._typed:
                assert self._more.wait(until - time.monotonic()), self._told("is not done")
            assert self._done() == [f"{DONE} 0"] * self._typed, self._told("ended badly")

    def close(self) -> None:
        """End it, and whatever runs in it, and give that the time to end its own."""
        running = list(children(self._shell.pid))
        self._shell.kill()
        for process in running:
            os.kill(process, signal.SIGTERM)
        self._shell.wait()
        self._reader.join(PATIENCE_S)  # it ends with the last of those who write
        for process in running if self._reader.is_alive() else ():
            os.kill(process, signal.SIGKILL)
        self._shell.stdin.close()
        self._shell.stdout.close()

    def _wait_for(self, shown: str) -> None:
        pattern = re.compile(".*".join(map(re.escape, shown.split("..."))))
        until = time.monotonic() + PATIENCE_S
        with self._more:
            while True:
                for number in range(self._seen, len(self.lines)):
                    if pattern.fullmatch(self.lines[number].rstrip()):
                        self._seen = number + 1
                        return
                assert len(self._done()) < self._typed, self._told(f"does not show {shown!r}")
                assert self._more.wait(until - time.monotonic()), self._told(f"does not show {shown!r}")

    def _done(self) -> list[str]:
        return [line for line in self.lines if line.startswith(DONE)]

    def _told(self, what: str) -> str:
        return "\n".join([f"terminal {self.name} {what}:", *self.lines])

    def _read(self) -> None:
        for line in self._shell.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._more.notify_all()


def children(process: int) -> Iterator[int]:
    """The processes that it has started and that run."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            yield int(stat.parent.name)


def follow(steps: list[Step], directory: Path, environment: dict[str, str]) -> dict[str, list[str]]:
    """Do it all; what each terminal showed."""
    terminals: dict[str, Terminal] = {}
    try:
        for step in steps:
            if step.terminal not in terminals:
                terminals[step.terminal] = Terminal(step.terminal, directory, environment)
            terminals[step.terminal].take(step)
        for terminal in terminals.values():
            terminal.wait_done()
    finally:
        for terminal in terminals.values():
            terminal.close()
    return {name: terminal.lines for name, terminal in terminals.items()}
