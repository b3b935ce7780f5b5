"""Sessions under agreements: their tariff, discounts, and what is included, used up and given back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.agreements.items import Every
from chargeplane.domain.cdrs.included import Grant, left_of, periods_of
from chargeplane.simulator.meter import DC_300
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import ChargingHouse


async def agreement(made: Site, tag: str, *items: dict[str, Any]) -> Any:
    """An active agreement about one id token."""
    body = {
        "kind": "driver_plan",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "company", "id": f"c-{tag}"}],
        "scope": [{"kind": "id_token", "value": tag}],
        "starts_at": "2026-01-01T00:00:00Z",
        "items": list(items),
    }
    path = f"/service-agreements/{(await made.tenant.send('POST', '/service-agreements', body))['id']}"
    await made.tenant.send("POST", f"{path}/propose", {})
    return await made.tenant.send("POST", f"{path}/accept", {})


def _grant(volume: int, *, carry: bool, every: Every = Every.MONTH) -> Grant:
    return Grant(key="k", name="k", kind="energy", volume=Decimal(volume), every=every, carry_over=carry)


def test_months_begin_by_the_agreements_clock() -> None:
    at = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # the first of April in Berlin
    ((start, end),) = periods_of(_grant(1, carry=False), at, "Europe/Berlin", None)
    assert start == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert end == datetime(2026, 4, 30, 22, tzinfo=UTC)


def test_carried_over_is_counted_from_the_agreements_beginning() -> None:
    at = datetime(2026, 3, 15, tzinfo=UTC)
    periods = periods_of(_grant(1, carry=True), at, "UTC", datetime(2026, 1, 20, tzinfo=UTC))
    assert [start.month for start, _ in periods] == [1, 2, 3]
    assert left_of(_grant(10, carry=True), [Decimal(4), Decimal(0), Decimal(1)]) == 25
    assert left_of(_grant(10, carry=False), [Decimal(4), Decimal(0), Decimal(1)]) == 9


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_what_is_left_is_never_less_than_nothing_nor_more_than_was_given(used: list[int]) -> None:
    amounts = [Decimal(one) for one in used]
    for carry in (True, False):
        left = left_of(_grant(10, carry=carry), amounts)
        assert 0 <= left <= (10 * len(used) if carry else 10)


async def test_i08_a_station_that_calculates_is_told_the_drivers_tariff_and_names_it(house: ChargingHouse) -> None:
    """OCPP 2.1 I08: as the agreement has it; other versions hear nothing of it."""
    made = await site(house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    own = await made.tenant.send(
        "POST",
        "/tariffs",
        {
            "name": "Own",
            "currency": "EUR",
            "tax_included": "NO",
            "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "elements": [{"price_components": [{**ENERGY, "price": 0.25}]}],
        },
    )
    await agreement(made, tag, {"type": "tariff", "tariff_id": own["id"]})
    for version, told in (("2.1", f"{own['id']}:1"), ("2.0.1", None), ("1.6", None)):
        station = await made.station(version)
        if version != "1.6":
            names = [
                {"component": "TariffCostCtrlr", "variable": name, "variable_instance": "Tariff"}
                for name in ("Enabled", "Available")
            ]
            await made.tenant.command(station, type="get_variables", variables=names)
        station.clock.freeze(datetime.now(UTC))  # the agreement holds from its acceptance on
        station.plug_in()
        running = await station.start_transaction(tag)
        assert running.tariff_id == told
        await station.deliver(running, 4_000, meter_interval_s=60)
        await station.stop_transaction(running)
    cdrs = await made.settled(3)
    # What was told is what is billed.
    assert {cdr["tariff_id"] for cdr in cdrs} == {own["id"]}
    for cdr in cdrs:
        cost = (Decimal(str(cdr["energy_wh"])) / 4000).quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert cdr["total_excl"]["amount"] == str(cost)


async def test_what_is_included_is_used_up_and_given_back(house: ChargingHouse) -> None:
    made = await site(house, ENERGY)
    cheap = await made.tenant.send(
        "POST",
        "/tariffs",
        {
            "currency": "EUR",
            "tax_included": "NO",
            "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "elements": [{"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 20}]}],
        },
    )
    tag = (await made.tenant.token())["id_token"]
    plan = await agreement(
        made,
        tag,
        {"type": "tariff", "tariff_id": cheap["id"]},
        {"type": "allowance", "name": "First kWh", "energy_wh": 12_000},
        {"type": "discount", "name": "Loyal", "percent": 50},
    )
    # The agreement holds from its acceptance on, so the station's clock stands where ours does.
    station = await made.station("2.0.1", model=DC_300)
    station.clock.freeze(datetime.now(UTC))
    await station.charge(id_token=tag, energy_wh=10_000, meter_interval_s=600)
    (first,) = await made.settled(1)
    assert (first["agreement_id"], first["tariff_id"]) == (plan["id"], cheap["id"])
    assert first["total_excl"]["amount"] == "0.00"
    station.clock.freeze(datetime.now(UTC))
    await station.charge(id_token=tag, energy_wh=10_000, meter_interval_s=600)
    second = (await made.settled(2))[-1]
    # 2 kWh are left; 8 kWh at 0.40, half of it.
    assert second["total_excl"]["amount"] == "1.60"
    explained = await made.tenant.get(f"/sessions/{second['session_id']}/explanation")
    assert {line["reference"] for line in explained["lines"]} == {None, "First kWh", "Loyal"}
    credit = await made.tenant.send("POST", f"/cdrs/{first['id']}/credit", {"reason": "A courtesy"})
    assert (credit["kind"], credit["total_excl"]["amount"], credit["energy_wh"]) == ("credit", "0.00", -10_000)
    station.clock.freeze(datetime.now(UTC))
    await station.charge(id_token=tag, energy_wh=10_000, meter_interval_s=600)
    third = (await made.settled(4))[-1]
    assert third["total_excl"]["amount"] == "0.00"
    usage = await made.tenant.get(f"/service-agreements/{plan['id']}/usage", to="2999-01-01T00:00:00Z")
    assert usage["charged"][0]["excl_tax"]["amount"] == "1.60"


async def test_a_session_is_billed_by_the_version_that_held_when_it_began(house: ChargingHouse) -> None:
    made = await site(house, ENERGY)
    tag = (await made.tenant.token())["id_token"]
    plan = await agreement(made, tag, {"type": "discount", "name": "Ten", "percent": 10})
    path = f"/service-agreements/{plan['id']}"
    station = await made.station("2.0.1", model=DC_300)
    station.clock.freeze(datetime.now(UTC))
    await station.charge(id_token=tag, energy_wh=10_000)
    (first,) = await made.settled(1)
    station.clock.freeze(datetime.now(UTC))
    station.plug_in()
    session = await station.start_transaction(tag)
    begun = await made.tenant.until(made.sessions, lambda found: len(found) == 2 and found[-1]["agreement"] is not None)
    half = {"items": [{"type": "discount", "name": "Half", "percent": 50}]}
    assert (await made.tenant.send("POST", f"{path}/amendments", half))["version"] == 2
    assert (await made.tenant.send("POST", f"{path}/amendments/2/accept", {}))["in_force"]
    await station.deliver(session, energy_wh=10_000)
    await station.stop_transaction(session)
    station.unplug()
    second = (await made.settled(2))[-1]
    assert second["session_id"] == begun[-1]["id"]
    station.clock.freeze(datetime.now(UTC))
    await station.charge(id_token=tag, energy_wh=10_000)
    third = (await made.settled(3))[-1]
    assert [one["agreement"]["version"] for one in await made.sessions()] == [1, 1, 2]
    # 10 kWh at 0.50 each: two with a tenth off, the third with half.
    assert [one["total_excl"]["amount"] for one in (first, second, third)] == ["4.50", "4.50", "2.50"]
    lines = [await made.tenant.get(f"/sessions/{one['session_id']}/explanation") for one in (first, second, third)]
    assert [{line["reference"] for line in one["lines"]} - {None} for one in lines] == [{"Ten"}, {"Ten"}, {"Half"}]
    usage = await made.tenant.get(f"{path}/usage", to="2999-01-01T00:00:00Z")
    assert (usage["sessions"], usage["charged"][0]["excl_tax"]["amount"]) == (3, "11.50")
