"""/v1/me: a driver's invoices, payments, accounts and agreements."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.agreements.views import VersionView
from chargeplane.app.payments.payments import PaymentDetails
from chargeplane.app.people.own import MyAgreement
from chargeplane.domain.agreements.model import AgreementKind, AgreementState
from chargeplane.domain.agreements.states import Action
from chargeplane.domain.invoicing.model import InvoiceKind
from chargeplane.domain.invoicing.states import InvoiceState
from chargeplane.domain.payments.states import PaymentState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    page_of,
)
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.routes.invoices import (
    InvoiceDetailsView,
    InvoiceView,
    file_of,
    invoice_details,
    invoice_view,
)
from chargeplane.edges.http.routes.ledger import Day, day_of
from chargeplane.edges.http.routes.payments import TopUpWanted
from chargeplane.edges.http.services import Services
from chargeplane.kernel.time import as_utc
from chargeplane.store.queries.agreements import AGREEMENT_SORTS, AgreementFilter
from chargeplane.store.queries.invoices import INVOICE_SORTS, InvoiceFilter
from chargeplane.store.queries.payment_accounts import MOVEMENT_SORTS, AccountView, EntryView
from chargeplane.store.queries.payments import PAYMENT_SORTS, PaymentFilter, PaymentView

_MINE = {"driver": True}
_Reason = Annotated[str, Meta(min_length=1, max_length=500)]


class MyAccounts(Struct, kw_only=True):
    """One's wallets and credit accounts."""

    items: list[AccountView]


class MyAnswer(Struct, kw_only=True, forbid_unknown_fields=True):
    """An answer to what was proposed."""

    reason: _Reason | None = None


class MyEnd(Struct, kw_only=True, forbid_unknown_fields=True):
    """Notice.

    Args:
        ends_at: null: as soon as the notice allows.
    """

    reason: _Reason | None = None
    ends_at: Annotated[datetime, Meta(tz=True)] | None = None


class MyVersions(Struct, kw_only=True):
    """All versions of an agreement, the newest first."""

    items: list[VersionView]


def my_money_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    own = services.business.own

    @get("/v1/me/invoices", tags=["me"], opt={**_MINE, "sorts": INVOICE_SORTS})
    async def list_my_invoices(
        request: Request[Any, Any, Any],
        invoice_state: Annotated[InvoiceState | None, QueryParameter(name="state")] = None,
        kind: FromQuery[InvoiceKind | None] = None,
        since: Day = None,
        until: Day = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[InvoiceView]:
        """One's invoices and credit notes, newest first. `since` and `until` (not included) are days of issue."""
        wanted = InvoiceFilter(
            state=invoice_state and invoice_state.value,
            kind=kind and kind.value,
            since=day_of("since", since),
            until=day_of("until", until),
        )
        after = begin(request, cursor, sort)
        found = await own.invoices(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(invoice_view)

    @get("/v1/me/invoices/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_invoice(request: Request[Any, Any, Any], id: FromPath[str]) -> InvoiceDetailsView:
        """An invoice of one's own with its lines, taxes, payments and credit notes."""
        return invoice_details(await own.invoice(caller_of(request), ident_of("invoice", id)))

    @get("/v1/me/invoices/{id:str}/pdf", tags=["me"], opt={**_MINE, "files": ("application/pdf",)})
    async def get_my_invoice_pdf(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[bytes]:
        """The invoice as PDF/A-3, with the EN 16931 e-invoice in it (Factur-X)."""
        found, made = await own.invoice_file(caller_of(request), ident_of("invoice", id), "pdf")
        return file_of(made, "application/pdf", f"{found.number}.pdf")

    @get("/v1/me/payments", tags=["me"], opt={**_MINE, "sorts": PAYMENT_SORTS})
    async def list_my_payments(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[PaymentState | None, QueryParameter(name="state")] = None,
        purpose: Text = None,
        session_id: Text = None,
        created_from: From = None,
        created_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[PaymentView]:
        """One's payments, newest first."""
        after = begin(request, cursor, sort)
        wanted = PaymentFilter(
            state=wanted_state and wanted_state.value,
            purpose=purpose,
            session_id=None if session_id is None else ident_of("session", session_id),
            created_from=time_of("created_from", created_from),
            created_to=time_of("created_to", created_to),
        )
        found = await own.payments(caller_of(request), wanted, limit + 1, after)
        return page_of(request, list(found), limit, after)

    @get("/v1/me/payments/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_payment(request: Request[Any, Any, Any], id: FromPath[str]) -> PaymentDetails:
        """A payment of one's own with what was done with it."""
        return await own.payment(caller_of(request), ident_of("payment", id))

    @get("/v1/me/accounts", tags=["me"], opt=_MINE)
    async def list_my_accounts(request: Request[Any, Any, Any]) -> MyAccounts:
        """One's wallets and credit accounts with their balances."""
        return MyAccounts(items=await own.accounts(caller_of(request)))

    @get("/v1/me/accounts/{id:str}/entries", tags=["me"], opt={**_MINE, "sorts": MOVEMENT_SORTS})
    async def list_my_entries(
        request: Request[Any, Any, Any],
        id: FromPath[str],
        kind: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EntryView]:
        """What moved on a wallet or credit account, newest first."""
        after = begin(request, cursor, sort)
        found = await own.entries(caller_of(request), ident_of("account", id), kind, limit + 1, after)
        return page_of(request, list(found), limit, after)

    @post("/v1/me/accounts/{id:str}/top-ups", tags=["me"], opt=_MINE)
    async def top_up_my_wallet(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[TopUpWanted]
    ) -> Response[PaymentView]:
        """A payment for one's wallet; its amount is there when it is captured. Go to `action_url` to pay."""
        made = await own.top_up(
            caller_of(request), ident_of("wallet", id), data.amount.money(), data.provider, data.return_url
        )
        return Response(made, headers={"Location": f"/v1/me/payments/{made.id}"})

    # Agreements

    @get("/v1/me/agreements", tags=["me"], opt={**_MINE, "sorts": AGREEMENT_SORTS})
    async def list_my_agreements(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[AgreementState | None, QueryParameter(name="state")] = None,
        kind: FromQuery[AgreementKind | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[MyAgreement]:
        """Agreements that one is a party of, as of now; with those that wait for one's answer (`state=proposed`)."""
        after = begin(request, cursor, sort)
        wanted = AgreementFilter(now=datetime.now(UTC), state=wanted_state, kind=kind)
        found = await own.agreements(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/me/agreements/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_agreement(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[MyAgreement]:
        """An agreement that one is a party of."""
        view = await own.agreement(caller_of(request), ident_of("agreement", id))
        return Response(view, headers=etag(view.revision))

    @get("/v1/me/agreements/{id:str}/versions", tags=["me"], opt=_MINE)
    async def list_my_agreement_versions(request: Request[Any, Any, Any], id: FromPath[str]) -> MyVersions:
        """All its versions with their terms and documents."""
        return MyVersions(items=await own.agreement_versions(caller_of(request), ident_of("agreement", id)))

    @post("/v1/me/agreements/{id:str}/accept", tags=["me"], opt=_MINE, status_code=200)
    async def accept_my_agreement(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[MyAnswer], if_match: IfMatch = None
    ) -> Response[MyAgreement]:
        """Accepts what was proposed. With If-Match, exactly what was read."""
        return await answered(request, id, Action.ACCEPT, data.reason, if_match)

    @post("/v1/me/agreements/{id:str}/reject", tags=["me"], opt=_MINE, status_code=200)
    async def reject_my_agreement(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[MyAnswer], if_match: IfMatch = None
    ) -> Response[MyAgreement]:
        """Rejects what was proposed."""
        return await answered(request, id, Action.REJECT, data.reason, if_match)

    @post("/v1/me/agreements/{id:str}/end", tags=["me"], opt=_MINE, status_code=200)
    async def end_my_agreement(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[MyEnd], if_match: IfMatch = None
    ) -> Response[MyAgreement]:
        """Gives notice: it ends as soon as the notice allows, or at `ends_at`."""
        ends_at = None if data.ends_at is None else as_utc(data.ends_at)
        return await answered(request, id, Action.END, data.reason, if_match, ends_at)

    async def answered(
        request: Request[Any, Any, Any],
        id: str,
        action: Action,
        reason: str | None,
        if_match: str | None,
        ends_at: datetime | None = None,
    ) -> Response[MyAgreement]:
        view = await own.act_on_agreement(
            caller_of(request),
            ident_of("agreement", id),
            action,
            reason=reason,
            ends_at=ends_at,
            if_revision=revision_of(if_match),
        )
        return Response(view, status_code=200, headers=etag(view.revision))

    @post("/v1/me/agreements/{id:str}/amendments/{version:str}/accept", tags=["me"], opt=_MINE, status_code=200)
    async def accept_my_amendment(
        request: Request[Any, Any, Any], id: FromPath[str], version: FromPath[str], data: JSONBody[MyAnswer]
    ) -> MyAgreement:
        """Accepts an amendment."""
        number = ident_of("version", version)
        return await own.act_on_agreement(
            caller_of(request), ident_of("agreement", id), Action.ACCEPT, version=number, reason=data.reason
        )

    @post("/v1/me/agreements/{id:str}/amendments/{version:str}/reject", tags=["me"], opt=_MINE, status_code=200)
    async def reject_my_amendment(
        request: Request[Any, Any, Any], id: FromPath[str], version: FromPath[str], data: JSONBody[MyAnswer]
    ) -> MyAgreement:
        """Rejects an amendment; the terms stay as they are."""
        number = ident_of("version", version)
        return await own.act_on_agreement(
            caller_of(request), ident_of("agreement", id), Action.REJECT, version=number, reason=data.reason
        )

    return [
        list_my_invoices,
        get_my_invoice,
        get_my_invoice_pdf,
        list_my_payments,
        get_my_payment,
        list_my_accounts,
        list_my_entries,
        top_up_my_wallet,
        list_my_agreements,
        get_my_agreement,
        list_my_agreement_versions,
        accept_my_agreement,
        reject_my_agreement,
        end_my_agreement,
        accept_my_amendment,
        reject_my_amendment,
    ]
