"""Block I: what a session costs so far, worked out by the server from the tariff of its EVSE."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session, register_value
from tests.conformance.station import Station

_numbers = count(1)


async def priced(csms: Operator, station: Station) -> None:
    """EVSE 1 of a station is at a location and has a tariff: 0.50 for a kWh and 20 % VAT."""
    energy = {"type": "ENERGY", "price": 0.5, "vat": 20, "step_size": 1}
    tariff: dict[str, Any] = {
        "name": "House",
        "currency": "EUR",
        "tax_included": "NO",
        "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
        "elements": [{"price_components": [energy]}],
    }
    place: dict[str, Any] = {
        "name": "Hof",
        "address": "Torstr. 1",
        "city": "Berlin",
        "country": "DEU",
        "time_zone": "Europe/Berlin",
        "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
    }
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
        "tariff_ids": [(await csms.post("/tariffs", tariff))["id"]],
    }
    evse = {
        "uid": f"COST{next(_numbers)}",
        "station_id": station.id,
        "ocpp_evse_id": 1,
        "connectors": [connector],
    }
    await csms.post(f"/locations/{(await csms.post('/locations', place))['id']}/evses", evse)


@case()
async def test_TC_I_01_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await priced(csms, station)
    driver = Session(station, await csms.id_token())
    await driver.energy_transfer_started()
    await driver.event("MeterValuePeriodic", meterValue=[register_value(1_000)])
    await driver.event("MeterValuePeriodic", meterValue=[register_value(5_000)])
    while (asked := await station.expect("CostUpdated", transactionId=driver.transaction_id))["totalCost"] != 2.4:
        await asked.answer()
    await asked.answer()
