"""A driver starts and stops by app: the station is asked to start with the driver's own id token, and decides as for any other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.locations import EvsePlace, Locations
from chargeplane.app.people.driver_tokens import DriverTokens
from chargeplane.app.tariffs import Tariffs
from chargeplane.app.tariffs.tariffs import CONTRACT
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.commands import Start, Stop, Unlock
from chargeplane.domain.messages import IdToken
from chargeplane.domain.rating import Expected, Rating, estimate
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import ChargeplaneError, ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers as queries
from chargeplane.store.queries import transactions
from chargeplane.store.queries.commands import CommandView
from chargeplane.store.queries.drivers import OwnTransactionFilter
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.transactions import TransactionView

_VALID_S: Final = 30.0
_NOT_STARTED: Final = frozenset({"rejected", "failed", "expired"})
"""How an order ends after which nothing begins; a hold of one that is not answered is released in time."""


class ChargeHolds(Protocol):
    """Who holds what a session is to be paid by."""

    async def before(
        self, tenant_id: TenantId, driver_id: int, id_token: tuple[str, str], place: EvsePlace
    ) -> int | None:
        """The payment; None where none is needed.

        Raises:
            ConflictError: it is not to be had; why, for the driver.
        """
        ...

    async def not_started(self, payment_id: int) -> None:
        """The station did not start."""
        ...


UNLOCK_WITHIN: Final = timedelta(minutes=30)
"""How long after a driver's transaction the driver may have the connector unlocked."""


class ChargePrice(Struct, frozen=True, kw_only=True):
    """What charging at an EVSE costs a driver now, before it begins.

    Args:
        tariff: None: no tariff holds; what is charged then is the operator's affair.
        agreement: number of the agreement that it is by; None: by the tariff of the connector.
        estimate: of a session as it was asked for; None where none was.
    """

    place: EvsePlace
    at: datetime
    tariff: Tariff | None
    agreement: str | None
    estimate: Rating | None


class ChargeAnswer(Struct, frozen=True, kw_only=True):
    """What became of an order to start or stop.

    Args:
        id: of the order, to ask for it again.
        state: pending, sent, accepted, rejected, failed, timed_out, expired. Accepted: the station took the order; that it charges is told
            by the transaction.
        transaction_id: the transaction that began, as soon as the station told it.
    """

    id: str
    state: str
    reason: str | None
    station_id: str
    transaction_id: str | None


class Charges:
    """Use cases of drivers about charging."""

    def __init__(
        self,
        database: Database,
        commands: Commands,
        locations: Locations,
        tokens: DriverTokens,
        tariffs: Tariffs,
        agreements: Resolving,
        holds: ChargeHolds | None = None,
    ) -> None:
        self._database = database
        self._commands = commands
        self._locations = locations
        self._tokens = tokens
        self._holds = holds
        self._tariffs = tariffs
        self._agreements = agreements

    async def start(
        self, caller: Caller, *, evse_uid: str | None, evse_code: str | None, wait_s: float
    ) -> ChargeAnswer:
        """Has an EVSE start with the caller's own id token.

        Args:
            evse_uid, evse_code: one of them; the code is the one in the QR code on the EVSE.
            wait_s: return only when the order has ended, or after so long.
        Raises:
            InvalidInputError: none or both are given, or there is no such EVSE.
            ConflictError: the EVSE is bound to no station, or the session cannot be paid as the agreement says.
        """
        place = await self._place(caller, evse_uid, evse_code)
        if place.station_id is None:
            raise ConflictError("The EVSE is bound to no station; write to the operator.")
        token = await self._tokens.app_token(caller.tenant_id, caller.driver_id)
        start = Start(id_token=IdToken(value=token.id_token, type=token.type), evse_id=place.ocpp_evse_id)
        held = None
        if self._holds is not None:
            given = (token.id_token, token.type)
            held = await self._holds.before(caller.tenant_id, caller.driver_id, given, place)
        try:
            view = await self._commands.command(caller, place.station_id, start, valid_s=_VALID_S, wait_s=wait_s)
        except ChargeplaneError:
            await self._not_started(held)
            raise
        if view.state in _NOT_STARTED:
            await self._not_started(held)
        return await self._answer(caller, view)

    async def _not_started(self, held: int | None) -> None:
        if held is not None and self._holds is not None:
            await self._holds.not_started(held)

    async def price(
        self, caller: Caller, *, evse_uid: str | None, evse_code: str | None, expected: Expected | None
    ) -> ChargePrice:
        """What charging at an EVSE costs the caller now, by the same agreement and tariff that a session would begin with.

        Args:
            expected: a session to be estimated, as far as it is known; its moment is now.
        Raises:
            InvalidInputError: none or both are given, or there is no such EVSE.
        """
        place = await self._place(caller, evse_uid, evse_code)
        token = await self._tokens.app_token(caller.tenant_id, caller.driver_id)
        at = datetime.now(UTC)
        agreed = await self._agreements.resolve(
            caller.tenant_id,
            ResolveAsk(
                at=at,
                id_token=token.id_token,
                id_token_type=token.type,
                driver_id=str(caller.driver_id),
                evse_uid=place.evse_uid,
                station_id=place.station_id,
                location_id=place.location_id,
                country=place.country,
            ),
        )
        tariff = None
        item = None if agreed is None else agreed.tariff
        if item is not None:
            tariff = (
                await self._tariffs.version_of(caller.tenant_id, item.tariff_id, at)
                if item.version is None
                else await self._tariffs.frozen(caller.tenant_id, item.tariff_id, item.version)
            )
        by = None if agreed is None or tariff is None else agreed.number
        if tariff is None:
            tariff = await self._tariffs.at_connector(caller.tenant_id, place.tariff_ids, at, CONTRACT)
        rating = None
        if tariff is not None and expected is not None:
            power = max((one.power_w for one in place.connectors), default=0)
            expected = replace(expected, at=at, default_power_w=Decimal(power) or None)
            rating = estimate(expected, tariff, place.time_zone)
        return ChargePrice(place=place, at=at, tariff=tariff, agreement=by, estimate=rating)

    async def unlock(
        self, caller: Caller, *, evse_uid: str | None, evse_code: str | None, wait_s: float
    ) -> ChargeAnswer:
        """Has the connector unlocked where the caller's cable is: at an EVSE where the caller charges, or did a while ago.

        Raises:
            InvalidInputError: none or both are given, or there is no such EVSE.
            ConflictError: it is bound to no station, or the caller has nothing there.
        """
        place = await self._place(caller, evse_uid, evse_code)
        if place.station_id is None or place.station_key is None or place.ocpp_evse_id is None:
            raise ConflictError("The EVSE is bound to no station; write to the operator.")
        async with self._database.read() as db:
            connector = await queries.lately_at(
                db, caller.tenant_id, caller.driver_id, place.station_key, place.ocpp_evse_id, UNLOCK_WITHIN
            )
        if connector is None:
            minutes = int(UNLOCK_WITHIN.total_seconds() // 60)
            raise ConflictError(f"You do not charge there, and did not within {minutes} minutes.")
        unlock = Unlock(evse_id=place.ocpp_evse_id, connector_id=connector)
        view = await self._commands.command(caller, place.station_id, unlock, valid_s=_VALID_S, wait_s=wait_s)
        return await self._answer(caller, view)

    async def stop(self, caller: Caller, transaction_id: int, wait_s: float) -> ChargeAnswer:
        """Has the station end a transaction of the caller.

        Raises:
            NotFoundError: the caller has no such transaction.
            ConflictError: it has ended already.
        """
        found = await self.transaction(caller, transaction_id)
        if found.state != "open" or found.ocpp_transaction_id is None:
            raise ConflictError(f"Transaction '{transaction_id}' has ended already.")
        stop = Stop(ocpp_transaction_id=found.ocpp_transaction_id)
        view = await self._commands.command(caller, found.station_id, stop, valid_s=_VALID_S, wait_s=wait_s)
        return await self._answer(caller, view)

    async def order(self, caller: Caller, ident: int) -> ChargeAnswer:
        """What became of an order of the caller.

        Raises:
            NotFoundError: the caller gave no such order.
        """
        view = await self._commands.one(caller, ident)
        if view.requested_by != caller.actor:
            raise NotFoundError("command", str(ident))
        return await self._answer(caller, view)

    async def transactions(
        self, caller: Caller, wanted: OwnTransactionFilter, limit: int, after: Position | None
    ) -> list[TransactionView]:
        """What the caller's id tokens charged, the newest first; at most `limit`."""
        async with self._database.read() as db:
            found = await queries.transactions_of(db, caller.tenant_id, caller.driver_id, wanted, limit, after)
            views = [await transactions.one(db, caller.tenant_id, ident) for ident in found]
        return [view for view in views if view is not None]

    async def transaction(self, caller: Caller, ident: int) -> TransactionView:
        """A transaction that one of the caller's id tokens began.

        Raises:
            NotFoundError: the caller has none with this id.
        """
        async with self._database.read() as db:
            found = await transactions.one(db, caller.tenant_id, ident)
            owner = (
                None
                if found is None or found.id_token is None
                else await queries.driver_of_token(db, caller.tenant_id, found.id_token_type, found.id_token)
            )
        if found is None or owner != caller.driver_id:
            raise NotFoundError("transaction", str(ident))
        return found

    async def _place(self, caller: Caller, evse_uid: str | None, evse_code: str | None) -> EvsePlace:
        if (evse_uid is None) == (evse_code is None):
            sentence = "Give evse_uid or evse_code"
            raise InvalidInputError(f"{sentence}.", (("/evse_uid", sentence),))
        if evse_uid is not None:
            place = await self._locations.evse_by_uid(caller.tenant_id, evse_uid)
        else:
            place = await self._locations.evse_by_code(evse_code or "")
        if place is None or place.tenant_id != caller.tenant_id:
            pointer = "/evse_uid" if evse_uid is not None else "/evse_code"
            raise InvalidInputError("There is no such EVSE.", ((pointer, "There is no such EVSE"),))
        return place

    async def _answer(self, caller: Caller, view: CommandView) -> ChargeAnswer:
        async with self._database.read() as db:
            begun = await queries.transaction_of_order(db, caller.tenant_id, int(view.id), caller.driver_id)
        return ChargeAnswer(
            id=view.id,
            state=view.state,
            reason=view.reason,
            station_id=view.station_id,
            transaction_id=None if begun is None or view.type != "start" else str(begun),
        )
