"""/v1/sign-on-providers, and /v1/login/sign-on: users come in by a provider of identities (OpenID Connect)."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import parse_qs, quote

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.people.sign_on import ATTEMPT_FOR, Returned, SignOnError
from chargeplane.app.people.sign_on_providers import ProviderChanges
from chargeplane.domain.people.sign_on import SignOnFault
from chargeplane.edges.http.account.pages import HEADERS, AccountPages
from chargeplane.edges.http.allowances import Allowance
from chargeplane.edges.http.auth import USER_COOKIE, caller_of
from chargeplane.edges.http.guest.words_of import chosen
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import IfMatch, etag, ident_of, revision_of
from chargeplane.edges.http.routes.logins import LoginKind, address_of, door_of, is_secure, login_cookie, taken_back
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import NotFoundError, ThrottledError
from chargeplane.store.queries.sign_on import PROVIDER_SORTS, SignOnProviderView

_CALLBACK: Final = "/v1/login/sign-on/callback"
_PAGE: Final = {"public": True, "any_query": True}

Slug = Annotated[str, QueryParameter(min_length=1, max_length=63, description="The tenant's slug.")]
ReturnTo = Annotated[str | None, QueryParameter(max_length=500)]
Told = Annotated[str | None, QueryParameter(max_length=4096)]


class SignOnChoice(Struct, kw_only=True):
    """A provider by which one may sign on.

    Args:
        title: what to write on the button.
        url: where the browser goes; with `return_to`, a path of this server, it comes back there.
    """

    slug: str
    title: str
    url: str


class SignOnChoices(Struct, kw_only=True):
    """By what one may sign on to a tenant."""

    items: list[SignOnChoice]


class Goodbye(Struct, kw_only=True):
    """One is signed out.

    Args:
        end_session_url: where the browser signs out of the provider too; null where there is nothing to sign out of.
    """

    end_session_url: str | None


def _refused(status: int, error: str, why: str) -> Response[bytes]:
    body = msgspec.json.encode({"error": error, "error_description": why[:300]})
    return Response(body, status_code=status, media_type="application/json", headers=_PRIVATE)


def sign_on_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    sign_on, providers = business.sign_on, business.sign_on_providers
    per_minute = business.guest_door.requests_per_minute
    begun = Allowance(per_minute, per_minute / 2)
    # A provider that ends many sessions says so of each, from one address, and seldom twice: more, for each provider by itself.
    ended = Allowance(per_minute * 20, per_minute * 20)

    def base(request: Request[Any, Any, Any]) -> str:
        return (business.public_url or str(request.base_url)).rstrip("/")

    def failed(
        request: Request[Any, Any, Any], fault: SignOnFault | float, status: int, **headers: str
    ) -> Response[bytes]:
        made = AccountPages(chosen(None, request.headers.get("accept-language")), "/account/sign-in")
        body = made.failed(fault) if isinstance(fault, SignOnFault) else made.slow(fault)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(body, status_code=status, media_type="text/html", headers=HEADERS | more)

    @get("/v1/login/sign-on", tags=["login"], opt={"public": True})
    async def list_sign_on_choices(request: Request[Any, Any, Any], tenant: Slug = "default") -> SignOnChoices:
        """By which providers one may sign on to a tenant (OpenID Connect). A browser goes to `url` and comes back signed in by cookie."""
        found = await sign_on.choices(tenant)
        return SignOnChoices(
            items=[
                SignOnChoice(
                    slug=one.slug,
                    title=one.content.title,
                    url=f"{base(request)}/v1/login/sign-on/{quote(tenant)}/{quote(one.slug)}",
                )
                for one in found
            ]
        )

    @get("/v1/login/sign-on/{tenant:str}/{slug:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def begin_sign_on(
        request: Request[Any, Any, Any], tenant: FromPath[str], slug: FromPath[str], return_to: ReturnTo = None
    ) -> Response[bytes]:
        """Sends a browser to the provider."""
        wait_s = begun.take(address_of(request) or "")
        if wait_s > 0:
            return failed(request, wait_s, 429, Retry_After=str(int(wait_s) + 1))
        try:
            found = await sign_on.begin(tenant, slug, return_to, f"{base(request)}{_CALLBACK}")
        except NotFoundError:
            return failed(request, SignOnFault.NOT_BEGUN, 404)
        except SignOnError as error:
            return failed(request, error.fault, 502)
        cookie = Cookie(
            key=found.cookie_name,
            value=found.cookie,
            path="/v1/login/sign-on",
            httponly=True,
            samesite="lax",
            secure=is_secure(request, business.public_url),
            max_age=int(ATTEMPT_FOR.total_seconds()),
        )
        return Response(b"", status_code=303, headers={"Location": found.url, **_PRIVATE}, cookies=[cookie])

    @get(_CALLBACK, include_in_schema=False, opt=_PAGE, return_dto=None)
    async def finish_sign_on(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[str | None, QueryParameter(name="state", max_length=200)] = None,
        code: Told = None,
        error: Told = None,
        iss: Told = None,
    ) -> Response[bytes]:
        """Takes a browser back from the provider, signs it in, and sends it on."""
        came = Returned(state=wanted_state, code=code, error=error, issuer=iss, cookies=dict(request.cookies))
        try:
            done = await sign_on.finish(came, door_of(request, LoginKind.COOKIE, None))
        except ThrottledError as late:
            return failed(request, late.wait_s, 429, Retry_After=str(int(late.wait_s) + 1))
        except SignOnError as wrong:
            return failed(request, wrong.fault, 502 if wrong.fault is SignOnFault.UNREACHABLE else 403)
        cookie = login_cookie(USER_COOKIE, done.signed.token, "/", is_secure(request, business.public_url))
        return Response(b"", status_code=303, headers={"Location": done.return_to, **_PRIVATE}, cookies=[cookie])

    @post("/v1/login/logout", tags=["login"], opt={"user": True}, status_code=200)
    async def log_user_out(request: Request[Any, Any, Any]) -> Response[Goodbye]:
        """Ends this session. Where a provider signed the user on, the answer says where the browser signs out there too."""
        place = await sign_on.sign_out(caller_of(request), base(request))
        gone = taken_back(USER_COOKIE, "/")
        return Response(Goodbye(end_session_url=place), status_code=200, headers=_PRIVATE, cookies=gone.cookies)

    @post("/v1/login/sign-on/{tenant:str}/{slug:str}/logout", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def end_by_provider(
        request: Request[Any, Any, Any], tenant: FromPath[str], slug: FromPath[str]
    ) -> Response[bytes]:
        """Takes a provider's word that somebody signed out there (OpenID Connect Back-Channel Logout 1.0, 2.5 and 2.8)."""
        wait_s = ended.take(f"{address_of(request)} {tenant}/{slug}"[:200])
        if wait_s > 0:
            return Response(b"", status_code=429, headers={"Retry-After": str(int(wait_s) + 1), **_PRIVATE})
        try:
            form = parse_qs((await request.body()).decode(), max_num_fields=10)
            (token,) = form.get("logout_token", list[str]())
        except ValueError:
            return _refused(400, "invalid_request", "There is not one logout_token.")
        try:
            await sign_on.told_out(tenant, slug, token)
        except NotFoundError as error:
            return _refused(404, "invalid_request", str(error))
        except SignOnError as error:
            gone = error.fault is SignOnFault.UNREACHABLE
            return _refused(502 if gone else 400, "temporarily_unavailable" if gone else "invalid_request", str(error))
        return Response(b"", status_code=200, headers=_PRIVATE)

    @post("/v1/sign-on-providers", tags=["users"], opt={"scope": Scope.USERS_WRITE})
    async def create_sign_on_provider(
        request: Request[Any, Any, Any], data: JSONBody[ProviderChanges]
    ) -> Response[SignOnProviderView]:
        """Adds a provider of identities (OpenID Connect). Register `/v1/login/sign-on/callback` of this server there. Nobody gives a role by
        it that allows more than they may."""
        view = await providers.create(caller_of(request), data)
        return Response(view, headers={"Location": f"/v1/sign-on-providers/{view.id}", **etag(view.revision)})

    @get("/v1/sign-on-providers", tags=["users"], opt={"scope": Scope.USERS_READ, "sorts": PROVIDER_SORTS})
    async def list_sign_on_providers(
        request: Request[Any, Any, Any], limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[SignOnProviderView]:
        """The tenant's providers of identities, newest first."""
        after = begin(request, cursor, sort)
        found = await providers.page(caller_of(request), limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/sign-on-providers/{id:str}", tags=["users"], opt={"scope": Scope.USERS_READ})
    async def get_sign_on_provider(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[SignOnProviderView]:
        """A provider of identities."""
        view = await providers.one(caller_of(request), ident_of("sign-on provider", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/sign-on-providers/{id:str}", tags=["users"], opt={"scope": Scope.USERS_WRITE})
    async def update_sign_on_provider(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[ProviderChanges], if_match: IfMatch = None
    ) -> Response[SignOnProviderView]:
        """Changes a provider; what is left out stays. Another issuer or client, or `enabled: false`, signs out who came in by it."""
        ident = ident_of("sign-on provider", id)
        view = await providers.change(caller_of(request), ident, data, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/sign-on-providers/{id:str}", tags=["users"], opt={"scope": Scope.USERS_WRITE})
    async def remove_sign_on_provider(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes a provider; who came in by it is signed out."""
        await providers.remove(caller_of(request), ident_of("sign-on provider", id))

    return [
        list_sign_on_choices,
        begin_sign_on,
        finish_sign_on,
        log_user_out,
        end_by_provider,
        create_sign_on_provider,
        list_sign_on_providers,
        get_sign_on_provider,
        update_sign_on_provider,
        remove_sign_on_provider,
    ]


_PRIVATE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
