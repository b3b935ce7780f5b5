"""/v1/me: the drivers' own door."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.people.charges import ChargeAnswer
from chargeplane.app.people.driver_accounts import Registration
from chargeplane.app.people.personal_data import Erasure
from chargeplane.domain.people.drivers import Address, Country, DriverContent, Email, Language, Phone
from chargeplane.domain.people.lockout import BY_CARD
from chargeplane.domain.people.vehicles import VehicleContent
from chargeplane.edges.http.auth import DRIVER_COOKIE, caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, IfMatch, Text, To, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.routes.drivers import (
    ActivationCode,
    CardNumber,
    Company,
    DriverIdTokenPut,
    DriverIdTokens,
    Ident,
    Label,
    Name,
    TaxId,
    as_archive,
    changes_of,
    number_of,
    vehicle_of,
)
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
from chargeplane.edges.http.routes.my_charging import WaitS
from chargeplane.edges.http.routes.payments import Currency, ReturnUrl
from chargeplane.edges.http.routes.transactions import TransactionStateWord
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.drivers import (
    DRIVER_TRANSACTION_SORTS,
    DriverIdTokenView,
    DriverView,
    OwnTransactionFilter,
)
from chargeplane.store.queries.payment_methods import PAYMENT_METHOD_SORTS, PaymentMethodView
from chargeplane.store.queries.transactions import TransactionView
from chargeplane.store.queries.vehicles import VEHICLE_SORTS, VehicleFilter, VehicleView

_MINE = {"driver": True}
_OPEN = {"public": True}
_PATH = "/v1/me"


class NewAccount(Struct, kw_only=True, forbid_unknown_fields=True):
    """An account to be opened.

    Args:
        password: 10 to 200 characters.
        tenant: slug; the default one unless given.
    """

    email: Email
    password: Password
    tenant: TenantSlug | None = None
    first_name: Name | None = None
    last_name: Name | None = None
    phone: Phone | None = None
    language: Language | None = None
    country: Country | None = None
    company: Company | None = None
    tax_id: TaxId | None = None
    billing_address: Address | None = None
    delivery_address: Address | None = None


class MyMethodWanted(Struct, kw_only=True, forbid_unknown_fields=True):
    """A way of paying to be saved.

    Args:
        currency: ISO 4217, of one's agreement.
        return_url: where the provider's page leads back to.
    """

    currency: Currency = "EUR"
    return_url: ReturnUrl | None = None


class MethodBegun(Struct, frozen=True, kw_only=True):
    """How the saving goes.

    Args:
        action_url: the provider's page, where the card is given.
        error: why the provider refused, in a word.
    """

    payment_id: str
    state: str
    action_url: str | None
    error: str | None


class MailedCode(Struct, kw_only=True, forbid_unknown_fields=True):
    """The code of a mail."""

    code: Code


class DriverLogin(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a driver signs in by.

    Args:
        device: what it is called in the list of devices; the browser's own name unless given.
    """

    email: GivenEmail
    password: Password
    tenant: TenantSlug | None = None
    kind: LoginKind = LoginKind.BEARER
    device: Device | None = None


class ForgotPassword(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose password is forgotten."""

    email: GivenEmail
    tenant: TenantSlug | None = None


class EmailChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """Another e-mail address."""

    email: Email
    password: Password


class MePatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of oneself; what is left out stays."""

    first_name: Name | UnsetType | None = UNSET
    last_name: Name | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    country: Country | UnsetType | None = UNSET
    company: Company | UnsetType | None = UNSET
    tax_id: TaxId | UnsetType | None = UNSET
    billing_address: Address | UnsetType | None = UNSET
    delivery_address: Address | UnsetType | None = UNSET


class Me(DriverContent, frozen=True, kw_only=True, omit_defaults=False):
    """A driver, as the driver sees it.

    Args:
        csrf_token: to be sent as X-CSRF-Token with every change, where one is signed in by cookie; null elsewhere.
        note: always null: it is the operator's.
    """

    id: str
    email: str | None
    email_verified: bool
    csrf_token: str | None
    revision: int


class Card(Struct, kw_only=True, forbid_unknown_fields=True, tag="card", tag_field="kind"):
    """A card that one has in hand."""

    visual_number: CardNumber
    activation_code: ActivationCode
    label: Label | None = None


class Contract(Struct, kw_only=True, forbid_unknown_fields=True, tag="contract", tag_field="kind"):
    """A contract for Plug & Charge, by its id."""

    emaid: Annotated[str, Meta(min_length=5, max_length=40)]
    label: Label | None = None
    vehicle_id: Ident | None = None


class Autocharge(Struct, kw_only=True, forbid_unknown_fields=True, tag="autocharge", tag_field="kind"):
    """A car that is known by its address, after a first session with another id token of the driver's."""

    mac_address: Annotated[str, Meta(min_length=12, max_length=40)]
    label: Label | None = None
    vehicle_id: Ident | None = None


class KeyCode(Struct, kw_only=True, forbid_unknown_fields=True, tag="key_code", tag_field="kind"):
    """A code for stations with a keypad; it is chosen by the house."""

    label: Label | None = None


class NewCharge(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to charge: an EVSE, by its uid or by the code in the QR code on it."""

    evse_uid: Annotated[str, Meta(min_length=1, max_length=36)] | None = None
    evse_code: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


def me_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    accounts, drivers, tokens, vehicles = (
        business.driver_accounts,
        business.drivers,
        business.driver_tokens,
        business.vehicles,
    )

    def shown(view: DriverView, request: Request[Any, Any, Any]) -> Response[Me]:
        values = {name: getattr(view, name) for name in DriverContent.__struct_fields__}
        made = Me(
            **{**values, "note": None},
            id=view.id,
            email=view.email,
            email_verified=view.email_verified,
            csrf_token=csrf_of(request, DRIVER_COOKIE),
            revision=view.revision,
        )
        return Response(made, headers={**etag(view.revision), "Cache-Control": "no-store"})

    @post("/v1/me/register", tags=["me"], opt=_OPEN, status_code=202)
    async def register_driver(request: Request[Any, Any, Any], data: JSONBody[NewAccount]) -> Sent:
        """Opens an account; the code that verifies the address comes by mail. The answer is the same where there is an account already."""
        content = DriverContent(**{name: getattr(data, name, None) for name in DriverContent.__struct_fields__})
        wanted = Registration(email=data.email, password=data.password, content=content, tenant=data.tenant)
        await accounts.register(wanted, address_of(request))
        return Sent()

    @post("/v1/me/verify-email", tags=["me"], opt=_OPEN, status_code=204)
    async def verify_email(request: Request[Any, Any, Any], data: JSONBody[MailedCode]) -> None:
        """Takes the code of a mail: the address is verified, or the new one is from now on the account's."""
        await accounts.verify_email(data.code, address_of(request))

    @post("/v1/me/login", tags=["me"], opt=_OPEN, status_code=200)
    async def log_driver_in(request: Request[Any, Any, Any], data: JSONBody[DriverLogin]) -> Response[LoginAnswer]:
        """Signs a driver in. What fails again and again has to wait, ever longer (429 with Retry-After)."""
        door = door_of(request, data.kind, data.device)
        _, signed = await accounts.sign_in(data.tenant, data.email, data.password, door)
        return handed_out(signed, data.kind, DRIVER_COOKIE, _PATH, is_secure(request, business.public_url))

    @post("/v1/me/forgot-password", tags=["me"], opt=_OPEN, status_code=202)
    async def forgot_password(request: Request[Any, Any, Any], data: JSONBody[ForgotPassword]) -> Sent:
        """Mails a code for a new password, where there is an account; the answer does not tell."""
        await accounts.forgot_password(data.tenant, data.email, address_of(request))
        return Sent()

    @post("/v1/me/reset-password", tags=["me"], opt=_OPEN, status_code=204)
    async def reset_password(request: Request[Any, Any, Any], data: JSONBody[NewPassword]) -> None:
        """Sets a new password by the code of a mail; all devices are signed out."""
        await accounts.reset_password(data.code, data.password, address_of(request))

    @post("/v1/me/logout", tags=["me"], opt=_MINE, status_code=204)
    async def log_driver_out(request: Request[Any, Any, Any]) -> Response[None]:
        """Signs this device out."""
        caller = caller_of(request)
        await accounts.sign_out(caller, caller.login_id)
        return taken_back(DRIVER_COOKIE, _PATH)

    @get("/v1/me", tags=["me"], opt=_MINE)
    async def get_me(request: Request[Any, Any, Any]) -> Response[Me]:
        """The driver who is signed in."""
        caller = caller_of(request)
        return shown(await drivers.one(caller, caller.driver_id), request)

    @patch("/v1/me", tags=["me"], opt=_MINE)
    async def update_me(
        request: Request[Any, Any, Any], data: JSONBody[MePatch], if_match: IfMatch = None
    ) -> Response[Me]:
        """Changes names, addresses, language and the like."""
        caller = caller_of(request)
        view = await drivers.change(caller, caller.driver_id, changes_of(data), revision_of(if_match))
        return shown(view, request)

    @post("/v1/me/change-password", tags=["me"], opt=_MINE, status_code=204)
    async def change_password(request: Request[Any, Any, Any], data: JSONBody[PasswordChange]) -> None:
        """Sets another password; all other devices are signed out."""
        await accounts.change_password(caller_of(request), data.password, data.new_password, address_of(request))

    @post("/v1/me/change-email", tags=["me"], opt=_MINE, status_code=202)
    async def change_email(request: Request[Any, Any, Any], data: JSONBody[EmailChange]) -> Sent:
        """Mails a code to another address; `verify-email` with it makes the address the account's."""
        await accounts.change_email(caller_of(request), data.email, data.password, address_of(request))
        return Sent()

    @post("/v1/me/close", tags=["me"], opt=_MINE, status_code=204)
    async def close_account(request: Request[Any, Any, Any], data: JSONBody[Proof]) -> Response[None]:
        """Closes the account: nothing charges with it any more. What was charged is still invoiced."""
        await accounts.close(caller_of(request), data.password, address_of(request))
        return taken_back(DRIVER_COOKIE, _PATH)

    @get("/v1/me/devices", tags=["me"], opt=_MINE)
    async def list_devices(request: Request[Any, Any, Any]) -> LoginList:
        """Where one is signed in, newest first."""
        return LoginList(items=await accounts.devices(caller_of(request)))

    @delete("/v1/me/devices/{id:str}", tags=["me"], opt=_MINE)
    async def sign_device_out(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Signs a device out."""
        await accounts.sign_out(caller_of(request), ident_of("device", id))

    @get("/v1/me/id-tokens", tags=["me"], opt=_MINE)
    async def list_my_id_tokens(request: Request[Any, Any, Any]) -> DriverIdTokens:
        """One's id tokens."""
        caller = caller_of(request)
        return DriverIdTokens(items=await tokens.all(caller, caller.driver_id))

    @post("/v1/me/id-tokens", tags=["me"], opt=_MINE)
    async def add_my_id_token(
        request: Request[Any, Any, Any], data: JSONBody[Card | Contract | Autocharge | KeyCode]
    ) -> Response[DriverIdTokenView]:
        """Adds an id token: a card by its number and activation code, a contract, a car by its address, or a key code."""
        caller = caller_of(request)
        ident = caller.driver_id
        match data:
            case Card():
                attempt = await business.guard.begin(("card", str(ident)), address_of(request), BY_CARD)
                view = await tokens.claim_card(caller, ident, data.visual_number, data.activation_code, data.label)
                await business.guard.succeeded(attempt)
            case Contract():
                view = await tokens.add_contract(caller, ident, data.emaid, data.label, number_of(data.vehicle_id))
            case Autocharge():
                view = await tokens.add_autocharge(
                    caller, ident, data.mac_address, data.label, number_of(data.vehicle_id)
                )
            case KeyCode():
                view = await tokens.add_key_code(caller, ident, data.label)
        return Response(view, headers={"Location": f"/v1/me/id-tokens/{view.id}"})

    @put("/v1/me/id-tokens/{id:str}", tags=["me"], opt=_MINE)
    async def describe_my_id_token(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[DriverIdTokenPut]
    ) -> DriverIdTokenView:
        """What an id token is called, and which vehicle it is for."""
        caller = caller_of(request)
        return await tokens.describe(
            caller, caller.driver_id, ident_of("id token", id), data.label, number_of(data.vehicle_id)
        )

    @delete("/v1/me/id-tokens/{id:str}", tags=["me"], opt=_MINE)
    async def give_id_token_up(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Gives an id token up, a lost card for one: nobody charges with it any more."""
        caller = caller_of(request)
        await tokens.remove(caller, caller.driver_id, ident_of("id token", id))

    @post("/v1/me/charges", tags=["me"], opt=_MINE, status_code=202)
    async def start_charge(
        request: Request[Any, Any, Any], data: JSONBody[NewCharge], wait_s: WaitS = 0
    ) -> ChargeAnswer:
        """Has an EVSE start with one's own id token; with `wait_s`, what the station answered."""
        return await business.charges.start(
            caller_of(request), evse_uid=data.evse_uid, evse_code=data.evse_code, wait_s=wait_s
        )

    @get("/v1/me/charges/{id:str}", tags=["me"], opt=_MINE)
    async def get_charge_order(request: Request[Any, Any, Any], id: FromPath[str]) -> ChargeAnswer:
        """What became of an order to start or stop."""
        return await business.charges.order(caller_of(request), ident_of("order", id))

    methods = business.payment_methods

    @get("/v1/me/payment-methods", tags=["me"], opt={**_MINE, "sorts": PAYMENT_METHOD_SORTS})
    async def list_my_payment_methods(
        request: Request[Any, Any, Any], limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[PaymentMethodView]:
        """One's saved ways of paying, newest first."""
        caller = caller_of(request)
        after = begin(request, cursor, sort)
        found = await methods.page(caller, str(caller.driver_id), limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/me/payment-methods", tags=["me"], opt=_MINE)
    async def save_my_payment_method(
        request: Request[Any, Any, Any], data: JSONBody[MyMethodWanted]
    ) -> Response[MethodBegun]:
        """Begins to save a way of paying: go to `action_url`; nothing is taken."""
        caller = caller_of(request)
        made = await methods.save(
            caller, str(caller.driver_id), provider=None, currency=data.currency, return_url=data.return_url
        )
        return Response(
            MethodBegun(payment_id=made.id, state=made.state.value, action_url=made.action_url, error=made.error)
        )

    @post("/v1/me/payment-methods/{id:str}/make-default", tags=["me"], opt=_MINE, status_code=200)
    async def make_my_payment_method_default(request: Request[Any, Any, Any], id: FromPath[str]) -> PaymentMethodView:
        """Has one's sessions paid by it from now on."""
        caller = caller_of(request)
        return await methods.make_default(caller, ident_of("payment method", id), str(caller.driver_id))

    @delete("/v1/me/payment-methods/{id:str}", tags=["me"], opt=_MINE)
    async def delete_my_payment_method(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Forgets a way of paying."""
        caller = caller_of(request)
        await methods.remove(caller, ident_of("payment method", id), str(caller.driver_id))

    @get("/v1/me/transactions", tags=["me"], opt={**_MINE, "sorts": DRIVER_TRANSACTION_SORTS})
    async def list_my_transactions(
        request: Request[Any, Any, Any],
        wanted_state: Annotated[TransactionStateWord | None, QueryParameter(name="state")] = None,
        started_from: From = None,
        started_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TransactionView]:
        """What one's id tokens charged, the newest first."""
        after = begin(request, cursor, sort)
        wanted = OwnTransactionFilter(
            is_open=None if wanted_state is None else wanted_state is TransactionStateWord.OPEN,
            started_from=time_of("started_from", started_from),
            started_to=time_of("started_to", started_to),
        )
        found = await business.charges.transactions(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/me/transactions/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_transaction(request: Request[Any, Any, Any], id: FromPath[str]) -> TransactionView:
        """A transaction of one's own."""
        return await business.charges.transaction(caller_of(request), ident_of("transaction", id))

    @post("/v1/me/transactions/{id:str}/stop", tags=["me"], opt=_MINE, status_code=202)
    async def stop_charge(request: Request[Any, Any, Any], id: FromPath[str], wait_s: WaitS = 0) -> ChargeAnswer:
        """Has the station end a transaction of one's own."""
        return await business.charges.stop(caller_of(request), ident_of("transaction", id), wait_s)

    @get("/v1/me/data", tags=["me"], opt={**_MINE, "files": ("application/json",)}, return_dto=None)
    async def export_my_data(request: Request[Any, Any, Any]) -> Response[bytes]:
        """All that is known of oneself, as one JSON document."""
        caller = caller_of(request)
        return as_archive(await business.personal_data.export(caller, caller.driver_id))

    @post("/v1/me/erase", tags=["me"], opt=_MINE, status_code=202)
    async def erase_me(request: Request[Any, Any, Any], data: JSONBody[Proof]) -> Response[Erasure]:
        """Erases one's account and data, but for what tax law wants kept."""
        caller = caller_of(request)
        await accounts.prove(caller, data.password, address_of(request))
        return Response(await business.personal_data.erase(caller, caller.driver_id), status_code=202)

    @get("/v1/me/vehicles", tags=["me"], opt={**_MINE, "sorts": VEHICLE_SORTS})
    async def list_my_vehicles(
        request: Request[Any, Any, Any], q: Text = None, limit: Limit = 50, cursor: Cursor = None, sort: Sort = None
    ) -> Page[VehicleView]:
        """One's vehicles, newest first."""
        after = begin(request, cursor, sort)
        found = await vehicles.page(caller_of(request), VehicleFilter(q=q), limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/me/vehicles", tags=["me"], opt=_MINE)
    async def add_my_vehicle(request: Request[Any, Any, Any], data: JSONBody[VehicleContent]) -> Response[VehicleView]:
        """Adds a vehicle."""
        caller = caller_of(request)
        view = await vehicles.create(caller, caller.driver_id, vehicle_of(data))
        return Response(view, headers={"Location": f"/v1/me/vehicles/{view.id}", **etag(view.revision)})

    @put("/v1/me/vehicles/{id:str}", tags=["me"], opt=_MINE)
    async def replace_my_vehicle(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[VehicleContent], if_match: IfMatch = None
    ) -> Response[VehicleView]:
        """Describes a vehicle anew."""
        view = await vehicles.replace(caller_of(request), ident_of("vehicle", id), data, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/me/vehicles/{id:str}", tags=["me"], opt=_MINE)
    async def remove_my_vehicle(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes a vehicle; id tokens that were for it stay."""
        await vehicles.remove(caller_of(request), ident_of("vehicle", id))

    return [
        register_driver,
        verify_email,
        log_driver_in,
        forgot_password,
        reset_password,
        log_driver_out,
        get_me,
        update_me,
        change_password,
        change_email,
        close_account,
        list_devices,
        sign_device_out,
        list_my_id_tokens,
        add_my_id_token,
        describe_my_id_token,
        give_id_token_up,
        start_charge,
        list_my_payment_methods,
        save_my_payment_method,
        make_my_payment_method_default,
        delete_my_payment_method,
        get_charge_order,
        list_my_transactions,
        get_my_transaction,
        stop_charge,
        export_my_data,
        erase_me,
        list_my_vehicles,
        add_my_vehicle,
        replace_my_vehicle,
        remove_my_vehicle,
    ]
