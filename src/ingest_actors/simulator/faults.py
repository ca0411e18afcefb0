"""What goes wrong on purpose: faults, and scripts of them.

A fault is an action (see `ingest_actors.simulator.fault_actions` and `fault_refusals`), a trigger, and what it is
limited to. The same in a file: `ingest_actors.simulator.fault_file`. To add a kind of fault, add an action, and carry
it out where its place says: `fault_plan` decides about connections, `fault_run` about everything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ingest_actors.simulator.fault_actions import (
    Action,
    AddFields,
    CloseWith,
    Cut,
    CutMidFrame,
    Drop,
    Duplicate,
    Fragment,
    Garbage,
    HalfOpen,
    IgnoreClose,
    LoseSubscriptions,
    Mute,
    NoPings,
    Reorder,
    ServerShutdown,
    Slow,
    SlowPongs,
    Truncate,
)
from ingest_actors.simulator.fault_refusals import (
    DelayReply,
    DropHandshake,
    ListSymbol,
    NoReply,
    RefuseHandshake,
    ReplyError,
    ResetIds,
    RestCutShort,
    RestError,
    RestHang,
    RestLag,
    RestNotJson,
    SetStatus,
    SilentHandshake,
)
from ingest_actors.simulator.fault_values import (
    GLOB,
    NUMBERS,
    PROBABILITY,
    frozen,
    given,
    option,
    problems_of,
    seconds,
    whole,
)

__all__ = [  # the actions too: scripts need nothing but this module
    "ACTIONS",
    "ON_CONNECTIONS",
    "Action",
    "AddFields",
    "CloseWith",
    "Cut",
    "CutMidFrame",
    "DelayReply",
    "Drop",
    "DropHandshake",
    "Duplicate",
    "Fault",
    "FaultScript",
    "Fragment",
    "Garbage",
    "HalfOpen",
    "IgnoreClose",
    "ListSymbol",
    "LoseSubscriptions",
    "Mute",
    "NoPings",
    "NoReply",
    "RefuseHandshake",
    "Reorder",
    "ReplyError",
    "ResetIds",
    "RestCutShort",
    "RestError",
    "RestHang",
    "RestLag",
    "RestNotJson",
    "ServerShutdown",
    "SetStatus",
    "SilentHandshake",
    "Slow",
    "SlowPongs",
    "Truncate",
    "options_of",
]

ACTIONS: dict[str, type[Action]] = {
    action.DO: action
    for action in (
        Cut, HalfOpen, CloseWith, Garbage, LoseSubscriptions, ServerShutdown,
        CutMidFrame, Truncate, Fragment, Duplicate, Reorder, Drop, AddFields,
        Mute, Slow, NoPings, SlowPongs, IgnoreClose, DelayReply, NoReply, ReplyError,
        RefuseHandshake, SilentHandshake, DropHandshake,
        RestError, RestHang, RestCutShort, RestNotJson, RestLag,
        ResetIds, SetStatus, ListSymbol,
    )
}  # fmt: skip
"""Every action, by its word in a script."""

ON_CONNECTIONS = frozenset(("instant", "frames", "lasting", "requests"))
"""Places of the actions that befall connections which are open."""

_TRIGGERS = ("at_s", "after_s", "after_frames", "after_events", "every_s", "probability")
_TRIGGERS_OF = {
    "handshake": ("at_s", "every_s", "probability"),
    "rest": ("at_s", "every_s", "probability"),
    "market": ("at_s", "every_s"),
}
_LIMITS_OF = {
    "instant": ("connections", "streams"),
    "frames": ("connections", "streams"),
    "lasting": ("connections", "streams", "for_s"),
    "requests": ("connections", "streams", "for_s"),
    "handshake": ("connections", "for_s"),
    "rest": ("endpoints", "for_s"),
    "market": (),
}
"""Which of the limits that not every action has each place has."""
_LIMITS = ("connections", "streams", "endpoints", "for_s")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. At most one trigger; without one, it holds from the start of what it befalls.

    Attributes:
        action: what happens.
        after_frames: trigger: so many data frames after a connection's start.
        connections: only these, counted from 1 as they come; empty = every one. Any iterable; kept as a frozenset.
        at_s: trigger: seconds after the exchange opened; befalls the connections that are open then.
        after_s: trigger: seconds after a connection opened.
        after_events: trigger: so many events of `streams` on a connection.
        every_s: trigger: at random, every so many seconds on average (for connections: each of them).
        probability: trigger: at random, with this probability for each data frame (of `streams`), or each request.
        times: how often on one connection, or how many requests in all; None = once for what happens at a time or
            after a count (which is the interval when there are more), without limit for the rest.
        in_all: how often over all connections; None = no limit.
        for_s: how long it lasts, seconds; None = to the end of the connection, or for one request.
        until_s: never later than this, seconds after the exchange opened.
        streams: only these, by name or glob.
        endpoints: only these REST endpoints, by name (``aggTrades``) or glob.

    Raises:
        ValueError: something is given that is not accepted; every problem is named.
    """

    action: Action
    after_frames: int | None = option(None, whole(0))
    connections: Collection[int] = option(frozenset(), NUMBERS)
    at_s: float | None = option(None, seconds())
    after_s: float | None = option(None, seconds())
    after_events: int | None = option(None, whole(0))
    every_s: float | None = option(None, seconds(above_zero=True))
    probability: float | None = option(None, PROBABILITY)
    times: int | None = option(None, whole(1))
    in_all: int | None = option(None, whole(1))
    for_s: float | None = option(None, seconds(above_zero=True))
    until_s: float | None = option(None, seconds(above_zero=True))
    streams: str = option("*", GLOB)
    endpoints: str = option("*", GLOB)

    def __post_init__(self) -> None:
        if not isinstance(self.action, Action):
            raise ValueError(_no_action(self.action))  # noqa: TRY004 - one kind
        object.__setattr__(self, "connections", frozen(self.connections))
        problems = [*problems_of(self.action), *problems_of(self), *_contradictions(self)]
        if problems:
            raise ValueError("; also ".join(problems))

    def __repr__(self) -> str:
        options = {name: value for name, value in given(self).items() if name != "action"}
        return f"Fault({', '.join([repr(self.action), *(f'{name}={value!r}' for name, value in options.items())])})"

    @property
    def trigger(self) -> str:
        """Name of the trigger; empty without one."""
        return next((name for name in _TRIGGERS if getattr(self, name) is not None), "")

    def befalls(self, number: int) -> bool:
        """Whether connection `number` is one of those that it is limited to."""
        return not self.connections or number in self.connections


def fault_of(thing: Fault | Action) -> Fault:
    """A fault; an action alone is one that happens at once. Raises ValueError for anything else."""
    return thing if isinstance(thing, Fault) else Fault(thing)


def _no_action(value: object) -> str:
    """What is wrong with what should be an action."""
    if isinstance(value, type) and issubclass(value, Action | Fault):
        return f"{value.__name__} is a class: write {value.__name__}({'...' if value is Fault else ''})"
    if isinstance(value, str) and value in ACTIONS:
        return f"action = {value!r}: the word of a script; in Python write {ACTIONS[value].__name__}()"
    return f"action = {value!r}; accepted: an action, such as Cut()"


def _contradictions(fault: Fault) -> list[str]:
    """What does not go together."""
    do, place = fault.action.DO, fault.action.PLACE
    used = [name for name in _TRIGGERS if getattr(fault, name) is not None]
    accepted = _TRIGGERS_OF.get(place, _TRIGGERS)
    problems = [
        f"{name}: no trigger for {do}; accepted: {', '.join(accepted)}" for name in used if name not in accepted
    ]
    if len(used) > 1:
        problems.append(f"{' and '.join(used)}: two triggers; accepted: one of {', '.join(accepted)}")
    limits = _LIMITS_OF[place] + (("for_s",) if isinstance(fault.action, HalfOpen) else ())
    accepted_limits = ", ".join((*limits, "times", "in_all", "until_s"))
    problems += [
        f"{name}: means nothing to {do}; accepted: {accepted_limits}"
        for name in _LIMITS
        if name in given(fault) and name not in limits
    ]
    if fault.for_s is not None and fault.probability is not None and place in ("requests", "handshake", "rest"):
        problems.append(f"for_s and probability: {do} strikes one request then; accepted: one of the two")
    if (fault.times or 1) > 1 and 0 in (fault.at_s, fault.after_s, fault.after_frames, fault.after_events):
        problems.append(f"times = {fault.times} every 0; accepted: with a trigger above 0")
    return problems


class FaultScript:
    """What goes wrong with an exchange. The default: nothing.

    Args:
        faults: in any order; of those that are due at the same moment, the first goes first. Actions alone will do.
        seed: of everything that happens at random.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, faults: Sequence[Fault | Action] = (), *, seed: int = 0) -> None:
        self.faults = tuple(map(fault_of, faults))
        self.seed = seed

    def __repr__(self) -> str:
        return f"FaultScript([{', '.join(map(repr, self.faults))}], seed={self.seed})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FaultScript) and (self.faults, self.seed) == (other.faults, other.seed)

    def __hash__(self) -> int:
        return hash((self.faults, self.seed))

    @classmethod
    def random(cls, seed: int, **limits: Any) -> FaultScript:
        """A script of faults drawn at random; the same seed gives the same. See `fault_random.random_script`."""
        from ingest_actors.simulator.fault_random import random_script  # noqa: PLC0415 - which knows this class

        return random_script(seed, **limits)


def options_of(kind: type[Action]) -> list[dataclasses.Field[Any]]:
    """The options of an action."""
    return list(dataclasses.fields(kind))  # type: ignore[arg-type]  # every action is a dataclass
