"""Connections with partners: invited, registered in both directions, rotated, upgraded, suspended, ended.

A handshake is several requests between two platforms, and either may die between any two of them. Two rules make each state one from
which the same step can be taken again. What is promised to the other side is committed before it is sent: a token that we offer is
written down before the request that carries it, so that the partner's call back finds it. And nothing that worked is taken away before
its successor was used: the invitation, or the token before, holds until the partner comes with the one that we gave it last
(`store.queries.roaming_connections.note_use`). So a partner that never got our answer may register, or rotate, again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.roaming.ports import HandshakeError, HandshakeTrouble, Handshaking
from chargeplane.app.roaming.tokens import Tokens, hash_of, make_token
from chargeplane.domain.roaming.connection import (
    BusinessDetails,
    ConnectionState,
    ModuleUrl,
    PartnerParty,
    PartyId,
    PartyRole,
    Peer,
    PeerCredentials,
    Quirks,
    TokenForm,
)
from chargeplane.domain.roaming.roles import OPPOSITE
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, RuleError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_client_info, roaming_pushes
from chargeplane.store.queries import roaming_connections as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.roaming_connections import (
    IssuedToken,
    ModuleState,
    OwnPartyView,
    StoredConnection,
)
from chargeplane.store.secrets import InstallationKeys

KIND: Final = "roaming partner"
PARTY: Final = "roaming party"
VERSIONS: Final = ("2.3.0", "2.2.1", "2.1.1")
"""Those we speak, the newest first."""

_log = structlog.get_logger(__name__)


class PartnerWanted(Struct, frozen=True, kw_only=True):
    """What is known of a partner before it registers.

    Args:
        own_parties: parties of ours that it sees; None: all.
        own_role: of 2.1.1: in which role we meet it. None: the only one of our parties', CPO where there are both.
        version: the only one to be used; None: the newest that both have.
    """

    name: str
    own_parties: tuple[PartyId, ...] | None = None
    own_role: PartyRole | None = None
    is_hub: bool = False
    version: str | None = None
    quirks: Quirks = Quirks()


class PartnerChanges(Struct, frozen=True, kw_only=True):
    """What is to be changed of a partner; what is unset stays."""

    name: str | UnsetType = UNSET
    own_parties: tuple[PartyId, ...] | UnsetType | None = UNSET
    own_role: PartyRole | UnsetType | None = UNSET
    is_hub: bool | UnsetType = UNSET
    quirks: Quirks | UnsetType = UNSET


class Connections:
    """Use cases about partners and parties of ours.

    Args:
        handshaking: how platforms are asked.
        base_url: where partners reach us: `https://host/ocpi`, as it is now.
        keys: encrypt what partners gave us.
    """

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        tokens: Tokens,
        handshaking: Handshaking,
        base_url: Callable[[], str],
        events: EventFeed,
    ) -> None:
        self._database = database
        self._keys = keys
        self._tokens = tokens
        self._handshaking = handshaking
        self._base_url = base_url
        self._events = events
        self._busy: dict[int, asyncio.Lock] = {}
        self.reachable: Callable[[Peer], tuple[PartnerParty, ...]] = lambda _: ()
        """Parties behind our hub that a partner may be told of; put in by the hub."""
        self.on_change: list[Callable[[int], None]] = []
        """Hear the id of a connection that was changed by this process."""

    @property
    def versions_url(self) -> str:
        """Where partners begin."""
        return f"{self._base_url()}/versions"

    # -- what others ask -----------------------------------------------------------------------------------------------

    async def get(self, ident: int) -> Peer | None:
        """A connection, whatever its state; None where there is none."""
        async with self._database.read() as db:
            return await queries.peer(db, ident)

    async def every(self, tenant_id: TenantId | None, *, registered: bool = True) -> list[Peer]:
        """Connections of a tenant, or of all; oldest first."""
        async with self._database.read() as db:
            return await queries.peers(db, tenant_id, registered=registered)

    async def peer_of(self, tenant_id: TenantId, party: PartyId, role: PartyRole | None = None) -> Peer | None:
        """The registered connection behind which a party is: its own before a hub's."""
        found = [peer for peer in await self.every(tenant_id) if peer.has_party(party, role)]
        found.sort(key=lambda peer: (peer.is_hub, VERSIONS.index(peer.version or VERSIONS[-1])))
        if found:
            return found[0]
        async with self._database.read() as db:
            ident = await roaming_client_info.hub_of(db, tenant_id, party)
            if ident is None:
                # Hubs of OCPI 2.1.1 tell nothing of whom they know; what came through one says it.
                ident = await queries.hub_that_brought(db, tenant_id, party)
        peer = None if ident is None else await self.get(ident)
        return peer if peer is not None and peer.usable else None

    async def of_others(self, peer: Peer, parties: Iterable[PartyId]) -> frozenset[str]:
        """Keys of those parties that a partner does not speak for.

        A hub speaks for whoever is behind it, but not for us, for who is connected directly too, or for who is behind another hub.
        """
        wanted = {party.key: party for party in parties}
        if not peer.is_hub:
            return frozenset(key for key, party in wanted.items() if not peer.has_party(party))
        taken = {own.id.key for own in peer.own}
        for other in await self.every(peer.tenant_id, registered=False):
            held = other.state in (ConnectionState.REGISTERED, ConnectionState.SUSPENDED)
            if held and other.id != peer.id and not other.is_hub:
                taken.update(party.id.key for party in other.parties)
        found = wanted.keys() & taken
        for key, party in wanted.items():
            if key in taken or peer.has_party(party):
                continue
            behind = await self.peer_of(peer.tenant_id, party)
            # In OCPI 2.1.1 a platform has a connection for each role.
            if behind is not None and behind.id != peer.id and _host_of(behind) != _host_of(peer):
                found.add(key)
        return frozenset(found)

    async def token_of(self, peer: Peer) -> str | None:
        """What we come to a partner with; None where it gave none."""
        async with self._database.read() as db:
            sealed = await queries.token(db, peer.id)
        return None if sealed is None else self._keys.decrypt(sealed, purpose_of(peer.id)).decode()

    async def note_form(self, peer: Peer, form: TokenForm) -> None:
        """Keeps in which form a partner took its token."""
        async with self._database.change() as db:
            await queries.update(db, peer.id, {"token_form": form.value}, revise=False)
        self._changed(peer.id)

    # -- parties of ours -----------------------------------------------------------------------------------------------

    async def parties(self, caller: Caller, limit: int, after: Position | None) -> list[tuple[int, OwnPartyView]]:
        """Parties of ours with our keys of them, oldest first."""
        async with self._database.read() as db:
            return await queries.party_views(db, caller.tenant_id, limit, after)

    async def party(self, caller: Caller, party: PartyId) -> OwnPartyView:
        """A party of ours.

        Raises:
            NotFoundError: the tenant has no such party.
        """
        async with self._database.read() as db:
            found = await queries.party_view(db, caller.tenant_id, party)
        if found is None:
            raise NotFoundError(PARTY, str(party))
        return found[1]

    async def put_party(
        self,
        caller: Caller,
        party: PartyId,
        roles: list[PartyRole],
        details: BusinessDetails,
        if_revision: int | None = None,
    ) -> tuple[OwnPartyView, bool]:
        """Adds a party of ours, or says anew what it is; whether it is new.

        Raises:
            ConflictError: the party is another tenant's, or a partner's.
        """
        roles = [role for role in PartyRole if role in roles]
        async with self._database.change() as db:
            before = await queries.party_view(db, caller.tenant_id, party, lock=True)
            if before is not None and if_revision is not None and before[1].revision != if_revision:
                raise StaleError(str(party), before[1].revision)
            after = {"roles": roles, "business_details": details}
            if before is None:
                if not await queries.insert_party(db, caller.tenant_id, party, roles, details):
                    raise ConflictError(f"The party {party} exists already.")
                await self._audit(db, caller, "create", PARTY, str(party), None, after)
            else:
                await queries.update_party(db, before[0], roles, details)
                shown = {"roles": before[1].roles, "business_details": before[1].business_details}
                await self._audit(db, caller, "update", PARTY, str(party), shown, after)
        self._changed(0)
        return await self.party(caller, party), before is None

    async def remove_party(self, caller: Caller, party: PartyId) -> None:
        """Removes a party of ours.

        Raises:
            NotFoundError: the tenant has no such party.
            ConflictError: a connection is for it alone.
        """
        async with self._database.change() as db:
            found = await queries.party_view(db, caller.tenant_id, party, lock=True)
            if found is None:
                raise NotFoundError(PARTY, str(party))
            for peer in await queries.peers(db, caller.tenant_id, registered=False):
                if peer.state is not ConnectionState.ENDED and {one.key for one in peer.own} == {found[0]}:
                    raise ConflictError(
                        f"The partner '{peer.name}' ({peer.id}) knows no other party of ours; delete it first."
                    )
            await queries.delete_party(db, found[0])
            await self._audit(db, caller, "delete", PARTY, str(party), {"roles": found[1].roles}, None)
        self._changed(0)

    # -- partners, as operators see them -------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, state: ConnectionState | None, limit: int, after: Position | None
    ) -> Sequence[StoredConnection]:
        """Partners, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, None if state is None else state.value, limit, after)

    async def one(self, caller: Caller, ident: int) -> StoredConnection:
        """A partner.

        Raises:
            NotFoundError: the tenant has no such partner.
        """
        async with self._database.read() as db:
            found = await queries.stored(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(KIND, str(ident))
        return found

    async def health(self, caller: Caller, ident: int) -> tuple[StoredConnection, list[ModuleState], list[IssuedToken]]:
        """How a partner does, module by module, and which tokens it may come with.

        Raises:
            NotFoundError: the tenant has no such partner.
        """
        stored = await self.one(caller, ident)
        async with self._database.read() as db:
            return stored, await queries.module_states(db, ident), await queries.issued(db, ident)

    async def invite(self, caller: Caller, wanted: PartnerWanted, valid_for: timedelta) -> tuple[StoredConnection, str]:
        """A partner that may register with us, and the token it registers with, shown this once.

        Raises:
            InvalidInputError: a party is none of ours.
        """
        token = make_token()
        async with self._database.change() as db:
            columns = await self._columns(db, caller.tenant_id, wanted)
            ident = await queries.insert(db, caller.tenant_id, {**columns, "state": ConnectionState.INVITED.value})
            await queries.issue(db, ident, hash_of(token), queries.INVITE, token[:6], datetime.now(UTC) + valid_for)
            await self._audit(db, caller, "invite", KIND, str(ident), None, wanted)
        self._changed(ident)
        return await self.one(caller, ident), token

    async def invite_again(self, caller: Caller, ident: int, valid_for: timedelta) -> tuple[StoredConnection, str]:
        """Another invitation; the one before no longer holds.

        Raises:
            NotFoundError: the tenant has no such partner.
            ConflictError: it is registered.
        """
        token = make_token()
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            if stored.peer.state not in (ConnectionState.INVITED, ConnectionState.ENDED):
                raise ConflictError(
                    f"'{stored.peer.name}' is {stored.peer.state.value}; only who is not registered is invited."
                )
            await queries.delete_tokens(db, ident)
            await queries.issue(db, ident, hash_of(token), queries.INVITE, token[:6], datetime.now(UTC) + valid_for)
            await queries.update(db, ident, {"state": ConnectionState.INVITED.value, "ended_at": None})
            await self._audit(db, caller, "invite again", KIND, str(ident), None, None)
        self._changed(ident)
        return await self.one(caller, ident), token

    async def register(self, caller: Caller, wanted: PartnerWanted, versions_url: str, token: str) -> StoredConnection:
        """Registers with a partner by the URL and token it gave us. Where that fails it can be tried again: `register_again`, or the same
        once more, which goes on with the partner that stayed.

        Raises:
            InvalidInputError: a party is none of ours, or the URL is none.
            HandshakeError: it did not succeed; the partner stays, in the state `registering`.
        """
        _check_url(versions_url)
        async with self._database.change() as db:
            columns = {
                **await self._columns(db, caller.tenant_id, wanted),
                "state": ConnectionState.REGISTERING.value,
                "versions_url": versions_url,
                "version": wanted.version,
            }
            ident = await queries.registering(db, caller.tenant_id, versions_url)
            if ident is None:
                ident = await queries.insert(db, caller.tenant_id, columns)
            else:
                await queries.update(db, ident, {**columns, "token_form": None})
            await queries.update(db, ident, {"token": self._keys.encrypt(token.encode(), purpose_of(ident))})
            await self._audit(
                db, caller, "register", KIND, str(ident), None, {**_shown(wanted), "versions_url": versions_url}
            )
        await self._handshake(ident, "POST", wanted.version)
        return await self.one(caller, ident)

    async def register_again(
        self, caller: Caller, ident: int, versions_url: str | None, token: str | None, version: str | None
    ) -> StoredConnection:
        """Tries a registration once more, by what was given before or by something new.

        Raises:
            NotFoundError: the tenant has no such partner.
            ConflictError: it is registered, or there is nothing to register with.
            HandshakeError: it did not succeed.
        """
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            if stored.peer.state in (ConnectionState.REGISTERED, ConnectionState.SUSPENDED):
                raise ConflictError(f"'{stored.peer.name}' is {stored.peer.state.value}; rotate its tokens instead.")
            columns: dict[str, Any] = {"state": ConnectionState.REGISTERING.value, "ended_at": None}
            if versions_url is not None:
                _check_url(versions_url)
                columns["versions_url"] = versions_url
            if token is not None:
                columns["token"] = self._keys.encrypt(token.encode(), purpose_of(ident))
                columns["token_form"] = None
            elif await queries.token(db, ident) is None:
                raise ConflictError("The token that the partner gave is needed.")
            await queries.update(db, ident, columns)
            await self._audit(db, caller, "register again", KIND, str(ident), None, {"versions_url": versions_url})
        self._changed(ident)
        await self._handshake(ident, "POST", version)
        return await self.one(caller, ident)

    async def rotate(self, caller: Caller, ident: int, version: str | None = None) -> StoredConnection:
        """Gives a partner a new token and gets one; looks anew where its modules are. To another version where one is named.

        Raises:
            NotFoundError: the tenant has no such partner.
            ConflictError: it is not registered.
            HandshakeError: it did not succeed; the tokens before still hold.
        """
        stored = await self.one(caller, ident)
        if stored.peer.state is not ConnectionState.REGISTERED:
            raise ConflictError(f"'{stored.peer.name}' is {stored.peer.state.value}, not registered.")
        if version is not None and version not in VERSIONS:
            raise InvalidInputError(f"'version' is one of {', '.join(VERSIONS)}.", (("/version", "No such version"),))
        await self._handshake(ident, "PUT", version or stored.peer.version)
        async with self._database.change() as db:
            await self._audit(db, caller, "rotate", KIND, str(ident), None, {"version": version})
        return await self.one(caller, ident)

    async def tell_anew(self, peer: Peer) -> None:
        """Gives a partner our credentials as they are now: those behind our hub are others than it was told.

        Raises:
            ConflictError: it is not registered any more.
            HandshakeError: it did not succeed; the tokens before still hold.
        """
        current = await self.get(peer.id)
        if current is None or not current.usable:
            raise ConflictError(f"'{peer.name}' is not registered.")
        await self._handshake(peer.id, "PUT", current.version)

    async def change(
        self, caller: Caller, ident: int, wanted: PartnerChanges, if_revision: int | None
    ) -> StoredConnection:
        """A partner after the change. What the partner sees of us it is told with the next rotation.

        Raises:
            NotFoundError: the tenant has no such partner.
            StaleError: it has another revision.
            InvalidInputError: a party is none of ours.
        """
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            if if_revision is not None and if_revision != stored.revision:
                raise StaleError(str(ident), stored.revision)
            columns: dict[str, Any] = {}
            if wanted.name is not UNSET:
                columns["name"] = wanted.name
            if not isinstance(wanted.own_parties, UnsetType):
                columns["own_parties"] = await self._keys_of(db, caller.tenant_id, wanted.own_parties)
            if not isinstance(wanted.own_role, UnsetType):
                columns["own_role"] = None if wanted.own_role is None else wanted.own_role.value
            if wanted.is_hub is not UNSET:
                columns["is_hub"] = wanted.is_hub
            if not isinstance(wanted.quirks, UnsetType):
                # The form in which it takes its token was found out and stays: a quirk goes before it.
                columns |= queries.columns_of(quirks=wanted.quirks)
            if columns:
                await queries.update(db, ident, columns)
                before = {"name": stored.peer.name, "quirks": stored.peer.quirks}
                await self._audit(db, caller, "update", KIND, str(ident), before, columns)
        self._changed(ident)
        return await self.one(caller, ident)

    async def suspend(self, caller: Caller, ident: int, because: str | None) -> StoredConnection:
        """Sends nothing more to a partner, and takes nothing of it.

        Raises:
            NotFoundError: the tenant has no such partner.
            ConflictError: it is not registered.
        """
        return await self._turn(caller, ident, ConnectionState.REGISTERED, ConnectionState.SUSPENDED, because)

    async def resume(self, caller: Caller, ident: int) -> StoredConnection:
        """Goes on with a partner that was suspended.

        Raises:
            NotFoundError: the tenant has no such partner.
            ConflictError: it is not suspended.
        """
        return await self._turn(caller, ident, ConnectionState.SUSPENDED, ConnectionState.REGISTERED, None)

    async def remove(self, caller: Caller, ident: int, *, tell: bool = True) -> str | None:
        """Ends a connection; the partner is told where it can be reached.

        Returns:
            Why the partner could not be told.
        Raises:
            NotFoundError: the tenant has no such partner.
        """
        stored = await self.one(caller, ident)
        untold: str | None = None
        peer = stored.peer
        if tell and peer.state in (ConnectionState.REGISTERED, ConnectionState.SUSPENDED):
            untold = await self._say_goodbye(peer)
        async with self._database.change() as db:
            await self._locked(db, caller, ident)
            if peer.state is ConnectionState.ENDED:
                await queries.delete(db, ident)
            else:
                await self._end(db, ident, "Deleted here.")
            await self._audit(db, caller, "delete", KIND, str(ident), {"name": peer.name, "state": peer.state}, None)
        self._changed(ident)
        return untold

    # -- handshakes that we begin --------------------------------------------------------------------------------------

    async def _handshake(self, ident: int, method: str, version: str | None) -> None:
        lock = self._busy.setdefault(ident, asyncio.Lock())
        async with lock:
            try:
                await self._shake(ident, method, version)
            except HandshakeError as error:
                async with self._database.change() as db:
                    await queries.update(db, ident, {"last_error": made_storable(str(error), 500)}, revise=False)
                self._changed(ident)
                raise
        self._busy.pop(ident, None)

    async def _shake(self, ident: int, method: str, wanted: str | None) -> None:
        """One handshake with the roles of OCPI 2.3.0 credentials: we are the sender."""
        peer = await self.get(ident)
        if peer is None or peer.versions_url is None:
            raise NotFoundError(KIND, str(ident))
        token = await self.token_of(peer)
        if token is None:
            raise ConflictError("The partner gave no token.")
        offered, form = await self._handshaking.versions(
            peer.versions_url, token, peer.quirks.token_form or peer.token_form
        )
        version = wanted or next((one for one in VERSIONS if one in offered), None)
        if version is None or version not in offered:
            raise HandshakeError(
                HandshakeTrouble.VERSION,
                f"The partner speaks {', '.join(sorted(offered)) or 'nothing'}, not {wanted or ' or '.join(VERSIONS)}.",
            )
        role = self._own_role(peer)
        partner_role = _partner_role(role)
        modules, form = await self._handshaking.details(offered[version], token, form, version, partner_role)
        credentials_url = _credentials_url(modules)
        ours = make_token()
        async with self._database.change() as db:
            # Before it is sent: the partner calls back with it while it has not answered yet.
            await queries.issue(db, ident, hash_of(ours), queries.OFFERED, ours[:6])
            await queries.withdraw(db, ident)
            await queries.update(db, ident, {"own_role": role.value}, revise=False)
        self._changed(ident)
        given = self.credentials_for(peer, ours, version)
        try:
            answer = await self._handshaking.send_credentials(method, credentials_url, token, form, version, given)
        except HandshakeError as error:
            if not error.unknown:
                # This one alone: one that was offered before may be what the partner comes with, if its answer was lost.
                async with self._database.change() as db:
                    await queries.take_back(db, hash_of(ours))
                self._tokens.forget()
            raise
        if answer is None:
            raise HandshakeError(HandshakeTrouble.REFUSED, "The partner answered without credentials.", unknown=True)
        async with self._database.change() as db:
            await queries.confirm(db, hash_of(ours))
            await self._store(db, peer, version, modules, answer, form, partner_role)
        self._changed(ident)
        self._tell(peer, "roaming_partner.registered")

    async def _say_goodbye(self, peer: Peer) -> str | None:
        """DELETE of the credentials; why that failed."""
        token = await self.token_of(peer)
        url = peer.url_of("credentials", "SENDER") or peer.url_of("credentials", "RECEIVER")
        if token is None or url is None or peer.version is None:
            return "There is no way to tell the partner."
        try:
            await self._handshaking.send_credentials(
                "DELETE", url, token, peer.quirks.token_form or peer.token_form or TokenForm.BASE64, peer.version, None
            )
        except HandshakeError as error:
            return str(error)
        return None

    # -- handshakes that partners begin --------------------------------------------------------------------------------

    def may(self, peer: Peer, method: str, *, invited: bool, newest_unused: bool) -> bool:
        """Whether a method of the credentials is allowed in a state (OCPI 2.3.0 credentials: 405 else).

        A partner that never used the token it got may POST with its invitation again: our answer did not reach it.
        """
        registered = peer.state in (ConnectionState.REGISTERED, ConnectionState.SUSPENDED)
        if method == "POST":
            return not registered or (invited and newest_unused)
        return registered and not invited

    async def take_credentials(
        self, peer: Peer, method: str, version: str, given: PeerCredentials, *, invited: bool
    ) -> PeerCredentials | None:
        """A partner's POST or PUT: its platform is asked for its modules, and it gets a token.

        Args:
            version: of the endpoint that was called: the one that is used from then on.
        Returns:
            What it is to come with; None where the method is not allowed now.
        Raises:
            HandshakeError: its platform could not be used.
            RuleError: its parties cannot be taken.
        """
        lock = self._busy.setdefault(peer.id, asyncio.Lock())
        async with lock:
            async with self._database.read() as db:
                fresh = await queries.peer(db, peer.id)
                unused = await queries.newest_is_unused(db, peer.id)
            if fresh is None or not self.may(fresh, method, invited=invited, newest_unused=unused):
                return None
            await self._check_parties(fresh, given)
            offered, form = await self._handshaking.versions(given.versions_url, given.token, fresh.quirks.token_form)
            if version not in offered:
                raise HandshakeError(
                    HandshakeTrouble.VERSION,
                    f"{given.versions_url} offers {', '.join(sorted(offered)) or 'no version'}, not {version}.",
                )
            role = self._own_role(fresh)
            partner_role = _partner_role(role)
            modules, form = await self._handshaking.details(offered[version], given.token, form, version, partner_role)
            _credentials_url(modules)
            ours = make_token()
            async with self._database.change() as db:
                locked = await queries.stored(db, None, peer.id, lock=True)
                if locked is None or locked.peer.state is ConnectionState.ENDED:
                    return None
                await queries.forget_unused(db, peer.id)
                await queries.issue(db, peer.id, hash_of(ours), queries.CURRENT, ours[:6])
                await queries.update(db, peer.id, {"own_role": role.value}, revise=False)
                await self._store(db, fresh, version, modules, given, form, partner_role)
                await audit(
                    db,
                    peer.tenant_id,
                    actor=f"partner:{peer.id} {peer.name}",
                    action="register" if method == "POST" else "update credentials",
                    kind=KIND,
                    ident=str(peer.id),
                    after={"version": version, "parties": [f"{one.id} {one.role}" for one in given.parties]},
                )
        self._busy.pop(peer.id, None)
        self._changed(peer.id)
        self._tell(peer, "roaming_partner.registered")
        return self.credentials_for(fresh, ours, version)

    async def own_credentials(self, peer: Peer, token: str, version: str) -> PeerCredentials:
        """What a partner comes to us with, as it asked: with the token it came with, since others are not kept."""
        return self.credentials_for(peer, token, version)

    async def take_goodbye(self, peer: Peer) -> bool:
        """A partner's DELETE; False where it is not registered."""
        async with self._database.change() as db:
            stored = await queries.stored(db, None, peer.id, lock=True)
            if stored is None or stored.peer.state not in (ConnectionState.REGISTERED, ConnectionState.SUSPENDED):
                return False
            await self._end(db, peer.id, "The partner unregistered.")
            await audit(
                db,
                peer.tenant_id,
                actor=f"partner:{peer.id} {peer.name}",
                action="unregister",
                kind=KIND,
                ident=str(peer.id),
                before={"state": stored.peer.state.value},
                after={"state": ConnectionState.ENDED.value},
            )
        self._changed(peer.id)
        self._tell(peer, "roaming_partner.ended")
        return True

    def credentials_for(self, peer: Peer, token: str, version: str) -> PeerCredentials:
        """What we give a partner to be called with."""
        parties = tuple(
            PartnerParty(id=own.id, role=role, business_details=own.business_details)
            for own in peer.own
            for role in own.roles
            if version == "2.1.1" or role is not PartyRole.HUB or version != "2.3.0"
        )
        hub = next((own.id for own in peer.own if PartyRole.HUB in own.roles), None)
        if version == "2.1.1":
            # One party and no roles (OCPI 2.1.1 credentials): the one in our role of this connection.
            role = self._own_role(peer)
            chosen = [one for one in parties if one.role is role] or list(parties)
            parties = tuple(chosen[:1])
        return PeerCredentials(
            token=token,
            versions_url=self.versions_url,
            parties=parties + (self.reachable(peer) if version == "2.3.0" and hub is not None else ()),
            hub_party=hub if version == "2.3.0" else None,
        )

    # -- what several need ---------------------------------------------------------------------------------------------

    def _own_role(self, peer: Peer) -> PartyRole:
        """In which role we meet a partner of 2.1.1."""
        if peer.own_role is not None:
            return peer.own_role
        roles = [role for own in peer.own for role in own.roles]
        for role in (PartyRole.HUB, PartyRole.CPO, PartyRole.EMSP):
            if role in roles:
                return role
        return roles[0] if roles else PartyRole.CPO

    async def _store(
        self,
        db: Db,
        peer: Peer,
        version: str,
        modules: tuple[ModuleUrl, ...],
        given: PeerCredentials,
        form: TokenForm,
        partner_role: PartyRole,
    ) -> None:
        parties = given.parties
        if version == "2.1.1":
            parties = tuple(
                PartnerParty(id=one.id, role=partner_role, business_details=one.business_details) for one in parties
            )
        hub = given.hub_party or next((one.id for one in parties if one.role is PartyRole.HUB), None)
        if given.hub_party is not None:
            # Those behind a hub may be ourselves, where we have another connection with it.
            ours = {own.id.key for own in peer.own}
            parties = tuple(one for one in parties if one.id.key not in ours)
        state = peer.state if peer.state is ConnectionState.SUSPENDED else ConnectionState.REGISTERED
        await queries.update(
            db,
            peer.id,
            {
                **queries.columns_of(modules=modules, parties=parties),
                "state": state.value,
                "version": version,
                "versions_url": made_storable(given.versions_url),
                "token": self._keys.encrypt(given.token.encode(), purpose_of(peer.id)),
                "token_form": form.value,
                "is_hub": peer.is_hub or hub is not None,
                "hub_party": None if hub is None else hub.key,
                "last_error": None,
                "registered_at": datetime.now(UTC),
                "ended_at": None,
                "failing_since": None,
                "failures": 0,
                "paused_until": None,
            },
        )

    async def _check_parties(self, peer: Peer, given: PeerCredentials) -> None:
        """Nobody is somebody else: parties of ours, and those that another platform has registered, cannot be taken.

        Raises:
            RuleError: one is taken; the sentence names it.
        """
        _check_url(given.versions_url)
        ours = {own.id.key for own in peer.own}
        host = urlsplit(given.versions_url).netloc
        others = await self.every(peer.tenant_id)
        for party in given.parties:
            if given.hub_party is not None and party.id.key != given.hub_party.key:
                continue  # behind a hub: who is here by itself too is asked directly
            if party.id.key in ours:
                raise RuleError(f"{party.id} is a party of ours.")
            for other in others:
                elsewhere = urlsplit(other.versions_url or "").netloc != host
                if other.id != peer.id and not other.is_hub and elsewhere and other.has_party(party.id):
                    raise RuleError(f"{party.id} is registered by another platform.")

    async def _end(self, db: Db, ident: int, because: str) -> None:
        await queries.delete_tokens(db, ident)
        await db.execute("DELETE FROM roaming_outgoing WHERE connection_id = $1", ident)
        await roaming_pushes.forget(db, ident)
        await db.execute("DELETE FROM roaming_hub_message WHERE connection_id = $1", ident)
        await queries.update(
            db,
            ident,
            {
                "state": ConnectionState.ENDED.value,
                "token": None,
                "ended_at": datetime.now(UTC),
                "suspended_because": None,
                "last_error": because,
            },
        )

    async def _turn(
        self, caller: Caller, ident: int, before: ConnectionState, after: ConnectionState, because: str | None
    ) -> StoredConnection:
        async with self._database.change() as db:
            stored = await self._locked(db, caller, ident)
            if stored.peer.state is not before:
                raise ConflictError(f"'{stored.peer.name}' is {stored.peer.state.value}, not {before.value}.")
            await queries.update(db, ident, {"state": after.value, "suspended_because": because})
            await self._audit(db, caller, after.value, KIND, str(ident), {"state": before}, {"because": because})
        self._changed(ident)
        return await self.one(caller, ident)

    async def _columns(self, db: Db, tenant_id: TenantId, wanted: PartnerWanted) -> dict[str, Any]:
        return {
            "name": wanted.name,
            "own_parties": await self._keys_of(db, tenant_id, wanted.own_parties),
            "own_role": None if wanted.own_role is None else wanted.own_role.value,
            "is_hub": wanted.is_hub,
            **queries.columns_of(quirks=wanted.quirks),
        }

    async def _keys_of(self, db: Db, tenant_id: TenantId, parties: Sequence[PartyId] | None) -> list[int] | None:
        owned = {own.id.key: own.key for own in await queries.own_parties(db, tenant_id)}
        if not owned:
            raise ConflictError(
                "There is no party of ours yet: PUT /v1/roaming/parties/{country_code}/{party_id}, or `chargeplane ocpi party`, first."
            )
        if parties is None:
            return None
        keys = []
        for place, party in enumerate(parties):
            if party.key not in owned:
                sentence = f"There is no party {party} of ours"
                raise InvalidInputError(f"{sentence}.", ((f"/own_parties/{place}", sentence),))
            keys.append(owned[party.key])
        return keys

    async def _locked(self, db: Db, caller: Caller, ident: int) -> StoredConnection:
        found = await queries.stored(db, caller.tenant_id, ident, lock=True)
        if found is None:
            raise NotFoundError(KIND, str(ident))
        return found

    async def _audit(
        self, db: Db, caller: Caller, action: str, kind: str, ident: str, before: object, after: object
    ) -> None:
        await audit(
            db, caller.tenant_id, actor=caller.actor, action=action, kind=kind, ident=ident, before=before, after=after
        )

    def _changed(self, ident: int) -> None:
        self._tokens.forget()
        for listener in self.on_change:
            listener(ident)

    def _tell(self, peer: Peer, kind: str) -> None:
        _log.info(kind, connection=peer.id, partner=peer.name)


def purpose_of(ident: int) -> str:
    """What a partner's token is encrypted for."""
    return f"roaming connection {ident}"


def _partner_role(own: PartyRole) -> PartyRole:
    """What a partner of 2.1.1 is to us."""
    if own is PartyRole.HUB:
        return PartyRole.HUB
    return PartyRole.CPO if PartyRole.CPO in OPPOSITE[own] and own is not PartyRole.CPO else PartyRole.EMSP


def _credentials_url(modules: tuple[ModuleUrl, ...]) -> str:
    url = next((one.url for one in modules if one.module == "credentials"), None)
    if url is None:
        raise HandshakeError(HandshakeTrouble.MODULES, "The partner's version names no credentials endpoint.")
    if all(one.module == "credentials" for one in modules):
        raise HandshakeError(HandshakeTrouble.MODULES, "The partner's version names no module but credentials.")
    return url


def _host_of(peer: Peer) -> str:
    return urlsplit(peer.versions_url or "").netloc


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or len(url) > 255:
        sentence = "Not an address such as https://partner.example/ocpi/versions"
        raise InvalidInputError(f"'versions_url': {sentence}.", (("/versions_url", sentence),))


def _shown(wanted: PartnerWanted) -> dict[str, Any]:
    return {"name": wanted.name, "is_hub": wanted.is_hub, "version": wanted.version}
