"""/v1/users, /v1/login and /v1/audit-log."""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Stream
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.people.user_accounts import TotpSetup, Who
from chargeplane.app.people.users import NewUser
from chargeplane.domain.people.drivers import Email, Language
from chargeplane.domain.people.roles import Role
from chargeplane.edges.http.auth import USER_COOKIE, caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.routes.logins import (
    Code,
    Device,
    GivenEmail,
    LoginAnswer,
    LoginKind,
    LoginList,
    NewPassword,
    Password,
    PasswordChange,
    Proof,
    Sent,
    TenantSlug,
    address_of,
    csrf_of,
    door_of,
    handed_out,
    is_secure,
    taken_back,
)
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.wire import ENCODER
from chargeplane.store.queries.audit import AUDIT_SORTS, AuditEntry, AuditFilter
from chargeplane.store.queries.users import USER_SORTS, UserView

UserName = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[^\\x00-\\x1f\\x7f]+$")]
_USER = {"user": True}
_OPEN = {"public": True}
_PATH = "/"


class UserToMake(Struct, kw_only=True, forbid_unknown_fields=True):
    """A user to be made, or one of another tenant to be taken in.

    Args:
        password: without one, an invitation is mailed.
    """

    email: Email
    name: UserName
    role: Role
    language: Language | None = None
    password: Password | None = None


class UserPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of a user; what is left out stays."""

    role: Role | None = None
    name: UserName | None = None
    language: Language | None = None


class UserLogin(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a user signs in by.

    Args:
        code: of the authenticator app, or a recovery code, where the user has a second factor.
        tenant: slug; the first of the user's unless given.
        device: what it is called in the list of sessions; the browser's own name unless given.
    """

    email: GivenEmail
    password: Password
    code: Code | None = None
    tenant: TenantSlug | None = None
    kind: LoginKind = LoginKind.BEARER
    device: Device | None = None


class Switch(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which tenant requests are to be about."""

    tenant: TenantSlug


class UserForgot(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose password is forgotten."""

    email: GivenEmail


class OneTimeCode(Struct, kw_only=True, forbid_unknown_fields=True):
    """A code of the authenticator app."""

    code: Code


class TwoProofs(Struct, kw_only=True, forbid_unknown_fields=True):
    """The password, and a code of the authenticator app or a recovery code."""

    password: Password
    code: Code


class RecoveryCodes(Struct, kw_only=True):
    """Codes that stand for the authenticator app when it is lost, each once; told here alone."""

    recovery_codes: list[str]


class WhoAmI(Who, frozen=True, kw_only=True):
    """The user who is signed in.

    Args:
        csrf_token: to be sent as X-CSRF-Token with every change, where one is signed in by cookie; null elsewhere.
    """

    csrf_token: str | None


def user_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    users = services.business.users

    @post("/v1/users", tags=["users"], opt={"scope": Scope.USERS_WRITE})
    async def create_user(request: Request[Any, Any, Any], data: JSONBody[UserToMake]) -> Response[UserView]:
        """Makes a user of the tenant; one that another tenant has gets a role here. Nobody gives a role that allows more than they may."""
        wanted = NewUser(
            email=data.email, name=data.name, role=data.role, language=data.language, password=data.password
        )
        view = await users.create(caller_of(request), wanted)
        return Response(view, headers={"Location": f"/v1/users/{view.id}", **etag(view.revision)})

    @get("/v1/users", tags=["users"], opt={"scope": Scope.USERS_READ, "sorts": USER_SORTS})
    async def list_users(
        request: Request[Any, Any, Any],
        q: Text = None,
        role: FromQuery[Role | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[UserView]:
        """The tenant's users, newest first. `q` is looked for in name and e-mail."""
        after = begin(request, cursor, sort)
        found = await users.page(caller_of(request), q, role, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/users/{id:str}", tags=["users"], opt={"scope": Scope.USERS_READ})
    async def get_user(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[UserView]:
        """A user of the tenant."""
        view = await users.one(caller_of(request), ident_of("user", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/users/{id:str}", tags=["users"], opt={"scope": Scope.USERS_WRITE})
    async def update_user(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[UserPatch], if_match: IfMatch = None
    ) -> Response[UserView]:
        """Gives a user another role or name; it holds from the next request on."""
        view = await users.change(
            caller_of(request), ident_of("user", id), data.role, data.name, data.language, revision_of(if_match)
        )
        return Response(view, headers=etag(view.revision))

    @delete("/v1/users/{id:str}", tags=["users"], opt={"scope": Scope.USERS_WRITE})
    async def remove_user(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Takes a user's role in the tenant, at once; who has no role anywhere is removed."""
        await users.remove(caller_of(request), ident_of("user", id))

    @post("/v1/users/{id:str}/invite", tags=["users"], opt={"scope": Scope.USERS_WRITE}, status_code=202)
    async def invite_user(request: Request[Any, Any, Any], id: FromPath[str]) -> Sent:
        """Mails the invitation again; the one before works no more."""
        await users.invite(caller_of(request), ident_of("user", id))
        return Sent()

    @post("/v1/users/{id:str}/reset-second-factor", tags=["users"], opt={"scope": Scope.USERS_WRITE}, status_code=200)
    async def reset_second_factor(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[UserView]:
        """Takes the second factor from a user who lost it; the user is signed out everywhere."""
        view = await users.reset_second_factor(caller_of(request), ident_of("user", id))
        return Response(view, headers=etag(view.revision))

    return [create_user, list_users, get_user, update_user, remove_user, invite_user, reset_second_factor]


def login_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    accounts = business.user_accounts

    def shown(who: Who, request: Request[Any, Any, Any]) -> WhoAmI:
        return WhoAmI(
            **{name: getattr(who, name) for name in Who.__struct_fields__}, csrf_token=csrf_of(request, USER_COOKIE)
        )

    @post("/v1/login", tags=["login"], opt=_OPEN, status_code=200)
    async def log_in(request: Request[Any, Any, Any], data: JSONBody[UserLogin]) -> Response[LoginAnswer]:
        """Signs a user in. Where a second factor is needed, the problem `second-factor-needed` says so. What fails again and again has to
        wait, ever longer (429 with Retry-After)."""
        door = door_of(request, data.kind, data.device)
        _, signed = await accounts.sign_in(data.email, data.password, data.code, data.tenant, door)
        return handed_out(signed, data.kind, USER_COOKIE, _PATH, is_secure(request, business.public_url))

    @get("/v1/login", tags=["login"], opt=_USER)
    async def get_login(request: Request[Any, Any, Any]) -> WhoAmI:
        """The user who is signed in, with role and scopes in the tenant."""
        return shown(await accounts.who(caller_of(request)), request)

    @delete("/v1/login", tags=["login"], opt=_USER)
    async def log_out(request: Request[Any, Any, Any]) -> Response[None]:
        """Ends this session."""
        caller = caller_of(request)
        await accounts.sign_out(caller, caller.login_id)
        return taken_back(USER_COOKIE, _PATH)

    @post("/v1/login/switch", tags=["login"], opt=_USER, status_code=200)
    async def switch_tenant(request: Request[Any, Any, Any], data: JSONBody[Switch]) -> Response[LoginAnswer]:
        """Signs in to another tenant of the user's, and out of this one. The new token travels as the old one did."""
        kind = LoginKind.BEARER if "authorization" in request.headers else LoginKind.COOKIE
        _, signed = await accounts.switch(caller_of(request), data.tenant, door_of(request, kind, None))
        return handed_out(signed, kind, USER_COOKIE, _PATH, is_secure(request, business.public_url))

    @get("/v1/login/sessions", tags=["login"], opt=_USER)
    async def list_login_sessions(request: Request[Any, Any, Any]) -> LoginList:
        """Where one is signed in, newest first."""
        return LoginList(items=await accounts.sessions(caller_of(request)))

    @delete("/v1/login/sessions/{id:str}", tags=["login"], opt=_USER)
    async def end_login_session(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Ends one of one's sessions."""
        await accounts.sign_out(caller_of(request), ident_of("session", id))

    @post("/v1/login/forgot-password", tags=["login"], opt=_OPEN, status_code=202)
    async def forgot_user_password(request: Request[Any, Any, Any], data: JSONBody[UserForgot]) -> Sent:
        """Mails a code for a new password, where there is a user; the answer does not tell."""
        await accounts.forgot_password(data.email, address_of(request))
        return Sent()

    @post("/v1/login/reset-password", tags=["login"], opt=_OPEN, status_code=204)
    async def reset_user_password(request: Request[Any, Any, Any], data: JSONBody[NewPassword]) -> None:
        """Sets a password by the code of a mail, an invitation too; all sessions end."""
        await accounts.reset_password(data.code, data.password, address_of(request))

    @post("/v1/login/change-password", tags=["login"], opt=_USER, status_code=204)
    async def change_user_password(request: Request[Any, Any, Any], data: JSONBody[PasswordChange]) -> None:
        """Sets another password; all other sessions end."""
        await accounts.change_password(caller_of(request), data.password, data.new_password, address_of(request))

    @post("/v1/login/second-factor", tags=["login"], opt={**_USER, "secret": True}, status_code=200)
    async def begin_second_factor(request: Request[Any, Any, Any], data: JSONBody[Proof]) -> TotpSetup:
        """Makes a secret for an authenticator app (RFC 6238); it counts when a code of it was given."""
        return await accounts.begin_totp(caller_of(request), data.password, address_of(request))

    @post("/v1/login/second-factor/confirm", tags=["login"], opt={**_USER, "secret": True}, status_code=200)
    async def confirm_second_factor(request: Request[Any, Any, Any], data: JSONBody[OneTimeCode]) -> RecoveryCodes:
        """Takes a first code: from now on one is asked for; all other sessions end."""
        return RecoveryCodes(recovery_codes=await accounts.confirm_totp(caller_of(request), data.code))

    @post("/v1/login/second-factor/remove", tags=["login"], opt=_USER, status_code=204)
    async def remove_second_factor(request: Request[Any, Any, Any], data: JSONBody[TwoProofs]) -> None:
        """Takes the second factor away."""
        await accounts.end_totp(caller_of(request), data.password, data.code, address_of(request))

    return [
        log_in,
        get_login,
        log_out,
        switch_tenant,
        list_login_sessions,
        end_login_session,
        forgot_user_password,
        reset_user_password,
        change_user_password,
        begin_second_factor,
        confirm_second_factor,
        remove_second_factor,
    ]


class ExportFormat(enum.StrEnum):
    """How the audit log is given out."""

    JSON_LINES = "jsonl"
    CSV = "csv"


def audit_log_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    log = services.business.audit_log

    @get("/v1/audit-log", tags=["administration"], opt={"scope": Scope.AUDIT_READ, "sorts": AUDIT_SORTS})
    async def list_audit_log(
        request: Request[Any, Any, Any],
        actor: Text = None,
        action: Text = None,
        object_kind: Text = None,
        object_id: Text = None,
        at_from: From = None,
        at_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[AuditEntry]:
        """Who did what to what, newest first, with what it was before and after. `actor` is as it is shown, with or without the name
        behind: `user:7`, `api-key:3`, `driver:12`."""
        after = begin(request, cursor, sort)
        wanted = _audit_filter(actor, action, object_kind, object_id, at_from, at_to)
        found = await log.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get(
        "/v1/audit-log/export",
        tags=["administration"],
        opt={"scope": Scope.AUDIT_READ, "files": ("application/jsonl", "text/csv")},
        media_type="application/jsonl",
        return_dto=None,
    )
    async def export_audit_log(
        request: Request[Any, Any, Any],
        format: FromQuery[ExportFormat] = ExportFormat.JSON_LINES,
        actor: Text = None,
        action: Text = None,
        object_kind: Text = None,
        object_id: Text = None,
        at_from: From = None,
        at_to: To = None,
    ) -> Stream:
        """The same as a file, all of it: one JSON object a line, or CSV. That it was given out is written down."""
        caller = caller_of(request)
        wanted = _audit_filter(actor, action, object_kind, object_id, at_from, at_to)
        await log.exported(caller, wanted)
        pieces = log.export(caller, wanted)
        if format is ExportFormat.CSV:
            headers = _as_file("audit-log.csv") | {"Content-Type": "text/csv; charset=utf-8"}
            return Stream(_csv(pieces), headers=headers)
        return Stream(_lines(pieces), headers=_as_file("audit-log.jsonl"))

    return [list_audit_log, export_audit_log]


def _audit_filter(
    actor: str | None,
    action: str | None,
    object_kind: str | None,
    object_id: str | None,
    at_from: str | None,
    at_to: str | None,
) -> AuditFilter:
    return AuditFilter(
        actor=actor,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        at_from=time_of("at_from", at_from),
        at_to=time_of("at_to", at_to),
    )


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


async def _lines(pieces: AsyncIterator[list[AuditEntry]]) -> AsyncIterator[bytes]:
    async for entries in pieces:
        yield b"".join(ENCODER.encode(entry) + b"\n" for entry in entries)


async def _csv(pieces: AsyncIterator[list[AuditEntry]]) -> AsyncIterator[bytes]:
    names = AuditEntry.__struct_fields__
    yield (",".join(names) + "\r\n").encode()
    async for entries in pieces:
        written = io.StringIO()
        writer = csv.writer(written)
        for entry in entries:
            writer.writerow([_cell(getattr(entry, name)) for name in names])
        yield written.getvalue().encode()


def _cell(value: Any) -> str:
    """A value of a table. Spreadsheets run what begins like a formula, so an apostrophe goes before it."""
    if value is None:
        return ""
    text = bytes(value).decode() if isinstance(value, msgspec.Raw) else getattr(value, "isoformat", value.__str__)()
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
