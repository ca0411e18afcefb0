"""Rules and dashboard ask for nothing that the service does not show, and few names become labels."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace

import promql_parser
import pytest
from prometheus_process import DEPLOY, RULES
from status_pictures import busy_status

from ingest_actors.binance.gaps import Reason
from ingest_actors.console.metrics import metrics_registry, render_metrics
from ingest_actors.status import GAP_REASONS, OFFENDERS_MAX, Offenders, OpenGap, QuietStream

RECORDED = set(re.findall(r"record: (\S+)", (RULES / "recording.yml").read_text()))
NAME = re.compile(r"\b(?:ingest_actors[:_]|process_)[a-z0-9_:]+")
SERIES_MAX = 400
"""What one service may cost Prometheus, however many symbols it carries."""


def shown(status):
    text = render_metrics(metrics_registry(lambda: status), "")[0].decode()
    return [line for line in text.splitlines() if line.startswith("ingest_actors_")]


def names_shown(status):
    text = render_metrics(metrics_registry(lambda: status), "")[0].decode()
    return {re.split(r"[ {]", line)[0] for line in text.splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize("path", ["prometheus/alerts.yml", "prometheus/recording.yml", "grafana/ingest-actors.json"])
def test_every_metric_that_is_asked_for_is_there(path):
    text = (DEPLOY / path).read_text()
    if path.endswith(".json"):
        text = "\n".join(re.findall(r'"(?:expr|query|definition)": "(.*)"', text))
    asked = set(NAME.findall(text))
    assert asked - names_shown(busy_status(symbols=1)) - RECORDED == set()


def test_a_thousand_symbols_make_no_more_series_than_one():
    few, many = busy_status(symbols=1), busy_status(symbols=1000)
    assert abs(len(shown(many)) - len(shown(few))) <= 4 * OFFENDERS_MAX
    assert len(shown(many)) < SERIES_MAX


def test_the_worst_streams_and_gaps_are_told_by_name():
    worst = Offenders(
        (QuietStream("btcusdt@trade", 75.0, silent=True), QuietStream("ethusdt@depth", 9.0, silent=False)),
        (OpenGap("btcusdt@trade", 320.5, 40),),
    )
    lines = shown(replace(busy_status(symbols=1), offenders=lambda: worst))
    assert 'ingest_actors_stream_quiet_seconds{stream="btcusdt@trade",verdict="silent"} 75.0' in lines
    assert 'ingest_actors_stream_quiet_seconds{stream="ethusdt@depth",verdict="quiet"} 9.0' in lines
    assert 'ingest_actors_gap_open_seconds{stream="btcusdt@trade"} 320.5' in lines
    assert 'ingest_actors_gap_open_ids{stream="btcusdt@trade"} 40.0' in lines
    assert "ingest_actors_gap_oldest_seconds 320.5" in lines


def queries():
    for name in ("alerts.yml", "recording.yml"):
        text = (RULES / name).read_text()
        for found in re.finditer(r"^( +)expr: (?:\|\n((?:\1  .*\n)+)|(.+)$)", text, re.MULTILINE):
            yield name, found[2] or found[3]
    board = json.loads((DEPLOY / "grafana" / "ingest-actors.json").read_text())
    for panel in (*board["panels"], {"targets": [note["target"] for note in board["annotations"]["list"]]}):
        for target in panel.get("targets", ()):
            yield "dashboard", target["expr"].replace("$__rate_interval", "1m")


@pytest.mark.parametrize(("where", "expr"), list(queries()))
def test_every_query_is_one_that_prometheus_takes(where, expr):
    promql_parser.parse(expr)


def test_no_query_is_left_out():
    rules = sum((RULES / name).read_text().count("expr:") for name in ("alerts.yml", "recording.yml"))
    assert len([where for where, _ in queries() if where != "dashboard"]) == rules


def test_without_open_gaps_the_oldest_is_0_seconds_old():
    assert "ingest_actors_gap_oldest_seconds 0.0" in shown(busy_status(symbols=0))


def test_counters_begin_at_0_rather_than_with_their_first_increment():
    lines = shown(busy_status(symbols=0))
    for sample in (
        'received_total{event_type="kline"}',
        'dead_lettered_total{event_type="unparsed"}',
        'records_total{topic="binance-trades"}',
        'gaps_total{reason="too_old"}',
        'reconnects_total{reason="closed"}',
        'samples_missed_seconds_total{event_type="kline"}',
        "kafka_retries_total",
        "gap_ids_lost_total",
    ):
        assert f"ingest_actors_{sample} 0.0" in lines


def test_the_reasons_of_gaps_are_those_of_the_journal():
    assert set(GAP_REASONS) == {str(reason) for reason in Reason}


def test_the_dashboard_is_what_its_maker_writes():
    made = runpy.run_path(str(DEPLOY / "grafana" / "make_dashboard.py"))["text"]()
    assert (DEPLOY / "grafana" / "ingest-actors.json").read_text() == made


def test_no_two_panels_of_the_dashboard_lie_on_each_other():
    panels = json.loads((DEPLOY / "grafana" / "ingest-actors.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
