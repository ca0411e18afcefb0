"""What goes wrong with one connection: sans-IO. Everything that it sends passes through a `ConnectionFaults`.

That turns the frames that are due into steps: bytes to send, and things to do to the connection. While nothing goes
wrong, that is one comparison and one join.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TypeAlias, TypeVar

from ingest_actors.simulator.fault_actions import (
    Action,
    CloseWith,
    Cut,
    Garbage,
    HalfOpen,
    LoseSubscriptions,
    Mute,
    ServerShutdown,
)
from ingest_actors.simulator.fault_frames import garbage
from ingest_actors.simulator.fault_surgery import Armed
from ingest_actors.simulator.fault_triggers import Gate, Note, Rule, Trigger, matches, moments_of
from ingest_actors.simulator.faults import Fault

SHUTDOWN_LEAD_MAX_S = 600.0
"""The longest that `serverShutdown` comes before the end."""

ToDo: TypeAlias = Cut | HalfOpen | CloseWith | LoseSubscriptions | ServerShutdown


Step: TypeAlias = bytes | tuple[ToDo, Fault]
"""Bytes to send, or something to do to the connection, and the fault that asks for it."""

A = TypeVar("A", bound=Action)


def _ignore(_rule: Rule, _number: int, _now_s: float) -> None:
    """Take no note."""


class ConnectionFaults:
    """The faults of one connection. Times are seconds of trio's clock.

    Args:
        rules: what may go wrong with it.
        number: of the connection.
        opened_s: when it opened.
        note: is told of everything that happens.

    Attributes:
        next_s: when something is due by the clock; infinite when nothing is.
    """

    def __init__(
        self, rules: Sequence[Rule] = (), *, number: int = 1, opened_s: float = 0.0, note: Note = _ignore
    ) -> None:
        self.next_s = math.inf
        self._number = number
        self._note = note
        self._triggers: list[Trigger] = []
        self._gates: list[Gate] = []
        self._armed_by: dict[str, Gate] = {}
        self._armed: list[Armed] = []
        self._lasting: list[tuple[Fault, float]] = []
        self._looks_at_frames = False
        for rule in rules:
            self.add(rule, opened_s)

    @property
    def looks_at_frames(self) -> bool:
        """Whether `steps` must be given frames one by one, and their streams, because they are counted or changed."""
        return self._looks_at_frames

    def add(self, rule: Rule, now_s: float) -> None:
        """One more fault, as of now."""
        if rule.fault.action.PLACE == "requests":
            gate = Gate(rule, self._number, now_s)
            self._gates.append(gate)
            if rule.fault.after_frames is None and rule.fault.after_events is None:
                return
            rule = moments_of(rule)
            self._armed_by[rule.key] = gate
        self._triggers.append(Trigger(rule, self._number, now_s))
        self._look_ahead(now_s)

    def steps(
        self, control: Sequence[bytes], frames: Sequence[bytes], streams: Sequence[str] = (), now_s: float = 0.0
    ) -> Iterator[Step]:
        """What to do with what is due. To be called, with nothing, at `next_s` too.

        Args:
            control: pings, pongs, closes and replies to control messages, as they go over the wire.
            frames: data frames, each one whole WebSocket message, or many joined (see `looks_at_frames`).
            streams: of the frames; empty when unknown.
            now_s: what time it is.
        """
        if not self._looks_at_frames and now_s < self.next_s:
            yield b"".join((*control, *frames))
            return
        yield b"".join(control)
        for armed in self._armed:
            yield armed.overdue(now_s)
        for trigger in list(self._triggers):
            while trigger.due(now_s):
                yield from self._begin(trigger, now_s)
        yield from self._pass(frames, streams, now_s)
        self._look_ahead(now_s)

    def request_fault(self, now_s: float) -> Action | None:
        """What becomes of a control message that has just come."""
        for gate in self._gates:
            if gate.strikes(now_s):
                self._note(gate.rule, self._number, now_s)
                return gate.fault.action
        return None

    def lasting(self, kind: type[A], now_s: float) -> A | None:
        """The action of this kind that holds now, if any does."""
        if self._lasting:
            for fault, until_s in self._lasting:
                if isinstance(fault.action, kind) and now_s < until_s:
                    return fault.action
        return None

    def _pass(self, frames: Sequence[bytes], streams: Sequence[str], now_s: float) -> Iterator[Step]:
        """Frames one by one, between the triggers."""
        ready: list[bytes] = []
        for frame, stream in zip(frames, streams or repeat(""), strict=False):
            for trigger in self._struck(stream, now_s, before=True):
                yield b"".join(ready)
                ready.clear()
                yield from self._begin(trigger, now_s)
            for piece in self._through(frame, stream, now_s):
                if isinstance(piece, bytes):
                    ready.append(piece)
                else:
                    yield b"".join(ready)
                    ready.clear()
                    yield piece
            for trigger in self._struck(stream, now_s, before=False):
                yield b"".join(ready)
                ready.clear()
                yield from self._begin(trigger, now_s)
        yield b"".join(ready)

    def _struck(self, stream: str, now_s: float, *, before: bool) -> list[Trigger]:
        told = (trigger for trigger in self._triggers if trigger.looks_at_frames and not trigger.over)
        return [t for t in told if (t.before(stream) if before else t.after(stream)) and t.strike(now_s)]

    def _begin(self, trigger: Trigger, now_s: float) -> Iterator[Step]:
        """A trigger has struck."""
        fault, action = trigger.fault, trigger.fault.action
        if action.PLACE == "frames":
            self._armed.append(Armed(trigger.rule))
            self._armed.sort(key=lambda armed: armed.rank)
            return
        if action.PLACE == "requests":
            self._armed_by[trigger.rule.key].arm(now_s)
            return
        self._note(trigger.rule, self._number, now_s)
        if action.PLACE == "lasting":
            self._lasting.append((fault, now_s + (fault.for_s or math.inf)))
        elif isinstance(action, Garbage):
            yield garbage(action.form)
        elif isinstance(action, ServerShutdown) and action.lead_s is None:
            lead_s = trigger.rule.random(self._number).uniform(0, SHUTDOWN_LEAD_MAX_S)
            yield ServerShutdown(lead_s), fault
        elif isinstance(action, Cut | HalfOpen | CloseWith | LoseSubscriptions | ServerShutdown):
            yield action, fault

    def _through(self, frame: bytes, stream: str, now_s: float) -> list[Step]:
        """One frame past everything that wants to change it."""
        for fault, until_s in self._lasting:
            if isinstance(fault.action, Mute) and now_s < until_s and matches(stream, fault.streams):
                return []
        if not self._armed:
            return [frame]
        pieces: list[Step] = [frame]
        for armed in self._armed:
            if pieces and matches(stream, armed.fault.streams):
                self._note(armed.rule, self._number, now_s)
                pieces = armed.change(pieces, now_s)
        self._armed = [armed for armed in self._armed if not armed.over]
        return pieces

    def _look_ahead(self, now_s: float) -> None:
        """Forget what is over; work out what comes next."""
        self._triggers = [trigger for trigger in self._triggers if not trigger.over]
        self._lasting = [(fault, until_s) for fault, until_s in self._lasting if now_s < until_s]
        dues = [trigger.next_s for trigger in self._triggers] + [armed.release_s for armed in self._armed]
        self.next_s = min(dues, default=math.inf)
        self._looks_at_frames = (
            bool(self._armed)
            or any(trigger.looks_at_frames for trigger in self._triggers)
            or any(isinstance(fault.action, Mute) for fault, _ in self._lasting)
        )
