"""Idempotency-Key on POST: the same request again gets the first one's answer and does nothing.

The key is taken (a row without answer) before the route runs and holds the answer afterwards. Where the server dies in
between, the row is free again after `STALE`. Answers of 5xx are not kept: the request may be tried again. An answer
that holds a secret shown once (a station's password, an API key) is kept encrypted with the installation key.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.types import Message, Scope
from msgspec import Struct

from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.store.database import Database
from chargeplane.store.queries import idempotency as queries
from chargeplane.store.secrets import InstallationKeys

STALE: Final = timedelta(minutes=5)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_STATE: Final = "chargeplane_idempotency"
_KEPT_HEADERS: Final = frozenset({b"content-type", b"location", b"etag"})


class KeptAnswer(Struct, frozen=True, array_like=True):
    """An answer as stored."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Open(Struct):
    tenant_id: int
    route: str
    key: str
    secret: bool
    status: int = 0
    headers: list[tuple[bytes, bytes]] = []
    body: bytes = b""


class Idempotency:
    """Looks up and keeps answers by Idempotency-Key."""

    def __init__(self, database: Database, keys: InstallationKeys) -> None:
        self._database = database
        self._keys = keys

    async def begin(self, request: Request[Any, Any, Any]) -> Response[bytes] | None:
        """The answer of the same request made before, or None where it is to be carried out.

        Raises:
            ProblemError: 400 malformed key, 409 the first request is still running, 422 the key was used otherwise.
        """
        if request.method != "POST":
            return None
        key = request.headers.get("idempotency-key")
        opt = request.scope["route_handler"].opt
        if key is None or opt.get("public") or opt.get("streams"):  # a body as large as a disk is not compared
            return None
        if not _KEY.fullmatch(key):
            sentence = "1 to 200 visible ASCII characters"
            raise ProblemError(
                400,
                "malformed-request",
                f"'Idempotency-Key' must be {sentence}.",
                errors=[FieldProblem(detail=sentence, parameter="Idempotency-Key")],
            )
        caller = caller_of(request)
        tenant_id = caller.tenant_id
        # Of drivers each has keys of their own: one must not be given another's answer.
        route = f"{caller.actor + ' ' if caller.driver_id else ''}POST {request.scope['path']}"
        asked = request.scope["query_string"] + b"\n" + await request.body()
        digest = hashlib.sha256(asked).digest()
        async with self._database.change() as db:
            found = await queries.take(db, tenant_id, route, key, digest, STALE, queries.KEPT)
        if found is None:
            request.scope["state"][_STATE] = _Open(
                tenant_id, route, key, bool(request.scope["route_handler"].opt.get("secret"))
            )
            return None
        if found.body_hash != digest:
            raise ProblemError(
                422,
                "idempotency-key-reused",
                f"The Idempotency-Key '{key}' was used for a request with another body; take a new one.",
            )
        if found.status is None or found.response is None:
            raise ProblemError(
                409,
                "conflict",
                f"The first request with the Idempotency-Key '{key}' is still running.",
                headers={"Retry-After": "1"},
            )
        response = found.response
        if request.scope["route_handler"].opt.get("secret"):
            response = self._keys.decrypt(response, _purpose(tenant_id, route, key))
        kept = msgspec.msgpack.decode(response, type=KeptAnswer)
        headers = {name.decode(): value.decode() for name, value in kept.headers}
        media_type = headers.pop("content-type", "application/json")
        return Response(
            kept.body,
            status_code=found.status,
            media_type=media_type,
            headers={**headers, "Idempotency-Replayed": "true"},
        )

    async def before_send(self, message: Message, scope: Scope) -> None:
        """Keeps the answer before the caller gets it."""
        state: _Open | None = scope["state"].get(_STATE)
        if state is None:
            return
        if message["type"] == "http.response.start":
            state.status = message["status"]
            state.headers = [(n.lower(), v) for n, v in message["headers"] if n.lower() in _KEPT_HEADERS]
        elif message["type"] == "http.response.body":
            state.body += message["body"]
            if message.get("more_body"):
                return
            del scope["state"][_STATE]
            if state.status >= 500:
                async with self._database.change() as db:
                    await queries.release(db, state.tenant_id, state.route, state.key)
                return
            kept = msgspec.msgpack.encode(KeptAnswer(state.headers, state.body))
            if state.secret:
                kept = self._keys.encrypt(kept, _purpose(state.tenant_id, state.route, state.key))
            async with self._database.change() as db:
                await queries.keep(db, state.tenant_id, state.route, state.key, state.status, kept)


def _purpose(tenant_id: int, route: str, key: str) -> str:
    return f"idempotency {tenant_id} {route} {key}"
