"""The table of metrics, from the registry of a service that was not started."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from reference_tables import code, table

from ingest_actors.console.metrics import metrics_registry
from ingest_actors.service import Service
from ingest_actors.settings import Settings

_SUFFIXES = {"counter": "_total", "info": "_info"}


def metrics() -> str:
    """One row for each family: what its samples are called, its type, its labels, its help."""
    service = Service(Settings(kafka_bootstrap_servers="embedded"))
    families = sorted(metrics_registry(service.status).collect(), key=_rank)
    return table(("name", "type", "labels", "meaning"), map(_row, families))


def _rank(family: Metric) -> tuple[bool, str]:
    return not family.name.startswith("ingest_actors_"), family.name


def _row(family: Metric) -> tuple[str, str, str, str]:
    name = family.name + _SUFFIXES.get(family.type, "")
    labels = [*getattr(family, "_labelnames", ())]
    labels += sorted({label for sample in family.samples for label in sample.labels} - {*labels, "le"})
    return f"`{name}`", family.type, code(labels), family.documentation
