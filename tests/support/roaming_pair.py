"""An operator and a provider in two installations, registered with each other in a version: a location, a tariff, stations, a driver."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from chargeplane.simulator import FAST, Plan
from tests.invoicing.making import ISSUER
from tests.support.charging_house import ChargingHouse, Tenant

NUMBERS = itertools.count(1)
HOLD = replace(FAST, remote_plan=Plan(hold=True))
"""Stations that charge until they are stopped."""


@dataclass
class Pair:
    """An operator with a location and a tariff, a provider with a driver, registered with each other."""

    version: str
    operator: Tenant
    provider: Tenant
    partner: str
    location: str
    tariff: str
    driver_id: str
    card: str
    connection: str


async def paired(houses: tuple[ChargingHouse, ChargingHouse], version: str) -> Pair:
    """The two of them as new tenants, registered in a version."""
    number = next(NUMBERS)
    operator, provider = await houses[0].tenant(), await houses[1].tenant()
    for tenant, country, party, role in (
        (operator, "NL", f"O{number:02d}", "CPO"),
        (provider, "DE", f"P{number:02d}", "EMSP"),
    ):
        await tenant.send(
            "PUT",
            f"/roaming/parties/{country}/{party}",
            {"roles": [role], "business_details": {"name": f"{party} Ltd"}},
        )
    tariff, location = f"TARIFF{number}", f"LOC{number}"
    element = {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 19.0, "step_size": 1}]}
    await operator.send(
        "POST",
        "/tariffs",
        {"id": tariff, "type": "REGULAR", "currency": "EUR", "tax_included": "NO", "elements": [element]},
    )
    await operator.send(
        "POST",
        "/locations",
        {
            "id": location, "name": "Plein", "address": "Plein 1", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
            "time_zone": "Europe/Amsterdam", "coordinates": {"latitude": "52.09000", "longitude": "5.12000"},
        },
    )  # fmt: skip
    await provider.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
    driver = await provider.send("POST", "/drivers", {"email": f"driver{number}@example.com"})
    card = f"CARD{number:04d}"
    await provider.send("POST", f"/drivers/{driver['id']}/id-tokens", {"id_token": card})
    old = version == "2.1.1"
    invited = await operator.send("POST", "/roaming/partners", {"name": "provider", "own_role": "CPO" if old else None})
    registered = await provider.send(
        "POST",
        "/roaming/partners/register",
        {
            "name": "operator", "versions_url": invited["versions_url"], "token": invited["token"], "version": version,
            "own_role": "EMSP" if old else None,
        },
    )  # fmt: skip
    return Pair(
        version=version, operator=operator, provider=provider, partner=f"NL*O{number:02d}", location=location, tariff=tariff,
        driver_id=driver["id"], card=card, connection=registered["id"],
    )  # fmt: skip


_SHARED: dict[tuple[str, str], Pair] = {}


async def shared(houses: tuple[ChargingHouse, ChargingHouse], version: str) -> Pair:
    """A pair for tests that look at their own stations and sessions alone: the first things of a new tenant take seconds."""
    key = (houses[0].base, version)
    if key not in _SHARED:
        _SHARED[key] = await paired(houses, version)
    return _SHARED[key]


async def station_of(pair: Pair, *, capabilities: tuple[str, ...] = (), **more: Any) -> tuple[Any, str]:
    """A station of the operator at its location, as soon as the provider sees its price; and the uid of its EVSE.

    Args:
        capabilities: of the EVSE, as described.
    """
    station = await pair.operator.station("2.0.1", **more)
    uid = f"E{next(NUMBERS)}"
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": [pair.tariff],
    }  # fmt: skip
    await pair.operator.send(
        "POST",
        f"/locations/{pair.location}/evses",
        {
            "uid": uid,
            "evse_id": f"{pair.partner}*{uid}",
            "station_id": station.station_id,
            "ocpp_evse_id": 1,
            "connectors": [connector],
            "capabilities": list(capabilities),
        },
    )

    async def shown() -> Any:
        found = (await pair.provider.get("/roaming/locations", partner=pair.partner, available=True))["items"]
        return next((one for place in found for one in place["evses"] if one["uid"] == uid), None)

    evse = await pair.provider.until(shown, lambda one: one is not None and one["connectors"][0]["price"] is not None)
    # OCPI 2.1.1 has no VAT in tariffs.
    assert evse["connectors"][0]["price"]["per_kwh"]["amount"] == ("0.40" if pair.version == "2.1.1" else "0.476")
    return station, uid


async def begun(pair: Pair, uid: str) -> dict[str, Any]:
    """A session at an EVSE that the provider began by command, as the provider was told it."""
    order = {
        "type": "start_session", "partner": pair.partner, "location_id": pair.location, "evse_uid": uid, "id_token": pair.card,
    }  # fmt: skip
    given = await pair.provider.send("POST", "/roaming/commands?wait_s=30", order)
    assert (given["state"], given["result"]) == ("done", "ACCEPTED"), given

    async def there() -> Any:
        found = (await pair.provider.get("/roaming/sessions", driver_id=pair.driver_id))["items"]
        return next((one for one in found if one["status"] == "ACTIVE" and one["evse_uid"] == uid), None)

    session: dict[str, Any] = await pair.provider.until(there, bool)
    return session
