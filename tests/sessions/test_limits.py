"""Sessions are kept within what their agreement allows: power, the cost of a session, credit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chargeplane.simulator import VirtualStation
from chargeplane.simulator.meter import DC_300
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import VERSIONS, ChargingHouse


async def plan(made: Site, token: str, **limits: Any) -> str:
    """An agreement in force for an id token; its id."""
    body = {
        "kind": "fleet",
        "number": f"P-{token}",
        "currency": "EUR",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "company", "id": token}],
        "scope": [{"kind": "id_token", "value": token}],
        "billing": {"cycle": "session"},
        "limits": limits,
        "starts_at": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
    }
    agreement = await made.tenant.send("POST", "/service-agreements", body)
    for action in ("propose", "accept"):
        await made.tenant.send("POST", f"/service-agreements/{agreement['id']}/{action}", {})
    return str(agreement["id"])


async def begun(made: Site, version: str, **limits: Any) -> tuple[VirtualStation, Any, str]:
    """A car that charges under an agreement with limits."""
    token = (await made.tenant.token())["id_token"]
    agreement = await plan(made, token, **limits)
    # The agreement holds from its acceptance on, so the station's clock stands where ours does.
    station = await made.station(version, model=DC_300)
    station.clock.freeze(datetime.now(UTC))
    station.plug_in()
    running = await station.start_transaction(token)
    return station, running, agreement


def limit(profile: dict[str, Any]) -> tuple[str, float]:
    """Unit and limit of a profile's only period."""
    schedule = profile["chargingSchedule"]
    schedule = schedule[0] if isinstance(schedule, list) else schedule
    return schedule["chargingRateUnit"], schedule["chargingSchedulePeriod"][0]["limit"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_gets_no_more_power_than_its_agreement_allows(house: ChargingHouse, version: str) -> None:
    made = await site(house, ENERGY)
    station, running, _ = await begun(made, version, kw="7.4")

    async def asked() -> list[Any]:
        return [payload for name, payload in station.calls if name == "SetChargingProfile"]

    (call,) = await made.tenant.until(asked, bool)
    profile = call.get("chargingProfile") or call["csChargingProfiles"]
    assert profile["chargingProfilePurpose"] == "TxProfile"
    unit, most = limit(profile)
    assert unit == "A" or round(most) == 7400
    (session,) = await made.tenant.until(made.sessions, lambda seen: bool(seen) and bool(seen[0]["limits"]))
    assert session["limits"] == [{"kind": "power", "value": "7.4 kW", "stopped": False}]
    await station.stop_transaction(running)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_ends_before_it_costs_more_than_its_agreement_holds_for_it(
    house: ChargingHouse, version: str
) -> None:
    made = await site(house, ENERGY)
    hold = {"amount": "5.00", "currency": "EUR"}
    station, running, _ = await begun(made, version, hold_per_session=hold)
    await station.deliver(running, 1_000, meter_interval_s=60)
    (session,) = await made.tenant.until(made.sessions, lambda seen: bool(seen) and seen[0]["cost_incl"] is not None)
    assert session["limits"] == []
    await station.deliver(running, 8_000, meter_interval_s=60)  # 5.40
    (session,) = await made.tenant.until(made.sessions, lambda seen: bool(seen) and bool(seen[0]["limits"]))
    assert session["limits"] == [{"kind": "session_cost", "value": "5.00 EUR", "stopped": True}]

    async def stopped() -> bool:
        return any(name in ("RemoteStopTransaction", "RequestStopTransaction") for name, _ in station.calls)

    await made.tenant.until(stopped, bool)


async def test_who_has_used_up_the_credit_is_refused_with_a_reason_and_charges_again_when_it_is_paid(
    house: ChargingHouse,
) -> None:
    made = await site(house, ENERGY)
    issuer = {
        "name": "Yard",
        "address": {"lines": ["Torstr. 1"], "city": "Berlin", "country": "DE"},
        "vat_id": "DE123456789",
    }
    await made.tenant.send("PUT", "/invoicing-settings", {"issuer": issuer})
    credit = {"amount": "3.00", "currency": "EUR"}
    station, running, agreement = await begun(made, "2.0.1", credit=credit)
    await station.deliver(running, 6_000, meter_interval_s=60)  # 3.60
    (session,) = await made.tenant.until(made.sessions, lambda seen: bool(seen) and bool(seen[0]["limits"]))
    assert session["limits"] == [{"kind": "credit", "value": "3.00 EUR", "stopped": True}]
    await station.stop_transaction(running)
    await made.settled()
    token = session["id_token"]

    async def held() -> Any:
        (one,) = (await made.tenant.get("/id-tokens", id_token=token))["items"]
        return one["held"]

    found = await made.tenant.until(held, bool)
    assert (found["status"], "credit of 3.00 EUR is used up" in found["reason"]) == ("NoCredit", True)
    assert await station.authorize(token) == "NoCredit"
    billed = await made.tenant.until(
        lambda: made.tenant.get("/invoices", agreement_id=agreement), lambda seen: bool(seen["items"])
    )
    (invoice,) = billed["items"]
    body = {"amount": invoice["gross"]}
    await made.tenant.send("POST", f"/invoices/{invoice['id']}/payments", body)
    await made.tenant.until(held, lambda seen: not seen)
    assert await station.authorize(token) == "Accepted"
