"""What both doors for people share: how a login comes in, and how it is handed out."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, Response
from litestar.datastructures import Cookie
from msgspec import Meta, Struct

from chargeplane.app.people.credentials import Door
from chargeplane.app.people.logins import Signed, csrf_token_of
from chargeplane.store.queries.logins import LoginView

GivenEmail = Annotated[str, Meta(min_length=1, max_length=254)]
Password = Annotated[str, Meta(min_length=1, max_length=1000)]
Code = Annotated[str, Meta(min_length=1, max_length=200)]
TenantSlug = Annotated[str, Meta(min_length=1, max_length=63)]
Device = Annotated[str, Meta(min_length=1, max_length=200)]

_PRIVATE: Final = {"Cache-Control": "no-store"}


class LoginKind(enum.StrEnum):
    """How the token of a login travels."""

    BEARER = "bearer"
    """In the answer; the app sends it in the Authorization header."""
    COOKIE = "cookie"
    """As a cookie that pages cannot read; changes need X-CSRF-Token."""


class NewPassword(Struct, kw_only=True, forbid_unknown_fields=True):
    """A new password by the code of a mail, an invitation too."""

    code: Code
    password: Password


class PasswordChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """Another password."""

    password: Password
    new_password: Password


class Proof(Struct, kw_only=True, forbid_unknown_fields=True):
    """The password once more."""

    password: Password


class LoginAnswer(Struct, kw_only=True):
    """A login.

    Args:
        token: to be sent as `Authorization: Bearer TOKEN`; null where it is a cookie.
        csrf_token: to be sent as X-CSRF-Token with every change, where the token is a cookie; null elsewhere.
        expires_at: without any use until then; every use puts it off.
    """

    token: str | None
    csrf_token: str | None
    expires_at: datetime


class LoginList(Struct, kw_only=True):
    """Where a person is signed in."""

    items: list[LoginView]


class Sent(Struct, kw_only=True):
    """What is to be done goes on by mail, if it goes on: whether there is an account is not told."""

    sent: bool = True


def address_of(request: Request[Any, Any, Any]) -> str | None:
    """From where a request came; a trusted proxy's word was taken already."""
    return request.client.host if request.client else None


def door_of(request: Request[Any, Any, Any], kind: LoginKind, device: str | None) -> Door:
    """How somebody comes in."""
    told = device or request.headers.get("user-agent")
    printable = None if told is None else "".join(c for c in told if c.isprintable())[:200]
    return Door(kind=kind.value, device=printable or None, address=address_of(request))


def csrf_of(request: Request[Any, Any, Any], cookie: str) -> str | None:
    """What changes must bring as X-CSRF-Token; None where the login came in the Authorization header."""
    token = request.cookies.get(cookie)
    return csrf_token_of(token) if token is not None and "authorization" not in request.headers else None


def is_secure(request: Request[Any, Any, Any], public_url: str | None) -> bool:
    """Whether people reach this server by https, so that cookies may be kept from going in clear."""
    return (public_url or str(request.base_url)).startswith("https:")


def handed_out(signed: Signed, kind: LoginKind, cookie: str, path: str, secure: bool) -> Response[LoginAnswer]:
    """The answer that hands a login out."""
    by_cookie = kind is LoginKind.COOKIE
    answer = LoginAnswer(
        token=None if by_cookie else signed.token,
        csrf_token=signed.csrf_token if by_cookie else None,
        expires_at=signed.expires_at,
    )
    cookies = [login_cookie(cookie, signed.token, path, secure)] if by_cookie else []
    return Response(answer, status_code=200, headers=_PRIVATE, cookies=cookies)


def login_cookie(name: str, token: str, path: str, secure: bool) -> Cookie:
    """The cookie of a login; it ends with the login, or with the browser's own limit."""
    return Cookie(
        key=name, value=token, path=path, httponly=True, samesite="lax", secure=secure, max_age=400 * 24 * 3600
    )


def taken_back(cookie: str, path: str) -> Response[None]:
    """The answer to signing out."""
    return Response(
        None,
        status_code=204,
        headers=_PRIVATE,
        cookies=[Cookie(key=cookie, value="", path=path, httponly=True, samesite="lax", max_age=0)],
    )
