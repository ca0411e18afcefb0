"""The guard: does a message still cost what it did? CPU time, as a ratio to the naive pipeline in the same minute.

    make guard
    python bench/guard.py --rounds 20 --json now.json    # before the bar is changed
    python bench/guard.py --burden-us 3                  # a third more: is it seen?

Both are fed from memory, into one real broker, in short runs in turn (`guard_run.py`). CPU time is not wall time:
load beside it stretches a run, but what it adds to its CPU time is little, and never negative. So of each the least
counts, and what slows the machine slows both sides of the ratio. The bar and its reason are in `guard.json`.

Exits with 1 when the ratio is below the bar. It is no test of speed: a machine may be as slow as it likes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, broker, clean_env, create_topics, delete_topics

BAR = BENCH / "guard.json"
MESSAGES = {"ours": 60_000, "naive": 8_000}
"""Of one run: less than a second of CPU time each. Many short runs find a quiet moment sooner than few long ones."""

ROUNDS = 8
ROUNDS_MAX = 24
"""More rounds are run only while the ratio is below the bar: the least of more runs comes closer to the truth."""

STRETCH_MAX = 2.0
"""A run that took more than so many times its CPU time does not count: where many want the same cores, caches are
cold at every turn, and a message costs up to half as much again, ours more so than the naive one's."""

RUNS_MIN = 3
"""Of each must count, or there is no verdict, which is no failure: the next CI run is as good a place to see it."""

RUN_MAX_S = 180.0
PARTITIONS = 6
TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")


def run_once(who: str, servers: str, topics: dict[str, str], number: int, burden_us: float) -> dict[str, float]:
    """What `guard_run.py` tells."""
    command = [sys.executable, str(BENCH / "guard_run.py"), who, servers, str(MESSAGES[who])]
    command.append(str(burden_us if who == "ours" else 0))
    env = clean_env(**topics, INSTANCE_NAME=f"guard-{number}")
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=RUN_MAX_S, check=False)
    except subprocess.TimeoutExpired as expired:
        raise Failed(f"{who} took longer than {RUN_MAX_S:g} s: {(expired.stderr or b'')[-2000:]!r}") from expired
    if done.returncode:
        raise Failed(f"{who} ended with {done.returncode}\n{done.stderr.decode(errors='replace')[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def judge(found: dict[str, list[dict[str, float]]]) -> float | None:
    """The ratio of the least of the runs that count; None when too few of them do."""
    counting = {
        who: [run["cpu_us_per_message"] for run in runs if run["stretch"] <= STRETCH_MAX] for who, runs in found.items()
    }
    if min(map(len, counting.values())) < RUNS_MIN:
        return None
    return min(counting["naive"]) / min(counting["ours"])


def measure(
    servers: str, *, rounds: int, rounds_max: int, bar: float, burden_us: float = 0
) -> tuple[float | None, dict[str, list[dict[str, float]]]]:
    """The ratio, and all that was measured."""
    tag = f"guard-{time.time_ns()}"
    topics = {f"KAFKA_TOPIC_{name}": f"{tag}-{name.lower().replace('_', '-')}" for name in TOPICS}
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    create_topics(admin, list(topics.values()), PARTITIONS)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "naive": []}
    ratio = None
    try:
        for number in range(rounds_max):
            for who in found if number % 2 == 0 else reversed(found):
                found[who].append(run_once(who, servers, topics, number, burden_us))
            ratio = judge(found)
            print(f"round {number + 1}: {json.dumps({who: runs[-1] for who, runs in found.items()})}", flush=True)
            if number + 1 >= rounds and ratio is not None and ratio >= bar:
                break
    finally:
        delete_topics(admin, list(topics.values()))
    return ratio, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each (default: {ROUNDS})")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument("--burden-us", type=float, default=0, help="burn so much of a message, to see that it is seen")
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()
    bar = float(json.loads(BAR.read_text())["ratio_at_least"])
    with tempfile.TemporaryDirectory(), broker(options.bootstrap_servers) as (servers, _):
        ratio, found = measure(
            servers,
            rounds=options.rounds,
            rounds_max=max(options.rounds, ROUNDS_MAX),
            bar=bar,
            burden_us=options.burden_us,
        )
    if options.json:
        options.json.write_text(json.dumps({"ratio": ratio, "bar": bar, "runs": found}, indent=1) + "\n")
    if ratio is None:
        print(
            f"no verdict: this machine does so much else that a run takes more than {STRETCH_MAX:g} times its CPU time"
        )
        return 0
    verdict = "as it should" if ratio >= bar else "too much: see bench/guard.json"
    print(f"a message costs one {ratio:.2f}th of the naive pipeline's CPU time (at least {bar:g}): {verdict}")
    return int(ratio < bar)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"failed: {failure}")
