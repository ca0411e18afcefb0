"""Thousands of schedules, one after the other, on one core: ``python tests/simulation/run_lives.py --seeds 0-9999``.

A failing seed is told with the command that runs it again; ``--tell`` shows what happened in it. Exit 1: one failed.
"""

import argparse
import gc
import logging
import os
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import lives  # noqa: E402
from judge import judge  # noqa: E402
from long_day import long_day  # noqa: E402
from schedule import draw  # noqa: E402

STUCK_S = 120
"""Real seconds after which a schedule counts as one that goes round in circles."""


def main():
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of names are walked through in the same order each time
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    logging.disable(logging.CRITICAL)
    gc.disable()  # what a schedule leaves behind is thrown away together
    totals, failed = Totals(), []
    began_s = told_s = time.monotonic()
    for seed in seeds_of(options.seeds):
        schedule = drawn(seed, options)
        failure = one(schedule, options, totals)
        if failure is not None:
            failed.append(seed)
            print(f"\nseed {seed} FAILED: {shortened(failure)}\n  again: {command_for(schedule)}", flush=True)
            if options.tell:
                traceback.print_exception(innermost(failure))
        if totals.schedules % 20 == 0:
            gc.collect()
        if time.monotonic() - told_s > options.every:
            told_s = time.monotonic()
            print(f"{totals.schedules} schedules, {len(failed)} failed, {told_s - began_s:.0f} s", flush=True)
    print(totals.text(time.monotonic() - began_s))
    print(f"failed: {failed or 'none'}")
    return 1 if failed else 0


def one(schedule, options, totals):
    """Run and judge one schedule; what it failed of, or None."""
    signal.signal(signal.SIGALRM, _stuck)
    signal.alarm(STUCK_S * (30 if options.day else 1))
    try:
        world = lives.live(schedule)
        totals.add(world, judge(world))
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # noqa: BLE001 - whatever it is, the next one is run
        totals.schedules += 1
        return failure
    finally:
        signal.alarm(0)
    if options.tell:
        print(schedule)
        for number, lived in enumerate(world.lives):
            print(f"life {number}: {'died' if lived.died else 'stopped'}, read {len(lived.read)}")
            for event in lived.happened:
                print("   ", event.at_ms - lives.START_MS, event.name, event.fields)
    return None


def drawn(seed, options):
    """The schedule of a seed."""
    if options.day:
        return long_day(seed, mode=options.mode or "exactly_once")
    return draw(seed, mode=options.mode, actions=tuple(options.action))


class Totals:
    """What all schedules together came to."""

    def __init__(self):
        self.schedules = 0
        self.counts = Counter()
        self.gaps = Counter()
        self.lost = Counter()
        self.doubles = Counter()
        self.fired = Counter()
        self.crashes = Counter()
        self.ends = Counter()

    def add(self, world, verdict):
        mode = world.schedule.mode
        self.schedules += 1
        self.counts[f"schedules {mode}"] += 1
        self.counts["messages read"] += sum(len(lived.read) for lived in world.lives)
        self.counts["events written"] += len(world.kafka.entries)
        self.counts["market seconds"] += world.seconds
        self.counts["lives"] += len(world.lives)
        self.counts["backfilled"] += verdict.backfilled
        self.counts["late"] += verdict.late
        self.counts["depth holes, all journalled"] += verdict.depth_holes
        self.counts["dead letters"] += verdict.dead_letters
        self.counts["sink breaks"] += sum(lived.breaks for lived in world.lives)
        self.counts["clock steps"] += len(world.schedule.clock_steps)
        for lived in world.lives:
            self.ends["sudden deaths" if lived.died else "clean stops"] += 1
        self.gaps.update({f"{reason} {state}": count for (reason, state), count in verdict.gaps.items()})
        self.lost.update(verdict.lost)
        self.doubles.update({f"{mode} {event_type}": count for event_type, count in verdict.doubles.items()})
        self.fired.update(fired.fault.action.DO for fired in world.fired)
        self.crashes.update(world.crashes)

    def text(self, seconds):
        lines = [f"{self.schedules} schedules in {seconds:.0f} s, {self.schedules / max(seconds, 1e-9):.1f} a second"]
        for title, counts in {
            "totals": self.counts,
            "ends of lives": self.ends,
            "gaps": self.gaps,
            "ids of trades lost": self.lost,
            "written again after a death": self.doubles,
            "faults of the exchange": self.fired,
            "crashes of actors": self.crashes,
        }.items():
            told = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=str))
            lines.append(f"{title}: {told or 'none'}")
        return "\n".join(lines)


def seeds_of(text):
    """``3``, ``0-99`` or ``1,5,7-9``."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def command_for(schedule):
    """What runs a schedule again, and tells of it."""
    only = "".join(f" --action {action}" for action in schedule.actions)
    what = " --day" if schedule.faults_s >= 80_000 else only
    return f"python tests/simulation/run_lives.py --seeds {schedule.seed} --mode {schedule.mode}{what} --tell"


def innermost(failure):
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def shortened(failure):
    failure = innermost(failure)
    return f"{type(failure).__name__}: {str(failure)[:500]}"


def _stuck(*_):
    raise TimeoutError(f"no end after {STUCK_S} s")


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-99", help="which: 3, 0-99, 1,5,7-9")
    parser.add_argument("--mode", choices=("exactly_once", "at_least_once"), help="instead of what each seed draws")
    parser.add_argument("--action", action="append", default=[], help="only this fault of the exchange; repeatable")
    parser.add_argument("--day", action="store_true", help="a whole day with every fault; minutes each")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two lines of progress")
    parser.add_argument("--tell", action="store_true", help="what happened in each life")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
