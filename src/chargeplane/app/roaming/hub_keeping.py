"""What a hub keeps: whether its partners are alive, and what each is told of the others (OCPI 2.3.0 mod_hub_client_info).

A partner that neither asked nor answered anything for a while is asked for its versions: that has no side effects. What its state is then is
written as client info of its parties, and pushed to the other partners where it changed. Partners of 2.3.0 are told the parties
behind the hub among its roles too.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.outgoing import Message, Outgoing
from chargeplane.app.roaming.ports import Caller
from chargeplane.domain.roaming.connection import ConnectionState, PartnerParty, PartyId, PartyRole, Peer
from chargeplane.kernel.time import rfc3339
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_client_info as queries
from chargeplane.store.queries import roaming_connections
from chargeplane.store.queries.roaming_client_info import ClientInfo
from chargeplane.store.queries.roaming_connections import StoredConnection

MODULE = "hubclientinfo"
_VERSIONS, _PUT = 1, 51
_LOOK_S = 2.0
_OFFLINE_AFTER = 3


class HubKeeping:
    """Looks after the partners of our hubs; makes the messages of client info (a `Renderer` of outgoing).

    Args:
        alive_after: a partner that nothing was heard of for so long is asked.
    """

    def __init__(
        self,
        database: Database,
        connections: Connections,
        caller: Caller,
        sending: Outgoing,
        alive_after: timedelta,
        *,
        every_s: float = _LOOK_S,
    ) -> None:
        self._database = database
        self._connections = connections
        self._caller = caller
        self._sending = sending
        self._alive_after = alive_after
        self._behind: dict[int, list[tuple[int, PartnerParty]]] = {}
        self._pulse = Pulse("roaming hub", every_s, self.look)

    def start(self) -> None:
        """Looks from now on."""
        self._pulse.start()

    async def stop(self) -> None:
        """Looks no more."""
        await self._pulse.stop()

    async def look(self) -> None:
        """One look at every partner of every hub."""
        peers = await self._connections.every(None, registered=False)
        behind: dict[int, list[tuple[int, PartnerParty]]] = {}
        for peer in peers:
            if not _is_behind_hub(peer):
                continue
            async with self._database.read() as db:
                stored = await roaming_connections.stored(db, None, peer.id)
            if stored is None:
                continue
            if peer.usable:
                behind.setdefault(peer.tenant_id, []).extend((peer.id, party) for party in peer.parties)
                await self._ask_if_silent(stored)
            await self._write(peer, _status(stored))
        self._behind = behind

    def reachable(self, peer: Peer) -> tuple[PartnerParty, ...]:
        """Parties behind our hub that a partner may be told of: those of others."""
        return tuple(party for ident, party in self._behind.get(peer.tenant_id, []) if ident != peer.id)

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The client info of a party."""
        if not _is_behind_hub(peer) or any(party.id.key == key for party in peer.parties):
            return None
        party = PartyId(key[:2], key[2:])
        async with self._database.read() as db:
            info = await queries.one(db, peer.tenant_id, None, party)
        if info is None:
            return None
        tree = {name: getattr(info, name) for name in info.__struct_fields__}
        body = json.dumps(tree | {"last_updated": rfc3339(info.last_updated)}).encode()
        return Message(row=_PUT, path={"country_code": info.country_code, "party_id": info.party_id}, body=body)

    async def _ask_if_silent(self, stored: StoredConnection) -> None:
        heard = [at for at in (stored.heard_at, stored.answered_at, stored.registered_at) if at is not None]
        if heard and datetime.now(UTC) - max(heard) < self._alive_after:
            return
        await self._caller.call(stored.peer, _VERSIONS)

    async def _write(self, peer: Peer, status: str) -> None:
        changed = False
        for party in peer.parties:
            now = datetime.now(UTC)
            async with self._database.change() as db:
                known = await queries.one(db, peer.tenant_id, None, party.id)
                if known is not None and (known.status, known.role) == (status, party.role.value):
                    continue
                info = ClientInfo(
                    country_code=party.id.country_code,
                    party_id=party.id.party_id,
                    role=party.role.value,
                    status=status,
                    last_updated=now,
                )
                await queries.put(db, peer.tenant_id, None, info)
                await outgoing.note(db, peer.tenant_id, MODULE, party.id.key)
                changed = True
        if changed:
            self._sending.hint()


def _is_behind_hub(peer: Peer) -> bool:
    return any(PartyRole.HUB in own.roles for own in peer.own)


def _status(stored: StoredConnection) -> str:
    """A partner's ConnectionStatus."""
    state = stored.peer.state
    if state in (ConnectionState.SUSPENDED, ConnectionState.ENDED):
        return "SUSPENDED"
    if state is not ConnectionState.REGISTERED:
        return "PLANNED"
    return "OFFLINE" if stored.failures >= _OFFLINE_AFTER else "CONNECTED"
