"""When a fault is due: at a time, at a count, or at random. Sans-IO; all times are seconds of trio's clock."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ingest_actors.simulator.faults import Fault

Note = Callable[["Rule", int, float], None]
"""Takes note that a fault has happened: which, to which connection (0: to none), when."""


def matches(name: str, glob: str) -> bool:
    """Whether a stream or an endpoint is meant by a glob."""
    return glob == "*" or fnmatchcase(name, glob)


@dataclass(slots=True)
class Rule:
    """One fault of a running exchange, and how often it has struck anywhere.

    Attributes:
        fault: what happens.
        key: of its random numbers, so that the same script does the same again.
        origin_s: what `at_s` and `until_s` count from.
    """

    fault: Fault
    key: str
    origin_s: float
    struck: int = field(default=0)

    def claim(self, now_s: float) -> bool:
        """Count one more time, if there may be one."""
        fault = self.fault
        if fault.until_s is not None and now_s > self.origin_s + fault.until_s:
            return False
        if fault.in_all is not None and self.struck >= fault.in_all:
            return False
        self.struck += 1
        return True

    def random(self, number: int) -> random.Random:
        """Random numbers of their own for this fault and connection `number`."""
        return random.Random(f"{self.key}/{number}")  # noqa: S311 - not for secrets


class Trigger:
    """When one fault strikes one connection (or, as number 0, the exchange).

    Args:
        rule: the fault.
        number: of the connection.
        opened_s: when the connection opened; nothing that was due before strikes it.
        times: how often; None: as the fault says, and once when it says nothing and is not random.

    Attributes:
        next_s: when it is due by the clock; infinite when the clock has no say, or when it is over.
    """

    __slots__ = ("_counted", "_left", "_period", "_random", "fault", "next_s", "number", "rule")

    def __init__(self, rule: Rule, number: int, opened_s: float, *, times: int | None = None) -> None:
        fault = self.fault = rule.fault
        self.rule = rule
        self.number = number
        self.next_s = math.inf
        self._random = rule.random(number)
        is_random = fault.every_s is not None or fault.probability is not None
        self._left: float = times or fault.times or (math.inf if is_random else 1)
        self._counted = 0
        self._period = 0.0
        self._schedule(opened_s)

    @property
    def over(self) -> bool:
        """Whether it will never strike again."""
        return self._left <= 0

    @property
    def looks_at_frames(self) -> bool:
        """Whether it has to be told of each frame."""
        return bool(self.fault.after_frames or self.fault.after_events or self.fault.probability)

    def due(self, now_s: float) -> bool:
        """Whether it strikes now, by the clock. Strikes once for each call."""
        if now_s < self.next_s:
            return False
        struck_s, self.next_s = self.next_s, math.inf
        if not self.strike(now_s):
            return False
        if self.fault.every_s is not None:
            self.next_s = struck_s + self._random.expovariate(1 / self.fault.every_s)
        elif self._period:
            self.next_s = struck_s + self._period
        return True

    def before(self, stream: str) -> bool:
        """Whether it strikes, by chance, at the frame that comes next."""
        probability = self.fault.probability
        return probability is not None and matches(stream, self.fault.streams) and self._random.random() < probability

    def after(self, stream: str) -> bool:
        """Count a frame; whether it strikes now that this has been sent."""
        count = self.fault.after_frames or self.fault.after_events
        if not count or (self.fault.after_events and not matches(stream, self.fault.streams)):
            return False
        self._counted += 1
        return self._counted % count == 0

    def strike(self, now_s: float) -> bool:
        """Count one more time, if there may be one: after `before` or `after` said so."""
        if self._left <= 0 or not self.rule.claim(now_s):
            self._left = 0
            return False
        self._left -= 1
        return True

    def _schedule(self, opened_s: float) -> None:
        fault = self.fault
        if fault.every_s is not None:
            self.next_s = opened_s + self._random.expovariate(1 / fault.every_s)
        elif fault.at_s is not None:
            self._schedule_at(self.rule.origin_s, fault.at_s, opened_s)
        elif fault.after_s is not None:
            self._schedule_at(opened_s, fault.after_s, opened_s)
        elif not self.looks_at_frames:
            self.next_s = opened_s

    def _schedule_at(self, origin_s: float, period_s: float, opened_s: float) -> None:
        """At `period_s`, twice `period_s`, ... after the origin; times before `opened_s` have passed this one by."""
        self._period = period_s
        passed = max(0, math.ceil((opened_s - origin_s) / period_s) - 1) if period_s else 0
        if not period_s and opened_s > origin_s:
            passed = 1
        self._left -= passed
        if self._left > 0:
            self.next_s = origin_s + period_s * (passed + 1)


class Gate:
    """Whether one fault strikes a request: a control message, a handshake, a request of REST.

    Without a trigger it strikes every request; by the clock or after a count, the next one (or `times`), or all for
    `for_s`; by chance, each.

    Args:
        rule: the fault.
        number: of the connection, for control messages; 0 otherwise.
        opened_s: since when it counts.
    """

    def __init__(self, rule: Rule, number: int, opened_s: float) -> None:
        fault = self.fault = rule.fault
        self.rule = rule
        self._random = rule.random(number)
        self._left: float = fault.times or math.inf
        self._open_s = -math.inf
        self._credit: float = 0
        self._clock = Trigger(moments_of(rule), number, opened_s, times=None if fault.every_s else 1)
        if fault.trigger not in ("at_s", "after_s", "every_s"):
            self._clock.next_s = math.inf
        if not fault.trigger:
            self._open_s = opened_s + (fault.for_s or math.inf)

    def arm(self, now_s: float) -> None:
        """The moment has come: strike what comes next."""
        if self.fault.for_s is not None:
            self._open_s = now_s + self.fault.for_s
        else:
            self._credit = 1 if self.fault.every_s else (self.fault.times or 1)

    def strikes(self, now_s: float) -> bool:
        """Whether this request is struck."""
        while self._clock.next_s <= now_s:
            due_s = self._clock.next_s
            if self._clock.due(due_s):
                self.arm(due_s)
        probability = self.fault.probability
        if probability is not None:
            hit = self._random.random() < probability
        else:
            hit = self._credit > 0 or now_s < self._open_s
        if not hit or self._left <= 0 or not self.rule.claim(now_s):
            return False
        self._left -= 1
        self._credit = max(0, self._credit - 1)
        return True


def moments_of(rule: Rule) -> Rule:
    """The moments of a rule alone: what limits its strikes does not limit these."""
    fault = rule.fault
    names = ("at_s", "after_s", "every_s", "after_frames", "after_events", "streams")
    moments = Fault(fault.action, **{name: getattr(fault, name) for name in names})
    return Rule(moments, f"{rule.key}/moments", rule.origin_s)
