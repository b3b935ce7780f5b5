"""/v1/partner-statements: what site hosts get, and how we stand with roaming partners; /v1/partner-cdrs: what these sent."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.settlements import NewPartnerCdr, Settlements, StatementDetails
from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.domain.settlements.model import SettlementKind, Statement, StatementLine, StatementLineKind
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import money_view
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import ident_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.kernel.time import as_utc
from chargeplane.store.queries.settlements_of_partners import (
    PARTNER_CDR_SORTS,
    STATEMENT_SORTS,
    PartnerCdr,
    StoredStatement,
)

_READ: dict[str, Any] = {"scope": Scope.LEDGER_READ}
_WRITE: dict[str, Any] = {"scope": Scope.LEDGER_WRITE}
_Instant = Annotated[datetime, Meta(tz=True)]
_PartyId = Annotated[
    str, Meta(pattern=r"^[A-Za-z]{2}\*[A-Za-z0-9]{3}$", description="Country code and party id, as `DE*ABC`.")
]
_Number = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$")]
_Agreement = Annotated[str | None, QueryParameter(pattern="^[0-9]{1,18}$")]
_Party = Annotated[str | None, QueryParameter(pattern=r"^[A-Za-z]{2}\*[A-Za-z0-9]{3}$", description="As `DE*ABC`.")]


class StatementLineView(Struct, kw_only=True):
    """One amount and how it comes about.

    Args:
        version: of the agreement's terms.
        sessions, energy_kwh: of the CDRs it rests on, credits taken off.
        revenue: of them, before tax; `energy_cost` is taken off it where the share is one of the margin.
        base: what `percent` is taken of.
        tax: in the amount; of roaming.
    """

    kind: StatementLineKind
    name: str
    version: int
    sessions: int
    energy_kwh: Decimal
    revenue: MoneyView | None
    energy_cost: MoneyView | None
    base: MoneyView | None
    percent: Decimal | None
    per_kwh: MoneyView | None
    tax: MoneyView | None
    amount: MoneyView


class PartnerStatementView(Struct, kw_only=True):
    """A statement.

    Args:
        id, number: null of a preview.
        party: whose account of the ledger: `payable:<party>`.
        period_end: not included.
        late: CDRs among it that ended before the period.
        payable: what we owe by it, before tax; below nothing: what is owed to us.
    """

    id: str | None
    number: str | None
    kind: SettlementKind
    agreement_id: str
    agreement_number: str
    party: str
    name: str
    period_start: datetime
    period_end: datetime
    sessions: int
    energy_kwh: Decimal
    late: int
    lines: list[StatementLineView]
    payable: MoneyView
    created_at: datetime | None
    created_by: str | None
    paid_at: datetime | None
    paid_reference: str | None


class NewStatement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be settled.

    Args:
        agreement_id: of a site host, or of roaming.
        until: what ended before; null: up to the end of the agreement's last whole billing cycle, or its own end.
    """

    agreement_id: Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
    until: _Instant | None = None


class PaidStatement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That it was paid; `paid_at` null: now."""

    reference: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    paid_at: _Instant | None = None


class CdrAmount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount, as text."""

    amount: _Number
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]


class NewPartnerCdrBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A CDR that a roaming partner sent of one of our drivers.

    Args:
        cdr_id: the partner's; the same one again changes nothing.
        credit: it takes another one back: its amounts count below nothing.
        country: where it was charged, ISO 3166-1 alpha-2.
    """

    party: _PartyId
    cdr_id: Annotated[str, Meta(min_length=1, max_length=39)]
    started_at: _Instant
    ended_at: _Instant
    energy_wh: _Number
    total_excl: CdrAmount
    total_incl: CdrAmount
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$")]
    credit: bool = False
    id_token: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class PartnerCdrView(Struct, kw_only=True):
    """A CDR that a roaming partner sent; below nothing of a credit.

    Args:
        agreement_id: by which it is settled; null where there was none when it came.
        received_cdr_id: where it came over OCPI: as under /v1/roaming/received-cdrs.
        dispute: where one is, or was: what is `open` or `accepted` is on no statement.
    """

    id: str
    agreement_id: str | None
    party: str
    cdr_id: str
    credit: bool
    id_token: str | None
    started_at: datetime
    ended_at: datetime
    energy_wh: Decimal
    total_excl: MoneyView
    total_incl: MoneyView
    country: str
    statement_id: str | None
    received_at: datetime
    received_cdr_id: str | None
    dispute: DisputeState | None


def _line(line: StatementLine, currency: str) -> StatementLineView:
    def money(amount: Decimal | None) -> MoneyView | None:
        return None if amount is None else money_view(amount, currency)

    return StatementLineView(
        kind=line.kind,
        name=line.name,
        version=line.version,
        sessions=line.sessions,
        energy_kwh=line.energy_kwh,
        revenue=money(line.revenue),
        energy_cost=money(line.energy_cost),
        base=money(line.base),
        percent=line.percent,
        per_kwh=money(line.per_kwh),
        tax=money(line.tax),
        amount=money_view(line.amount, currency),
    )


def _view(said: Statement, agreement_id: int, stored: StoredStatement | None) -> PartnerStatementView:
    return PartnerStatementView(
        id=None if stored is None else str(stored.id),
        number=None if stored is None else stored.number,
        kind=said.kind,
        agreement_id=str(agreement_id),
        agreement_number=said.agreement,
        party=said.party,
        name=said.name,
        period_start=said.period_start,
        period_end=said.period_end,
        sessions=said.sessions,
        energy_kwh=said.energy_kwh,
        late=said.late,
        lines=[_line(line, said.currency) for line in said.lines],
        payable=money_view(said.payable, said.currency),
        created_at=None if stored is None else stored.created_at,
        created_by=None if stored is None else stored.created_by,
        paid_at=None if stored is None else stored.paid_at,
        paid_reference=None if stored is None else stored.paid_reference,
    )


def _stored(stored: StoredStatement) -> PartnerStatementView:
    return _view(stored.statement, stored.agreement_id, stored)


def _made(agreement_id: int, found: StatementDetails) -> PartnerStatementView:
    return _view(found.statement, agreement_id, found.stored)


def _cdr(found: PartnerCdr) -> PartnerCdrView:
    return PartnerCdrView(
        id=str(found.id),
        agreement_id=None if found.agreement_id is None else str(found.agreement_id),
        party=found.party,
        cdr_id=found.cdr_id,
        credit=found.credit,
        id_token=found.id_token,
        started_at=found.started_at,
        ended_at=found.ended_at,
        energy_wh=found.energy_wh,
        total_excl=money_view(found.total_excl, found.currency),
        total_incl=money_view(found.total_incl, found.currency),
        country=found.country,
        statement_id=None if found.statement_id is None else str(found.statement_id),
        received_at=found.received_at,
        received_cdr_id=None if found.object_key is None else str(found.object_key),
        dispute=found.dispute,
    )


def _money(name: str, said: CdrAmount) -> Money:
    try:
        return Money(amount=Decimal(said.amount), currency=said.currency)
    except InvalidOperation:
        raise InvalidInputError(f"'{name}': Not a number.", ((f"/{name}/amount", "Not a number"),)) from None


def partner_settlement_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    settlements = services.business.settlements
    return [*_statements(settlements), *_cdrs(settlements)]


def _statements(settlements: Settlements) -> list[HTTPRouteHandler]:
    @get("/v1/partner-statements", tags=["settlements"], opt={**_READ, "sorts": STATEMENT_SORTS})
    async def list_partner_statements(
        request: Request[Any, Any, Any],
        agreement_id: _Agreement = None,
        kind: FromQuery[SettlementKind | None] = None,
        paid: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[PartnerStatementView]:
        """Statements of site hosts and roaming partners, newest first."""
        after = begin(request, cursor, sort)
        found = await settlements.page(
            caller_of(request),
            agreement_id=None if agreement_id is None else int(agreement_id),
            kind=kind,
            paid=paid,
            limit=limit + 1,
            after=after,
        )
        return page_of(request, found, limit, after).of(_stored)

    @post("/v1/partner-statements", tags=["settlements"], opt=_WRITE)
    async def create_partner_statement(
        request: Request[Any, Any, Any], data: JSONBody[NewStatement]
    ) -> Response[PartnerStatementView]:
        """Makes the statement of an agreement for what ended since the last one, and books what a site host gets by it."""
        ident, until = int(data.agreement_id), None if data.until is None else as_utc(data.until)
        made = _made(ident, await settlements.settle(caller_of(request), ident, until))
        return Response(made, headers={"Location": f"/v1/partner-statements/{made.id}"}, status_code=201)

    @post("/v1/partner-statements/preview", tags=["settlements"], opt=_READ, status_code=200)
    async def preview_partner_statement(
        request: Request[Any, Any, Any], data: JSONBody[NewStatement]
    ) -> PartnerStatementView:
        """What it would say; writes nothing."""
        ident, until = int(data.agreement_id), None if data.until is None else as_utc(data.until)
        return _made(ident, await settlements.settle(caller_of(request), ident, until, dry=True))

    @get("/v1/partner-statements/{statement_id:str}", tags=["settlements"], opt=_READ)
    async def get_partner_statement(
        request: Request[Any, Any, Any], statement_id: FromPath[str]
    ) -> PartnerStatementView:
        """A statement."""
        return _stored(await settlements.one(caller_of(request), ident_of("partner statement", statement_id)))

    @get(
        "/v1/partner-statements/{statement_id:str}/pdf",
        tags=["settlements"],
        opt={**_READ, "files": ("application/pdf",)},
    )
    async def get_partner_statement_pdf(
        request: Request[Any, Any, Any], statement_id: FromPath[str]
    ) -> Response[bytes]:
        """The statement as PDF/A-3, in the language of the invoicing settings."""
        found, made = await settlements.document(caller_of(request), ident_of("partner statement", statement_id))
        disposition = f'attachment; filename="{found.number}.pdf"'
        return Response(made, media_type="application/pdf", headers={"Content-Disposition": disposition})

    @post("/v1/partner-statements/{statement_id:str}/pay", tags=["settlements"], opt=_WRITE, status_code=200)
    async def pay_partner_statement(
        request: Request[Any, Any, Any], statement_id: FromPath[str], data: JSONBody[PaidStatement]
    ) -> PartnerStatementView:
        """Notes that what we owe by it was paid, and books it."""
        ident = ident_of("partner statement", statement_id)
        paid_at = None if data.paid_at is None else as_utc(data.paid_at)
        return _stored(await settlements.pay(caller_of(request), ident, data.reference, paid_at))

    return [
        list_partner_statements,
        create_partner_statement,
        preview_partner_statement,
        get_partner_statement,
        get_partner_statement_pdf,
        pay_partner_statement,
    ]


def _cdrs(settlements: Settlements) -> list[HTTPRouteHandler]:
    @get("/v1/partner-cdrs", tags=["settlements"], opt={**_READ, "sorts": PARTNER_CDR_SORTS})
    async def list_partner_cdrs(
        request: Request[Any, Any, Any],
        party: _Party = None,
        open: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[PartnerCdrView]:
        """CDRs that roaming partners sent, newest first; `open` ones are on no statement yet."""
        after = begin(request, cursor, sort)
        found = await settlements.partner_cdrs(caller_of(request), party=party, open=open, limit=limit + 1, after=after)
        page = page_of(request, found, limit, after)
        return Page(items=[_cdr(one) for one in page.items], next_cursor=page.next_cursor)

    @post("/v1/partner-cdrs", tags=["settlements"], opt=_WRITE)
    async def create_partner_cdr(request: Request[Any, Any, Any], data: JSONBody[NewPartnerCdrBody]) -> PartnerCdrView:
        """Keeps a partner's CDR and books what we owe for it, by the roaming agreement with it."""
        new = NewPartnerCdr(
            party=data.party,
            cdr_id=data.cdr_id,
            started_at=as_utc(data.started_at),
            ended_at=as_utc(data.ended_at),
            energy_wh=Decimal(data.energy_wh),
            total_excl=_money("total_excl", data.total_excl),
            total_incl=_money("total_incl", data.total_incl),
            country=data.country,
            credit=data.credit,
            id_token=data.id_token,
        )
        return _cdr(await settlements.receive(caller_of(request), new))

    return [list_partner_cdrs, create_partner_cdr]
