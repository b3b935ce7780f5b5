"""The OpenAPI document, the page made of it, and bad input to everything it names."""

from __future__ import annotations

import itertools
import random
import re
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest

from chargeplane.edges.http.problems import TITLES
from tests.support.rest import Rest, StationDouble

VERBS = ("get", "post", "put", "patch", "delete")

NASTY: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    10**40,
    1e308,
    -0.0,
    "",
    " ",
    "\u0000",
    "a\u0000b",
    "ü€😀",
    "x" * 5000,
    "'; DROP TABLE tenant; --",
    "%s%n{}{0}$1",
    "../../etc/passwd",
    "2026-01-31T12:00:00Z",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "NaN",
    "Infinity",
    "1e400000",
    [],
    {},
    [[[[]]]],
    {"a": {"b": {"c": None}}},
    ["\u0000"],
    {"\u0000": 1},
)


async def _document(rest: Rest) -> dict[str, Any]:
    response = await rest.client.get("/v1/openapi.json")
    assert response.status_code == 200
    assert "openapi+json" in response.headers["content-type"]
    document: dict[str, Any] = response.json()
    return document


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(verb, path, item[verb]) for path, item in document["paths"].items() for verb in VERBS if verb in item]


async def test_document_is_openapi_31_without_loose_ends(rest: Rest) -> None:
    document = await _document(rest)
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', _text(document)))
    assert references <= set(schemas)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = _operations(document)
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    for verb, path, operation in operations:
        assert operation["tags"], path
        assert operation["description"], path
        in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), path
        assert "default" in operation["responses"]
        assert "400" not in operation["responses"]
        public = operation.get("security") == []
        assert public != ("x-required-scope" in operation or "x-required-login" in operation), (verb, path)


def _text(document: Any) -> str:
    import json

    return json.dumps(document)


async def test_document_names_the_first_resources(rest: Rest) -> None:
    document = await _document(rest)
    for path in (
        "/v1/charging-stations",
        "/v1/charging-stations/{station_id}",
        "/v1/charging-stations/{station_id}/calls",
        "/v1/charging-stations/{station_id}/commands",
        "/v1/charging-stations/{station_id}/messages",
        "/v1/charging-stations/{station_id}/variables",
        "/v1/commands/{command_id}",
        "/v1/transactions",
        "/v1/transactions/{transaction_id}",
        "/v1/transactions/{transaction_id}/close",
        "/v1/transactions/{transaction_id}/events",
        "/v1/transactions/{transaction_id}/meter-values",
        "/v1/id-tokens",
        "/v1/id-tokens/{id}",
        "/v1/quarantine",
        "/v1/events",
        "/v1/api-keys",
    ):
        assert path in document["paths"]
    energy = document["components"]["schemas"]["TransactionView"]["properties"]["energy_wh"]
    assert energy["type"] == "number"


async def test_answers_fit_the_document(rest: Rest) -> None:
    document = await _document(rest)
    rest.stations.connected[await rest.station("CP1")] = StationDouble()
    await rest.client.post("/v1/id-tokens", json={"id_token": "A", "valid_until": "2030-01-01T00:00:00Z"})
    await rest.client.post("/v1/charging-stations/CP1/commands?wait_s=30", json={"type": "clear_cache"})
    checked = 0
    for verb, path, operation in _operations(document):
        if verb != "get" or "{id}" in path or "_id}" in path.replace("{station_id}", "") or "event" in path:
            continue
        response = await rest.client.get(path.replace("{station_id}", "CP1")) if "/live" not in path else None
        if response is None or response.status_code != 200:
            continue
        content = operation["responses"]["200"]["content"]
        if "application/json" in content:
            schema = {**content["application/json"]["schema"], "components": document["components"]}
            jsonschema.validate(response.json(), schema, cls=jsonschema.Draft202012Validator)
            checked += 1
    assert checked >= 9


async def test_page_for_people_loads_nothing_from_elsewhere(rest: Rest) -> None:
    response = await rest.client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", response.text))
    assert addresses <= {"http://www.w3.org"}
    assert "<script src" not in response.text
    for kind in TITLES:
        assert kind in response.text


@pytest.mark.parametrize("seed", range(3))
async def test_bad_input_is_never_our_fault(rest: Rest, seed: int) -> None:
    """Every operation, with values nobody should send: an answer below 500, and a problem where it is a refusal."""
    document = await _document(rest)
    rest.stations.connected[await rest.station("CP1")] = StationDouble()
    chance = random.Random(seed)

    def nasty_text() -> str:
        value = chance.choice(NASTY)
        return value if isinstance(value, str) else str(value)

    for verb, path, operation in _operations(document):
        if path in ("/metrics", "/v1/events") or path.endswith("/live"):
            continue
        for _ in range(12):
            place = re.sub(
                r"{\w+}",
                lambda found: (
                    "CP1"
                    if found[0] == "{station_id}" and chance.random() < 0.7
                    else quote(nasty_text() or "x", safe="")
                ),
                path,
            )
            parameters = operation.get("parameters", [])
            query = {p["name"]: nasty_text() for p in parameters if p["in"] == "query" and chance.random() < 0.4}
            if chance.random() < 0.1:
                query["unknown"] = "1"
            headers = {"Idempotency-Key": str(chance.random())} if chance.random() < 0.3 else {}
            if any(p["name"] == "If-Match" for p in parameters) and chance.random() < 0.3:
                headers["If-Match"] = chance.choice(['"1"', "x", "*", '"99999999999"', 'W/"1"'])
            query.pop("wait_s", None)
            query.pop("refresh", None)  # it waits for a report, which these stations never send
            for waiting in ("wait_s", "refresh"):  # for a station that does not answer
                query.pop(waiting, None)
            body = _bad_body(document, operation, chance)
            response = await rest.client.request(verb.upper(), place, params=query, headers=headers, json=body)
            assert response.status_code < 500, (verb, place, query, body, response.text)
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json", (verb, place)
                problem = response.json()
                assert problem["type"].removeprefix("/docs#problem-") in TITLES
                assert problem["detail"]
        if verb == "delete" and path == "/v1/charging-stations/{station_id}":
            await rest.client.post("/v1/charging-stations", json={"station_id": "CP1"})


GARBAGE = ("text", "-1", str(2**63), "\u0663", "\u0000", "%FF")


_turns = itertools.cycle(itertools.combinations(GARBAGE, 2))


async def test_no_parameter_of_any_route_makes_a_mistake_of_ours(rest: Rest) -> None:
    """Each parameter in path and query with two pieces of garbage, others each time; the rest of the request is plausible."""
    document = await _document(rest)
    rest.stations.connected[await rest.station("CP1")] = StationDouble()
    for verb, path, operation in _operations(document):
        if path == "/metrics":
            continue
        parameters = operation.get("parameters", [])
        for one in parameters:
            if one["in"] == "header" or one["name"] == "wait_s":
                continue
            # the framework takes typed ones before anything of ours can refuse them as a problem
            assert one["in"] == "query" or one["schema"]["type"] == "string", (verb, path)
            for garbage in next(_turns):
                place = path
                for other in parameters:
                    if other["in"] == "path":
                        plain = "CP1" if other["name"] == "station_id" else "1"
                        value = ("%FF" if garbage == "%FF" else quote(garbage, safe="")) if other is one else plain
                        place = place.replace(f"{{{other['name']}}}", value)
                if "text/event-stream" in _text(operation["responses"]) and one["in"] == "path":
                    continue
                query = {one["name"]: garbage} if one["in"] == "query" else {}
                if verb == "delete" and one["in"] == "query":
                    query["unknown"] = "1"  # nothing is to be deleted here
                async with rest.client.stream(verb.upper(), place, params=query) as response:
                    assert response.status_code < 500, (verb, place, query, await response.aread())
                    if response.status_code >= 400:
                        assert response.headers["content-type"] == "application/problem+json", (verb, place)


def _bad_body(document: dict[str, Any], operation: dict[str, Any], chance: random.Random) -> Any:
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    if "oneOf" in schema:
        schema = chance.choice(schema["oneOf"])
    schema = document["components"]["schemas"][schema["$ref"].split("/")[-1]]
    if chance.random() < 0.1:
        return chance.choice(NASTY)
    body: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if "const" in field:
            body[name] = field["const"]
        elif name in schema.get("required", ()) or chance.random() < 0.5:
            body[name] = chance.choice(NASTY) if chance.random() < 0.6 else _plausible(field)
    if chance.random() < 0.1:
        body["unknown"] = 1
    return body


def _plausible(field: dict[str, Any]) -> Any:
    options = field.get("oneOf", [field])
    kind = options[0].get("type")
    if kind == "integer":
        return 1
    if kind == "number":
        return 0.5
    return {"object": {"k": 1}, "array": ["calls"], "boolean": True}.get(kind, "Text of a fair length")
