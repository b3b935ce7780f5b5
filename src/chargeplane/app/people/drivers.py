"""Drivers as an operator administers them. Blocking one blocks the id tokens, as changes of their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import asyncpg
import msgspec
from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.id_tokens import TokenHolds
from chargeplane.domain.people.drivers import Address, DriverContent, DriverStatus, check_driver, check_email, email_key
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import drivers as queries
from chargeplane.store.queries import id_tokens, logins
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.authorization import note_change
from chargeplane.store.queries.drivers import DriverFilter, DriverView, content_of
from chargeplane.store.queries.paging import Db, Position

T = TypeVar("T")


class DriverChanges(Struct, kw_only=True):
    """What a new driver has, or a change changes; UNSET stays as it is."""

    email: str | UnsetType | None = UNSET
    external_id: str | UnsetType | None = UNSET
    user_groups: tuple[str, ...] | UnsetType = UNSET
    first_name: str | UnsetType | None = UNSET
    last_name: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET
    country: str | UnsetType | None = UNSET
    company: str | UnsetType | None = UNSET
    tax_id: str | UnsetType | None = UNSET
    billing_address: Address | UnsetType | None = UNSET
    delivery_address: Address | UnsetType | None = UNSET
    note: str | UnsetType | None = UNSET


class Drivers:
    """Use cases about drivers.

    Args:
        changed: told after a change that transactions may follow from, when it is committed.
    """

    def __init__(self, database: Database, events: EventFeed, changed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._events = events
        self._changed = changed
        self.holds: TokenHolds | None = None
        """Agreements, which may be about drivers and groups of users; None where there are none."""

    async def page(self, caller: Caller, wanted: DriverFilter, limit: int, after: Position | None) -> list[DriverView]:
        """Drivers, newest first, without those who were erased; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> DriverView:
        """A driver by our id.

        Raises:
            NotFoundError: the tenant has no such driver.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("driver", str(ident))
        return found

    async def create(self, caller: Caller, wanted: DriverChanges) -> DriverView:
        """A new driver, without a password; the e-mail address is taken as the operator gives it, not as verified.

        Raises:
            InvalidInputError: a value that is not allowed.
            ConflictError: the tenant has a driver with this e-mail address or number.
        """
        content = _content(DriverContent(), wanted)
        email = _given(wanted.email, None)
        _check(content, email)
        external_id = _given(wanted.external_id, None)
        try:
            async with self._database.change() as db:
                view = await queries.insert(
                    db,
                    caller.tenant_id,
                    content,
                    email=email,
                    external_id=external_id,
                    user_groups=_given(wanted.user_groups, ()),
                )
                await self._note(db, caller, "create", None, view)
        except asyncpg.UniqueViolationError as error:
            raise _duplicate(error, email, external_id) from None
        self._events.publish("driver.created", caller.tenant_id, None, view)
        return view

    async def change(self, caller: Caller, ident: int, wanted: DriverChanges, if_revision: int | None) -> DriverView:
        """The driver after the change. Another e-mail address is not verified.

        Args:
            if_revision: change only this revision.
        Raises:
            NotFoundError: the tenant has no such driver.
            InvalidInputError: a value that is not allowed.
            ConflictError: the tenant has another with this e-mail address or number, or the driver was erased.
            StaleError: it has another revision.
        """
        email: str | None = None
        external_id: str | None = None
        try:
            async with self._database.change() as db:
                groups = not isinstance(wanted.user_groups, UnsetType)
                holds = self.holds if groups and self.holds and await self.holds.begin(db, caller.tenant_id) else None
                before = await locked_driver(db, caller.tenant_id, ident, if_revision)
                content = _content(content_of(before), wanted)
                email = _given(wanted.email, before.email)
                external_id = _given(wanted.external_id, before.external_id)
                _check(content, email)
                same = email is not None and before.email is not None and email_key(email) == email_key(before.email)
                view = await queries.update(
                    db,
                    ident,
                    content,
                    email=email,
                    external_id=external_id,
                    user_groups=_given(wanted.user_groups, before.user_groups),
                    verified=same and before.email_verified,
                )
                if holds is not None and before.user_groups != view.user_groups:
                    for token in await queries.tokens_of(db, caller.tenant_id, ident):
                        await holds.settle_token(db, caller.tenant_id, int(token.id))
                if not same:
                    await logins.forget_mailed(db, driver_id=ident)
                await self._note(db, caller, "update", before, view)
        except asyncpg.UniqueViolationError as error:
            raise _duplicate(error, email, external_id) from None
        self._events.publish("driver.updated", caller.tenant_id, None, view)
        return view

    async def block(self, caller: Caller, ident: int, reason: str | None) -> DriverView:
        """Blocks a driver: no id token of the driver charges, nobody is signed in any more. What runs ends by the tenant's
        `stop_deauthorized`.

        Raises:
            NotFoundError: the tenant has no such driver.
            ConflictError: the driver is closed.
        """
        return await self._set_status(caller, ident, DriverStatus.BLOCKED, "block", reason)

    async def unblock(self, caller: Caller, ident: int) -> DriverView:
        """Takes a block back: the id tokens that were blocked with the driver may charge again.

        Raises:
            NotFoundError: the tenant has no such driver.
            ConflictError: the driver is closed.
        """
        return await self._set_status(caller, ident, DriverStatus.ACTIVE, "unblock", None)

    async def close(self, caller: Caller, ident: int, reason: str | None = None) -> DriverView:
        """Closes a driver's account for good: as blocked, and the e-mail address may be used for another account.

        Raises:
            NotFoundError: the tenant has no such driver.
        """
        return await self._set_status(caller, ident, DriverStatus.CLOSED, "close", reason)

    async def _set_status(
        self, caller: Caller, ident: int, status: DriverStatus, action: str, reason: str | None
    ) -> DriverView:
        async with self._database.change() as db:
            before = await locked_driver(db, caller.tenant_id, ident, None)
            if before.status is status and before.status_reason == reason:
                return before
            if before.status is DriverStatus.CLOSED and status is not DriverStatus.CLOSED:
                raise ConflictError(f"Driver '{ident}' is closed; make a new one.")
            view = await queries.set_status(db, ident, status, reason)
            if status is DriverStatus.ACTIVE:
                await release_tokens(db, caller.tenant_id, ident)
            else:
                await hold_tokens(db, caller.tenant_id, ident)
                await logins.revoke_all(db, driver_id=ident)
                await logins.forget_mailed(db, driver_id=ident)
            if status is DriverStatus.CLOSED:
                await logins.free_email(db, ident)
            await self._note(db, caller, action, before, view, reason)
        self._changed()
        self._events.publish("driver.updated", caller.tenant_id, None, view)
        return view

    async def _note(
        self,
        db: Db,
        caller: Caller,
        action: str,
        before: DriverView | None,
        view: DriverView,
        reason: str | None = None,
    ) -> None:
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind="driver",
            ident=view.id,
            reason=reason,
            before=before,
            after=view,
        )


async def locked_driver(db: Db, tenant_id: TenantId, ident: int, if_revision: int | None) -> DriverView:
    """The driver, locked until the transaction ends.

    Raises:
        NotFoundError: the tenant has no such driver, or the driver was erased.
        StaleError: it has another revision.
    """
    found = await queries.one(db, tenant_id, ident, lock=True)
    if found is None or found.status is DriverStatus.ERASED:
        raise NotFoundError("driver", str(ident))
    if if_revision is not None and if_revision != found.revision:
        raise StaleError(str(ident), found.revision)
    return found


async def hold_tokens(db: Db, tenant_id: TenantId, driver_id: int) -> None:
    """Blocks the driver's id tokens that may charge, and notes what they were."""
    for token in await queries.accepted_tokens(db, driver_id):
        before = await id_tokens.one(db, tenant_id, token, lock=True)
        if before is not None:
            await queries.note_status_before(db, driver_id, token, before.status)
            await id_tokens.update(db, token, {"status": "Blocked"})
            await note_change(db, tenant_id, before)


async def release_tokens(db: Db, tenant_id: TenantId, driver_id: int) -> None:
    """Makes the id tokens that were blocked with their driver what they were."""
    for token, status in await queries.held_tokens(db, driver_id):
        before = await id_tokens.one(db, tenant_id, token, lock=True)
        if before is not None:
            await queries.note_status_before(db, driver_id, token, None)
            await id_tokens.update(db, token, {"status": status})
            await note_change(db, tenant_id, before)


def _given(value: T | UnsetType, otherwise: T) -> T:
    return otherwise if isinstance(value, UnsetType) else value


def _content(content: DriverContent, wanted: DriverChanges) -> DriverContent:
    changes = {
        name: value
        for name in DriverContent.__struct_fields__
        if not isinstance(value := getattr(wanted, name), UnsetType)
    }
    return msgspec.structs.replace(content, **changes)


def _check(content: DriverContent, email: str | None) -> None:
    faults = check_driver(content)
    if email is not None and (sentence := check_email(email)):
        faults.append(("/email", sentence))
    if faults:
        raise InvalidInputError(f"The driver is not right: {faults[0][0][1:]}: {faults[0][1]}.", tuple(faults))


def _duplicate(error: asyncpg.UniqueViolationError, email: str | None, external_id: str | None) -> ConflictError:
    if error.constraint_name == "driver_email":
        return ConflictError(f"There is a driver with the e-mail address '{email}' already.")
    return ConflictError(f"There is a driver with the external_id '{external_id}' already.")
