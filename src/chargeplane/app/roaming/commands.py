"""Commands of partners for our stations (OCPI 2.3.0 mod_commands, Receiver).

A command is looked at (is the place ours, and the partner's to see; is a station there that can be asked), written down, and answered at
once; then the station is asked, and the result follows (`results.py`). The token of a command is authorised by whoever sent it: it is
written down as let in before the station is asked, so that nobody is asked again when the station asks, and the session and the CDR
have it. The partner's id of a reservation never reaches a station: ours does, which is unique among all partners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.house import utc_now
from chargeplane.app.locations.places import EvsePlace
from chargeplane.app.reach import StationReach
from chargeplane.app.reservations import Reservations, Wish
from chargeplane.app.roaming.results import Results
from chargeplane.domain.cdrs.session import AuthMethod, RoamingDriver, SessionState
from chargeplane.domain.commands import Command, CommandOutcome, Start, Stop, Unlock
from chargeplane.domain.messages import IdToken
from chargeplane.domain.reservations import STANDING, ReservationState
from chargeplane.domain.roaming.authorization import (
    COMMAND_HOLDS,
    alias_of,
    driver_of,
    ocpp_type,
    presentable,
)
from chargeplane.domain.roaming.commands import (
    RESERVED,
    Asked,
    CancelReservation,
    ReserveNow,
    Response,
    Result,
    StartSession,
    StopSession,
    TokenGiven,
    UnlockConnector,
    result_of,
)
from chargeplane.kernel.errors import (
    ChargeplaneError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.queries import bookings
from chargeplane.store.queries import roaming_authorizations as grants
from chargeplane.store.queries import roaming_documents as documents
from chargeplane.store.queries import roaming_requests as queries
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries.roaming_authorizations import Grant
from chargeplane.store.queries.roaming_documents import LOCATIONS
from chargeplane.store.queries.roaming_requests import NewRequest, PartnersReservation
from chargeplane.store.queries.sessions import Session

log = structlog.get_logger(__name__)

_BY: Final = "roaming"
_SPARE_S: Final = 5.0
"""Beyond the station's time, for what is done around it."""
_SCOPES: Final = frozenset({"reservations:read", "reservations:write"})

A = TypeVar("A", bound=Struct)

Told = Callable[[CommandOutcome], Awaitable[tuple[Result, dict[str, object] | None]]]
"""What of a station's answer a partner is told: how it ended, and fields beside that."""


class Partner(Struct, frozen=True, kw_only=True):
    """Who asks.

    Args:
        name: for the record.
        parties: keys (`Party.key`) of whom it speaks for; empty: it is not looked at.
        routing: JSON of the connections' own, kept with what is owed.
    """

    connection_id: int
    tenant_id: TenantId
    name: str
    parties: frozenset[str] = frozenset()
    routing: str | None = None


class Said(Struct, frozen=True, kw_only=True):
    """What is answered at once.

    Args:
        timeout: s, until when the result is there.
        message: for people, in English.
        unknown_location: OCPI status 2003 goes with it.
    """

    result: Response
    timeout: int
    message: str | None = None
    unknown_location: bool = False


class Places(Protocol):
    """Which EVSE is meant."""

    async def evse_by_uid(
        self, tenant_id: TenantId, evse_uid: str, connector_id: str | None = None
    ) -> EvsePlace | None:
        """None where there is none."""
        ...


class PartnerCommands:
    """Takes them.

    Args:
        timeout_s: how long a station may take.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        reach: StationReach,
        places: Places,
        reservations: Reservations,
        results: Results,
        *,
        timeout_s: float = 30.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._commands = commands
        self._reach = reach
        self._places = places
        self._reservations = reservations
        self._results = results
        self._timeout_s = timeout_s
        self._now = now
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Waits for nothing more: what is not known when its time is over is told so."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def take(self, peer: Partner, asked: Asked, body: bytes) -> Said:
        """A command, by its canonical body.

        Raises:
            InvalidInputError: the body lacks something, or has it wrong; names the field.
        """
        handler = {
            Asked.START_SESSION: self._start_session,
            Asked.STOP_SESSION: self._stop_session,
            Asked.RESERVE_NOW: self._reserve_now,
            Asked.CANCEL_RESERVATION: self._cancel_reservation,
            Asked.UNLOCK_CONNECTOR: self._unlock_connector,
        }.get(asked)
        if handler is None:
            return self.said(Response.NOT_SUPPORTED)
        return await handler(peer, body)

    # -- the five ------------------------------------------------------------------------------------------------------

    async def _start_session(self, peer: Partner, body: bytes) -> Said:
        ask = decoded(body, StartSession)
        refused = self._not_theirs(peer, ask.token)
        if refused is not None:
            return refused
        found = await self._place(peer, ask.location_id, ask.evse_uid, ask.connector_id)
        if isinstance(found, Said):
            return found
        place, key = found
        version = await self._reach.version(key)
        if version is None:
            return self.said(Response.REJECTED, "The charging station is not connected.")
        token, _ = await self._let_in(peer, key, version, ask.token, ask.authorization_reference, None)
        start = Start(
            id_token=token,
            evse_id=place.ocpp_evse_id,
            group_id_token=_group(ask.token),
        )
        return await self.ask(peer, Asked.START_SESSION, body, ask.response_url, key, start)

    async def _stop_session(self, peer: Partner, body: bytes) -> Said:
        ask = decoded(body, StopSession)
        session = await self.session(peer, ask.session_id)
        if session is None:
            return self.said(Response.UNKNOWN_SESSION)
        name = session.frozen.ocpp_transaction_id
        if session.state is not SessionState.ACTIVE or name is None:
            return self.said(Response.REJECTED, "The session is over.")
        return await self.ask(
            peer, Asked.STOP_SESSION, body, ask.response_url, session.station_key, Stop(ocpp_transaction_id=name)
        )

    async def _unlock_connector(self, peer: Partner, body: bytes) -> Said:
        ask = decoded(body, UnlockConnector)
        found = await self._place(peer, ask.location_id, ask.evse_uid, ask.connector_id)
        if isinstance(found, Said):
            return found
        place, key = found
        if place.connector is None or place.ocpp_evse_id is None:
            return self.said(Response.REJECTED, "The EVSE has no such connector.")
        unlock = Unlock(evse_id=place.ocpp_evse_id, connector_id=place.connector.ocpp_connector_id)
        return await self.ask(peer, Asked.UNLOCK_CONNECTOR, body, ask.response_url, key, unlock)

    async def _reserve_now(self, peer: Partner, body: bytes) -> Said:
        ask = decoded(body, ReserveNow)
        refused = self._not_theirs(peer, ask.token)
        if refused is not None:
            return refused
        until = as_utc(ask.expiry_date)
        if until <= self._now():
            return self.said(Response.REJECTED, "The reservation would be over already.")
        found = await self._place(peer, ask.location_id, ask.evse_uid, None)
        if isinstance(found, Said):
            return found
        place, key = found
        version = await self._reach.version(key)
        if version is None or place.station_id is None:
            return self.said(Response.REJECTED, "The charging station is not connected.")
        # A card is asked about again after a while; what was made for an app never is (OCPI 2.3.0 mod_commands, ReserveNow).
        holds = None if ask.token.type.upper() == "RFID" else until
        token, driver = await self._let_in(peer, key, version, ask.token, ask.authorization_reference, holds)
        ident = await self._note(peer, Asked.RESERVE_NOW, body, ask.response_url)
        wish = Wish(
            id_token=token,
            valid_until=until,
            group_id=ask.token.group_id,
            evse_id=place.ocpp_evse_id if ask.evse_uid is not None else None,
        )
        self._spawn(ident, Asked.RESERVE_NOW, self._reserve(peer, ident, ask, place.station_id, wish, driver))
        return self.said(Response.ACCEPTED)

    async def _reserve(
        self, peer: Partner, ident: int, ask: ReserveNow, station_id: str, wish: Wish, driver: RoamingDriver
    ) -> tuple[Result, None]:
        caller = _caller(peer)
        async with self._database.read() as db:
            before = await queries.reservation(db, peer.connection_id, ask.reservation_id)
        if before is not None:
            # The same id again replaces the reservation.
            await self._give_free(caller, before)
        view = await self._reservations.reserve(caller, station_id, wish, self._timeout_s)
        async with self._database.change() as db:
            await queries.bind(db, ident, reservation_id=int(view.id))
            await queries.keep_reservation(
                db,
                PartnersReservation(
                    connection_id=peer.connection_id,
                    reference=ask.reservation_id,
                    tenant_id=peer.tenant_id,
                    reservation_id=int(view.id),
                    request_id=ident,
                    location_id=ask.location_id,
                    driver=driver,
                ),
            )
        return RESERVED.get(ReservationState(view.state), Result.FAILED), None

    async def _give_free(self, caller: Caller, before: PartnersReservation) -> bool:
        try:
            view = await self._reservations.one(caller, before.reservation_id)
            if ReservationState(view.state) not in STANDING:
                return False
            await self._reservations.cancel(caller, before.reservation_id)
        except (NotFoundError, ConflictError):
            return False
        return True

    async def _cancel_reservation(self, peer: Partner, body: bytes) -> Said:
        ask = decoded(body, CancelReservation)
        async with self._database.read() as db:
            before = await queries.reservation(db, peer.connection_id, ask.reservation_id)
        if before is None:
            return self.said(Response.REJECTED, "There is no such reservation.")
        ident = await self._note(peer, Asked.CANCEL_RESERVATION, body, ask.response_url)

        async def cancel() -> tuple[Result, None]:
            done = await self._give_free(_caller(peer), before)
            return (Result.ACCEPTED if done else Result.UNKNOWN_RESERVATION), None

        self._spawn(ident, Asked.CANCEL_RESERVATION, cancel())
        return self.said(Response.ACCEPTED)

    # -- what they share -----------------------------------------------------------------------------------------------

    async def session(self, peer: Partner, session_id: str) -> Session | None:
        """The session with this id, where a driver of the partner charges; None: not for this partner."""
        if not session_id.isascii() or not session_id.isdigit() or len(session_id) > 18:
            return None
        async with self._database.read() as db:
            found = await session_queries.one(db, peer.tenant_id, int(session_id))
        driver = None if found is None else found.frozen.roaming
        if found is None or driver is None or driver.connection_id != peer.connection_id:
            return None
        # Behind a hub there are others' drivers, too.
        whose = f"{driver.country_code}{driver.party_id}".upper()
        return None if peer.parties and whose not in peer.parties else found

    def _not_theirs(self, peer: Partner, token: TokenGiven) -> Said | None:
        """OCPI 2.3.0 mod_commands: only tokens of the provider that sends the command."""
        owner = f"{token.country_code}{token.party_id}".upper()
        if peer.parties and owner not in peer.parties:
            return self.said(Response.REJECTED, "The token belongs to another party.")
        return None

    async def _place(
        self, peer: Partner, location_id: str, evse_uid: str | None, connector_id: str | None
    ) -> tuple[EvsePlace, StationKey] | Said:
        """The EVSE that is meant, with the station that stands for it."""
        async with self._database.read() as db:
            rule = await documents.publication(db, peer.connection_id)
            shown = await documents.seen(db, peer.tenant_id, LOCATIONS, location_id, peer.connection_id, rule)
            if shown is not None and shown.removed_at is not None:
                shown = None
            if shown is not None and evse_uid is None:
                evse_uid = _free_evse(shown.body)
        if shown is None:
            return self.said(Response.REJECTED, "There is no such location.", unknown_location=True)
        if evse_uid is None:
            return self.said(Response.REJECTED, "No EVSE of the location is free.")
        place = await self._places.evse_by_uid(peer.tenant_id, evse_uid, connector_id)
        if place is None or place.location_id.lower() != location_id.lower():
            return self.said(Response.REJECTED, "The location has no such EVSE.", unknown_location=True)
        if connector_id is not None and connector_id.lower() not in [one.id.lower() for one in place.connectors]:
            return self.said(Response.REJECTED, "The EVSE has no such connector.")
        if place.station_key is None:
            return self.said(Response.NOT_SUPPORTED, "No charging station can be asked there.")
        return place, place.station_key

    async def _let_in(
        self,
        peer: Partner,
        key: StationKey,
        version: str,
        given: TokenGiven,
        reference: str | None,
        until: datetime | None,
    ) -> tuple[IdToken, RoamingDriver]:
        """Writes down that the driver was let in; the token as the station is told it."""
        driver = driver_of(given.known(peer.connection_id), AuthMethod.COMMAND, reference)
        now = self._now()
        async with self._database.change() as db:
            (ident,) = await grants.insert(
                db,
                [
                    Grant(
                        tenant_id=peer.tenant_id,
                        presented=given.uid,
                        station_key=key,
                        until=max(until or now, now + COMMAND_HOLDS),
                        driver=driver,
                    )
                ],
            )
            value = given.uid
            if not presentable(value, version):
                value = alias_of(ident)
                await grants.rename(db, ident, value)
                await bookings.also_known(db, peer.tenant_id, key, given.uid, value)
        return IdToken(value=value, type=None if version == "1.6" else ocpp_type(given.type)), driver

    async def _note(self, peer: Partner, asked: Asked, body: bytes, response_url: str) -> int:
        async with self._database.change() as db:
            return await queries.insert(
                db,
                NewRequest(
                    tenant_id=peer.tenant_id,
                    connection_id=peer.connection_id,
                    kind=asked.value,
                    request=body.decode(),
                    response_url=response_url,
                    routing=peer.routing,
                    deadline=self._now() + timedelta(seconds=self._timeout_s + _SPARE_S),
                ),
            )

    async def ask(
        self,
        peer: Partner,
        asked: Asked,
        body: bytes,
        response_url: str,
        key: StationKey,
        command: Command,
        told: Told | None = None,
    ) -> Said:
        """Has a station do something, and tells the partner how it ended.

        Args:
            told: what of the outcome the partner is told; None: that it was accepted, or why not.
        """
        ident = await self._note(peer, asked, body, response_url)
        number, task = await self._commands.begin(
            peer.tenant_id,
            key,
            command,
            by=f"{_BY} {peer.name}",
            timeout_s=self._timeout_s,
            valid_s=min(10.0, self._timeout_s),
        )
        async with self._database.change() as db:
            await queries.bind(db, ident, command_id=number)

        async def wait() -> tuple[Result, dict[str, object] | None]:
            outcome = await asyncio.shield(task)
            return (result_of(asked, outcome), None) if told is None else await told(outcome)

        self._spawn(ident, asked, wait())
        return self.said(Response.ACCEPTED)

    async def work(
        self,
        peer: Partner,
        asked: Asked,
        body: bytes,
        response_url: str,
        work: Callable[[], Coroutine[Any, Any, tuple[Result, dict[str, object] | None]]],
    ) -> Said:
        """Does something for a partner that takes a while, and tells it how that ended.

        Args:
            work: ends within `timeout_s`.
        """
        ident = await self._note(peer, asked, body, response_url)
        self._spawn(ident, asked, work())
        return self.said(Response.ACCEPTED)

    @property
    def timeout_s(self) -> float:
        """How long a station may take."""
        return self._timeout_s

    def _spawn(
        self, ident: int, asked: Asked, work: Coroutine[Any, Any, tuple[Result, dict[str, object] | None]]
    ) -> None:
        async def run() -> None:
            more: dict[str, object] | None = None
            try:
                result, more = await work
            except UnavailableError:
                result = Result.TIMEOUT
            except ChargeplaneError as error:
                log.info("roaming_command_failed", request=ident, because=str(error))
                result = Result.REJECTED
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("roaming_command_failed", request=ident)
                result = Result.FAILED
            await self._results.finish(ident, asked, result, more)

        task = asyncio.create_task(run(), name=f"roaming request {ident}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def said(self, result: Response, message: str | None = None, *, unknown_location: bool = False) -> Said:
        """An answer with the time that the result may take."""
        return Said(
            result=result,
            timeout=int(self._timeout_s + _SPARE_S),
            message=message,
            unknown_location=unknown_location,
        )


class _ShownEvse(Struct):
    uid: str
    status: str


class _Shown(Struct):
    evses: list[_ShownEvse] = []


_shown = msgspec.json.Decoder(_Shown).decode


def _free_evse(body: bytes) -> str | None:
    """A free EVSE of a location as it is published."""
    return next((one.uid for one in _shown(body).evses if one.status == "AVAILABLE"), None)


def _group(token: TokenGiven) -> IdToken | None:
    group = token.group_id
    return None if group is None or len(group) > 36 else IdToken(value=group, type="Central")


def _caller(peer: Partner) -> Caller:
    return Caller(key_id=0, tenant_id=peer.tenant_id, name=f"{_BY} {peer.name}", scopes=_SCOPES)


def decoded(body: bytes, kind: type[A]) -> A:
    """A canonical body.

    Raises:
        InvalidInputError: it lacks something, or has it wrong; names the field.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at `$.")
        field = "/" + where.rstrip("`").replace(".", "/") if where else "/"
        raise InvalidInputError(f"The body is not right: {error}.", ((field, sentence),)) from None
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"The body is no JSON: {error}.") from None
