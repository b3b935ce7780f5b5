"""What a hub keeps: whether its partners are alive, and what each is told of the others (OCPI 2.3.0 mod_hub_client_info).

A partner that neither asked nor answered anything for a while is asked for its versions: that has no side effects. What its state is then is
written as client info of its parties, and pushed to the other partners where it changed. Partners of 2.3.0 are told the parties
behind the hub among its roles too.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import structlog

from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.outgoing import Message, Outgoing
from chargeplane.app.roaming.ports import Caller, HandshakeError
from chargeplane.domain.roaming.connection import ConnectionState, PartnerParty, PartyId, PartyRole, Peer
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.time import rfc3339
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_client_info as queries
from chargeplane.store.queries import roaming_connections, roaming_hub
from chargeplane.store.queries.roaming_client_info import ClientInfo
from chargeplane.store.queries.roaming_connections import StoredConnection

MODULE = "hubclientinfo"
_VERSIONS, _PUT = 1, 51
_LOOK_S = 2.0
_OFFLINE_AFTER = 3
_TELLS_ROLES = "2.3.0"
_AT_ONCE = 32
_AGAIN_S = 10.0
"""After which a partner that did not take our credentials is tried again."""

_log = structlog.get_logger(__name__)


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
        self._again_at: dict[int, float] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
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
        peers = [one for one in await self._connections.every(None, registered=False) if _is_behind_hub(one)]
        behind: dict[int, list[tuple[int, PartnerParty]]] = {}
        for peer in peers:
            if peer.usable:
                behind.setdefault(peer.tenant_id, []).extend((peer.id, party) for party in peer.parties)
        self._behind = behind
        # Side by side: one that does not answer must not keep the others waiting.
        await asyncio.gather(*(self._look_at(peer) for peer in peers))

    async def _look_at(self, peer: Peer) -> None:
        async with self._slots:
            async with self._database.read() as db:
                stored = await roaming_connections.stored(db, None, peer.id)
            if stored is None:
                return
            if stored.peer.usable:
                await self._ask_if_silent(stored)
            await self._write(peer, _status(stored))
            if stored.peer.usable and stored.peer.version == _TELLS_ROLES:
                await self._tell_roles(peer)

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

    async def _tell_roles(self, peer: Peer) -> None:
        """PUT of the credentials where others are behind the hub than the partner was told (OCPI 2.3.0 credentials, roles)."""
        now = " ".join(sorted(f"{party.id.key}:{party.role}" for party in self.reachable(peer)))
        async with self._database.read() as db:
            told = await roaming_hub.told_parties(db, peer.id)
        if now == (told or "") or self._again_at.get(peer.id, 0.0) > time.monotonic():
            return
        self._again_at[peer.id] = time.monotonic() + _AGAIN_S
        try:
            await self._connections.tell_anew(peer)
        except (HandshakeError, RuleError) as error:
            _log.info("hub_roles_not_told", connection=peer.id, why=str(error))
            return
        self._again_at.pop(peer.id, None)
        async with self._database.change() as db:
            await roaming_hub.note_told_parties(db, peer.id, now)

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
