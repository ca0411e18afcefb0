"""Every query of the dashboard, asked of a real Prometheus that scrapes the running service: none fails or is empty."""

from __future__ import annotations

import json
import math
import re
import time

import pytest
from prometheus_process import DEPLOY, Prometheus, free_port
from service_process import Service

from ingest_actors.testing import exchange_in_thread

pytestmark = [pytest.mark.long]

DASHBOARD = json.loads((DEPLOY / "grafana" / "ingest-actors.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']}: {target['legendFormat']}": target["expr"] for panel in PANELS for target in panel["targets"]
}
CHOSEN = {"$job": "ingest-actors", "$instance": ".*", "$__rate_interval": "15s", "[5m]": "[15s]", "[1m]": "[5s]"}
ENOUGH_S = 60.0
"""Until the service has been scraped often enough for rates over some seconds."""


def chosen(expr):
    for variable, value in CHOSEN.items():
        expr = expr.replace(variable, value)
    return expr


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("telemetry")
    port = free_port()
    with (
        exchange_in_thread(symbols=("BTCUSDT", "ETHUSDT")) as exchange,
        Prometheus(directory / "prometheus", shorter=True) as prometheus,
        Service(
            directory,
            BINANCE_WS_URL=exchange.ws_url,
            BINANCE_REST_URL=exchange.rest_url,
            BINANCE_SYMBOLS="BTCUSDT,ETHUSDT",
            BINANCE_STREAM_TYPES="aggTrade,trade,depth@100ms,bookTicker,kline_1m",
            KAFKA_BOOTSTRAP_SERVERS="embedded",
            SPOOL_DIR=str(directory / "spool"),
            HTTP_PORT=str(port),
        ) as service,
    ):
        prometheus.watch(port)
        service.wait_ready()
        deadline = time.monotonic() + ENOUGH_S
        while not prometheus.query("ingest_actors_clock_offset_seconds > -10 and on () ingest_actors_kafka_broker_up"):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(8)
        yield prometheus


@pytest.mark.usefixtures("prometheus_installed")
class TestOnPrometheus:
    @pytest.mark.parametrize("title", QUERIES)
    def test_a_panel_has_data(self, title, request):
        prometheus = request.getfixturevalue("prometheus")
        samples = prometheus.query(chosen(QUERIES[title]))
        assert samples, f"{QUERIES[title]} answers nothing"
        figures = [float(sample["value"][1]) for sample in samples]
        assert not all(map(math.isnan, figures)), f"{QUERIES[title]} answers NaN"

    def test_annotations_can_be_asked_for(self, request):
        prometheus = request.getfixturevalue("prometheus")
        for annotation in DASHBOARD["annotations"]["list"]:
            prometheus.query(chosen(annotation["target"]["expr"]))

    def test_what_the_variables_are_chosen_from_is_there(self, request):
        prometheus = request.getfixturevalue("prometheus")
        assert prometheus.query('ingest_actors_build_info{job="ingest-actors"}')

    def test_a_healthy_service_is_no_alarm(self, request):
        prometheus = request.getfixturevalue("prometheus")
        assert {name for name, _ in prometheus.firing()} == set()


def test_legends_name_labels_that_the_queries_have():
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                expr = target["expr"]
                if " by (" in expr:
                    assert re.search(rf"by \([^)]*\b{label}\b", expr), (panel["title"], label)
