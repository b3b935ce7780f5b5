"""Who calls: `Authorization: Bearer` with an API key or the token of a login, or a login's cookie; the scope a route asks for; guesses
slowed down.

A cookie is sent by browsers whoever wrote the page, so a change by cookie must bring `X-CSRF-Token`, which only our own pages can know, and
must not come from another site by the browser's own word (Sec-Fetch-Site).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from hmac import compare_digest
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from chargeplane.app.api_keys import ApiKeys, Caller, Scope
from chargeplane.app.people.guard import Guard
from chargeplane.app.people.logins import DRIVER_PREFIX, USER_PREFIX, Logins, csrf_token_of
from chargeplane.edges.http.problems import ProblemError
from chargeplane.store.secrets import hash_api_key

DRIVER_COOKIE: Final = "chargeplane_driver"
USER_COOKIE: Final = "chargeplane_user"
CSRF_HEADER: Final = "X-CSRF-Token"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})

_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="chargeplane"'}


class Failures:
    """Failed authentications per address at this process: a bucket of `burst`, refilled at `per_minute`; `Guard` counts those at all.

    Only failures count, and a key that was right before passes at any time, so that a guesser behind the same address
    locks nobody out.
    """

    def __init__(self, *, burst: int = 20, per_minute: float = 20, addresses: int = 10_000) -> None:
        self._burst = burst
        self._per_s = per_minute / 60
        self._addresses = addresses
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """Seconds until the address may guess again; 0 where it may now."""
        entry = self._spent.get(address)
        if entry is None:
            return 0.0
        spent, at = entry
        spent -= (now - at) * self._per_s
        return 0.0 if spent < self._burst else (spent - self._burst + 1) / self._per_s

    def failed(self, address: str, now: float) -> None:
        """Counts a failure."""
        spent, at = self._spent.pop(address, (0.0, now))
        self._spent[address] = (max(0.0, spent - (now - at) * self._per_s) + 1, now)
        if len(self._spent) > self._addresses:
            self._spent.popitem(last=False)

    def was_good(self, hashed: bytes) -> bool:
        """Whether the key authenticated before in this process."""
        return hashed in self._good

    def succeeded(self, hashed: bytes) -> None:
        """Remembers a right key."""
        self._good[hashed] = None
        if len(self._good) > self._addresses:
            self._good.popitem(last=False)


class Authenticator:
    """The guard in front of every route that is not public.

    A route names what it needs in its `opt`: `scope=Scope.X`; `driver=True` a driver who is signed in, `user=True` a user; or
    `public=True`.
    """

    def __init__(self, api_keys: ApiKeys, logins: Logins, guard: Guard) -> None:
        self._api_keys = api_keys
        self._logins = logins
        self._guard = guard
        self._failures = Failures()

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Sets `request.user`, or refuses.

        Raises:
            ProblemError: 401 no or a wrong key, 403 the key lacks the route's scope, 429 too many wrong keys.
        """
        if handler.opt.get("public"):
            return
        for_driver = bool(handler.opt.get("driver"))
        key, by_cookie = _key_of(connection, DRIVER_COOKIE if for_driver else USER_COOKIE)
        caller = await self._caller(key, connection.client.host if connection.client else "", for_driver)
        if by_cookie:
            _refuse_foreign_pages(connection, key)
        if for_driver and not caller.driver_id:
            raise ProblemError(403, "forbidden", "This is a driver's own door; an operator has /v1/drivers.")
        if caller.driver_id and not for_driver:
            raise ProblemError(403, "forbidden", "This is an operator's door; a driver has /v1/me.")
        if handler.opt.get("user") and not caller.user_id:
            raise ProblemError(403, "forbidden", "This is about a user who is signed in; an API key is nobody.")
        scope: Scope | None = handler.opt.get("scope")
        if scope is not None and not caller.may(scope):
            raise ProblemError(
                403,
                "forbidden",
                f"The key '{caller.name}' lacks the scope '{scope}'.",
                required_scope=str(scope),
            )
        connection.scope["user"] = caller

    async def _caller(self, key: str, address: str, for_driver: bool) -> Caller:
        now = time.monotonic()
        hashed = hash_api_key(key)
        wait_s = self._failures.wait_s(address, now)
        if wait_s > 0 and not self._failures.was_good(hashed):
            raise ProblemError(
                429,
                "throttled",
                f"Too many wrong keys came from {address or 'this address'}; try again in {int(wait_s) + 1} s.",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        if address and not self._failures.was_good(hashed):
            await self._guard.require_unlocked(address)
        caller = None
        if key.startswith((DRIVER_PREFIX, USER_PREFIX)):
            caller = await self._logins.authenticate(key)
        if caller is None and not for_driver:
            caller = await self._api_keys.authenticate(key)
        if caller is None:
            self._failures.failed(address, now)
            if address:
                await self._guard.wrong_key(address)
            raise ProblemError(
                401,
                "unauthenticated",
                "The token of the login is unknown, expired or revoked; sign in."
                if for_driver or key.startswith((DRIVER_PREFIX, USER_PREFIX))
                else "The API key is unknown, expired or revoked.",
                headers=_CHALLENGE | {"WWW-Authenticate": 'Bearer realm="chargeplane", error="invalid_token"'},
            )
        self._failures.succeeded(hashed)
        return caller


def _key_of(connection: ASGIConnection[Any, Any, Any, Any], cookie: str) -> tuple[str, bool]:
    """The key or token of a request, and whether it came as a cookie.

    Raises:
        ProblemError: 401, there is none.
    """
    header = connection.headers.get("authorization")
    if header is None:
        token = connection.cookies.get(cookie)
        if token:
            return token, True
        needed = (
            "Sign in at /v1/me/login, and send the token in the header 'Authorization: Bearer TOKEN'."
            if cookie == DRIVER_COOKIE
            else "Send an API key in the header 'Authorization: Bearer KEY'."
        )
        raise ProblemError(401, "unauthenticated", needed, headers=_CHALLENGE)
    kind, _, key = header.partition(" ")
    key = key.strip()
    if kind.lower() != "bearer" or not key:
        raise ProblemError(
            401, "unauthenticated", "The Authorization header must read 'Bearer KEY'.", headers=_CHALLENGE
        )
    return key, False


def _refuse_foreign_pages(connection: ASGIConnection[Any, Any, Any, Any], token: str) -> None:
    """Refuses a change by cookie that another site may have made.

    Raises:
        ProblemError: 403.
    """
    if str(connection.scope.get("method", "")).upper() in _READING:
        return
    site = connection.headers.get("sec-fetch-site")
    sent = connection.headers.get(CSRF_HEADER, "")
    if (site is None or site in _OWN_SITES) and compare_digest(sent.encode(), csrf_token_of(token).encode()):
        return
    raise ProblemError(
        403,
        "forbidden",
        f"A change by cookie needs the header '{CSRF_HEADER}' with the 'csrf_token' of the login, from a page of this site.",
    )


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Who calls; only on routes that are not public."""
    caller: Caller = request.scope["user"]
    return caller
