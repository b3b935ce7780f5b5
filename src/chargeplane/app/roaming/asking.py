"""Commands of ours to operators: start, stop, reserve, cancel and unlock at their stations, for drivers and for the help desk.

A command is written down before it is sent, with a response_url that holds an unguessable part of its own, so that its result is
matched whenever it comes, to whichever node, also after it counted as timed out. The session that a start begins carries the
command's `authorization_reference`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct
from msgspec.json import decode
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming.ports import Caller as Partners
from chargeplane.app.roaming.ports import Route
from chargeplane.domain.roaming.asking import (
    OPEN,
    RESULTS,
    ROWS,
    Answer,
    Asked,
    Body,
    CancelReservation,
    CommandRecord,
    CommandState,
    CommandType,
    Preferences,
    Profile,
    ReserveNow,
    SetProfile,
    StartSession,
    StopSession,
    UnlockConnector,
    after_response,
    after_result,
    answer_of,
    encoded,
)
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.own_tokens import OwnToken, Provider, TokenType, Whitelist, token_of
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import rfc3339
from chargeplane.store.database import Database
from chargeplane.store.queries import own_tokens as token_queries
from chargeplane.store.queries import partner_commands as queries
from chargeplane.store.queries import partner_records as record_queries
from chargeplane.store.queries.own_tokens import Given
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.partner_records import PartnerSession

PREFERENCES: Final = 21
"""Row of the table."""

UNLOCKS_FOR: Final = timedelta(minutes=30)
"""So long after the end of a session its driver may have the connector unlocked."""

_LONGEST_S: Final = 600
_UNANSWERED_S: Final = 120
_SPARE_S: Final = 5
_LOOK_EVERY_S: Final = 0.2
_ENDED: Final = frozenset({"COMPLETED", "INVALID"})


class Peers(Protocol):
    """Who the partners are."""

    async def get(self, ident: int) -> Peer | None:
        """A connection."""
        ...

    async def peer_of(self, tenant_id: TenantId, party: PartyId, role: PartyRole | None = None) -> Peer | None:
        """The connection by which a party is reached."""
        ...


OwnUrl = Callable[[Peer, str, str], str]
"""(partner, module, interface) -> our URL of it, without a slash at the end."""


class At(Struct, frozen=True, kw_only=True):
    """A place at a partner.

    Args:
        partner: country code and party, as `DE*ABC`.
    """

    partner: str
    location_id: str
    evse_uid: str | None = None
    connector_id: str | None = None


class TokenOf(Struct, frozen=True, kw_only=True):
    """Whose id token a command carries.

    Args:
        id_token: of the tenant; `type` as OCPP names it, None: any.
    """

    id_token: str
    type: str | None = None


class Asking:
    """Gives commands to partners."""

    def __init__(
        self,
        database: Database,
        partners: Partners,
        peers: Peers,
        events: EventFeed,
        own_url: OwnUrl,
        *,
        every_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._partners = partners
        self._peers = peers
        self._events = events
        self._own_url = own_url
        self._now = now
        self._pulse = Pulse("roaming-commands", every_s, self._time_out)

    async def start(self) -> None:
        """Begins to look for what timed out."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def start_session(self, caller: Caller, at: At, token: TokenOf, *, wait_s: float = 0.0) -> CommandRecord:
        """Has a partner's station start with an id token of ours.

        Raises:
            InvalidInputError: there is no such partner, or no such id token.
            ConflictError: the partner cannot be asked.
        """
        peer, party = await self._peer(caller.tenant_id, at.partner)
        own, given = await self._token(caller.tenant_id, peer, token)

        def body(url: str) -> Body:
            return StartSession(
                response_url=url,
                token=own,
                location_id=at.location_id,
                evse_uid=at.evse_uid,
                connector_id=at.connector_id if at.evse_uid is not None else None,
                authorization_reference=given.reference,
            )

        return await self._give(caller, peer, party, CommandType.START_SESSION, body, given, wait_s)

    async def start_at_terminal(
        self, caller: Caller, at: At, reference: str | None, *, wait_s: float = 0.0
    ) -> CommandRecord:
        """Has a partner's station start for somebody who pays at a terminal of ours: with a token for this one use.

        Args:
            reference: under which the capture is told later; None: one is made.
        Raises:
            InvalidInputError: there is no such partner.
            ConflictError: the partner cannot be asked, or no party of ours provides terminals.
        """
        peer, party = await self._peer(caller.tenant_id, at.partner)
        ours = peer.own_party(PartyRole.PTP)
        if ours is None or PartyRole.PTP not in ours.roles:
            raise ConflictError("There is no party of ours with the role PTP.")
        named = reference or secrets.token_urlsafe(18)
        uid = secrets.token_hex(10).upper()
        token = OwnToken(
            country_code=ours.id.country_code,
            party_id=ours.id.party_id,
            uid=uid,
            type=TokenType.AD_HOC_USER,
            contract_id=uid,
            issuer=ours.business_details.name,
            valid=True,
            whitelist=Whitelist.NEVER,
            last_updated=rfc3339(self._now()),
        )

        def body(url: str) -> Body:
            return StartSession(
                response_url=url,
                token=token,
                location_id=at.location_id,
                evse_uid=at.evse_uid,
                connector_id=at.connector_id if at.evse_uid is not None else None,
                authorization_reference=named,
            )

        return await self._give(caller, peer, party, CommandType.START_SESSION, body, None, wait_s, reference=named)

    async def reserve(
        self,
        caller: Caller,
        at: At,
        token: TokenOf,
        until: datetime,
        *,
        reservation_id: str | None = None,
        wait_s: float = 0.0,
    ) -> tuple[str, CommandRecord]:
        """Has a partner hold an EVSE for an id token of ours; returns the reservation's id, too.

        Args:
            reservation_id: of one that this one replaces.
        Raises:
            InvalidInputError: as `start_session`, or `until` is over.
        """
        if until <= self._now():
            raise InvalidInputError("'until' is over.", (("/until", "Must lie ahead"),))
        peer, party = await self._peer(caller.tenant_id, at.partner)
        own, given = await self._token(caller.tenant_id, peer, token)
        ident = reservation_id or secrets.token_hex(16)

        def body(url: str) -> Body:
            return ReserveNow(
                response_url=url,
                token=own,
                expiry_date=rfc3339(until),
                reservation_id=ident,
                location_id=at.location_id,
                evse_uid=at.evse_uid,
                authorization_reference=given.reference,
            )

        return ident, await self._give(caller, peer, party, CommandType.RESERVE_NOW, body, given, wait_s)

    async def cancel(self, caller: Caller, partner: str, reservation_id: str, *, wait_s: float = 0.0) -> CommandRecord:
        """Has a partner give a reservation free."""
        peer, party = await self._peer(caller.tenant_id, partner)
        return await self._give(
            caller,
            peer,
            party,
            CommandType.CANCEL_RESERVATION,
            lambda url: CancelReservation(response_url=url, reservation_id=reservation_id),
            None,
            wait_s,
        )

    async def reserved_by(self, caller: Caller, partner: str, reservation_id: str, driver_id: int) -> None:
        """That a reservation at a partner is a driver's own.

        Raises:
            NotFoundError: it is not.
        """
        country, _, party = partner.partition("*")
        async with self._database.read() as db:
            found = await queries.reserved(
                db, caller.tenant_id, (country.upper(), party.upper()), reservation_id, driver_id
            )
        if not found:
            raise NotFoundError("reservation", reservation_id)

    async def unlock(self, caller: Caller, at: At, *, wait_s: float = 0.0) -> CommandRecord:
        """Has a partner unlock a connector. OCPI: of help desks alone, never of drivers.

        Raises:
            InvalidInputError: the EVSE or the connector is not named.
        """
        if at.evse_uid is None or at.connector_id is None:
            name = "evse_uid" if at.evse_uid is None else "connector_id"
            raise InvalidInputError(f"'{name}' is missing.", ((f"/{name}", "Must be given"),))
        peer, party = await self._peer(caller.tenant_id, at.partner)
        location, evse, connector = at.location_id, at.evse_uid, at.connector_id
        return await self._give(
            caller,
            peer,
            party,
            CommandType.UNLOCK_CONNECTOR,
            lambda url: UnlockConnector(response_url=url, location_id=location, evse_uid=evse, connector_id=connector),
            None,
            wait_s,
        )

    async def unlock_after(self, caller: Caller, key: int, *, driver_id: int, wait_s: float = 0.0) -> CommandRecord:
        """Has a partner unlock the connector of a driver's session that is over.

        OCPI leaves unlocking to people: it is asked for where the driver's own session ended within `UNLOCKS_FOR`, and for nobody else's.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
            ConflictError: it goes on, ended too long ago, or its connector is not known.
        """
        async with self._database.read() as db:
            session = await record_queries.session(db, caller.tenant_id, key)
            latest = None if session is None else await record_queries.latest_at(db, session)
        if session is None or session.driver_id != driver_id:
            raise NotFoundError("session", str(key))
        if session.status not in _ENDED:
            raise ConflictError(f"Session '{key}' goes on: stop it first.")
        ended = session.ended_at or session.last_updated
        if self._now() - ended > UNLOCKS_FOR:
            raise ConflictError(f"Session '{key}' ended too long ago.")
        if latest != session.object_key:
            raise ConflictError("Somebody else has charged there since.")
        connector = session.connector_id
        if connector is None:
            raise ConflictError("The partner did not tell at which connector it was.")
        at = At(
            partner=session.partner,
            location_id=session.location_id,
            evse_uid=session.evse_uid,
            connector_id=connector,
        )
        return await self.unlock(caller, at, wait_s=wait_s)

    async def stop_session(
        self, caller: Caller, key: int, *, driver_id: int | None = None, wait_s: float = 0.0
    ) -> CommandRecord:
        """Has a partner end a session of one of our drivers.

        Args:
            key: our id of the session.
            driver_id: who may; None: the operator.
        Raises:
            NotFoundError: there is none, or it is somebody else's.
            ConflictError: it is over.
        """
        session, peer, party = await self._running(caller, key, driver_id)
        return await self._give(
            caller,
            peer,
            party,
            CommandType.STOP_SESSION,
            lambda url: StopSession(response_url=url, session_id=session.id),
            None,
            wait_s,
        )

    async def active_profile(self, caller: Caller, key: int, duration_s: int, *, wait_s: float = 0.0) -> CommandRecord:
        """Asks for the charging profile of a session; the result has it (`told`).

        Args:
            duration_s: of the profile.
        Raises:
            NotFoundError, ConflictError: as `stop_session`.
        """
        return await self._about_profile(
            caller,
            key,
            CommandType.ACTIVE_PROFILE,
            lambda url: Asked(query={"duration": str(duration_s), "response_url": url}),
            wait_s,
        )

    async def set_profile(self, caller: Caller, key: int, profile: Profile, *, wait_s: float = 0.0) -> CommandRecord:
        """Has a session charge by a profile (OCPI 2.3.0 mod_charging_profiles). The rest is as at `active_profile`."""
        return await self._about_profile(
            caller,
            key,
            CommandType.SET_PROFILE,
            lambda url: SetProfile(charging_profile=profile, response_url=url),
            wait_s,
        )

    async def clear_profile(self, caller: Caller, key: int, *, wait_s: float = 0.0) -> CommandRecord:
        """Takes a profile of ours back. The rest is as at `active_profile`."""
        return await self._about_profile(
            caller, key, CommandType.CLEAR_PROFILE, lambda url: Asked(query={"response_url": url}), wait_s
        )

    async def prefer(self, caller: Caller, key: int, wishes: Preferences, *, driver_id: int | None = None) -> str:
        """Tells the operator of a session what its driver needs (OCPI 2.3.0 mod_sessions, PUT charging_preferences); its answer.

        Args:
            driver_id: who may; None: the operator.
        Raises:
            NotFoundError: there is no such session, or it is somebody else's.
            ConflictError: it is over, its EVSE takes none, or the partner gave no answer.
        """
        session, peer, party = await self._running(caller, key, driver_id)
        ours = peer.own_party(PartyRole.EMSP)
        route = Route(from_party=None if ours is None else ours.id, to_party=party)
        outcome = await self._partners.call(
            peer, PREFERENCES, {"session_id": session.id}, body=encoded(wishes), route=route
        )
        if outcome.http_status == 404:
            # OCPI 2.3.0 mod_sessions: of an EVSE without CHARGING_PREFERENCES_CAPABLE.
            raise ConflictError(f"The operator takes no preferences for this session: {outcome.sentence}")
        answer = None if outcome.data is None else decode(outcome.data)
        if not outcome.ok or not isinstance(answer, str):
            raise ConflictError(outcome.sentence or "The partner's answer could not be understood.")
        return answer

    async def told(self, caller: Caller, ident: int) -> bytes | None:
        """The result of a command as it came; None where none came yet."""
        async with self._database.read() as db:
            return await queries.told(db, caller.tenant_id, ident)

    async def profile_told(self, peer: Peer, session_id: str, document: bytes) -> bool:
        """A partner tells the charging profile of a session by itself; whether we know the session."""
        async with self._database.change() as db:
            return await queries.put_profile(db, peer.id, session_id, document)

    async def _about_profile(
        self, caller: Caller, key: int, kind: CommandType, body: Callable[[str], Body], wait_s: float
    ) -> CommandRecord:
        session, peer, party = await self._running(caller, key, None)
        return await self._give(caller, peer, party, kind, body, None, wait_s, {"session_id": session.id})

    async def _running(self, caller: Caller, key: int, driver_id: int | None) -> tuple[PartnerSession, Peer, PartyId]:
        async with self._database.read() as db:
            session = await record_queries.session(db, caller.tenant_id, key)
        if session is None or (driver_id is not None and session.driver_id != driver_id):
            raise NotFoundError("session", str(key))
        if session.status in _ENDED:
            raise ConflictError(f"Session '{key}' is over.")
        party = PartyId(session.country_code, session.party_id)
        peer = await self._peers.get(session.connection_id)
        if peer is None or peer.tenant_id != caller.tenant_id or not peer.usable:
            peer, party = await self._peer(caller.tenant_id, session.partner)
        return session, peer, party

    async def one(self, caller: Caller, ident: int, *, driver_id: int | None = None) -> CommandRecord:
        """A command.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None or (driver_id is not None and found.driver_id != driver_id):
            raise NotFoundError("command", str(ident))
        return found

    async def page(
        self, caller: Caller, limit: int, after: Position | None, *, driver_id: int | None = None
    ) -> Sequence[CommandRecord]:
        """Commands, the newest first."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, limit, after, driver_id=driver_id)

    async def session_of(self, caller: Caller, command: CommandRecord) -> PartnerSession | None:
        """The session that a start began; None where none came yet."""
        if command.reference is None:
            return None
        async with self._database.read() as db:
            return await record_queries.session_by_reference(db, caller.tenant_id, command.reference)

    async def result(self, peer: Peer, kind: str, secret: str, document: bytes) -> bool:
        """A result came to a response_url of ours.

        Returns:
            Whether there is such a command of this partner.
        Raises:
            InvalidInputError: it is no CommandResult.
        """
        answer = answer_of(document)
        if answer is None:
            raise InvalidInputError("This is no CommandResult.", (("/result", "Must be given"),))
        try:
            command = CommandType(kind.upper())
        except ValueError:
            return False
        async with self._database.change() as db:
            found = await queries.result(
                db,
                peer.id,
                command,
                secret,
                after_result(answer.result),
                word=answer.result,
                message=answer.text,
                told=document,
                now=self._now(),
            )
        if found is None:
            return False
        self._show(*found)
        return True

    # -- what they share

    async def partner(self, tenant_id: TenantId, partner: str) -> tuple[Peer, PartyId]:
        """An operator among the partners.

        Raises:
            InvalidInputError: there is no such one.
            ConflictError: it cannot be asked.
        """
        return await self._peer(tenant_id, partner)

    async def token(self, tenant_id: TenantId, peer: Peer, wanted: TokenOf) -> tuple[OwnToken, Given]:
        """An id token as partners know it, with a new reference for what is asked with it; `note_given` writes that down.

        Raises:
            InvalidInputError: there is no such id token.
            ConflictError: it may not charge, or we are no provider.
        """
        return await self._token(tenant_id, peer, wanted)

    async def _peer(self, tenant_id: TenantId, partner: str) -> tuple[Peer, PartyId]:
        country, star, ident = partner.partition("*")
        party = PartyId(country, ident)
        peer = await self._peers.peer_of(tenant_id, party, PartyRole.CPO) if star else None
        if peer is None:
            sentence = "There is no such operator among the partners"
            raise InvalidInputError(f"{sentence}.", (("/partner", sentence),))
        if not peer.usable:
            raise ConflictError(f"The partner '{peer.name}' cannot be asked: the connection is '{peer.state.value}'.")
        return peer, party

    async def _token(self, tenant_id: TenantId, peer: Peer, wanted: TokenOf) -> tuple[OwnToken, Given]:
        async with self._database.read() as db:
            provider: Provider | None = await token_queries.provider_of(db, tenant_id)
            rows = await token_queries.asked_about(db, tenant_id, wanted.id_token)
        if provider is None:
            raise ConflictError("There is no party of ours with the role EMSP.")
        now = self._now()
        for row, _ in rows:
            if wanted.type is not None and (row.record.type or "").lower() != wanted.type.lower():
                continue
            token = token_of(
                provider, row.record, id_token_id=row.id, driver_id=row.driver_id, at=row.updated_at, now=now
            )
            if token is None:
                continue
            if not token.valid:
                raise ConflictError(f"The id token '{wanted.id_token}' may not charge.")
            reference = secrets.token_urlsafe(18)
            given = Given(
                reference=reference,
                tenant_id=tenant_id,
                connection_id=peer.id,
                id_token_id=row.id,
                driver_id=row.driver_id,
                location_id=None,
                allowed="COMMAND",
            )
            return token, given
        sentence = "There is no such id token that partners know"
        raise InvalidInputError(f"{sentence}.", (("/id_token", sentence),))

    async def _give(
        self,
        caller: Caller,
        peer: Peer,
        party: PartyId,
        kind: CommandType,
        body: Callable[[str], Body],
        given: Given | None,
        wait_s: float,
        path: Mapping[str, str] | None = None,
        *,
        reference: str | None = None,
    ) -> CommandRecord:
        secret = secrets.token_urlsafe(24)
        if kind in RESULTS:
            url = f"{self._own_url(peer, 'chargingprofiles', 'SENDER')}/{RESULTS[kind]}/{secret}"
        else:
            url = f"{self._own_url(peer, 'commands', 'SENDER')}/{kind.value}/{secret}"
        said = body(url)
        document = encoded(said)
        now = self._now()
        async with self._database.change() as db:
            if given is not None:
                await token_queries.note_given(db, [given])
            command = await queries.insert(
                db,
                caller.tenant_id,
                peer.id,
                (party.country_code.upper(), party.party_id.upper()),
                kind,
                secret=secret,
                body=document,
                requested_by=caller.actor,
                driver_id=caller.driver_id or (None if given is None else given.driver_id),
                reference=reference if given is None else given.reference,
                expires_at=now + timedelta(seconds=_UNANSWERED_S),
            )
        ours = peer.own_party(PartyRole.EMSP, PartyRole.PTP)
        route = Route(from_party=None if ours is None else ours.id, to_party=party)
        outcome = await self._partners.call(
            peer,
            ROWS[kind],
            path or {},
            body=None if isinstance(said, Asked) else document,
            query=said.query if isinstance(said, Asked) else None,
            route=route,
        )
        now = self._now()
        answer: Answer | None = None if outcome.data is None or not outcome.ok else answer_of(outcome.data)
        expires: datetime | None = None
        if answer is not None:
            state = after_response(answer.result)
            allowed = min(max(answer.timeout or 30, 1), _LONGEST_S)
            expires = now + timedelta(seconds=allowed + _SPARE_S)
            response, message = answer.result, answer.text
        elif outcome.failure is not None and outcome.failure.unknown:
            # It may have been taken: what is heard within the time counts.
            state, response, message = CommandState.WAITING, None, outcome.sentence
            expires = now + timedelta(seconds=_SPARE_S + 30)
        else:
            state, response = CommandState.FAILED, None
            message = outcome.sentence or "The partner's answer could not be understood."
        async with self._database.change() as db:
            await queries.respond(
                db, command.id, state, response=response, message=message, expires_at=expires, now=now
            )
        return await self._waited(caller, command.id, wait_s)

    async def _waited(self, caller: Caller, ident: int, wait_s: float) -> CommandRecord:
        until = time.monotonic() + wait_s
        while True:
            async with self._database.read() as db:
                found = await queries.one(db, caller.tenant_id, ident)
            assert found is not None
            left = until - time.monotonic()
            if found.state not in OPEN or left <= 0:
                return found
            await asyncio.sleep(min(_LOOK_EVERY_S, left))

    async def _time_out(self) -> None:
        async with self._database.change() as db:
            ended = await queries.time_out(db, self._now(), 500)
        for tenant_id, command in ended:
            self._show(tenant_id, command)

    def _show(self, tenant_id: TenantId, command: CommandRecord) -> None:
        self._events.publish("partner_command.updated", tenant_id, None, replace(command, requested_by=""))
