"""A site to charge at, made by REST."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from chargeplane.simulator import FAST, Options, VirtualStation
from tests.support.charging_house import ChargingHouse, Tenant

_numbers = itertools.count(1)


class Site:
    """A tenant with a location, an EVSE and a tariff."""

    def __init__(self, tenant: Tenant, location_id: str, tariff_id: str | None) -> None:
        self.tenant = tenant
        self.location_id = location_id
        self.tariff_id = tariff_id

    async def station(self, version: str, options: Options = FAST, **more: Any) -> VirtualStation:
        """A station at the location, bound to an EVSE with the tariff, whose clock is two hours back and moves with what it does."""
        station = await self.tenant.station(version, options, **more)
        station.clock.freeze(datetime.now(UTC) - timedelta(hours=2))
        connector = {
            "id": "1",
            "standard": "IEC_62196_T2",
            "format": "SOCKET",
            "power_type": "AC_3_PHASE",
            "max_voltage": 230,
            "max_amperage": 32,
            "tariff_ids": [] if self.tariff_id is None else [self.tariff_id],
        }
        await self.tenant.send(
            "POST",
            f"/locations/{self.location_id}/evses",
            {
                "uid": f"E{next(_numbers)}",
                "station_id": station.station_id,
                "ocpp_evse_id": 1,
                "connectors": [connector],
            },
        )
        return station

    async def sessions(self, **query: Any) -> list[Any]:
        """Its sessions, oldest first."""
        return list(reversed((await self.tenant.get("/sessions", **query))["items"]))

    async def cdrs(self, **query: Any) -> list[Any]:
        """Its CDRs in the order they were written."""
        return sorted((await self.tenant.get("/cdrs", **query))["items"], key=lambda cdr: int(cdr["id"]))

    async def settled(self, count: int = 1) -> list[Any]:
        """Its CDRs once there are so many."""
        return list(await self.tenant.until(self.cdrs, lambda found: len(found) == count))


ENERGY = {"type": "ENERGY", "price": 0.5, "vat": 20, "step_size": 1}
PARKING = {"type": "PARKING_TIME", "price": 6, "vat": 20, "step_size": 1}


async def site(house: ChargingHouse, *components: dict[str, Any], **settings: Any) -> Site:
    """A new tenant with a location and a tariff of these components; without one it has none."""
    tenant = await house.tenant(**settings)
    tariff_id = None
    if components:
        made = await tenant.send(
            "POST",
            "/tariffs",
            {
                "name": "House",
                "currency": "EUR",
                "tax_included": "NO",
                "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
                "elements": [{"price_components": list(components)}],
            },
        )
        tariff_id = made["id"]
    place = await tenant.send(
        "POST",
        "/locations",
        {
            "name": "Hof",
            "address": "Torstr. 1",
            "city": "Berlin",
            "country": "DEU",
            "time_zone": "Europe/Berlin",
            "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
        },
    )
    return Site(tenant, place["id"], tariff_id)
