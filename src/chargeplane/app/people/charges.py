"""A driver starts and stops by app: the station is asked to start with the driver's own id token, and decides as for any other."""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.locations import EvsePlace, Locations
from chargeplane.app.people.driver_tokens import DriverTokens
from chargeplane.domain.commands import Start, Stop
from chargeplane.domain.messages import IdToken
from chargeplane.kernel.errors import ChargeplaneError, ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers as queries
from chargeplane.store.queries import transactions
from chargeplane.store.queries.commands import CommandView
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
        holds: ChargeHolds | None = None,
    ) -> None:
        self._database = database
        self._commands = commands
        self._locations = locations
        self._tokens = tokens
        self._holds = holds

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
            raise NotFoundError("order", str(ident))
        return await self._answer(caller, view)

    async def transactions(self, caller: Caller, limit: int, after: Position | None) -> list[TransactionView]:
        """What the caller's id tokens charged, the newest first; at most `limit`."""
        async with self._database.read() as db:
            found = await queries.transactions_of(db, caller.tenant_id, caller.driver_id, limit, after)
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
