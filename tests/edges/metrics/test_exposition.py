"""The page /metrics gives."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from chargeplane.edges.metrics import CommitMeasures, Exposition
from chargeplane.kernel.measures import Measures


def page(measures: Measures) -> dict[str, float]:
    """Samples of the page by name and labels."""
    body, content_type = Exposition(measures).page()
    assert content_type.startswith("text/plain")
    return {
        ",".join([sample.name, *(f"{key}={value}" for key, value in sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_a_counter_is_exported_with_its_labels() -> None:
    measures = Measures()
    frames = measures.counter("frames", "Frames.", ("action", "outcome"))
    frames.cell("Heartbeat", "callresult")[0] += 3
    assert page(measures)["frames_total,action=Heartbeat,outcome=callresult"] == 3


def test_a_histogram_is_exported_cumulated() -> None:
    measures = Measures()
    latency = measures.histogram("latency_seconds", "Latency.", ("action",), bounds=(0.1, 1.0)).cell("Authorize")
    for seconds in (0.05, 0.1, 0.5, 7.0):
        latency.observe(seconds)
    samples = page(measures)
    assert samples["latency_seconds_bucket,action=Authorize,le=0.1"] == 2
    assert samples["latency_seconds_bucket,action=Authorize,le=1.0"] == 3
    assert samples["latency_seconds_bucket,action=Authorize,le=+Inf"] == 4
    assert samples["latency_seconds_count,action=Authorize"] == 4
    assert samples["latency_seconds_sum,action=Authorize"] == 7.65


def test_a_gauge_is_read_when_the_page_is_made() -> None:
    measures = Measures()
    queue = [1, 2]
    measures.gauge("queue", "Queue.", lambda: len(queue))
    measures.gauge("connections", "Connections.", lambda: {"1.6": 2, "2.1": 1}, "version")
    queue.append(3)
    samples = page(measures)
    assert (samples["queue"], samples["connections,version=1.6"], samples["connections,version=2.1"]) == (3, 2, 1)


def test_a_gauge_that_cannot_be_read_costs_no_other_measure() -> None:
    measures = Measures()
    measures.gauge("broken", "Broken.", lambda: 1 / 0)
    measures.counter("works", "Works.").cell()[0] += 1
    samples = page(measures)
    assert samples["works_total"] == 1
    assert samples["broken"] != samples["broken"]  # NaN


def test_the_process_itself_is_on_the_page() -> None:
    assert page(Measures())["process_resident_memory_bytes"] > 0


def test_the_group_commit_is_on_the_page() -> None:
    measures = Measures()
    commit = CommitMeasures(measures)
    commit.committed(40, 0.003)
    commit.failed("unavailable")
    samples = page(measures)
    assert samples["chargeplane_commit_batch_messages_sum"] == 40
    assert samples["chargeplane_commit_seconds_count"] == 1
    assert samples["chargeplane_commit_failures_total,kind=unavailable"] == 1
