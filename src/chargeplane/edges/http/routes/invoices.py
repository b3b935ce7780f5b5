"""/v1/invoices, /v1/billing-runs, /v1/tax-profiles: what is billed and how."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.invoicing.exports import ExportFormat, Exports
from chargeplane.app.invoicing.invoices import InvoiceDetails, Invoices
from chargeplane.app.invoicing.runs import BillingRuns, Preview
from chargeplane.app.invoicing.vat import VatChecks
from chargeplane.domain.agreements.model import BillingCycle
from chargeplane.domain.bookings.fees import FeeKind
from chargeplane.domain.invoicing.model import BookingEvidence, Evidence, InvoiceContent, InvoiceKind, Line, LineKind
from chargeplane.domain.invoicing.parties import Customer, InvoicingSettings, Issuer
from chargeplane.domain.invoicing.runs import ItemState, RunOrder, RunState
from chargeplane.domain.invoicing.states import InvoiceState
from chargeplane.domain.invoicing.taxes import LineTax, TaxProfile, profiles
from chargeplane.domain.ledger import PayerKind
from chargeplane.domain.vat_numbers import VatCheck
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import money_view
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of
from chargeplane.edges.http.routes.ledger import Day, Reason, day_of, streamed
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.kernel.time import as_utc
from chargeplane.store.queries.billable_fees import FEE_SORTS, UnbilledFee
from chargeplane.store.queries.billing import ITEM_SORTS, RUN_SORTS, UNBILLED_SORTS, Billable, Run, RunItem
from chargeplane.store.queries.invoices import INVOICE_SORTS, Invoice, InvoiceFilter

Instant = Annotated[datetime, Meta(tz=True)]
Ident = Annotated[str | None, QueryParameter(pattern="^[0-9]{1,18}$")]
_READ = {"scope": Scope.INVOICES_READ}
_WRITE = {"scope": Scope.INVOICES_WRITE}


class InvoiceView(Struct, kw_only=True):
    """An invoice.

    Args:
        number: null in a draft.
        open: what is still owed; of a credit note what is to be paid back.
        credits: id of the invoice that a credit note takes back.
    """

    id: str
    kind: InvoiceKind
    state: InvoiceState
    number: str | None
    customer: str
    payer_kind: PayerKind
    payer_id: str
    agreement_id: str | None
    driver_id: str | None
    payment_id: str | None
    billing_run_id: str | None
    net: MoneyView
    tax: MoneyView
    gross: MoneyView
    paid: MoneyView
    credited: MoneyView
    written_off: MoneyView
    open: MoneyView
    credits: str | None
    reason: str | None
    issued_on: date | None
    due_on: date | None
    dunning_level: int
    sent_at: datetime | None
    created_at: datetime
    issued_at: datetime | None


class TaxLineView(Struct, kw_only=True):
    """What a tax makes of the lines that have it."""

    tax: LineTax
    base: MoneyView
    amount: MoneyView


class LineView(Struct, kw_only=True):
    """A line.

    Args:
        gross: null where prices are without tax.
        evidence: of a session: the CDR with its rating lines, and these in words.
        booking: of a fee for a booking: which one, and its rating lines in words.
    """

    number: int
    kind: LineKind
    text: str
    quantity: Decimal
    net: MoneyView
    gross: MoneyView | None
    tax: LineTax
    since: datetime | None
    until: datetime | None
    evidence: Evidence | None
    booking: BookingEvidence | None


class PaidView(Struct, kw_only=True):
    """What was paid; `surplus` is more than was owed."""

    id: str
    amount: MoneyView
    surplus: MoneyView
    method: str
    reference: str | None
    paid_at: datetime
    by: str


class InvoiceDetailsView(InvoiceView, kw_only=True):
    """An invoice with what it says.

    Args:
        vat_check: what was known of the customer's VAT number when it was made; null: nobody had asked.
    """

    issuer: Issuer
    to: Customer
    language: str
    lines: list[LineView]
    taxes: list[TaxLineView]
    notes: list[str]
    since: date | None
    until: date | None
    reference: str | None
    agreement_number: str | None
    credited_number: str | None
    vat_check: VatCheck | None
    payments: list[PaidView]
    credit_notes: list[InvoiceView]


class Amount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount, as text."""

    amount: Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]


class Pay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was paid by hand.

    Args:
        key: of the payment, such as the bank's reference: the same is noted once.
        paid_at: null: now.
    """

    amount: Amount
    method: Annotated[str, Meta(pattern="^[a-z_]{1,30}$")] = "transfer"
    reference: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    key: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    paid_at: Instant | None = None


class Credit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is taken back.

    Args:
        lines: numbers of lines; null: all that are left.
    """

    reason: Reason
    lines: (
        Annotated[tuple[Annotated[int, Meta(ge=1, le=1_000_000)], ...], Meta(min_length=1, max_length=10_000)] | None
    ) = None


class WriteOff(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it is given up."""

    reason: Reason


class NewVatCheck(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A VAT number with its country in front."""

    vat_id: Annotated[str, Meta(min_length=4, max_length=20)]


class NewRun(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A billing run.

    Args:
        key: the same is the same run.
        until: what ended before is billed, of agreements up to the end of their last whole cycle; null: now.
        cycles: of agreements; empty: all.
        agreement_ids: these alone; empty: all.
        guests: payments and drivers without an agreement too.
        issue: false leaves drafts.
    """

    key: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    until: Instant | None = None
    cycles: Annotated[tuple[BillingCycle, ...], Meta(max_length=4)] = ()
    agreement_ids: Annotated[tuple[Annotated[str, Meta(pattern="^[0-9]{1,18}$")], ...], Meta(max_length=1000)] = ()
    guests: bool = True
    issue: bool = True


class RunView(Struct, kw_only=True):
    """A billing run and how far it is: `done` of `items`."""

    id: str
    key: str
    state: RunState
    until: datetime
    cycles: list[BillingCycle]
    guests: bool
    issue: bool
    items: int
    done: int
    failed: int
    created_at: datetime
    created_by: str
    finished_at: datetime | None


class RunItemView(Struct, kw_only=True):
    """A subject (`agreement:12`, `payment:7`, `driver:3`) and what became of it; `reason` names CDRs that are held."""

    number: int
    subject: str
    state: ItemState
    invoice_id: str | None
    reason: str | None


class PreviewView(Struct, kw_only=True):
    """What a run would bill of a subject."""

    subject: str
    kind: InvoiceKind | None
    net: MoneyView | None
    tax: MoneyView | None
    gross: MoneyView | None
    lines: list[LineView]
    reason: str | None


class UnbilledFeeView(Struct, kw_only=True):
    """A fee of a booking that is on no invoice yet; nobody is billed where it has neither agreement, nor driver, nor payment.

    Args:
        kind: no_show, cancellation, booking.
        gross: with the tax of the place.
    """

    id: str
    booking_id: str
    kind: str
    session_id: str | None
    agreement_id: str | None
    driver_id: str | None
    payment_id: str | None
    net: MoneyView
    gross: MoneyView
    fell_due_at: datetime


class UnbilledView(Struct, kw_only=True):
    """A CDR that is on no invoice; `holds` names why it may not be."""

    cdr_id: str
    session_id: str
    kind: str
    agreement_id: str | None
    driver_id: str | None
    payment_id: str | None
    currency: str | None
    ended_at: datetime
    holds: list[str]


def _int(value: str | None) -> int | None:
    return None if value is None else int(value)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _fields(found: Invoice) -> dict[str, Any]:
    def money(amount: Decimal) -> MoneyView:
        return money_view(amount, found.currency)

    return {
        "id": str(found.id),
        "kind": found.kind,
        "state": found.state,
        "number": found.number,
        "customer": found.customer,
        "payer_kind": found.payer_kind,
        "payer_id": found.payer_id,
        "agreement_id": _text(found.agreement_id),
        "driver_id": _text(found.driver_id),
        "payment_id": _text(found.payment_id),
        "billing_run_id": _text(found.run_id),
        "net": money(found.net),
        "tax": money(found.tax),
        "gross": money(found.gross),
        "paid": money(found.paid),
        "credited": money(found.credited),
        "written_off": money(found.written_off),
        "open": money(found.standing.open),
        "credits": _text(found.credits),
        "reason": found.reason,
        "issued_on": found.issued_on,
        "due_on": found.due_on,
        "dunning_level": found.dunning_level,
        "sent_at": found.sent_at,
        "created_at": found.created_at,
        "issued_at": found.issued_at,
    }


def invoice_view(found: Invoice) -> InvoiceView:
    return InvoiceView(**_fields(found))


def _line(line: Line, currency: str) -> LineView:
    return LineView(
        number=line.number,
        kind=line.kind,
        text=line.text,
        quantity=line.quantity,
        net=money_view(line.net, currency),
        gross=None if line.gross is None else money_view(line.gross, currency),
        tax=line.tax,
        since=line.since,
        until=line.until,
        evidence=line.evidence,
        booking=line.booking,
    )


def invoice_details(found: InvoiceDetails) -> InvoiceDetailsView:
    content, currency = found.content, found.invoice.currency
    return InvoiceDetailsView(
        **_fields(found.invoice),
        issuer=content.issuer,
        to=content.customer,
        language=content.language,
        lines=[_line(line, currency) for line in content.lines],
        taxes=[
            TaxLineView(tax=one.tax, base=money_view(one.base, currency), amount=money_view(one.amount, currency))
            for one in content.taxes
        ],
        notes=list(content.notes),
        since=content.since,
        until=content.until,
        reference=content.reference,
        agreement_number=content.agreement,
        credited_number=content.credited_number,
        vat_check=content.vat_check,
        payments=[
            PaidView(
                id=str(one.id),
                amount=money_view(one.amount, currency),
                surplus=money_view(one.surplus, currency),
                method=one.method,
                reference=one.reference,
                paid_at=one.paid_at,
                by=one.created_by,
            )
            for one in found.payments
        ],
        credit_notes=[invoice_view(one) for one in found.credit_notes],
    )


def _run(found: Run) -> RunView:
    return RunView(
        id=str(found.id),
        key=found.key,
        state=found.state,
        until=found.until,
        cycles=list(found.order.cycles),
        guests=found.order.guests,
        issue=found.order.issue,
        items=found.items,
        done=found.done,
        failed=found.failed,
        created_at=found.created_at,
        created_by=found.created_by,
        finished_at=found.finished_at,
    )


def _item(found: RunItem) -> RunItemView:
    return RunItemView(
        number=found.number,
        subject=found.subject,
        state=found.state,
        invoice_id=_text(found.invoice_id),
        reason=found.reason,
    )


def _preview(found: Preview) -> PreviewView:
    content: InvoiceContent | None = found.content
    if content is None:
        return PreviewView(
            subject=found.subject, kind=None, net=None, tax=None, gross=None, lines=[], reason=found.reason
        )
    return PreviewView(
        subject=found.subject,
        kind=content.kind,
        net=money_view(content.net, content.currency),
        tax=money_view(content.tax, content.currency),
        gross=money_view(content.gross, content.currency),
        lines=[_line(line, content.currency) for line in content.lines],
        reason=found.reason,
    )


def _unbilled(found: Billable) -> UnbilledView:
    return UnbilledView(
        cdr_id=str(found.cdr_id),
        session_id=str(found.session_id),
        kind=found.kind,
        agreement_id=_text(found.agreement_id),
        driver_id=_text(found.driver_id),
        payment_id=_text(found.payment_id),
        currency=found.currency,
        ended_at=found.ended_at,
        holds=list(found.holds),
    )


def _unbilled_fee(found: UnbilledFee) -> UnbilledFeeView:
    return UnbilledFeeView(
        id=str(found.id),
        booking_id=str(found.booking_id),
        kind=found.kind,
        session_id=_text(found.session_id),
        agreement_id=_text(found.agreement_id),
        driver_id=_text(found.driver_id),
        payment_id=_text(found.payment_id),
        net=money_view(found.net, found.currency),
        gross=money_view(found.gross, found.currency),
        fell_due_at=found.fell_due_at,
    )


def _order(data: NewRun) -> RunOrder:
    return RunOrder(
        cycles=data.cycles,
        agreement_ids=tuple(int(ident) for ident in data.agreement_ids),
        guests=data.guests,
        issue=data.issue,
    )


def _money(amount: Amount) -> Money:
    try:
        return Money(amount=Decimal(amount.amount), currency=amount.currency)
    except InvalidOperation:
        raise InvalidInputError("'amount': Not a number.", (("/amount/amount", "Not a number"),)) from None


def invoice_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    return [
        *_invoice_routes(business.invoices, business.exports),
        *_run_routes(business.billing_runs),
        *_more(business.invoices),
        *_vat_routes(business.vat_checks),
    ]


def _invoice_routes(invoices: Invoices, exports: Exports) -> list[HTTPRouteHandler]:
    @get("/v1/invoices", tags=["invoices"], opt={**_READ, "sorts": INVOICE_SORTS})
    async def list_invoices(
        request: Request[Any, Any, Any],
        invoice_state: Annotated[InvoiceState | None, QueryParameter(name="state")] = None,
        kind: FromQuery[InvoiceKind | None] = None,
        agreement_id: Ident = None,
        driver_id: Ident = None,
        payment_id: Ident = None,
        billing_run_id: Ident = None,
        q: Text = None,
        since: Day = None,
        until: Day = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[InvoiceView]:
        """Invoices, newest first. `since` and `until` (not included) are days of issue; `q` is looked for in number and customer."""
        wanted = InvoiceFilter(
            state=invoice_state and invoice_state.value,
            kind=kind and kind.value,
            agreement_id=_int(agreement_id),
            driver_id=_int(driver_id),
            payment_id=_int(payment_id),
            run_id=_int(billing_run_id),
            q=q,
            since=day_of("since", since),
            until=day_of("until", until),
        )
        after = begin(request, cursor, sort)
        found = await invoices.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(invoice_view)

    @get(
        "/v1/invoices/export",
        tags=["invoices"],
        opt={
            **_READ,
            "files": (
                "application/jsonl",
                "text/csv",
            ),
        },
    )
    async def export_invoices(
        request: Request[Any, Any, Any],
        format: FromQuery[ExportFormat] = ExportFormat.JSONL,
        lines: FromQuery[bool] = False,
        since: Day = None,
        until: Day = None,
    ) -> Stream:
        """Issued invoices, or their lines, oldest first, as JSON lines or CSV; amounts of credit notes are below nothing."""
        if format is ExportFormat.DATEV:
            sentence = "Only the ledger is written for DATEV; take csv or jsonl"
            raise InvalidInputError(f"'format': {sentence}.", (("/format", sentence),))
        wanted = InvoiceFilter(since=day_of("since", since), until=day_of("until", until))
        made = (exports.lines if lines else exports.invoices)(caller_of(request), format, wanted)
        return streamed(made, format, "invoice-lines" if lines else "invoices")

    @get("/v1/invoices/{invoice_id:str}", tags=["invoices"], opt=_READ)
    async def get_invoice(request: Request[Any, Any, Any], invoice_id: FromPath[str]) -> Response[InvoiceDetailsView]:
        """An invoice with its lines, taxes, payments and credit notes."""
        found = await invoices.one(caller_of(request), ident_of("invoice", invoice_id))
        return Response(invoice_details(found), headers=etag(found.invoice.revision))

    @get("/v1/invoices/{invoice_id:str}/pdf", tags=["invoices"], opt={**_READ, "files": ("application/pdf",)})
    async def get_invoice_pdf(request: Request[Any, Any, Any], invoice_id: FromPath[str]) -> Response[bytes]:
        """The invoice as PDF/A-3, with the EN 16931 e-invoice in it (Factur-X)."""
        found, made = await invoices.document(caller_of(request), ident_of("invoice", invoice_id), "pdf")
        return file_of(made, "application/pdf", f"{found.number}.pdf")

    @get("/v1/invoices/{invoice_id:str}/xml", tags=["invoices"], opt={**_READ, "files": ("application/xml",)})
    async def get_invoice_xml(
        request: Request[Any, Any, Any],
        invoice_id: FromPath[str],
        syntax: Annotated[
            str, QueryParameter(pattern="^(cii|ubl)$", description="cii: UN/CEFACT; ubl: UBL 2.1.")
        ] = "cii",
    ) -> Response[bytes]:
        """The invoice by EN 16931."""
        found, made = await invoices.document(caller_of(request), ident_of("invoice", invoice_id), syntax)
        return file_of(made, "application/xml", f"{found.number}.xml")

    @post("/v1/invoices/{invoice_id:str}/issue", tags=["invoices"], opt=_WRITE, status_code=200)
    async def issue_invoice(request: Request[Any, Any, Any], invoice_id: FromPath[str]) -> InvoiceDetailsView:
        """Gives a draft its number; it never changes from then on."""
        return invoice_details(await invoices.issue(caller_of(request), ident_of("invoice", invoice_id)))

    @delete("/v1/invoices/{invoice_id:str}", tags=["invoices"], opt=_WRITE)
    async def delete_invoice(request: Request[Any, Any, Any], invoice_id: FromPath[str]) -> None:
        """Deletes a draft; what was on it is billed by the next run."""
        await invoices.delete(caller_of(request), ident_of("invoice", invoice_id))

    @post("/v1/invoices/{invoice_id:str}/payments", tags=["invoices"], opt=_WRITE)
    async def pay_invoice(
        request: Request[Any, Any, Any], invoice_id: FromPath[str], data: JSONBody[Pay]
    ) -> InvoiceDetailsView:
        """Notes what was paid: in full, in part, or too much. Of a credit note: what was paid back."""
        found = await invoices.pay(
            caller_of(request),
            ident_of("invoice", invoice_id),
            _money(data.amount),
            method=data.method,
            reference=data.reference,
            paid_at=None if data.paid_at is None else as_utc(data.paid_at),
            key=data.key,
        )
        return invoice_details(found)

    @post("/v1/invoices/{invoice_id:str}/credit", tags=["invoices"], opt=_WRITE)
    async def credit_invoice(
        request: Request[Any, Any, Any], invoice_id: FromPath[str], data: JSONBody[Credit]
    ) -> InvoiceDetailsView:
        """Takes an invoice back, whole or by lines, with a credit note, which is returned."""
        found = await invoices.credit(caller_of(request), ident_of("invoice", invoice_id), data.reason, data.lines)
        return invoice_details(found)

    @post("/v1/invoices/{invoice_id:str}/write-off", tags=["invoices"], opt=_WRITE, status_code=200)
    async def write_off_invoice(
        request: Request[Any, Any, Any], invoice_id: FromPath[str], data: JSONBody[WriteOff]
    ) -> InvoiceDetailsView:
        """Gives up what is still owed."""
        return invoice_details(
            await invoices.write_off(caller_of(request), ident_of("invoice", invoice_id), data.reason)
        )

    @post("/v1/invoices/{invoice_id:str}/send", tags=["invoices"], opt=_WRITE, status_code=200)
    async def send_invoice(request: Request[Any, Any, Any], invoice_id: FromPath[str]) -> InvoiceDetailsView:
        """Mails the invoice to its customer."""
        return invoice_details(await invoices.send(caller_of(request), ident_of("invoice", invoice_id)))

    return [
        list_invoices,
        export_invoices,
        get_invoice,
        get_invoice_pdf,
        get_invoice_xml,
        issue_invoice,
        delete_invoice,
        pay_invoice,
        credit_invoice,
        write_off_invoice,
        send_invoice,
    ]


def _run_routes(runs: BillingRuns) -> list[HTTPRouteHandler]:
    @post("/v1/billing-runs", tags=["invoices"], opt=_WRITE, status_code=202)
    async def create_billing_run(request: Request[Any, Any, Any], data: JSONBody[NewRun]) -> Response[RunView]:
        """Begins a billing run; its progress is in `done` of `items`. A run that is killed goes on where it stood."""
        until = None if data.until is None else as_utc(data.until)
        found = await runs.create(caller_of(request), _order(data), until, data.key)
        return Response(_run(found), headers={"Location": f"/v1/billing-runs/{found.id}"}, status_code=202)

    @post("/v1/billing-runs/preview", tags=["invoices"], opt=_READ, status_code=200)
    async def preview_billing_run(request: Request[Any, Any, Any], data: JSONBody[NewRun]) -> Page[PreviewView]:
        """What a run would bill, of the first 200 subjects; writes nothing."""
        until = None if data.until is None else as_utc(data.until)
        found = await runs.preview(caller_of(request), _order(data), until)
        return Page(items=[_preview(one) for one in found], next_cursor=None)

    @get("/v1/billing-runs", tags=["invoices"], opt={**_READ, "sorts": RUN_SORTS})
    async def list_billing_runs(
        request: Request[Any, Any, Any],
        run_state: Annotated[RunState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[RunView]:
        """Billing runs, newest first."""
        after = begin(request, cursor, sort)
        found = await runs.page(caller_of(request), run_state and run_state.value, limit + 1, after)
        return page_of(request, found, limit, after).of(_run)

    @get("/v1/billing-runs/{run_id:str}", tags=["invoices"], opt=_READ)
    async def get_billing_run(request: Request[Any, Any, Any], run_id: FromPath[str]) -> RunView:
        """A billing run."""
        return _run(await runs.one(caller_of(request), ident_of("billing run", run_id)))

    @get("/v1/billing-runs/{run_id:str}/items", tags=["invoices"], opt={**_READ, "sorts": ITEM_SORTS})
    async def list_billing_run_items(
        request: Request[Any, Any, Any],
        run_id: FromPath[str],
        item_state: Annotated[ItemState | None, QueryParameter(name="state")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[RunItemView]:
        """What a run bills and what became of it; `reason` says which CDRs stay off and why."""
        after = begin(request, cursor, sort)
        ident = ident_of("billing run", run_id)
        found = await runs.items(caller_of(request), ident, item_state and item_state.value, limit + 1, after)
        page = page_of(request, found, limit, after)
        return Page(items=[_item(one) for one in page.items], next_cursor=page.next_cursor)

    @post("/v1/billing-runs/{run_id:str}/retry", tags=["invoices"], opt=_WRITE, status_code=202)
    async def retry_billing_run(request: Request[Any, Any, Any], run_id: FromPath[str]) -> RunView:
        """Has the items that failed once more."""
        return _run(await runs.again(caller_of(request), ident_of("billing run", run_id)))

    return [
        create_billing_run,
        preview_billing_run,
        list_billing_runs,
        get_billing_run,
        list_billing_run_items,
        retry_billing_run,
    ]


def _more(invoices: Invoices) -> list[HTTPRouteHandler]:
    @get("/v1/unbilled-cdrs", tags=["invoices"], opt={**_READ, "sorts": UNBILLED_SORTS})
    async def list_unbilled_cdrs(
        request: Request[Any, Any, Any],
        held: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[UnbilledView]:
        """CDRs that are on no invoice yet, newest first; held ones with the reasons."""
        after = begin(request, cursor, sort)
        found = await invoices.unbilled(caller_of(request), held, limit + 1, after)
        page = page_of(request, found, limit, after)
        return Page(items=[_unbilled(one) for one in page.items], next_cursor=page.next_cursor)

    @get("/v1/unbilled-fees", tags=["invoices"], opt={**_READ, "sorts": FEE_SORTS})
    async def list_unbilled_fees(
        request: Request[Any, Any, Any],
        kind: FromQuery[FeeKind | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[UnbilledFeeView]:
        """Fees of bookings that are on no invoice yet, newest first."""
        after = begin(request, cursor, sort)
        found = await invoices.unbilled_fees(caller_of(request), kind and kind.value, limit + 1, after)
        page = page_of(request, found, limit, after)
        return Page(items=[_unbilled_fee(one) for one in page.items], next_cursor=page.next_cursor)

    @get("/v1/tax-profiles", tags=["invoices"], opt=_READ)
    async def list_tax_profiles() -> Page[TaxProfile]:
        """The taxes of countries, with rates and from when to when they hold."""
        return Page(items=list(profiles().values()), next_cursor=None)

    @get("/v1/tax-profiles/{country:str}", tags=["invoices"], opt=_READ)
    async def get_tax_profile(country: FromPath[str]) -> TaxProfile:
        """The taxes of a country."""
        found = profiles().get(country.upper())
        if found is None:
            raise NotFoundError("tax profile", country[:60])
        return found

    @get("/v1/invoicing-settings", tags=["invoices"], opt=_READ)
    async def get_invoicing_settings(request: Request[Any, Any, Any]) -> Response[InvoicingSettings]:
        """Who issues the invoices, how they are numbered, and when reminders go out."""
        found, revision = await invoices.settings(caller_of(request))
        return Response(found, headers=etag(revision))

    @put("/v1/invoicing-settings", tags=["invoices"], opt=_WRITE)
    async def put_invoicing_settings(
        request: Request[Any, Any, Any], data: JSONBody[InvoicingSettings], if_match: IfMatch = None
    ) -> Response[InvoicingSettings]:
        """Replaces the settings; what is issued stays as it is."""
        found, revision = await invoices.put_settings(caller_of(request), data, revision_of(if_match))
        return Response(found, headers=etag(revision))

    @get("/v1/invoice-customers/{kind:str}/{customer_id:str}", tags=["invoices"], opt=_READ)
    async def get_invoice_customer(
        request: Request[Any, Any, Any], kind: FromPath[str], customer_id: FromPath[str]
    ) -> Customer:
        """Who a payer is to the invoices, where that was put; else drivers' accounts tell."""
        found = await invoices.customer(caller_of(request), _payer_kind(kind), customer_id)
        return found

    @put("/v1/invoice-customers/{kind:str}/{customer_id:str}", tags=["invoices"], opt=_WRITE)
    async def put_invoice_customer(
        request: Request[Any, Any, Any],
        kind: FromPath[str],
        customer_id: FromPath[str],
        data: JSONBody[Customer],
    ) -> Customer:
        """Puts who a payer is: address, VAT number, exemption, where the e-invoice goes."""
        if not 1 <= len(customer_id) <= 255 or not customer_id.isprintable():
            raise NotFoundError("invoice customer", customer_id[:60])
        found = await invoices.put_customer(caller_of(request), _payer_kind(kind), customer_id, data)
        return found

    return [
        list_unbilled_cdrs,
        list_unbilled_fees,
        list_tax_profiles,
        get_tax_profile,
        get_invoicing_settings,
        put_invoicing_settings,
        get_invoice_customer,
        put_invoice_customer,
    ]


def _vat_routes(checks: VatChecks) -> list[HTTPRouteHandler]:
    @post("/v1/vat-checks", tags=["invoices"], opt=_WRITE, status_code=200)
    async def check_vat_number(request: Request[Any, Any, Any], data: JSONBody[NewVatCheck]) -> VatCheck:
        """Asks the register for a VAT number now; `unknown` with the reason where it does not say."""
        return await checks.check(caller_of(request), data.vat_id)

    @get("/v1/vat-checks/{vat_id:str}", tags=["invoices"], opt=_READ)
    async def get_vat_check(request: Request[Any, Any, Any], vat_id: FromPath[str]) -> VatCheck:
        """What was said of a VAT number last."""
        return await checks.one(caller_of(request), vat_id)

    return [check_vat_number, get_vat_check]


def _payer_kind(text: str) -> PayerKind:
    try:
        return PayerKind(text)
    except ValueError:
        raise NotFoundError("kind of customer", text[:60]) from None


def file_of(content: bytes, media_type: str, name: str) -> Response[bytes]:
    shown = "".join(char if char.isalnum() or char in "-._" else "_" for char in name)
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{shown}"'})
