"""Facts of the outbox, announced to every node: what started, ended or was amended, at least once and in order.

A batch of facts is one publication a tenant, on `facts.<tenant>`. The rows are deleted only when the bus has taken it; while
the bus is away they wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.bus import Bus
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.outbox import Fact

TOPICS: Final = ("transaction.started", "transaction.ended", "transaction.amended", "transaction.reopened")
"""What is announced: topic of the outbox and type of the live event alike."""

FACTS: Final = "facts.*"
"""Subscription to all tenants' facts."""

_AT_ONCE: Final = 512 * 1024
"""Rough bytes of one publication."""


class Announced(Struct, frozen=True, array_like=True):
    """A fact as it travels.

    Args:
        at: when it was committed.
        payload: JSON text; an object with `station_id`.
    """

    topic: str
    at: datetime
    payload: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Announced]).decode


class Announcer:
    """Hands batches of facts to the bus (a `BatchHandler` of store/outbox)."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def __call__(self, facts: Sequence[Fact]) -> None:
        """Returns when the bus has taken them.

        Raises:
            UnavailableError: it has not, or perhaps not all; to be tried again.
        """
        bus = self._bus
        if not bus.connected:
            raise UnavailableError("The bus is away.")
        dropped = bus.dropped
        tenants: dict[int, list[Announced]] = {}
        for fact in facts:
            tenants.setdefault(fact.tenant_id, []).append(Announced(fact.topic, fact.created_at, fact.payload))
        for tenant, announced in tenants.items():
            subject = f"facts.{tenant}"
            for part in _parts(announced):
                bus.publish(subject, _encode(part))
        await bus.flush()
        if bus.dropped != dropped:
            raise UnavailableError("The bus has not taken all.")


def _parts(announced: list[Announced]) -> list[list[Announced]]:
    if sum([len(one.payload) for one in announced]) < _AT_ONCE:
        return [announced]
    parts: list[list[Announced]] = [[]]
    size = 0
    for one in announced:
        if size + len(one.payload) > _AT_ONCE and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += len(one.payload)
    return parts


def tenant_of(subject: str) -> TenantId:
    """Whose facts come on a subject."""
    return TenantId(int(subject.rpartition(".")[2]))


def announced_in(publication: bytes) -> list[Announced]:
    """The facts of a publication, in order."""
    return _decode(publication)
