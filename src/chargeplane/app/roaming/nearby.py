"""Where drivers may charge around a point: at our own stations and at partners', in one list, with prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.app.locations import Locations
from chargeplane.app.roaming.places import (
    ENERGY_WH,
    PartnerConnectorView,
    PartnerEvseView,
    PartnerLocationView,
    PartnerPlaces,
    PriceView,
    degrees,
    price_of,
    zone_of,
)
from chargeplane.domain.tariffs.model import Tariff, TariffType
from chargeplane.store.database import Database
from chargeplane.store.queries import tariffs as tariff_queries
from chargeplane.store.queries.locations import EvseView, LocationFilter, LocationView
from chargeplane.store.queries.paging import Mark, Position
from chargeplane.store.queries.partner_places import PlaceFilter


class PlaceView(PartnerLocationView, frozen=True, kw_only=True):
    """A Location, ours or a partner's.

    Args:
        own: ours: charge there by `/v1/me/charges`, at a partner's by `/v1/me/roaming/charges`.
        partner: country code and party, as `DE*ABC`; empty: ours, where we have no party.
    """

    own: bool


class Nearby:
    """Looks for them."""

    def __init__(
        self,
        database: Database,
        locations: Locations,
        places: PartnerPlaces,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._locations = locations
        self._places = places
        self._now = now

    async def around(
        self,
        caller: Caller,
        wanted: PlaceFilter,
        limit: int,
        after: tuple[Mark | None, Mark | None],
        *,
        energy_wh: Decimal | None = None,
    ) -> list[tuple[tuple[Mark | None, Mark | None], PlaceView]]:
        """Locations that fit around a point, the nearest first, each with the positions behind which the list goes on.

        Args:
            wanted: with a point.
            after: among ours, and among partners'.
            energy_wh: of the session that is priced; None: 20 kWh.
        """
        ours: list[tuple[Mark, LocationView]] = []
        if wanted.party is None:
            ours = await self._locations.page(caller, _own_filter(wanted), limit, Position(after[0] or ()))
        theirs = await self._places.search(caller, wanted, limit, Position(after[1] or ()), energy_wh=energy_wh)
        tariffs = await self._tariffs(caller, [view for _, view in ours])
        made: list[tuple[Mark, bool, PlaceView]] = [
            (position, True, self._own(view, position, tariffs, energy_wh or ENERGY_WH)) for position, view in ours
        ]
        made += [(position, False, _theirs(view)) for position, view in theirs]
        made.sort(key=lambda one: (one[0][0], not one[1], one[0][1]))
        found: list[tuple[tuple[Mark | None, Mark | None], PlaceView]] = []
        own_at, partners_at = after
        for position, own, view in made[:limit]:
            own_at, partners_at = (position, partners_at) if own else (own_at, position)
            found.append(((own_at, partners_at), view))
        return found

    async def _tariffs(self, caller: Caller, views: Sequence[LocationView]) -> dict[str, Tariff]:
        named = {
            ident.lower()
            for view in views
            for evse in view.evses
            for one in evse.connectors
            for ident in one.tariff_ids
        }
        if not named:
            return {}
        async with self._database.read() as db:
            found = await tariff_queries.valid(db, caller.tenant_id, sorted(named), self._now())
        return {one.id.lower(): one for one in found}

    def _own(self, view: LocationView, position: Mark, tariffs: dict[str, Tariff], energy_wh: Decimal) -> PlaceView:
        at, zone = self._now(), zone_of(view.time_zone)
        known: dict[tuple[str, int], PriceView | None] = {}

        def price(idents: Sequence[str], power_w: int) -> PriceView | None:
            for ident in idents:
                tariff = tariffs.get(ident.lower())
                if tariff is None or not tariff.holds(at) or tariff.type is TariffType.AD_HOC_PAYMENT:
                    continue
                key = (ident.lower(), power_w)
                if key not in known:
                    known[key] = price_of(tariff, power_w, zone, at, energy_wh)
                return known[key]
            return None

        def evse(one: EvseView) -> PartnerEvseView:
            return PartnerEvseView(
                uid=one.uid,
                evse_id=one.evse_id,
                physical_reference=one.physical_reference,
                status=one.status.value,
                connectors=tuple(
                    PartnerConnectorView(
                        id=each.id,
                        standard=str(each.standard),
                        format=str(each.format),
                        power_type=str(each.power_type),
                        power_w=each.max_power_w,
                        price=price(each.tariff_ids, each.max_power_w),
                    )
                    for each in one.connectors
                ),
            )

        party = (view.country_code, view.party_id)
        return PlaceView(
            own=True,
            partner="*".join(one for one in party if one) if all(party) else "",
            id=view.id,
            name=view.name,
            operator=None if view.operator is None else view.operator.name,
            address=view.address,
            postal_code=view.postal_code,
            city=view.city,
            country=view.country,
            latitude=degrees(view.coordinates.latitude),
            longitude=degrees(view.coordinates.longitude),
            time_zone=view.time_zone,
            distance_m=float(position[0]),
            last_updated=view.last_updated,
            evses=tuple(evse(one) for one in view.evses if one.status.value != "REMOVED"),
        )


def _own_filter(wanted: PlaceFilter) -> LocationFilter:
    return LocationFilter(
        near=wanted.near,
        q=wanted.q,
        publish=True,
        available=wanted.available or None,
        standard=wanted.standard,
        current=wanted.current,
        min_power_w=wanted.min_power_w,
    )


def _theirs(view: PartnerLocationView) -> PlaceView:
    said: dict[str, Any] = {name: getattr(view, name) for name in PartnerLocationView.__struct_fields__}
    return PlaceView(own=False, **said)
