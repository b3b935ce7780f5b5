"""Block I: what a transaction costs, while it goes on and in the end."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session, register_value
from tests.conformance.station import Station

_numbers = itertools.count(1)


async def priced(csms: Operator, version: str) -> Station:
    """A booted station at a location, with a tariff of 0.50 a kWh, taxes included."""
    station = await csms.booted(version)
    tariff = await csms.post(
        "/tariffs",
        {
            "currency": "EUR",
            "tax_included": "YES",
            "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "elements": [{"price_components": [{"type": "ENERGY", "price": 0.5, "vat": 20}]}],
        },
    )
    place = await csms.post(
        "/locations",
        {
            "address": "Torstr. 1",
            "city": "Berlin",
            "country": "DEU",
            "time_zone": "Europe/Berlin",
            "coordinates": {"latitude": "52.52900", "longitude": "13.40100"},
        },
    )
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 32,
        "tariff_ids": [tariff["id"]],
    }
    evse = {"uid": f"COST{next(_numbers)}", "station_id": station.id, "ocpp_evse_id": 1, "connectors": [connector]}
    await csms.post(f"/locations/{place['id']}/evses", evse)
    return station


@case()
async def test_TC_I_01_CSMS(csms: Operator, version: str) -> None:
    station = await priced(csms, version)
    session = Session(station, await csms.id_token())
    assert (await session.authorize())["status"] == "Accepted"
    await session.event("Authorized", token=session.token, evse=session.evse, meterValue=[register_value(1000)])
    session.authorized_before = True
    await session.ev_connected_pre_session()
    await session.energy_transfer_started()
    await session.event("MeterValuePeriodic", state="Charging", meterValue=[register_value(1040)])
    told = await station.expect("CostUpdated", totalCost=0.02)
    assert told["transactionId"] == session.transaction_id
    await told.answer()


@case()
async def test_TC_I_02_CSMS(csms: Operator, version: str) -> None:
    station = await priced(csms, version)
    session = Session(station, await csms.id_token())
    await session.event("Authorized", token=session.token, evse=session.evse, meterValue=[register_value(1000)])
    session.authorized_before = True
    await session.energy_transfer_started()
    await session.event("MeterValuePeriodic", state="Charging", meterValue=[register_value(1040)])
    await (await station.expect("CostUpdated", totalCost=0.02)).answer()
    await session.stop_authorized()
    await session.ev_connected_post_session()
    await session.connector("Available")
    answer = await session.ended(
        "EVCommunicationLost",
        state="Idle",
        stopped="EVDisconnected",
        meterValue=[register_value(1060, "Transaction.End")],
    )
    assert answer["totalCost"] == 0.03
