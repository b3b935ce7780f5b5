"""The OpenAPI 3.1 document, made from the routes, and the page for people made from the document."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final, TypeVar, get_args, get_type_hints

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, License, OpenAPIType, Schema, SecurityScheme, Server, Tag
from litestar.plugins import OpenAPISchemaPlugin
from litestar.router import Router
from litestar.typing import FieldDefinition

from chargeplane import __version__
from chargeplane.edges.http.problems import MEDIA_TYPE, TITLES
from chargeplane.edges.http.wire import ENCODER
from chargeplane.kernel.money import Money
from chargeplane.store.queries.paging import Sorts

_TAGS: Final = (
    ("charging-stations", "Charging stations: registration, state, credentials."),
    ("calls", "Raw OCPP calls, sent as given, in the station's own version."),
    ("commands", "Version-free commands and how they ended."),
    ("variables", "What stations tell of their variables (1.6: keys), and changing them."),
    ("configuration", "What stations of a kind are to have, and how far they are from it."),
    ("messages", "The OCPP log."),
    ("transactions", "Charging transactions with their events and meter values."),
    ("id-tokens", "Whom stations let charge."),
    ("quarantine", "Messages that could not be understood or matched."),
    ("quirks", "What vendors, models and firmwares are known for."),
    ("outbox", "What follows from changes and has not been handed over."),
    ("certificates", "Certificates of charging stations, and the authority that signs them."),
    ("smart-charging", "Charging profiles, limits, what vehicles need, and DER control."),
    ("requests", "What stations were asked for and tell about in later messages."),
    ("plug-and-charge", "Contracts, the authorities they lead to, and cars that asked for certificates."),
    ("display", "Messages and tariffs on stations' displays."),
    ("battery-swaps", "Batteries given and taken."),
    ("event-streams", "Streams of periodic values of stations."),
    ("payments", "Payments, their providers, wallets and credit accounts."),
    ("guests", "What guests at an EVSE see and do, without a key."),
    ("settlements", "Payments at stations' own terminals."),
    ("alerts", "What a person should look at."),
    ("firmware", "Firmware files, and updates of charging stations."),
    ("diagnostics", "Logs that charging stations upload, their monitors and events."),
    ("security", "The security log, certificates on stations, changes of their passwords and security profiles."),
    ("locations", "Locations with their EVSEs and connectors, and the stations they are bound to."),
    ("tariffs", "Tariffs with versions that never change, and what charging would cost."),
    (
        "service-agreements",
        "Contracts between providers and consumers of charging: terms, states, versions, who they apply to.",
    ),
    ("drivers", "Drivers with their id tokens and vehicles, and cards that were printed."),
    ("invoices", "Billing runs, invoices, credit notes, documents for people and machines, taxes by country."),
    ("ledger", "Double entry: accounts with balances, entries that are never changed, the check, closing of periods."),
    ("settlements", "What site hosts get of what is earned at their places, and how we stand with roaming partners."),
    ("sessions", "Charging sessions: the business view of transactions, and what they cost, line by line."),
    ("cdrs", "What sessions came to: CDRs, credits, corrections, exports."),
    ("roaming", "Partners by OCPI: who they are, how they do, what went over the wire, what waits to be sent."),
    ("webhooks", "What happened, sent to whoever asked to hear of it, signed by Standard Webhooks."),
    ("performance", "How stations and the network do: uptime, success, utilisation, revenue, repair."),
    ("work", "What needs a person, by revenue at risk."),
    ("me", "The drivers' own door: account, devices, id tokens, vehicles, charging."),
    ("users", "People who work with the tenant, in roles."),
    ("login", "How users sign in."),
    ("bookings", "EVSEs booked for an interval: what is free, what it costs, who comes."),
    ("events", "Everything that changes, live."),
    ("administration", "API keys and tenants."),
    ("health", "For orchestrators and monitoring."),
)

_DESCRIPTION: Final = """\
The control plane for EV charging.

**Authentication.** `Authorization: Bearer KEY` on every request. A key belongs to one tenant and has scopes.

**Lists** are pages `{items, next_cursor}`, newest first, or sorted by `sort`; give `next_cursor` as `cursor` for the next one.

**Writing.** Unknown fields are refused. `Idempotency-Key` on POST makes a retry safe for 24 hours: the same request gets
the first answer again. `If-Match` with an `ETag` on PATCH refuses to overwrite what someone else changed.

**Problems** are `application/problem+json` (RFC 9457) with one entry in `errors` per wrong field.

**Units.** Times are RFC 3339 in UTC, energy is Wh and power W as numbers, named so.
"""


class _Nothing(OpenAPIRenderPlugin):
    """Keeps Litestar's own pages, which load scripts from elsewhere, away."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return b""


def openapi_config() -> OpenAPIConfig:
    """What the document says of itself."""
    return OpenAPIConfig(
        title="Chargeplane",
        version=__version__,
        description=_DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        servers=[Server(url="/")],
        tags=[Tag(name=name, description=text) for name, text in _TAGS],
        components=Components(
            security_schemes={
                "api_key": SecurityScheme(type="http", scheme="bearer", description="An API key of one tenant.")
            }
        ),
        security=[{"api_key": []}],
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, method, path: handler.handler_name,
        openapi_router=Router("/_openapi", route_handlers=[], include_in_schema=False, opt={"public": True}),
        render_plugins=[_Nothing(path="/openapi.json")],
    )


_MONEY: Final = Schema(
    type=OpenAPIType.OBJECT,
    title="Money",
    description="An amount in a currency; a decimal number as text, so that nobody reads it as a float.",
    properties={
        "amount": Schema(type=OpenAPIType.STRING, pattern=r"^-?[0-9]+(\.[0-9]+)?$"),
        "currency": Schema(type=OpenAPIType.STRING, description="ISO 4217."),
    },
    required=["amount", "currency"],
    examples=[{"amount": "12.34", "currency": "EUR"}],
)


class WireSchema(OpenAPISchemaPlugin):
    """Says that a `msgspec.Raw` is a JSON object, that Decimals travel as JSON numbers, and amounts of money as texts."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether the type is ours to describe."""
        return value is msgspec.Raw or value is Decimal or value is Money

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """The schema."""
        if field_definition.annotation is Money:
            return _MONEY
        is_number = field_definition.annotation is Decimal
        return Schema(type=OpenAPIType.NUMBER if is_number else OpenAPIType.OBJECT)


_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "title": "Problem",
    "description": "A refusal (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Where the kind is described."},
        "title": {"type": "string", "description": "The kind in a few words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was wrong with this request and what to do."},
        "instance": {"type": "string", "description": "Path of the request."},
        "required_scope": {"type": "string", "description": "What the key lacks."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string", "description": "JSON pointer into the body, as a URI fragment."},
                    "parameter": {"type": "string", "description": "Name of the query parameter or header."},
                },
            },
        },
    },
}


def _whole(value: Any) -> Any:
    """Without the empty alternative that Litestar makes of the dots in `tuple[X, ...]`."""
    if isinstance(value, dict):
        choices = value.get("oneOf")
        if isinstance(choices, list) and {} in choices:
            left = [one for one in choices if one]
            if len(left) == 1:
                value = {**{key: one for key, one in value.items() if key != "oneOf"}, **left[0]}
            else:
                value = {**value, "oneOf": left}
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return value


def document(app: Litestar) -> dict[str, Any]:
    """The OpenAPI document as JSON-able values: Litestar's, with our problems, scopes and headers."""
    made: dict[str, Any] = msgspec.json.decode(ENCODER.encode(app.openapi_schema.to_schema()))
    made = _whole(_named(made))
    schemas = made["components"]["schemas"]
    _describe(app, schemas)
    schemas["Problem"] = _PROBLEM_SCHEMA
    problem = {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    opts = _opts(app)
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if not isinstance(operation, dict) or "responses" not in operation:
                continue
            opt = opts.get((path, method.upper()), {})
            operation["summary"] = operation["operationId"].replace("_", " ").capitalize()
            operation["responses"].pop("400", None)
            _say_media_types(operation["responses"], opt.get("files"), opt.get("also", ()))
            operation["responses"]["default"] = problem
            if opt.get("public"):
                operation["security"] = []
            elif scope := opt.get("scope"):
                operation["x-required-scope"] = str(scope)
                operation["description"] = (
                    operation.get("description", "") + f"\n\nNeeds the scope `{scope}`."
                ).strip()
            for person in ("driver", "user"):
                if opt.get(person):
                    operation["x-required-login"] = person
                    operation["description"] = (
                        operation.get("description", "") + f"\n\nNeeds the login of a {person}."
                    ).strip()
            if "sorts" in opt:
                _say_sorts(operation, opt["sorts"])
            if method == "post" and not opt.get("public"):
                operation.setdefault("parameters", []).append(
                    {
                        "name": "Idempotency-Key",
                        "in": "header",
                        "required": False,
                        "schema": {"type": "string", "maxLength": 200},
                        "description": "Makes a retry of this request safe for 24 hours.",
                    }
                )
    return made


def _say_sorts(operation: dict[str, Any], sorts: Sorts) -> None:
    """Names what a list is sorted by, and what by itself."""
    for parameter in operation["parameters"]:
        if parameter["name"] == "sort":
            parameter["schema"] = {"type": "string", "enum": list(sorts.choices)}
            parameter["description"] += f" Without it as by `{sorts.default}`."


def _say_media_types(responses: dict[str, Any], files: Sequence[str] | None, also: Sequence[str]) -> None:
    """Says what Litestar leaves open of handlers that return a `Response`: that they answer in JSON, or in the route's `files`,
    or in what it knows `also`."""
    for status, response in responses.items():
        if status in ("204", "205"):
            response.pop("content", None)
        elif files is not None and status == "200":
            response["content"] = {
                kind: {"schema": {"type": "object" if kind == "application/json" else "string"}} for kind in files
            }
        elif "" in response.get("content", {}):
            response["content"]["application/json"] = response["content"].pop("")
        if status == "200":
            response.get("content", {}).update({kind: {"schema": {"type": "string"}} for kind in also})


_PAGE = re.compile(r"Page_((?:\w+\.)*)(\w+?)_(?=[\"'])")


def _named(made: dict[str, Any]) -> dict[str, Any]:
    """The document with `Page_some.module.Thing_` called `PageOfThing`, or by its module too where several have a `Thing`."""
    text = msgspec.json.encode(made).decode()
    modules: dict[str, set[str]] = {}
    for module, name in _PAGE.findall(text):
        modules.setdefault(name, set()).add(module)

    def named(found: re.Match[str]) -> str:
        module, name = found.groups()
        if len(modules[name]) == 1:
            return f"PageOf{name}"
        return f"PageOf{''.join(word.capitalize() for word in module.split('.')[-2].split('_'))}{name}"

    renamed: dict[str, Any] = msgspec.json.decode(_PAGE.sub(named, text))
    return renamed


def _describe(app: Litestar, schemas: dict[str, Any]) -> None:
    """Takes the descriptions of structs and their fields from their docstrings."""
    for kind in _structs(app):
        schema = schemas.get(kind.__name__)
        text = inspect.getdoc(kind)
        if schema is None or not text:
            continue
        first, _, arguments = text.partition("\n\nArgs:\n")
        schema["description"] = " ".join(first.split())
        for names, sentence in _ARGUMENT.findall(arguments):
            for name in names.split(", "):
                field = schema.get("properties", {}).get(name)
                if field is not None and "$ref" not in field:
                    field["description"] = sentence[:1].upper() + " ".join(sentence.split())[1:]


_ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n        .*)*)", re.MULTILINE)


def _structs(app: Litestar) -> Iterator[type[msgspec.Struct]]:
    todo: list[Any] = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            todo.append(handler.parsed_fn_signature.return_type.annotation)
            if handler.parsed_data_field is not None:
                todo.append(handler.parsed_data_field.annotation)
    seen: set[Any] = set()
    while todo:
        kind = todo.pop()
        if isinstance(kind, TypeVar) or kind in seen:
            continue
        seen.add(kind)
        todo += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind
            todo += get_type_hints(kind, include_extras=True).values()


def _opts(app: Litestar) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods:
                found[(route.path_format, str(method))] = handler.opt
    return found


def openapi_routes() -> list[HTTPRouteHandler]:
    """/v1/openapi.json and /docs."""
    made: list[bytes] = []

    @get("/v1/openapi.json", include_in_schema=False, opt={"public": True}, return_dto=None)
    async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
        if not made:
            made.append(ENCODER.encode(document(request.app)))
        return Response(
            made[0],
            media_type="application/vnd.oai.openapi+json;version=3.1",
            headers={"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"},
        )

    page = files("chargeplane.edges.http").joinpath("reference.html").read_text(encoding="utf-8")
    page = page.replace("/*TITLES*/{}", msgspec.json.encode(TITLES).decode())
    page_bytes = page.encode()

    @get("/docs", include_in_schema=False, opt={"public": True}, return_dto=None)
    async def docs() -> Response[bytes]:
        return Response(
            page_bytes,
            media_type="text/html",
            headers={
                "Cache-Control": "no-cache",
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
                " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                "X-Content-Type-Options": "nosniff",
            },
        )

    return [openapi_json, docs]
