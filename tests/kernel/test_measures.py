"""Counters, histograms and gauges."""

from __future__ import annotations

import pytest

from chargeplane.kernel.measures import MAX_LABEL_SETS, Measures


def test_a_cell_is_one_number_for_one_label_set() -> None:
    counter = Measures().counter("frames", "Frames.", ("action",))
    counter.cell("Heartbeat")[0] += 1
    counter.cell("Heartbeat")[0] += 1
    counter.cell("Authorize")[0] += 1
    assert counter.cells == {("Heartbeat",): [2], ("Authorize",): [1]}


def test_a_bound_belongs_to_the_bucket_below_it() -> None:
    cell = Measures().histogram("s", "S.", bounds=(1.0, 2.0)).cell()
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        cell.observe(value)
    assert cell.counts == [2, 2, 1]
    assert cell.total == 7.5


def test_labels_that_peers_choose_do_not_fill_memory() -> None:
    counter = Measures().counter("frames", "Frames.", ("action", "outcome"))
    for number in range(MAX_LABEL_SETS + 100):
        counter.cell(f"Action{number}", "callresult")[0] += 1
    assert len(counter.cells) == MAX_LABEL_SETS + 1
    assert counter.cells["other", "other"] == [100]


def test_two_measures_of_one_name_are_a_bug() -> None:
    measures = Measures()
    measures.counter("frames", "Frames.")
    with pytest.raises(ValueError, match="two measures named frames"):
        measures.gauge("frames", "Frames.", lambda: 0)
