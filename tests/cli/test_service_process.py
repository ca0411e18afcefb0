"""The service as a real process: signals, exit codes, first and last log lines, its health."""

from __future__ import annotations

import signal
import socket
import time

import pytest
from programs import Program

from ingest_actors import cli
from ingest_actors.kafka.dev_broker import dev_broker

SYMBOLS = "BTCUSDT,ETHUSDT"


@pytest.fixture
def closed_port():
    """A port of this machine where nobody listens, for as long as the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """A simulated exchange for all of them; the settings that lead to it."""
    program = Program.start("simulate", "--symbols", SYMBOLS, cwd=tmp_path_factory.mktemp("exchange"))
    ready = program.answer()
    yield {
        "BINANCE_SYMBOLS": SYMBOLS,
        "BINANCE_WS_URL": ready["ws_url"],
        "BINANCE_REST_URL": ready["rest_url"],
        "HTTP_PORT": "0",
    }
    program.kill()


@pytest.fixture(scope="module")
def pausable_broker():
    """A Kafka that these tests may pause."""
    with dev_broker() as cluster:
        yield cluster


@pytest.fixture
def flowing(start, exchange):
    """Starts the service against it and waits until events flow into the embedded Kafka."""

    def flowing(**environ):
        given = exchange | {"KAFKA_BOOTSTRAP_SERVERS": "embedded", "MONITOR_INTERVAL_SECONDS": "0.2"} | environ
        service = start("run", **given)
        while service.wait_for("service_metrics")["messages_processed"] == 0:
            pass
        return service

    return flowing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_stops_with_exit_code_0(flowing, number):
    service = flowing()
    service.send(number)
    assert service.end() == 0
    last = service.log()[-1]
    assert (last["event"], last["level"]) == ("service_stopped", "info")
    assert (last["reason"], last["exit_code"], last["signals"]) == ("stopped", 0, [number.name])
    assert last["ledger"]["in_flight"] == 0
    ledger = last["ledger"]
    assert ledger["received"] + ledger["backfilled"] == ledger["delivered"] > 0
    assert (last["unfinished"], last["left"]) == ([], {})
    assert service.stdout == []


def test_the_first_line_says_what_runs(flowing):
    service = flowing(INSTANCE_NAME="mine", HTTP_TOKEN="hunter2-swordfish")
    first = service.log()[0]
    assert (first["event"], first["instance"], first["version"]) == ("service_started", "mine", "0.1.0")
    assert first["settings"]["INSTANCE_NAME"] == "mine"
    assert first["settings"]["HTTP_TOKEN"] == "***"
    assert "hunter2" not in "".join(service.stderr)
    assert any("KAFKA_BOOTSTRAP_SERVERS=embedded" in line.get("warning", "") for line in service.log())


@pytest.fixture
def from_file(start, exchange, tmp_path):
    """Starts the service with all of its settings in a file; writes the file."""
    common = exchange | {"KAFKA_BOOTSTRAP_SERVERS": "embedded", "MONITOR_INTERVAL_SECONDS": "0.2"}

    def write(**given):
        text = "".join(f"{name}={value}\n" for name, value in (common | given).items())
        (tmp_path / "service.env").write_text(text)

    def from_file(environ=None, **given):
        write(**given)
        service = start("run", "--env-file", "service.env", **(environ or {}))
        while service.wait_for("service_metrics")["messages_processed"] == 0:
            pass
        return service, write

    return from_file


def test_a_hangup_moves_symbols_stream_types_and_the_log_level_over(from_file):
    service, write = from_file(BINANCE_SYMBOLS="BTCUSDT", BINANCE_STREAM_TYPES="trade,bookTicker")
    write(BINANCE_SYMBOLS="BTCUSDT,ETHUSDT", BINANCE_STREAM_TYPES="trade,depth@100ms", LOG_LEVEL="WARNING")
    service.send(signal.SIGHUP)
    changed = service.wait_for("streams_changed")
    assert (changed["added"], changed["removed"]) == (3, 1)
    assert changed["streams_removed"] == ["btcusdt@bookTicker"]
    assert service.wait_for("settings_reloaded")["settings"]["BINANCE_SYMBOLS"] == "BTCUSDT,ETHUSDT"
    time.sleep(1)
    write(BINANCE_SYMBOLS="BTCUSDT,ETHUSDT", BINANCE_STREAM_TYPES="trade,depth@100ms")
    service.send(signal.SIGHUP)
    while "depth_update" not in service.wait_for("service_metrics")["ledger"]["by_event_type"]:
        pass
    service.send(signal.SIGTERM)
    assert service.end() == 0
    log = service.log()
    assert [line["event"] for line in log if line["event"] in ("gap_opened", "connection_closed")] == []
    assert sum(line["event"] == "connection_opened" for line in log) == 1
    ledger = log[-1]["ledger"]
    assert ledger["received"] + ledger["backfilled"] == ledger["delivered"] > 0


def test_a_hangup_with_what_cannot_be_taken_over_changes_nothing_and_says_why(from_file):
    service, write = from_file(environ={"BATCH_SIZE": "50"}, BINANCE_SYMBOLS="BTCUSDT", BATCH_SIZE="50")
    write(BINANCE_SYMBOLS="ETHUSDT", INSTANCE_NAME="other", BATCH_SIZE="60")
    service.send(signal.SIGHUP)
    assert service.wait_for("settings_shadowed")["names"] == ["BATCH_SIZE"]
    (problem,) = service.wait_for("reload_refused")["problems"]
    assert problem.startswith("INSTANCE_NAME='other': a change of it needs a restart; accepted: changes of BINANCE_")
    write(BINANCE_SYMBOLS="ETHUSDT", BINANCE_STREAM_TYPES="trades")
    service.send(signal.SIGHUP)
    assert "did you mean trade?" in service.wait_for("reload_refused")["problems"][0]
    before = service.wait_for("service_metrics")["messages_processed"]
    while service.wait_for("service_metrics")["messages_processed"] <= before:
        pass
    service.send(signal.SIGTERM)
    assert service.end() == 0
    assert not any(line["event"] == "streams_changed" for line in service.log())


def test_a_running_service_is_healthy_and_a_stopped_one_is_not(flowing, monkeypatch, capsys):
    service = flowing()
    url = next(line["url"] for line in service.log() if line["event"] == "http_listening")
    monkeypatch.setenv("HTTP_PORT", url.rpartition(":")[2])
    assert cli.main(["healthcheck"]) == 0
    assert capsys.readouterr().out == f"healthy ({url}); ready\n"
    service.send(signal.SIGTERM)
    assert service.end() == 0
    assert cli.main(["healthcheck"]) == 1
    assert "does not answer" in capsys.readouterr().out


def test_a_file_of_settings_is_enough(start, exchange, tmp_path):
    given = exchange | {"KAFKA_BOOTSTRAP_SERVERS": "embedded", "HTTP_PORT": "off", "LOG_FORMAT": "console"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    service = start()
    deadline = time.monotonic() + 30
    while "service_ready" not in "".join(service.stderr):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    service.send(signal.SIGINT)
    assert service.end() == 0
    assert "http_listening" not in "".join(service.stderr)
    assert "service_stopped" in service.stderr[-1]


def test_an_exchange_that_cannot_be_reached_ends_it_with_75(start, closed_port):
    service = start(
        "run",
        BINANCE_WS_URL=f"ws://127.0.0.1:{closed_port}", BINANCE_REST_URL=f"http://127.0.0.1:{closed_port}",
        KAFKA_BOOTSTRAP_SERVERS="embedded", MAX_RETRIES="2", RECONNECT_INTERVAL="0.1", HTTP_PORT="off",
    )  # fmt: skip
    assert service.end() == 75
    failures = [line for line in service.log() if line["event"] == "websocket_connection_failed"]
    assert len(failures) == 2
    assert all(line["url"].startswith(f"ws://127.0.0.1:{closed_port}") for line in failures)
    last = service.log()[-1]
    assert (last["event"], last["level"], last["reason"], last["exit_code"]) == (
        "service_stopped", "error", "failed", 75,
    )  # fmt: skip
    assert str(closed_port) in last["error"]
    assert not any("exception" in line for line in service.log())


def test_brokers_that_cannot_be_reached_are_told_within_10_s_and_end_it_with_75(start, exchange, closed_port):
    began = time.monotonic()
    service = start("run", **exchange | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port}", "MAX_RETRIES": "1"})
    told = service.wait_for("kafka_producer_creation_failed")
    assert time.monotonic() - began < 10
    assert told["target"] == f"127.0.0.1:{closed_port}"
    assert told["hint"]
    assert service.end() == 75
    assert service.log()[-1]["exit_code"] == 75


def test_a_signal_ends_the_wait_for_brokers_cleanly(start, exchange, closed_port):
    service = start("run", **exchange | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{closed_port}", "MAX_RETRIES": "0"})
    service.wait_for("kafka_producer_creation_failed")
    service.send(signal.SIGTERM)
    assert service.end(5) == 0


def test_a_port_that_is_taken_is_told_clearly(start, exchange):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start("run", **exchange | {"KAFKA_BOOTSTRAP_SERVERS": "embedded", "HTTP_PORT": str(port)})
        assert service.end() == 1
    last = service.log()[-1]
    assert (last["event"], last["exit_code"]) == ("service_stopped", 1)
    assert f"cannot listen on 127.0.0.1:{port}" in last["error"]


@pytest.mark.broker
def test_a_drain_that_cannot_finish_ends_with_1_and_names_who_was_unfinished(flowing, pausable_broker, topic_prefix):
    service = flowing(
        KAFKA_BOOTSTRAP_SERVERS=pausable_broker.bootstrap_servers,
        SHUTDOWN_TIMEOUT_SECONDS="1",
        INSTANCE_NAME=topic_prefix,
    )
    pausable_broker.pause()
    while service.wait_for("service_metrics")["messages_buffered"] == 0:
        pass
    service.send(signal.SIGTERM)
    asked = time.monotonic()
    assert service.end(10) == 1
    assert time.monotonic() - asked < 6
    last = service.log()[-1]
    assert (last["event"], last["exit_code"], last["error_type"]) == ("service_stopped", 1, "DrainTimedOut")
    assert "producer" in last["unfinished"]
    assert last["ledger"]["in_flight"] > 0
    pausable_broker.resume()


@pytest.mark.broker
def test_a_second_signal_stops_at_once(flowing, pausable_broker):
    service = flowing(KAFKA_BOOTSTRAP_SERVERS=pausable_broker.bootstrap_servers, SHUTDOWN_TIMEOUT_SECONDS="600")
    pausable_broker.pause()
    while service.wait_for("service_metrics")["messages_buffered"] == 0:
        pass
    service.send(signal.SIGTERM)
    service.wait_for("stop_asked")
    service.send(signal.SIGINT)
    asked = time.monotonic()
    assert service.end(10) == 1
    assert time.monotonic() - asked < 5
    last = service.log()[-1]
    assert (last["reason"], last["exit_code"], last["signals"]) == ("cancelled", 1, ["SIGTERM", "SIGINT"])
    pausable_broker.resume()
