"""Wrong requests to every route of the OpenAPI document: which field is wrong, what is not there, and who may not."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import httpx
import jsonschema
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chargeplane.kernel.proxies import TrustedProxies
from tests.support.drivers import PASSWORD, driver_of
from tests.support.postgres import TestServer
from tests.support.rest import Rest, assert_problem, running_rest

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS: Final = ("get", "post", "put", "patch", "delete")
STRANGE: Final = "not_in_the_document"
MISSING: Final = "999999"
JSON: Final = {"Content-Type": "application/json"}
UNFIT: Final[tuple[Any, ...]] = ([[]], 7.5, {"x": [[]]}, "", None)

ANY_TYPE: Final = {
    ("POST /v1/charging-stations/{station_id}/commands", "data"): "it goes to the station as it is",
    (
        "POST /v1/charging-stations/{station_id}/calls",
        "payload",
    ): "OCPP's schema of the action says what fits, once there is one",
}
"""Fields that are not refused for themselves."""

NOT_FOUND_OTHERWISE: Final = {
    "PUT /v1/locations/{location_id}": "makes it",
    "PUT /v1/tariffs/{tariff_id}": "makes it",
    "PUT /v1/payment-providers/{name}": "makes it",
    "PUT /v1/locations/{location_id}/static-limit": "a limit is there before a station says that it belongs to the site",
    "DELETE /v1/locations/{location_id}/static-limit": "was made by the PUT before",
    "POST /v1/charging-stations/{station_id}/installed-certificates": "422: the house has no certificate for any station",
    "POST /v1/contracts/{id}/revoke": "409: this server has no pool of contracts, whatever the contract",
}
"""Routes that answer otherwise than 404 where the path names nothing."""

PLAUSIBLE: Final[dict[str, Any]] = {
    "currency": "EUR",
    "checksum": "0" * 32,
    "url": "wss://example.org/",
    "latitude": "52.52900",
    "longitude": "13.40100",
    "country": "DEU",
    "time_zone": "Europe/Berlin",
    "to": "2027-01-02T00:00:00Z",
}
"""Values of fields by their name, where a pattern or a rule wants more than the type."""


def _public_key() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


BODIES: Final[dict[str, Any]] = {
    "PUT /v1/charging-stations/{station_id}/der-controls/{control_id}": {
        "type": "EnterService",
        "is_default": True,
        "enter_service": {"high_voltage": 250, "low_voltage": 200, "high_frequency": 51, "low_frequency": 49},
    },
    "POST /v1/charging-stations/{station_id}/meter-public-keys": {"public_key": _public_key()},
    "PUT /v1/evses/{uid}/connectors/{connector_id}": {
        "id": MISSING,
        "format": "SOCKET",
        "max_amperage": 1,
        "max_voltage": 1,
        "power_type": "AC_1_PHASE",
        "standard": "IEC_62196_T2",
    },
}
"""Bodies of routes where the first plausible one will not do."""


@dataclass(frozen=True)
class Operation:
    """One of the document's.

    Args:
        bodies: schemas of the objects it takes, one for each kind; none where it takes no JSON.
    """

    verb: str
    path: str
    said: dict[str, Any]
    bodies: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """As a reader of the document names it."""
        return f"{self.verb.upper()} {self.path}"

    @property
    def is_public(self) -> bool:
        """Whether it needs no key."""
        return bool(self.said.get("security") == [])


class Town:
    """A server, what its document says, and one caller of each kind.

    Args:
        operator: of the tenant `default`.
        user: one who signed in; an owner.
        driver: one who has something of each kind.
        other: a driver who has nothing.
        foreigner: an operator of another tenant, who has nothing.
    """

    def __init__(self, rest: Rest, document: dict[str, Any], callers: dict[str, httpx.AsyncClient]) -> None:
        self.rest = rest
        self.operator = rest.client
        self.user, self.driver = callers["user"], callers["driver"]
        self.other, self.foreigner = callers["other"], callers["foreigner"]
        self._components = document["components"]
        self.operations = [
            Operation(verb, path, item[verb], list(self._bodies(item[verb])))
            for path, item in document["paths"].items()
            for verb in VERBS
            if verb in item
        ]

    def caller(self, one: Operation) -> httpx.AsyncClient:
        """Who may ask for it."""
        if one.path.startswith("/v1/me"):
            return self.driver
        return self.user if one.path.startswith("/v1/login") else self.operator

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema that a reference leads to."""
        while "$ref" in schema:
            schema = self._components["schemas"][schema["$ref"].split("/")[-1]]
        return schema

    def _bodies(self, said: dict[str, Any]) -> Iterator[dict[str, Any]]:
        content = said.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            schema = self.resolved(content["application/json"]["schema"])
            for one in schema.get("oneOf", schema.get("anyOf", [schema])):
                yield self.resolved(one)

    def fits(self, value: Any, schema: dict[str, Any]) -> bool:
        """Whether the document allows the value."""
        return bool(jsonschema.Draft202012Validator({**schema, "components": self._components}).is_valid(value))

    def plausible(self, schema: dict[str, Any], name: str = "") -> Any:
        """A value that the schema allows, with what is required alone."""
        schema = self.resolved(schema)
        for key in ("oneOf", "anyOf"):
            if key in schema:
                return self.plausible(schema[key][0], name)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        if PLAUSIBLE.get(name) is not None and schema.get("type") == "string":
            return PLAUSIBLE[name]
        kind = schema.get("type")
        if kind == "object":
            required = schema.get("required", ())
            return {key: self.plausible(schema["properties"][key], key) for key in required}
        if kind == "array":
            return [self.plausible(schema["items"])] * int(schema.get("minItems", 0))
        if kind in ("integer", "number"):
            return max(1, schema.get("minimum", 1))
        if kind == "boolean":
            return True
        if schema.get("format") == "date-time":
            return "2027-01-01T00:00:00Z"
        if schema.get("format") == "date":
            return "2027-01-01"
        return "1" * max(1, int(schema.get("minLength", 1)))


async def _made(client: httpx.AsyncClient, path: str, body: Any, method: str = "POST") -> Any:
    answer = await client.request(method, path, json=body)
    assert answer.status_code < 300, (path, answer.text)
    return answer.json()


async def _user(rest: Rest) -> httpx.AsyncClient:
    mail = f"owner-{secrets.token_hex(4)}@example.org"
    await _made(rest.client, "/v1/users", {"email": mail, "name": "O", "role": "owner", "password": PASSWORD})
    return rest.as_key((await _made(rest.client, "/v1/login", {"email": mail, "password": PASSWORD}))["token"])


async def _foreigner(rest: Rest) -> httpx.AsyncClient:
    await _made(rest.client, "/v1/tenants", {"slug": "other", "name": "Other"})
    body = {"name": "theirs", "scopes": ["admin"], "tenant": "other"}
    return rest.as_key((await _made(rest.client, "/v1/api-keys", body))["key"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(postgres_server: TestServer) -> AsyncIterator[Town]:
    """The server."""
    with postgres_server.database() as url:
        async with running_rest(url, TrustedProxies(["127.0.0.0/8"])) as rest, AsyncExitStack() as stack:
            callers = {
                "user": await _user(rest),
                "driver": await driver_of(rest, "one"),
                "other": await driver_of(rest, "other"),
                "foreigner": await _foreigner(rest),
            }
            for name, client in callers.items():
                await stack.enter_async_context(client)
                seen = await client.get("/v1/me" if name in ("driver", "other") else "/v1/charging-stations")
                assert seen.status_code == 200, (name, seen.text)
            yield Town(rest, (await rest.client.get("/v1/openapi.json")).json(), callers)


def _nowhere(path: str) -> str:
    return re.sub(r"{\w+}", MISSING, path)


def _tags(schema: dict[str, Any]) -> dict[str, Any]:
    """What says which kind of body it is."""
    return {name: field["const"] for name, field in schema["properties"].items() if "const" in field}


def _names(answer: httpx.Response, field: str) -> bool:
    """Whether it is a refusal that names the field, or a place in it."""
    if answer.status_code not in (400, 422) or answer.headers["content-type"] != "application/problem+json":
        return False
    pointers = [str(one.get("pointer")) for one in answer.json().get("errors", [])]
    return any(pointer == f"#/{field}" or pointer.startswith(f"#/{field}/") for pointer in pointers)


# What is wrong in a body


async def test_unknown_field_is_refused_by_its_name(town: Town) -> None:
    wrong = []
    for one in town.operations:
        for schema in one.bodies:
            body = {**_tags(schema), STRANGE: 1}
            answer = await town.caller(one).request(one.verb, _nowhere(one.path), json=body)
            if not _names(answer, STRANGE):
                wrong.append((one.name, answer.status_code, answer.text))
    assert not wrong, wrong


async def test_field_of_another_type_is_refused_by_its_name(town: Town) -> None:
    wrong, tried = [], 0
    for one in town.operations:
        for schema in one.bodies:
            tags = _tags(schema)
            for name in schema["properties"].keys() - tags.keys():
                if (one.name, name) in ANY_TYPE:
                    continue
                unfit = next(value for value in UNFIT if not town.fits(value, schema["properties"][name]))
                body = {**tags, name: unfit}
                answer = await town.caller(one).request(one.verb, _nowhere(one.path), json=body)
                tried += 1
                if not _names(answer, name):
                    wrong.append((one.name, name, unfit, answer.status_code, answer.text))
    assert not wrong, wrong
    assert tried > 1000


async def test_what_is_no_json_object_is_refused(town: Town) -> None:
    wrong = []
    for one in town.operations:
        for content in (b"{", b"[]", b'{"a":\xff}', b"7") if one.bodies else ():
            answer = await town.caller(one).request(one.verb, _nowhere(one.path), content=content, headers=JSON)
            if answer.status_code not in (400, 422) or "problem+json" not in answer.headers["content-type"]:
                wrong.append((one.name, content, answer.status_code, answer.text))
    assert not wrong, wrong


# What is not there, and what is another's


async def _answer(client: httpx.AsyncClient, one: Operation, path: str, body: Any) -> httpx.Response:
    """The answer; of an endless one that begins no more than its head."""
    more = {} if body is None else {"json": body}
    async with client.stream(one.verb, path, **more) as answer:
        if answer.status_code >= 300 or "event-stream" not in answer.headers.get("content-type", ""):
            await answer.aread()
    return answer


def _body(town: Town, one: Operation) -> Any:
    return BODIES.get(one.name) or (town.plausible(one.bodies[0]) if one.bodies else None)


async def test_path_to_nothing_is_404(town: Town) -> None:
    wrong = []
    for one in town.operations:
        if "{" in one.path and one.name not in NOT_FOUND_OTHERWISE:
            body = _body(town, one)
            answer = await _answer(town.caller(one), one, _nowhere(one.path), body)
            if answer.status_code != 404 or answer.headers["content-type"] != "application/problem+json":
                wrong.append((one.name, body, answer.status_code, answer.text))
    assert not wrong, wrong


async def _refused_alike(
    town: Town, prefix: str, one: Operation, seeds: dict[str, str], stranger: httpx.AsyncClient
) -> str | None:
    """What is wrong where somebody asks for what is another's; None where it is answered as what is not there at all."""
    before, _, after = one.path.partition("{")
    theirs = seeds.get(before)
    if theirs is None or not one.path.startswith(prefix) or one.name in NOT_FOUND_OTHERWISE:
        return None
    rest = _nowhere(after.partition("}")[2])
    said = []
    for ident in (theirs, "888888"):
        answer = await _answer(stranger, one, f"{before}{ident}{rest}", _body(town, one))
        if answer.status_code != 404:
            return f"{one.name} with '{ident}': {answer.status_code} {answer.text}"
        problem = answer.json()
        said.append({**problem, "instance": "", "detail": re.sub(rf"'{ident}(?=[',])", "", problem["detail"])})
    return None if said[0] == said[1] else f"{one.name}: {said}"


async def test_what_is_another_tenants_is_as_if_it_were_not_there(town: Town) -> None:
    make = town.operator
    await town.rest.station("CP1")
    place = {"latitude": "52.52900", "longitude": "13.40100"}
    address = {"name": "L", "address": "S 1", "city": "B", "country": "DEU", "time_zone": "Europe/Berlin"}
    price = {"price_components": [{"type": "ENERGY", "price": 0.5}]}
    driver = await _made(make, "/v1/drivers", {"first_name": "Ada"})
    parties = [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "driver", "id": driver["id"]}]
    agreed = {"kind": "driver_plan", "currency": "EUR", "parties": parties, "scope": [{"kind": "tenant"}]}
    bodies: dict[str, Any] = {
        "id-tokens": {"id_token": "A"},
        "tariffs": {"id": "T1", "currency": "EUR", "tax_included": "NO", "elements": [price]},
        "locations": {"id": "L1", **address, "coordinates": place},
        "vehicles": {"driver_id": driver["id"]},
        "service-agreements": {**agreed, "items": [{"type": "tariff", "tariff_id": "T1"}]},
        "wallets": {"owner": driver["id"], "currency": "EUR"},
        "webhook-endpoints": {"url": "http://127.0.0.1:9/", "event_types": ["*"]},
        "api-keys": {"name": "k", "scopes": ["calls"]},
    }
    seeds = {"/v1/charging-stations/": "CP1", "/v1/drivers/": str(driver["id"])}
    for name, body in bodies.items():
        made = await _made(make, f"/v1/{name}", body)
        seeds[f"/v1/{name}/"] = str(body.get("id") or (made["endpoint"] if name == "webhook-endpoints" else made)["id"])
    connector = {**BODIES["PUT /v1/evses/{uid}/connectors/{connector_id}"], "id": "1"}
    await _made(
        make, "/v1/locations/L1/evses", {"uid": "E1", "station_id": "CP1", "ocpp_evse_id": 1, "connectors": [connector]}
    )
    seeds["/v1/evses/"] = "E1"
    found = [await _refused_alike(town, "/v1/", one, seeds, town.foreigner) for one in town.operations]
    wrong = [one for one in found if one is not None]
    assert not wrong, "\n".join(wrong)
    for before, ident in seeds.items():
        if any(one.verb == "get" and re.fullmatch(re.escape(before) + r"{\w+}", one.path) for one in town.operations):
            assert (await make.get(f"{before}{ident}")).status_code == 200, before  # nothing was taken away


async def test_what_is_another_drivers_is_as_if_it_were_not_there(town: Town) -> None:
    mine = (await town.driver.get("/v1/me")).json()["id"]
    make = town.operator
    token = await _made(make, f"/v1/drivers/{mine}/id-tokens", {"id_token": "MINE"})
    wallet = await _made(make, "/v1/wallets", {"owner": mine, "currency": "EUR"})
    parties = [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "driver", "id": mine}]
    agreed = {"kind": "driver_plan", "currency": "EUR", "parties": parties, "scope": [{"kind": "tenant"}]}
    agreed["items"] = [{"type": "discount", "name": "Loyal", "percent": 50}]
    agreement = await _made(make, "/v1/service-agreements", agreed)
    await _made(make, f"/v1/service-agreements/{agreement['id']}/propose", {})
    vehicle = await _made(town.driver, "/v1/me/vehicles", {"brand": "VW"})
    device = (await town.driver.get("/v1/me/devices")).json()["items"][0]
    seeds = {
        "/v1/me/id-tokens/": str(token.get("id", token.get("id_token_id"))),
        "/v1/me/vehicles/": vehicle["id"],
        "/v1/me/accounts/": wallet["id"],
        "/v1/me/agreements/": agreement["id"],
        "/v1/me/devices/": device["id"],
    }
    found = [await _refused_alike(town, "/v1/me/", one, seeds, town.other) for one in town.operations]
    wrong = [one for one in found if one is not None]
    assert not wrong, "\n".join(wrong)
    for name in ("id-tokens", "vehicles", "accounts", "agreements", "devices"):
        ids = [str(one["id"]) for one in (await town.driver.get(f"/v1/me/{name}")).json()["items"]]
        assert seeds[f"/v1/me/{name}/"] in ids, name  # nothing was taken away


# Who may not


async def test_key_without_the_scope_is_403_and_hears_which(town: Town) -> None:
    async with AsyncExitStack() as stack:
        clients = {}
        for scope in ("stations:read", "transactions:read"):
            made = await _made(town.operator, "/v1/api-keys", {"name": scope, "scopes": [scope]})
            clients[scope] = await stack.enter_async_context(town.rest.as_key(made["key"]))
        tried = 0
        for one in town.operations:
            needed = one.said.get("x-required-scope")
            if needed is not None:
                client = clients["transactions:read" if needed == "stations:read" else "stations:read"]
                answer = await client.request(one.verb, _nowhere(one.path))
                assert assert_problem(answer, 403)["required_scope"] == needed, one.name
                tried += 1
        assert tried > 300


@pytest.mark.parametrize(
    ("door", "address"), [("key", "203.0.113.1"), ("user", "203.0.113.2"), ("driver", "203.0.113.3")]
)
async def test_login_or_key_that_expired_is_401_everywhere(town: Town, door: str, address: str) -> None:
    rest = town.rest
    if door == "key":
        made = await _made(rest.client, "/v1/api-keys", {"name": "expired", "scopes": ["admin"]})
        client, seen = rest.as_key(made["key"]), "/v1/charging-stations"
    elif door == "user":
        client, seen = await _user(rest), "/v1/login"
    else:
        client, seen = await driver_of(rest, "expired"), "/v1/me"
    # Its failures count against an address of its own; one that was right before is not slowed down.
    client.headers["X-Forwarded-For"] = address
    async with client:
        assert (await client.get(seen)).status_code == 200
        if door == "key":
            await rest.execute("UPDATE api_key SET expires_at = now() - interval '1 s' WHERE name = 'expired'")
        else:
            await rest.execute(
                "UPDATE login SET expires_at = now() - interval '1 s' WHERE id = (SELECT max(id) FROM login)"
            )
        wrong = []
        for one in town.operations:
            if one.is_public or one.path.startswith("/v1/me") != (door == "driver"):
                continue
            answer = await client.request(one.verb, _nowhere(one.path))
            if answer.status_code != 401 or "www-authenticate" not in answer.headers:
                wrong.append((one.name, answer.status_code, answer.text))
        assert not wrong, wrong


# What the present state forbids


async def test_conflict_says_what_is_allowed_instead(town: Town) -> None:
    make = town.operator
    await _made(make, "/v1/charging-stations", {"station_id": "TWICE"})
    driver = await _made(make, "/v1/drivers", {"first_name": "Bo"})
    parties = [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "driver", "id": driver["id"]}]
    agreed = {"kind": "driver_plan", "currency": "EUR", "parties": parties, "scope": [{"kind": "tenant"}]}
    agreed["items"] = [{"type": "discount", "name": "Loyal", "percent": 50}]
    draft = f"/v1/service-agreements/{(await _made(make, '/v1/service-agreements', agreed))['id']}"
    cases: list[tuple[str, Any, str]] = [
        ("/v1/charging-stations", {"station_id": "TWICE"}, "already"),
        ("/v1/charging-stations/TWICE/calls", {"action": "Heartbeat"}, "not connected"),
        ("/v1/certificate-authority/1/retire", {}, "only an old one"),
        (f"{draft}/suspend", {}, "is draft and cannot be suspended. Allowed: propose"),
        (f"{draft}/accept", {}, "is draft and cannot be accepted. Allowed: propose"),
    ]
    for path, body, word in cases:
        problem = assert_problem(await make.post(path, json=body), 409)
        assert word in problem["detail"], problem
