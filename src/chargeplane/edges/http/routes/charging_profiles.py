"""Charging profiles of stations, what they add up to, and what vehicles and external systems tell."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from litestar import Request, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.charging_profiles import SchedulesView
from chargeplane.domain.charging_dialects import SENTENCES, Trait
from chargeplane.domain.charging_profiles import (
    ChargingProfile,
    ChargingSchedule,
    PeriodUpdate,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
    Recurrency,
)
from chargeplane.domain.commands import CommandOutcome
from chargeplane.domain.composite_schedules import MAX_DURATION_S
from chargeplane.domain.smart_charging import EnergyTransfer
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import StationIdPath, ident_of, time_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.store.queries.charging_profiles import PROFILE_SORTS, ChargingProfileView, ProfileFilter
from chargeplane.store.queries.smart_charging import (
    NEED_SORTS,
    SCHEDULE_SORTS,
    ChargingLimitView,
    DialectView,
    EvNeedView,
    EvScheduleView,
)

_STATION = "/v1/charging-stations/{station_id:str}"
_TAG = "smart-charging"
ProfileId = Annotated[
    str, PathParameter(max_length=11, description="Of the profile: a whole number, unique on the station.")
]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class ProfileBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A charging profile, in the words of OCPP 2.1 whatever the station speaks.

    Args:
        evse_id: 0: the whole station (for TxDefaultProfile and PriorityCharging: each EVSE of it).
        stack_level: the higher one overrules the lower one of the same purpose.
        transaction_id: the station's id of the transaction a TxProfile is for.
        carried: (OCPP name, JSON text) of price schedules and customData.
    """

    evse_id: Number = 0
    stack_level: Number = 0
    purpose: ProfilePurpose
    kind: ProfileKind = ProfileKind.ABSOLUTE
    schedules: Annotated[tuple[ChargingSchedule, ...], Meta(min_length=1, max_length=3)]
    recurrency: Recurrency | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None
    max_offline_s: Number | None = None
    invalid_after_offline: bool | None = None
    dyn_update_interval_s: Number | None = None
    carried: Annotated[tuple[tuple[str, str], ...], Meta(max_length=4)] = ()


class Ended(Struct, kw_only=True):
    """How asking a station ended.

    Args:
        state: accepted, rejected, failed, timed_out, expired; null where it was not asked.
        request_id: of the report that follows, under /v1/charging-stations/{id}/requests.
    """

    state: str | None
    status: str | None = None
    reason: str | None = None
    request_id: int | None = None


class Updated(Struct, kw_only=True):
    """A dynamic profile with its new values, and how telling the station ended."""

    profile: ChargingProfileView
    told: Ended


class AllowedTransfers(Struct, kw_only=True, forbid_unknown_fields=True):
    """How a transaction's vehicle may transfer energy."""

    ocpp_transaction_id: Annotated[str, Meta(min_length=1, max_length=36)]
    allowed: Annotated[tuple[EnergyTransfer, ...], Meta(min_length=1, max_length=11)]


class ExternalLimits(Struct, kw_only=True):
    """What external systems allow a station."""

    items: list[ChargingLimitView]


class Dialect(Struct, kw_only=True):
    """What a model refuses, and what is sent instead."""

    known: DialectView
    means: str


class Dialects(Struct, kw_only=True):
    """What models are known to refuse of charging profiles."""

    items: list[Dialect]


class DialectBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A model, by the words of its BootNotification, and what it refuses."""

    vendor: Annotated[str, Meta(max_length=255)]
    model: Annotated[str, Meta(max_length=255)] = ""
    firmware: Annotated[str, Meta(max_length=255)] = ""
    trait: Trait


def number_of(text: str) -> int:
    """A profile's id from a path.

    Raises:
        NotFoundError: it cannot be the id of any.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or not -(2**31) <= int(text) < 2**31:
        raise NotFoundError("charging profile", text[:20])
    return int(text)


def ended(outcome: CommandOutcome | None, request_id: int | None = None) -> Ended:
    """How asking ended, for a caller."""
    if outcome is None:
        return Ended(state=None)
    return Ended(state=outcome.state.value, status=outcome.status, reason=outcome.reason, request_id=request_id)


def charging_profile_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    profiles = services.subjects.charging_profiles
    keeper = services.subjects.profile_keeper

    @get(f"{_STATION}/charging-profiles", tags=[_TAG], opt={"scope": Scope.STATIONS_READ, "sorts": PROFILE_SORTS})
    async def list_charging_profiles(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        wanted_state: Annotated[str | None, QueryParameter(name="state", max_length=20)] = None,
        purpose: FromQuery[ProfilePurpose | None] = None,
        evse: Annotated[int | None, QueryParameter(ge=0, le=2**31 - 1)] = None,
        origin: Annotated[str | None, QueryParameter(max_length=20)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ChargingProfileView]:
        """What a station was asked to hold and what it said, by id; removed ones with `state=removed`."""
        after = begin(request, cursor, sort)
        wanted = ProfileFilter(state=wanted_state, purpose=purpose and purpose.value, evse_id=evse, origin=origin)
        found = await profiles.page(caller_of(request), station_id, wanted, limit + 1, after)
        return page_of(request, found, limit, after)

    @get(f"{_STATION}/charging-profiles/{{profile_id:str}}", tags=[_TAG], opt={"scope": Scope.STATIONS_READ})
    async def get_charging_profile(
        request: Request[Any, Any, Any], station_id: StationIdPath, profile_id: ProfileId
    ) -> ChargingProfileView:
        """A charging profile and whether the station has it."""
        return await profiles.one(caller_of(request), station_id, number_of(profile_id))

    @put(f"{_STATION}/charging-profiles/{{profile_id:str}}", tags=[_TAG], opt={"scope": Scope.COMMANDS})
    async def put_charging_profile(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        profile_id: ProfileId,
        data: JSONBody[ProfileBody],
    ) -> ChargingProfileView:
        """Sets a charging profile. It is checked by the rules of the station's OCPP version (422 names each field), then brought to
        the station, now or when it can be reached, and again when a restart lost it. What its model is known to refuse is sent
        in another way, which `sent` and `changes` show."""
        fields = {name: getattr(data, name) for name in data.__struct_fields__}
        return await profiles.put(caller_of(request), station_id, ChargingProfile(id=number_of(profile_id), **fields))

    @delete(
        f"{_STATION}/charging-profiles/{{profile_id:str}}",
        tags=[_TAG],
        opt={"scope": Scope.COMMANDS},
        status_code=200,
    )
    async def delete_charging_profile(
        request: Request[Any, Any, Any], station_id: StationIdPath, profile_id: ProfileId
    ) -> ChargingProfileView:
        """Has a charging profile cleared from the station, now or when it can be reached."""
        return await profiles.remove(caller_of(request), station_id, number_of(profile_id))

    @post(
        f"{_STATION}/charging-profiles/{{profile_id:str}}/update",
        tags=[_TAG],
        opt={"scope": Scope.COMMANDS},
        status_code=200,
    )
    async def update_charging_profile(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        profile_id: ProfileId,
        data: JSONBody[PeriodUpdate],
    ) -> Updated:
        """New values for a Dynamic profile (OCPP 2.1), told to the station at once, or when it asks for them."""
        view, outcome = await profiles.update(caller_of(request), station_id, number_of(profile_id), data)
        return Updated(profile=view, told=ended(outcome))

    @post(f"{_STATION}/charging-profiles/report", tags=[_TAG], opt={"scope": Scope.COMMANDS}, status_code=202)
    async def report_charging_profiles(request: Request[Any, Any, Any], station_id: StationIdPath) -> Ended:
        """Asks the station (OCPP 2.x) what is installed on it. What of ours is missing in its report is sent again."""
        caller = caller_of(request)
        key = await services.charging_stations.key_of(caller, station_id)
        if not await keeper.reachable(key):
            raise ConflictError(f"'{station_id}' is not connected.")
        number, outcome = await keeper.ask_report(caller.tenant_id, key, by=caller.actor, everything=True)
        return ended(outcome, number)

    @get(f"{_STATION}/composite-schedule", tags=[_TAG], opt={"scope": Scope.STATIONS_READ})
    async def get_composite_schedule(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        evse: Annotated[int, QueryParameter(ge=0, le=2**31 - 1, description="0: the whole station.")] = 0,
        duration: Annotated[int, QueryParameter(ge=1, le=MAX_DURATION_S, description="Seconds.")] = 86_400,
        unit: FromQuery[RateUnit] = RateUnit.W,
        ask: Annotated[bool, QueryParameter(description="Ask the station for its own, too.")] = False,
        start: Annotated[str | None, QueryParameter(name="from", description="RFC 3339; now unless given.")] = None,
    ) -> SchedulesView:
        """What all charging profiles and external limits of a station or EVSE add up to, beside the station's own schedule."""
        begin = time_of("from", start)
        if ask and begin is not None:
            sentence = "A station tells its schedule from now on: leave out one of the two"
            raise InvalidInputError(f"{sentence}.", (("/from", sentence),))
        return await profiles.schedules(
            caller_of(request), station_id, evse_id=evse, duration_s=duration, unit=unit, start=begin, ask=ask
        )

    @get(f"{_STATION}/charging-limits", tags=[_TAG], opt={"scope": Scope.STATIONS_READ})
    async def list_charging_limits(request: Request[Any, Any, Any], station_id: StationIdPath) -> ExternalLimits:
        """What external systems (grid operator, energy manager) allow the station, as it told."""
        return ExternalLimits(items=await profiles.limits(caller_of(request), station_id))

    @get(f"{_STATION}/ev-charging-needs", tags=[_TAG], opt={"scope": Scope.TRANSACTIONS_READ, "sorts": NEED_SORTS})
    async def list_ev_charging_needs(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        transaction_id: Annotated[str | None, QueryParameter(max_length=20)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EvNeedView]:
        """What vehicles told of their needs (ISO 15118) and what they were answered, newest first."""
        after = begin(request, cursor, sort)
        which = None if transaction_id is None else ident_of("transaction", transaction_id)
        found = await profiles.needs(caller_of(request), station_id, which, limit + 1, after)
        return page_of(request, found, limit, after)

    @get(
        f"{_STATION}/ev-charging-schedules",
        tags=[_TAG],
        opt={"scope": Scope.TRANSACTIONS_READ, "sorts": SCHEDULE_SORTS},
    )
    async def list_ev_charging_schedules(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        transaction_id: Annotated[str | None, QueryParameter(max_length=20)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[EvScheduleView]:
        """What vehicles said they would follow, and whether that is within the limits, newest first."""
        after = begin(request, cursor, sort)
        which = None if transaction_id is None else ident_of("transaction", transaction_id)
        found = await profiles.ev_schedules(caller_of(request), station_id, which, limit + 1, after)
        return page_of(request, found, limit, after)

    @post(f"{_STATION}/allowed-energy-transfers", tags=[_TAG], opt={"scope": Scope.COMMANDS}, status_code=200)
    async def allow_energy_transfers(
        request: Request[Any, Any, Any], station_id: StationIdPath, data: JSONBody[AllowedTransfers]
    ) -> Ended:
        """How a transaction's vehicle may transfer energy from now on (OCPP 2.1): kept, and told to the station. Without it a
        vehicle may only charge."""
        caller = caller_of(request)
        return ended(await profiles.allow_transfers(caller, station_id, data.ocpp_transaction_id, data.allowed))

    @get("/v1/charging-dialects", tags=[_TAG], opt={"scope": Scope.STATIONS_READ})
    async def list_charging_dialects(request: Request[Any, Any, Any]) -> Dialects:
        """What models were seen to refuse of charging profiles, and what their stations get instead."""
        found = await profiles.dialects(caller_of(request))
        return Dialects(items=[Dialect(known=one, means=SENTENCES.get(Trait(one.trait), one.trait)) for one in found])

    @put("/v1/charging-dialects", tags=[_TAG], opt={"scope": Scope.STATIONS_WRITE}, status_code=204)
    async def put_charging_dialect(request: Request[Any, Any, Any], data: JSONBody[DialectBody]) -> None:
        """Says what a model refuses, or accepts and does not do: its stations get the fallback from now on."""
        await profiles.set_dialect(caller_of(request), data.vendor, data.model, data.firmware, data.trait.value)

    @post("/v1/charging-dialects/forget", tags=[_TAG], opt={"scope": Scope.STATIONS_WRITE}, status_code=204)
    async def forget_charging_dialect(request: Request[Any, Any, Any], data: JSONBody[DialectBody]) -> None:
        """Forgets what a model refused: its stations are tried again with the profile as it is."""
        await profiles.forget_dialect(caller_of(request), data.vendor, data.model, data.firmware, data.trait.value)

    return [
        list_charging_profiles,
        get_charging_profile,
        put_charging_profile,
        delete_charging_profile,
        update_charging_profile,
        report_charging_profiles,
        get_composite_schedule,
        list_charging_limits,
        list_ev_charging_needs,
        list_ev_charging_schedules,
        allow_energy_transfers,
        list_charging_dialects,
        put_charging_dialect,
        forget_charging_dialect,
    ]
