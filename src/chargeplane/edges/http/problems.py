"""Problem details (RFC 9457): the one table from errors to HTTP status, and the wire form of a refusal.

Every answer that is not a success is `application/problem+json` with `type`, `title`, `status`, `detail`, `instance`,
and one entry in `errors` per wrong field: a JSON `pointer` into the body, or the `parameter` of the query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from chargeplane.app.charging_stations import StaleError
from chargeplane.app.people.user_accounts import SecondFactorError
from chargeplane.kernel.errors import (
    ChargeplaneError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LocalProtocolError,
    NotFoundError,
    PeerError,
    RuleError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)

_log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


class FieldProblem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is wrong with one field.

    Args:
        detail: one sentence.
        pointer: JSON pointer into the body (RFC 6901), as a URI fragment.
        parameter: name of the query parameter or header.
    """

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal (RFC 9457, 3.1).

    Args:
        type: where the kind of problem is described.
        title: the kind in a few words, the same for every occurrence.
        detail: this occurrence in one or two sentences: what was wrong and what to do.
        instance: path of the request.
        errors: one entry per wrong field.
        required_scope: what the key lacks, where that is the reason.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: tuple[FieldProblem, ...] = ()
    required_scope: str | None = None


class ProblemError(Exception):
    """Raised inside this edge to answer with a problem.

    Args:
        kind: last part of the problem's `type`, one of `TITLES`.
        headers: added to the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        required_scope: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.required_scope = required_scope


TITLES: Final = {
    "malformed-request": "The request could not be read",
    "invalid-input": "The request holds values that are not allowed",
    "unauthenticated": "An API key or a login is needed",
    "second-factor-needed": "A one-time code is needed too",
    "forbidden": "The API key may not do this",
    "not-found": "There is no such resource",
    "method-not-allowed": "The resource does not know this method",
    "conflict": "The state of the resource forbids this",
    "precondition-failed": "The resource was changed by someone else",
    "too-large": "The body is too large",
    "unsupported-media-type": "The body is not JSON",
    "refused": "A rule of the house forbids this",
    "throttled": "Too many requests",
    "idempotency-key-reused": "The Idempotency-Key was used for another request",
    "peer-failed": "A station or partner broke its protocol",
    "unavailable": "Cannot be done now, try again",
    "internal": "The server made a mistake",
}

_BY_ERROR: Final[tuple[tuple[type[ChargeplaneError], int, str], ...]] = (
    (InvalidInputError, 422, "invalid-input"),
    (StaleError, 412, "precondition-failed"),
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (ForbiddenError, 403, "forbidden"),
    (SecondFactorError, 401, "second-factor-needed"),
    (UnauthenticatedError, 401, "unauthenticated"),
    (ThrottledError, 429, "throttled"),
    (RuleError, 422, "refused"),
    (PeerError, 502, "peer-failed"),
    (LocalProtocolError, 500, "internal"),
    (UnavailableError, 503, "unavailable"),
)

_BY_STATUS: Final = {
    400: "malformed-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    429: "throttled",
    503: "unavailable",
}

_encode = msgspec.json.Encoder().encode


def to_response(
    status: int,
    kind: str,
    detail: str,
    *,
    path: str | None,
    errors: tuple[FieldProblem, ...] = (),
    headers: Mapping[str, str] | None = None,
    required_scope: str | None = None,
) -> Response[bytes]:
    """A problem as a response."""
    problem = Problem(
        type=f"/docs#problem-{kind}",
        title=TITLES.get(kind, HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        instance=path,
        errors=errors,
        required_scope=required_scope,
    )
    return Response(_encode(problem), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def field_problems(fields: Sequence[tuple[str, str]]) -> tuple[FieldProblem, ...]:
    """The wire form of `InvalidInputError.fields`: `?name` is a query parameter, anything else a JSON pointer."""
    return tuple(
        FieldProblem(detail=sentence, parameter=pointer[1:])
        if pointer.startswith("?")
        else FieldProblem(detail=sentence, pointer="#" + pointer)
        for pointer, sentence in fields
    )


_PATH = re.compile(r" - at `\$?([^`]*)`$")
_KEY_PATH = re.compile(r" - at `key` in `\$?([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"(?:unknown|required) field `(.+)`$")


def pointer_of(message: str) -> tuple[str, str]:
    """JSON pointer and sentence from the text of a `msgspec.ValidationError`.

    Examples:
        "Expected `int`, got `str` - at `$.a.b[0]`" gives ("/a/b/0", "Expected `int`, got `str`").
        "Object contains unknown field `x` - at `$.a`" gives ("/a/x", ...): the pointer names the field itself.
    """
    where = _KEY_PATH.search(message) or _PATH.search(message)
    sentence = message[: where.start()] if where else message
    pointer = ""
    if where:
        for name, index in _STEP.findall(where.group(1)):
            step = (name or index).replace("~", "~0").replace("/", "~1")
            pointer += "/" + ("-" if step == "..." else step)
    named = _NAMED.search(sentence)
    if named:
        pointer += "/" + named.group(1).replace("~", "~0").replace("/", "~1")
    return pointer, sentence


def invalid_body(error: msgspec.ValidationError) -> ProblemError:
    """The problem of a body that is JSON and does not fit."""
    pointer, sentence = pointer_of(str(error))
    named = pointer.rsplit("/", 1)[-1] if pointer else ""
    return ProblemError(
        422,
        "invalid-input",
        f"The field '{named}' is wrong: {sentence}." if named else f"The body is wrong: {sentence}.",
        errors=[FieldProblem(detail=sentence, pointer="#" + pointer)],
    )


def handle_problem(request: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    """Answers with what the edge itself raised."""
    return to_response(
        error.status,
        error.kind,
        error.detail,
        path=request.url.path,
        errors=error.errors,
        headers=error.headers,
        required_scope=error.required_scope,
    )


def handle_error(request: Request[Any, Any, Any], error: ChargeplaneError) -> Response[bytes]:
    """Answers with the status of an error of the inner rings."""
    status, kind = next(((s, k) for kinds, s, k in _BY_ERROR if isinstance(error, kinds)), (500, "internal"))
    if status == 500:
        _log.error("http.bug", path=request.url.path, error=str(error), exc_info=error)
    fields = field_problems(error.fields) if isinstance(error, InvalidInputError) else ()
    headers = {"Retry-After": "1"} if status == 503 else None
    if isinstance(error, ThrottledError):
        headers = {"Retry-After": str(ceil(error.wait_s))}
    return to_response(status, kind, str(error), path=request.url.path, errors=fields, headers=headers)


def handle_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answers with what the framework raised: routing, parameters, sizes."""
    status = error.status_code
    errors: tuple[FieldProblem, ...] = ()
    detail = str(error.detail)
    if isinstance(error, ValidationException):
        entries = [e for e in (error.extra or []) if isinstance(e, dict)]
        if any(e.get("key") == "data" for e in entries):
            return to_response(
                400, "malformed-request", "This request needs a JSON object as its body.", path=request.url.path
            )
        errors = tuple(
            FieldProblem(detail=_readable(e["message"]), parameter=_parameter_name(request, e.get("key")))
            for e in entries
        )
        detail = "; ".join(f"'{e.parameter}': {e.detail}" for e in errors) or detail
    elif status == 404:
        detail = f"There is nothing at '{request.url.path}'."
    elif status == 405:
        detail = f"'{request.url.path}' does not know {request.method}."
    elif status == 413:
        detail = "A body may hold at most 1 MiB."
    elif status >= 500:
        _log.error("http.bug", path=request.url.path, exc_info=error)
        detail = "The server made a mistake; it has been written to the log."
    return to_response(
        status,
        _BY_STATUS.get(status, "internal" if status >= 500 else "malformed-request"),
        detail,
        path=request.url.path,
        errors=errors,
        headers=error.headers,
    )


def _parameter_name(request: Request[Any, Any, Any], argument: str | None) -> str | None:
    """The caller's name of a handler's argument."""
    field = request.scope["route_handler"].parsed_fn_signature.parameters.get(argument or "")
    return getattr(field.kwarg_definition, "name", None) or argument if field is not None else argument


def _readable(message: str) -> str:
    return _PATH.sub("", message)


def handle_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answers what nobody foresaw; the caller learns nothing of the inside."""
    _log.error("http.bug", path=request.url.path, method=request.method, exc_info=error)
    return to_response(
        500, "internal", "The server made a mistake; it has been written to the log.", path=request.url.path
    )


def handle_unavailable(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answers while the database cannot be reached."""
    _log.warning("http.database_unavailable", path=request.url.path, error=repr(error))
    return to_response(
        503,
        "unavailable",
        "The database cannot be reached now; try again.",
        path=request.url.path,
        headers={"Retry-After": "1"},
    )
