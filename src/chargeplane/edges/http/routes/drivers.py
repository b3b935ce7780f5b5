"""/v1/drivers, /v1/vehicles and /v1/rfid-cards."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Scope
from chargeplane.app.id_tokens import IdTokenType
from chargeplane.app.people import DriverChanges
from chargeplane.app.people.driver_tokens import CardWanted, TokenWanted
from chargeplane.app.people.personal_data import Erasure
from chargeplane.domain.people.drivers import Address, Country, DriverStatus, Email, Language, Phone
from chargeplane.domain.people.vehicles import VehicleContent
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.wire import ENCODER
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.queries.drivers import DRIVER_SORTS, DriverFilter, DriverIdTokenView, DriverView
from chargeplane.store.queries.rfid_cards import CARD_SORTS, CardView
from chargeplane.store.queries.vehicles import VEHICLE_SORTS, VehicleFilter, VehicleView

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Company = Annotated[str, Meta(min_length=1, max_length=200)]
TaxId = Annotated[str, Meta(min_length=4, max_length=30)]
Note = Annotated[str, Meta(max_length=2000)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
ExternalId = Annotated[str, Meta(min_length=1, max_length=100)]
Group = Annotated[str, Meta(min_length=1, max_length=100)]
Groups = Annotated[tuple[Group, ...], Meta(max_length=100)]
Label = Annotated[str, Meta(min_length=1, max_length=100)]
Ident = Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
TokenText = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[^\\x00-\\x1f\\x7f]+$")]
CardNumber = Annotated[str, Meta(min_length=4, max_length=64, pattern="^[A-Za-z0-9 .*-]+$")]
ActivationCode = Annotated[str, Meta(min_length=4, max_length=32, pattern="^[A-Za-z0-9]+$")]


class NewDriver(Struct, kw_only=True, forbid_unknown_fields=True):
    """A driver to be made, without a password: the driver chooses one by the mail for a new password.

    Args:
        external_id: the operator's own number.
        user_groups: names that agreements and tariffs may be for.
        tax_id: VAT number with its country in front.
    """

    email: Email | None = None
    external_id: ExternalId | None = None
    user_groups: Groups = ()
    first_name: Name | None = None
    last_name: Name | None = None
    phone: Phone | None = None
    language: Language | None = None
    country: Country | None = None
    company: Company | None = None
    tax_id: TaxId | None = None
    billing_address: Address | None = None
    delivery_address: Address | None = None
    note: Note | None = None


class DriverPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of a driver; what is left out stays."""

    email: Email | UnsetType | None = UNSET
    external_id: ExternalId | UnsetType | None = UNSET
    user_groups: Groups | UnsetType = UNSET
    first_name: Name | UnsetType | None = UNSET
    last_name: Name | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    language: Language | UnsetType | None = UNSET
    country: Country | UnsetType | None = UNSET
    company: Company | UnsetType | None = UNSET
    tax_id: TaxId | UnsetType | None = UNSET
    billing_address: Address | UnsetType | None = UNSET
    delivery_address: Address | UnsetType | None = UNSET
    note: Note | UnsetType | None = UNSET


class Because(Struct, kw_only=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: Reason | None = None


class NewDriverIdToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """An id token that is to be a driver's; one that is not registered is."""

    id_token: TokenText
    type: IdTokenType = IdTokenType.ISO14443
    label: Label | None = None
    vehicle_id: Ident | None = None


class DriverIdTokenPut(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a driver's id token is called, and which vehicle it is for."""

    label: Label | None = None
    vehicle_id: Ident | None = None


class NewVehicle(VehicleContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vehicle to be made."""

    driver_id: Ident


class NewCard(Struct, kw_only=True, forbid_unknown_fields=True):
    """A card that was printed; without a code one is made."""

    visual_number: CardNumber
    id_token: TokenText
    type: IdTokenType = IdTokenType.ISO14443
    activation_code: ActivationCode | None = None


class NewCards(Struct, kw_only=True, forbid_unknown_fields=True):
    """Cards that were printed."""

    cards: Annotated[list[NewCard], Meta(min_length=1, max_length=1000)]


class MadeCard(CardView, frozen=True, kw_only=True):
    """A card with its activation code, which is shown here alone."""

    activation_code: str


class MadeCards(Struct, kw_only=True):
    """Cards that were added."""

    cards: list[MadeCard]


class DriverIdTokens(Struct, kw_only=True):
    """The id tokens of a driver."""

    items: list[DriverIdTokenView]


def changes_of(body: Struct) -> DriverChanges:
    """The body of a change as the use case takes it."""
    return DriverChanges(**{name: getattr(body, name) for name in body.__struct_fields__})


def vehicle_of(body: VehicleContent) -> VehicleContent:
    """What is told of a vehicle, alone."""
    return VehicleContent(**{name: getattr(body, name) for name in VehicleContent.__struct_fields__})


def number_of(text: str | None) -> int | None:
    """An id from a body."""
    return None if text is None else int(text)


def as_archive(archive: dict[str, Any]) -> Response[bytes]:
    """A person's data as a file."""
    return Response(
        ENCODER.encode(archive),
        media_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="personal-data.json"', "Cache-Control": "no-store"},
    )


def driver_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    drivers, tokens = services.business.drivers, services.business.driver_tokens

    @post("/v1/drivers", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE})
    async def create_driver(request: Request[Any, Any, Any], data: JSONBody[NewDriver]) -> Response[DriverView]:
        """Makes a driver."""
        view = await drivers.create(caller_of(request), changes_of(data))
        return Response(view, headers={"Location": f"/v1/drivers/{view.id}", **etag(view.revision)})

    @get("/v1/drivers", tags=["drivers"], opt={"scope": Scope.DRIVERS_READ, "sorts": DRIVER_SORTS})
    async def list_drivers(
        request: Request[Any, Any, Any],
        q: Text = None,
        status: FromQuery[DriverStatus | None] = None,
        email: Text = None,
        external_id: Text = None,
        user_group: Text = None,
        id_token: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[DriverView]:
        """Drivers, newest first, without those who were erased. `q` is looked for in names, e-mail, company, tax id, phone and
        external id."""
        after = begin(request, cursor, sort)
        wanted = DriverFilter(
            q=q,
            status=status and status.value,
            email=email,
            external_id=external_id,
            user_group=user_group,
            id_token=id_token,
        )
        found = await drivers.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/drivers/{id:str}", tags=["drivers"], opt={"scope": Scope.DRIVERS_READ})
    async def get_driver(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[DriverView]:
        """A driver, also one who was erased."""
        view = await drivers.one(caller_of(request), ident_of("driver", id))
        return Response(view, headers=etag(view.revision))

    @patch("/v1/drivers/{id:str}", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE})
    async def update_driver(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[DriverPatch], if_match: IfMatch = None
    ) -> Response[DriverView]:
        """Changes a driver. Another e-mail address is not verified."""
        view = await drivers.change(caller_of(request), ident_of("driver", id), changes_of(data), revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @post("/v1/drivers/{id:str}/block", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE}, status_code=200)
    async def block_driver(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Because]
    ) -> Response[DriverView]:
        """Blocks a driver: all id tokens are Blocked, everybody is signed out. A transaction that runs ends where the tenant's
        `stop_deauthorized` says so."""
        view = await drivers.block(caller_of(request), ident_of("driver", id), data.reason)
        return Response(view, headers=etag(view.revision))

    @post("/v1/drivers/{id:str}/unblock", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE}, status_code=200)
    async def unblock_driver(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[DriverView]:
        """Takes a block back: the id tokens that were blocked with the driver are what they were."""
        view = await drivers.unblock(caller_of(request), ident_of("driver", id))
        return Response(view, headers=etag(view.revision))

    @post("/v1/drivers/{id:str}/close", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE}, status_code=200)
    async def close_driver(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Because]
    ) -> Response[DriverView]:
        """Closes a driver's account for good. What was charged stays; `erase` removes the person."""
        view = await drivers.close(caller_of(request), ident_of("driver", id), data.reason)
        return Response(view, headers=etag(view.revision))

    @get(
        "/v1/drivers/{id:str}/data",
        tags=["drivers"],
        opt={"scope": Scope.DRIVERS_ERASE, "files": ("application/json",)},
        return_dto=None,
    )
    async def export_driver_data(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[bytes]:
        """All that is known of a driver, as one JSON document (GDPR, articles 15 and 20). That it was given out is written down."""
        archive = await services.business.personal_data.export(caller_of(request), ident_of("driver", id))
        return as_archive(archive)

    @post("/v1/drivers/{id:str}/erase", tags=["drivers"], opt={"scope": Scope.DRIVERS_ERASE}, status_code=202)
    async def erase_driver(request: Request[Any, Any, Any], id: FromPath[str]) -> Erasure:
        """Erases a driver (GDPR, article 17): account, id tokens, vehicles, cards and logins at once; wherever else the id tokens and the e-mail
        address stand, a pseudonym follows. Records that tax law wants kept stay."""
        return await services.business.personal_data.erase(caller_of(request), ident_of("driver", id))

    @get("/v1/drivers/{id:str}/id-tokens", tags=["drivers"], opt={"scope": Scope.DRIVERS_READ})
    async def list_driver_id_tokens(request: Request[Any, Any, Any], id: FromPath[str]) -> DriverIdTokens:
        """The id tokens of a driver."""
        return DriverIdTokens(items=await tokens.all(caller_of(request), ident_of("driver", id)))

    @post("/v1/drivers/{id:str}/id-tokens", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE})
    async def assign_id_token(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[NewDriverIdToken]
    ) -> Response[DriverIdTokenView]:
        """Makes an id token a driver's; one that is not registered is."""
        wanted = TokenWanted(
            id_token=data.id_token, type=data.type, label=data.label, vehicle_id=number_of(data.vehicle_id)
        )
        view = await tokens.assign(caller_of(request), ident_of("driver", id), wanted)
        return Response(view, headers={"Location": f"/v1/drivers/{view.driver_id}/id-tokens/{view.id}"})

    @put("/v1/drivers/{id:str}/id-tokens/{token_id:str}", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE})
    async def describe_driver_id_token(
        request: Request[Any, Any, Any], id: FromPath[str], token_id: FromPath[str], data: JSONBody[DriverIdTokenPut]
    ) -> DriverIdTokenView:
        """What a driver's id token is called, and which vehicle it is for. Its status and rules are those of `/v1/id-tokens`."""
        return await tokens.describe(
            caller_of(request),
            ident_of("driver", id),
            ident_of("id token", token_id),
            data.label,
            number_of(data.vehicle_id),
        )

    @delete("/v1/drivers/{id:str}/id-tokens/{token_id:str}", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE})
    async def take_id_token(request: Request[Any, Any, Any], id: FromPath[str], token_id: FromPath[str]) -> None:
        """Takes an id token from a driver. One that an operator assigned stays registered, for nobody; others are removed."""
        await tokens.remove(caller_of(request), ident_of("driver", id), ident_of("id token", token_id))

    @post("/v1/rfid-cards", tags=["drivers"], opt={"scope": Scope.DRIVERS_WRITE, "secret": True})
    async def add_rfid_cards(request: Request[Any, Any, Any], data: JSONBody[NewCards]) -> Response[MadeCards]:
        """Cards that were printed: whoever has one in hand makes it theirs by its number and activation code."""
        wanted = [
            CardWanted(
                visual_number=card.visual_number,
                id_token=card.id_token,
                type=card.type,
                activation_code=card.activation_code,
            )
            for card in data.cards
        ]
        made = await tokens.add_cards(caller_of(request), wanted)
        shown = [
            MadeCard(**{name: getattr(view, name) for name in view.__struct_fields__}, activation_code=code)
            for view, code in made
        ]
        return Response(MadeCards(cards=shown))

    @get("/v1/rfid-cards", tags=["drivers"], opt={"scope": Scope.DRIVERS_READ, "sorts": CARD_SORTS})
    async def list_rfid_cards(
        request: Request[Any, Any, Any],
        visual_number: Text = None,
        claimed: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CardView]:
        """Cards, newest first."""
        after = begin(request, cursor, sort)
        found = await tokens.cards(caller_of(request), visual_number, claimed, limit + 1, after)
        return page_of(request, found, limit, after)

    return [
        create_driver,
        list_drivers,
        get_driver,
        update_driver,
        block_driver,
        unblock_driver,
        close_driver,
        export_driver_data,
        erase_driver,
        list_driver_id_tokens,
        assign_id_token,
        describe_driver_id_token,
        take_id_token,
        add_rfid_cards,
        list_rfid_cards,
    ]


def vehicle_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    vehicles = services.business.vehicles

    @post("/v1/vehicles", tags=["drivers"], opt={"scope": Scope.VEHICLES_WRITE})
    async def create_vehicle(request: Request[Any, Any, Any], data: JSONBody[NewVehicle]) -> Response[VehicleView]:
        """Makes a vehicle of a driver."""
        view = await vehicles.create(caller_of(request), int(data.driver_id), vehicle_of(data))
        return Response(view, headers={"Location": f"/v1/vehicles/{view.id}", **etag(view.revision)})

    @get("/v1/vehicles", tags=["drivers"], opt={"scope": Scope.VEHICLES_READ, "sorts": VEHICLE_SORTS})
    async def list_vehicles(
        request: Request[Any, Any, Any],
        driver_id: Text = None,
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[VehicleView]:
        """Vehicles, newest first. `q` is looked for in plate, VIN, address, brand, model and label."""
        after = begin(request, cursor, sort)
        if driver_id is not None and not (driver_id.isascii() and driver_id.isdecimal() and len(driver_id) <= 18):
            sentence = "Must be the id of a driver"
            raise InvalidInputError(f"'driver_id': {sentence}.", (("?driver_id", sentence),))
        wanted = VehicleFilter(driver_id=number_of(driver_id), q=q)
        found = await vehicles.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/vehicles/{id:str}", tags=["drivers"], opt={"scope": Scope.VEHICLES_READ})
    async def get_vehicle(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[VehicleView]:
        """A vehicle."""
        view = await vehicles.one(caller_of(request), ident_of("vehicle", id))
        return Response(view, headers=etag(view.revision))

    @put("/v1/vehicles/{id:str}", tags=["drivers"], opt={"scope": Scope.VEHICLES_WRITE})
    async def replace_vehicle(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[VehicleContent], if_match: IfMatch = None
    ) -> Response[VehicleView]:
        """Describes a vehicle anew."""
        view = await vehicles.replace(caller_of(request), ident_of("vehicle", id), data, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @delete("/v1/vehicles/{id:str}", tags=["drivers"], opt={"scope": Scope.VEHICLES_WRITE})
    async def delete_vehicle(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Removes a vehicle; id tokens that were for it stay."""
        await vehicles.remove(caller_of(request), ident_of("vehicle", id))

    return [create_vehicle, list_vehicles, get_vehicle, replace_vehicle, delete_vehicle]
