"""One page for all worker processes of a machine: whichever the kernel gives the scrape to asks the others over the bus.

Every sample has the label `worker`; `chargeplane_worker_up` says whose are there. A worker that does not answer in time is
left out and shown as down, so that a scrape never fails for it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from chargeplane.app.bus import Bus, Subscription
from chargeplane.edges.metrics.exposition import Exposition
from chargeplane.kernel.errors import UnavailableError

_ANSWER_S: Final = 2.0
_MAX_BYTES: Final = 64 * 2**20
"""Of one worker's figures, unpacked."""


class _Family(Struct, frozen=True, array_like=True):
    name: str
    text: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Family]).decode


class _Collected:
    """What `generate_latest` asks for the families of a page."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._families


class WorkersExposition:
    """Makes the page of all workers.

    Args:
        own: the figures of this process.
        bus: to the others.
        group: what the workers of one machine have in common, and those of others do not.
        worker: number of this process among `workers`, from 0.
    """

    def __init__(self, own: Exposition, bus: Bus, *, group: str, worker: int, workers: int) -> None:
        self._own = own
        self._bus = bus
        self._group = group
        self._worker = worker
        self._workers = workers
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Answers the others from now on."""
        self._subscription = await self._bus.respond(self._subject(self._worker), self._tell)

    async def stop(self) -> None:
        """Leaves the bus."""
        if self._subscription is not None:
            await self._subscription.cancel()

    async def __call__(self) -> tuple[bytes, str]:
        """The page in the text format and its content type."""
        told = await asyncio.gather(*(self._ask(worker) for worker in range(self._workers)))
        merged: dict[str, Metric] = {}
        up = GaugeMetricFamily(
            "chargeplane_worker_up", "Whether the worker's figures are on this page.", labels=["worker"]
        )
        for worker, families in enumerate(told):
            up.add_metric([str(worker)], float(families is not None))
            for family in families or ():
                metric = merged.get(family.name)
                if metric is None:
                    metric = merged[family.name] = Metric(family.name, family.text, family.kind)
                for name, labels, value in family.samples:
                    metric.add_sample(name, {**labels, "worker": str(worker)}, value)
        page = generate_latest(_Collected([*merged.values(), up]))
        return page, CONTENT_TYPE_LATEST

    def _subject(self, worker: int) -> str:
        return f"metrics.{self._group}.{worker}"

    def _families(self) -> list[_Family]:
        return [
            _Family(
                family.name,
                family.documentation,
                family.type,
                [(sample.name, dict(sample.labels), float(sample.value)) for sample in family.samples],
            )
            for family in self._own.collect()
        ]

    async def _ask(self, worker: int) -> list[_Family] | None:
        if worker == self._worker:
            return self._families()
        try:
            packed = await self._bus.request(self._subject(worker), b"", _ANSWER_S)
            unpacker = zlib.decompressobj()
            return _decode(unpacker.decompress(packed, _MAX_BYTES))
        except (UnavailableError, zlib.error, msgspec.MsgspecError):
            return None

    async def _tell(self, _: bytes) -> bytes:
        return zlib.compress(_encode(self._families()), 1)
