"""/pay: pages for guests, and /v1/public: the same as JSON. No key: who has the code of an EVSE may see its price and pay; who has the address
of a visit, which nobody can guess, may see and end it. Nothing else is told."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.payments.guests import EvseForGuests, VisitView
from chargeplane.domain.payments.states import PaymentState
from chargeplane.domain.payments.visits import Stage
from chargeplane.edges.http.allowances import Allowance, too_often
from chargeplane.edges.http.guest import Pages
from chargeplane.edges.http.guest.pages import HEADERS
from chargeplane.edges.http.guest.words_of import chosen, languages, words_of
from chargeplane.edges.http.problems import ProblemError
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.kernel.money import MoneyView

_CODE: Final = re.compile(r"[A-Za-z0-9_-]{6,64}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{32}")
_EMAIL: Final = re.compile(r"[^@\s<>\"',;\x00-\x1f\x7f]{1,64}@[A-Za-z0-9.-]{1,180}\.[A-Za-z]{2,24}")

_PAGE: Final = {"public": True, "any_query": True}
"""Of pages: payment providers add to the address that a payer comes back to, stations to the one in their code (OCPP 2.1 C25.FR.60)."""

Lang = Annotated[str | None, QueryParameter(max_length=8, description="en, de or sv; else as the browser asks.")]


class PublicPriceLine(Struct, frozen=True, kw_only=True):
    """A part of the price.

    Args:
        kind: energy (a kWh), time (an hour), parking_time (an hour), flat (once).
        condition: when it holds, in words; null where it always does.
    """

    kind: str
    price: MoneyView
    incl_tax: bool
    condition: str | None


class PublicEvse(Struct, frozen=True, kw_only=True):
    """What everybody with the code may know of an EVSE.

    Args:
        status: available, plugged_in, busy, out_of_order or offline.
        hold: what is held for a session; only what was used is taken.
    """

    code: str
    name: str
    evse: str
    connector: str | None
    power_w: int | None
    status: str
    currency: str
    price: list[PublicPriceLine]
    hold: MoneyView


class PublicVisit(Struct, frozen=True, kw_only=True):
    """A guest's own visit.

    Args:
        stage: paying, starting, waiting (for the car), charging, settling, done, ended (without charging).
        reason: why it ended without charging.
        pay_url: where to pay, while that is asked.
        page: where the guest sees it.
    """

    token: str
    page: str
    stage: Stage
    reason: str | None
    payment: PaymentState
    error: str | None
    pay_url: str | None
    held: MoneyView
    energy_wh: Decimal | None
    cost: MoneyView | None
    paid: MoneyView | None
    refunded: MoneyView | None
    method: str | None
    stop_asked: bool
    created_at: datetime
    ended_at: datetime | None


class NewVisit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guest wants to charge.

    Args:
        email: where the receipt is sent.
    """

    email: Annotated[str, Meta(max_length=254)] | None = None
    language: Annotated[str, Meta(max_length=8)] | None = None


def guest_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    guests = services.business.guests
    settings = services.business.guest_door
    reads = Allowance(settings.requests_per_minute, settings.requests_per_minute / 2)
    begins = Allowance(settings.payments_per_minute, settings.payments_per_minute)
    wrong = Allowance(settings.wrong_per_minute, settings.wrong_per_minute)

    def address(request: Request[Any, Any, Any]) -> str:
        return request.client.host if request.client else ""

    def base(request: Request[Any, Any, Any]) -> str:
        return settings.public_url or str(request.base_url).rstrip("/")

    def pages(request: Request[Any, Any, Any], lang: str | None) -> Pages:
        return Pages(language(request, lang), request.scope["path"])

    def language(request: Request[Any, Any, Any], lang: str | None) -> str:
        return chosen(lang, request.headers.get("accept-language"))

    def html(body: bytes, status: int = 200, **headers: str) -> Response[bytes]:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(body, status_code=status, media_type="text/html", headers=HEADERS | more)

    def guard(request: Request[Any, Any, Any], *, begins_one: bool = False) -> None:
        """Who asks too often, or has guessed too much, waits."""
        reads.require(address(request))
        wait_s = wrong.wait_s(address(request))
        if wait_s > 0:
            raise too_often(wait_s)
        if begins_one:
            begins.require(address(request))

    async def evse_of(request: Request[Any, Any, Any], code: str) -> EvseForGuests:
        try:
            if not _CODE.fullmatch(code):
                raise NotFoundError("charging point", code[:64])
            return await guests.evse(code)
        except NotFoundError:
            wrong.take(address(request))
            raise

    async def visit_of(request: Request[Any, Any, Any], token: str, *, look: bool = False) -> VisitView:
        try:
            if not _TOKEN.fullmatch(token):
                raise NotFoundError("visit", "of this address")
            return await guests.visit(token, look=look)
        except NotFoundError:
            wrong.take(address(request))
            raise NotFoundError("visit", "of this address") from None

    async def begin(request: Request[Any, Any, Any], code: str, lang: str, email: str | None) -> tuple[str, VisitView]:
        await evse_of(request, code)
        return await guests.begin(
            code,
            language=lang,
            email=email,
            return_url=lambda token: f"{base(request)}/pay/v/{token}?lang={lang}",
        )

    # -- pages ---------------------------------------------------------------------------------------------------------

    @get("/pay/{code:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def pay_page(request: Request[Any, Any, Any], code: FromPath[str], lang: Lang = None) -> Response[bytes]:
        made = pages(request, lang)
        try:
            guard(request)
            return html(made.evse(await evse_of(request, code)))
        except NotFoundError:
            return html(made.problem("missing"), 404)
        except ProblemError as error:
            return html(made.problem("slow"), error.status, **error.headers)

    @get("/c/{code:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def scanned(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[bytes]:
        """What stands in the QR code on an EVSE."""
        if not _CODE.fullmatch(code):
            return html(pages(request, None).problem("missing"), 404)
        return html(b"", 303, Location=f"/pay/{code}")

    @post("/pay/{code:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def pay(request: Request[Any, Any, Any], code: FromPath[str], lang: Lang = None) -> Response[bytes]:
        made, say = pages(request, lang), words_of(language(request, lang))
        form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=20)
        email = (form.get("email") or [""])[0].strip()
        try:
            guard(request, begins_one=True)
            if email and not _EMAIL.fullmatch(email):
                return html(made.evse(await evse_of(request, code), say["later"]), 422)
            token, view = await begin(request, code, language(request, lang), email or None)
        except NotFoundError:
            return html(made.problem("missing"), 404)
        except ConflictError as error:
            why = say["cannot_now"].format(why=say.get(str(error), say["later"]))
            return html(made.problem("failed", why), 409)
        except ProblemError as error:
            return html(made.problem("slow"), error.status, **error.headers)
        to = view.pay_url or f"/pay/v/{token}?lang={language(request, lang)}"
        return html(b"", 303, Location=to)

    @get("/pay/v/{token:str}", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def visit_page(request: Request[Any, Any, Any], token: FromPath[str], lang: Lang = None) -> Response[bytes]:
        made = pages(request, lang)
        try:
            guard(request)
            view = await visit_of(request, token, look=True)
        except NotFoundError:
            return html(made.problem("missing"), 404)
        except ProblemError as error:
            return html(made.problem("slow"), error.status, **error.headers)
        return html(made.visit(view, token))

    @post("/pay/v/{token:str}/stop", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def stop_by_page(request: Request[Any, Any, Any], token: FromPath[str], lang: Lang = None) -> Response[bytes]:
        made = pages(request, lang)
        try:
            guard(request)
            await visit_of(request, token)
            await guests.ask_stop(token)
        except NotFoundError:
            return html(made.problem("missing"), 404)
        except ProblemError as error:
            return html(made.problem("slow"), error.status, **error.headers)
        return html(b"", 303, Location=f"/pay/v/{token}?lang={language(request, lang)}")

    @get("/pay/v/{token:str}/receipt", include_in_schema=False, opt=_PAGE, return_dto=None)
    async def receipt_page(request: Request[Any, Any, Any], token: FromPath[str], lang: Lang = None) -> Response[bytes]:
        made = pages(request, lang)
        try:
            guard(request)
            view = await visit_of(request, token)
        except NotFoundError:
            return html(made.problem("missing"), 404)
        except ProblemError as error:
            return html(made.problem("slow"), error.status, **error.headers)
        if view.stage not in (Stage.SETTLING, Stage.DONE):
            return html(b"", 303, Location=f"/pay/v/{token}?lang={language(request, lang)}")
        return html(made.receipt(view))

    # -- JSON ----------------------------------------------------------------------------------------------------------

    @get("/v1/public/evses/{code:str}", tags=["guests"], opt={"public": True})
    async def get_public_evse(request: Request[Any, Any, Any], code: FromPath[str]) -> PublicEvse:
        """An EVSE by the code on it: its price for guests, and whether it is free."""
        guard(request)
        return _public(await evse_of(request, code))

    @post("/v1/public/evses/{code:str}/visits", tags=["guests"], opt={"public": True})
    async def begin_visit(
        request: Request[Any, Any, Any], code: FromPath[str], data: JSONBody[NewVisit]
    ) -> Response[PublicVisit]:
        """Begins a visit with a payment: send the guest to `pay_url`; they come back to `page`. Charging begins by itself when the
        amount is held. 409 where the EVSE cannot be used now."""
        guard(request, begins_one=True)
        lang = data.language if data.language in languages() else language(request, None)
        email = data.email.strip() if data.email else None
        if email and not _EMAIL.fullmatch(email):
            raise ProblemError(422, "invalid-input", "'email' is no e-mail address.")
        try:
            token, view = await begin(request, code, lang, email)
        except ConflictError as error:
            raise ConflictError(f"The EVSE cannot be used now: it is {error}.") from None
        return Response(_shown(view, token, base(request)), headers={"Location": f"/v1/public/visits/{token}"})

    @get("/v1/public/visits/{token:str}", include_in_schema=True, tags=["guests"], opt={"public": True})
    async def get_visit(request: Request[Any, Any, Any], token: FromPath[str], lang: Lang = None) -> Response[Any]:
        """A guest's own visit, by its token. With `lang` as the page shows it."""
        guard(request)
        view = await visit_of(request, token, look=lang is None)
        headers = {"Cache-Control": "no-store"}
        if lang is not None:
            return Response(pages(request, lang).live(view), headers=headers)
        return Response(_shown(view, token, base(request)), headers=headers)

    @post("/v1/public/visits/{token:str}/stop", tags=["guests"], opt={"public": True}, status_code=200)
    async def stop_visit(request: Request[Any, Any, Any], token: FromPath[str]) -> PublicVisit:
        """Ends charging; before it began, the hold is released."""
        guard(request)
        await visit_of(request, token)
        return _shown(await guests.ask_stop(token), token, base(request))

    return [
        scanned,
        pay_page,
        pay,
        visit_page,
        stop_by_page,
        receipt_page,
        get_public_evse,
        begin_visit,
        get_visit,
        stop_visit,
    ]


def _public(found: EvseForGuests) -> PublicEvse:
    place, price = found.place, found.price
    return PublicEvse(
        code=place.code,
        name=place.name,
        evse=place.evse_name or place.evse_uid,
        connector=place.connector,
        power_w=place.power_w,
        status=found.status,
        currency=price.currency,
        price=[
            PublicPriceLine(kind=line.kind, price=line.price.view(), incl_tax=line.incl_tax, condition=line.condition)
            for line in price.lines
        ],
        hold=price.hold.view(),
    )


def _shown(view: VisitView, token: str, base: str) -> PublicVisit:
    return PublicVisit(
        token=token,
        page=f"{base}/pay/v/{token}",
        stage=view.stage,
        reason=view.reason,
        payment=view.payment,
        error=view.error,
        pay_url=view.pay_url,
        held=view.held.view(),
        energy_wh=view.energy_wh,
        cost=None if view.cost is None else view.cost.view(),
        paid=None if view.paid is None else view.paid.view(),
        refunded=None if view.refunded is None else view.refunded.view(),
        method=view.method,
        stop_asked=view.stop_asked,
        created_at=view.created_at,
        ended_at=view.ended_at,
    )
