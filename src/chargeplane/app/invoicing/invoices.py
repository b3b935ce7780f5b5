"""Invoices by hand: looked at, issued, paid, credited, written off, sent; and the settings they are made by."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.invoicing import issuing
from chargeplane.app.invoicing.ports import Mailer
from chargeplane.domain.invoicing.model import InvoiceContent, InvoiceKind
from chargeplane.domain.invoicing.parties import Customer, InvoicingSettings, check_customer, check_settings
from chargeplane.domain.invoicing.states import InvoiceState, state_of
from chargeplane.domain.languages import day, money, say
from chargeplane.domain.ledger import PayerKind
from chargeplane.domain.people.mails import Attachment
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import billable_fees, billing
from chargeplane.store.queries import invoices as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.billable_fees import UnbilledFee
from chargeplane.store.queries.billing import Billable
from chargeplane.store.queries.invoices import Invoice, InvoiceFilter, PaymentOnInvoice
from chargeplane.store.queries.paging import Db, Position

_KIND: Final = "invoice"
_REMINDED_AT_ONCE: Final = 200


def _now() -> datetime:
    return datetime.now(UTC)


class Painter(Protocol):
    """Who draws documents; called in a thread."""

    def pdf(self, invoice: Invoice, content: InvoiceContent) -> bytes:
        """The invoice as a PDF, with the e-invoice in it where it can be one."""
        ...

    def cii(self, invoice: Invoice, content: InvoiceContent) -> bytes:
        """EN 16931 in the syntax of UN/CEFACT."""
        ...

    def ubl(self, invoice: Invoice, content: InvoiceContent) -> bytes:
        """EN 16931 in the syntax of UBL 2.1."""
        ...


class InvoiceDetails(Struct, frozen=True, kw_only=True):
    """An invoice with everything."""

    invoice: Invoice
    content: InvoiceContent
    payments: Sequence[PaymentOnInvoice]
    credit_notes: Sequence[Invoice]


class Invoices:
    """Use cases about invoices.

    Args:
        painter: draws them.
        mailer: None: nothing is mailed.
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        painter: Painter,
        mailer: Mailer | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._painter = painter
        self.mailer = mailer
        self._now = now
        self.hint: Callable[[], None] = lambda: None
        """Called after a commit that left facts."""

    # Looked at

    async def page(self, caller: Caller, wanted: InvoiceFilter, limit: int, after: Position | None) -> list[Invoice]:
        """Invoices, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> InvoiceDetails:
        """An invoice.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
            if found is None:
                raise NotFoundError(_KIND, str(ident))
            return InvoiceDetails(
                invoice=found[0],
                content=found[1],
                payments=await queries.payments(db, caller.tenant_id, ident),
                credit_notes=await queries.page(db, caller.tenant_id, InvoiceFilter(credits=ident), 100, None),
            )

    async def unbilled(self, caller: Caller, held: bool | None, limit: int, after: Position | None) -> list[Billable]:
        """CDRs that are on no invoice, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await billing.unbilled(db, caller.tenant_id, held=held, limit=limit, after=after)

    async def unbilled_fees(
        self, caller: Caller, kind: str | None, limit: int, after: Position | None
    ) -> list[UnbilledFee]:
        """Fees of bookings that are on no invoice, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await billable_fees.unbilled(db, caller.tenant_id, kind, limit, after)

    async def document(self, caller: Caller, ident: int, form: str) -> tuple[Invoice, bytes]:
        """An issued invoice as a file; made in a thread.

        Args:
            form: `pdf`, `cii` or `ubl`.
        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is a draft, or cannot be an EN 16931 invoice.
        """
        found = await self.one(caller, ident)
        if found.invoice.number is None:
            raise ConflictError("The invoice is a draft: issue it first.")
        draw = {"pdf": self._painter.pdf, "cii": self._painter.cii, "ubl": self._painter.ubl}[form]
        return found.invoice, await asyncio.to_thread(draw, found.invoice, found.content)

    # Changed

    async def issue(self, caller: Caller, ident: int) -> InvoiceDetails:
        """Gives a draft its number.

        Raises:
            NotFoundError, ConflictError: see `issuing.issue`.
        """
        now = self._now()
        async with self._database.change() as db:
            settings, _ = await queries.settings(db, caller.tenant_id)
            await issuing.issue(db, caller.tenant_id, ident, settings, now)
            for payment_id in await _payments_of(db, ident):
                await issuing.apply_payment(db, caller.tenant_id, payment_id, settings, now)
            await self._audit(db, caller, "issue", ident)
        return await self._changed(caller, ident)

    async def delete(self, caller: Caller, ident: int) -> None:
        """Deletes a draft; what was on it is billed by the next run.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is issued.
        """
        async with self._database.change() as db:
            invoice, content = await issuing.locked(db, caller.tenant_id, ident)
            if invoice.number is not None:
                raise ConflictError(f"Invoice {invoice.number} is issued: credit it instead.")
            await queries.delete_draft(db, ident)
            await self._audit(db, caller, "delete", ident, before=content)

    async def pay(
        self,
        caller: Caller,
        ident: int,
        amount: Money,
        *,
        method: str,
        reference: str | None,
        paid_at: datetime | None,
        key: str | None,
    ) -> InvoiceDetails:
        """Notes what was paid by transfer or cash; of a credit note: what was paid back.

        Args:
            key: the same is noted once, such as the bank's reference of the transfer; None: one is made.
        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is a draft.
            InvalidInputError: the amount is none, or of another currency.
        """
        now = self._now()
        async with self._database.change() as db:
            invoice, _ = await issuing.locked(db, caller.tenant_id, ident)
            if amount.currency != invoice.currency:
                sentence = f"Must be {invoice.currency}, as the invoice is"
                raise InvalidInputError(f"'currency': {sentence}.", (("/amount/currency", sentence),))
            settings, _ = await queries.settings(db, caller.tenant_id)
            await issuing.pay_by_hand(
                db,
                caller.tenant_id,
                ident,
                settings,
                key=f"hand:{key or secrets.token_hex(12)}",
                amount=amount.amount,
                method=method,
                reference=reference,
                paid_at=paid_at or now,
                by=caller.actor,
                now=now,
            )
            await self._audit(db, caller, "pay", ident, after={"amount": amount, "method": method})
        return await self._changed(caller, ident)

    async def credit(self, caller: Caller, ident: int, reason: str, lines: Sequence[int] | None) -> InvoiceDetails:
        """Takes an invoice back, whole or by lines; the credit note.

        Raises:
            NotFoundError, ConflictError, InvalidInputError: see `issuing.credit`.
        """
        async with self._database.change() as db:
            settings, _ = await queries.settings(db, caller.tenant_id)
            made = await issuing.credit(
                db, caller.tenant_id, ident, settings, reason=reason, lines=lines, now=self._now()
            )
            await self._audit(db, caller, "credit", ident, reason=reason, after={"credit_note": str(made)})
        return await self._changed(caller, made)

    async def write_off(self, caller: Caller, ident: int, reason: str) -> InvoiceDetails:
        """Gives up what is still owed.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: nothing is owed.
        """
        async with self._database.change() as db:
            settings, _ = await queries.settings(db, caller.tenant_id)
            amount = await issuing.write_off(db, caller.tenant_id, ident, settings, self._now())
            await self._audit(db, caller, "write-off", ident, reason=reason, after={"amount": amount})
        return await self._changed(caller, ident)

    async def send(self, caller: Caller, ident: int) -> InvoiceDetails:
        """Mails an issued invoice to its customer.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is a draft, the customer has no address for mail, or nothing mails.
        """
        invoice, pdf = await self.document(caller, ident, "pdf")
        content = (await self.one(caller, ident)).content
        if self.mailer is None:
            raise ConflictError("The server sends no mail; fetch the PDF and send it yourself.")
        if content.customer.email is None:
            raise ConflictError("The customer has no e-mail address; fetch the PDF and send it yourself.")
        async with self._database.change() as db:
            await self._mail(db, caller.tenant_id, invoice, content, pdf, level=0)
            await queries.put_sent(db, ident, self._now())
            await issuing.tell(db, caller.tenant_id, "sent", ident)
            await self._audit(db, caller, "send", ident, after={"to": content.customer.email})
        return await self._changed(caller, ident)

    async def _mail(
        self, db: Db, tenant_id: TenantId, invoice: Invoice, content: InvoiceContent, pdf: bytes, level: int
    ) -> None:
        assert self.mailer is not None
        assert content.customer.email is not None
        assert invoice.number is not None
        language = content.language
        owed = invoice.standing.open > 0 and invoice.kind is not InvoiceKind.CREDIT_NOTE
        words = "reminder" if level else "mail" if owed else "mail_paid"
        said = {
            "number": invoice.number,
            "amount": money(invoice.standing.open if owed else content.gross, invoice.currency, language),
            "issuer": content.issuer.name,
            "due": "" if invoice.due_on is None else day(invoice.due_on, language),
            "what": say(f"invoice.{content.kind.value}", language),
        }
        await self.mailer.send(
            db,
            tenant_id,
            to=content.customer.email,
            subject=say("invoice.reminder_subject" if level else "invoice.mail_subject", language, **said),
            text=say(f"invoice.{words}_text", language, **said),
            language=language,
            attachments=(attached(invoice, pdf),),
            driver_id=invoice.driver_id,
        )

    async def mail_issued(self, tenant_id: TenantId, ident: int) -> None:
        """Mails an invoice that was issued, once, where the tenant has them mailed and the customer has an address."""
        async with self._database.read() as db:
            found = await queries.one(db, tenant_id, ident)
            settings, _ = await queries.settings(db, tenant_id)
        if found is None or self.mailer is None or not settings.mail or found[1].customer.email is None:
            return
        if found[0].number is None or found[0].sent_at is not None:
            return
        pdf = await asyncio.to_thread(self._painter.pdf, *found)
        async with self._database.change() as db:
            invoice, content = await issuing.locked(db, tenant_id, ident)
            if invoice.sent_at is not None:
                return
            await self._mail(db, tenant_id, invoice, content, pdf, level=0)
            await queries.put_sent(db, ident, self._now())
            await issuing.tell(db, tenant_id, "sent", ident)
        self.hint()

    async def receipt_of(self, tenant_id: TenantId, payment_id: int) -> tuple[bool, Attachment | None]:
        """(whether there will be one, a guest's receipt as a file once it is issued)."""
        async with self._database.read() as db:
            settings, _ = await queries.settings(db, tenant_id)
            if settings.issuer is None or not settings.receipts:
                return False, None
            ident = await queries.receipt_of_payment(db, tenant_id, payment_id)
            found = None if ident is None else await queries.one(db, tenant_id, ident)
        if found is None:
            return True, None
        return True, attached(found[0], await asyncio.to_thread(self._painter.pdf, *found))

    async def remind(self) -> None:
        """Has what is not paid become overdue, and reminds its customers by the tenant's steps; called now and then."""
        now = self._now()
        async with self._database.read() as db:
            found = await queries.to_remind(db, now.date() + timedelta(days=1), _REMINDED_AT_ONCE)
        for tenant_id, ident in found:
            await self._remind(tenant_id, ident, now)

    async def _remind(self, tenant_id: TenantId, ident: int, now: datetime) -> None:
        async with self._database.read() as db:
            one = await queries.one(db, tenant_id, ident)
        if one is None:
            return
        pdf = None
        if self.mailer is not None and one[1].customer.email is not None:
            pdf = await asyncio.to_thread(self._painter.pdf, *one)
        async with self._database.change() as db:
            invoice, content = await issuing.locked(db, tenant_id, ident)
            settings, _ = await queries.settings(db, tenant_id)
            today = now.astimezone(settings.zone).date()
            assert invoice.due_on is not None
            state = state_of(invoice.standing, invoice.due_on, today)
            if state is not InvoiceState.OVERDUE or invoice.kind is InvoiceKind.CREDIT_NOTE:
                return
            days = (today - invoice.due_on).days
            level = max(invoice.dunning_level, sum(1 for step in settings.dunning if days >= step.after_days))
            await queries.put_dunning(db, ident, level, state, now)
            if invoice.state is not InvoiceState.OVERDUE:
                await issuing.tell(db, tenant_id, "overdue", ident)
            if level > invoice.dunning_level:
                await issuing.tell(db, tenant_id, "reminded", ident)
                if pdf is not None:
                    await self._mail(db, tenant_id, invoice, content, pdf, level)

    # Settings

    async def settings(self, caller: Caller) -> tuple[InvoicingSettings, int]:
        """The tenant's settings and their revision."""
        async with self._database.read() as db:
            return await queries.settings(db, caller.tenant_id)

    async def put_settings(
        self, caller: Caller, said: InvoicingSettings, if_revision: int | None
    ) -> tuple[InvoicingSettings, int]:
        """Replaces the settings; invoices that are issued stay as they are.

        Raises:
            InvalidInputError: something in it cannot be meant.
            StaleError: they have another revision.
        """
        _refuse(check_settings(said))
        async with self._database.change() as db:
            await queries.serialise(db, caller.tenant_id, "settings")
            before, revision = await queries.settings(db, caller.tenant_id)
            if if_revision is not None and if_revision != revision:
                raise StaleError("invoicing settings", revision)
            await queries.put_settings(db, caller.tenant_id, said)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind="invoicing settings",
                ident="1",
                before=before,
                after=said,
            )
        return await self.settings(caller)

    async def customer(self, caller: Caller, kind: PayerKind, ident: str) -> Customer:
        """Who a payer is.

        Raises:
            NotFoundError: nothing was put.
        """
        async with self._database.read() as db:
            found = await queries.customer(db, caller.tenant_id, kind, ident)
        if found is None:
            raise NotFoundError("invoice customer", f"{kind.value} {ident}")
        return found

    async def put_customer(self, caller: Caller, kind: PayerKind, ident: str, said: Customer) -> Customer:
        """Puts who a payer is, for invoices from now on.

        Raises:
            InvalidInputError: something in it cannot be meant.
        """
        _refuse(check_customer(said))
        async with self._database.change() as db:
            before = await queries.customer(db, caller.tenant_id, kind, ident)
            await queries.put_customer(db, caller.tenant_id, kind, ident, said)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind="invoice customer",
                ident=f"{kind.value} {ident}",
                before=before,
                after=said,
            )
        return said

    async def _changed(self, caller: Caller, ident: int) -> InvoiceDetails:
        """The invoice after a change of which facts tell."""
        self.hint()
        return await self.one(caller, ident)

    async def _audit(
        self,
        db: Db,
        caller: Caller,
        action: str,
        ident: int,
        *,
        reason: str | None = None,
        before: object = None,
        after: object = None,
    ) -> None:
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind=_KIND,
            ident=str(ident),
            reason=reason,
            before=before,
            after=after,
        )


def attached(invoice: Invoice, pdf: bytes) -> Attachment:
    """A document as it goes on a mail."""
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in invoice.number or "invoice")
    return Attachment(name=f"{name}.pdf", media_type="application/pdf", content=pdf)


async def _payments_of(db: Db, ident: int) -> list[int]:
    rows = await db.fetch(
        "SELECT payment_id FROM billable_cdr WHERE invoice_id = $1 AND payment_id IS NOT NULL"
        " UNION SELECT payment_id FROM billable_fee WHERE invoice_id = $1 AND payment_id IS NOT NULL ORDER BY 1",
        ident,
    )
    return [row["payment_id"] for row in rows]


def _refuse(faults: Sequence[tuple[str, str]]) -> None:
    if faults:
        pointer, sentence = faults[0]
        raise InvalidInputError(f"'{pointer.rpartition('/')[2]}': {sentence}.", tuple(faults))
