"""Whether parties can be reached through a hub: what ours tells, and what hubs tell us."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from chargeplane.domain.roaming.connection import PartyId, Peer
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_client_info as queries
from chargeplane.store.queries.roaming_client_info import ClientInfo


class ClientInfos:
    """Use cases about client info."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, peer: Peer, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
    ) -> tuple[Sequence[ClientInfo], int]:
        """What our hub tells a partner: all parties but its own."""
        own = [party.id.key for party in peer.parties]
        async with self._database.read() as db:
            return await queries.page(db, peer.tenant_id, own, date_from, date_to, offset, limit)

    async def of_hub(self, peer: Peer, party: PartyId) -> ClientInfo | None:
        """What a hub told us of a party."""
        async with self._database.read() as db:
            return await queries.one(db, peer.tenant_id, peer.id, party)

    async def take(self, peer: Peer, info: ClientInfo) -> bool:
        """Keeps what a hub tells of a party; whether it is new."""
        async with self._database.change() as db:
            return (await queries.put(db, peer.tenant_id, peer.id, info))[0]
