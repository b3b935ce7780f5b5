"""What our hub remembers of what passes through it: whose a location, session, token or reservation is.

OCPI 2.1.1 has no routing headers, its commands name ids alone, and its sessions and CDRs a contract instead of a token. So the hub keeps, for
each object that it saw, who owns it, of sessions whose driver charges, and tokens whole. Locations, sessions and CDRs themselves it does
not keep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.json import encode

from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.replicas import folded
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_hub_objects as queries
from chargeplane.store.queries.roaming_hub_objects import Remembered

LOCATIONS: Final = "locations"
SESSIONS: Final = "sessions"
TOKENS: Final = "tokens"
RESERVATIONS: Final = "reservations"

_KNOWN: Final = 50_000

Tree = Mapping[str, Any]


class HubMemory:
    """Keeps and finds it; what was written lately is not written again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[tuple[TenantId, str, str, str], Remembered] = OrderedDict()

    async def saw(self, tenant_id: TenantId, objects: Iterable[Remembered]) -> None:
        """Objects passed."""
        new = []
        for one in objects:
            known = self._known.get((tenant_id, one.module, one.id_key, one.owner))
            if known != one and not (known is not None and one.for_party is None and _same_but_driver(known, one)):
                new.append(one)
        if not new:
            return
        async with self._database.change() as db:
            await queries.remember(db, tenant_id, new)
        for one in new:
            self._known[(tenant_id, one.module, one.id_key, one.owner)] = one
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    async def named(self, tenant_id: TenantId, module: str, ident: str) -> list[Remembered]:
        """Objects with an id, of whomever."""
        async with self._database.read() as db:
            return await queries.named(db, tenant_id, module, folded(ident))

    async def token(self, tenant_id: TenantId, uid: str, owner: PartyId | None = None) -> dict[str, Any] | None:
        """A token by its uid: canonical."""
        for one in await self.named(tenant_id, TOKENS, uid):
            if one.document is not None and (owner is None or one.owner == owner.key):
                found: dict[str, Any] = msgspec.json.decode(one.document)
                return found
        return None

    async def tokens_of(self, tenant_id: TenantId, contracts: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Tokens by their contracts, folded."""
        async with self._database.read() as db:
            found = await queries.tokens_by_contract(db, tenant_id, [folded(one) for one in contracts])
        return {contract: msgspec.json.decode(document) for contract, document in found.items()}

    async def tokens_named(self, tenant_id: TenantId, uids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Tokens by their uids, folded: those of which it is beyond doubt whose they are."""
        async with self._database.read() as db:
            found = await queries.tokens_by_uid(db, tenant_id, [folded(one) for one in uids])
        return {uid: msgspec.json.decode(document) for uid, document in found.items()}

    async def token_changed(self, tenant_id: TenantId, uid: str, owner: PartyId, change: Tree) -> None:
        """A PATCH of a token passed."""
        before = await self.token(tenant_id, uid, owner)
        if before is not None:
            for one in await self.named(tenant_id, TOKENS, uid):
                if one.owner == owner.key:
                    await self.saw(tenant_id, [token_seen({**before, **change}, uid, owner, one.connection_id)])


def token_seen(tree: Tree, uid: str, owner: PartyId, connection_id: int) -> Remembered:
    """A token."""
    contract = tree.get("contract_id")
    return Remembered(
        module=TOKENS,
        id_key=folded(uid),
        owner=owner.key,
        connection_id=connection_id,
        contract_key=folded(contract) if isinstance(contract, str) else None,
        document=encode({"country_code": owner.country_code, "party_id": owner.party_id, **tree}),
    )


def location_seen(ident: str, owner: PartyId, connection_id: int) -> Remembered:
    """A location."""
    return Remembered(module=LOCATIONS, id_key=folded(ident), owner=owner.key, connection_id=connection_id)


def session_seen(ident: str, owner: PartyId, connection_id: int, driver: PartyId | None) -> Remembered:
    """A session, and whose driver charges."""
    return Remembered(
        module=SESSIONS,
        id_key=folded(ident),
        owner=owner.key,
        connection_id=connection_id,
        for_party=None if driver is None else driver.key,
        ages=True,
    )


def reservation_seen(ident: str, owner: PartyId, connection_id: int, driver: PartyId | None) -> Remembered:
    """A reservation that a provider asked of an operator, whose it is from then on."""
    return Remembered(
        module=RESERVATIONS,
        id_key=folded(ident),
        owner=owner.key,
        connection_id=connection_id,
        for_party=None if driver is None else driver.key,
        ages=True,
    )


def driver_of(tree: Tree) -> PartyId | None:
    """Whose driver a session or CDR is about."""
    token = tree.get("cdr_token")
    if isinstance(token, dict) and token.get("country_code") and token.get("party_id"):
        return PartyId(str(token["country_code"]), str(token["party_id"]))
    return None


def _same_but_driver(known: Remembered, one: Remembered) -> bool:
    return msgspec.structs.replace(known, for_party=None) == one
