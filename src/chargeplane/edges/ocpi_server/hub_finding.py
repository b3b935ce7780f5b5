"""Whom a request to our hub is for, where it does not name a receiver; and what the hub learns from what passes.

OCPI 2.1.1 has no routing headers, and in later versions they may be left out (transport_and_format, Open Routing Request). What tells: the
driver's token in sessions and CDRs, whose object an id was when it passed before (`app.roaming.hub_memory`), and else who has the place.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from msgspec.structs import replace

from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.hub_memory import (
    LOCATIONS,
    RESERVATIONS,
    SESSIONS,
    TOKENS,
    HubMemory,
    driver_of,
    location_seen,
    reservation_seen,
    session_seen,
    token_seen,
)
from chargeplane.app.roaming.ports import Outcome, PulledPage, Route
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.replicas import folded
from chargeplane.domain.roaming.roles import MODULES
from chargeplane.edges.ocpi_server.call import Call
from chargeplane.ocpi.documents import encode_tree, parse
from chargeplane.ocpi.documents import read as read_document
from chargeplane.ocpi.paging import PageAsk
from chargeplane.ocpi.table import Interface, Module
from chargeplane.ocpi.versions import CANONICAL, Version
from chargeplane.store.queries.roaming_hub_objects import Remembered

COMMANDS_AT: Final = frozenset({38, 40, 41})
"""Rows of commands that name a place."""

_STOP, _CANCEL, _RESERVE, _AUTHORIZE, _PREFERENCES, _ACTIVE_PROFILE = 39, 42, 40, 34, 21, 48
_PROFILES: Final = frozenset({44, 45, 46})
_GET_LOCATION, _GET_EVSE = 8, 9
_PUT_TOKEN, _PATCH_TOKEN = 36, 37


class HubCaller(Protocol):
    """What the hub asks partners by. Implemented by edges/ocpi_client."""

    @property
    def call(self) -> Callable[..., Awaitable[Outcome]]:
        """One request; as `app.roaming.ports.Caller`."""
        ...

    async def part(
        self,
        peer: Peer,
        row: int,
        ask: PageAsk,
        route: Route,
        correlation_id: str,
        *,
        timeout_s: float | None = None,
    ) -> Outcome | PulledPage:
        """Part of a list."""
        ...


class Finding:
    """Finds receivers."""

    def __init__(self, memory: HubMemory, caller: HubCaller, connections: Connections) -> None:
        self._memory = memory
        self._caller = caller
        self._connections = connections

    async def meant(self, call: Call, hub: PartyId) -> PartyId | None:
        """Whom a request is for, as far as it and what passed before say."""
        number, tree = call.row.number, _tree(call)
        if call.row.module in (Module.SESSIONS, Module.CDRS):
            driver = driver_of(tree)
            if driver is not None and driver.key != hub.key:
                return driver
            if number == _PREFERENCES:
                return await self._operator_of(call, call.path["session_id"])
            if "session_id" in call.path and call.owner is not None:
                return await self._driver_of(call, call.path["session_id"], call.owner)
            return None
        if number == _AUTHORIZE:
            return await self._only_owner(call, TOKENS, call.path["token_uid"])
        if call.row.module is Module.LOCATIONS and call.row.interface is Interface.SENDER:
            return await self._only_owner(call, LOCATIONS, call.path["location_id"])
        if number in COMMANDS_AT:
            return await self._only_owner(call, LOCATIONS, str(tree.get("location_id")))
        if number == _STOP:
            return await self._operator_of(call, str(tree.get("session_id")))
        if number in _PROFILES:
            return await self._operator_of(call, call.path["session_id"])
        if number == _ACTIVE_PROFILE:
            return await self._driver_of(call, call.path["session_id"], sender_of(call))
        if number == _CANCEL:
            return await self._only_owner(call, RESERVATIONS, str(tree.get("reservation_id")))
        return None

    async def is_of_another(self, call: Call) -> bool:
        """Whether a request is about a session or reservation of somebody else's driver."""
        if call.row.number not in {_STOP, _CANCEL, _PREFERENCES} | _PROFILES or _is_scsp(call.peer):
            return False
        if call.row.number == _CANCEL:
            found = await self._named(call, RESERVATIONS, str(_tree(call).get("reservation_id")))
        else:
            found = await self._named(call, SESSIONS, _session_id(call))
        to_party = call.route.to_party
        about = [one for one in found if to_party is None or one.owner == to_party.key] or found
        drivers = {one.for_party for one in about}
        known = {one for one in drivers if one is not None}
        if not known or None in drivers:
            return False
        return known == await self._connections.of_others(call.peer, [_party(one) for one in known])

    async def who_has_place(
        self, call: Call, hub: PartyId, targets: Sequence[tuple[Peer, PartyId]], timeout_s: float
    ) -> list[PartyId]:
        """The operators that have the place which a command names: each is asked for it."""
        tree = _tree(call)
        path = {"location_id": str(tree.get("location_id"))}
        evse = tree.get("evse_uid")
        if isinstance(evse, str):
            path["evse_uid"] = evse

        async def has(peer: Peer, party: PartyId) -> bool:
            outcome = await self._caller.call(
                peer,
                _GET_EVSE if "evse_uid" in path else _GET_LOCATION,
                path,
                route=Route(from_party=hub, to_party=party),
                correlation_id=call.correlation_id,
                routed=True,
                timeout_s=peer.quirks.timeout_s or timeout_s,
            )
            return outcome.ok and outcome.data is not None

        answers = await asyncio.gather(*(has(peer, party) for peer, party in targets))
        found = [(peer, party) for (peer, party), yes in zip(targets, answers, strict=True) if yes]
        await self._memory.saw(
            call.peer.tenant_id, [location_seen(path["location_id"], party, peer.id) for peer, party in found]
        )
        return [party for _, party in found]

    async def passed(self, call: Call, peer: Peer, data: bytes | None) -> None:
        """A request was taken by whom it was for, who answered this."""
        if call.row.number == _AUTHORIZE and data is not None and not is_denial(data):
            token = parse(data).get("token")
            uid = call.path["token_uid"]
            if isinstance(token, dict) and await self._only_owner(call, TOKENS, uid) is None:
                issuer = PartyId(str(token.get("country_code")), str(token.get("party_id")))
                if not await self._connections.of_others(peer, [issuer]):
                    await self._memory.saw(call.peer.tenant_id, [token_seen(token, uid, issuer, peer.id)])
        if call.row.number == _RESERVE:
            owner = peer.parties[0].id if peer.parties else None
            if call.route.to_party is not None and peer.has_party(call.route.to_party):
                owner = call.route.to_party
            if owner is not None:
                ident = str(_tree(call).get("reservation_id"))
                await self._memory.saw(call.peer.tenant_id, [reservation_seen(ident, owner, peer.id, sender_of(call))])

    async def listed(self, call: Call, peer: Peer, page: PulledPage) -> PulledPage:
        """Part of a partner's list passed; drivers of OCPI 2.1.1 are named in it as they are known here."""
        module = call.row.module
        if module not in (Module.LOCATIONS, Module.SESSIONS, Module.CDRS, Module.TOKENS) or not page.documents:
            return page
        trees = [parse(document) for document in page.documents]
        if module in (Module.SESSIONS, Module.CDRS) and peer.version == Version.V2_1_1:
            trees = await named_drivers(self._memory, call, trees)
            page = replace(page, documents=tuple(encode_tree(tree) for tree in trees))
        seen: list[Remembered] = []
        owners = [PartyId(str(tree.get("country_code")), str(tree.get("party_id"))) for tree in trees]
        others = await self._connections.of_others(peer, owners)
        for tree, owner in zip(trees, owners, strict=True):
            if owner.key in others:
                continue  # nobody says whose another's objects are
            if module is Module.LOCATIONS:
                seen.append(location_seen(str(tree["id"]), owner, peer.id))
            elif module is Module.SESSIONS:
                seen.append(session_seen(str(tree["id"]), owner, peer.id, driver_of(tree)))
            elif module is Module.TOKENS:
                seen.append(token_seen(tree, str(tree["uid"]), owner, peer.id))
        await self._memory.saw(call.peer.tenant_id, seen)
        return page

    async def _named(self, call: Call, module: str, ident: str) -> list[Remembered]:
        return await self._memory.named(call.peer.tenant_id, module, ident)

    async def _only_owner(self, call: Call, module: str, ident: str) -> PartyId | None:
        owners = {one.owner for one in await self._named(call, module, ident)}
        return _party(owners.pop()) if len(owners) == 1 else None

    async def _operator_of(self, call: Call, session_id: str) -> PartyId | None:
        found = await self._named(call, SESSIONS, session_id)
        owners = {one.owner for one in found if _is_scsp(call.peer) or _speaks_for(call.peer, one.for_party)}
        return _party(owners.pop()) if len(owners) == 1 else None

    async def _driver_of(self, call: Call, session_id: str, owner: PartyId | None) -> PartyId | None:
        for one in await self._named(call, SESSIONS, session_id):
            if owner is not None and one.owner == owner.key and one.for_party is not None:
                return _party(one.for_party)
        return None


def seen_in(call: Call) -> list[Remembered]:
    """What a push tells of whose an object is."""
    owner, path, peer = call.owner, call.path, call.peer
    if owner is None or call.row.interface is not Interface.RECEIVER:
        return []
    if call.row.module is Module.LOCATIONS:
        return [location_seen(path["location_id"], owner, peer.id)]
    if call.row.module is Module.SESSIONS:
        return [session_seen(path["session_id"], owner, peer.id, driver_of(_tree(call)))]
    if call.row.number == _PUT_TOKEN:
        return [token_seen(_tree(call), path["token_uid"], owner, peer.id)]
    return []


async def with_driver(call: Call, memory: HubMemory) -> Call:
    """The request with the driver's token as it is known here: OCPI 2.1.1 tells its contract alone."""
    if call.row.number == _PATCH_TOKEN and call.owner is not None:
        await memory.token_changed(call.peer.tenant_id, call.path["token_uid"], call.owner, _tree(call))
    tree, document = _tree(call), call.document
    if call.version is not Version.V2_1_1 or document is None or not isinstance(tree.get("cdr_token"), dict):
        return call
    if call.row.module not in (Module.SESSIONS, Module.CDRS):
        return call
    (named,) = await named_drivers(memory, call, [tree])
    if named is tree:
        return call
    return dataclasses.replace(call, document=read_document(document.kind, CANONICAL, named, partial=document.partial))


async def named_drivers(memory: HubMemory, call: Call, trees: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sessions or CDRs with the tokens that belong to their contracts."""
    contracts = {str(tree["cdr_token"].get("contract_id")) for tree in trees if isinstance(tree.get("cdr_token"), dict)}
    tokens = await memory.tokens_of(call.peer.tenant_id, sorted(contracts)) if contracts else {}
    # Who was never told the contract has the uid in its place (OCPI 2.1.1 tells no token when it is asked about one).
    unknown = sorted(one for one in contracts if folded(one) not in tokens)
    if unknown:
        tokens = {**await memory.tokens_named(call.peer.tenant_id, unknown), **tokens}
    made = []
    for tree in trees:
        given = tree.get("cdr_token")
        token = tokens.get(folded(str(given.get("contract_id")))) if isinstance(given, dict) else None
        if token is not None:
            names = ("country_code", "party_id", "uid", "type", "contract_id")
            tree = {**tree, "cdr_token": {name: token[name] for name in names if name in token}}
        made.append(tree)
    return made


def is_denial(data: bytes | None) -> bool:
    """Whether an answer to a question about a token is NOT_ALLOWED, as who does not know it says too."""
    return data is not None and parse(data).get("allowed") == "NOT_ALLOWED"


def sender_of(call: Call) -> PartyId | None:
    """Who sends: as the headers say, else the caller's party that has the module's other side (2.1.1 has no headers)."""
    if call.route.from_party is not None:
        return call.route.from_party
    side = call.row.interface.other.value
    for party in call.peer.parties:
        if has_side(party.role, call.row.module.value, side):
            return party.id
    return call.peer.parties[0].id if call.peer.parties else None


def has_side(role: PartyRole, module: str, side: str) -> bool:
    """Whether a role has a module's interface."""
    return (module, side) in MODULES[role]


def _tree(call: Call) -> dict[str, Any]:
    tree = None if call.document is None else call.document.tree
    return tree if isinstance(tree, dict) else {}


def _session_id(call: Call) -> str:
    return call.path.get("session_id") or str(_tree(call).get("session_id"))


def _is_scsp(peer: Peer) -> bool:
    return any(party.role is PartyRole.SCSP for party in peer.parties)


def _speaks_for(peer: Peer, key: str | None) -> bool:
    return any(party.id.key == key for party in peer.parties)


def _party(key: str) -> PartyId:
    return PartyId(key[:2], key[2:])
