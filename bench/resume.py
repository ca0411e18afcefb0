"""A resume after very many commits: how long reading the state topic takes, and how much is read.

    python bench/resume.py                                    # 20,000 commits at 10,000 series, a minute or two
    python bench/resume.py --commits 1000000 --writers 8      # the big one: a day of operation, in an hour or so

Each commit is a real transaction with what the service would write: the new marks of the series that changed, and the
owner's record. Several writers make it go faster; they take turns with the series and share nothing else, so the topic
holds what one writer would have left after as many commits. Meanwhile the broker compacts. Then the state is read as
the service does when it starts, again and again, so that the effect of compaction shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import trio
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from harness import Failed, broker, machine, print_table, record_counts
from ingest_actors.binance.resume import ResumeState
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.kafka.owner import Owner, encode, owner_key
from ingest_actors.kafka.state_topic import read_state
from ingest_actors.kafka.topics import ensure_topics
from ingest_actors.messages import EventBatch
from ingest_actors.settings import Settings

INSTANCE = "bench"
PARTITIONS = 6


class Commits:
    """So many commits, made by several writers.

    Args:
        servers: where.
        topic: the state topic.
        options: the command line.
    """

    def __init__(self, servers: str, topic: str, options: argparse.Namespace) -> None:
        self.done = 0
        self.records = 0
        self.failures: list[BaseException] = []
        self._servers = servers
        self._topic = topic
        self._options = options
        self._state = ResumeState(INSTANCE)
        self._lock = threading.Lock()
        self._until_s = time.monotonic() + options.seconds

    def run(self) -> float:
        """Make them; how long it took, seconds."""
        began = time.monotonic()
        writers = [threading.Thread(target=self._write, args=(number,)) for number in range(self._options.writers)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        if self.failures:
            raise Failed(f"a writer failed: {self.failures[0]!r}")
        return time.monotonic() - began

    def _next(self) -> int | None:
        with self._lock:
            if self.done >= self._options.commits or time.monotonic() > self._until_s:
                return None
            self.done += 1
            return self.done

    def _write(self, writer: int) -> None:
        try:
            producer = Producer(
                {
                    "bootstrap.servers": self._servers,
                    "transactional.id": f"{INSTANCE}-{writer}",
                    "compression.type": "snappy",
                    "linger.ms": 0,
                    "log_level": 0,
                }
            )
            producer.init_transactions(60)
            while (commit := self._next()) is not None:
                self._commit(producer, commit)
        except BaseException as failure:  # noqa: BLE001 - told by run
            self.failures.append(failure)

    def _commit(self, producer: Producer, commit: int) -> None:
        options = self._options
        producer.begin_transaction()
        with self._lock:
            first = commit * options.changed
            self._state.apply(batch_of([series % options.series for series in range(first, first + options.changed)]))
            change = self._state.change()
            self._state.settle(change)
            self.records += len(change.records) + 1
        for key, value in change.records:
            producer.produce(self._topic, value, key)
        owner = Owner("0123456789abcdef", 1, started=1, at=commit, commits=commit)
        producer.produce(self._topic, encode(owner), owner_key(INSTANCE))
        while True:
            try:
                return producer.commit_transaction(60)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise


TABLE = StreamTable()
ROUTES = [TABLE.route(kind) for name in ("aggregate_trade", "depth_update") if (kind := TABLE.kind(name)) is not None]


def batch_of(many: list[int]) -> EventBatch:
    """An event of each of these series. Ten thousand of them are five thousand symbols, two kinds."""
    now_ms = time.time_ns() // 1_000_000
    value = b'{"a":%d,"u":%d}' % (now_ms, now_ms)
    events = [(value, b"S%05dUSDT" % (series // 2), now_ms, ROUTES[series % 2]) for series in many]
    return EventBatch(events, received_at_ms=now_ms)


def read(settings: Settings) -> dict[str, Any]:
    """One resume."""
    state = ResumeState(INSTANCE)
    cpu_s = time.process_time()
    found = trio.run(read_state, settings, state)
    return {
        "read_s": round(found.read_s, 2),
        "cpu_s": round(time.process_time() - cpu_s, 2),
        "records": found.records,
        "keys": found.keys,
        "series": len(state),
        "owner": "" if found.seen.owner is None else f"commit {found.seen.owner.commits}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=7_200, help="make no more commits after that time")
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--changed", type=int, default=20, help="series that one commit changes")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--reads", type=int, default=3)
    parser.add_argument("--pause-s", type=float, default=20, help="between reads: the broker compacts")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument("--json", type=Path, help="write everything there")
    options = parser.parse_args()
    about = machine()
    with broker(options.bootstrap_servers) as (servers, kafka):
        about["kafka"] = kafka
        prefix = f"resume-{int(time.time())}-"
        names = ("raw_events", "trades", "depth", "dead_letters", "gaps", "state")
        settings = Settings(
            kafka_bootstrap_servers=servers,
            instance_name=INSTANCE,
            kafka_topic_partitions=PARTITIONS,
            **{f"kafka_topic_{name}": prefix + name for name in names},
        )
        trio.run(ensure_topics, settings)
        commits = Commits(servers, settings.kafka_topic_state, options)
        seconds = commits.run()
        written = commits.records
        print(f"{commits.done:,} commits, {written:,} records in {seconds:.0f} s", flush=True)
        reads = []
        for number in range(options.reads):
            if number:
                time.sleep(options.pause_s)
            reads.append(read(settings))
            print(json.dumps(reads[-1]), flush=True)
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        offsets = record_counts(admin, [settings.kafka_topic_state], PARTITIONS)[settings.kafka_topic_state]
    figures = {
        "commits": commits.done, "seconds": round(seconds, 1), "commits_per_s": round(commits.done / seconds, 1),
        "records_written": written, "offsets": offsets, "reads": reads,
    }  # fmt: skip
    print()
    rows = [(str(n), *(f"{each[name]}" for name in reads[0])) for n, each in enumerate(reads, 1)]
    print_table(("read", *reads[0]), rows)
    print("\n" + "\n".join(f"{name}: {value}" for name, value in (about | figures).items() if name != "reads"))
    if options.json:
        options.json.write_text(json.dumps({"about": about, **figures}, indent=1) + "\n")
    expected = min(options.series, commits.done * options.changed)
    return int(any(each["series"] != expected for each in reads))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"failed: {failure}")
