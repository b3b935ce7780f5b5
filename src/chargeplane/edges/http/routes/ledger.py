"""/v1/ledger: accounts with balances, entries, the check, closing of periods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.invoicing.exports import ExportFormat
from chargeplane.app.ledger import CheckReport
from chargeplane.domain.ledger import AccountType, EntryKind
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import money_view
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.money import MoneyView
from chargeplane.store.queries.ledger import BALANCE_SORTS, LEDGER_ENTRY_SORTS, BalanceView, EntryFilter, StoredEntry

Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Currency = Annotated[str | None, QueryParameter(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Day = Annotated[
    str | None, QueryParameter(description="RFC 3339 full-date, as 2026-01-31.", schema_extra={"format": "date"})
]


class AccountView(Struct, kw_only=True):
    """An account in one currency.

    Args:
        debit, credit: what was posted on either side.
        balance: debit less credit.
    """

    code: str
    type: AccountType
    debit: MoneyView
    credit: MoneyView
    balance: MoneyView
    postings: int


class PostingView(Struct, kw_only=True):
    """A line of an entry; debit above nothing, credit below."""

    account: str
    amount: MoneyView


class EntryView(Struct, kw_only=True):
    """What was booked together.

    Args:
        key: the event it books; a tenant books it once.
        reverses, reversed_by: keys of entries.
    """

    id: str
    key: str
    kind: EntryKind
    text: str
    booked_on: date
    happened_at: datetime
    reference_kind: str | None
    reference: str | None
    reverses: str | None
    reversed_by: str | None
    postings: list[PostingView]
    created_at: datetime


class Because(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason


class Close(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last day of a period, included."""

    until: date


def day_of(name: str, text: str | None) -> date | None:
    """A day from the query.

    Raises:
        ProblemError: it is none.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        sentence = "Not a day such as 2026-01-31"
        raise ProblemError(
            400, "malformed-request", f"'{name}': {sentence}.", errors=[FieldProblem(detail=sentence, parameter=name)]
        ) from None


def _account(found: BalanceView) -> AccountView:
    return AccountView(
        code=found.code,
        type=found.type,
        debit=money_view(found.debit, found.currency),
        credit=money_view(found.credit, found.currency),
        balance=money_view(found.balance, found.currency),
        postings=found.postings,
    )


def _entry(found: StoredEntry) -> EntryView:
    entry = found.entry
    return EntryView(
        id=str(found.id),
        key=entry.key,
        kind=entry.kind,
        text=entry.text,
        booked_on=found.booked_on,
        happened_at=entry.happened_at,
        reference_kind=entry.reference_kind,
        reference=entry.reference,
        reverses=entry.reverses,
        reversed_by=found.reversed_by,
        postings=[
            PostingView(account=one.account.code, amount=money_view(one.amount.amount, one.amount.currency))
            for one in entry.postings
        ],
        created_at=found.created_at,
    )


def ledger_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    ledger = services.business.ledger
    exports = services.business.exports

    @get("/v1/ledger/accounts", tags=["ledger"], opt={"scope": Scope.LEDGER_READ, "sorts": BALANCE_SORTS})
    async def list_ledger_accounts(
        request: Request[Any, Any, Any],
        q: Text = None,
        type: FromQuery[AccountType | None] = None,
        currency: Currency = None,
        until: Day = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[AccountView]:
        """Accounts with their balances, by code. `until` counts what was booked before that day; `q` is looked for in codes."""
        after = begin(request, cursor, sort)
        found = await ledger.balances(
            caller_of(request),
            q=q,
            type=type and type.value,
            currency=currency,
            until=day_of("until", until),
            limit=limit + 1,
            after=after,
        )
        page = page_of(request, found, limit, after)
        return Page(items=[_account(one) for one in page.items], next_cursor=page.next_cursor)

    @get("/v1/ledger/entries", tags=["ledger"], opt={"scope": Scope.LEDGER_READ, "sorts": LEDGER_ENTRY_SORTS})
    async def list_ledger_entries(
        request: Request[Any, Any, Any],
        kind: FromQuery[EntryKind | None] = None,
        account: Text = None,
        reference_kind: Text = None,
        reference: Text = None,
        since: Day = None,
        until: Day = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EntryView]:
        """Entries with their postings, newest first. `since` and `until` (not included) are days."""
        wanted = _filter(kind, account, reference_kind, reference, since, until)
        after = begin(request, cursor, sort)
        return page_of(request, await ledger.page(caller_of(request), wanted, limit + 1, after), limit, after).of(
            _entry
        )

    @get("/v1/ledger/entries/{entry_id:str}", tags=["ledger"], opt={"scope": Scope.LEDGER_READ})
    async def get_ledger_entry(request: Request[Any, Any, Any], entry_id: FromPath[str]) -> EntryView:
        """An entry."""
        return _entry(await ledger.one(caller_of(request), ident_of("ledger entry", entry_id)))

    @post("/v1/ledger/entries/{entry_id:str}/reverse", tags=["ledger"], opt={"scope": Scope.LEDGER_WRITE})
    async def reverse_ledger_entry(
        request: Request[Any, Any, Any], entry_id: FromPath[str], data: JSONBody[Because]
    ) -> EntryView:
        """Takes an entry back by its reversal, which is returned. What belongs to an invoice is credited instead."""
        return _entry(await ledger.reverse(caller_of(request), ident_of("ledger entry", entry_id), data.reason))

    @get("/v1/ledger/check", tags=["ledger"], opt={"scope": Scope.LEDGER_READ})
    async def check_ledger(request: Request[Any, Any, Any]) -> CheckReport:
        """Checks everything: that every entry balances and is whole, that reversals take back what they say, that invoices and entries agree."""
        return await ledger.check(caller_of(request))

    @post("/v1/ledger/closes", tags=["ledger"], opt={"scope": Scope.LEDGER_WRITE})
    async def close_ledger(request: Request[Any, Any, Any], data: JSONBody[Close]) -> CheckReport:
        """Checks everything and closes the days up to one. What is booked later for them counts on the first open day."""
        return await ledger.close(caller_of(request), data.until)

    @get(
        "/v1/ledger/export",
        tags=["ledger"],
        opt={"scope": Scope.LEDGER_READ, "files": ("application/jsonl", "text/csv")},
    )
    async def export_ledger(
        request: Request[Any, Any, Any],
        format: FromQuery[ExportFormat] = ExportFormat.JSONL,
        since: Day = None,
        until: Day = None,
    ) -> Stream:
        """All postings with their entries, oldest first, as JSON lines, CSV, or CSV as DATEV reads it."""
        lines = exports.ledger(
            caller_of(request), format, EntryFilter(since=day_of("since", since), until=day_of("until", until))
        )
        return streamed(lines, format, "ledger")

    return [
        list_ledger_accounts,
        list_ledger_entries,
        get_ledger_entry,
        reverse_ledger_entry,
        check_ledger,
        close_ledger,
        export_ledger,
    ]


def _filter(
    kind: EntryKind | None,
    account: str | None,
    reference_kind: str | None,
    reference: str | None,
    since: str | None,
    until: str | None,
) -> EntryFilter:
    return EntryFilter(
        kind=kind and kind.value,
        account=account,
        reference_kind=reference_kind,
        reference=reference,
        since=day_of("since", since),
        until=day_of("until", until),
    )


def streamed(lines: AsyncIterator[bytes], format: ExportFormat, name: str) -> Stream:
    """A file that is sent while it is made."""
    json = format is ExportFormat.JSONL
    return Stream(
        lines,
        media_type="application/jsonl" if json else "text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.{"jsonl" if json else "csv"}"'},
    )
