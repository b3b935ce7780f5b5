"""Each quirk of a partner changes what goes over the wire to it, and nothing else; what is no quirk is refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.ports import Failure, Route
from chargeplane.domain.roaming.connection import PartyId, Quirks, TokenForm
from tests.roaming.nasty import Asked, enveloped, nasty
from tests.roaming.test_faults import LOCATION, LOCATIONS, calling
from tests.roaming.test_outgoing import TENANT, partner_of
from tests.roaming.test_provider import cdr
from tests.roaming.test_pushing import place
from tests.support.roaming import Node, until

DELETE_TARIFF, POST_CDR = 31, 26
ELSEWHERE = {"pull", "pull_every_s", "push_all"}
"""Quirks about when something is asked or told, with their tests in test_pulling.py and test_pushing.py."""


async def asked_with(
    quirks: Quirks, row: int, path: dict[str, str] | None = None, *, version: str = "2.2.1", **more: Any
) -> Asked:
    """One request to a partner with these quirks, as it arrives."""
    async with nasty(lambda _: enveloped()) as partner, calling() as caller:
        await caller.call(partner.peer(version=version, quirks=quirks), row, path or {}, **more)
        (asked,) = partner.asked
        return asked


async def listed_with(quirks: Quirks) -> Asked:
    """A list that is read, as it is asked for."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    async with nasty(lambda _: enveloped([])) as partner, calling() as caller:
        async for _ in caller.pages(partner.peer(quirks=quirks), LOCATIONS, date_from=since):
            pass
        (asked,) = partner.asked
        return asked


def test_every_quirk_has_its_test() -> None:
    here = {name.removeprefix("test_quirk_") for name in globals() if name.startswith("test_quirk_")}
    assert here | ELSEWHERE == set(Quirks.__struct_fields__)


async def test_quirk_trailing_slash() -> None:
    assert (await listed_with(Quirks())).path == "/sender/locations"
    assert (await listed_with(Quirks(trailing_slash=True))).path == "/sender/locations/"
    # Of lists alone: single objects have their id at the end.
    one = await asked_with(Quirks(trailing_slash=True), LOCATION, {"location_id": "L1"})
    assert one.path == "/sender/locations/L1"


async def test_quirk_upper_case_parties() -> None:
    path = {"country_code": "nl", "party_id": "ope", "tariff_id": "tariff-a"}
    assert (await asked_with(Quirks(), DELETE_TARIFF, path)).path == "/receiver/tariffs/nl/ope/tariff-a"
    shouted = await asked_with(Quirks(upper_case_parties=True), DELETE_TARIFF, path)
    assert shouted.path == "/receiver/tariffs/NL/OPE/tariff-a"


async def test_quirk_headers() -> None:
    plain = await asked_with(Quirks(), LOCATION, {"location_id": "L1"})
    asked = await asked_with(
        Quirks(headers={"X-Api-Version": "7", "Ocp-Apim-Subscription-Key": "abc"}), LOCATION, {"location_id": "L1"}
    )
    assert asked.headers["x-api-version"] == "7"
    assert asked.headers["ocp-apim-subscription-key"] == "abc"
    assert asked.headers["authorization"] == plain.headers["authorization"]
    assert set(asked.headers) - set(plain.headers) == {"x-api-version", "ocp-apim-subscription-key"}


@pytest.mark.parametrize("name", ["Authorization", "content-length", "Host", "Transfer-Encoding"])
async def test_header_that_belongs_to_the_request_is_no_quirk(operator: Node, name: str) -> None:
    answer = await operator.rest.post("/v1/roaming/partners", json={"name": "x", "quirks": {"headers": {name: "1"}}})
    assert answer.status_code == 422, answer.text
    assert name in answer.text
    assert "quirks" in answer.json()["errors"][0]["pointer"]


async def test_quirk_token_form() -> None:
    token = "a-token-of-the-partner"
    plain = await asked_with(Quirks(token_form=TokenForm.BASE64), LOCATION, {"location_id": "L1"})
    assert plain.headers["authorization"] == f"Token {base64.b64encode(token.encode()).decode()}"
    raw = await asked_with(Quirks(token_form=TokenForm.RAW), LOCATION, {"location_id": "L1"})
    assert raw.headers["authorization"] == f"Token {token}"


async def test_quirk_no_routing_headers() -> None:
    route = Route(from_party=PartyId("NL", "OPE"), to_party=PartyId("DE", "NST"))
    asked = await asked_with(Quirks(), LOCATION, {"location_id": "L1"}, route=route)
    assert asked.headers["ocpi-from-party-id"] == "OPE"
    asked = await asked_with(Quirks(no_routing_headers=True), LOCATION, {"location_id": "L1"}, route=route)
    assert not any(name.startswith("ocpi-") for name in asked.headers)


async def test_quirk_no_date_filters() -> None:
    assert "date_from" in (await listed_with(Quirks())).query
    assert "date_from" not in (await listed_with(Quirks(no_date_filters=True))).query


async def test_quirk_page_limit() -> None:
    assert (await listed_with(Quirks(page_limit=17))).query["limit"] == "17"


async def test_quirk_timeout_s() -> None:
    async with nasty(lambda _: None) as partner, calling(timeout_s=60.0) as caller:
        outcome = await caller.call(partner.peer(quirks=Quirks(timeout_s=0.2)), LOCATION, {"location_id": "L1"})
    assert outcome.failure is Failure.TIMEOUT
    assert outcome.latency_ms < 30_000


@pytest.mark.parametrize(("quirk", "has_end"), [(False, False), (True, True)])
async def test_quirk_cdr_end_date_time(quirk: bool, has_end: bool) -> None:
    body = json.dumps(cdr("C1", "C1", "CDR1")).encode()
    asked = await asked_with(Quirks(cdr_end_date_time=quirk), POST_CDR, version="2.1.1", body=body)
    said = json.loads(asked.body)
    assert "stop_date_time" in said
    assert ("end_date_time" in said) is has_end


@pytest.mark.parametrize(("quirk", "method", "fields"), [(False, "PATCH", 2), (True, "PUT", 4)])
async def test_quirk_no_patch(operator: Node, quirk: bool, method: str, fields: int) -> None:
    location, _ = await place(operator)
    async with nasty(lambda _: enveloped()) as partner, partner_of(operator, partner, f"patch {quirk}") as ident:
        changed = await operator.rest.patch(f"/v1/roaming/partners/{ident}", json={"quirks": {"no_patch": quirk}})
        assert changed.status_code == 200, changed.text

        waiting = "SELECT count(*) FROM roaming_outgoing WHERE connection_id = $1"

        async def told(hint: str | None, path: str) -> Asked:
            async def there() -> Any:
                # What others note at the same time becomes one with it: it is noted until it went by itself.
                found = [one for one in partner.asked if one.path.endswith(path)]
                if not found and not await operator.execute(waiting, ident):
                    async with operator.server.database.change() as db:
                        await outgoing.note(db, TENANT, "locations", location, connections=[ident], hint=hint)
                    operator.roaming.outgoing.hint()
                return found

            found = (await until(there, 30))[0]
            assert isinstance(found, Asked)
            return found

        assert (await told(None, f"/{location}")).method == "PUT"  # which it has then
        status = await told(f"evse:{location}-E", f"/{location}/{location}-E")
        assert status.method == method
        assert len(json.loads(status.body)) >= fields


async def test_quirk_no_push(operator: Node) -> None:
    location, tariff = await place(operator)
    async with nasty(lambda _: enveloped()) as partner, partner_of(operator, partner, "no push") as ident:
        changed = await operator.rest.patch(
            f"/v1/roaming/partners/{ident}", json={"quirks": {"no_push": ["locations"]}}
        )
        assert changed.status_code == 200, changed.text
        async with operator.server.database.change() as db:
            await outgoing.note(db, TENANT, "locations", location, connections=[ident])
            await outgoing.note(db, TENANT, "tariffs", tariff, connections=[ident])
        operator.roaming.outgoing.hint()

        async def empty() -> Any:
            return not await operator.execute("SELECT count(*) FROM roaming_outgoing WHERE connection_id = $1", ident)

        await until(empty, 30)
        assert {one.path.split("/")[2] for one in partner.asked} == {"tariffs"}
