"""From a transaction to its CDR, over real sockets: frozen, rated while it goes on, settled, corrected."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from chargeplane.simulator import VirtualStation
from chargeplane.simulator.ledger import Entry, Line
from chargeplane.simulator.settings import SUPPORTED_LIMITS
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import VERSIONS, VERSIONS_2X, ChargingHouse


async def charged(made: Site, version: str, **more: Any) -> VirtualStation:
    tag = (await made.tenant.token())["id_token"]
    station = await made.station(version)
    await station.charge(id_token=tag, energy_wh=10_000, meter_interval_s=600, **more)
    return station


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_transaction_becomes_a_session_and_one_cdr(house: ChargingHouse, version: str) -> None:
    made = await site(house, ENERGY)
    station = await charged(made, version)
    (cdr,) = await made.settled()
    assert (cdr["kind"], cdr["number"], cdr["held"], cdr["tariff_id"]) == ("original", 1, False, made.tariff_id)
    assert cdr["energy_wh"] == 10_000
    assert cdr["total_excl"] == {"amount": "5.00", "currency": "EUR"}
    assert cdr["total_incl"] == {"amount": "6.00", "currency": "EUR"}
    (session,) = await made.sessions()
    assert (session["id"], session["state"]) == (cdr["session_id"], "settled")
    assert (session["station_id"], session["priced_by"]) == (station.station_id, "connector")
    assert session["location"]["address"] == "Torstr. 1"
    assert session["cost_incl"]["amount"] == "6.00"
    whole = await made.tenant.get(f"/cdrs/{cdr['id']}")
    assert whole["cdr_location"]["time_zone"] == "Europe/Berlin"
    volumes = [
        Decimal(str(one["volume"]))
        for period in whole["charging_periods"]
        for one in period["dimensions"]
        if one["type"] == "ENERGY"
    ]
    assert sum(volumes) == 10
    explained = await made.tenant.get(f"/sessions/{session['id']}/explanation")
    (line,) = explained["lines"]
    assert line["words"].startswith("10")
    assert [line["meter_values"][place]["energy_wh"] for place in (0, -1)] == [0, 10_000]
    assert explained["due"]["incl"]["amount"] == "6.00"


async def test_transactions_of_a_tenant_without_locations_leave_no_work(house: ChargingHouse, server: Any) -> None:
    tenant = await house.tenant()
    tag = (await tenant.token())["id_token"]
    station = await tenant.station("2.0.1")
    await station.charge(id_token=tag, energy_wh=1000)
    # Another tenant's session, begun later, is settled: the facts of the first were handed over by then.
    made = await site(house, ENERGY)
    await charged(made, "1.6")
    await made.settled()
    (one,) = await tenant.transactions(station)
    async with server.database.read() as db:
        assert await db.fetchval("SELECT count(*) FROM session_work WHERE transaction_id = $1", int(one["id"])) == 0
    assert (await tenant.get("/sessions"))["items"] == []


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_what_it_costs_so_far_is_shown_at_the_station(house: ChargingHouse, version: str) -> None:
    made = await site(house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    station = await made.station(version)
    station.plug_in()
    running = await station.start_transaction(tag)
    await station.deliver(running, 4_000, meter_interval_s=60)
    await station.meter_values()

    async def shown() -> list[Any]:
        return [payload["totalCost"] for action, payload in station.calls if action == "CostUpdated"]

    costs = await made.tenant.until(shown, lambda seen: bool(seen) and seen[-1] == 2.4)
    assert costs == sorted(set(costs))
    (session,) = await made.sessions(state="active")
    assert session["cost_incl"]["amount"] == "2.40"
    await station.stop_transaction(running)
    await made.settled()


async def test_a_station_whose_setting_says_so_is_not_told_costs(house: ChargingHouse) -> None:
    made = await site(house, ENERGY, show_costs=False)
    tag = (await made.tenant.token())["id_token"]
    station = await made.station("2.0.1")
    station.plug_in()
    running = await station.start_transaction(tag)
    await station.deliver(running, 4_000, meter_interval_s=60)
    await station.meter_values()
    await made.tenant.until(
        made.sessions, lambda seen: bool(seen) and (seen[0]["cost_incl"] or {}).get("amount") == "2.40"
    )
    await station.stop_transaction(running)
    (session,) = await made.tenant.until(made.sessions, lambda seen: seen[0]["state"] == "settled")
    assert session["shown_cost"] is None
    assert not [action for action, _ in station.calls if action == "CostUpdated"]


async def test_e16_fr_11_a_station_that_keeps_a_limit_of_cost_is_told_costs_though_it_shows_none(
    house: ChargingHouse,
) -> None:
    """OCPP 2.1 E16.FR.11: it knows by these when the limit is reached."""
    made = await site(house, ENERGY, show_costs=False)
    tag = (await made.tenant.token(rules={"max_cost": 20}))["id_token"]
    station = await made.station("2.1")
    station.settings.put(SUPPORTED_LIMITS, "maxCost,maxEnergy")
    supported = {"component": "TxCtrlr", "variable": "SupportedLimits"}
    await made.tenant.command(station, type="get_variables", variables=[supported])
    station.plug_in()
    running = await station.start_transaction(tag)
    await station.deliver(running, 4_000, meter_interval_s=60)
    await station.meter_values()

    async def told() -> list[Any]:
        return [payload["totalCost"] for action, payload in station.calls if action == "CostUpdated"]

    await made.tenant.until(told, lambda seen: bool(seen) and seen[-1] == 2.4)
    await station.stop_transaction(running)
    await made.settled()


async def test_a_session_without_a_tariff_has_a_held_cdr_and_is_corrected_with_one(house: ChargingHouse) -> None:
    made = await site(house)
    await charged(made, "2.0.1")
    (cdr,) = await made.settled()
    assert [one["hold"] for one in cdr["holds"]] == ["no_tariff"]
    assert (cdr["held"], cdr["total_excl"]) == (True, None)
    assert [one["id"] for one in await made.cdrs(held=True)] == [cdr["id"]]
    refused = await made.tenant.client.post(f"/cdrs/{cdr['id']}/release", json={"reason": "Trust me"})
    assert refused.status_code == 409


async def test_late_values_make_a_credit_and_a_correction(house: ChargingHouse) -> None:
    made = await site(house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    station = await made.station("1.6")
    station.plug_in()
    running = await station.start_transaction(tag)
    await station.deliver(running, 4_000, meter_interval_s=60)
    await station.meter_values()
    (one,) = await made.tenant.transactions(station)
    await made.tenant.send("POST", f"/transactions/{one['id']}/close", {"reason": "Never came back"})
    (first,) = await made.settled()
    assert first["total_incl"]["amount"] == "2.40"
    assert [hold["hold"] for hold in first["holds"]] == ["energy_doubtful"]
    await station.deliver(running, 2_000, meter_interval_s=60)
    await station.stop_transaction(running)

    async def whole() -> list[Any]:
        return await made.cdrs()

    cdrs = await made.tenant.until(whole, lambda seen: len(seen) > 1 and seen[-1]["energy_wh"] == 6_000)
    assert cdrs[-1]["total_incl"]["amount"] == "3.60"
    assert [cdr["kind"] for cdr in cdrs] == ["original"] + ["credit", "correction"] * (len(cdrs) // 2)
    assert sum(Decimal(cdr["total_incl"]["amount"]) for cdr in cdrs) == Decimal("3.60")
    assert sum(cdr["energy_wh"] for cdr in cdrs) == 6_000
    standing = [cdr for cdr in cdrs if cdr["kind"] != "credit" and cdr["credited_by"] is None]
    assert [cdr["id"] for cdr in standing] == [cdrs[-1]["id"]]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_the_end_is_answered_with_what_it_cost_in_all(house: ChargingHouse, version: str) -> None:
    made = await site(house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    lines: list[Line] = []
    station = await made.station(version, record=lines.append)
    station.plug_in()
    running = await station.start_transaction(tag)
    await station.deliver(running, 4_000, meter_interval_s=60)
    await made.tenant.until(made.sessions, lambda seen: bool(seen) and seen[0]["cost_incl"] is not None)
    await station.deliver(running, 2_000, meter_interval_s=60)
    await station.stop_transaction(running)
    (cdr,) = await made.settled()
    assert cdr["total_incl"]["amount"] == "3.60"
    answers = [msgspec.json.decode(line.answer) for line in lines if line.entry is Entry.ACKNOWLEDGED and line.answer]
    assert [answer["totalCost"] for answer in answers if "totalCost" in answer] == [3.6]
