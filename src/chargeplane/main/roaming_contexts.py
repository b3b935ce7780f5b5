"""What conversions from and to OCPI 2.1.1 must know beyond the document: its Sessions and CDRs have the whole Location in them, and its answer about
a token has no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from chargeplane.app.house import utc_now
from chargeplane.app.roaming.hub_memory import HubMemory
from chargeplane.bridge.ocpi import Context
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.replicas import Module
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpi.documents import parse
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version
from chargeplane.store.database import Database
from chargeplane.store.queries import replicas
from chargeplane.store.queries.roaming_documents import LOCATIONS
from chargeplane.store.queries.roaming_documents import one as document_of

FindPlace = Callable[[TenantId, PartyId, str], Awaitable[dict[str, Any] | None]]
"""(tenant, owner, location id) -> the canonical tree of a location that is not ours."""


class Contexts:
    """Looks it up.

    Args:
        places: of a hub: whose sessions and CDRs pass is asked for the location.
        memory: of a hub: what passed.
    """

    def __init__(self, database: Database, memory: HubMemory) -> None:
        self._database = database
        self._memory = memory
        self.places: FindPlace | None = None

    async def __call__(self, peer: Peer, kind: Kind, body: bytes, plain: Context) -> Context:
        """The context of a conversion for a partner.

        Args:
            body: the canonical document; of an answer about a token the path's values.
        """
        if peer.version != Version.V2_1_1:
            return plain
        if kind in (Kind.SESSION, Kind.CDR):
            return await self._with_location(peer, body, plain)
        if kind is Kind.AUTHORIZATION_INFO and plain.asked_token is None:
            return await self._with_token(peer, body, plain)
        return plain

    async def _with_location(self, peer: Peer, body: bytes, plain: Context) -> Context:
        said = msgspec.json.decode(body)
        ident = said.get("location_id") or (said.get("cdr_location") or {}).get("id")
        if not isinstance(ident, str):
            return plain
        async with self._database.read() as db:
            found = await document_of(db, peer.tenant_id, LOCATIONS, ident)
        tree = None if found is None else parse(found.body)
        if tree is None and self.places is not None and _behind_hub(peer):
            owner = PartyId(str(said.get("country_code")), str(said.get("party_id")))
            if "location" not in said:
                tree = await self.places(peer.tenant_id, owner, ident)
        if tree is None:
            return plain

        def find(location_id: str, evse_uid: str, connector_id: str) -> dict[str, Any] | None:
            return tree if location_id.casefold() == ident.casefold() else None

        return replace(plain, find_location=find)

    async def _with_token(self, peer: Peer, body: bytes, plain: Context) -> Context:
        path = msgspec.json.decode(body) if body else {}
        uid = path.get("token_uid") if isinstance(path, dict) else None
        if not isinstance(uid, str):
            return plain
        async with self._database.read() as db:
            rows = await replicas.objects_named(db, peer.tenant_id, Module.TOKENS, uid)
        theirs = [row for row in rows if peer.has_party(PartyId(row.country_code, row.party_id))]
        # Several connections may lead to one platform: what it told by another is its token all the same.
        theirs.sort(key=lambda row: row.connection_id != peer.id)
        if theirs:
            return replace(plain, asked_token=parse(theirs[0].document))
        known = await self._memory.token(peer.tenant_id, uid, peer.parties[0].id) if _behind_hub(peer) else None
        return replace(plain, asked_token=known or _nobody_told(peer, uid))


def _behind_hub(peer: Peer) -> bool:
    return bool(peer.parties) and any(PartyRole.HUB in own.roles for own in peer.own)


def _nobody_told(peer: Peer, uid: str) -> dict[str, Any] | None:
    """A token that was never pushed: 2.1.1 tells but whether it may charge, so that its uid stands for its contract. None: nobody knows whose
    it is."""
    providers = [one for one in peer.parties if one.role is PartyRole.EMSP] or list(peer.parties)
    if not providers:
        return None
    owner = providers[0]
    return {
        "country_code": owner.id.country_code,
        "party_id": owner.id.party_id,
        "uid": uid,
        "type": "RFID",
        "contract_id": uid,
        "issuer": owner.business_details.name or str(owner.id),
        "valid": True,
        "whitelist": "NEVER",
        "last_updated": rfc3339(utc_now()),
    }
