"""What a log line looks like, embedded and on the command line."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest

from ingest_actors.errors import SettingsError
from ingest_actors.logs import LOGGER_NAME, get_logger, setup_logging
from ingest_actors.settings import Settings


@pytest.fixture
def stream():
    """A stream for log lines; afterwards logging is as it was."""
    root, ours = logging.getLogger(), logging.getLogger(LOGGER_NAME)
    before = root.handlers[:], root.level, ours.level
    root.handlers.clear()
    yield io.StringIO()
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


def test_importing_configures_nothing():
    code = (
        "import logging, structlog, ingest_actors.logs as logs\n"
        "logs.get_logger()\n"
        "assert not logging.getLogger().handlers\n"
        "assert not logging.getLogger(logs.LOGGER_NAME).handlers\n"
        "assert logging.getLogger(logs.LOGGER_NAME).level == logging.NOTSET\n"
        "assert not structlog.is_configured()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_embedded_a_line_is_an_ordinary_log_record_of_the_host(caplog):
    with caplog.at_level("INFO", logger=LOGGER_NAME):
        get_logger(actor="parser").info("dead_lettered", count=2, name="a field may be called name")
        get_logger().debug("not seen")
    (record,) = caplog.records
    assert record.name == LOGGER_NAME
    assert record.levelname == "INFO"
    assert record.getMessage() == "dead_lettered actor=parser count=2 name=a field may be called name"
    assert record.fields == {"actor": "parser", "count": 2, "name": "a field may be called name"}


def test_a_json_line_has_level_event_timestamp_instance_and_the_fields(stream):
    setup_logging("INFO", "json", instance="one", stream=stream)
    get_logger(actor="parser").warning("dead_lettered", count=2, path=sys, level=7, symbol="币")
    get_logger(instance="two").info("service_metrics")
    get_logger().debug("not seen")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "level": "warning", "event": "dead_lettered", "instance": "one", "actor": "parser", "count": 2,
        "path": str(sys), "level_": 7, "symbol": "币",
    }  # fmt: skip
    assert second["instance"] == "two"
    assert "币" in stream.getvalue()


def test_a_traceback_stays_on_its_line(stream):
    setup_logging(stream=stream)
    get_logger().error("service_crashed", exc_info=RuntimeError("a bug"))
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("RuntimeError: a bug")


def test_other_libraries_speak_in_the_same_form_and_only_when_it_matters(stream):
    setup_logging("DEBUG", stream=stream)
    logging.getLogger("httpx").info("GET %s", "url")
    logging.getLogger("httpx").warning("slow %s", "url")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["logger"], line["level"]) == ("slow url", "httpx", "warning")


def test_the_console_form_is_for_people_and_has_no_colours_off_a_terminal(stream):
    setup_logging("INFO", "console", stream=stream)
    get_logger().info("connection_opened", url="wss://x")
    assert "[info     ] connection_opened url=wss://x" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_the_console_form_has_colours_on_a_terminal(stream, monkeypatch):
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    setup_logging("INFO", "console", stream=stream)
    get_logger().info("connection_opened")
    assert "\x1b" in stream.getvalue()


HOSTILE = "a\x1b[31mred\x1b]0;title\x07\nforged line\r\x9b2J\u2028\u202e\x7f\ud800"


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_others_have_sent_commands_no_terminal_and_forges_no_line(stream, form):
    setup_logging("INFO", form, stream=stream)
    get_logger().warning("dead_lettered", detail=HOSTILE, nested={"k": [HOSTILE]})
    logging.getLogger("other").warning("%s", HOSTILE)
    with pytest.raises(SettingsError) as raised:
        Settings(binance_symbols=HOSTILE)
    get_logger().error("failed", exc_info=SettingsError([HOSTILE]).with_traceback(raised.value.__traceback__))
    text = stream.getvalue()
    assert not set(text) & set("\x1b\x07\r\x9b\u2028\u202e\x7f\ud800")
    text.encode()
    before_the_traceback = text.partition("Traceback")[0]
    assert not [line for line in before_the_traceback.splitlines() if line.startswith("forged line")]


def test_in_json_every_character_can_be_had_back(stream):
    setup_logging("INFO", "json", stream=stream)
    get_logger().warning("dead_lettered", detail=HOSTILE)
    assert json.loads(stream.getvalue())["detail"] == HOSTILE
