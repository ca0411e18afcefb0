"""Upgrade and rollback, tried: two releases, installed from their wheels, on one durable broker and one exchange.

    python tests/packaging/upgrade_trial.py COMMIT [state] [take-over] [spool] [recordings]
    make test-upgrade BEFORE=COMMIT

COMMIT names the release before: what is checked out here is the release after. Each step says what was seen; the first
one that is not as docs/how-to/upgrade.md has it ends the trial with exit code 1. Takes about three minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SYMBOLS = "BTCUSDT,ETHUSDT"
FLOW_S = 4.0
"""How long each life takes in events."""
WAIT_S = 60.0
TOO_NEW = "this release knows versions up to"


class Release:
    """One release in an environment of its own."""

    def __init__(self, name, sources, home, *extras):
        self.name = name
        self.python = home / name / "bin" / "python"
        wheels = home / f"{name}-wheel"
        quiet = partial(subprocess.run, check=True, capture_output=True)
        quiet([sys.executable, "-m", "build", "--wheel", "--outdir", wheels, sources])
        [wheel] = wheels.glob("*.whl")
        quiet([sys.executable, "-m", "venv", home / name])
        wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
        quiet([self.python, "-m", "pip", "install", "--quiet", wanted])


class Life:
    """One command of a release, as a process."""

    def __init__(self, release, directory, *arguments, **environ):
        self.release = release
        self.log_file = directory / f"{release.name}-{arguments[0]}-{time.monotonic_ns()}.log"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME") if name in os.environ}
        with self.log_file.open("wb") as stderr:
            self.process = subprocess.Popen(
                [release.python, "-m", "ingest_actors", *arguments],
                cwd=directory, env=kept | environ, stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def text(self):
        return self.log_file.read_text()

    def lines(self, event):
        """Those of its log so far that bear this name; the last may be half written."""
        whole = [line for line in self.text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [line for line in map(json.loads, whole) if line["event"] == event]

    def wait_for(self, event):
        deadline = time.monotonic() + WAIT_S
        while not (found := self.lines(event)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{self.release.name}: no {event}:\n{self.text()[-4000:]}")
            time.sleep(0.05)
        return found[0]

    def end(self):
        return self.process.wait(WAIT_S)

    def stop(self):
        """SIGTERM; it must end well. Its ledger."""
        self.process.send_signal(signal.SIGTERM)
        code = self.end()
        must(code == 0, f"{self.release.name} ends with 0", f"{code}:\n{self.text()[-4000:]}")
        return self.lines("service_stopped")[-1]["ledger"]


def must(so, promise, otherwise=""):
    if not so:
        sys.exit(f"NOT SO: {promise}; {otherwise}")


def seen(text):
    print(f"  {text}", flush=True)


class Trial:
    """Before, after, and what lies between them."""

    def __init__(self, before, after, directory, where, kafka):
        self.before, self.after, self.directory, self.kafka = before, after, directory, kafka
        self.where = where

    def settings(self, name, **more):
        topics = ("RAW_EVENTS", "TRADES", "DEPTH", "DEAD_LETTERS", "GAPS", "STATE")
        named = {f"KAFKA_TOPIC_{topic}": f"{name}-{topic.lower()}" for topic in topics}
        return self.where | named | {"INSTANCE_NAME": name, "BINANCE_SYMBOLS": SYMBOLS, "HTTP_PORT": "off"} | more

    def run(self, release, settings):
        return Life(release, self.directory, "run", **settings)

    def some_time(self, release, settings):
        """One life from start to stop; its log."""
        with self.run(release, settings) as life:
            life.wait_for("service_ready")
            time.sleep(FLOW_S)
            life.stop()
            return life

    def whole(self, settings, *, repeats=False):
        """The audit of the release after finds nothing unexplained; but for repeats, where they may be."""
        with Life(self.after, self.directory, "audit", "--format", "json", **settings) as audit:
            answer = audit.process.stdout.read()
            code = audit.end()
        series = json.loads(answer)["series"] if answer else []
        again = [
            one for one in series if not one["ok"] and one["duplicates"] and not one["missing"] + one["out_of_order"]
        ]
        if not (repeats and code == 1 and again == [one for one in series if not one["ok"]]):
            must(code == 0 and series, "the record is whole", answer[-2000:] + audit.text()[-2000:])
        twice = sum(len(one["duplicates"]) for one in again)
        records = sum(one["records"] for one in series)
        return f"audit: {len(series)} series whole, {records} records" + (f", {twice} of them twice" if twice else "")

    def state(self, delivery):
        """Stop, upgrade, start; then back."""
        settings = self.settings(f"state-{delivery}", KAFKA_DELIVERY=delivery)
        self.some_time(self.before, settings)
        resumed = self.some_time(self.after, settings).wait_for("resumed")
        must(resumed["series"] > 0, "the state of before is read")
        seen(f"{delivery}: after goes on where before ended, {resumed['away_s']} s ago; {self.whole(settings)}")
        self.back(settings, delivery)

    def back(self, settings, delivery):
        with self.run(self.before, settings) as life:
            deadline = time.monotonic() + WAIT_S
            while life.process.poll() is None and not life.lines("service_ready") and time.monotonic() < deadline:
                time.sleep(0.05)
            if life.process.poll() is None:
                time.sleep(FLOW_S)
                life.stop()
                seen(f"{delivery}: before goes on where after ended; {self.whole(settings)}")
                return
            error = life.lines("service_stopped")[-1]["error"]
            must(TOO_NEW in error, "what is too new is refused by name", life.text()[-4000:])
            must(life.process.returncode == 1, "with exit code 1", str(life.process.returncode))
            seen(f"{delivery}: before refuses newer state, exit code 1: {error}")
        with self.run(self.after, settings) as life:
            life.wait_for("resumed")
            life.wait_for("service_ready")
            life.stop()
        seen(f"{delivery}: the refusal has touched nothing: after goes on; {self.whole(settings)}")
        other = settings | {"KAFKA_TOPIC_STATE": settings["KAFKA_TOPIC_STATE"] + "-back"}
        self.some_time(self.before, other)
        seen(f"{delivery}: before begins at the live edge with a state topic of its own")

    def take_over(self):
        """Started beside the one that runs: no stop at all."""
        settings = self.settings("taken-over", KAFKA_DELIVERY="exactly_once")
        with self.run(self.before, settings) as old:
            old.wait_for("service_ready")
            time.sleep(FLOW_S)
            with self.run(self.after, settings) as new:
                new.wait_for("service_ready")
                code = old.end()
                must(code == 76, "the older one ends with 76", str(code))
                time.sleep(FLOW_S)
                new.stop()
        seen(f"take-over: after started beside before, which ended with 76; {self.whole(settings)}")

    def spool(self, delivery):
        """What an outage left on the disk is drained by the other release."""
        for old, new in ((self.before, self.after), (self.after, self.before)):
            name = f"spool-{old.name}-{delivery}"
            settings = self.settings(name, KAFKA_DELIVERY=delivery, SPOOL_DIR=str(self.directory / name))
            with self.run(old, settings) as life:
                life.wait_for("service_ready")
                time.sleep(FLOW_S)
                os.kill(self.kafka, signal.SIGSTOP)
                life.wait_for("spool_started")
                time.sleep(FLOW_S)
                life.stop()
                left = life.wait_for("spool_left")["events"]
            os.kill(self.kafka, signal.SIGCONT)
            with self.run(new, settings) as life:
                deadline = time.monotonic() + WAIT_S
                while life.process.poll() is None and not life.lines("spool_drained") and time.monotonic() < deadline:
                    time.sleep(0.05)
                if life.process.poll() is not None:
                    error = life.lines("service_stopped")[-1]["error"]
                    must(TOO_NEW in error, "what is too new is refused by name", life.text()[-4000:])
                    seen(f"spool, {delivery}: {new.name} refuses what {old.name} left ({left} events): {error}")
                    continue
                life.wait_for("service_ready")
                recovered = life.stop()["recovered"]
            must(recovered > 0, "what was spooled is recovered")
            whole = self.whole(settings, repeats=delivery == "at_least_once")
            seen(f"spool, {delivery}: {old.name} left {left}, {new.name} drains {recovered}; {whole}")

    def recordings(self):
        """What one has recorded, the other plays."""
        for old, new in ((self.before, self.after), (self.after, self.before)):
            file = self.directory / f"{old.name}.gz"
            settings = self.settings(f"recorded-by-{old.name}")
            with Life(old, self.directory, "record", "--output", str(file), "--duration", "3", **settings) as life:
                must(life.end() == 0, "it records", life.text()[-2000:])
            with Life(new, self.directory, "replay", str(file), "--yes", **settings) as life:
                answer = life.process.stdout.read()
                must(life.end() == 0, "it replays", answer + life.text()[-2000:])
            seen(f"recordings: {new.name} plays what {old.name} recorded ({file.stat().st_size} bytes)")


def sources_of(commit, directory):
    sources = directory / "sources"
    sources.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", sources], input=archive, check=True)
    return sources


def child_of(pid):
    """The broker's own process, under the command that keeps it."""
    [child] = subprocess.run(
        ["pgrep", "-P", str(pid), "java"], check=True, capture_output=True, text=True
    ).stdout.split()
    return int(child)


def main(commit, *wanted):
    directory = Path(tempfile.mkdtemp(prefix="upgrade-trial-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        before = Release("before", sources_of(commit, directory), directory)
        after = Release("after", REPOSITORY, directory, "dev-broker")
        print(f"before: {commit}, after: what is checked out", flush=True)
        exchange = stack.enter_context(Life(after, directory, "simulate", "--symbols", SYMBOLS))
        broker = stack.enter_context(Life(after, directory, "dev-broker", "--port", "0"))
        where = json.loads(exchange.process.stdout.readline())
        kafka = json.loads(broker.process.stdout.readline())
        settings = {
            "BINANCE_WS_URL": where["ws_url"],
            "BINANCE_REST_URL": where["rest_url"],
            "KAFKA_BOOTSTRAP_SERVERS": kafka["bootstrap_servers"],
        }
        trial = Trial(before, after, directory, settings, child_of(broker.process.pid))
        steps = {
            "state": (partial(trial.state, "at_least_once"), partial(trial.state, "exactly_once")),
            "take-over": (trial.take_over,),
            "spool": (partial(trial.spool, "at_least_once"), partial(trial.spool, "exactly_once")),
            "recordings": (trial.recordings,),
        }
        for name in wanted or steps:
            for step in steps[name]:
                step()
    print(f"{len(wanted or steps)} passed, 0 failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
