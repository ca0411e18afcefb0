"""Makes what a release leaves behind: the files of tests/packaging/before, which later releases must read.

    python tests/packaging/leave_behind.py COMMIT DIRECTORY

The release of COMMIT is installed from its wheel and run against a simulated exchange and a real broker, which is
stopped under it. What it leaves: its records in the state topic, its spool, a recording, and what it said of them.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from upgrade_trial import Life, Release, Trial, child_of, sources_of

from ingest_actors.commands.output import program_version

FLOW_S = 2.0


def state_records(servers, topic):
    """The last record of each key."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "leave-behind", "enable.partition.eof": True})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    records, ended = {}, 0
    while ended < len(partitions):
        message = consumer.poll(10)
        if message.error():
            ended += 1
        else:
            records[message.key()] = message.value()
    consumer.close()
    return records


def main(commit, target):
    target = Path(target).absolute()
    directory = Path(tempfile.mkdtemp(prefix="leave-behind-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        release = Release("before", sources_of(commit, directory), directory, "dev-broker")
        exchange = stack.enter_context(Life(release, directory, "simulate", "--symbols", "BTCUSDT"))
        broker = stack.enter_context(Life(release, directory, "dev-broker", "--port", "0"))
        where = json.loads(exchange.process.stdout.readline())
        servers = json.loads(broker.process.stdout.readline())["bootstrap_servers"]
        kafka = child_of(broker.process.pid)
        given = {
            "BINANCE_WS_URL": where["ws_url"],
            "BINANCE_REST_URL": where["rest_url"],
            "KAFKA_BOOTSTRAP_SERVERS": servers,
        }
        trial = Trial(release, release, directory, given, kafka)
        settings = trial.settings("left", BINANCE_SYMBOLS="BTCUSDT", SPOOL_DIR=str(directory / "spool"))
        recording = target / "recording.gz"
        recording.unlink(missing_ok=True)
        with Life(release, directory, "record", "--output", str(recording), "--duration", "1", **settings) as life:
            assert life.end() == 0, life.text()
        with trial.run(release, settings) as life:
            life.wait_for("service_ready")
            time.sleep(FLOW_S)
            os.kill(kafka, signal.SIGSTOP)
            life.wait_for("spool_started")
            time.sleep(FLOW_S)
            life.stop()
            left = life.wait_for("spool_left")["events"]
        os.kill(kafka, signal.SIGCONT)
        records = state_records(servers, settings["KAFKA_TOPIC_STATE"])
        (target / "spool.gz").write_bytes(gzip.compress((directory / "spool" / "left.spool").read_bytes(), mtime=0))
        lines = [json.dumps([key.decode(), value.decode()]) for key, value in sorted(records.items())]
        (target / "state.jsonl").write_text("\n".join(lines) + "\n")
        said = {"commit": commit, "program": program_version(), "spooled": left}
        (target / "said.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
