"""The guard: does a message still cost what it did? As a ratio to the naive pipeline in the same minute.

    make guard
    python bench/guard.py --burden 180       # a third more: is it seen?
    python bench/guard.py --cpu              # CPU time instead; on a quiet machine, for people
    python bench/guard.py --cpu --burden 3

Both are fed from memory, into one real broker, in short runs in turn (`guard_run.py`).

What is compared by default are the interpreter's instructions a message on trio's thread. They are the same whatever
else the machine does, but for a little that timers add while a run takes longer; so of each the least counts. What
compiled code does within one instruction is not seen: that is what `--cpu` and `make bench` are for. CPU time is no
measure where others want the same cores: caches are cold at every turn then, and a message costs up to half as much
again.

The bars and their reasons are in `guard.json`. Exits with 1 when a ratio is below its bar.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from harness import BENCH, Failed, broker, clean_env, create_topics, delete_topics

BAR = BENCH / "guard.json"
STRETCH_MAX = 1.3
"""A run that took more than so many times its CPU time does not count: something else wanted the machine."""

RUNS_MIN = 3
"""Of each must count, or there is no verdict."""

RUN_MAX_S = 180.0
PARTITIONS = 6
TOPICS = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")

Runs = dict[str, list[dict[str, float]]]


@dataclass(frozen=True)
class Measure:
    """What is compared, and by how many runs."""

    name: str
    figure: str
    messages: dict[str, int]
    """Of one run: a few seconds each. Many short runs find a quiet moment sooner than few long ones."""
    rounds: int
    rounds_max: int
    """More rounds are run only while the ratio is below the bar: the least of more runs comes closer to the truth."""
    options: tuple[str, ...] = ()


INSTRUCTIONS = Measure(
    "instructions", "instructions_per_message", {"ours": 20_000, "naive": 2_000}, 3, 9, ("--instructions",)
)
CPU = Measure("cpu", "cpu_us_per_message", {"ours": 60_000, "naive": 8_000}, 8, 24)


def run_once(measure: Measure, who: str, servers: str, *, env: dict[str, str], burden: float) -> dict[str, float]:
    """What `guard_run.py` tells."""
    command = [sys.executable, str(BENCH / "guard_run.py"), who, servers, str(measure.messages[who])]
    command += [*measure.options, "--burden", str(burden if who == "ours" else 0)]
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=RUN_MAX_S, check=False)
    except subprocess.TimeoutExpired as expired:
        raise Failed(f"{who} took longer than {RUN_MAX_S:g} s: {(expired.stderr or b'')[-2000:]!r}") from expired
    if done.returncode:
        raise Failed(f"{who} ended with {done.returncode}\n{done.stderr.decode(errors='replace')[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def judge(measure: Measure, found: Runs) -> float | None:
    """The ratio of the least of the runs that count; None when too few of them do."""
    counting = {
        who: [run[measure.figure] for run in runs if run.get("stretch", 0) <= STRETCH_MAX]
        for who, runs in found.items()
    }
    if min(map(len, counting.values())) < RUNS_MIN:
        return None
    return min(counting["naive"]) / min(counting["ours"])


def compare(measure: Measure, servers: str, *, bar: float, burden: float = 0) -> float | None:
    """The ratio; None when there is no verdict."""
    tag = f"guard-{time.time_ns()}"
    topics = {f"KAFKA_TOPIC_{name}": f"{tag}-{name.lower().replace('_', '-')}" for name in TOPICS}
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    create_topics(admin, list(topics.values()), PARTITIONS)
    found: Runs = {"ours": [], "naive": []}
    ratio = None
    try:
        for number in range(measure.rounds_max):
            for who in found if number % 2 == 0 else reversed(found):
                env = clean_env(**topics, INSTANCE_NAME=f"guard-{number}")
                found[who].append(run_once(measure, who, servers, env=env, burden=burden))
            ratio = judge(measure, found)
            print(f"round {number + 1}: {json.dumps({who: runs[-1] for who, runs in found.items()})}", flush=True)
            if number + 1 >= measure.rounds and ratio is not None and ratio >= bar:
                break
    finally:
        delete_topics(admin, list(topics.values()))
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="compare CPU time; no verdict on a machine that is busy")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument(
        "--burden", type=float, default=0, help="spend so many instructions (or us) more on each of our messages"
    )
    options = parser.parse_args()
    measure = CPU if options.cpu else INSTRUCTIONS
    bar = float(json.loads(BAR.read_text())[measure.name]["ratio_at_least"])
    with broker(options.bootstrap_servers) as (servers, _):
        ratio = compare(measure, servers, bar=bar, burden=options.burden)
    if ratio is None:
        print(
            f"no verdict: this machine does so much else that runs take more than {STRETCH_MAX:g} times their CPU time"
        )
        return 0
    verdict = "as it should" if ratio >= bar else "too much: see bench/guard.json"
    print(f"a message costs one {ratio:.2f}th of the naive pipeline's {measure.name} (at least {bar:g}): {verdict}")
    return int(ratio < bar)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"failed: {failure}")
