"""A day of market time in which everything goes wrong at least once, and the service dies and comes back ten times.

Connections are replaced every hour, and what comes in an outage of the brokers goes to a spool. The market is quiet, so
that a day of it can be had in minutes: two symbols, about an event a second together.
"""

import random

from schedule import Life, Schedule

from ingest_actors.simulator.config import Limits
from ingest_actors.simulator.faults import (
    AddFields,
    CloseWith,
    Cut,
    CutMidFrame,
    DelayReply,
    Drop,
    DropHandshake,
    Duplicate,
    Fault,
    FaultScript,
    Fragment,
    Garbage,
    HalfOpen,
    IgnoreClose,
    ListSymbol,
    LoseSubscriptions,
    Mute,
    NoPings,
    NoReply,
    RefuseHandshake,
    Reorder,
    ReplyError,
    ResetIds,
    RestCutShort,
    RestError,
    RestHang,
    RestLag,
    RestNotJson,
    ServerShutdown,
    SetStatus,
    SilentHandshake,
    Slow,
    SlowPongs,
    Truncate,
)

DAY_S = 86_400.0
_SYMBOLS = ("BTCUSDT", "ETHUSDT")

_AT_ONCE = (
    Cut(), HalfOpen(), CloseWith(1001), Garbage("bytes"), LoseSubscriptions(), ServerShutdown(600.0), CutMidFrame(),
    Truncate(3), Fragment(3, 4, ping=True), Duplicate(5), Reorder(3), Drop(5), AddFields({"zz": 1}, 5),
    CloseWith(1008, "too many"), Garbage("invalid_utf8"), SetStatus("ETHUSDT", "HALT"), SetStatus("ETHUSDT", "TRADING"),
    ListSymbol("NEW1USDT"), Cut(reset=True),
)  # fmt: skip
_FOR_A_WHILE = (
    Mute(), Slow(0.4, 0.1, 20_000), NoPings(), SlowPongs(8.0), IgnoreClose(), RestLag(8.0), RestError(503),
    RestError(429, retry_after_s=5), RestError(418, retry_after_s=120), RestHang(None), RestCutShort(), RestNotJson(),
    RefuseHandshake(503), SilentHandshake(), DropHandshake(),
)  # fmt: skip
_ON_REQUESTS = (DelayReply(8.0), NoReply(effect=False), ReplyError(form="nested"))
_ASKED = (RestLag(8.0), RestHang(None), DropHandshake(), SilentHandshake(), RefuseHandshake(503))
_OUTAGES = 40
"""Besides, the connection is cut so often: what strikes a handshake, a request or a repair needs one of them."""


def long_day(seed=0, *, mode="exactly_once", **switches):
    """The schedule of such a day."""
    rng = random.Random(f"{seed}/day")

    def some_time():
        return round(600.0 + rng.random() * (DAY_S - 4 * 3600), 3)

    faults = [Fault(action, at_s=some_time()) for action in _AT_ONCE]
    for action in _FOR_A_WHILE:
        at_s = some_time()
        faults += [Fault(action, at_s=at_s, for_s=round(100 + 500 * rng.random())), Fault(Cut(), at_s=at_s + 10.0)]
    faults += [Fault(action, probability=0.2, in_all=3) for action in (*_ON_REQUESTS, *_ASKED)]
    faults += [Fault(Cut(), at_s=some_time()) for _ in range(_OUTAGES)]
    faults.append(Fault(ResetIds("ETHUSDT"), at_s=DAY_S - 3 * 3600))
    awaits = (5.0, 60.0, 0.5, 7200.0, 600.0, 1.0, 30.0, 0.0, 10.0)
    lasting_s = (DAY_S - sum(awaits)) / (len(awaits) + 1)
    lives = [
        Life(round(lasting_s, 3), "stop" if index % 4 == 3 else "death", rng.choice((0, 7, 23)), away_s)
        for index, away_s in enumerate((*awaits, 0.0))
    ]
    return Schedule(
        seed, mode, tuple(lives), FaultScript(faults, seed=seed),
        settings={
            "binance_symbols": ",".join(_SYMBOLS),
            "backfill": "trade,aggTrade",
            "binance_stream_types": "aggTrade,trade,depth@100ms,bookTicker,kline_1m",
            "depth_snapshot_limit": 5000,
            "ws_rotate_after_seconds": 3600,
        } | switches,
        market={
            "symbols": _SYMBOLS, "activity": 0.004, "tick_s": 1.0, "book_levels": 30,
            "limits": Limits(lifetime_s=4000.0),
        },
        sink={"delay_s": 0.05},
        crash=0.0002,
        crashes_max=300,
        sink_faults=(
            *((some_time(), "break", 0.0) for _ in range(10)),
            *((some_time(), "pause", for_s) for for_s in (5.0, 60.0, 1200.0)),
        ),
        clock_steps=((20_000.0, -3_600_000), (40_000.0, 0), (60_000.0, 3_600_000)),
        refuses=True,
        spool=True,
        reloads=((30_000.0, False), (33_000.0, True)),
        faults_s=DAY_S,
    )  # fmt: skip
