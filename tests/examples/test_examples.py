"""Every example runs as it is given, against a simulated exchange and an in-process Kafka."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def exchange():
    command = [sys.executable, "-m", "ingest_actors", "simulate", "--ws-port", "0", "--rest-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.wait(20)


def run(exchange, name, *arguments, **settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BINANCE_", "KAFKA_"))}
    environment |= {
        "BINANCE_WS_URL": exchange["ws_url"],
        "BINANCE_REST_URL": exchange["rest_url"],
        "KAFKA_BOOTSTRAP_SERVERS": "embedded",
    }
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def figure(output, word):
    return int(next(line for line in output.splitlines() if line.startswith(word)).split()[1])


def test_in_a_trio_program(exchange):
    done = run(exchange, "in_a_trio_program.py", "2")
    assert done.returncode == 0, done.stderr
    assert figure(done.stdout, "processed") > 0
    assert "connected True" in done.stdout
    assert "in flight 0" in done.stdout


def test_in_a_threaded_program(exchange):
    done = run(exchange, "in_a_threaded_program.py", "2")
    assert done.returncode == 0, done.stderr
    assert figure(done.stdout, "processed") > 0
    assert "stopped True" in done.stdout


def test_in_an_asyncio_program(exchange):
    done = run(exchange, "in_an_asyncio_program.py", "2")
    assert done.returncode == 0, done.stderr
    assert figure(done.stdout, "processed") > 0
    assert done.stdout.rstrip().endswith("stopped")


def test_an_asyncio_program_gets_the_failure_as_one_error(exchange):
    done = run(exchange, "in_an_asyncio_program.py", "30", BINANCE_WS_URL="ws://127.0.0.1:9", MAX_RETRIES="1")
    assert done.returncode == 75, done.stderr
    assert done.stdout.startswith("the service failed: connection ws-1 failed")


def test_with_a_sink_of_your_own(exchange, tmp_path):
    done = run(exchange, "with_a_sink_of_your_own.py", "2", str(tmp_path / "events.jsonl"))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert len(lines) == figure(done.stdout, "written") > 0
    assert {"ingestion_timestamp", "source", "event_type"} <= json.loads(lines[0]).keys()
