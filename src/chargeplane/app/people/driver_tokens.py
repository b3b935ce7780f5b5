"""The id tokens of drivers: cards, the app's own, contracts, cars and key codes.

Every one is a row of `id_token`, by which stations are answered; here stands whose it is. What a driver enters without proof waits:
a car's address is accepted only after it was seen where and when the driver began to charge.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import asyncpg
import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.id_tokens import IdTokenType, TokenHolds
from chargeplane.app.people.drivers import locked_driver
from chargeplane.domain.authorization import canonical
from chargeplane.domain.people.drivers import DriverStatus, TokenOrigin, visual_key
from chargeplane.domain.people.vehicles import mac_of
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import autocharge, id_tokens, rfid_cards, vehicles
from chargeplane.store.queries import drivers as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.authorization import note_change
from chargeplane.store.queries.drivers import DriverIdTokenView, DriverView
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.rfid_cards import CardView
from chargeplane.store.secrets import InstallationKeys

MOST_TOKENS: Final = 200
"""Of one driver."""

AUTOCHARGE_WITHIN: Final = timedelta(minutes=15)
"""How far a car's address may be seen from the start of the session that confirms it."""

_CODE_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_APP_LENGTH: Final = 20  # OCPP 1.6 idTag
_EMAID: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[A-Z0-9]{8,9}[A-Z0-9]?")

log = structlog.get_logger(__name__)


class TokenWanted(Struct, frozen=True, kw_only=True):
    """An id token that is to be a driver's.

    Args:
        label: what the driver calls it.
        vehicle_id: which of the driver's vehicles it is for.
    """

    id_token: str
    type: IdTokenType = IdTokenType.ISO14443
    label: str | None = None
    vehicle_id: int | None = None


class CardWanted(Struct, frozen=True, kw_only=True):
    """A card that was printed; without a code one is made."""

    visual_number: str
    id_token: str
    type: IdTokenType = IdTokenType.ISO14443
    activation_code: str | None = None


class DriverTokens:
    """Use cases about the id tokens of drivers.

    Args:
        changed: told after a change that transactions may follow from, when it is committed.
    """

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        events: EventFeed,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._events = events
        self._changed = changed
        self.holds: TokenHolds | None = None
        """Agreements, which may be about drivers and groups of users; None where there are none."""

    async def all(self, caller: Caller, driver_id: int) -> list[DriverIdTokenView]:
        """The id tokens of a driver.

        Raises:
            NotFoundError: the tenant has no such driver.
        """
        async with self._database.read() as db:
            if await queries.one(db, caller.tenant_id, driver_id) is None:
                raise NotFoundError("driver", str(driver_id))
            return await queries.tokens_of(db, caller.tenant_id, driver_id)

    async def assign(self, caller: Caller, driver_id: int, wanted: TokenWanted) -> DriverIdTokenView:
        """Makes an id token a driver's; one that is not registered is.

        Raises:
            NotFoundError: the tenant has no such driver.
            InvalidInputError: a value that is not allowed.
            ConflictError: the token is somebody's already.
        """
        return await self._add(caller, driver_id, wanted, TokenOrigin.OPERATOR)

    async def add_contract(
        self, caller: Caller, driver_id: int, emaid: str, label: str | None, vehicle_id: int | None
    ) -> DriverIdTokenView:
        """Makes a contract's id (eMAID) a driver's.

        Raises:
            InvalidInputError: it is no eMAID.
            ConflictError: it is registered already.
        """
        bare = canonical(emaid, "eMAID").upper()
        if not _EMAID.fullmatch(bare):
            sentence = "Must be an eMAID, such as DE-8AA-CA2B3C4D5-N"
            raise InvalidInputError(f"'{emaid}' is wrong: {sentence}.", (("/emaid", sentence),))
        wanted = TokenWanted(id_token=bare, type=IdTokenType.E_MAID, label=label, vehicle_id=vehicle_id)
        return await self._add(caller, driver_id, wanted, TokenOrigin.CONTRACT)

    async def add_autocharge(
        self, caller: Caller, driver_id: int, mac: str, label: str | None, vehicle_id: int | None
    ) -> DriverIdTokenView:
        """Notes a car's address. It charges nothing until it is seen at a station where the driver begins to charge by another of
        the driver's id tokens, within `AUTOCHARGE_WITHIN`.

        Raises:
            InvalidInputError: it is no MAC address.
            ConflictError: it is registered already.
        """
        bare = mac_of(mac)
        if bare is None:
            sentence = "Must be 12 hexadecimal digits, such as 0A:1B:2C:3D:4E:5F"
            raise InvalidInputError(f"'{mac}' is no MAC address: {sentence}.", (("/mac_address", sentence),))
        wanted = TokenWanted(id_token=bare, type=IdTokenType.MAC_ADDRESS, label=label, vehicle_id=vehicle_id)
        return await self._add(caller, driver_id, wanted, TokenOrigin.AUTOCHARGE, confirmed=False)

    async def add_key_code(self, caller: Caller, driver_id: int, label: str | None) -> DriverIdTokenView:
        """Makes a key code for stations with a keypad (OCPP 2.0.1 C04): eight digits, chosen here, for one that a driver chose would tell
        the codes of others.

        Raises:
            ConflictError: the driver has as many as there may be.
        """
        for _ in range(20):
            code = f"{secrets.randbelow(10**8):08d}"
            try:
                wanted = TokenWanted(id_token=code, type=IdTokenType.KEY_CODE, label=label)
                return await self._add(caller, driver_id, wanted, TokenOrigin.KEY_CODE)
            except ConflictError:
                continue
        raise ConflictError("There is no key code left that nobody has.")

    async def app_token(self, tenant_id: TenantId, driver_id: int) -> DriverIdTokenView:
        """The driver's own id token, by which the app starts; made at the first call.

        Raises:
            NotFoundError: the tenant has no such driver.
        """
        async with self._database.change() as db:
            driver = await locked_driver(db, tenant_id, driver_id, None)
            for there in await queries.tokens_of(db, tenant_id, driver_id):
                if there.origin is TokenOrigin.APP:
                    return there
            text = "APP" + "".join(secrets.choice(_CODE_ALPHABET) for _ in range(_APP_LENGTH - 3))
            wanted = TokenWanted(id_token=text, type=IdTokenType.CENTRAL)
            return await self._bound(db, tenant_id, "house", driver, wanted, TokenOrigin.APP, confirmed=True)

    async def describe(
        self, caller: Caller, driver_id: int, id_token_id: int, label: str | None, vehicle_id: int | None
    ) -> DriverIdTokenView:
        """What a token is called, and which vehicle it is for.

        Raises:
            NotFoundError: the driver has no such token.
            InvalidInputError: the driver has no such vehicle.
        """
        async with self._database.change() as db:
            before = await self._found(db, caller.tenant_id, driver_id, id_token_id)
            await _check_vehicle(db, caller.tenant_id, driver_id, vehicle_id)
            await queries.describe_token(db, id_token_id, label, vehicle_id)
            view = await self._found(db, caller.tenant_id, driver_id, id_token_id)
            await self._note(db, caller.tenant_id, caller.actor, "describe", driver_id, before, view)
        return view

    async def remove(self, caller: Caller, driver_id: int, id_token_id: int) -> None:
        """Takes an id token from a driver. One that an operator assigned stays registered, for nobody, unless the driver gives it up;
        what the driver came by in another way is removed, so that nobody charges with it.

        Raises:
            NotFoundError: the driver has no such token.
            ConflictError: it is the app's own, which stays as long as the account.
        """
        async with self._database.change() as db:
            view = await self._found(db, caller.tenant_id, driver_id, id_token_id)
            if view.origin is TokenOrigin.APP:
                raise ConflictError("The app's own id token stays as long as the account.")
            if view.origin is TokenOrigin.OPERATOR and not caller.driver_id:
                holds = self.holds if self.holds is not None and await self.holds.begin(db, caller.tenant_id) else None
                await self._release_held(db, caller.tenant_id, driver_id, id_token_id)
                await queries.unbind(db, caller.tenant_id, driver_id, id_token_id)
                if holds is not None:
                    await holds.settle_token(db, caller.tenant_id, id_token_id)
            else:
                await rfid_cards.give_back(db, caller.tenant_id, driver_id, view.id_token, view.type)
                gone = await id_tokens.delete(db, caller.tenant_id, id_token_id)
                if gone is not None:
                    await note_change(db, caller.tenant_id, gone)
            await self._note(db, caller.tenant_id, caller.actor, "take-away", driver_id, view, None)
        self._changed()

    # Cards

    async def add_cards(self, caller: Caller, wanted: list[CardWanted]) -> list[tuple[CardView, str]]:
        """Cards that were printed, each with its activation code.

        Raises:
            ConflictError: there is a card with one of the numbers; none was added.
        """
        made = []
        async with self._database.change() as db:
            for card in wanted:
                code = card.activation_code or "".join(secrets.choice(_CODE_ALPHABET) for _ in range(8))
                sealed = self._keys.encrypt(
                    code.upper().encode(), _card(caller.tenant_id, visual_key(card.visual_number))
                )
                try:
                    async with db.transaction():
                        view = await rfid_cards.insert(
                            db,
                            caller.tenant_id,
                            card.visual_number,
                            canonical(card.id_token, card.type.value),
                            card.type.value,
                            sealed,
                        )
                except asyncpg.UniqueViolationError:
                    raise ConflictError(f"There is a card with the number '{card.visual_number}' already.") from None
                made.append((view, code))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="rfid-card",
                ident=made[0][0].id,
                after={"first": made[0][0].visual_number, "cards": len(made)},
            )
        return made

    async def cards(
        self, caller: Caller, number: str | None, claimed: bool | None, limit: int, after: Position | None
    ) -> list[CardView]:
        """Cards, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await rfid_cards.page(db, caller.tenant_id, number, claimed, limit, after)

    async def claim_card(
        self, caller: Caller, driver_id: int, number: str, code: str, label: str | None
    ) -> DriverIdTokenView:
        """Makes a card the driver's who has it in hand. Whoever calls this slows guessing down.

        Raises:
            InvalidInputError: no free card has this number and code; which of them is wrong is not told.
            ConflictError: its id token is registered for somebody.
        """
        wrong = "There is no free card with this number and activation code"
        async with self._database.change() as db:
            driver = await locked_driver(db, caller.tenant_id, driver_id, None)
            card = await rfid_cards.locked(db, caller.tenant_id, number)
            given = code.strip().upper().encode()
            known = secrets.token_bytes(8)
            if card is not None and card.driver_id is None and card.revoked_at is None:
                known = self._keys.decrypt(card.activation_code, _card(caller.tenant_id, card.visual_key))
            if card is None or not secrets.compare_digest(given, known):
                raise InvalidInputError(f"{wrong}.", (("/visual_number", wrong),))
            await rfid_cards.claim(db, card.id, driver_id)
            wanted = TokenWanted(id_token=card.id_token, type=IdTokenType(card.id_token_type), label=label)
            view = await self._bound(
                db, caller.tenant_id, caller.actor, driver, wanted, TokenOrigin.CARD, confirmed=True
            )
        self._changed()
        return view

    # Autocharge

    async def confirm_seen(self) -> int:
        """Confirms the addresses of cars that were seen with their drivers; how many."""
        async with self._database.read() as db:
            seen = await autocharge.seen(db, AUTOCHARGE_WITHIN)
        for one in seen:
            async with self._database.change() as db:
                await locked_driver(db, one.tenant_id, one.driver_id, None)
                view = await queries.token_of(db, one.tenant_id, one.driver_id, one.id_token_id)
                if view is None or view.confirmed:
                    continue
                before = await id_tokens.one(db, one.tenant_id, one.id_token_id, lock=True)
                assert before is not None
                await queries.confirm_token(db, one.id_token_id)
                await id_tokens.update(db, one.id_token_id, {"status": "Accepted"})
                await note_change(db, one.tenant_id, before)
                after = await queries.token_of(db, one.tenant_id, one.driver_id, one.id_token_id)
                await self._note(
                    db,
                    one.tenant_id,
                    f"policy: autocharge, transaction {one.transaction_id}",
                    "confirm",
                    one.driver_id,
                    view,
                    after,
                )
            self._events.publish("driver.id_token_confirmed", one.tenant_id, None, after)
            self._changed()
        return len(seen)

    # What they share

    async def _add(
        self, caller: Caller, driver_id: int, wanted: TokenWanted, origin: TokenOrigin, *, confirmed: bool = True
    ) -> DriverIdTokenView:
        async with self._database.change() as db:
            driver = await locked_driver(db, caller.tenant_id, driver_id, None)
            view = await self._bound(db, caller.tenant_id, caller.actor, driver, wanted, origin, confirmed=confirmed)
        self._changed()
        return view

    async def _bound(
        self,
        db: Db,
        tenant_id: TenantId,
        actor: str,
        driver: DriverView,
        wanted: TokenWanted,
        origin: TokenOrigin,
        *,
        confirmed: bool,
    ) -> DriverIdTokenView:
        driver_id = int(driver.id)
        holds = self.holds if self.holds is not None and await self.holds.begin(db, tenant_id) else None
        if driver.status is DriverStatus.CLOSED:
            raise ConflictError(f"Driver '{driver.id}' is closed.")
        if len(await queries.tokens_of(db, tenant_id, driver_id)) >= MOST_TOKENS:
            raise ConflictError(f"A driver may have at most {MOST_TOKENS} id tokens.")
        await _check_vehicle(db, tenant_id, driver_id, wanted.vehicle_id)
        text = canonical(wanted.id_token, wanted.type.value)
        free = driver.status is DriverStatus.ACTIVE
        status = "Accepted" if free and confirmed else "Blocked"
        columns: dict[str, Any] = {"id_token": text, "type": wanted.type.value, "status": status}
        if driver.language is not None and len(driver.language) <= 8:
            columns["language"] = driver.language
        ident, held = await self._row(db, tenant_id, columns, origin)
        if not free and held is None and confirmed:
            held = "Accepted"
        try:
            async with db.transaction():
                await queries.bind(
                    db,
                    tenant_id,
                    driver_id,
                    ident,
                    origin=origin,
                    label=wanted.label,
                    vehicle_id=wanted.vehicle_id,
                    status_before=None if free else held,
                    confirmed=confirmed,
                )
        except asyncpg.UniqueViolationError:
            raise ConflictError(
                f"The id token '{text}' is a driver's already; take it from that driver first."
            ) from None
        if holds is not None:
            await holds.settle_token(db, tenant_id, ident)
        view = await self._found(db, tenant_id, driver_id, ident)
        await self._note(db, tenant_id, actor, "assign", driver_id, None, view)
        return view

    async def _row(
        self, db: Db, tenant_id: TenantId, columns: dict[str, Any], origin: TokenOrigin
    ) -> tuple[int, str | None]:
        """Our id of the token, and what it was where it is blocked with its driver now.

        Raises:
            ConflictError: it is registered, and the driver has no proof that it is the driver's.
        """
        for record in await id_tokens.page(
            db, tenant_id, id_tokens.IdTokenFilter(id_token=columns["id_token"], type=columns["type"]), 1, None
        ):
            if origin not in (TokenOrigin.OPERATOR, TokenOrigin.CARD):
                raise ConflictError(f"The id token '{columns['id_token']}' is registered already.")
            if columns["status"] == "Blocked" and record.status == "Accepted":
                await id_tokens.update(db, int(record.id), {"status": "Blocked"})
                await note_change(db, tenant_id, record)
                return int(record.id), record.status
            return int(record.id), None
        try:
            async with db.transaction():
                made = await id_tokens.insert(db, tenant_id, columns)
        except asyncpg.UniqueViolationError:  # in the same moment
            raise ConflictError(f"The id token '{columns['id_token']}' is registered already.") from None
        return int(made.id), None

    async def _release_held(self, db: Db, tenant_id: TenantId, driver_id: int, id_token_id: int) -> None:
        for token, status in await queries.held_tokens(db, driver_id):
            if token == id_token_id:
                before = await id_tokens.one(db, tenant_id, token, lock=True)
                await id_tokens.update(db, token, {"status": status})
                if before is not None:
                    await note_change(db, tenant_id, before)

    async def _found(self, db: Db, tenant_id: TenantId, driver_id: int, id_token_id: int) -> DriverIdTokenView:
        found = await queries.token_of(db, tenant_id, driver_id, id_token_id)
        if found is None:
            raise NotFoundError("id token", str(id_token_id))
        return found

    async def _note(
        self,
        db: Db,
        tenant_id: TenantId,
        actor: str,
        action: str,
        driver_id: int,
        before: DriverIdTokenView | None,
        after: DriverIdTokenView | None,
    ) -> None:
        await audit(
            db,
            tenant_id,
            actor=actor,
            action=f"{action}-id-token",
            kind="driver",
            ident=str(driver_id),
            before=before,
            after=after,
        )


async def _check_vehicle(db: Db, tenant_id: TenantId, driver_id: int, vehicle_id: int | None) -> None:
    if vehicle_id is None:
        return
    found = await vehicles.one(db, tenant_id, vehicle_id)
    if found is None or found.driver_id != str(driver_id):
        sentence = f"The driver has no vehicle '{vehicle_id}'"
        raise InvalidInputError(f"{sentence}.", (("/vehicle_id", sentence),))


def _card(tenant_id: TenantId, key: str) -> str:
    return f"rfid card {tenant_id} {key}"
