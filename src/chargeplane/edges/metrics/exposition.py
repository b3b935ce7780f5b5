"""The page /metrics gives: every measure of the process, and the process itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chargeplane.kernel.measures import Counter, Gauge, Histogram, Measure, Measures


class _MeasuresCollector(Collector):
    """Reads the measures at each scrape."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def describe(self) -> Iterable[Metric]:
        """Nothing: keeps the registry from collecting once only to learn the names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every measure as it is now."""
        return map(_family, self._measures)


def _family(measure: Measure) -> Metric:
    match measure:
        case Counter():
            counter = CounterMetricFamily(measure.name, measure.text, labels=measure.labels)
            for labels, cell in tuple(measure.cells.items()):
                counter.add_metric(labels, cell[0])
            return counter
        case Histogram():
            histogram = HistogramMetricFamily(measure.name, measure.text, labels=measure.labels)
            bounds = [*(repr(bound) for bound in measure.bounds), "+Inf"]
            for labels, buckets in tuple(measure.cells.items()):
                sums, cumulated = 0, []
                for bound, count in zip(bounds, buckets.counts, strict=True):
                    sums += count
                    cumulated.append((bound, float(sums)))
                histogram.add_metric(labels, cumulated, buckets.total)
            return histogram
        case Gauge():
            gauge = GaugeMetricFamily(measure.name, measure.text, labels=[measure.label] if measure.label else [])
            try:
                value = measure.read()
            except Exception:  # one gauge that cannot be read must not cost the operator all others
                value = math.nan if measure.label is None else {}
            if isinstance(value, Mapping):
                for label, number in value.items():
                    gauge.add_metric([label], number)
            else:
                gauge.add_metric([], value)
            return gauge


class Exposition:
    """Makes the page.

    Args:
        measures: those of this process.
    """

    def __init__(self, measures: Measures) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_MeasuresCollector(measures))
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        """All families as they are now."""
        return self._registry.collect()

    def page(self) -> tuple[bytes, str]:
        """The page in the text format and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    async def __call__(self) -> tuple[bytes, str]:
        """The page, as the REST edge asks for it."""
        return self.page()
