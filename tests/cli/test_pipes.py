"""What commands write where nobody sits: no line is wrapped, padded or drawn, and nothing moves."""

from __future__ import annotations

import json

import pytest

from ingest_actors.commands.output import say_table


def ended(program):
    """Its exit code, once it has ended."""
    return program.end()


def test_a_table_in_a_pipe_has_a_row_a_line_and_columns_below_each_other(capsys):
    long = "x" * 120
    say_table(("name", "empty", "what"), [("币安人生USDT", "", long), ("b", "", "short\nlines")])
    assert capsys.readouterr().out == (f"name          what\n币安人生USDT  {long}\nb             short lines\n\n")


def test_bad_usage_in_a_pipe_is_told_in_lines_that_are_not_wrapped(start):
    program = start("audit", "--since", "1723161300")
    assert ended(program) == 2
    assert program.stdout == []
    assert program.stderr == [
        "Usage: python -m ingest_actors audit [OPTIONS]\n",
        "Try 'python -m ingest_actors audit -h' for help.\n",
        "\n",
        (
            "Error: Invalid value for --since: 1723161300 is taken for ms, and looks like s; accepted: ISO 8601, as in"
            " 2026-01-06T14:03Z, or ms since 1970, as in 1767708180000\n"
        ),
    ]


def test_a_command_that_is_misspelt_is_told_with_the_nearest(start):
    program = start("audti")
    assert ended(program) == 2
    assert program.stderr[-1] == "Error: No such command 'audti'. Did you mean 'audit'?\n"


def test_a_plan_in_a_pipe_has_a_line_a_topic_and_a_line_a_setting(start):
    program = start("plan", "--offline", KAFKA_BOOTSTRAP_SERVERS="embedded", SPOOL_DIR="spool")
    assert ended(program) == 0
    assert program.stderr == []
    lines = [line.rstrip("\n") for line in program.stdout]
    assert [line for line in lines if line != line.rstrip()] == []
    assert sum(line.startswith("binance-") for line in lines) == 6
    told = {line.split()[0].partition("=")[0]: line for line in lines if "=" in line or "<OPTION>" in line}
    assert "KAFKA_DELIVERY=at_least_once KAFKA_COMMIT_INTERVAL_MS=100" in told["KAFKA_DELIVERY"]
    assert (
        "nothing is missing after a crash; what was written within about the last second may be there twice"
        in told["KAFKA_DELIVERY"]
    )
    assert "an outage of Kafka goes to spool, up to 10GiB" in told["SPOOL_DIR"]
    assert "the other ends with exit code 76" in told["INSTANCE_NAME"]
    assert lines[-1] == "This can run, as far as can be told without asking anybody."


@pytest.mark.parametrize("arguments", [["plan", "--offline"]])
def test_json_is_one_line(start, arguments):
    program = start(*arguments, "--format", "json", KAFKA_BOOTSTRAP_SERVERS="embedded")
    assert ended(program) == 0
    (line,) = program.stdout
    assert json.loads(line)["ok"] is True
