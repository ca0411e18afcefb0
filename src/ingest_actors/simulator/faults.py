"""What goes wrong on purpose.

Everything that a connection sends passes through a `ConnectionFaults`, which turns the frames that are due into steps:
bytes to send, and what to do to the connection. Without a script the frames are joined and sent. A new kind of fault is
a new action, or another subclass of `FaultScript` whose `open_connection` hands out a `ConnectionFaults` of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class CutMidFrame:
    """Send the first half of a frame, then end the connection without a close frame."""


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection between two frames, without a close frame: clients see 1006."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Neither send nor read any more, and keep the connection open: what a dead router looks like."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Send no more events, but go on answering pings and control messages."""


@dataclass(frozen=True, slots=True)
class CloseWith:
    """Send a close frame."""

    code: int = 1001
    reason: str = ""


Action: TypeAlias = CutMidFrame | Cut | HalfOpen | Mute | CloseWith
Step: TypeAlias = bytes | Action


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        action: what happens.
        after_frames: how many data frames a connection has sent before it happens.
        connections: to which connections, counted from 1 in the order of their handshakes; empty = to every one.
    """

    action: Action
    after_frames: int = 0
    connections: frozenset[int] = frozenset()


class ConnectionFaults:
    """The faults of one connection. All that it sends passes through `steps`."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._pending = sorted(faults, key=lambda fault: fault.after_frames)
        self._sent = 0
        self._muted = False

    def steps(self, control: Sequence[bytes], frames: Sequence[bytes]) -> Iterator[Step]:
        """What to do with what is due.

        Args:
            control: pings, pongs, closes and replies to control messages, as they go over the wire.
            frames: data frames, each one whole WebSocket message, or many joined (see `whole_frames`).
        """
        if not self._pending and not self._muted:
            yield b"".join((*control, *frames))
            return
        yield b"".join(control)
        rest = list(frames)
        while self._pending:
            fault = self._pending[0]
            missing = fault.after_frames - self._sent
            if missing > len(rest) or (missing == len(rest) and isinstance(fault.action, CutMidFrame)):
                break
            self._pending.pop(0)
            yield self._send(rest[:missing])
            rest = rest[missing:]
            if isinstance(fault.action, CutMidFrame):
                yield rest[0][: max(1, len(rest[0]) // 2)]
            self._muted = self._muted or isinstance(fault.action, Mute)
            yield fault.action
        yield self._send(rest)

    @property
    def whole_frames(self) -> bool:
        """Whether `steps` must be given frames one by one, because they are counted."""
        return bool(self._pending)

    def _send(self, frames: list[bytes]) -> bytes:
        self._sent += len(frames)
        return b"" if self._muted else b"".join(frames)


class FaultScript:
    """Which faults befall which connection. The default: none.

    Args:
        faults: what goes wrong, in any order.
    """

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self.faults = tuple(faults)

    def refuse_handshake(self, number: int) -> int | None:  # noqa: ARG002 - for subclasses
        """The HTTP status that connection `number` is refused with; None lets it in."""
        return None

    def open_connection(self, number: int) -> ConnectionFaults:
        """The faults of connection `number`, counted from 1."""
        return ConnectionFaults([f for f in self.faults if not f.connections or number in f.connections])
