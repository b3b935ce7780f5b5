"""What operators ask of the connections: who we are, who can be asked about tokens, and how partners are told of our objects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.authorizing import Provider
from chargeplane.app.roaming.outgoing import Message, Wanted
from chargeplane.app.roaming.ports import Caller, Route
from chargeplane.app.roaming.publishing import EVSE_HINT
from chargeplane.domain.roaming.authorization import Allowed, Answer, KnownToken, Whitelist
from chargeplane.domain.roaming.commands import Asked
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.publication import EVERYTHING, Publication
from chargeplane.kernel.errors import PeerError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_documents as documents
from chargeplane.store.queries import roaming_operator as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_documents import CDRS, LOCATIONS, SESSIONS, TARIFFS, Stored

PUT_LOCATION: Final = 14
PUT_EVSE: Final = 15
PATCH_EVSE: Final = 18
PUT_SESSION: Final = 23
POST_CDR: Final = 26
PUT_TARIFF: Final = 30
DELETE_TARIFF: Final = 31
AUTHORIZE: Final = 34
COMMAND_RESULT: Final = 43
PROFILE_RESULT: Final = 47
"""Rows of the table of endpoints."""

_UNKNOWN_TOKEN: Final = 2004
_AT_A_STRETCH: Final = 100
_HOLDS_S: Final = 2.0


class PeerSource(Protocol):
    """The connections."""

    async def get(self, ident: int) -> Peer | None:
        """A connection, whatever its state."""
        ...

    async def every(self, tenant_id: TenantId | None, *, registered: bool = True) -> Sequence[Peer]:
        """Connections of a tenant, or of all."""
        ...


class OurParties:
    """Who we are as operator; read anew every few seconds, and when something is known to have changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[TenantId, PartyId] = {}
        self._until = 0.0

    def forget(self) -> None:
        """Something changed."""
        self._until = 0.0

    async def operator_of(self, tenant_id: TenantId) -> PartyId | None:
        """The tenant's party as operator."""
        return (await self._all()).get(tenant_id)

    async def operating_tenants(self) -> Sequence[TenantId]:
        """The tenants that have one."""
        return list(await self._all())

    async def _all(self) -> dict[TenantId, PartyId]:
        if time.monotonic() >= self._until:
            async with self._database.read() as db:
                self._known = await queries.operators(db)
            self._until = time.monotonic() + _HOLDS_S
        return self._known


class Outgoing:
    """Tells partners by the queue of each; implements `Telling`.

    Args:
        wake: called after what was noted is committed.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    async def note(
        self,
        db: Db,
        tenant_id: TenantId,
        module: str,
        key: str,
        *,
        connections: list[int] | None = None,
        hint: str | None = None,
    ) -> None:
        """Within the transaction of the change."""
        await outgoing.note(db, tenant_id, module, key, connections=connections, hint=hint)

    async def note_many(self, db: Db, tenant_id: TenantId, module: str, hints: Mapping[str, str | None]) -> None:
        """The same of many objects, for all that take the module."""
        await outgoing.note_many(db, tenant_id, module, hints)

    def hint(self) -> None:
        """Something was noted and committed."""
        self._wake()


class _Evse(Struct):
    uid: str
    status: str
    last_updated: str


class _Location(Struct):
    evses: list[msgspec.Raw] = []


class _TokenOwner(Struct):
    country_code: str
    party_id: str


class _WithToken(Struct):
    cdr_token: _TokenOwner


_location = msgspec.json.Decoder(_Location).decode
_evse = msgspec.json.Decoder(_Evse).decode
_with_token = msgspec.json.Decoder(_WithToken).decode


class Rendering:
    """Makes what is sent of our objects: the newest document, as the partner may see it (a `Renderer` of outgoing)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state of an object."""
        (message,) = await self.render_many(module, [Wanted(peer=peer, key=key, hint=hint)])
        return message

    async def render_many(self, module: str, wanted: Sequence[Wanted]) -> list[Message | None]:
        """The messages that bring partners to the newest states of objects; an object is read once for all that may see the same."""
        stored: dict[tuple[int, str], Stored] = {}
        async with self._database.read() as db:
            rules = await documents.publications(db, {one.peer.id for one in wanted})
            sent = await queries.sent_of(db, module, [(one.peer.id, one.key) for one in wanted])
            for alike in _alike(module, wanted, rules):
                first = alike[0].peer
                keys = {one.key for one in alike}
                shown = await documents.seen_of(
                    db, first.tenant_id, module, keys, first.id, rules.get(first.id, EVERYTHING)
                )
                stored |= {(one.peer.id, one.key): shown[one.key.lower()] for one in alike if one.key.lower() in shown}
            if module == LOCATIONS:
                for one in wanted:
                    place = one.peer.id, one.key
                    if place not in stored and place in sent:
                        # It saw the location, and is to see it no more: as if it were removed.
                        hidden = await documents.one(db, one.peer.tenant_id, module, one.key)
                        if hidden is not None:
                            stored[place] = _withdrawn(hidden)
        made: dict[tuple[int, str | None, bool, bool], Message | None] = {}
        messages: list[Message | None] = []
        for number, one in enumerate(wanted, 1):
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)  # stations share the loop
            found = stored.get((one.peer.id, one.key))
            if found is None:
                messages.append(None)
                continue
            # What partners are told of the same document is the same, but for what they had and whether they take a part.
            alike_for = id(found), one.hint, (one.peer.id, one.key) in sent, one.peer.quirks.no_patch
            if alike_for not in made:
                made[alike_for] = self._message(one.peer, module, found, one.hint, alike_for[2])
            messages.append(made[alike_for])
        return messages

    def _message(self, peer: Peer, module: str, found: Stored, hint: str | None, sent: bool) -> Message | None:
        ours = PartyId(found.country_code, found.party_id)
        owner = {"country_code": found.country_code, "party_id": found.party_id}
        if module == LOCATIONS:
            return self._place(peer, found, owner, Route(from_party=ours), hint if sent else None)
        if module == TARIFFS:
            if found.removed_at is not None:
                return (
                    Message(row=DELETE_TARIFF, path={**owner, "tariff_id": found.id}, route=Route(from_party=ours))
                    if sent
                    else None
                )
            return Message(
                row=PUT_TARIFF, path={**owner, "tariff_id": found.id}, body=found.body, route=Route(from_party=ours)
            )
        token = _with_token(found.body).cdr_token
        route = Route(from_party=ours, to_party=PartyId(token.country_code, token.party_id))
        if module == SESSIONS:
            return Message(row=PUT_SESSION, path={**owner, "session_id": found.id}, body=found.body, route=route)
        if module == CDRS:
            return Message(row=POST_CDR, body=found.body, route=route, keep_location=True)
        return None

    def _place(
        self, peer: Peer, found: Stored, owner: dict[str, str], route: Route, hint: str | None
    ) -> Message | None:
        path = {**owner, "location_id": found.id}
        uid = None if hint is None else hint.removeprefix(EVSE_HINT)
        raw = None if uid is None else next((one for one in _location(found.body).evses if _evse(one).uid == uid), None)
        if raw is None or uid is None:
            return Message(row=PUT_LOCATION, path=path, body=found.body, route=route)
        path["evse_uid"] = uid
        if peer.quirks.no_patch:
            return Message(row=PUT_EVSE, path=path, body=bytes(raw), route=route)
        evse = _evse(raw)
        body = msgspec.json.encode({"status": evse.status, "last_updated": evse.last_updated})
        return Message(row=PATCH_EVSE, path=path, body=body, route=route)


def _alike(module: str, wanted: Sequence[Wanted], rules: Mapping[int, Publication]) -> Iterable[list[Wanted]]:
    """What is wanted, by who sees the same: partners with the same rules see the same locations and tariffs, and each its own sessions."""
    alike: dict[tuple[int, object], list[Wanted]] = {}
    for one in wanted:
        sees: object = one.peer.id if module in (SESSIONS, CDRS) else rules.get(one.peer.id, EVERYTHING)
        alike.setdefault((one.peer.tenant_id, sees), []).append(one)
    return alike.values()


def _withdrawn(found: Stored) -> Stored:
    """The location with its EVSEs removed."""
    said: dict[str, Any] = msgspec.json.decode(found.body)
    said["publish"] = False
    for evse in said.get("evses", ()):
        evse["status"] = "REMOVED"
        evse.pop("evse_id", None)
    return replace(found, body=msgspec.json.encode(said))


class _Token(Struct):
    country_code: str
    party_id: str
    uid: str
    contract_id: str
    type: str = "RFID"
    valid: bool = True
    whitelist: str = "NEVER"
    group_id: str | None = None
    language: str | None = None


class _Place(Struct):
    location_id: str
    evse_uids: list[str] | None = None


class _Text(Struct):
    text: str


class _Info(Struct):
    allowed: str
    token: _Token
    location: _Place | None = None
    authorization_reference: str | None = None
    info: _Text | None = None


_info = msgspec.json.Decoder(_Info).decode
_WHITELISTS: Final = {one.value: one for one in Whitelist}
_ALLOWED: Final = {one.value: one for one in Allowed}


class PartnersAsked:
    """Asks partners; implements `Providers` of authorising and `ResultSender` of results."""

    def __init__(self, database: Database, peers: PeerSource, caller: Caller) -> None:
        self._database = database
        self._peers = peers
        self._caller = caller
        self._pushing: dict[int, tuple[float, bool]] = {}

    async def of_tenant(self, tenant_id: TenantId) -> Sequence[Provider]:
        """The tenant's partners that can be asked: providers that have the tokens module."""
        found = []
        for peer in await self._peers.every(tenant_id):
            parties = tuple(
                (one.id.country_code, one.id.party_id) for one in peer.parties if one.role is PartyRole.EMSP
            )
            if not peer.usable or peer.url_of("tokens", "SENDER") is None or not (parties or peer.is_hub):
                continue
            found.append(Provider(connection_id=peer.id, parties=parties, ask_unknown=not await self._pushes(peer.id)))
        return found

    async def _pushes(self, connection_id: int) -> bool:
        now = time.monotonic()
        known = self._pushing.get(connection_id)
        if known is None or known[0] < now:
            async with self._database.read() as db:
                known = self._pushing[connection_id] = (now + 60.0, await queries.pushes_tokens(db, connection_id))
        return known[1]

    async def pushed(self, db: Db, tenant_id: TenantId, uid: str) -> Sequence[KnownToken]:
        """Tokens as they were pushed."""
        return await queries.pushed_tokens(db, tenant_id, uid)

    async def ask(
        self, connection_id: int, uid: str, kind: str, place: tuple[str, tuple[str, ...]] | None, timeout_s: float
    ) -> Answer | None:
        """POST authorize; None: the provider does not know the token.

        Raises:
            PeerError: there was no answer that can be used.
        """
        peer = await self._peers.get(connection_id)
        if peer is None or not peer.usable:
            raise PeerError("The partner is not registered.")
        body: dict[str, Any] | None = None
        if place is not None:
            body = {"location_id": place[0], "evse_uids": list(place[1])}
        outcome = await self._caller.call(
            peer,
            AUTHORIZE,
            {"token_uid": uid},
            body=None if body is None else msgspec.json.encode(body),
            query={"type": kind},
            timeout_s=timeout_s,
        )
        if outcome.status_code == _UNKNOWN_TOKEN or outcome.http_status == 404:
            return None
        if not outcome.ok or outcome.data is None:
            raise PeerError(outcome.sentence or f"'{peer.name}' gave no answer that can be used.")
        try:
            said = _info(outcome.data)
        except (msgspec.MsgspecError, ValueError) as error:
            raise PeerError(f"'{peer.name}' gave an answer that cannot be understood: {error}") from None
        token = said.token
        return Answer(
            allowed=_ALLOWED.get(said.allowed, Allowed.NOT_ALLOWED),
            token=KnownToken(
                connection_id=connection_id,
                country_code=token.country_code,
                party_id=token.party_id,
                uid=token.uid,
                type=token.type,
                contract_id=token.contract_id,
                valid=token.valid,
                whitelist=_WHITELISTS.get(token.whitelist, Whitelist.NEVER),
                group_id=token.group_id,
                language=token.language,
            ),
            evse_uids=None
            if said.location is None or said.location.evse_uids is None
            else tuple(said.location.evse_uids),
            authorization_reference=said.authorization_reference,
            text=None if said.info is None else said.info.text[:512],
        )

    async def send(self, connection_id: int, kind: Asked, url: str, body: bytes, routing: str | None) -> None:
        """POST of a result to the address that the partner named.

        Raises:
            PeerError: it did not take it.
        """
        peer = await self._peers.get(connection_id)
        if peer is None:
            raise PeerError("The partner is gone.")
        outcome = await self._caller.call(
            peer,
            PROFILE_RESULT if kind.is_profile else COMMAND_RESULT,
            body=body,
            url=url,
            kind=_RESULT_KINDS.get(kind),
            route=route_of(routing),
        )
        if not outcome.ok:
            raise PeerError(outcome.sentence or f"'{peer.name}' did not take the result.")


_RESULT_KINDS: Final = {
    Asked.GET_PROFILE: "ActiveChargingProfileResult",
    Asked.SET_PROFILE: "ChargingProfileResult",
    Asked.CLEAR_PROFILE: "ClearProfileResult",
}

_route = msgspec.json.Decoder(Route).decode


def route_text(route: Route) -> str:
    """Where the answer to a request goes: the other way round, as kept."""
    return msgspec.json.encode(Route(from_party=route.to_party, to_party=route.from_party)).decode()


def route_of(text: str | None) -> Route | None:
    """From the store."""
    return None if text is None else _route(text)
