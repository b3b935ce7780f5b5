"""Every list has filters, sort and cursor: a census over the OpenAPI document and the routes behind it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import pytest

from chargeplane.edges.http.paging import encode_cursor
from chargeplane.edges.http.routes import route_handlers
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.queries import billing, campaigns, plug_and_charge, roaming_outgoing, transactions
from chargeplane.store.queries.cdrs import CDR_SORTS
from chargeplane.store.queries.paging import Position, Sorts
from tests.support.drivers import driver_of
from tests.support.rest import Rest, StationDouble, assert_problem

_RANKED: Final = "a search: what fits best comes first, and what is not around a point has no other order"
WITHOUT_SORT: Final = {
    "list_variables": "in the order of names, by which a device model is read",
    "list_meter_values": "pieces of messages, in the order in which these came",
    "search_offers": _RANKED,
    "search_my_offers": _RANKED,
    "list_partner_locations": _RANKED,
    "list_partner_locations_for_me": _RANKED,
    "list_places_for_me": _RANKED,
    "search_bookings_at_partners": _RANKED,
}
"""Lists with pages in one order, with the reason."""

_FEW: Final = "a handful, kept by hand"
_OF_ONE: Final = "what belongs to one thing, and is told apart by nothing else"
WITHOUT_FILTER: Final = {
    "list_template_versions": _OF_ONE,
    "list_tariff_versions": _OF_ONE,
    "list_meter_values": _OF_ONE,
    "list_my_payment_methods": _FEW,
    "list_sign_on_providers": _FEW,
    "list_roaming_parties": _FEW,
}
WITHOUT_PAGES: Final = {
    "list_meter_public_keys": "those of one station's meters, all at once",
    "list_tax_profiles": "a table that comes with the server",
    "list_payment_providers": _FEW,
}
"""Lists that are always given whole, with the reason."""

_VALUES: Final[dict[type, Any]] = {
    int: 7,
    str: "m",
    float: 1.5,
    Decimal: Decimal("7.25"),
    datetime: datetime(2026, 5, 1, 12, tzinfo=UTC),
    date: date(2026, 5, 1),
}


def _lists(document: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Path, operation and schema of an item of all that answers items and a cursor."""
    schemas = document["components"]["schemas"]

    def whole(schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = schemas[schema["$ref"].split("/")[-1]]
        return schema

    found = []
    for path, item in document["paths"].items():
        content = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        fields = {} if content is None else whole(content["schema"]).get("properties", {})
        if {"items", "next_cursor"} <= fields.keys():
            found.append((path, item["get"], whole(fields["items"]["items"])))
    return found


async def test_every_list_has_filters_a_sort_and_a_cursor(rest: Rest) -> None:
    document = (await rest.client.get("/v1/openapi.json")).json()
    lists = _lists(document)
    assert len(lists) > 90
    named = {operation["operationId"] for _, operation, _ in lists}
    assert (WITHOUT_SORT.keys() | WITHOUT_FILTER.keys() | WITHOUT_PAGES.keys()) <= named
    for path, operation, item in lists:
        name = operation["operationId"]
        query = {one["name"]: one for one in operation.get("parameters", []) if one["in"] == "query"}
        if name in WITHOUT_PAGES:
            assert not query, path
            continue
        assert {"limit", "cursor"} <= query.keys(), path
        assert ("sort" in query) == (name not in WITHOUT_SORT), path
        assert bool(query.keys() - {"limit", "cursor", "sort", "language"}) == (name not in WITHOUT_FILTER), path
        if "sort" in query:
            choices = query["sort"]["schema"]["enum"]
            keys = {choice.removeprefix("-") for choice in choices}
            assert set(choices) == keys | {f"-{key}" for key in keys}, path
            assert keys <= item["properties"].keys(), (path, keys - item["properties"].keys())


def _sorted_lists(rest: Rest) -> dict[str, tuple[str, Sorts]]:
    """Handler name to path and what it may be sorted by."""
    found = {}
    for handler in route_handlers(rest.services):
        sorts = handler.opt.get("sorts")
        if sorts is not None:
            found[handler.handler_name] = (min(handler.paths), sorts)
    return found


async def _things(rest: Rest) -> dict[str, str]:
    """Makes one of each that has lists of its own; what their paths begin with, to the id."""

    async def made(path: str, body: dict[str, Any]) -> str:
        answer = await rest.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    price = {"price_components": [{"type": "ENERGY", "price": "0.5", "step_size": 1}]}
    tariff = {"id": "T", "currency": "EUR", "elements": [price], "tax_included": "NO"}
    template = {
        "name": "of all",
        "selector": {"every": True},
        "variables": [{"variable": "HeartbeatInterval", "value": "60"}],
    }
    return {
        "/v1/wallets/": await made("/v1/wallets", {"owner": "1", "currency": "EUR"}),
        "/v1/credit-accounts/": await made(
            "/v1/credit-accounts", {"owner": "1", "currency": "EUR", "credit_limit": "50.00"}
        ),
        "/v1/tariffs/": await made("/v1/tariffs", tariff),
        "/v1/configuration-templates/": await made("/v1/configuration-templates", template),
    }


ELSEWHERE: Final = {
    "list_contracts": "only where there is a pool for trying out",
    "list_transaction_events": "below",
    "list_firmware_campaign_stations": "below",
    "list_roaming_outgoing": "below",
    "list_billing_run_items": "below",
}
"""Lists of what is not made here."""


async def test_every_sort_of_every_list_is_answered_from_the_first_page_and_behind_a_cursor(rest: Rest) -> None:
    """With made-up places in the list: the query of each sort is one that PostgreSQL takes, in both directions."""
    rest.stations.connected[await rest.station("CP1")] = StationDouble()
    things = await _things(rest)
    asked, absent, wrong = 0, set[str](), []
    async with await driver_of(rest) as driver:
        for name, (path, sorts) in _sorted_lists(rest).items():
            client = driver if "/v1/me/" in path else rest.client
            ident = next((ident for begin, ident in things.items() if path.startswith(begin)), "1")
            place = re.sub(r"{\w+:str}", ident, path.replace("{station_id:str}", "CP1"))
            for sort in sorts.choices:
                for cursor in (None, *_cursors(name, sorts, sort)):
                    query = {"sort": sort} | ({} if cursor is None else {"cursor": cursor})
                    answer = await client.get(place, params=query)
                    if answer.status_code in (404, 409):
                        absent.add(name)
                        break
                    asked += 1
                    if answer.status_code != 200:
                        wrong.append((name, sort, cursor, answer.text))
    assert not wrong
    assert absent == ELSEWHERE.keys()
    assert asked > 500


def _marks(sorts: Sorts, sort: str) -> list[list[Any]]:
    mark = [_VALUES[kind] for kind in sorts.kinds(sort)]
    return [mark, [None, *mark[1:]]] if sorts.may_miss(sort) else [mark]


def _cursors(name: str, sorts: Sorts, sort: str) -> list[str]:
    return [encode_cursor(name, [sort, *mark]) for mark in _marks(sorts, sort)]


async def test_lists_of_what_is_not_made_here_are_read_in_every_sort(rest: Rest) -> None:
    place = transactions.TransactionPlace(
        id=TransactionId(1),
        opened_at=_VALUES[datetime],
        station_key=StationKey(1),
        is_open=False,
        ocpp_transaction_id=None,
    )
    async with rest.database.read() as db:
        for sorts, read in (
            (transactions.TRANSACTION_EVENT_SORTS, partial(transactions.events, db, place, None, 5)),
            (campaigns.CAMPAIGN_STATION_SORTS, partial(campaigns.stations, db, TenantId(1), 1, None, 5)),
            (roaming_outgoing.OUTGOING_SORTS, partial(roaming_outgoing.page, db, TenantId(1), 1, None, 5)),
            (billing.ITEM_SORTS, partial(billing.items, db, TenantId(1), 1, None, 5)),
            (plug_and_charge.CONTRACT_SORTS, partial(plug_and_charge.contract_page, db, TenantId(1), None, None, 5)),
        ):
            for sort in sorts.choices:
                for mark in [(), *_marks(sorts, sort)]:
                    assert await read(Position(tuple(mark), sort)) == []


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_sort_that_a_list_does_not_know_is_refused_with_those_it_knows(rest: Rest) -> None:
    for wrong in ("colour", "--id", "", "-", "id;", "ID"):
        answer = await rest.client.get("/v1/cdrs", params={"sort": wrong})
        problem = assert_problem(answer, 400, parameter="sort")
        for known in CDR_SORTS.names:
            assert f"'{known}'" in problem["detail"]


async def test_cursor_of_another_sort_is_refused_with_the_sort_that_it_is_of(rest: Rest) -> None:
    for number in range(3):
        await rest.client.post("/v1/id-tokens", json={"id_token": f"AB{number}"})
    page = (await rest.client.get("/v1/id-tokens", params={"sort": "id_token", "limit": 1})).json()
    cursor = page["next_cursor"]
    for other in ("-id_token", "id", None):
        query = {"cursor": cursor} | ({} if other is None else {"sort": other})
        problem = assert_problem(await rest.client.get("/v1/id-tokens", params=query), 400, parameter="cursor")
        assert "'id_token'" in problem["detail"]
    assert_problem(await rest.client.get("/v1/drivers", params={"cursor": cursor}), 400, parameter="cursor")


async def test_cursor_of_the_longest_text_is_taken(rest: Rest) -> None:
    urls = [f"https://example.com/{number}{'a' * 1970}" for number in range(3)]
    for url in urls:
        made = await rest.client.post("/v1/webhook-endpoints", json={"url": url, "event_types": ["*"]})
        assert made.status_code == 201, made.text
    seen, query = list[str](), {"sort": "url", "limit": "1"}
    while True:
        answer = await rest.client.get("/v1/webhook-endpoints", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        seen += [one["url"] for one in page["items"] if one["url"] in urls]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == urls


async def test_made_up_cursor_is_refused_and_never_our_fault(rest: Rest) -> None:
    for mark in (
        ["-ended_at"],
        ["-ended_at", "x", 1],
        ["-ended_at", None, 1],
        ["-ended_at", "2026-05-01T00:00:00Z", True],
        ["-ended_at", "2026-05-01T00:00:00Z", 2**63],
        ["-ended_at", "2026-05-01T00:00:00Z", 1, 1],
        ["-ended_at", "2026-05-01T00:00:00", 1],
        [["-ended_at"], "2026-05-01T00:00:00Z", 1],
        [None],
        [],
    ):
        cursor = encode_cursor("list_cdrs", mark)
        assert_problem(await rest.client.get("/v1/cdrs", params={"cursor": cursor}), 400, parameter="cursor")
    for value in ("NaN", "Infinity", "1e2000", {}, True):
        cursor = encode_cursor("list_cdrs", ["total_incl", value, 1])
        query = {"cursor": cursor, "sort": "total_incl"}
        assert_problem(await rest.client.get("/v1/cdrs", params=query), 400, parameter="cursor")


# -- walks -------------------------------------------------------------------------------------------------------------

_CDRS: Final = """
    INSERT INTO cdr (tenant_id, session_id, kind, number, started_at, ended_at, location_id, evse_uid, energy_wh, currency,
        total_incl, holds, body)
    SELECT 1, $1 + n, 'original', 1, timestamptz '2026-05-01 10:00Z' + n % 3 * interval '1 hour',
        timestamptz '2026-05-02 10:00Z' + n % 4 * interval '1 microsecond', 'L', 'E', n % 5 * 0.125, 'EUR',
        CASE WHEN n % 4 > 0 THEN n % 3 * 0.5 END, '{}', '{}'
    FROM generate_series(1, $2::int) n"""


async def _walk(rest: Rest, path: str, sort: str, limit: int, between: Callable[[], Awaitable[None]]) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        query = {"sort": sort, "limit": limit} | ({} if cursor is None else {"cursor": cursor})
        answer = await rest.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found
        assert len(page["items"]) == limit
        await between()


def _comparable(item: dict[str, Any], key: str) -> tuple[bool, Any]:
    value = item[key]
    if isinstance(value, dict):
        value = Decimal(value["amount"])
    elif key.endswith("_at") and value is not None:
        value = datetime.fromisoformat(value)
    elif key == "id" and str(value).isdigit():
        value = int(value)
    return value is not None, value if value is not None else 0


@pytest.mark.parametrize("path", ["/v1/cdrs", "/v1/id-tokens", "/v1/charging-stations", "/v1/api-keys", "/v1/tenants"])
async def test_walk_shows_each_item_once_and_in_order_also_while_others_come(rest: Rest, path: str) -> None:
    made = 0

    async def more() -> None:
        nonlocal made
        made += 1
        if path == "/v1/cdrs":
            await rest.execute(_CDRS, 1000 * made, 3 if made > 1 else 40)
        elif path == "/v1/id-tokens":
            for word in ("a", "B", "\u00fc"):
                await rest.client.post("/v1/id-tokens", json={"id_token": f"{word}{made}"})
        elif path == "/v1/charging-stations":
            await rest.station(f"{'aBc'[made % 3]}{made}")
        elif path == "/v1/api-keys":
            body = {"name": f"n{made % 3}", "scopes": ["cdrs:read"]}
            assert (await rest.client.post(path, json=body)).status_code == 201
        else:
            body = {"slug": f"{'abc'[made % 3]}{made}", "name": f"n{made % 2}"}
            assert (await rest.client.post(path, json=body)).status_code == 201

    for _ in range(7):
        await more()
    sorts = next(sorts for one, sorts in _sorted_lists(rest).values() if one == path)
    for sort in sorts.choices:
        whole = (await rest.client.get(path, params={"sort": sort, "limit": 1000})).json()["items"]
        names = [_name(item) for item in whole]
        walked = await _walk(rest, path, sort, 5, more)
        shown = [_name(item) for item in walked]
        assert len(shown) == len(set(shown)), (path, sort)
        known = set(names)
        assert [name for name in shown if name in known] == names, (path, sort)
        keys = [_comparable(item, sort.removeprefix("-")) for item in walked]
        assert keys == sorted(keys, reverse=sort.startswith("-")), (path, sort)


def _name(item: dict[str, Any]) -> str:
    return str(item.get("id") or item.get("station_id") or item["slug"])
