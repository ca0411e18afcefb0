"""Scripts drawn at random, for tests of what holds whatever goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
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
from ingest_actors.simulator.faults import ON_CONNECTIONS, Fault, FaultScript

Draw = random.Random
_CLOSE_CODES = (1000, 1001, 1006, 1008, 1011, 1012, 4000)
_STATUSES = (403, 418, 429, 451, 500, 502, 503, 504)

_MAKERS: dict[str, Callable[[Draw, float, Sequence[str]], Action]] = {
    "cut": lambda draw, _s, _n: Cut(reset=_chance(draw, 0.5)),
    "cut_mid_frame": lambda draw, _s, _n: CutMidFrame(reset=_chance(draw, 0.5)),
    "half_open": lambda _draw, _s, _n: HalfOpen(),
    "close": lambda draw, _s, _n: CloseWith(
        draw.choice(_CLOSE_CODES), draw.choice(("", "going away")), linger=_chance(draw, 0.2)
    ),
    "garbage": lambda draw, _s, _n: Garbage(draw.choice(("bytes", "text", "invalid_utf8", "binary"))),
    "lose_subscriptions": lambda _draw, _s, _n: LoseSubscriptions(),
    "server_shutdown": lambda draw, s, _n: ServerShutdown(_time(draw, s / 10)),
    "truncate": lambda draw, _s, _n: Truncate(draw.randint(1, 3)),
    "fragment": lambda draw, _s, _n: Fragment(draw.randint(1, 3), draw.randint(2, 5), ping=_chance(draw, 0.5)),
    "duplicate": lambda draw, _s, _n: Duplicate(draw.randint(1, 5)),
    "reorder": lambda draw, _s, _n: Reorder(draw.randint(1, 3)),
    "drop": lambda draw, _s, _n: Drop(draw.randint(1, 5)),
    "add_fields": lambda draw, _s, _n: AddFields({"zz": draw.randint(0, 9)}, draw.randint(1, 5)),
    "mute": lambda _draw, _s, _n: Mute(),
    "slow": lambda draw, _s, _n: Slow(_time(draw, 0.5), _time(draw, 0.2), draw.choice((None, 20_000, 200_000))),
    "no_pings": lambda _draw, _s, _n: NoPings(),
    "slow_pongs": lambda draw, _s, _n: SlowPongs(draw.choice((None, _time(draw, 10)))),
    "ignore_close": lambda _draw, _s, _n: IgnoreClose(),
    "delay_reply": lambda draw, _s, _n: DelayReply(_time(draw, 12)),
    "no_reply": lambda draw, _s, _n: NoReply(effect=_chance(draw, 0.5)),
    "reply_error": lambda draw, _s, _n: ReplyError(form=draw.choice((None, "nested", "flat"))),
    "refuse_handshake": lambda draw, _s, _n: RefuseHandshake(
        draw.choice(_STATUSES), retry_after_s=draw.choice((None, 1, 5))
    ),
    "silent_handshake": lambda _draw, _s, _n: SilentHandshake(),
    "drop_handshake": lambda _draw, _s, _n: DropHandshake(),
    "rest_error": lambda draw, _s, _n: RestError(draw.choice(_STATUSES), retry_after_s=draw.choice((None, 1, 5))),
    "rest_hang": lambda draw, _s, _n: RestHang(draw.choice((None, _time(draw, 20)))),
    "rest_cut_short": lambda _draw, _s, _n: RestCutShort(),
    "rest_not_json": lambda _draw, _s, _n: RestNotJson(),
    "rest_lag": lambda draw, _s, _n: RestLag(_time(draw, 10)),
    "reset_ids": lambda draw, _s, names: ResetIds(draw.choice((None, *names))),
    "set_status": lambda draw, _s, names: SetStatus(draw.choice(names), draw.choice(("HALT", "BREAK", "TRADING"))),
    "list_symbol": lambda draw, _s, _n: ListSymbol(f"NEW{draw.randint(1, 9)}USDT"),
}
"""How each action is drawn: from random numbers, the length of the run in seconds, and the symbols."""

_LONG = frozenset(("mute", "slow", "no_pings", "slow_pongs", "ignore_close", "rest_lag"))
"""What is drawn with an end: without one it would last for good."""


def random_script(
    seed: int,
    *,
    duration_s: float = 60.0,
    faults_max: int = 8,
    strikes_max: int = 3,
    symbols: Sequence[str] = ("BTCUSDT",),
    actions: Sequence[str] = (),
) -> FaultScript:
    """A script of 1 to `faults_max` faults of any kind, all over after `duration_s`; the same seed gives the same.

    Nothing strikes after `duration_s`, and nothing that was begun lasts longer, so that whatever goes wrong is over
    then; but connections that are half open, closed with `linger` or unsubscribed stay so until the client gives them
    up, which is what there is to be tested.

    Args:
        seed: of the draw, and of the script.
        duration_s: length of the run, seconds.
        faults_max: most faults.
        strikes_max: how often one fault strikes, over all connections, at most.
        symbols: what is traded.
        actions: draw from these words only; empty = from all.

    Raises:
        ValueError: an action is none.
    """
    unknown = [name for name in actions if name not in _MAKERS]
    if unknown:
        raise ValueError(f"actions: {', '.join(map(repr, unknown))}; accepted: {', '.join(_MAKERS)}")
    draw = random.Random(f"script/{seed}")  # noqa: S311 - not for secrets
    names = sorted(actions or _MAKERS)
    faults = [
        _fault(draw, draw.choice(names), duration_s, strikes_max, symbols) for _ in range(draw.randint(1, faults_max))
    ]
    return FaultScript(faults, seed=seed)


def _fault(draw: Draw, name: str, duration_s: float, strikes_max: int, symbols: Sequence[str]) -> Fault:
    action = _MAKERS[name](draw, duration_s, symbols)
    options: dict[str, Any] = _trigger(draw, action, duration_s)
    options["until_s"] = duration_s
    options["in_all"] = draw.randint(1, strikes_max)
    asked = action.PLACE in ("requests", "handshake", "rest")
    if not (asked and "probability" in options) and (name in _LONG or (asked and _chance(draw, 0.3))):
        left_s = duration_s - options.get("at_s", 0.0)
        options["for_s"] = _time(draw, min(left_s, duration_s / 4))
    if (
        action.PLACE in ("frames", "lasting")
        and name in ("mute", "drop", "duplicate", "truncate")
        and _chance(draw, 0.5)
    ):
        options["streams"] = f"{draw.choice(symbols).lower()}@*"
    return Fault(action, **options)


def _trigger(draw: Draw, action: Action, duration_s: float) -> dict[str, Any]:
    kinds = ["at_s", "every_s"]
    if action.PLACE != "market":
        kinds.append("probability")
    if action.PLACE in ON_CONNECTIONS:
        kinds += ["after_s", "after_frames", "after_events"]
    kind = draw.choice(kinds)
    if kind == "probability":
        return {kind: 0.002 if action.PLACE in ON_CONNECTIONS and action.PLACE != "requests" else 0.3}
    if kind in ("after_frames", "after_events"):
        return {kind: draw.randint(1, 500)}
    return {kind: _time(draw, duration_s)}


def _chance(draw: Draw, probability: float) -> bool:
    return draw.random() < probability


def _time(draw: Draw, most_s: float) -> float:
    """A time above zero, in round milliseconds so that it reads well."""
    return max(0.001, round(draw.random() * most_s, 3))
