"""/v1/tariffs: what charging costs, in versions that never change; and prices before a session."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Caller, Scope
from chargeplane.app.locations import EvsePlace
from chargeplane.app.tariffs.tariffs import CONTRACT, PUBLIC
from chargeplane.domain.languages import known
from chargeplane.domain.rating import (
    Allowance,
    Cost,
    Discount,
    Expected,
    Line,
    LineKind,
    Rating,
    Step,
    Tax,
    Terms,
    estimate,
    prices_now,
    words,
)
from chargeplane.domain.rating.result import CostGroup
from chargeplane.domain.station_tariffs import StationTariff
from chargeplane.domain.tariffs.model import (
    OcpiId,
    ReservationRestriction,
    Tariff,
    TariffContent,
    TariffDimension,
    TariffType,
)
from chargeplane.domain.tariffs.to_station import Loss, for_station
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import CostView, cost_view
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    page_of,
)
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.kernel.time import as_utc
from chargeplane.store.queries.tariffs import TARIFF_SORTS, TARIFF_VERSION_SORTS, TariffFilter, TariffView

Instant = Annotated[datetime, Meta(tz=True)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Currency = Annotated[str | None, QueryParameter(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Language = Annotated[str | None, QueryParameter(max_length=35, description="ISO 639-1; English where it is not there.")]
At = Annotated[
    str | None, QueryParameter(description="RFC 3339; now where it is left out.", schema_extra={"format": "date-time"})
]
Power = Annotated[
    float | None, QueryParameter(ge=0, le=10_000_000, description="W that the vehicle would charge with.")
]
_Seconds = Annotated[int, Meta(ge=0, le=604_800)]


class NewTariff(TariffContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tariff to be made; without `id` one is made for it.

    Args:
        name: for the operator.
        valid_from: when sessions begin with it; null: from now on.
    """

    id: OcpiId | None = None
    name: Name | None = None
    valid_from: Instant | None = None


class TariffBody(TariffContent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new version of a tariff.

    Args:
        valid_from: when sessions begin with it; null: from now on.
    """

    name: Name | None = None
    valid_from: Instant | None = None


class Retirement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a tariff ends for new sessions; null: now."""

    at: Instant | None = None


class ConnectorAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connector of an EVSE; all of them without `connector_id`."""

    evse_uid: OcpiId
    connector_id: OcpiId | None = None


class Assignment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a tariff is put, or taken off."""

    connectors: Annotated[tuple[ConnectorAt, ...], Meta(min_length=1, max_length=1000)]


class Assigned(Struct, kw_only=True):
    """On how many connectors that changed something."""

    changed: int


class AskedStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a session with an even power."""

    power_w: Decimal
    duration_s: _Seconds


class AskedTax(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tax for what the tariff names none.

    Args:
        percentage: of the price before taxes.
        dimensions: on which; null: all.
    """

    name: Annotated[str, Meta(min_length=1, max_length=50)]
    percentage: Annotated[float, Meta(ge=0, le=100)]
    account_number: Annotated[str, Meta(max_length=50)] | None = None
    dimensions: Annotated[tuple[TariffDimension, ...], Meta(max_length=4)] | None = None


class AskedTerms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agreement would change."""

    discounts: Annotated[tuple[Discount, ...], Meta(max_length=20)] = ()
    allowances: Annotated[tuple[Allowance, ...], Meta(max_length=20)] = ()
    waive_minimum: bool = False
    waive_reservation: bool = False


class EstimateAsked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session would be: a profile of powers, or two of energy, duration and power (one where an EVSE tells the power).

    Args:
        at: when it begins; null: now.
        evse_uid, connector_id: where; tells the time zone, and the power where none is given.
        time_zone: IANA; where no EVSE is named.
        parking_s: connected after charging.
        reserved_s: reserved before.
        version: of the tariff; null: the one that holds then, or else the newest.
    """

    at: Instant | None = None
    energy_wh: Decimal | None = None
    duration_s: _Seconds | None = None
    power_w: Decimal | None = None
    profile: Annotated[tuple[AskedStep, ...], Meta(max_length=1000)] = ()
    parking_s: _Seconds = 0
    reserved_s: _Seconds = 0
    evse_uid: OcpiId | None = None
    connector_id: OcpiId | None = None
    time_zone: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    taxes: Annotated[tuple[AskedTax, ...], Meta(max_length=10)] = ()
    terms: AskedTerms | None = None
    language: Annotated[str, Meta(max_length=35)] | None = None


class LineView(Struct, kw_only=True):
    """One amount and why.

    Args:
        text: in words.
        volume, billed: Wh, seconds or fees: as measured, and after the step size.
        price: per kWh, hour or fee as the tariff says; percent where `percent`.
    """

    text: str
    kind: LineKind
    group: CostGroup
    dimension: TariffDimension | None
    reservation: ReservationRestriction | None
    element: int | None
    component: int | None
    start: datetime
    end: datetime
    volume: Decimal
    billed: Decimal
    step_size: int
    price: Decimal
    percent: bool
    cost: CostView
    meter_values: list[int]
    reference: str | None


class RatingView(Struct, kw_only=True):
    """What a session costs and why.

    Args:
        due: what is to be paid, rounded; `total` is not.
        groups: by what: fixed, energy, time, parking, reservation, adjustment.
    """

    tariff_id: str
    tariff_version: int
    currency: str
    start: datetime | None
    end: datetime | None
    energy_wh: Decimal
    charging_s: Decimal
    parking_s: Decimal
    reserved_s: Decimal
    due: CostView
    total: CostView
    taxes_known: bool
    groups: dict[str, CostView]
    lines: list[LineView]


class PriceView(Struct, kw_only=True):
    """The prices of the moment at an EVSE; null where nothing is asked for it.

    Args:
        until: when the clock changes something next.
    """

    tariff_id: str
    tariff_version: int
    currency: str
    at: datetime
    until: datetime | None
    per_kwh: CostView | None
    per_hour: CostView | None
    per_parking_hour: CostView | None
    fee: CostView | None
    tariff: Tariff


class StationTariffView(Struct, kw_only=True):
    """A tariff for stations of OCPP 2.1, and what they calculate otherwise than we do."""

    tariff: StationTariff
    losses: list[Loss]


def rating_view(rating: Rating, language: str | None) -> RatingView:
    """A rating as the API shows it."""
    code = known(language)
    return RatingView(
        tariff_id=rating.tariff_id,
        tariff_version=rating.tariff_version,
        currency=rating.currency,
        start=rating.start,
        end=rating.end,
        energy_wh=rating.energy_wh,
        charging_s=rating.charging_s,
        parking_s=rating.parking_s,
        reserved_s=rating.reserved_s,
        due=cost_view(rating.due, rating.currency),
        total=cost_view(rating.total, rating.currency, exact=True),
        taxes_known=rating.taxes_known,
        groups={group.value: cost_view(cost, rating.currency, exact=True) for group, cost in rating.groups.items()},
        lines=[_line(line, rating.currency, code) for line in rating.lines],
    )


def _line(line: Line, currency: str, language: str) -> LineView:
    return LineView(
        text=words(line, currency, language),
        kind=line.kind,
        group=line.group,
        dimension=line.dimension,
        reservation=line.reservation,
        element=line.element,
        component=line.component,
        start=line.start,
        end=line.end,
        volume=_short(line.volume),
        billed=_short(line.billed),
        step_size=line.step_size,
        price=line.price,
        percent=line.percent,
        cost=cost_view(line.cost, currency, exact=True),
        meter_values=list(line.meter_values),
        reference=line.reference,
    )


def _short(value: Decimal) -> Decimal:
    """Without zeros at the end, and never in exponents."""
    shown = value.normalize()
    return shown.quantize(Decimal(1)) if int(shown.as_tuple().exponent) > 0 else shown


def _content(body: Struct) -> TariffContent:
    return TariffContent(**{name: getattr(body, name) for name in TariffContent.__struct_fields__})


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        sentence = "There is no such time zone (IANA)"
        raise InvalidInputError(f"'time_zone': {sentence}.", (("/time_zone", sentence),)) from None


def _moment(at: datetime | None) -> datetime:
    return datetime.now(UTC) if at is None else as_utc(at)


def _terms(asked: AskedTerms | None) -> Terms | None:
    if asked is None:
        return None
    for name, items in (("discounts", asked.discounts), ("allowances", asked.allowances)):
        for number, item in enumerate(items):
            field = "value" if isinstance(item, Discount) else "volume"
            value: Decimal = getattr(item, field)
            if not value.is_finite() or not 0 <= value <= 10**9:
                sentence = "Must be a number from 0 to 1,000,000,000"
                raise InvalidInputError(f"'{field}': {sentence}.", ((f"/terms/{name}/{number}/{field}", sentence),))
    return Terms(
        discounts=asked.discounts,
        allowances=asked.allowances,
        waive_minimum=asked.waive_minimum,
        waive_reservation=asked.waive_reservation,
    )


def tariff_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    tariffs, locations = services.business.tariffs, services.business.locations

    @post("/v1/tariffs", tags=["tariffs"], opt={"scope": Scope.TARIFFS_WRITE})
    async def create_tariff(request: Request[Any, Any, Any], data: JSONBody[NewTariff]) -> Response[TariffView]:
        """Makes a tariff in its first version."""
        view = await tariffs.create(caller_of(request), data.id, data.name, _content(data), data.valid_from)
        return Response(view, headers={"Location": f"/v1/tariffs/{quote(view.id, safe='')}", **etag(view.revision)})

    @get("/v1/tariffs", tags=["tariffs"], opt={"scope": Scope.TARIFFS_READ, "sorts": TARIFF_SORTS})
    async def list_tariffs(
        request: Request[Any, Any, Any],
        currency: Currency = None,
        type: FromQuery[TariffType | None] = None,
        retired: FromQuery[bool | None] = None,
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TariffView]:
        """Tariffs in their newest versions, newest first. `q` is looked for in id, name and texts."""
        after = begin(request, cursor, sort)
        wanted = TariffFilter(currency=currency, type=type and type.value, retired=retired, q=q)
        found = await tariffs.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get("/v1/tariffs/{tariff_id:str}", tags=["tariffs"], opt={"scope": Scope.TARIFFS_READ})
    async def get_tariff(request: Request[Any, Any, Any], tariff_id: FromPath[str]) -> Response[TariffView]:
        """A tariff in its newest version."""
        view = await tariffs.one(caller_of(request), tariff_id)
        return Response(view, headers=etag(view.revision))

    @put("/v1/tariffs/{tariff_id:str}", tags=["tariffs"], opt={"scope": Scope.TARIFFS_WRITE})
    async def put_tariff(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], data: JSONBody[TariffBody], if_match: IfMatch = None
    ) -> Response[TariffView]:
        """Puts a new version of a tariff. Versions before stay as they are: sessions that began with them end with them."""
        view = await tariffs.put(
            caller_of(request), tariff_id, data.name, _content(data), data.valid_from, revision_of(if_match)
        )
        return Response(view, headers=etag(view.revision))

    @delete("/v1/tariffs/{tariff_id:str}", tags=["tariffs"], opt={"scope": Scope.TARIFFS_WRITE})
    async def delete_tariff(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], if_match: IfMatch = None
    ) -> None:
        """Deletes a tariff that was never valid and is on no connector; others are retired."""
        await tariffs.delete(caller_of(request), tariff_id, revision_of(if_match))

    @get(
        "/v1/tariffs/{tariff_id:str}/versions",
        tags=["tariffs"],
        opt={"scope": Scope.TARIFFS_READ, "sorts": TARIFF_VERSION_SORTS},
    )
    async def list_tariff_versions(
        request: Request[Any, Any, Any],
        tariff_id: FromPath[str],
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TariffView]:
        """The versions of a tariff, newest first."""
        after = begin(request, cursor, sort)
        found = await tariffs.versions(caller_of(request), tariff_id, limit + 1, after)
        return page_of(request, found, limit, after)

    @get("/v1/tariffs/{tariff_id:str}/versions/{version:str}", tags=["tariffs"], opt={"scope": Scope.TARIFFS_READ})
    async def get_tariff_version(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], version: FromPath[str]
    ) -> TariffView:
        """One version of a tariff."""
        number = ident_of("version", version)
        if number > 2**31 - 1:
            raise NotFoundError("version", version)
        return await tariffs.one(caller_of(request), tariff_id, number)

    @post("/v1/tariffs/{tariff_id:str}/retire", tags=["tariffs"], opt={"scope": Scope.TARIFFS_WRITE}, status_code=200)
    async def retire_tariff(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], data: JSONBody[Retirement], if_match: IfMatch = None
    ) -> Response[TariffView]:
        """Lets no session begin with a tariff any more. A new version takes it up again."""
        view = await tariffs.retire(caller_of(request), tariff_id, data.at, revision_of(if_match))
        return Response(view, headers=etag(view.revision))

    @post("/v1/tariffs/{tariff_id:str}/assign", tags=["tariffs"], opt={"scope": Scope.TARIFFS_WRITE}, status_code=200)
    async def assign_tariff(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], data: JSONBody[Assignment]
    ) -> Assigned:
        """Puts a tariff on connectors, beside those that are there."""
        wanted = [(one.evse_uid, one.connector_id) for one in data.connectors]
        return Assigned(changed=await tariffs.assign(caller_of(request), tariff_id, wanted))

    @post("/v1/tariffs/{tariff_id:str}/unassign", tags=["tariffs"], opt={"scope": Scope.TARIFFS_WRITE}, status_code=200)
    async def unassign_tariff(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], data: JSONBody[Assignment]
    ) -> Assigned:
        """Takes a tariff off connectors."""
        wanted = [(one.evse_uid, one.connector_id) for one in data.connectors]
        return Assigned(changed=await tariffs.assign(caller_of(request), tariff_id, wanted, off=True))

    @post("/v1/tariffs/{tariff_id:str}/estimate", tags=["tariffs"], opt={"scope": Scope.TARIFFS_READ}, status_code=200)
    async def estimate_tariff(
        request: Request[Any, Any, Any], tariff_id: FromPath[str], data: JSONBody[EstimateAsked]
    ) -> RatingView:
        """What a session would cost by a tariff, line by line."""
        caller, at = caller_of(request), _moment(data.at)
        place = await _place(caller, data)
        tariff = await _tariff(caller, tariff_id, data.version, at)
        expected = Expected(
            at=at,
            energy_wh=data.energy_wh,
            duration_s=data.duration_s,
            power_w=data.power_w,
            profile=[Step(power_w=step.power_w, duration_s=step.duration_s) for step in data.profile],
            default_power_w=_power_at(place),
            parking_s=data.parking_s,
            reserved_s=data.reserved_s,
        )
        zone = place.time_zone if place is not None else _zone(data.time_zone)
        rating = estimate(expected, tariff, zone, terms=_terms(data.terms), taxes=_taxes(data.taxes))
        return rating_view(rating, data.language)

    @get("/v1/tariffs/{tariff_id:str}/station-tariff", tags=["tariffs"], opt={"scope": Scope.TARIFFS_READ})
    async def get_station_tariff(
        request: Request[Any, Any, Any],
        tariff_id: FromPath[str],
        version: Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1)] = None,
    ) -> StationTariffView:
        """The tariff as charging stations of OCPP 2.1 calculate with it; put it there by
        `PUT /v1/charging-stations/{station_id}/tariffs/{evse_id}`."""
        caller = caller_of(request)
        made = for_station(await _tariff(caller, tariff_id, version, datetime.now(UTC)))
        return StationTariffView(tariff=made.tariff, losses=list(made.losses))

    @get("/v1/evses/{uid:str}/price", tags=["tariffs"], opt={"scope": Scope.TARIFFS_READ})
    async def get_evse_price(
        request: Request[Any, Any, Any],
        uid: FromPath[str],
        at: At = None,
        connector_id: Text = None,
        power_w: Power = None,
        audience: FromQuery[Literal["public", "contract"]] = "public",
    ) -> PriceView:
        """What charging at an EVSE costs at a moment: by the tariff for whoever pays without a contract, or (`contract`) by the one
        that holds where an agreement names none."""
        caller = caller_of(request)
        moment = _moment(time_of("at", at))
        place = await locations.evse_by_uid(caller.tenant_id, uid, connector_id)
        if place is None:
            raise NotFoundError("EVSE", uid)
        if connector_id is not None and place.connector_id != connector_id:
            raise NotFoundError("connector", connector_id)
        types = PUBLIC if audience == "public" else CONTRACT
        tariff = await tariffs.at_connector(caller.tenant_id, place.tariff_ids, moment, types)
        if tariff is None:
            raise NotFoundError("tariff that holds", f"{uid} at {moment.isoformat()}")
        power = Decimal(str(power_w)) if power_w is not None else _power_at(place)
        now = prices_now(tariff, place.time_zone, moment, power_w=power)
        return PriceView(
            tariff_id=tariff.id,
            tariff_version=tariff.version,
            currency=tariff.currency,
            at=moment,
            until=now.until,
            per_kwh=unit_view(now.per_kwh, tariff.currency),
            per_hour=unit_view(now.per_hour, tariff.currency),
            per_parking_hour=unit_view(now.per_parking_hour, tariff.currency),
            fee=unit_view(now.fee, tariff.currency),
            tariff=tariff,
        )

    async def _place(caller: Caller, asked: EstimateAsked) -> EvsePlace | None:
        if asked.evse_uid is None:
            return None
        place = await locations.evse_by_uid(caller.tenant_id, asked.evse_uid, asked.connector_id)
        if place is None:
            sentence = f"There is no EVSE '{asked.evse_uid}'"
            raise InvalidInputError(f"{sentence}.", (("/evse_uid", sentence),))
        return place

    async def _tariff(caller: Caller, tariff_id: str, version: int | None, at: datetime) -> Tariff:
        found = None
        if version is None:
            found = await tariffs.version_of(caller.tenant_id, tariff_id, at)
            if found is None:
                version = (await tariffs.one(caller, tariff_id)).version
        if version is not None:
            found = await tariffs.frozen(caller.tenant_id, tariff_id, version)
        if found is None:
            raise NotFoundError("tariff", f"{tariff_id}, version {version}")
        return found

    return [
        create_tariff,
        list_tariffs,
        get_tariff,
        put_tariff,
        delete_tariff,
        list_tariff_versions,
        get_tariff_version,
        retire_tariff,
        assign_tariff,
        unassign_tariff,
        estimate_tariff,
        get_station_tariff,
        get_evse_price,
    ]


def _power_at(place: EvsePlace | None) -> Decimal | None:
    if place is None:
        return None
    connectors = [place.connector] if place.connector is not None else list(place.connectors)
    return Decimal(max((connector.power_w for connector in connectors), default=0)) or None


def _taxes(asked: Sequence[AskedTax]) -> tuple[Tax, ...]:
    return tuple(
        Tax(
            name=tax.name,
            percentage=Decimal(str(tax.percentage)),
            account_number=tax.account_number,
            dimensions=tax.dimensions,
        )
        for tax in asked
    )


def unit_view(cost: Cost | None, currency: str) -> CostView | None:
    return None if cost is None else cost_view(cost, currency, exact=True)
