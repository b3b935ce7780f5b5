"""/v1/transactions."""

from __future__ import annotations

import enum
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.transactions import TransactionDetails
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    decode_cursor,
    encode_cursor,
    page_of,
)
from chargeplane.edges.http.routes.common import From, Text, To, ident_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.transactions import (
    TRANSACTION_EVENT_SORTS,
    TRANSACTION_SORTS,
    MeterValueView,
    TransactionEventView,
    TransactionFilter,
    TransactionView,
)


class TransactionStateWord(enum.StrEnum):
    """Whether a transaction goes on."""

    OPEN = "open"
    CLOSED = "closed"


class Closing(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a transaction is closed by hand."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


def transaction_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    transactions = services.transactions

    @get("/v1/transactions", tags=["transactions"], opt={"scope": Scope.TRANSACTIONS_READ, "sorts": TRANSACTION_SORTS})
    async def list_transactions(
        request: Request[Any, Any, Any],
        station_id: Text = None,
        id_token: Text = None,
        wanted_state: Annotated[TransactionStateWord | None, QueryParameter(name="state")] = None,
        started_from: From = None,
        started_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TransactionView]:
        """Transactions, newest first."""
        after = begin(request, cursor, sort)
        wanted = TransactionFilter(
            station_id=station_id,
            id_token=id_token,
            is_open=None if wanted_state is None else wanted_state is TransactionStateWord.OPEN,
            started_from=time_of("started_from", started_from),
            started_to=time_of("started_to", started_to),
        )
        found = await transactions.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/transactions/{transaction_id:str}", tags=["transactions"], opt={"scope": Scope.TRANSACTIONS_READ})
    async def get_transaction(request: Request[Any, Any, Any], transaction_id: FromPath[str]) -> TransactionView:
        """A transaction."""
        return await transactions.one(caller_of(request), ident_of("transaction", transaction_id))

    @get("/v1/transactions/{transaction_id:str}/details", tags=["transactions"], opt={"scope": Scope.TRANSACTIONS_READ})
    async def get_transaction_details(
        request: Request[Any, Any, Any], transaction_id: FromPath[str]
    ) -> TransactionDetails:
        """How the time of a transaction was spent, charging and idle; its limits; and what its station last said when it was asked
        about it."""
        return await transactions.details(caller_of(request), ident_of("transaction", transaction_id))

    @post(
        "/v1/transactions/{transaction_id:str}/close",
        tags=["transactions"],
        opt={"scope": Scope.TRANSACTIONS_WRITE},
        status_code=200,
    )
    async def close_transaction(
        request: Request[Any, Any, Any], transaction_id: FromPath[str], data: JSONBody[Closing]
    ) -> TransactionView:
        """Closes an open transaction by hand with its last known value; the audit log keeps who and why."""
        return await transactions.close(caller_of(request), ident_of("transaction", transaction_id), data.reason)

    @get(
        "/v1/transactions/{transaction_id:str}/events",
        tags=["transactions"],
        opt={"scope": Scope.TRANSACTIONS_READ, "sorts": TRANSACTION_EVENT_SORTS},
    )
    async def list_transaction_events(
        request: Request[Any, Any, Any],
        transaction_id: FromPath[str],
        kind: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TransactionEventView]:
        """The messages of a transaction as received, in order of arrival."""
        ident = ident_of("transaction", transaction_id)
        after = begin(request, cursor, sort)
        found = await transactions.events(caller_of(request), ident, kind, limit + 1, after)
        return page_of(request, found, limit, after)

    @get(
        "/v1/transactions/{transaction_id:str}/meter-values",
        tags=["transactions"],
        opt={"scope": Scope.TRANSACTIONS_READ},
    )
    async def list_meter_values(
        request: Request[Any, Any, Any], transaction_id: FromPath[str], limit: Limit = 50, cursor: Cursor = None
    ) -> Page[MeterValueView]:
        """The meter values of a transaction in base units, in order of arrival."""
        ident = ident_of("transaction", transaction_id)
        after = decode_cursor("meter-values", cursor, (int, int))
        found = await transactions.meter_values(caller_of(request), ident, limit + 1, after)
        more = encode_cursor("meter-values", found[limit - 1][0]) if len(found) > limit else None
        return Page(items=[view for _, view in found[:limit]], next_cursor=more)

    return [
        list_transactions,
        get_transaction,
        get_transaction_details,
        close_transaction,
        list_transaction_events,
        list_meter_values,
    ]
