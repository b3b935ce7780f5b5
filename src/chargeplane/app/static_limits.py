"""Limits that stations keep for when they are alone: of a station, of an EVSE, or a station's share of its site's.

A limit of the whole station becomes its ChargingStationMaxProfile, which holds with and without a connection and over every
transaction. OCPP has no such profile for one EVSE: there it becomes the EVSE's TxDefaultProfile of stack level 0, which a TxProfile or a
higher level overrules. A site's limit is divided over its stations; a station has the lower of its own and its share.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_profiles import STATIC_LIMIT_IDS
from chargeplane.domain.charging_abilities import electrics_of
from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.static_caps import OVERRULING
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import charging_profiles as profiles
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import smart_charging as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.smart_charging import LocationLimitView, StaticLimitView

STACK_LEVEL: Final = 0
_DIVIDE_EVERY_S: Final = 60.0
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


class DivisionRule(enum.StrEnum):
    """How a site's limit is divided: equally, or by the number of EVSEs (one at least)."""

    EQUAL = "equal"
    BY_EVSES = "by_evses"


class StaticLimitState(Struct, frozen=True, kw_only=True):
    """A limit that is kept on a station.

    Args:
        evse_id: 0: the whole station.
        limit, unit: what holds: the lower of what was set for the station and its share of the site's.
        purpose: of the profile it is kept as.
        profile_id: that profile's.
        holds: whether the station has it.
        state: of that profile: wanted, installed, refused, removing.
        reason: why not, where it does not hold.
        confirmed_at: when the station last reported it.
        set: what it comes from.
    """

    evse_id: int
    limit: Decimal
    unit: RateUnit
    purpose: ProfilePurpose
    profile_id: int
    holds: bool
    state: str
    reason: str | None
    changes: Sequence[str]
    confirmed_at: datetime | None
    set: Sequence[StaticLimitView]


class StationShare(Struct, frozen=True, kw_only=True):
    """A station's share of its site's limit, and whether it has it."""

    station_id: str
    limit: Decimal
    state: str
    holds: bool


class LocationLimitState(Struct, frozen=True, kw_only=True):
    """A site's limit and how it is divided."""

    limit: LocationLimitView
    stations: Sequence[StationShare]


class StaticLimits:
    """Use cases about static limits.

    Args:
        kick: tells the keeper that a station has something to settle.
    """

    def __init__(self, database: Database, kick: Callable[[], None]) -> None:
        self._database = database
        self._kick = kick
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Divides sites anew from time to time, for stations come and go."""
        self._loop = asyncio.create_task(self._divide_on(), name="site limits")

    async def stop(self) -> None:
        """Ends that."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _divide_on(self) -> None:
        while True:
            await asyncio.sleep(_DIVIDE_EVERY_S)
            try:
                await self.divide_all()
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("site_limits_not_divided")

    async def divide_all(self) -> None:
        """Divides the limits of all sites over the stations that are there now."""
        async with self._database.change() as db:
            for tenant_id, limit in await queries.locations(db):
                await self._divide(db, tenant_id, limit)
            for tenant_id, key in await queries.stray_shares(db):
                await queries.drop_static(db, key, 0, "location")
                await self._apply(db, tenant_id, key, 0, "policy: site limit")
        self._kick()

    # -- stations ------------------------------------------------------------------------------------------------------

    async def of_station(self, caller: Caller, station_id: str) -> list[StaticLimitState]:
        """The limits that a station keeps.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await _key(db, caller, station_id)
            return await self._states(db, key)

    async def put(
        self, caller: Caller, station_id: str, evse_id: int, limit: Decimal, unit: RateUnit
    ) -> list[StaticLimitState]:
        """Has a station keep a limit.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.change() as db:
            key = await _key(db, caller, station_id)
            before = await self._states(db, key)
            await queries.put_static(db, caller.tenant_id, key, evse_id, "station", limit, unit.value, caller.actor)
            await self._apply(db, caller.tenant_id, key, evse_id, caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="set",
                kind="static-limit",
                ident=f"{station_id}/{evse_id}",
                before=[one for one in before if one.evse_id == evse_id],
                after={"limit": str(limit), "unit": unit.value},
            )
            states = await self._states(db, key)
        self._kick()
        return states

    async def drop(self, caller: Caller, station_id: str, evse_id: int) -> None:
        """The station keeps the limit no more; its share of a site's it keeps.

        Raises:
            NotFoundError: the tenant has no such station, or that no such limit.
        """
        async with self._database.change() as db:
            key = await _key(db, caller, station_id)
            before = await self._states(db, key)
            if not await queries.drop_static(db, key, evse_id, "station"):
                raise NotFoundError("static limit", f"{station_id}/{evse_id}")
            await self._apply(db, caller.tenant_id, key, evse_id, caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="clear",
                kind="static-limit",
                ident=f"{station_id}/{evse_id}",
                before=[one for one in before if one.evse_id == evse_id],
            )
        self._kick()

    async def _apply(self, db: Db, tenant_id: TenantId, key: StationKey, evse_id: int, set_by: str) -> None:
        """Makes the profile of what holds now, where it is another than before."""
        given = [one for one in await queries.static_limits(db, key) if one.evse_id == evse_id]
        ident = STATIC_LIMIT_IDS + evse_id
        held = await profiles.one(db, key, ident, lock=True)
        if not given:
            if held is not None and held.state not in ("removed", "removing"):
                await profiles.remove(db, key, ident, set_by)
                await self._hold_down(db, key, evse_id)
            return
        electrics = electrics_of(await queries.variables_of(db, key), evse_id, 1)
        factor = electrics.voltage * electrics.phases
        lowest = min(given, key=lambda one: one.limit * (factor if one.unit == "A" else 1))
        profile = as_profile(evse_id, lowest.limit, RateUnit(lowest.unit))
        if held is None or held.profile != profile or held.state in ("removed", "removing"):
            await profiles.put(db, tenant_id, key, profile, origin="static_limit", set_by=set_by)
            await self._hold_down(db, key, evse_id)

    async def _hold_down(self, db: Db, key: StationKey, evse_id: int) -> None:
        """OCPP has no maximum of one EVSE: what overrules its static limit goes to the station with that limit in it."""
        if evse_id:
            await profiles.send_again(db, key, evse_id, [one.value for one in OVERRULING])

    async def _states(self, db: Db, key: StationKey) -> list[StaticLimitState]:
        given: dict[int, list[StaticLimitView]] = {}
        for one in await queries.static_limits(db, key):
            given.setdefault(one.evse_id, []).append(one)
        found = []
        for evse_id, views in given.items():
            held = await profiles.one(db, key, STATIC_LIMIT_IDS + evse_id)
            if held is None:
                continue
            schedule = held.profile.schedules[0]
            limit = schedule.periods[0].limit
            assert limit is not None
            found.append(
                StaticLimitState(
                    evse_id=evse_id,
                    limit=limit,
                    unit=schedule.unit,
                    purpose=held.held.purpose,
                    profile_id=held.id,
                    holds=held.state == "installed",
                    state=held.state,
                    reason=held.reason,
                    changes=held.changes,
                    confirmed_at=held.confirmed_at,
                    set=views,
                )
            )
        return found

    # -- sites ---------------------------------------------------------------------------------------------------------

    async def of_location(self, caller: Caller, location_id: str) -> LocationLimitState:
        """A site's limit and how it is divided.

        Raises:
            NotFoundError: the site has none.
        """
        async with self._database.read() as db:
            limit = await queries.location(db, caller.tenant_id, location_id)
            if limit is None:
                raise NotFoundError("limit of location", location_id)
            shares = []
            for key, station_id, _ in await queries.stations_at(db, caller.tenant_id, location_id):
                share = next((one for one in await queries.static_limits(db, key) if one.set_for == "location"), None)
                held = await profiles.one(db, key, STATIC_LIMIT_IDS)
                state = "wanted" if held is None else held.state
                shares.append(
                    StationShare(
                        station_id=station_id,
                        limit=Decimal(0) if share is None else share.limit,
                        state=state,
                        holds=share is not None and state == "installed",
                    )
                )
        return LocationLimitState(limit=limit, stations=shares)

    async def put_location(
        self, caller: Caller, location_id: str, limit: Decimal, unit: RateUnit, rule: DivisionRule
    ) -> LocationLimitState:
        """Limits a site: its stations keep their shares."""
        async with self._database.change() as db:
            before = await queries.location(db, caller.tenant_id, location_id)
            await queries.put_location(db, caller.tenant_id, location_id, limit, unit.value, rule.value, caller.actor)
            stored = await queries.location(db, caller.tenant_id, location_id)
            assert stored is not None
            await self._divide(db, caller.tenant_id, stored)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="set",
                kind="location-limit",
                ident=location_id,
                before=before,
                after={"limit": str(limit), "unit": unit.value, "rule": rule.value},
            )
        self._kick()
        return await self.of_location(caller, location_id)

    async def drop_location(self, caller: Caller, location_id: str) -> None:
        """A site is limited no more; its stations' own limits stay.

        Raises:
            NotFoundError: the site has no limit.
        """
        async with self._database.change() as db:
            before = await queries.location(db, caller.tenant_id, location_id)
            if not await queries.drop_location(db, caller.tenant_id, location_id):
                raise NotFoundError("limit of location", location_id)
            for tenant_id, key in await queries.stray_shares(db):
                if tenant_id == caller.tenant_id:
                    await queries.drop_static(db, key, 0, "location")
                    await self._apply(db, tenant_id, key, 0, caller.actor)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="clear",
                kind="location-limit",
                ident=location_id,
                before=before,
            )
        self._kick()

    async def _divide(self, db: Db, tenant_id: TenantId, limit: LocationLimitView) -> None:
        stations = await queries.stations_at(db, tenant_id, limit.location_id)
        shares = divided(limit.limit, DivisionRule(limit.rule), [evses for _, _, evses in stations])
        for (key, _, _), share in zip(stations, shares, strict=True):
            if await queries.put_static(db, tenant_id, key, 0, "location", share, limit.unit, limit.set_by):
                await self._apply(db, tenant_id, key, 0, limit.set_by)


def divided(limit: Decimal, rule: DivisionRule, evses: Sequence[int]) -> list[Decimal]:
    """Each station's share, cut to a tenth: together never more than the whole.

    Args:
        evses: of each station, one at least.
    """
    weights = [1] * len(evses) if rule is DivisionRule.EQUAL else list(evses)
    total = sum(weights)
    return [(limit * weight / total).quantize(Decimal("0.1"), ROUND_DOWN) for weight in weights]


def as_profile(evse_id: int, limit: Decimal, unit: RateUnit) -> ChargingProfile:
    """The profile that keeps a limit on a station."""
    purpose = ProfilePurpose.TX_DEFAULT if evse_id else ProfilePurpose.CHARGING_STATION_MAX
    return ChargingProfile(
        id=STATIC_LIMIT_IDS + evse_id,
        evse_id=evse_id,
        stack_level=STACK_LEVEL,
        purpose=purpose,
        kind=ProfileKind.ABSOLUTE,
        schedules=(ChargingSchedule(id=1, unit=unit, start=_EPOCH, periods=(ChargingPeriod(limit=limit),)),),
    )


async def _key(db: Db, caller: Caller, station_id: str) -> StationKey:
    key = await charging_stations.required_key(db, caller.tenant_id, station_id)
    return key
