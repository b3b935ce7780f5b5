"""What is billed, put on a draft: of an agreement, of a guest's payment, of a driver without either. One subject at a time, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from chargeplane.app.invoicing.issuing import apply_payment, issue
from chargeplane.app.invoicing.ports import People
from chargeplane.domain.agreements.items import Minimum, Per, RecurringFee
from chargeplane.domain.agreements.model import (
    Agreement,
    BillingMethod,
    Party,
    PartyKind,
    PartyRole,
    ScopeKind,
    Terms,
    version_at,
)
from chargeplane.domain.invoicing.charges import CdrToBill, Taxing, cdr_charges
from chargeplane.domain.invoicing.fees import FeeToBill, fee_charges
from chargeplane.domain.invoicing.model import (
    Charge,
    InvoiceContent,
    InvoiceKind,
    LineKind,
    notes_of,
    summed,
    turned,
)
from chargeplane.domain.invoicing.parties import Customer, InvoicingSettings, PostalAddress, ReverseCharge
from chargeplane.domain.invoicing.periods import Period, periods
from chargeplane.domain.invoicing.taxes import LineTax, Supply, treatment
from chargeplane.domain.languages import say
from chargeplane.domain.ledger import PayerKind
from chargeplane.domain.vat_numbers import VatCheck, normalized, verified
from chargeplane.kernel.errors import ConflictError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import billable_fees, billing, vat_checks
from chargeplane.store.queries import invoices as queries
from chargeplane.store.queries.billing import Subject
from chargeplane.store.queries.drivers import DriverView
from chargeplane.store.queries.invoices import NewInvoice
from chargeplane.store.queries.paging import Db

MOST_CDRS: Final = 1000
"""On one invoice; what is left comes on the next one of the same run."""

_PAYERS: Final = {
    PartyKind.DRIVER: PayerKind.DRIVER,
    PartyKind.COMPANY: PayerKind.COMPANY,
    PartyKind.OCPI_PARTY: PayerKind.PARTNER,
    PartyKind.HOUSE: PayerKind.COMPANY,
}


class Payer(Struct, frozen=True, kw_only=True):
    """Who an invoice is for."""

    kind: PayerKind
    id: str
    customer: Customer
    vat_check: VatCheck | None = None

    def trusted(self, settings: InvoicingSettings, at: datetime) -> bool:
        """Whether their VAT number counts."""
        return settings.reverse_charge is ReverseCharge.FORM or verified(self.vat_check, at)


class Wanted(Struct, frozen=True, kw_only=True):
    """What a subject has to be billed now.

    Args:
        holds: reasons, of CDRs that stay off.
        more: there is more than fits on one invoice.
    """

    key: str
    payer: Payer
    kind: InvoiceKind
    currency: str
    charges: tuple[Charge, ...]
    cdrs: tuple[CdrToBill, ...]
    fees: tuple[FeeToBill, ...] = ()
    settled_periods: tuple[tuple[str, Period], ...] = ()
    holds: tuple[str, ...] = ()
    more: bool = False
    agreement: Agreement | None = None
    driver_id: int | None = None
    payment_id: int | None = None
    terms_days: int = 0
    method: str = "transfer"
    reference: str | None = None


class Nothing(Struct, frozen=True, kw_only=True):
    """A subject that is not billed now.

    Args:
        holds: reasons, of CDRs that stay off.
    """

    holds: tuple[str, ...] = ()


class Billed(Struct, frozen=True, kw_only=True):
    """What came of it."""

    invoice_id: int | None
    content: InvoiceContent | None
    holds: tuple[str, ...] = ()
    more: bool = False

    @property
    def reason(self) -> str | None:
        """Why CDRs stay off."""
        return None if not self.holds else "; ".join(dict.fromkeys(self.holds))


class Drafting:
    """Makes invoices of what is to be billed."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def bill(
        self,
        db: Db,
        tenant_id: TenantId,
        subject: str,
        settings: InvoicingSettings,
        *,
        until: datetime,
        now: datetime,
        run_id: int | None = None,
        issued: bool = True,
        dry: bool = False,
    ) -> Billed:
        """Bills a subject: its CDRs that ended before `until` and are on no invoice, and what fell due of its agreement.

        Args:
            subject: `agreement:12`, `payment:7` or `driver:3`.
            dry: writes nothing.
        Raises:
            ConflictError: nobody issues the tenant's invoices.
        """
        if settings.issuer is None:
            raise ConflictError("There is nobody who issues the invoices: put the issuer into the invoicing settings.")
        if not dry:
            await queries.serialise(db, tenant_id, subject)
        kind, _, ident = subject.partition(":")
        if kind == "agreement":
            wanted = await self._agreement(db, tenant_id, int(ident), settings, until)
        elif kind == "payment":
            wanted = await self._payment(db, tenant_id, int(ident), settings, until)
        else:
            wanted = await self._driver(db, tenant_id, int(ident), settings, until)
        if isinstance(wanted, Nothing):
            return Billed(invoice_id=None, content=None, holds=wanted.holds)
        content = _content(wanted, settings)
        if dry:
            return Billed(invoice_id=None, content=content, holds=wanted.holds, more=wanted.more)
        number = await queries.count_of(db, tenant_id, f"{wanted.key}#") + 1
        made = await queries.insert(
            db,
            tenant_id,
            NewInvoice(
                key=f"{wanted.key}#{number}",
                content=content,
                payer_kind=wanted.payer.kind,
                payer_id=wanted.payer.id,
                run_id=run_id,
                agreement_id=None if wanted.agreement is None else wanted.agreement.id,
                driver_id=wanted.driver_id,
                payment_id=wanted.payment_id,
            ),
        )
        await billing.mark(db, [cdr.cdr_id for cdr in wanted.cdrs], made)
        await billable_fees.mark(db, [fee.fee_id for fee in wanted.fees], made)
        if wanted.agreement is not None:
            for item, period in wanted.settled_periods:
                await billing.mark_period(db, tenant_id, wanted.agreement.id, item, period.start, period.end, made)
        if issued:
            await issue(db, tenant_id, made, settings, now)
            payments = {cdr.payment_id for cdr in wanted.cdrs} | {fee.payment_id for fee in wanted.fees}
            for payment_id in sorted(one for one in payments if one is not None):
                await apply_payment(db, tenant_id, payment_id, settings, now)
        return Billed(invoice_id=made, content=content, holds=wanted.holds, more=wanted.more)

    async def _agreement(
        self, db: Db, tenant_id: TenantId, ident: int, settings: InvoicingSettings, until: datetime
    ) -> Wanted | Nothing:
        stored = await agreement_queries.one(db, tenant_id, ident)
        if stored is None:
            return Nothing()
        agreement = stored.agreement
        terms = version_at(agreement, until).terms
        if terms.billing.method is BillingMethod.FREE:
            return Nothing()
        payer = await self._payer_of(db, tenant_id, agreement)
        taxing = partial(taxing_of, settings, payer.customer, payer.trusted(settings, until))
        language = payer.customer.language or settings.language
        cdrs, holds, more = await _cdrs(db, tenant_id, Subject(agreement_id=ident), until, agreement.currency)
        charges = [charge for cdr in cdrs for charge in cdr_charges(cdr, taxing, language)]
        fees = await _fees(db, tenant_id, Subject(agreement_id=ident), until, agreement.currency)
        charges += [charge for fee in fees for charge in fee_charges(fee, taxing, language)]
        items, settled = await _items(db, tenant_id, agreement, taxing, language, until)
        if not charges and not items:
            return Nothing(holds=holds)
        return Wanted(
            key=f"agreement:{ident}",
            payer=payer,
            kind=InvoiceKind.INVOICE,
            currency=agreement.currency,
            charges=(*charges, *items),
            cdrs=tuple(cdrs),
            fees=tuple(fees),
            settled_periods=tuple(settled),
            holds=holds,
            more=more,
            agreement=agreement,
            driver_id=int(payer.id) if payer.kind is PayerKind.DRIVER and payer.id.isdecimal() else None,
            terms_days=terms.billing.terms_days,
            method=_method(terms.billing.method, cdrs, beside=bool(items or fees)),
            reference=terms.billing.reference,
        )

    async def _payment(
        self, db: Db, tenant_id: TenantId, ident: int, settings: InvoicingSettings, until: datetime
    ) -> Wanted | Nothing:
        payer = await self.payer(db, tenant_id, PayerKind.GUEST, str(ident), settings)
        cdrs, holds, more = await _cdrs(db, tenant_id, Subject(payment_id=ident), until, None)
        currency = cdrs[0].currency if cdrs else None
        fees = await _fees(db, tenant_id, Subject(payment_id=ident), until, currency)
        if not cdrs and not fees:
            return Nothing(holds=holds)
        taxing = partial(taxing_of, settings, payer.customer, payer.trusted(settings, until))
        language = payer.customer.language or settings.language
        # What was taken is the price with tax; the receipt says so to the cent.
        charges = [charge for cdr in cdrs for charge in cdr_charges(cdr, taxing, language, tax_included=True)]
        charges += [charge for fee in fees for charge in fee_charges(fee, taxing, language, paid=True)]
        return Wanted(
            key=f"payment:{ident}",
            payer=payer,
            kind=InvoiceKind.RECEIPT,
            currency=currency or fees[0].currency,
            charges=tuple(charges),
            cdrs=tuple(cdrs),
            fees=tuple(fees),
            holds=holds,
            more=more,
            payment_id=ident,
            method="card",
        )

    async def _driver(
        self, db: Db, tenant_id: TenantId, ident: int, settings: InvoicingSettings, until: datetime
    ) -> Wanted | Nothing:
        payer = await self.payer(db, tenant_id, PayerKind.DRIVER, str(ident), settings)
        cdrs, holds, more = await _cdrs(db, tenant_id, Subject(driver_id=ident), until, None)
        currency = cdrs[0].currency if cdrs else None
        fees = await _fees(db, tenant_id, Subject(driver_id=ident), until, currency)
        if not cdrs and not fees:
            return Nothing(holds=holds)
        taxing = partial(taxing_of, settings, payer.customer, payer.trusted(settings, until))
        language = payer.customer.language or settings.language
        charges = [charge for cdr in cdrs for charge in cdr_charges(cdr, taxing, language)]
        charges += [charge for fee in fees for charge in fee_charges(fee, taxing, language)]
        return Wanted(
            key=f"driver:{ident}",
            payer=payer,
            kind=InvoiceKind.INVOICE,
            currency=currency or fees[0].currency,
            charges=tuple(charges),
            cdrs=tuple(cdrs),
            fees=tuple(fees),
            holds=holds,
            more=more,
            driver_id=ident,
            terms_days=settings.terms_days,
        )

    async def _payer_of(self, db: Db, tenant_id: TenantId, agreement: Agreement) -> Payer:
        roles = {party.role: party for party in agreement.parties}
        party = roles.get(PartyRole.PAYER) or roles.get(PartyRole.CONSUMER)
        if party is None or party.id is None:
            return await self._named(db, tenant_id, PayerKind.COMPANY, f"agreement-{agreement.id}", party)
        return await self._named(db, tenant_id, _PAYERS[party.kind], party.id, party)

    async def _named(self, db: Db, tenant_id: TenantId, kind: PayerKind, ident: str, party: Party | None) -> Payer:
        settings, _ = await queries.settings(db, tenant_id)
        if party is None:
            return await self.payer(db, tenant_id, kind, ident, settings)
        return await self.payer(db, tenant_id, kind, ident, settings, party.name, party.vat_id)

    async def payer(
        self,
        db: Db,
        tenant_id: TenantId,
        kind: PayerKind,
        ident: str,
        settings: InvoicingSettings,
        name: str | None = None,
        vat_id: str | None = None,
    ) -> Payer:
        """Who a payer is: as was put for the invoices, else as the driver's account has it, else by this name and VAT number."""
        customer = await queries.customer(db, tenant_id, kind, ident)
        if customer is None and kind is PayerKind.DRIVER:
            driver = await self._people.driver(tenant_id, ident, db)
            customer = None if driver is None else _customer_of(driver)
        if customer is None:
            called = name or (
                say("invoice.guest", settings.language) if kind is PayerKind.GUEST else f"{kind.value} {ident}"
            )
            customer = Customer(name=called, vat_id=vat_id)
        check = None
        if customer.vat_id is not None:
            check = await vat_checks.one(db, tenant_id, normalized(customer.vat_id))
        return Payer(kind=kind, id=ident, customer=customer, vat_check=check)


def _customer_of(driver: DriverView) -> Customer:
    name = " ".join(part for part in (driver.first_name, driver.last_name) if part)
    address = driver.billing_address
    country = (address.country if address is not None else None) or driver.country
    return Customer(
        name=driver.company or name or driver.email or f"driver {driver.id}",
        address=None
        if country is None
        else PostalAddress(
            lines=() if address is None else address.lines[:3],
            postal_code=None if address is None else address.postal_code,
            city=None if address is None else address.city,
            country=country,
        ),
        vat_id=driver.tax_id,
        email=driver.email,
        language=driver.language,
    )


def taxing_of(
    settings: InvoicingSettings,
    customer: Customer,
    trusted: bool,
    supply: Supply,
    at: datetime,
    place: str | None,
    region: str | None,
) -> LineTax:
    """How a supply is taxed; there must be an issuer."""
    assert settings.issuer is not None
    on = at.astimezone(settings.zone).date()
    return treatment(settings.issuer, customer, supply, on, place=place, region=region, trusted=trusted)


async def _cdrs(
    db: Db, tenant_id: TenantId, subject: Subject, until: datetime, currency: str | None
) -> tuple[list[CdrToBill], tuple[str, ...], bool]:
    """(to be billed, why others are not, whether there are more)."""
    found = await billing.cdrs(db, tenant_id, subject, until, MOST_CDRS + 1)
    more = len(found) > MOST_CDRS
    found = found[:MOST_CDRS]
    free = [cdr for cdr in found if not cdr.holds]
    holds = tuple(f"CDR {cdr.cdr_id} is held: {', '.join(cdr.holds)}" for cdr in found if cdr.holds)
    chosen = currency or (free[0].currency if free else None)
    same = [cdr for cdr in free if cdr.currency == chosen]
    return same, holds, (more and bool(same)) or (currency is None and len(same) < len(free))


async def _fees(
    db: Db, tenant_id: TenantId, subject: Subject, until: datetime, currency: str | None
) -> list[FeeToBill]:
    """Fees of bookings in one currency: that of the sessions, else of the first fee."""
    found = await billable_fees.to_bill(db, tenant_id, subject, until, MOST_CDRS)
    chosen = currency or (found[0].currency if found else None)
    return [fee for fee in found if fee.currency == chosen]


async def _items(
    db: Db, tenant_id: TenantId, agreement: Agreement, taxing: Taxing, language: str, until: datetime
) -> tuple[list[Charge], list[tuple[str, Period]]]:
    """Fees and minimums of an agreement that fell due and are not billed."""
    if agreement.begun_at is None:
        return [], []
    done = await billing.billed_periods(db, agreement.id)
    zone = ZoneInfo(agreement.time_zone)
    # Every version has its items; what a period costs is what the version says that held when it began.
    names: dict[str, RecurringFee | Minimum] = {}
    for version in agreement.versions:
        for item in version.terms.items:
            if isinstance(item, RecurringFee | Minimum):
                names.setdefault(_item_key(item), item)
    charges: list[Charge] = []
    settled: list[tuple[str, Period]] = []
    for key, first in names.items():
        in_advance = isinstance(first, RecurringFee) and first.in_advance
        for period in periods(first.every, agreement.begun_at, agreement.ends_at, zone, until, in_advance=in_advance):
            if (key, period.start) in done:
                continue
            terms = version_at(agreement, period.start).terms
            held = next((one for one in terms.items if _key_of(one) == key), None)
            if isinstance(held, RecurringFee):
                charge = _fee(held, period, terms, taxing)
            elif isinstance(held, Minimum):
                charge = await _lacking(db, tenant_id, agreement, held, period, terms, taxing, language)
            else:
                continue
            if charge is not None:
                charges.append(charge)
                settled.append((key, period))
    return charges, settled


def _key_of(item: object) -> str | None:
    return _item_key(item) if isinstance(item, RecurringFee | Minimum) else None


def _item_key(item: RecurringFee | Minimum) -> str:
    return f"{'fee' if isinstance(item, RecurringFee) else 'minimum'}:{item.name}"


_COUNTED: Final = {
    Per.ID_TOKEN: ScopeKind.ID_TOKEN,
    Per.STATION: ScopeKind.STATION,
    Per.EVSE: ScopeKind.EVSE,
}


def _count(item: RecurringFee, terms: Terms) -> int:
    """How many units a fee is for: what the scope names, one by one."""
    if item.per is Per.AGREEMENT:
        return 1
    return sum(1 for entry in terms.scope if entry.kind is _COUNTED[item.per] and not entry.exclude)


def _amount(item: RecurringFee, period: Period, terms: Terms) -> Decimal:
    share = period.share if item.prorated else Decimal(1)
    return Money(amount=item.amount.amount * share, currency=item.amount.currency).rounded().amount * _count(
        item, terms
    )


def _fee(item: RecurringFee, period: Period, terms: Terms, taxing: Taxing) -> Charge | None:
    count = _count(item, terms)
    if not count:
        return None
    return Charge(
        kind=LineKind.FEE,
        text=item.name,
        amount=_amount(item, period, terms),
        tax=taxing(Supply.SERVICE, period.start, None, None),
        quantity=Decimal(count),
        since=period.start,
        until=period.end,
        item=_item_key(item),
    )


async def _lacking(
    db: Db,
    tenant_id: TenantId,
    agreement: Agreement,
    item: Minimum,
    period: Period,
    terms: Terms,
    taxing: Taxing,
    language: str,
) -> Charge | None:
    sessions = await billing.billed_between(db, tenant_id, agreement.id, period.start, period.end)
    fees = sum(
        (
            _amount(fee, part, terms)
            for fee in terms.items
            if isinstance(fee, RecurringFee) and agreement.begun_at is not None
            for part in periods(
                fee.every,
                agreement.begun_at,
                agreement.ends_at,
                ZoneInfo(agreement.time_zone),
                period.end,
                in_advance=True,
            )
            if period.start <= part.start < period.end
        ),
        Decimal(0),
    )
    least = Money(amount=item.amount.amount * period.share, currency=item.amount.currency).rounded().amount
    lacking = max(least - sessions - fees, Decimal(0))
    if not lacking:
        return None
    return Charge(
        kind=LineKind.MINIMUM,
        text=say("invoice.minimum", language, name=item.name),
        amount=lacking,
        tax=taxing(Supply.SERVICE, period.start, None, None),
        since=period.start,
        until=period.end,
        item=_item_key(item),
    )


def _method(agreed: BillingMethod, cdrs: Sequence[CdrToBill], *, beside: bool) -> str:
    """How an invoice is paid. What an agreement has paid session by session was paid by then; fees, and sessions for which nothing could be
    held, are transferred."""
    if agreed is BillingMethod.INVOICE:
        return "transfer"
    if agreed in (BillingMethod.CARD, BillingMethod.WALLET) and (beside or any(cdr.payment_id is None for cdr in cdrs)):
        return "transfer"
    return agreed.value


def _content(wanted: Wanted, settings: InvoicingSettings) -> InvoiceContent:
    assert settings.issuer is not None
    sums = summed(wanted.charges, wanted.currency)
    kind = wanted.kind
    if sums.gross < 0:
        kind, sums = InvoiceKind.CREDIT_NOTE, turned(sums)
    days = [
        # The end of a period does not belong to it.
        (one - off).astimezone(settings.zone).date()
        for charge in wanted.charges
        for one, off in ((charge.since, timedelta()), (charge.until, timedelta(microseconds=1)))
        if one
    ]
    return InvoiceContent(
        kind=kind,
        currency=wanted.currency,
        issuer=settings.issuer,
        customer=wanted.payer.customer,
        lines=sums.lines,
        taxes=sums.taxes,
        net=sums.net,
        tax=sums.tax,
        gross=sums.gross,
        terms_days=0 if kind is InvoiceKind.CREDIT_NOTE else wanted.terms_days,
        language=wanted.payer.customer.language or settings.language,
        method=wanted.method,
        since=min(days) if days else None,
        until=max(days) if days else None,
        reference=wanted.reference or wanted.payer.customer.reference,
        agreement=None if wanted.agreement is None else wanted.agreement.number,
        notes=notes_of(sums.taxes),
        vat_check=wanted.payer.vat_check,
    )
