"""Fees of bookings: noted as what is to be billed, and taken of the payment that was held for the booking, in one transaction.

A booking that was used has its fee with the session's price: on the session's invoice, or in what is captured of the session's payment.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from chargeplane.app.house import utc_now
from chargeplane.app.invoicing.drafting import Drafting, taxing_of
from chargeplane.domain.agreements.model import BillingCycle, version_at
from chargeplane.domain.bookings.fees import FeeKind
from chargeplane.domain.cdrs.session import RoamingDriver
from chargeplane.domain.invoicing.fees import BookingFee, gross_of
from chargeplane.domain.invoicing.parties import Customer
from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.rating import Rating
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import billable_fees as queries
from chargeplane.store.queries import invoices as invoice_queries
from chargeplane.store.queries import payments as payment_queries
from chargeplane.store.queries.billable_fees import NewFee
from chargeplane.store.queries.paging import Db

CHARGED: Final = "booking.charged"
USED: Final = "booking.used"
OVER: Final = (USED, "booking.completed", "booking.canceled", "booking.no_show", "booking.failed")
"""After these a booking's payment is the session's, or is let go of."""


class Charged(Struct, frozen=True, kw_only=True):
    """What is taken of the fact that a booking costs something."""

    booking_id: str
    kind: FeeKind
    at: datetime
    location_id: str
    evse_uid: str
    starts_at: datetime
    ends_at: datetime
    rating: Rating
    driver_id: str | None = None
    agreement_id: str | None = None
    transaction_id: str | None = None
    payment_id: str | None = None
    tax_included: bool = False
    roaming: RoamingDriver | None = None


class Told(Struct, frozen=True, kw_only=True):
    """What is taken of a fact about a booking."""

    id: str
    state: str = ""
    payment_id: str | None = None
    transaction_id: str | None = None


class _Place(Struct):
    name: str | None = None
    address: str = ""
    country: str = ""
    state: str | None = None


_charged = msgspec.json.Decoder(Charged).decode
_told = msgspec.json.Decoder(Told).decode
_place = msgspec.json.Decoder(_Place).decode


class Holding(Protocol):
    """Payments that hold money for bookings."""

    async def settle_within(self, db: Db, ident: int, amount: Money) -> None:
        """Takes an amount of the hold; the rest is released."""
        ...

    async def release_within(self, db: Db, ident: int, why: str) -> None:
        """Releases the hold."""
        ...


class BookingFees:
    """Handlers of facts about bookings; each stands repeats.

    Args:
        payments: where bookings are paid by holds; None: they are not.
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        drafting: Drafting,
        payments: Holding | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._drafting = drafting
        self._payments = payments
        self._now = now

    async def charged(self, fact: Fact) -> None:
        """A booking costs something."""
        said = _charged(fact.payload)
        if said.roaming is not None:
            return  # the partner is sent a CDR
        tenant_id = TenantId(fact.tenant_id)
        async with self._database.change() as db:
            fee = await self._fee(db, tenant_id, said)
            if await queries.take(db, tenant_id, fee) is None:
                return
            if fee.payment_id is not None:
                await self._capture(db, tenant_id, fee)
            if said.transaction_id is None:
                await self._bill(db, tenant_id, fee)

    async def over(self, fact: Fact) -> None:
        """A booking was used or is over: its payment pays the session, or is let go of where nothing is owed."""
        said = _told(fact.payload)
        if said.payment_id is None or self._payments is None:
            return
        tenant_id, payment_id = TenantId(fact.tenant_id), int(said.payment_id)
        async with self._database.change() as db:
            if fact.topic == USED and said.transaction_id is not None:
                await payment_queries.touch(db, payment_id, session_id=int(said.transaction_id))
            elif said.transaction_id is None and await queries.of_payment(db, tenant_id, payment_id) is None:
                await self._payments.release_within(db, payment_id, "The booking costs nothing.")

    async def _fee(self, db: Db, tenant_id: TenantId, said: Charged) -> NewFee:
        row = await queries.place_of(db, tenant_id, said.evse_uid)
        place = _Place() if row is None else _place(row["body"])
        content = BookingFee(
            booking_id=said.booking_id,
            kind=said.kind,
            at=said.at,
            starts_at=said.starts_at,
            ends_at=said.ends_at,
            time_zone="UTC" if row is None else row["time_zone"],
            location_id=said.location_id,
            place=place.name or place.address or said.location_id,
            evse_uid=said.evse_uid,
            rating=said.rating,
            country=ALPHA2.get(place.country),
            region=place.state,
            tax_included=said.tax_included,
            session_id=said.transaction_id,
        )
        payment_id = None if said.payment_id is None else int(said.payment_id)
        if payment_id is None and said.transaction_id is not None:
            payment_id = await payment_queries.of_session(db, tenant_id, int(said.transaction_id))
        driver = said.driver_id or ""
        settings, _ = await invoice_queries.settings(db, tenant_id)
        gross = said.rating.due.incl
        if settings.issuer is not None:
            anybody = partial(taxing_of, settings, Customer(name="-"), False)
            gross = gross_of(content, anybody).amount
        return NewFee(
            content=content,
            net=said.rating.due.excl,
            gross=gross,
            agreement_id=None if said.agreement_id is None else int(said.agreement_id),
            driver_id=int(driver) if driver.isdecimal() else None,
            payment_id=payment_id,
        )

    async def _capture(self, db: Db, tenant_id: TenantId, fee: NewFee) -> None:
        if self._payments is None or fee.payment_id is None:
            return
        currency, session = fee.content.rating.currency, fee.content.session_id
        total = await queries.of_payment(db, tenant_id, fee.payment_id)
        if session is not None:
            # With the session's price, once that is known.
            total = await payment_queries.billed(db, tenant_id, int(session))
        if total is not None:
            await self._payments.settle_within(db, fee.payment_id, Money(amount=total, currency=currency))

    async def _bill(self, db: Db, tenant_id: TenantId, fee: NewFee) -> None:
        """At once where sessions are: of agreements that are billed by session, and of payments."""
        settings, _ = await invoice_queries.settings(db, tenant_id)
        if settings.issuer is None:
            return
        at, subject = fee.content.at, None
        if fee.agreement_id is not None:
            stored = await agreement_queries.one(db, tenant_id, fee.agreement_id)
            if stored is not None and version_at(stored.agreement, at).terms.billing.cycle is BillingCycle.SESSION:
                subject = f"agreement:{fee.agreement_id}"
        elif fee.payment_id is not None and settings.receipts:
            subject = f"payment:{fee.payment_id}"
        if subject is not None:
            now = self._now()
            until = max(now, at + timedelta(seconds=1))
            await self._drafting.bill(db, tenant_id, subject, settings, until=until, now=now)
