"""Commands, usage errors, help; what becomes of errors."""

from __future__ import annotations

import resource
import signal

import pytest

from ingest_actors import __main__, cli
from ingest_actors.commands import operation
from ingest_actors.errors import ActorFailed, ExchangeUnreachable, SettingsError

COMMANDS = tuple(cli.COMMANDS)


@pytest.fixture
def failing(monkeypatch):
    """Makes a command `healthcheck` that raises."""

    def fail(error):
        def healthcheck():
            raise error

        monkeypatch.setattr(cli, "COMMANDS", {"healthcheck": healthcheck})
        return cli.main(["healthcheck"])

    return fail


def test_the_commands_are_those_that_were_promised():
    assert COMMANDS == (
        "run",
        "plan",
        "demo",
        "simulate",
        "record",
        "replay",
        "setup-topics",
        "audit",
        "dev-broker",
        "healthcheck",
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command, capsys):
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "For example:" in text
    assert f"python -m ingest_actors{'' if command == 'run' else f' {command}'}" in text


@pytest.mark.parametrize("command", ["run", "plan", "record", "replay", "setup-topics", "audit", "healthcheck"])
def test_commands_that_read_settings_take_an_env_file(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert "--env-file" in capsys.readouterr().out


def test_the_name_of_a_recording_is_shown_whole(capsys):
    assert cli.main(["record", "--help"]) == 0
    assert "recording-TIME.gz" in capsys.readouterr().out


def test_the_overview_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert [command for command in COMMANDS if f"│ {command} " not in text] == []


def test_the_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.count(".") == 2


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ["run"]),
        (["--env-file", "x"], ["run", "--env-file", "x"]),
        (["demo"], ["demo"]),
        (["-h"], ["-h"]),
        (["--version"], ["--version"]),
    ],
)
def test_run_is_meant_when_no_command_is_named(arguments, command):
    assert cli.with_command(arguments) == command


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["no-such-command"],
        ["run", "extra"],
        ["simulate", "--ws-port", "70000"],
        ["simulate", "--ws-port", "any"],
        ["simulate", "--symbols", ","],
        ["simulate", "--speed", "-1"],
        ["simulate", "--recording", "/nowhere/at-all"],
        ["simulate", "--faults", "/nowhere/at-all"],
        ["record", "--duration", "-1"],
        ["record", "--rotate-mib", "0"],
        ["replay"],
        ["replay", "x.gz", "--speed", "-1"],
        ["dev-broker", "--nodes", "4"],
        ["dev-broker", "--nodes", "2"],
        ["setup-topics", "--format", "xml"],
        ["setup-topics", "--allow-repartition"],
        ["audit", "--format", "xml"],
        ["audit", "--since", "Tuesday"],
        ["audit", "--since", "1723161300"],
        ["audit", "--until", "1723161300123456"],
        ["audit", "--since", "2026-01-06T15:00", "--until", "2026-01-06T14:00"],
        ["audit", "--symbols", " ,"],
    ],
)
def test_bad_usage_ends_with_exit_code_2(arguments, capsys):
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err


def test_our_errors_are_told_in_a_line_with_their_exit_code(failing, capsys):
    assert failing(ExchangeUnreachable("wss://x", "no route", hint="check the network")) == 75
    assert capsys.readouterr().err == "healthcheck: cannot reach wss://x: no route; check the network\n"


def test_an_error_in_a_group_is_told_like_one_alone(failing, capsys):
    inner = ExceptionGroup("inner", [ActorFailed("producer", ExchangeUnreachable("x", "y"))])
    assert failing(BaseExceptionGroup("outer", [ValueError("beside"), inner])) == 75
    assert capsys.readouterr().err.startswith("healthcheck: producer failed after 0 restarts")


def test_bad_settings_of_a_tool_are_listed(failing, capsys):
    assert failing(SettingsError(["ONE: bad", "TWO: bad"])) == 2
    assert capsys.readouterr().err == "settings refused:\n  ONE: bad\n  TWO: bad\n"


def test_a_system_error_is_told_in_a_line(failing, capsys):
    assert failing(OSError(98, "Address already in use")) == 1
    assert capsys.readouterr().err == "healthcheck: [Errno 98] Address already in use\n"


def test_a_bug_in_a_tool_is_not_hidden(failing):
    with pytest.raises(ZeroDivisionError):
        failing(ExceptionGroup("bugs", [ZeroDivisionError()]))


def test_an_exit_with_a_text_counts_as_failure(failing):
    assert failing(SystemExit("a text")) == 1
    assert failing(SystemExit(None)) == 0


def test_main_takes_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ingest-actors", "--version"])
    assert __main__.main() == 0
    assert capsys.readouterr().out


def test_help_takes_a_fraction_of_a_second(start):
    """Of CPU time, since other tests may be running beside this one."""
    times_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert start("--help").end() == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times_s) < 0.6


def test_nothing_heavy_is_imported_for_help(start):
    program = start("--help", PYTHONPROFILEIMPORTTIME="1")
    assert program.end() == 0
    imported = {line.rsplit("|")[-1].strip() for line in program.stderr}
    assert "typer" in imported
    assert imported.isdisjoint(
        {"trio", "pydantic", "confluent_kafka", "httpx", "starlette", "hypercorn", "trio_websocket"}
    )


def test_the_programs_commands_are_documented_in_the_same_words():
    assert operation.run.__doc__.startswith("Stream from the exchange into Kafka")


def test_healthcheck_says_what_it_found(capsys, monkeypatch):
    monkeypatch.setenv("HTTP_PORT", "off")
    assert cli.main(["healthcheck"]) == 1
    assert capsys.readouterr().out == "unhealthy: HTTP_PORT=off, so there is nothing to ask; set a port\n"


def test_healthcheck_refuses_bad_settings_like_every_command(capsys, tmp_path):
    (tmp_path / "my.env").write_text("HTTP_PORT=x\nBATCH_SIZE=0\n")
    assert cli.main(["healthcheck", "--env-file", str(tmp_path / "my.env")]) == 2
    text = capsys.readouterr().err
    assert text.startswith("settings refused:\n")
    assert "HTTP_PORT='x'" in text
    assert "BATCH_SIZE='0'" in text


def test_a_file_of_settings_that_was_named_must_be_there(capsys):
    assert cli.main(["healthcheck", "--env-file", ".env"]) == 2
    assert "--env-file .env: No such file; accepted: a file of NAME=value lines" in capsys.readouterr().err


def test_setup_topics_refuses_the_embedded_brokers(capsys, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "embedded")
    assert cli.main(["setup-topics"]) == 2
    assert "its topics live and die with the process that writes them" in capsys.readouterr().err


def test_audit_refuses_the_embedded_brokers(capsys, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "embedded")
    assert cli.main(["audit"]) == 2
    assert "KAFKA_BOOTSTRAP_SERVERS='embedded': its topics end with the process" in capsys.readouterr().err


def test_audit_of_a_cluster_that_is_not_there_ends_with_75(capsys, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert cli.main(["audit", "--since", "2026-01-06T14:00Z"]) == 75
    assert capsys.readouterr().err.startswith("audit: cannot use Kafka at 127.0.0.1:1: nothing listens there")


def test_a_time_in_another_unit_is_refused_with_the_unit_that_is_meant(capsys):
    assert cli.main(["audit", "--since", "1723161300"]) == 2
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "--since: 1723161300 is taken for ms, and looks like s" in text


def test_a_simulated_exchange_announces_itself_and_ends_cleanly(start, tmp_path):
    (tmp_path / "faults.toml").write_text('[[fault]]\ndo = "cut"\nafter_frames = 5\n')
    program = start("simulate", "--ws-port", "0", "--rest-port", "0", "--faults", "faults.toml", "--seed", "3")
    ready = program.answer()
    assert ready["ws_url"].startswith("ws://127.0.0.1:")
    assert ready["rest_url"].startswith("http://127.0.0.1:")
    assert ready["ca_file"] is None
    program.send(signal.SIGINT)
    assert program.end() == 0
    assert program.stderr == []


def test_a_fault_script_that_is_not_understood_is_refused(start, tmp_path):
    (tmp_path / "faults.toml").write_text('[[fault]]\ndo = "explode"\n')
    program = start("simulate", "--faults", "faults.toml")
    assert program.end() == 2
    assert program.stderr[0] == "settings refused:\n"
    assert "explode" in program.stderr[1]


@pytest.mark.parametrize(("option", "field"), [("--ws-port", "ws_port"), ("--rest-port", "rest_port")])
def test_a_port_that_is_taken_is_told_in_a_line_with_its_option(start, option, field):
    first = start("simulate")
    port = first.answer()["ws_url"].rpartition(":")[2]
    second = start("simulate", option, port)
    assert second.end() == 1
    (line,) = second.stderr
    assert line.startswith("simulate: ")
    assert f"{option} {port} ({field}): Address already in use; accepted: a free port, or 0 for any" in line


@pytest.mark.broker
def test_a_development_broker_announces_itself_and_ends_cleanly(start, tmp_path):
    program = start("dev-broker", "--port", "0", "--data-dir", str(tmp_path / "data"))
    ready = program.answer()
    assert ready["bootstrap_servers"].startswith("127.0.0.1:")
    program.send(signal.SIGTERM)
    assert program.end() == 0
