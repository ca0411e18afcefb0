"""Metric families made from plain figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ingest_actors.status import Histogram

PREFIX: Final = "ingest_actors_"


def counter(name: str, text: str, label: str | None, counts: Mapping[str, float]) -> Metric:
    """A counter by the values of one label, or without any: then the only key is empty."""
    family = CounterMetricFamily(PREFIX + name, text, labels=[label] if label else ())
    for key, count in counts.items():
        family.add_metric([key] if label else [], count)
    return family


def gauge(name: str, text: str, label: str | None, values: Mapping[str, float]) -> Metric:
    """The same for a gauge."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label] if label else ())
    for key, value in values.items():
        family.add_metric([key] if label else [], value)
    return family


def level(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return gauge(name, text, None, {"": value})


def histograms(name: str, text: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    """Histograms by the values of one label."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=[label])
    for key, histogram in histograms.items():
        bounds = (*map(str, histogram.bounds), "+Inf")
        family.add_metric([key], list(zip(bounds, histogram.cumulative(), strict=True)), histogram.total)
    return family
