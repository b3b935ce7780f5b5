"""The Litestar application: routes, and what every request goes through.

Order of a request: path segments are decoded one by one, so that a `%2F` inside an id stays in it; the route is found;
the key is checked; unknown query parameters are refused; an Idempotency-Key is looked up; the body is decoded strictly;
the route runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import asyncpg
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.params import HeaderParameter
from litestar.types import HTTPScope

from chargeplane.app.addresses import FILES
from chargeplane.edges.http.auth import Authenticator
from chargeplane.edges.http.files import files_app
from chargeplane.edges.http.idempotency import Idempotency
from chargeplane.edges.http.openapi import WireSchema, openapi_config
from chargeplane.edges.http.problems import (
    FieldProblem,
    ProblemError,
    handle_bug,
    handle_error,
    handle_http,
    handle_problem,
    handle_unavailable,
    to_response,
)
from chargeplane.edges.http.routes import route_handlers
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.wire import Wire
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.kernel.proxies import TrustedProxies
from chargeplane.kernel.text import storable

MAX_BODY: Final = 1024 * 1024
"""Bytes a request body may have."""

_FILES: Final = FILES.encode()

_NO_PROXIES: Final = TrustedProxies()

_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]


Door = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]
"""An ASGI application beside this one."""


def make_app(
    services: Services, proxies: TrustedProxies = _NO_PROXIES, doors: Mapping[str, Door] | None = None
) -> Door:
    """The ASGI application.

    Args:
        proxies: reverse proxies whose word is taken for whom they connect.
        doors: other applications, by what their paths begin with.
    """
    others = [(begin.encode(), f"{begin}/".encode(), door) for begin, door in (doors or {}).items()]
    idempotency = Idempotency(services.database, services.keys)

    async def before_request(request: Request[Any, Any, Any]) -> Response[bytes] | None:
        _decode_path(request)
        _refuse_unknown_parameters(request)
        return await idempotency.begin(request)

    app = Litestar(
        route_handlers=route_handlers(services),
        guards=[Authenticator(services.api_keys, services.business.logins, services.business.guard)],
        before_request=before_request,
        before_send=[idempotency.before_send],
        dto=Wire,
        return_dto=Wire,
        request_max_body_size=MAX_BODY,
        openapi_config=openapi_config(),
        plugins=[WireSchema()],
        logging_config=None,
        exception_handlers={
            ProblemError: handle_problem,
            ChargeplaneError: handle_error,
            HTTPException: handle_http,
            asyncpg.PostgresConnectionError: handle_unavailable,
            asyncpg.InterfaceError: handle_unavailable,
            asyncpg.OperatorInterventionError: handle_unavailable,
            asyncpg.InsufficientResourcesError: handle_unavailable,
            OSError: handle_unavailable,
            TimeoutError: handle_unavailable,
            Exception: handle_bug,
        },
    )

    files = files_app(services.subjects.firmware, services.subjects.uploads)

    async def outer(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] == "http":
            if proxies:
                _see_through(scope, proxies)
            if scope["raw_path"].startswith(_FILES):
                await files(scope, receive, send)
                return
            for whole, begin, door in others:
                if scope["raw_path"].startswith(begin) or scope["raw_path"] == whole:
                    await door(scope, receive, send)
                    return
            # Litestar splits the decoded path; given the encoded one, a slash inside an id stays inside it.
            try:
                scope["path"] = scope["raw_path"].decode("ascii")
            except UnicodeDecodeError:
                await _refuse_path(scope, receive, send)
                return
        await app(scope, receive, send)  # type: ignore[arg-type]

    return outer


def _see_through(scope: MutableMapping[str, Any], proxies: TrustedProxies) -> None:
    """Takes the address for which a trusted proxy asks as the caller's."""
    host, _ = scope["client"] or ("", 0)
    name = proxies.header.value.lower().encode()
    values = [value.decode("latin-1") for header, value in scope["headers"] if header == name]
    client = proxies.client(host, values)
    if client != host:
        scope["client"] = (client, 0)


async def _refuse_path(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
    response = to_response(400, "malformed-request", "The path holds bytes that must be percent-encoded.", path=None)
    await response.to_asgi_response(Request(scope), Request(scope))(scope, receive, send)  # type: ignore[arg-type]


def _decode_path(request: Request[Any, Any, Any]) -> None:
    parameters = request.scope["path_params"]
    if not parameters:
        return
    decoded = {}
    for name, value in parameters.items():
        try:
            text = unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            text = "\x00"
        if not storable(text):
            raise ProblemError(404, "not-found", f"There is nothing at '{request.scope['path']}'.")
        decoded[name] = text
    request.scope["path_params"] = decoded


_NOT_QUERY: Final = frozenset({"data", "request"})
_known: dict[str, frozenset[str]] = {}


def _refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    scope: HTTPScope = request.scope
    if not scope["query_string"]:
        return
    handler = scope["route_handler"]
    if handler.opt.get("any_query"):  # a page that others lead to, who add what they like
        return
    known = _known.get(handler.handler_id)
    if known is None:
        known = _known[handler.handler_id] = frozenset(
            getattr(field.kwarg_definition, "name", None) or name
            for name, field in handler.parsed_fn_signature.parameters.items()
            if name not in _NOT_QUERY
            and name not in scope["path_params"]
            and not isinstance(field.kwarg_definition, HeaderParameter)
        )
    for name, values in request.query_params.dict().items():
        if name not in known:
            allowed = ", ".join(f"'{k}'" for k in sorted(known)) or "none"
            sentence = f"Unknown parameter; known here: {allowed}"
            raise ProblemError(
                400,
                "malformed-request",
                f"'{name}': {sentence}.",
                errors=[FieldProblem(detail=sentence, parameter=name)],
            )
        for value in values:
            if not storable(value):
                sentence = "The text holds U+0000 or is not UTF-8"
                raise ProblemError(
                    400,
                    "malformed-request",
                    f"'{name}': {sentence}.",
                    errors=[FieldProblem(detail=sentence, parameter=name)],
                )
