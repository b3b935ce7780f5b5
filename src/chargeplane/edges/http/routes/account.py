"""/account: pages that the links in mails lead to, and those around signing on by a provider.

Opening a link does nothing but look: programs that check mails open links too. What the link is for is done by the button. The code travels in
the address, so pages are not kept, tell no other site where they were, and hold nothing of others.
"""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import parse_qs, quote

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter

from chargeplane.app.people.logins import csrf_token_of
from chargeplane.domain.people.mails import MailedPurpose
from chargeplane.edges.http.account.pages import HEADERS, AccountPages, query_of
from chargeplane.edges.http.allowances import Allowance
from chargeplane.edges.http.auth import USER_COOKIE
from chargeplane.edges.http.guest.words_of import chosen
from chargeplane.edges.http.problems import ProblemError
from chargeplane.edges.http.routes.logins import address_of, taken_back
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ThrottledError,
    UnauthenticatedError,
)

_PAGE: Final = {"public": True, "any_query": True}
_CONFIRMED: Final = frozenset({MailedPurpose.VERIFY_EMAIL, MailedPurpose.CHANGE_EMAIL})
_OF_USERS: Final = frozenset({MailedPurpose.INVITE_USER, MailedPurpose.RESET_USER_PASSWORD})
_BY_PATH: Final = {purpose.value.replace("_", "-"): purpose for purpose in MailedPurpose}

Lang = Annotated[str | None, QueryParameter(max_length=8)]
CodeAsked = Annotated[str | None, QueryParameter(max_length=200)]


def account_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    drivers, users, credentials = business.driver_accounts, business.user_accounts, business.credentials
    per_minute = business.guest_door.requests_per_minute
    asked = Allowance(per_minute, per_minute / 2)

    def pages(request: Request[Any, Any, Any], lang: str | None, code: str | None = None) -> AccountPages:
        language = chosen(lang, request.headers.get("accept-language"))
        return AccountPages(language, request.scope["path"], query_of(code))

    def html(body: bytes, status: int = 200, **headers: str) -> Response[bytes]:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(body, status_code=status, media_type="text/html", headers=HEADERS | more)

    def slow(made: AccountPages, wait_s: float) -> Response[bytes]:
        return html(made.slow(wait_s), 429, Retry_After=str(int(wait_s) + 1))

    def purpose_of(name: str) -> MailedPurpose:
        if name not in _BY_PATH:
            raise NotFoundError("page", name[:60])
        return _BY_PATH[name]

    def shown(made: AccountPages, purpose: MailedPurpose, code: str) -> bytes:
        if purpose in _CONFIRMED:
            return made.confirm(purpose.value, code)
        return made.password(purpose.value, code)

    @get("/account/{name:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def mailed_page(
        request: Request[Any, Any, Any], name: FromPath[str], lang: Lang = None, code: CodeAsked = None
    ) -> Response[bytes]:
        """What a link in a mail leads to."""
        purpose, made = purpose_of(name), pages(request, lang, code)
        wait_s = asked.take(address_of(request) or "")
        if wait_s > 0:
            return slow(made, wait_s)
        if not code:
            return html(made.missing(purpose.value))
        try:
            state = await credentials.look_at_secret(code, address_of(request), purpose)
        except ThrottledError as error:
            return slow(made, error.wait_s)
        if state.works:
            return html(shown(made, purpose, code))
        return html(made.gone(purpose.value, code if state.known else None), 410)

    @post("/account/{name:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def mailed_form(request: Request[Any, Any, Any], name: FromPath[str], lang: Lang = None) -> Response[bytes]:
        """Does what the link was for, or sends a new mail."""
        purpose = purpose_of(name)
        form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=20)
        code = (form.get("code") or [""])[0].strip()[:200]
        made, address = pages(request, lang, code), address_of(request)
        wait_s = asked.take(address or "")
        if wait_s > 0:
            return slow(made, wait_s)
        try:
            if "again" in form:
                await credentials.mail_again(code, address, purpose)
                return html(made.sent())
            if purpose in _CONFIRMED:
                await drivers.verify_email(code, address)
                return html(made.done(purpose.value))
            password, repeat = ((form.get(key) or [""])[0] for key in ("password", "repeat"))
            if password != repeat:
                return html(made.password(purpose.value, code, made.differ()), 422)
            reset = users.reset_password if purpose in _OF_USERS else drivers.reset_password
            await reset(code, password, address)
        except InvalidInputError as error:
            pointer, sentence = error.fields[0] if error.fields else ("", "")
            if pointer == "/password":
                return html(made.password(purpose.value, code, made.password_fault(sentence)), 422)
            state = await credentials.look_at_secret(code, None, purpose)
            return html(made.gone(purpose.value, code if state.known else None), 410)
        except ConflictError:
            return html(made.taken(), 409)
        except ThrottledError as error:
            return slow(made, error.wait_s)
        return html(made.done(purpose.value))

    @get("/account/sign-in", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def sign_in_page(
        request: Request[Any, Any, Any], lang: Lang = None, tenant: CodeAsked = None
    ) -> Response[bytes]:
        """By which providers one may sign on to a tenant."""
        slug = (tenant or "default")[:63]
        found = await business.sign_on.choices(slug)
        choices = [(one.content.title, f"/v1/login/sign-on/{quote(slug)}/{quote(one.slug)}") for one in found]
        made = AccountPages(
            chosen(lang, request.headers.get("accept-language")), request.scope["path"], f"&tenant={quote(slug)}"
        )
        return html(made.sign_in(await business.sign_on.tenant_name(slug) or slug, choices))

    @get("/account/signed-in", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def signed_in_page(request: Request[Any, Any, Any], lang: Lang = None) -> Response[bytes]:
        """Who is signed in by this browser."""
        made, token = pages(request, lang), request.cookies.get(USER_COOKIE)
        caller = None if not token else await business.logins.authenticate(token)
        if caller is None or token is None or not caller.user_id:
            return html(made.signed_out())
        try:
            who = await users.who(caller)
        except UnauthenticatedError:
            return html(made.signed_out())
        tenant = next((one.tenant_name for one in who.tenants if one.tenant == who.tenant), who.tenant)
        return html(made.signed_in(who.name, tenant, csrf_token_of(token)))

    @get("/account/signed-out", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def signed_out_page(request: Request[Any, Any, Any], lang: Lang = None) -> Response[bytes]:
        """Where a provider sends a browser that signed out there."""
        return html(pages(request, lang).signed_out())

    @post("/account/sign-out", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def sign_out_form(request: Request[Any, Any, Any], lang: Lang = None) -> Response[bytes]:
        """Signs this browser out."""
        form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=20)
        token, sent = request.cookies.get(USER_COOKIE), (form.get("csrf_token") or [""])[0]
        made = AccountPages(chosen(lang, request.headers.get("accept-language")), "/account/signed-out")
        if not token:
            return html(made.signed_out())
        if sent != csrf_token_of(token):
            raise ProblemError(403, "forbidden", "Sign out on the page that says who is signed in.")
        caller = await business.logins.authenticate(token)
        place = None
        if caller is not None and caller.user_id:
            base = (business.public_url or str(request.base_url)).rstrip("/")
            place = await business.sign_on.sign_out(caller, base)
        answer = html(made.signed_out(place))
        answer.cookies = taken_back(USER_COOKIE, "/").cookies
        return answer

    return [
        mailed_page,
        mailed_form,
        sign_in_page,
        signed_in_page,
        signed_out_page,
        sign_out_form,
    ]
