"""/v1/roaming/invoice-reconciliations: which CDRs invoices between partners are made of."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.roaming.reconciliation import NewRecord
from chargeplane.domain.roaming.checking import Verdict
from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.domain.roaming.reconciliation import Comparison, Finding, too_much
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.queries.reconciliation import RECEIVED_SORTS, SENT_SORTS, ReceivedRecord, SentRecord

_KIND = "invoice reconciliation record"
_PARTNER = "roaming partner"

Ident36 = Annotated[str, Meta(min_length=1, max_length=36)]
Cdrs = Annotated[list[Ident36], Meta(min_length=1, max_length=20_000)]
InvoiceId = Annotated[str, Meta(min_length=1, max_length=255)]


class RecordBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which CDRs an invoice is made of.

    Args:
        cdr_ids: ours that the partner was told, or the partner's own that we received (reverse billing).
    """

    invoice_id: InvoiceId
    cdr_ids: Cdrs


class NewRecordBody(RecordBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record for a partner; `id` as the partner is told it."""

    partner_id: Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
    id: Ident36


class SentRecordView(Struct, frozen=True, kw_only=True):
    """A record of ours.

    Args:
        statement_id: the statement that it follows; null where a person made it.
        taken: the partner has one of it.
        deleted_at: when it was taken back.
    """

    id: str
    partner_id: str
    record_id: str
    invoice_id: str
    cdr_ids: list[str]
    statement_id: str | None
    taken: bool
    deleted_at: datetime | None
    revision: int
    last_updated: datetime
    created_at: datetime


class ReceivedRecordView(Struct, frozen=True, kw_only=True):
    """A partner's record.

    Args:
        cdrs: how many CDRs it names.
        gone_at: when the partner took it back.
        invoiced: what the invoice asks, as a person read it.
        settled_at: when a person found it right, or settled it otherwise.
    """

    id: str
    partner_id: str
    partner: str
    record_id: str
    invoice_id: str
    cdrs: int
    gone_at: datetime | None
    invoiced: MoneyView | None
    settled_at: datetime | None
    settled_by: str | None
    note: str | None
    revision: int
    last_updated: datetime
    received_at: datetime


class ComparedCdrView(Struct, frozen=True, kw_only=True):
    """A CDR that does not agree.

    Args:
        cdr_id: as its operator names it.
        finding: missing_here, missing_there, differs, unrated, twice.
        received_cdr_id: ours of a received one, of /v1/roaming/cdrs.
        other_records: that name it too.
    """

    cdr_id: str
    finding: Finding
    received_cdr_id: str | None
    total_excl: MoneyView | None
    total_incl: MoneyView | None
    verdict: Verdict | None
    dispute: DisputeState | None
    other_records: list[str]


class TotalView(Struct, frozen=True, kw_only=True):
    """What the CDRs that we have say together, in a currency."""

    total_excl: MoneyView
    total_incl: MoneyView


class ComparisonView(Struct, frozen=True, kw_only=True):
    """A partner's record compared with what we have.

    Args:
        findings: how many of each kind.
        too_much: what the invoice asks beyond its CDRs; null where that cannot be said.
    """

    record: ReceivedRecordView
    findings: dict[str, int]
    totals: list[TotalView]
    too_much: MoneyView | None
    differences: list[ComparedCdrView]


class SettleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a record is right, or how it was settled.

    Args:
        invoiced: what the invoice asks, taxes included.
    """

    invoiced: Money | None = None
    note: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None


class DisputesBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which CDRs are disputed; null: all that differ."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    cdr_ids: Cdrs | None = None


class Disputed(Struct, frozen=True, kw_only=True):
    """CDRs in dispute now, by their ids of /v1/roaming/cdrs."""

    received_cdr_ids: list[str]


def _sent(row: SentRecord) -> SentRecordView:
    return SentRecordView(
        id=str(row.key),
        partner_id=str(row.connection_id),
        record_id=row.id,
        invoice_id=row.invoice_id,
        cdr_ids=list(row.cdrs),
        statement_id=None if row.statement_id is None else str(row.statement_id),
        taken=row.taken,
        deleted_at=row.deleted_at,
        revision=row.revision,
        last_updated=row.last_updated,
        created_at=row.created_at,
    )


def _received(row: ReceivedRecord) -> ReceivedRecordView:
    return ReceivedRecordView(
        id=str(row.object_key),
        partner_id=str(row.connection_id),
        partner=f"{row.country_code}*{row.party_id}",
        record_id=row.id,
        invoice_id=row.invoice_id,
        cdrs=len(row.cdrs),
        gone_at=row.gone_at,
        invoiced=_money(row.invoiced_amount, row.invoiced_currency),
        settled_at=row.settled_at,
        settled_by=row.settled_by,
        note=row.note,
        revision=row.revision,
        last_updated=row.last_updated,
        received_at=row.received_at,
    )


def _money(amount: Decimal | None, currency: str | None) -> MoneyView | None:
    return None if amount is None or currency is None else Money(amount=amount, currency=currency).view()


def _comparison(row: ReceivedRecord, found: Comparison) -> ComparisonView:
    more = None
    if row.invoiced_amount is not None and row.invoiced_currency is not None:
        more = too_much(Money(amount=row.invoiced_amount, currency=row.invoiced_currency), found.totals)
    return ComparisonView(
        record=_received(row),
        findings={kind.value: number for kind, number in found.findings.items()},
        totals=[
            TotalView(
                total_excl=Money(amount=excl, currency=currency).view(),
                total_incl=Money(amount=incl, currency=currency).view(),
            )
            for currency, (excl, incl) in sorted(found.totals.items())
        ],
        too_much=None if more is None else more.view(),
        differences=[
            ComparedCdrView(
                cdr_id=one.id,
                finding=one.finding,
                received_cdr_id=str(one.cdr.key) if one.cdr is not None and one.cdr.received else None,
                total_excl=None if one.cdr is None else _money(one.cdr.total_excl, one.cdr.currency),
                total_incl=None if one.cdr is None else _money(one.cdr.total_incl, one.cdr.currency),
                verdict=None if one.cdr is None else one.cdr.verdict,
                dispute=None if one.cdr is None else one.cdr.dispute,
                other_records=[] if one.cdr is None else list(one.cdr.other_records),
            )
            for one in found.compared
        ],
    )


def reconciliation_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    use = services.business.roaming_money.reconciliation
    read, write, tags = {"scope": Scope.ROAMING_READ}, {"scope": Scope.ROAMING_WRITE}, ["roaming"]
    sent, received = "/v1/roaming/invoice-reconciliations/sent", "/v1/roaming/invoice-reconciliations/received"

    @get(sent, tags=tags, opt={**read, "sorts": SENT_SORTS})
    async def list_sent_records(
        request: Request[Any, Any, Any],
        partner_id: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[SentRecordView]:
        """Records of ours, newest first. A statement of a roaming agreement brings one by itself."""
        after = begin(request, cursor, sort)
        wanted = None if partner_id is None else ident_of(_PARTNER, partner_id)
        found = await use.sent_page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(_sent)

    @post(sent, tags=tags, opt=write)
    async def make_sent_record(
        request: Request[Any, Any, Any], data: JSONBody[NewRecordBody]
    ) -> Response[SentRecordView]:
        """Tells a partner which CDRs an invoice is made of."""
        new = NewRecord(
            connection_id=int(data.partner_id), ident=data.id, invoice_id=data.invoice_id, cdrs=tuple(data.cdr_ids)
        )
        row = await use.make(caller_of(request), new)
        return Response(_sent(row), headers=etag(row.revision))

    @get(sent + "/{id:str}", tags=tags, opt=read)
    async def get_sent_record(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[SentRecordView]:
        """A record of ours."""
        row = await use.sent(caller_of(request), ident_of(_KIND, id))
        return Response(_sent(row), headers=etag(row.revision))

    @put(sent + "/{id:str}", tags=tags, opt=write)
    async def change_sent_record(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[RecordBody], if_match: IfMatch = None
    ) -> Response[SentRecordView]:
        """Says anew which CDRs an invoice is made of; the partner is told."""
        row = await use.change(
            caller_of(request), ident_of(_KIND, id), data.invoice_id, tuple(data.cdr_ids), revision_of(if_match)
        )
        return Response(_sent(row), headers=etag(row.revision))

    @delete(sent + "/{id:str}", tags=tags, opt=write)
    async def take_back_sent_record(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Takes a record back that was an error; the partner is told."""
        await use.take_back(caller_of(request), ident_of(_KIND, id))

    @get(received, tags=tags, opt={**read, "sorts": RECEIVED_SORTS})
    async def list_received_records(
        request: Request[Any, Any, Any],
        partner_id: Text = None,
        open: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ReceivedRecordView]:
        """Partners' records, newest first; `open=true`: those that nobody settled."""
        after = begin(request, cursor, sort)
        wanted = None if partner_id is None else ident_of(_PARTNER, partner_id)
        found = await use.received_page(caller_of(request), wanted, open, limit + 1, after)
        return page_of(request, found, limit, after).of(_received)

    @get(received + "/{id:str}", tags=tags, opt=read)
    async def get_received_record(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[ComparisonView]:
        """A partner's record, compared with the CDRs that we have."""
        row, found = await use.received(caller_of(request), ident_of(_KIND, id))
        return Response(_comparison(row, found), headers=etag(row.revision))

    @post(received + "/{id:str}/settle", tags=tags, opt=write, status_code=200)
    async def settle_received_record(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[SettleBody], if_match: IfMatch = None
    ) -> Response[ComparisonView]:
        """Says that a record is right, or how it was settled, and what the invoice asks."""
        money = data.invoiced
        if money is not None and not (
            money.amount.is_finite() and abs(money.amount) <= 1_000_000_000 and _is_currency(money.currency)
        ):
            sentence = "Must be an amount in a currency of ISO 4217"
            raise InvalidInputError(f"'invoiced': {sentence}.", (("/invoiced", sentence),))
        row, found = await use.settle(caller_of(request), ident_of(_KIND, id), money, data.note, revision_of(if_match))
        return Response(_comparison(row, found), headers=etag(row.revision))

    @post(received + "/{id:str}/disputes", tags=tags, opt=write, status_code=200)
    async def dispute_received_record(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[DisputesBody]
    ) -> Disputed:
        """Opens disputes about CDRs of a record."""
        found = await use.dispute(caller_of(request), ident_of(_KIND, id), data.reason, data.cdr_ids)
        return Disputed(received_cdr_ids=[str(one) for one in found])

    return [
        list_sent_records,
        make_sent_record,
        get_sent_record,
        change_sent_record,
        take_back_sent_record,
        list_received_records,
        get_received_record,
        settle_received_record,
        dispute_received_record,
    ]


def _is_currency(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()
