"""A schedule: everything that will befall a service in its lives, drawn from one number."""

import random
from dataclasses import dataclass, field, replace

from ingest_actors.simulator.faults import FaultScript, ResetIds

SYMBOLS = ("BTCUSDT", "ETHUSDT", "ADAUSDT")
ALWAYS = ("aggTrade", "trade", "depth@100ms")
SOMETIMES = ("bookTicker", "miniTicker", "kline_1m")
CALM_S_MAX = 1200.0
"""A service that has not caught up so long after the last fault does not catch up: the exchange's bans last for two
minutes, delays between attempts grow to five, and what REST is asked for again waits half a minute at most."""


@dataclass(frozen=True)
class Life:
    """One life of the service.

    Attributes:
        lasting_s: how long it lives, at least.
        ends: ``stop``, or ``death``.
        strokes: a death comes so many steps of its actors after that time: in the midst of things.
        away_s: how long nobody is there after it.
    """

    lasting_s: float
    ends: str
    strokes: int
    away_s: float


@dataclass(frozen=True)
class Schedule:
    """What will happen.

    Attributes:
        mode: ``exactly_once`` or ``at_least_once``.
        lives: the last one lives until it has caught up, and is stopped.
        faults: what the exchange does.
        settings: of the service.
        market: of the simulated exchange.
        sink: how the writer is; see `memory_kafka.Writer`.
        crash: probability that an actor crashes where it can.
        sink_faults: instants, counted from the beginning, and what befalls the sink then.
        clock_steps: instants, and by how much the service's clock is off from then on, ms.
        refuses: whether the sink refuses some events.
        faults_s: when all faults are over.
        actions: what the faults were drawn from; empty: everything.
    """

    seed: int
    mode: str
    lives: tuple[Life, ...]
    faults: FaultScript
    settings: dict = field(default_factory=dict)
    market: dict = field(default_factory=dict)
    sink: dict = field(default_factory=dict)
    commit_interval_s: float = 0.1
    crash: float = 0.0
    crashes_max: int = 0
    sink_faults: tuple[tuple[float, str, float], ...] = ()
    clock_steps: tuple[tuple[float, int], ...] = ()
    refuses: bool = False

    faults_s: float = 0.0
    actions: tuple[str, ...] = ()


def _faults(seed, faults_s, symbols, actions):
    """A script in which ids begin again once at most: where they do so twice they may go on as if they never had.

    Each beginning is at a low number; test networks need a month to get from one to the next.
    """
    faults = FaultScript.random(seed, duration_s=faults_s, symbols=symbols, actions=actions).faults
    resets = [fault for fault in faults if isinstance(fault.action, ResetIds)]
    kept = [replace(fault, in_all=1) if fault in resets[:1] else fault for fault in faults if fault not in resets[1:]]
    return FaultScript(kept, seed=seed)


def draw(seed, *, mode=None, actions=()):
    """The schedule of a seed.

    Args:
        seed: of everything.
        mode: instead of the one that it draws.
        actions: the faults of the exchange to draw from; empty = all.
    """
    rng = random.Random(f"{seed}/schedule")
    chosen = rng.choice(("exactly_once", "at_least_once"))
    lives = tuple(
        Life(
            lasting_s=round(rng.choice((1.0, 5.0, 15.0, 30.0)) * (0.2 + rng.random()), 3),
            ends=rng.choice(("stop", "death", "death")),
            strokes=rng.choice((0, 0, rng.randrange(1, 40))),
            away_s=round(rng.choice((0.0, 0.01, 1.0, 10.0)) * rng.random(), 3),
        )
        for _ in range(rng.choice((1, 2, 2, 3, 4)))
    )
    faults_s = max(10.0, sum(life.lasting_s + life.away_s for life in lives))
    symbols = SYMBOLS[: rng.choice((1, 2, 2, 3))]
    types = [*ALWAYS, *(name for name in SOMETIMES if rng.random() < 0.3)]
    return Schedule(
        seed,
        mode or chosen,
        lives,
        _faults(seed, faults_s, symbols, actions) if actions or rng.random() < 0.9 else FaultScript(),
        settings={
            "binance_symbols": ",".join(symbols),
            "binance_stream_types": ",".join(types),
            "batch_size": rng.choice((1, 7, 100)),
            "batch_timeout_seconds": rng.choice((0.05, 5.0)),
            "batch_eager": rng.random() < 0.7,
            "gap_hold_seconds": rng.choice((1.0, 10.0, 10.0)),
            "gap_hold_max_events": rng.choice((5, 50_000, 50_000)),
            "backfill": rng.choice(("trade,aggTrade",) * 6 + ("trade", "off")),
            "buffer_max_bytes": rng.choice((1 << 20, 64 << 20)),
            "connections_per_stream": rng.choice((1, 1, 2)),
            "ws_rotate_after_seconds": rng.choice((82_800, 82_800, 70)),
            "depth_snapshot_interval_seconds": rng.choice((15, 3600)),
            "depth_snapshot_limit": 5000,
            "resume_max_age_seconds": rng.choice((3.0, 3600.0, 3600.0, 3600.0)),
        },
        market={
            "symbols": symbols,
            "book_levels": 30,
            "activity": rng.choice((0.03, 0.1, 0.2)),
            "tick_s": rng.choice((0.1, 0.25, 0.5)),
        },
        sink={"delay_s": rng.choice((0.0, 0.01, 0.3)), "room": rng.choice((10, 10**9, 10**9))},
        commit_interval_s=rng.choice((0.01, 0.1, 1.0)),
        crash=rng.choice((0.0, 0.0, 0.002, 0.01)),
        crashes_max=rng.choice((3, 30)),
        sink_faults=tuple(
            (round(rng.random() * faults_s, 3), rng.choice(("break", "pause")), round(rng.random() * 8, 3))
            for _ in range(rng.choice((0, 0, 1, 3)))
        ),
        clock_steps=tuple(
            (round(rng.random() * faults_s, 3), rng.choice((-3_600_000, -1000, 500, 60_000, 3_600_000)))
            for _ in range(rng.choice((0, 0, 0, 1, 2)))
        ),
        refuses=rng.random() < 0.1,
        faults_s=faults_s,
        actions=tuple(actions),
    )
