"""What `audit` answers: times, symbols, the table, the exit code, the bar."""

from __future__ import annotations

import io
import json

import pytest
import typer
from rich.console import Console

from ingest_actors.audit.compare import Altered
from ingest_actors.audit.journal import Explanation
from ingest_actors.audit.oddities import Stray, Unreadable
from ingest_actors.audit.records import Role, SeriesName, Window
from ingest_actors.audit.report import Report, SeriesReport, TopicReport
from ingest_actors.audit.spans import Spans
from ingest_actors.audit.view import View
from ingest_actors.commands import audit as command
from ingest_actors.commands import audit_progress
from ingest_actors.commands.audit import read_window, symbol_filter
from ingest_actors.commands.audit_table import say_report
from ingest_actors.settings import Settings

AT_MS = 1_767_708_180_000


def report_of(*series, **topic):
    return Report(list(series), [TopicReport(Role.RAW, "binance-raw-events", **topic)], records=10, seconds=2.0)


def whole(**more):
    return SeriesReport(
        SeriesName("BTCUSDT", "trade"), [View(Role.RAW, (0,), records=5, first=1, last=5)], **more
    )  # fmt: skip


@pytest.mark.parametrize("text", ["2026-01-06T14:03Z", "2026-01-06T14:03", "2026-01-06T15:03+01:00", str(AT_MS)])
def test_times_are_read_in_either_form(text):
    assert read_window(text, None) == Window(AT_MS, None)
    assert read_window(None, f" {text} ") == Window(None, AT_MS)


def test_no_time_lies_between_an_end_and_a_later_beginning():
    with pytest.raises(typer.BadParameter, match="is not after --since"):
        read_window(str(AT_MS), str(AT_MS))


def test_symbols_are_chosen_by_name_and_by_pattern_in_any_case():
    wants = symbol_filter("btcusdt, *EUR")
    assert wants is not None
    assert [wants(symbol) for symbol in ("BTCUSDT", "ETHEUR", "ETHUSDT", "", "BTCUSDT")] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert symbol_filter(None) is None


def test_the_exit_code_is_the_verdict(monkeypatch, capsys):
    answers = [report_of(whole()), report_of(whole(missing=Spans([(2, 3)])))]

    async def audited(*_args, **_options):
        return answers.pop(0)

    monkeypatch.setattr(command, "run_audit", audited)
    for code in (0, 1):
        assert command.audit(Settings(), window=Window(), wants=None, as_json=True) == code
        assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)


def test_the_answer_has_the_form_that_was_promised():
    told = json.loads(json.dumps(report_of(whole()).to_json()))
    assert {"ok", "series", "topics"} <= told.keys()
    assert {
        "symbol", "event_type", "first_id", "last_id", "records", "missing", "missing_explained", "duplicates",
        "out_of_order", "late",
    } <= told["series"][0].keys()  # fmt: skip
    assert told["records_per_second"] == 5


def test_the_table_names_the_first_defects_of_each_kind_and_counts_the_others(capsys):
    spoilt = whole(
        missing=Spans([(2, 3), (7, 7), (9, 9), (11, 11)]),
        explained=Spans([(20, 29)]),
        explanations=[Explanation(20, 29, "lost", "too_old")],
        duplicates={4: 2},
        out_of_order=[(5, 6)],
        late=Spans([(8, 8)]),
        altered=[Altered(12, ("p", "q"))],
        strays=[Stray(13, "")],
        only_in={Role.RAW: Spans([(14, 15)])},
    )
    say_report(report_of(spoilt, from_the_start=True, first_time=AT_MS, last_time=AT_MS + 1))
    text = capsys.readouterr().out
    for word in (
        "2-3, 7, 9 and 1 more", "20-29 (lost: too_old)", "4 x2", "5 after 6", "12 (p, q)", "13 under no key",
        "raw: 14-15", "DEFECT", "from 2026-01-06T14:03:00.000Z to 2026-01-06T14:03:00.001Z",
        "10 records, 5 records/s: NOT whole: unexplained defects in 1 of 1 series",
    ):  # fmt: skip
        assert word in text


def test_the_last_line_is_the_verdict(capsys):
    say_report(report_of(whole(), from_the_start=True))
    assert capsys.readouterr().out.endswith("10 records, 5 records/s: whole\n")
    say_report(report_of(whole(explained=Spans([(2, 2)]))))
    text = capsys.readouterr().out
    assert text.endswith("whole, but for what is explained in 1 series\n")
    assert "what was before is deleted" in text
    say_report(report_of())
    assert capsys.readouterr().out.endswith(": nothing to judge, for no event of what was asked for is in the topics\n")

    report = report_of(whole(), unreadable=[Unreadable(1, 7, "no event_type")], first_time=-1, last_time=10**18)
    report.window = Window(AT_MS, None)
    say_report(report)
    text = capsys.readouterr().out
    assert text.endswith("in 0 of 1 series, and records that do not belong where they are\n")
    assert "since 2026-01-06T14:03:00.000Z (Kafka timestamps): " in text
    assert "no event of ours: 1@7 (no event_type)" in text
    assert "1000000000000000000 ms" in text
    say_report(report_of(absent=True))
    assert "binance-raw-events: there is no such topic" in capsys.readouterr().out


def test_progress_is_shown_on_a_terminal_alone(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(audit_progress, "Console", lambda **_: Console(file=terminal, force_terminal=True, width=100))
    with audit_progress.shown_progress() as progress:
        assert progress is not None
        progress.begin("binance-raw-events", 100)
        progress.advance(60)
        progress.begin("binance-trades", 10)
        progress.advance(7)
    assert "binance-raw-events" in terminal.getvalue()
    for whole in ("60/60", "7/7"):
        assert whole in terminal.getvalue(), "markers of transactions are no records"
    assert "records/s" in terminal.getvalue()
    monkeypatch.setattr(audit_progress, "Console", lambda **_: Console(file=io.StringIO()))
    with audit_progress.shown_progress() as progress:
        assert progress is None


def test_the_table_says_how_many_dead_letters_there_are_of_each_reason(capsys):
    letters = TopicReport(
        Role.DEAD_LETTERS, "dead", records=1203, reasons={"": 1, "malformed_json": 1200, "refused": 2}
    )
    say_report(Report([whole()], [letters]))
    assert "dead: 1,203 records (1 without a reason, 1,200 malformed_json, 2 refused)\n" in capsys.readouterr().out
