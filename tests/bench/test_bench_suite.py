"""What the figures of the benches rest on: turns, ratios, bars, and documents that say what the results say."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
ABOUT = {
    "cpu": "A CPU", "cores": 2, "memory_gib": 4.0, "system": "Linux 6", "python": "3.11.7", "trio": "0.35.0",
    "confluent-kafka": "2.16.1", "load_before": 0.5, "at": "2026-11-23T03:08:21Z",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def script(name):
    return importlib.import_module(name)


def a_part(**more):
    columns = {"messages_per_s": ("messages/s", 0)}
    return SimpleNamespace(NAME="some", ABOUT="how fast", COLUMNS=columns, plot=None, **more)


def a_result(**more):
    rates = {
        "ours": {"median": 2000.0, "min": 1000.0, "max": 3000.0},
        "theirs": {"median": 5.0, "min": 5.0, "max": 5.0},
    }
    summary = {who: {"messages_per_s": rate} for who, rate in rates.items()}
    rows = [{"round": 0}, {"round": 1}]
    return {"part": "some", "about": ABOUT, "rows": rows, "summary": summary, "bars": [], **more}


def test_every_other_round_runs_the_other_way_about():
    turns = list(script("part").in_turn(["a", "b", "c"], 3))
    assert turns == [(0, "a"), (0, "b"), (0, "c"), (1, "c"), (1, "b"), (1, "a"), (2, "a"), (2, "b"), (2, "c")]


def test_ratios_are_taken_within_a_round_and_not_between_medians():
    rows = [
        {"client": "a", "round": 0, "rate": 10}, {"client": "b", "round": 0, "rate": 5},
        {"client": "b", "round": 1, "rate": 1}, {"client": "a", "round": 1, "rate": 4},
        {"client": "a", "round": 2, "rate": 90}, {"client": "b", "round": 2, "rate": 30},
    ]  # fmt: skip
    assert script("part").ratio(rows, "rate", "a", "b") == {"median": 3.0, "min": 2.0, "max": 4.0}


@pytest.mark.parametrize(
    ("figure", "limits", "met"),
    [
        (14.0, {"at_least": 14}, True),
        (13.99, {"at_least": 14}, False),
        (1.35, {"at_most": 1.35}, True),
        (1.36, {"at_most": 1.35}, False),
        (None, {"at_least": 14}, None),
    ],
)
def test_a_bar_is_met_exactly_from_its_figure_on_and_unknown_without_one(figure, limits, met):
    assert script("part").bar("something", figure, **limits)["met"] is met


def test_a_document_gets_what_its_markers_name_and_keeps_everything_else():
    report = script("report")
    documents = report.Documents({"some": a_part(), "other": a_part()}, {"some": a_result()})
    text = (
        "Before <!-- bench:value some summary.ours.messages_per_s.median ,.0f -->old<!-- /bench --> after\n"
        "<!-- bench:table some -->old\nold<!-- /bench -->\n"
        "<!-- bench:plot some --><!-- /bench -->\n"
        "<!-- bench:table other --><!-- /bench -->\n"
    )
    filled = documents.fill(text, BENCH / "README.md")
    assert filled == (
        "Before <!-- bench:value some summary.ours.messages_per_s.median ,.0f -->2,000<!-- /bench --> after\n"
        "<!-- bench:table some -->\n\n"
        "| client | messages/s |\n| --- | ---: |\n| ours | 2,000 (1,000 to 3,000) |\n| theirs | 5 |\n\n"
        "2 alternating rounds, median (lowest to highest). 2 cores of A CPU, 4.0 GiB, Linux 6, Python 3.11.7, "
        "trio 0.35.0, confluent-kafka 2.16.1; load before 0.5, 2026-11-23.\n\n"
        "<!-- /bench -->\n"
        "<!-- bench:plot some -->\n\n![some: how fast](results/some.png)\n\n<!-- /bench -->\n"
        "<!-- bench:table other -->\n\nNot measured yet: `make bench PART=other`.\n\n<!-- /bench -->\n"
    )
    assert documents.fill(filled, BENCH / "README.md") == filled


def test_every_part_says_in_the_document_what_its_own_text_says():
    text = """Something alone.\n\n    python bench/part_some.py\n\nThe rest\nof it.\n"""
    documents = script("report").Documents({"some": a_part(__doc__=text)}, {})
    assert documents.fill("<!-- bench:parts --><!-- /bench -->", BENCH / "README.md") == (
        "<!-- bench:parts -->\n\n### some\n\nSomething alone.\n\nThe rest\nof it.\n\n"
        "Not measured yet: `make bench PART=some`.\n\n<!-- /bench -->"
    )


def test_an_unmet_bar_is_shown_with_its_figure_and_what_stands_in_the_way():
    bar = script("part").bar
    found = [
        bar("rate", 13.5, at_least=14, unit=" times", why="the broker"),
        bar("CPU", None, at_most=1.35, why="no cargo on this machine"),
    ]
    assert script("report").bars([a_result(bars=found)]).splitlines()[2:] == [
        "| rate | 13.50 times | at least 14 times | **no**: the broker |",
        "| CPU | not measured | at most 1.35 | -: no cargo on this machine |",
    ]


def test_no_document_says_anything_but_the_results():
    """Whoever runs benches commits the documents with the results; nobody edits between the markers."""
    changed = script("report").write_documents(script("suite").parts(), check=True)
    assert changed == []


def test_every_part_has_what_the_suite_asks_for():
    for name, module in script("suite").parts().items():
        assert name == module.NAME
        assert "\n" not in module.ABOUT
        assert callable(module.run)
        assert callable(module.plot)
        assert hasattr(module, "COLUMNS") or hasattr(module, "table")


def test_a_client_that_cannot_run_here_is_named_with_the_reason(monkeypatch):
    registry = script("registry")
    absent = registry.Client("gone", "not there", ("gone",), missing=lambda: "no gone on this machine")
    there = registry.Client("here", "there", ("here",))
    monkeypatch.setattr(registry, "CLIENTS", {"gone": absent, "here": there})
    assert registry.available() == ([there], {"gone": "no gone on this machine"})


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_the_exchange_puts_every_frame_into_a_tls_record_of_its_own(size):
    frame = script("blaster").text_frame(b"x" * size)
    other = script("blaster").text_frame(b"{}")
    frames_of = script("tls_socket").frames_of
    assert [bytes(found) for found in frames_of(other + frame + other)] == [other, frame, other]


@pytest.mark.parametrize("way", ["ours", "ours, slow way", "json", "msgspec", "msgspec, ids checked"])
def test_all_ways_of_parsing_that_are_compared_make_the_same_records(way):
    parsers = script("parsers")
    frames = list(script("blaster").make_payloads(100))
    parsers.check(way, parsers.WAYS[way](), frames)
    spoilt = [frames[0].replace(b'"E":1', b'"E":2'), *frames[1:]]
    records = parsers.WAYS[way]().parse(frames)
    wrong = parsers.Way(lambda _: records, parsers.WAYS[way]().records)
    with pytest.raises(SystemExit):
        parsers.check(way, wrong, spoilt)


def test_what_is_handed_over_from_memory_is_what_a_client_makes_of_the_same_messages(monkeypatch):
    monkeypatch.syspath_prepend(BENCH / "clients")
    monkeypatch.setenv("BENCH_MESSAGES", "40")
    monkeypatch.delitem(sys.modules, "memory", raising=False)
    records = script("memory").make_records()
    for (value, key, at_ms, is_trade), payload in zip(records, script("blaster").make_payloads(40), strict=True):
        event, found = json.loads(payload)["data"], json.loads(value)
        added = {name: found.pop(name) for name in ("ingestion_timestamp", "source", "event_type")}
        assert {**found, "E": 0, "T": 0} == {**event, "E": 0, "T": 0}
        assert added["event_type"] == ("aggregate_trade" if is_trade else "depth_update")
        assert (key.decode(), at_ms) == (found["s"], found["E"])
