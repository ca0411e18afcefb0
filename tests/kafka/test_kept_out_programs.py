"""Programs that Kafka does not let in: exit code 75, a line that says what to do, and no secret anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from guarded_broker import DAY

pytestmark = pytest.mark.broker

NOBODY = "127.0.0.1:1"
SECRET = "guess-secret"


@pytest.fixture
def ended(tmp_path):
    """Runs a command with settings to its end."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}

    def ended(*arguments, **settings):
        given = {name.upper(): str(value) for name, value in settings.items()}
        given |= {"BINANCE_WS_URL": f"ws://{NOBODY}", "BINANCE_REST_URL": f"http://{NOBODY}", "HTTP_PORT": "off"}
        return subprocess.run(
            [sys.executable, "-m", "ingest_actors", *arguments],
            env=kept | given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return ended


@pytest.fixture
def wrong(guarded, tmp_path):
    """Settings with a password that is none, in a file."""
    path = tmp_path / "password"
    path.write_text(SECRET)
    return guarded.settings("scram", kafka_sasl_username="erin", kafka_sasl_password_file=path)


def test_the_service_gives_up_with_75_as_max_retries_says_and_says_what_to_do(ended, wrong):
    done = ended("run", **wrong, max_retries=2, reconnect_interval=0.1)
    assert done.returncode == 75
    log = [json.loads(line) for line in done.stderr.splitlines()]
    failed = [line for line in log if line["event"] == "kafka_producer_creation_failed"]
    assert [(line["failures"], line["retry_in_s"] is None) for line in failed] == [(1, False), (2, True)]
    assert {line["target"] for line in failed} == {wrong["kafka_bootstrap_servers"]}
    assert all(line["cause"].startswith("the brokers do not let us in: ") for line in failed)
    assert {line["hint"] for line in failed} == {
        "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD (or its file) and KAFKA_SASL_MECHANISM"
    }
    last = log[-1]
    assert (last["event"], last["exit_code"], last["error_type"]) == ("service_stopped", 75, "SinkUnreachable")
    assert SECRET not in done.stderr + done.stdout


def test_a_certificate_that_has_expired_ends_it_with_75_too(ended, guarded, tmp_path):
    own = guarded.client_certificate(tmp_path, "erin", age=DAY)
    done = ended("run", **guarded.settings("mutual"), **own, max_retries=1, log_format="console")
    assert done.returncode == 75
    assert "certificate has expired" in done.stderr
    assert "renew the certificate in KAFKA_SSL_CERTIFICATE_LOCATION" in done.stderr
    assert "PRIVATE" not in done.stderr


@pytest.mark.parametrize("command", ["setup-topics", "audit"])
def test_a_tool_says_so_in_one_line(ended, wrong, command):
    done = ended(command, **wrong)
    assert (done.returncode, done.stdout) == (75, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{command}: cannot use Kafka at {wrong['kafka_bootstrap_servers']}: the brokers do not let")
    assert line.endswith("; check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD (or its file) and KAFKA_SASL_MECHANISM")
    assert SECRET not in line


def test_a_plan_says_so_too(ended, wrong):
    done = ended("plan", "--format", "json", **wrong)
    assert done.returncode == 75
    told = json.loads(done.stdout)
    assert told["brokers"]["cause"].startswith("the brokers do not let us in: ")
    assert told["brokers"]["hint"].startswith("check KAFKA_SASL_USERNAME")
    assert SECRET not in done.stdout + done.stderr
