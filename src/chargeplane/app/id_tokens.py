"""Id tokens as an operator administers them. Stations are answered from the same table, so a change holds at once."""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import asyncpg
from msgspec import UNSET, Struct, UnsetType

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.domain.authorization import canonical
from chargeplane.domain.token_rules import MOST, TokenRules, zone_exists
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.queries import id_tokens as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.authorization import note_change
from chargeplane.store.queries.id_tokens import IdTokenFilter, IdTokenView
from chargeplane.store.queries.paging import Db, Position


class IdTokenType(enum.StrEnum):
    """OCPP 2.1 IdTokenEnumStringType; those of 2.0.1 are among them."""

    CENTRAL = "Central"
    DIRECT_PAYMENT = "DirectPayment"
    E_MAID = "eMAID"
    EVCC_ID = "EVCCID"
    ISO14443 = "ISO14443"
    ISO15693 = "ISO15693"
    KEY_CODE = "KeyCode"
    LOCAL = "Local"
    MAC_ADDRESS = "MacAddress"
    NO_AUTHORIZATION = "NoAuthorization"
    VIN = "VIN"


class IdTokenStatus(enum.StrEnum):
    """What an operator may set; OCPP's words."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"


class IdTokenChanges(Struct, kw_only=True):
    """What a new token has, or a change changes; UNSET stays as it is."""

    id_token: str | UnsetType = UNSET
    type: IdTokenType | UnsetType = UNSET
    status: IdTokenStatus | UnsetType = UNSET
    valid_from: datetime | UnsetType | None = UNSET
    valid_until: datetime | UnsetType | None = UNSET
    group_id: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET
    personal_message: str | UnsetType | None = UNSET
    concurrent_limit: int | UnsetType | None = UNSET
    rules: TokenRules | UnsetType | None = UNSET
    credit_wh: Decimal | UnsetType | None = UNSET
    credit: Decimal | UnsetType | None = UNSET
    note: str | UnsetType | None = UNSET


class TokenHolds(Protocol):
    """Who holds id tokens to what agreements allow."""

    async def begin(self, db: Db, tenant_id: TenantId) -> bool:
        """First in a change: whether agreements have a say in it."""
        ...

    async def settle_token(self, db: Db, tenant_id: TenantId, ident: int) -> None:
        """Last in a change, where they have: decides what the token is held to."""
        ...


class IdTokens:
    """Use cases about id tokens.

    Args:
        changed: told after a change that transactions may follow from, when it is committed.
        holds: agreements; None where there are none.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        changed: Callable[[], None] = lambda: None,
        holds: TokenHolds | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._changed = changed
        self._holds = holds

    async def _begin(self, db: Db, tenant_id: TenantId) -> TokenHolds | None:
        holds = self._holds
        return holds if holds is not None and await holds.begin(db, tenant_id) else None

    async def _settled(self, db: Db, tenant_id: TenantId, view: IdTokenView, holds: TokenHolds | None) -> IdTokenView:
        if holds is None:
            return view
        await holds.settle_token(db, tenant_id, int(view.id))
        return await queries.one(db, tenant_id, int(view.id)) or view

    async def page(
        self, caller: Caller, wanted: IdTokenFilter, limit: int, after: Position | None
    ) -> list[IdTokenView]:
        """Id tokens, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> IdTokenView:
        """An id token by our id.

        Raises:
            NotFoundError: the tenant has no such id token.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("id token", str(ident))
        return found

    async def create(self, caller: Caller, wanted: IdTokenChanges) -> IdTokenView:
        """A new id token; its type is ISO14443 and its status Accepted unless given.

        Raises:
            InvalidInputError: a value that is not allowed.
            ConflictError: the tenant has one with this type and id token.
        """
        columns = {"type": "ISO14443", "status": "Accepted", **_columns(wanted)}
        _check(columns)
        _canonical(columns, columns["type"])
        try:
            async with self._database.change() as db:
                holds = await self._begin(db, caller.tenant_id)
                view = await queries.insert(db, caller.tenant_id, columns)
                view = await self._settled(db, caller.tenant_id, view, holds)
                await audit(
                    db,
                    caller.tenant_id,
                    actor=caller.actor,
                    action="create",
                    kind="id-token",
                    ident=view.id,
                    after=view,
                )
        except asyncpg.UniqueViolationError:
            raise _duplicate(columns) from None
        self._events.publish("id_token.created", caller.tenant_id, None, view)
        return view

    async def change(self, caller: Caller, ident: int, wanted: IdTokenChanges, if_revision: int | None) -> IdTokenView:
        """The id token after the change.

        Args:
            if_revision: change only this revision.
        Raises:
            NotFoundError: the tenant has no such id token.
            InvalidInputError: a value that is not allowed.
            ConflictError: the tenant has another with this type and id token.
            StaleError: it has another revision.
        """
        columns = _columns(wanted)
        try:
            async with self._database.change() as db:
                holds = await self._begin(db, caller.tenant_id)
                before = await queries.one(db, caller.tenant_id, ident, lock=True)
                if before is None:
                    raise NotFoundError("id token", str(ident))
                if if_revision is not None and if_revision != before.revision:
                    raise StaleError(str(ident), before.revision)
                if not columns:
                    return before
                _check({"valid_from": before.valid_from, "valid_until": before.valid_until, **columns})
                if "id_token" in columns or "type" in columns:
                    columns.setdefault("id_token", before.id_token)
                    _canonical(columns, columns.get("type", before.type))
                view = await queries.update(db, ident, columns)
                view = await self._settled(db, caller.tenant_id, view, holds)
                await note_change(db, caller.tenant_id, before)
                await audit(
                    db,
                    caller.tenant_id,
                    actor=caller.actor,
                    action="update",
                    kind="id-token",
                    ident=view.id,
                    before=before,
                    after=view,
                )
        except asyncpg.UniqueViolationError:
            raise _duplicate(columns) from None
        self._changed()
        self._events.publish("id_token.updated", caller.tenant_id, None, view)
        return view

    async def remove(self, caller: Caller, ident: int) -> None:
        """Removes an id token; stations are told Invalid from now on.

        Raises:
            NotFoundError: the tenant has no such id token.
        """
        async with self._database.change() as db:
            gone = await queries.delete(db, caller.tenant_id, ident)
            if gone is None:
                raise NotFoundError("id token", str(ident))
            await note_change(db, caller.tenant_id, gone)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="id-token",
                ident=gone.id,
                before=gone,
            )
        self._changed()
        self._events.publish("id_token.deleted", caller.tenant_id, None, gone)


def _columns(wanted: IdTokenChanges) -> dict[str, Any]:
    columns = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not UNSET}
    for name, value in columns.items():
        if isinstance(value, datetime):
            columns[name] = as_utc(value)
        elif isinstance(value, enum.StrEnum):
            columns[name] = value.value
    return columns


def _canonical(columns: dict[str, Any], kind: str) -> None:
    columns["id_token"] = canonical(columns["id_token"], kind)


def _check(columns: dict[str, Any]) -> None:
    id_token = columns.get("id_token")
    if id_token is not None and any(unicodedata.category(c)[0] == "C" for c in id_token):
        sentence = "Must not hold control characters"
        raise InvalidInputError(f"The id token is not allowed: {sentence}.", (("/id_token", sentence),))
    rules = columns.get("rules")
    amounts = [("/credit_wh", columns.get("credit_wh"), -MOST), ("/credit", columns.get("credit"), -MOST)]
    if rules is not None:
        amounts += [
            ("/rules/max_energy_wh", rules.max_energy_wh, Decimal(0)),
            ("/rules/max_cost", rules.max_cost, Decimal(0)),
        ]
    for pointer, amount, least in amounts:
        exact = amount is None or (amount.is_finite() and least <= amount <= MOST and amount == round(amount, 6))
        if not exact:
            sentence = f"Must be from {least:f} to {MOST:f}, with at most 6 decimals"
            raise InvalidInputError(f"'{pointer[1:]}' is wrong: {sentence}.", ((pointer, sentence),))
    if rules is not None and not zone_exists(rules.time_zone):
        sentence = "Must be the name of a time zone, such as Europe/Berlin"
        raise InvalidInputError(f"'{rules.time_zone}' is no time zone: {sentence}.", (("/rules/time_zone", sentence),))
    valid_from, valid_until = columns.get("valid_from"), columns.get("valid_until")
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        sentence = "Must be after valid_from"
        raise InvalidInputError(f"'valid_until' is wrong: {sentence}.", (("/valid_until", sentence),))


def _duplicate(columns: dict[str, Any]) -> ConflictError:
    if "id_token" not in columns:
        return ConflictError("There is an id token with this type and text already.")
    of_type = f" of type {columns['type']}" if "type" in columns else ""
    return ConflictError(f"There is an id token '{columns['id_token']}'{of_type} already.")
