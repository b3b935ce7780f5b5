"""Locations for partners of OCPI 2.1.1 behind our hub: their sessions and CDRs have the whole Location in them, other versions' an id."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any, Final

from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.ports import Caller, Route
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.kernel.ids import TenantId
from chargeplane.ocpi.documents import parse

_GET_LOCATION: Final = 8
_HOLDS_S: Final = 60.0
_MOST: Final = 500


class HubPlaces:
    """Asks their operators, and remembers the answers for a minute."""

    def __init__(self, connections: Connections, caller: Caller) -> None:
        self._connections = connections
        self._caller = caller
        self._known: OrderedDict[tuple[TenantId, str, str], tuple[float, dict[str, Any]]] = OrderedDict()

    async def find(self, tenant_id: TenantId, owner: PartyId, location_id: str) -> dict[str, Any] | None:
        """The canonical tree of a location; None where its operator does not give it."""
        key = (tenant_id, owner.key, location_id.casefold())
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        peer = await self._connections.peer_of(tenant_id, owner)
        if peer is None:
            return None
        outcome = await self._caller.call(
            peer, _GET_LOCATION, {"location_id": location_id}, route=Route(to_party=owner), routed=True
        )
        if not outcome.ok or outcome.data is None:
            return None
        tree: dict[str, Any] = parse(outcome.data)
        self._known[key] = (time.monotonic() + _HOLDS_S, tree)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return tree
