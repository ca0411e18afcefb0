"""Writes ``ingest-actors.json``, the Grafana dashboard: ``python deploy/grafana/make_dashboard.py``.

A dashboard as Grafana keeps it is mostly repetition; what is said here is what differs from panel to panel. The tests
see to it that the file is what this writes.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

OF = '{job=~"$job", instance=~"$instance"}'
WIDTH = 24
"""Columns of Grafana's grid."""

Panel = dict[str, Any]
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_GREEN_RED = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
_RED_GREEN = [{"color": "red", "value": None}, {"color": "green", "value": 1}]


def of(metric: str, **labels: str) -> str:
    """A selector of this dashboard's services; labels as ``name="value"``, or with ``~`` first for a pattern."""
    more = "".join(f', {name}={"~" if text[0] == "~" else ""}"{text.lstrip("~")}"' for name, text in labels.items())
    return f"ingest_actors_{metric}{OF[:-1]}{more}}}"


def rate(metric: str, by: str = "", **labels: str) -> str:
    """What a counter grows by in a second."""
    names = "instance" + (f", {by}" if by else "")
    return f"sum by ({names}) (rate({of(metric, **labels)}[$__rate_interval]))"


def targets(queries: dict[str, str]) -> list[dict[str, Any]]:
    """Queries by their legends."""
    return [
        {"refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
        for index, (legend, expr) in enumerate(queries.items())
    ]


def stat(title: str, expr: str, text: str, *, unit: str = "none", steps: list[Any] | None = None) -> Panel:
    """One figure an instance, green or red."""
    return {
        "type": "stat",
        "title": title,
        "description": text,
        "datasource": _SOURCE,
        "targets": targets({"{{instance}}": expr}),
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps or _GREEN_RED}},
            "overrides": [],
        },
        "options": {"colorMode": "background", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def graph(title: str, queries: dict[str, str], text: str, *, unit: str = "short", stacked: bool = False) -> Panel:
    """Lines over time."""
    custom = {"lineWidth": 1, "fillOpacity": 20 if stacked else 5, "showPoints": "never"}
    if stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    return {
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": _SOURCE,
        "targets": targets(queries),
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def bars(title: str, queries: dict[str, str], text: str, *, unit: str) -> Panel:
    """The worst by name, now."""
    panel = stat(title, "", text, unit=unit)
    return panel | {
        "type": "bargauge",
        "targets": [query | {"instant": True} for query in targets(queries)],
        "options": {"orientation": "horizontal", "displayMode": "basic", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def signed(panel: Panel) -> Panel:
    """The same with an axis that goes below zero."""
    del panel["fieldConfig"]["defaults"]["min"]
    return panel


NONE = 'label_replace(vector(0), "stream", "none", "", "")'

ROWS: dict[str, tuple[int, list[Panel]]] = {
    "Is my data whole, and is it fresh?": (
        4,
        [
            stat("Ready", f"min by (instance) ({of('ready')})", "1 = ready; /readyz says why not.", steps=_RED_GREEN),
            stat(
                "Newest event",
                f"max by (instance) ({of('last_event_age_seconds')})",
                "Seconds since anything was received.",
                unit="s",
                steps=[{"color": "green", "value": None}, {"color": "red", "value": 60}],
            ),
            stat("Silent streams", f"sum by (instance) ({of('streams', state='silent')})", "They should flow."),
            stat("Open gaps", f"sum by (instance) ({of('gaps_open')})", "Ids that are missing for now."),
            stat(
                "Ids lost in 24 h",
                f"sum by (instance) (increase({of('gap_ids_lost_total')}[24h]))",
                "They will never come; the gap journal names them.",
            ),
            stat(
                "Dead letters in 24 h",
                f"sum by (instance) (increase({of('dead_lettered_total')}[24h]))",
                "What could not be parsed, or was refused.",
            ),
            stat("Kafka", f"min by (instance) ({of('kafka_reachable')})", "1 = it acknowledges.", steps=_RED_GREEN),
            stat(
                "Ledger off by",
                f"abs(ingest_actors:ledger:difference{OF})",
                "Events that are accounted for nowhere: 0, or there is a bug.",
            ),
        ],
    ),
    "Flow": (
        8,
        [
            graph(
                "Received", {"{{event_type}}": rate("received_total", "event_type")}, "Events a second.", stacked=True
            ),
            graph(
                "Received and delivered",
                {
                    "received {{instance}}": f"ingest_actors:received:rate1m{OF}",
                    "delivered {{instance}}": f"ingest_actors:delivered:rate1m{OF}",
                    "backfilled {{instance}}": rate("backfilled_total"),
                    "duplicates {{instance}}": rate("duplicates_total"),
                },
                "Events a second; the first two should lie on each other.",
            ),
            graph(
                "Records", {"{{topic}}": rate("records_total", "topic")}, "Records acknowledged a second.", stacked=True
            ),
            graph(
                "In flight", {"{{event_type}}": of("in_flight")}, "Events held, counted where they are.", stacked=True
            ),
        ],
    ),
    "Latency": (
        8,
        [
            graph(
                f"From {start} to {end}",
                {
                    "p50 {{instance}}": f'ingest_actors:latency_seconds:p50_5m{OF[:-1]}, hop="{hop}"}}',
                    "p99 {{instance}}": f'ingest_actors:latency_seconds:p99_5m{OF[:-1]}, hop="{hop}"}}',
                },
                text,
                unit="s",
            )
            for hop, start, end, text in (
                (
                    "exchange",
                    "exchange",
                    "receipt",
                    "By the exchange's clock: the difference of the clocks is allowed for.",
                ),
                ("pipeline", "receipt", "batch", "Until the Kafka client has it."),
                ("ack", "batch", "acknowledgement", "Until every broker that must have it does."),
            )
        ]
        + [
            signed(
                graph(
                    "Clock",
                    {
                        "exchange ahead {{instance}}": of("clock_offset_seconds"),
                        "uncertainty {{instance}}": of("clock_offset_uncertainty_seconds"),
                    },
                    "How far the exchange's clock is ahead of this machine's, and by how much that may be wrong.",
                    unit="s",
                )
            )
        ],
    ),
    "The way to the exchange": (
        8,
        [
            graph(
                "Connections", {"{{state}}": f"sum by (state) ({of('connections')})"}, "By their state.", stacked=True
            ),
            graph("Streams", {"{{state}}": f"sum by (state) ({of('streams')})"}, "Wanted, listed, flowing, silent."),
            graph(
                "Reconnections",
                {"{{reason}}": f"sum by (reason) (increase({of('reconnects_total')}[$__rate_interval]))"},
                "Unplanned ones.",
            ),
            bars(
                "Quietest streams",
                {"{{stream}} ({{verdict}})": f"topk(10, {of('stream_quiet_seconds')})"},
                "Silent ones should flow; quiet ones need not.",
                unit="s",
            ),
            graph(
                "Samples missed",
                {"{{event_type}}": rate("samples_missed_seconds_total", "event_type")},
                "Streams of samples that nobody listened to, on average.",
            ),
            graph(
                "REST weight",
                {"used {{instance}}": of("rest_weight_used"), "allowed {{instance}}": of("rest_weight_max")},
                "Within the last minute.",
            ),
        ],
    ),
    "Gaps": (
        8,
        [
            graph("Open", {"{{instance}}": of("gaps_open")}, "Gaps that are not closed yet."),
            graph(
                "Found",
                {"{{reason}}": f"sum by (reason) (increase({of('gaps_total')}[$__rate_interval]))"},
                "By their reason.",
                stacked=True,
            ),
            graph("Oldest", {"{{instance}}": of("gap_oldest_seconds")}, "Age of the oldest that is open.", unit="s"),
            bars(
                "Oldest, by stream",
                {"{{stream}}": f"topk(10, {of('gap_open_seconds')}) or {NONE}"},
                "Ten at most.",
                unit="s",
            ),
        ],
    ),
    "Kafka": (
        8,
        [
            graph(
                "Queue",
                {"records {{instance}}": of("kafka_queue_records")},
                "Records that the client has and that no broker has acknowledged.",
            ),
            graph(
                "Round trips to brokers (p99)",
                {"{{broker}}": of("kafka_broker_rtt_p99_seconds")},
                "Within the client's last period of statistics.",
                unit="s",
            ),
            graph("Requests waiting", {"{{broker}}": of("kafka_broker_requests")}, "To be sent, or answered."),
            graph(
                "What went wrong",
                {
                    "retries": rate("kafka_retries_total"),
                    "timeouts": rate("kafka_request_timeouts_total"),
                    "errors": rate("kafka_errors_total"),
                    "connects": rate("kafka_connects_total"),
                    "disconnects": rate("kafka_disconnects_total"),
                },
                "A second.",
            ),
            graph("Brokers", {"{{broker}}": of("kafka_broker_up")}, "1 = connected."),
            graph(
                "Transactions",
                {"{{state}}": of("kafka_transaction")},
                "State of the producer's transactions; none with at_least_once.",
            ),
        ],
    ),
    "Memory and disk": (
        8,
        [
            graph(
                "Buffers",
                {"held {{instance}}": of("buffer_bytes"), "bound {{instance}}": of("buffer_bytes_max")},
                "What is held in memory, and BUFFER_MAX_BYTES.",
                unit="bytes",
            ),
            graph("Mailboxes", {"{{mailbox}}": of("mailbox_fill_ratio")}, "1 = full.", unit="percentunit"),
            graph(
                "Spool",
                {"used {{instance}}": of("spool_bytes"), "bound {{instance}}": of("spool_bytes_max")},
                "On the disk; bound 0 = there is none.",
                unit="bytes",
            ),
            graph(
                "Spooled events",
                {"{{instance}}": of("spool_events"), "spooling {{instance}}": of("spooling")},
                "They wait for Kafka.",
            ),
        ],
    ),
    "The process": (
        8,
        [
            graph(
                "CPU",
                {"{{instance}}": f"rate(process_cpu_seconds_total{OF}[$__rate_interval])"},
                "Cores.",
                unit="percentunit",
            ),
            graph(
                "Resident memory",
                {"{{instance}}": f"process_resident_memory_bytes{OF}"},
                "Of the process.",
                unit="bytes",
            ),
            graph("File descriptors", {"{{instance}}": f"process_open_fds{OF}"}, "Open ones."),
            graph(
                "Actors restarted",
                {"{{actor}}": f"sum by (actor) (increase({of('actor_restarts_total')}[$__rate_interval]))"},
                "Crashes; each is a bug.",
            ),
        ],
    ),
}


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


def _annotation(name: str, color: str, expr: str) -> dict[str, Any]:
    target = {"refId": name, "expr": expr, "datasource": _SOURCE}
    return {"name": name, "enable": True, "iconColor": color, "datasource": _SOURCE, "target": target}


def dashboard() -> dict[str, Any]:
    """The whole of it."""
    numbers = count(1)
    panels: list[Panel] = []
    y = 0
    for title, (height, row) in ROWS.items():
        panels.append(
            {
                "id": next(numbers),
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        y += 1
        across = min(len(row), 8 if height < 8 else 4 if len(row) % 4 == 0 else 3)  # noqa: PLR2004 - figures are small
        for index, panel in enumerate(row):
            width = WIDTH // across
            place = {"x": index % across * width, "y": y + index // across * height, "w": width, "h": height}
            panels.append({"id": next(numbers), **panel, "gridPos": place})
        y += (len(row) + across - 1) // across * height
    return {
        "uid": "ingest-actors",
        "title": "ingest_actors",
        "description": "Binance market data into Kafka: is it whole, and is it fresh?",
        "tags": ["ingest_actors"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {
            "list": [
                _annotation("Started", "blue", f"changes(process_start_time_seconds{OF}[1m]) > 0"),
                _annotation("Alerts", "red", 'ALERTS{alertstate="firing", alertname=~"Ingest.*"}'),
            ]
        },
        "templating": {
            "list": [
                {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"},
                _variable("job", "Job", "label_values(ingest_actors_build_info, job)"),
                _variable("instance", "Instance", 'label_values(ingest_actors_build_info{job=~"$job"}, instance)'),
            ]
        },
        "panels": panels,
    }


def text() -> str:
    """As it is in the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("ingest-actors.json").write_text(text(), encoding="utf-8")
