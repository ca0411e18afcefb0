from __future__ import annotations

import math
import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ingest_actors.console.metrics import metrics_registry, package_version, render_metrics
from ingest_actors.protocols import BrokerStatus, ClientStatus, SpoolStatus
from ingest_actors.status import ClockOffset, Tallies

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

PROMISED = {
    "received_total", "backfilled_total", "delivered_total", "dead_lettered_total", "duplicates_total",
    "records_total", "in_flight", "gaps_open", "actor_restarts_total", "connections", "reconnects_total", "streams",
    "last_event_age_seconds", "latency_seconds_bucket", "latency_seconds_sum", "latency_seconds_count",
    "mailbox_fill_ratio", "buffer_bytes", "kafka_errors_total", "build_info", "future_timestamps_total",
    "gaps_total", "gap_ids_lost_total", "rest_weight_used", "spool_bytes", "spooled_total", "recovered_total",
    "samples_missed_seconds_total", "ready", "instance_info", "buffer_bytes_max", "rest_weight_max",
    "clock_offset_seconds", "clock_offset_uncertainty_seconds", "gap_oldest_seconds", "gap_open_seconds",
    "gap_open_ids", "stream_quiet_seconds",
    "kafka_reachable", "kafka_queue_records", "kafka_queue_bytes", "kafka_retries_total",
    "kafka_request_timeouts_total", "kafka_connects_total", "kafka_disconnects_total", "kafka_broker_up",
    "kafka_broker_rtt_p99_seconds", "kafka_broker_requests", "kafka_transaction",
    "spool_bytes_max", "spool_events", "spooling", "spool_refusing",
}  # fmt: skip


def samples(status, accept="", parse=parse_text):
    body, _ = render_metrics(metrics_registry(lambda: status), accept)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
def test_every_promised_metric_is_there_in_both_formats(status, make_sink_status, accept, parse):
    client = ClientStatus((BrokerStatus("1", up=True, rtt_p99_s=0.004, waiting_requests=2),), 0, 0, 1, 0)
    status = replace(status, sink=make_sink_status(records=status.sink.records, client=client))
    names = {name for name, _ in samples(status, accept, parse)}
    assert {f"ingest_actors_{name}" for name in PROMISED} == {name for name in names if name.startswith("ingest_")}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names


def test_the_format_follows_the_accept_header(status):
    registry = metrics_registry(lambda: status)
    body, content_type = render_metrics(registry, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    body, content_type = render_metrics(registry, "")
    assert content_type.startswith("text/plain")
    assert b"# EOF" not in body


def test_values_are_those_of_the_status(status):
    found = samples(status)

    def value(name, **labels):
        return found["ingest_actors_" + name, tuple(sorted(labels.items()))]

    assert value("received_total", event_type="aggregate_trade") == 1000
    assert value("backfilled_total", event_type="depth_update") == 3
    assert value("delivered_total", event_type="depth_update") == 503
    assert value("dead_lettered_total", event_type="aggregate_trade") == 1
    assert value("duplicates_total", event_type="aggregate_trade") == 2
    assert value("in_flight", event_type="aggregate_trade") == 7
    assert value("records_total", topic="binance-trades") == 991
    assert value("gaps_open") == 1
    assert value("gaps_total", reason="disconnected") == 3
    assert value("gap_ids_lost_total") == 17
    assert value("rest_weight_used") == 24
    assert value("kafka_errors_total") == 4
    assert value("buffer_bytes") == 4096
    assert value("spool_bytes") == 0
    assert value("mailbox_fill_ratio", mailbox="frames") == 0.5
    assert value("reconnects_total", reason="closed_1006") == 3
    assert value("streams", state="silent") == 2
    assert value("last_event_age_seconds") == 2.5
    assert value("build_info", version=package_version(), python=platform.python_version()) == 1


def test_the_client_tells_of_its_brokers_and_of_what_went_wrong(make_status, make_sink_status):
    client = ClientStatus(
        (
            BrokerStatus("1", up=True, rtt_p99_s=0.004, waiting_requests=2),
            BrokerStatus("2", up=False, rtt_p99_s=0.0, waiting_requests=0),
        ),
        7,
        1,
        9,
        3,
        transaction="open",
    )
    found = samples(make_status(sink=make_sink_status(client=client)))

    def value(name, **labels):
        return found["ingest_actors_kafka_" + name, tuple(sorted(labels.items()))]

    assert [value("broker_up", broker=name) for name in "12"] == [1, 0]
    assert value("broker_rtt_p99_seconds", broker="1") == 0.004
    assert value("broker_requests", broker="1") == 2
    counts = ("retries", "request_timeouts", "connects", "disconnects")
    assert [value(f"{name}_total") for name in counts] == [7, 1, 9, 3]
    assert [value("transaction", state=state) for state in ("none", "ready", "open")] == [0, 0, 1]
    assert (value("queue_records"), value("queue_bytes")) == (12, 3456)


def test_before_the_client_has_told_anything_its_counts_are_0(status):
    found = samples(status)
    assert found["ingest_actors_kafka_retries_total", ()] == 0
    assert found["ingest_actors_kafka_transaction", (("state", "none"),)] == 1
    assert not [name for name, _ in found if name == "ingest_actors_kafka_broker_up"]


def test_a_spool_hides_no_outage_from_whoever_looks_for_one(make_status, make_sink_status):
    spool = SpoolStatus(used_bytes=70, events=3, spooling=True, bytes_max=100)
    sink = make_sink_status(reachable=True, brokers_reachable=False, spool=spool)
    found = samples(make_status(sink=sink))

    def values(*names):
        return [found["ingest_actors_" + name, ()] for name in names]

    assert values("ready", "kafka_reachable", "spooling", "spool_refusing") == [1, 0, 1, 0]
    assert values("spool_bytes", "spool_bytes_max", "spool_events") == [70, 100, 3]
    full = samples(make_status(sink=sink._replace(reachable=False, spool=spool._replace(detail="full"))))
    assert [full["ingest_actors_" + name, ()] for name in ("ready", "spool_refusing")] == [0, 1]


def test_a_clock_that_is_not_known_is_no_clock_that_is_right(make_status, status):
    found = samples(status)
    assert math.isnan(found["ingest_actors_clock_offset_seconds", ()])
    assert found["ingest_actors_clock_offset_uncertainty_seconds", ()] == math.inf
    tallies = Tallies()
    tallies.set_clock(ClockOffset(-0.25, 0.01))
    found = samples(make_status(tallies=tallies))
    assert found["ingest_actors_clock_offset_seconds", ()] == -0.25
    assert found["ingest_actors_clock_offset_uncertainty_seconds", ()] == 0.01


def test_an_actor_that_never_crashed_shows_zero_restarts(status):
    found = samples(status)
    assert found["ingest_actors_actor_restarts_total", (("actor", "parser"),)] == 2
    assert found["ingest_actors_actor_restarts_total", (("actor", "producer"),)] == 0


def test_every_connection_state_is_shown_even_when_nothing_is_in_it(make_status, make_connection):
    status = make_status(connections=(make_connection(state="open"), make_connection("b", "waiting")))
    found = {labels[0][1]: value for (name, labels), value in samples(status).items() if name.endswith("_connections")}
    assert found == {"connecting": 0, "subscribing": 0, "open": 1, "waiting": 1, "closed": 0} | {
        "replacing": 0,
        "draining": 0,
    }


def test_what_nobody_counts_is_not_shown_as_zero(make_status):
    found = samples(make_status(streams_flowing=None, streams_silent=None))
    states = {labels[0][1] for name, labels in found if name == "ingest_actors_streams"}
    assert states == {"wanted", "listed"}


def test_latency_buckets_are_cumulative_and_end_with_all(status):
    found = samples(status)

    def bucket(hop, le):
        return found["ingest_actors_latency_seconds_bucket", (("hop", hop), ("le", le))]

    assert bucket("ack", "0.001") == 0
    assert bucket("ack", "0.0025") == 98
    assert bucket("ack", "0.25") == 100
    assert bucket("ack", "+Inf") == 100
    assert bucket("exchange", "+Inf") == 0
    assert found["ingest_actors_latency_seconds_count", (("hop", "ack"),)] == 100
    assert found["ingest_actors_latency_seconds_sum", (("hop", "ack"),)] == pytest.approx(0.596)


def test_before_the_first_event_the_age_counts_from_the_start(make_status):
    found = samples(make_status(tallies=Tallies()))
    assert found["ingest_actors_last_event_age_seconds", ()] == 100


def test_an_event_type_that_would_break_a_line_is_escaped(make_status, status):
    ledger = {'odd"\n\\type': status.ledger["depth_update"]}
    found = samples(make_status(ledger=ledger))
    assert found["ingest_actors_received_total", (("event_type", 'odd"\n\\type'),)] == 500


def test_two_services_in_one_process_do_not_mix(make_status):
    one, two = metrics_registry(lambda: make_status(gaps_open=1)), metrics_registry(lambda: make_status(gaps_open=2))
    assert one.get_sample_value("ingest_actors_gaps_open") == 1
    assert two.get_sample_value("ingest_actors_gaps_open") == 2


def test_making_a_registry_does_not_look_at_a_service_that_is_not_up_yet():
    def not_yet():
        raise AssertionError("looked")

    metrics_registry(not_yet)


def test_a_bare_source_tree_has_an_unknown_version(monkeypatch):
    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("ingest_actors.console.metrics.version", not_installed)
    assert package_version() == "unknown"
