"""The page of several workers, made by any of them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from chargeplane.edges.bus import InProcessBus
from chargeplane.edges.metrics import Exposition, WorkersExposition
from chargeplane.kernel.measures import Measures


def worker(bus: InProcessBus, number: int, frames: int, group: str = "m") -> WorkersExposition:
    measures = Measures()
    measures.counter("frames", "Frames.", ("action",)).cell("Heartbeat")[0] += frames
    measures.histogram("latency_seconds", "Latency.", bounds=(0.1,)).cell().observe(frames)
    return WorkersExposition(Exposition(measures), bus, group=group, worker=number, workers=2)


async def samples(one: WorkersExposition) -> dict[str, float]:
    body, content_type = await one()
    assert content_type.startswith("text/plain")
    found = {
        ",".join([sample.name, *(f"{key}={sample.labels[key]}" for key in sorted(sample.labels))]): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert body.count(b"# TYPE frames_total counter") == 1
    return found


async def test_every_worker_gives_the_figures_of_all() -> None:
    bus = InProcessBus()
    workers = [worker(bus, 0, 3), worker(bus, 1, 4)]
    for one in workers:
        await one.start()
    for one in workers:
        found = await samples(one)
        assert found["frames_total,action=Heartbeat,worker=0"] == 3
        assert found["frames_total,action=Heartbeat,worker=1"] == 4
        assert found["latency_seconds_sum,worker=1"] == 4
        assert found["latency_seconds_bucket,le=+Inf,worker=0"] == 1
        assert found["chargeplane_worker_up,worker=0"] == found["chargeplane_worker_up,worker=1"] == 1
    await bus.close()


async def test_worker_that_does_not_answer_is_shown_as_down() -> None:
    bus = InProcessBus()
    one = worker(bus, 0, 3)
    await one.start()
    await worker(bus, 1, 4, group="other").start()
    found = await samples(one)
    assert found["chargeplane_worker_up,worker=1"] == 0
    assert found["frames_total,action=Heartbeat,worker=0"] == 3
    assert not [name for name in found if "worker=1" in name and not name.startswith("chargeplane_worker_up")]
    await one.stop()
    found = await samples(one)
    assert found["chargeplane_worker_up,worker=0"] == 1
    await bus.close()
