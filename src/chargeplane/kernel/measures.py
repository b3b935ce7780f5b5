"""Counters, histograms and gauges for the hot path: plain lists, incremented in place.

Whoever counts makes its measures once and holds on to their cells; `cell[0] += 1` and `histogram.observe(seconds)` are all
that a message pays. What exports them (edges/metrics) reads the lists when it is asked. One event loop, no locks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

Labels = tuple[str, ...]
Cell = list[int]
"""One number in a list, so that its holder can raise it in place."""

MAX_LABEL_SETS: Final = 2000
"""Label sets of one measure; peers choose some labels, and memory must not be theirs to fill. What is above goes to `other`."""

LATENCY_BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper bounds for answers and commits, in seconds."""

SIZE_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0)
"""Upper bounds for batches, in messages."""


class Counter:
    """A number that only rises, per label set.

    Args:
        name: as exported, with its unit and without `_total`.
        text: what is counted, one sentence.
        labels: label names.
    """

    __slots__ = ("cells", "labels", "name", "text")

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.cells: dict[Labels, Cell] = {}

    def cell(self, *values: str) -> Cell:
        """The number for these label values; get it once, then `cell[0] += 1`."""
        cell = self.cells.get(values)
        if cell is None:
            if len(self.cells) >= MAX_LABEL_SETS:
                values = ("other",) * len(self.labels)
            cell = self.cells.setdefault(values, [0])
        return cell


class Buckets:
    """The observations of one label set of a histogram.

    Attributes:
        counts: observations per bucket, not cumulated; the last is above all bounds.
        total: sum of the observations.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one observation in its bucket; a bound belongs to the bucket below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram:
    """How observations spread, per label set.

    Args:
        name: as exported, with its unit.
        text: what is observed, one sentence.
        labels: label names.
        bounds: upper bounds of the buckets, rising; one more bucket is above them.
    """

    __slots__ = ("bounds", "cells", "labels", "name", "text")

    def __init__(self, name: str, text: str, labels: Labels = (), bounds: tuple[float, ...] = LATENCY_BOUNDS_S) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.bounds = bounds
        self.cells: dict[Labels, Buckets] = {}

    def cell(self, *values: str) -> Buckets:
        """The buckets for these label values; get them once, then `buckets.observe(value)`."""
        cell = self.cells.get(values)
        if cell is None:
            if len(self.cells) >= MAX_LABEL_SETS:
                values = ("other",) * len(self.labels)
            cell = self.cells.setdefault(values, Buckets(self.bounds))
        return cell


class Gauge:
    """A number that is read when it is asked for.

    Args:
        name: as exported, with its unit.
        text: what it tells, one sentence.
        read: the number now, or one per label value.
        label: name of the label where `read` gives several.
    """

    __slots__ = ("label", "name", "read", "text")

    def __init__(
        self, name: str, text: str, read: Callable[[], float | Mapping[str, float]], label: str | None = None
    ) -> None:
        self.name = name
        self.text = text
        self.read = read
        self.label = label


Measure = Counter | Histogram | Gauge

_M = TypeVar("_M", Counter, Histogram, Gauge)


class Measures:
    """The measures of one process, in the order they were made; names are unique."""

    def __init__(self) -> None:
        self._all: dict[str, Measure] = {}

    def __iter__(self) -> Iterator[Measure]:
        return iter(tuple(self._all.values()))

    def counter(self, name: str, text: str, labels: Labels = ()) -> Counter:
        """Makes a counter."""
        return self._added(Counter(name, text, labels))

    def histogram(
        self, name: str, text: str, labels: Labels = (), bounds: tuple[float, ...] = LATENCY_BOUNDS_S
    ) -> Histogram:
        """Makes a histogram."""
        return self._added(Histogram(name, text, labels, bounds))

    def gauge(
        self, name: str, text: str, read: Callable[[], float | Mapping[str, float]], label: str | None = None
    ) -> Gauge:
        """Makes a gauge."""
        return self._added(Gauge(name, text, read, label))

    def _added(self, measure: _M) -> _M:
        if measure.name in self._all:
            raise ValueError(f"there are two measures named {measure.name}")
        self._all[measure.name] = measure
        return measure
