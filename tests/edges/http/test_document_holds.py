"""The OpenAPI document against the server: what it allows is answered without a fault of ours, and as it says."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chargeplane.simulator.payments import PaymentSimulator
from tests.support.postgres import TestServer
from tests.support.rest import ADMIN_KEY, Rest, StationDouble, running_rest

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES: Final = int(os.environ.get("CHARGEPLANE_TEST_EXAMPLES", "4"))
"""For each operation; more of them find more and take longer."""

SHARDS: Final = 4
CHECKS: Final = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS: Final = re.compile(r"/v1/events$|/live$")
"""They answer for as long as somebody listens."""
OUR_KEY: Final = {("delete", "/v1/api-keys/{key_id}"), ("delete", "/v1/api-keys/{id}")}
"""Who takes the tests' own key away hears 401 from then on."""


class Town:
    """A server with something of each kind.

    Args:
        seeds: what stands in a path, by the path's beginning.
    """

    def __init__(self, rest: Rest, document: dict[str, Any], seeds: dict[str, str]) -> None:
        self.rest = rest
        self.document = document
        self.answered: Counter[int] = Counter()
        self.seeds = seeds

    def path_parameters(self, path: str) -> dict[str, str]:
        """Those of resources that are there."""
        found: dict[str, str] = {}
        for name in re.findall(r"{(\w+)}", path):
            before = path.split("{" + name + "}")[0]
            if before in self.seeds:
                found[name] = self.seeds[before]
        return found


async def _seeded(rest: Rest, provider: str) -> dict[str, str]:
    async def make(path: str, body: Any, method: str = "POST") -> Any:
        answer = await rest.client.request(method, path, json=body)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    rest.stations.connected[await rest.station("CP1")] = StationDouble()
    seeds = {"/v1/charging-stations/": "CP1"}
    token = await make("/v1/id-tokens", {"id_token": "A", "valid_until": "2030-01-01T00:00:00Z"})
    seeds["/v1/id-tokens/"] = token["id"]
    price = {"price_components": [{"type": "ENERGY", "price": 0.5, "vat": 19}]}
    await make("/v1/tariffs", {"id": "T1", "currency": "EUR", "tax_included": "NO", "elements": [price]})
    place = {"latitude": "52.52900", "longitude": "13.40100"}
    address = {"name": "L", "address": "S 1", "city": "B", "country": "DEU", "time_zone": "Europe/Berlin"}
    await make("/v1/locations", {"id": "L1", **address, "coordinates": place})
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
        "tariff_ids": ["T1"],
    }
    bound = {"uid": "E1", "station_id": "CP1", "ocpp_evse_id": 1, "connectors": [connector]}
    evse = await make("/v1/locations/L1/evses", bound)
    seeds |= {"/v1/tariffs/": "T1", "/v1/locations/": "L1", "/v1/evses/": "E1", "/v1/public/evses/": evse["code"]}
    driver = await make("/v1/drivers", {"first_name": "Ada", "email": "ada@example.com"})
    seeds["/v1/drivers/"] = driver["id"]
    owned = await make(f"/v1/drivers/{driver['id']}/id-tokens", {"id_token": "B"})
    seeds["/v1/drivers/{id}/id-tokens/"] = str(owned.get("id", owned.get("id_token_id")))
    seeds["/v1/vehicles/"] = (await make("/v1/vehicles", {"driver_id": driver["id"]}))["id"]
    parties = [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "driver", "id": driver["id"]}]
    agreed = {"kind": "driver_plan", "currency": "EUR", "parties": parties, "scope": [{"kind": "tenant"}]}
    fee = {"type": "recurring_fee", "name": "F", "amount": {"amount": "4.90", "currency": "EUR"}}
    plan = await make("/v1/service-agreements", {**agreed, "items": [fee, {"type": "tariff", "tariff_id": "T1"}]})
    seeds["/v1/service-agreements/"] = plan["id"]
    cards = {"kind": "simulator", "for_guests": True, "settings": {"url": provider}}
    kept = {"key": "merchant-of-this", "webhook_secret": "a-secret"}
    await make("/v1/payment-providers/cards", {**cards, "secrets": kept}, "PUT")
    seeds["/v1/payment-providers/"] = "cards"
    return seeds


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(postgres_server: TestServer) -> AsyncIterator[Town]:
    """The server."""
    simulator = PaymentSimulator()
    await simulator.start()
    with postgres_server.database() as url:
        async with running_rest(url) as rest:
            seeds = await _seeded(rest, simulator.url)
            document = (await rest.client.get("/v1/openapi.json")).json()
            yield Town(rest, document, seeds)
    await simulator.stop()


async def test_every_answer_of_the_document_has_a_media_type(town: Town) -> None:
    for path, item in town.document["paths"].items():
        for verb, operation in item.items():
            for status, response in operation["responses"].items():
                assert "" not in response.get("content", {}), (verb, path, status)
                assert status != "204" or "content" not in response, (verb, path)


def _operations(town: Town) -> list[APIOperation[Any, Any, Any]]:
    schema = schemathesis.openapi.from_dict(town.document)
    schema.config.update(base_url=town.rest.base_url)
    found = [result.ok() for result in schema.get_all_operations()]
    kept = [one for one in found if not ENDLESS.search(one.path) and (one.method.lower(), one.path) not in OUR_KEY]
    # What takes away comes last.
    return sorted(kept, key=lambda one: (one.method.lower() == "delete", one.path, one.method))


def _held(town: Town, operation: APIOperation[Any, Any, Any], session: requests.Session) -> str | None:
    """What is wrong with an operation; None where nothing was found."""
    cases = operation.as_strategy()
    seeds = town.path_parameters(operation.path)
    if seeds:
        cases = cases | operation.as_strategy(path_parameters=seeds)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(case=cases)
    def ask(case: Case) -> None:
        if isinstance(case.query, dict):
            case.query.pop("wait_s", None)
        answer = case.call(session=session, headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=30)
        town.answered[answer.status_code // 100] += 1
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except BaseExceptionGroup as group:
        return f"{operation.method.upper()} {operation.path}: " + "; ".join(str(one) for one in group.exceptions)
    except Exception as error:
        return f"{operation.method.upper()} {operation.path}: {type(error).__name__} {error}"
    return None


@pytest.mark.parametrize("shard", range(SHARDS))
async def test_what_the_document_allows_is_answered_as_it_says(town: Town, shard: int) -> None:
    def all_of_them() -> list[str]:
        with requests.Session() as session:
            wrong = [_held(town, one, session) for one in _operations(town)[shard::SHARDS]]
        return [one for one in wrong if one is not None]

    wrong = await asyncio.to_thread(all_of_them)
    async with httpx.AsyncClient(base_url=town.rest.base_url, trust_env=False) as client:
        assert (await client.get("/healthz")).status_code == 200
    assert not wrong, "\n\n".join(wrong)
    assert town.answered[2] > 50  # not refusals alone
