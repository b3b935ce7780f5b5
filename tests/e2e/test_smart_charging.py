"""Smart charging over sockets: what is set over REST limits the car at a virtual station of each version, to the Wh.

Named by the requirements of OCPP 2.1 (K, Q, R).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio
from click.testing import CliRunner
from msgspec.structs import replace

from chargeplane.main.cli.root import cli
from chargeplane.main.config import Config
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, Options, VirtualStation
from chargeplane.simulator.car import BIDIRECTIONAL, CAR_MODELS, Car
from chargeplane.simulator.ledger import Line
from chargeplane.simulator.options import StationModel
from chargeplane.simulator.subjects import der_control, smart_charging
from tests.support import postgres

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chars"
VERSIONS = ("1.6", "2.0.1", "2.1")
TWO = ("2.0.1", "2.1")
LARGE = CAR_MODELS[3]  # takes 22 kW of three phases

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)


class RestError(Exception):
    """REST answered with a problem."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem))
        self.problem = problem


class House:
    """A running server and what a test needs of it."""

    def __init__(self, server: Server) -> None:
        assert server.http is not None
        assert server.ocpp is not None
        self.server = server
        self.rest = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.http.port}", headers={"Authorization": f"Bearer {KEY}"}, timeout=60
        )
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"
        self._stations: list[VirtualStation] = []

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = await self.rest.request(method, path, json=body)
        if answer.status_code >= 400:
            raise RestError(answer.json())
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The problem that answers a request."""
        with pytest.raises(RestError) as caught:
            await self.ask(method, path, body)
        return caught.value.problem

    async def station(self, version: str, *, location_id: str | None = None, **arguments: Any) -> VirtualStation:
        station_id = f"SC-{next(_numbers)}"
        await self.ask(
            "POST",
            "/v1/charging-stations",
            {"station_id": station_id, "password": PASSWORD, "location_id": location_id},
        )
        options: Options = arguments.pop("options", FAST)
        station = VirtualStation(
            self.url, station_id, version, password=PASSWORD, seed=11, options=options, **arguments
        )
        self._stations.append(station)
        await station.connect()
        await station.boot()
        return station

    def of(self, station: VirtualStation, path: str) -> str:
        return f"/v1/charging-stations/{station.station_id}/{path}"

    async def until(self, look: Callable[[], Awaitable[Any]], timeout_s: float = 30.0) -> Any:
        """Looks until there is something to see."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = await look()
                if found:
                    return found
                await asyncio.sleep(0.05)

    async def profile(self, station: VirtualStation, ident: int, state: str) -> dict[str, Any]:
        """The profile when it has this state."""

        async def look() -> Any:
            try:
                found = await self.ask("GET", self.of(station, f"charging-profiles/{ident}"))
            except RestError:
                return None
            return found if found["state"] == state else None

        found: dict[str, Any] = await self.until(look)
        return found

    async def close(self) -> None:
        for station in self._stations:
            await station.close()
        await self.rest.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    with postgres_server.database() as url:
        server = Server(
            Config(
                bind="127.0.0.1",
                http_port=0,
                ocpp_port=0,
                data_dir=str(tmp_path_factory.mktemp("data")),
                database_url=url,
                admin_key=KEY,
            )
        )
        await server.start()
        await House(server).ask("POST", "/v1/id-tokens", {"id_token": "TAG1"})
        try:
            yield server
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(running: Server) -> AsyncIterator[House]:
    house = House(running)
    yield house
    await house.close()


def limit(watts: float, *, purpose: str = "ChargingStationMaxProfile", **more: Any) -> dict[str, Any]:
    """A profile of one limit from long ago on."""
    schedule = {"id": 1, "unit": "W", "start": "2026-01-01T00:00:00Z", "periods": [{"limit": watts}]}
    schedule.update(more.pop("schedule", {}))
    return {"purpose": purpose, "kind": "Absolute", "schedules": [schedule], **more}


async def charging(station: VirtualStation, car: Car | None = None, evse_id: int = 1) -> Any:
    station.clock.freeze(datetime.now(UTC))
    station.plug_in(evse_id, car or Car(LARGE, soc_percent=10))
    return await station.start_transaction("TAG1", evse_id)


# --- K01, K08, K10 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_k01_a_limit_is_set_power_falls_and_the_energy_is_exact(house: House, version: str) -> None:
    station = await house.station(version)
    session = await charging(station)
    await station.deliver(session, duration_s=360, meter_interval_s=0)
    assert station.evse(1).meter.power_w == 22_080
    await house.ask("PUT", house.of(station, "charging-profiles/7"), limit(6_000))
    installed = await house.profile(station, 7, "installed")
    assert installed["sent"] is None
    await station.deliver(session, duration_s=1800, meter_interval_s=0)
    assert station.evse(1).meter.power_w == 6_000
    await house.ask("DELETE", house.of(station, "charging-profiles/7"))
    await house.profile(station, 7, "removed")
    await station.deliver(session, duration_s=360, meter_interval_s=0)
    assert station.evse(1).meter.power_w == 22_080
    await station.stop_transaction(session)
    await station.drain()
    page = await house.ask("GET", f"/v1/transactions?station_id={station.station_id}")
    (row,) = page["items"]
    assert row["energy_wh"] == session.energy_wh == 2 * 2208 + 3000


@pytest.mark.parametrize("version", VERSIONS)
async def test_k08_our_composite_schedule_is_the_station_s(house: House, version: str) -> None:
    station = await house.station(version)
    session = await charging(station)
    station.clock.thaw()
    later = (datetime.now(UTC) + timedelta(seconds=1800)).isoformat()
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(11_000))
    own = limit(9_000, purpose="TxProfile", evse_id=1, transaction_id=session.transaction_id)
    own["schedules"][0]["start"] = later
    await house.ask("PUT", house.of(station, "charging-profiles/2"), own)
    for ident in (1, 2):
        await house.profile(station, ident, "installed")
    found = await house.ask("GET", house.of(station, "composite-schedule?evse=1&duration=3600&unit=W&ask=true"))
    ours = [period["limit"] for period in found["ours"]["periods"]]
    assert ours == [11_000, 9_000]
    assert found["station"] is not None, found
    assert [period["limit"] for period in found["station"]["periods"]] == ours
    # the two were asked some milliseconds apart
    assert all(one["end_s"] - one["start_s"] <= 2 for one in found["differences"]), found["differences"]
    in_amperes = await house.ask("GET", house.of(station, "composite-schedule?evse=1&duration=60&unit=A"))
    assert in_amperes["ours"]["periods"][0]["limit"] == 15.942


@pytest.mark.parametrize("version", VERSIONS)
async def test_refusals_name_the_field(house: House, version: str) -> None:
    station = await house.station(version)
    path = house.of(station, "charging-profiles/9")
    for body, pointer in (
        (limit(5_000, evse_id=1), "#/evse_id"),
        (limit(5_000, purpose="TxProfile", evse_id=1, transaction_id="17"), "#/evse_id"),
        (limit(5_000, schedule={"periods": [{"start_s": 5, "limit": 1}]}), "#/schedules/0/periods/0/start_s"),
        (limit(5_000, stack_level=99), "#/stack_level"),
        (limit(5_000, purpose="ChargingStationExternalConstraints"), "#/purpose"),
    ):
        if pointer == "#/stack_level" and version == "1.6":
            continue  # what a 1.6 station takes is not known before it told its configuration
        if pointer == "#/stack_level":
            await house.ask(
                "POST",
                house.of(station, "calls"),
                {
                    "action": "GetVariables",
                    "payload": {
                        "getVariableData": [
                            {
                                "component": {"name": "SmartChargingCtrlr"},
                                "variable": {"name": "ProfileStackLevel"},
                            }
                        ]
                    },
                },
            )
        problem = await house.refused("PUT", path, body)
        assert pointer in [error["pointer"] for error in problem["errors"]], problem
    if version != "2.1":
        priority = await house.refused("PUT", path, limit(5_000, purpose="PriorityCharging"))
        assert "ChargingStationMaxProfile" in str(priority["errors"])


@pytest.mark.parametrize("version", TWO)
async def test_k09_what_a_station_lost_is_found_by_its_report_and_sent_again(house: House, version: str) -> None:
    station = await house.station(version)
    for ident in (1, 2, 3):
        await house.ask("PUT", house.of(station, f"charging-profiles/{ident}"), limit(9_000, stack_level=ident))
        await house.profile(station, ident, "installed")
    station.profiles.clear(id=2)
    asked = await house.ask("POST", house.of(station, "charging-profiles/report"))
    assert asked["state"] == "accepted"

    async def whole() -> Any:
        page = await house.ask("GET", house.of(station, "requests?kind=charging_profiles"))
        return [one for one in page["items"] if one["state"] == "complete"]

    await house.until(whole)

    async def there() -> bool:
        return station.profiles.get(2) is not None

    await house.until(there)
    found = await house.profile(station, 2, "installed")
    assert found["profile"]["stack_level"] == 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_profiles_that_a_restart_lost_are_sent_again(house: House, version: str) -> None:
    station = await house.station(version, faults=frozenset({Fault.FORGETS_PROFILES}))
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(8_000))
    await house.profile(station, 1, "installed")
    station.reboot("PowerUp", stop=None)

    async def again() -> bool:
        return station.accepted and station.profiles.get(1) is not None and station.counters.boots >= 2

    await house.until(again)
    await house.profile(station, 1, "installed")


async def test_boot_is_looked_at_at_once_however_seldom_all_stations_are(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.server.subjects is not None
    station = await house.station("1.6", faults=frozenset({Fault.FORGETS_PROFILES}))
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(8_000))
    await house.profile(station, 1, "installed")
    monkeypatch.setattr(house.server.subjects.profile_keeper, "_boots_at", float("inf"))
    station.reboot("PowerUp", stop=None)

    async def again() -> bool:
        return station.accepted and station.profiles.get(1) is not None and station.counters.boots >= 2

    await house.until(again)


async def test_one_node_alone_looks_for_profiles_whose_transactions_are_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.server.subjects is not None
    keeper = house.server.subjects.profile_keeper
    station = await house.station("2.0.1")
    session = await charging(station)
    body = limit(4_000, purpose="TxProfile", evse_id=1, transaction_id=session.transaction_id)
    await house.ask("PUT", house.of(station, "charging-profiles/4"), body)
    await house.profile(station, 4, "installed")
    await keeper.stop()  # a look of its own that is under way now would find the transaction over
    try:
        await station.stop_transaction(session)
        await station.drain()
        monkeypatch.setattr(keeper, "_ends_at", 0.0)
        with monkeypatch.context() as other_role:
            other_role.setattr(keeper, "_ends_profiles", False)
            await keeper._look_once()
        assert (await house.ask("GET", house.of(station, "charging-profiles/4")))["state"] == "installed"
        await keeper._look_once()
        assert (await house.ask("GET", house.of(station, "charging-profiles/4")))["state"] == "removed"
    finally:
        await keeper.start()


async def test_k02_fr_05_a_profile_of_a_transaction_ends_with_it(house: House) -> None:
    station = await house.station("2.0.1")
    session = await charging(station)
    body = limit(4_000, purpose="TxProfile", evse_id=1, transaction_id=session.transaction_id)
    await house.ask("PUT", house.of(station, "charging-profiles/4"), body)
    await house.profile(station, 4, "installed")
    await station.stop_transaction(session)
    await station.drain()
    found = await house.profile(station, 4, "removed")
    assert "transaction" in found["reason"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_f01_fr_10_a_transaction_starts_with_its_profile(house: House, version: str) -> None:
    told: list[Line] = []
    station = await house.station(version, record=told.append)
    station.plug_in(1, Car(LARGE, soc_percent=10))
    station.clock.freeze(datetime.now(UTC))
    body = limit(5_000, purpose="TxProfile")
    body["kind"] = "Relative"
    del body["schedules"][0]["start"]
    command = {
        "type": "start",
        "id_token": "TAG1",
        "evse_id": 1,
        "charging_profile": {"id": 3, "evse_id": 1, "stack_level": 0, **body},
    }
    sent = await house.ask("POST", house.of(station, "commands?wait_s=30"), command)
    assert sent["state"] == "accepted", sent

    async def charged() -> bool:
        session = station.evse(1).session
        return session is not None and session.energy_wh == 1_000

    await house.until(charged)
    values = [line.payload for line in told if line.action in ("MeterValues", "TransactionEvent")]
    assert any(b"5000" in payload for payload in values)
    assert not any(b"22080" in payload for payload in values)


# --- Static limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_static_limit_of_an_evse_holds_over_transactions(house: House, version: str) -> None:
    """OCPP lets a TxProfile overrule the TxDefaultProfile that it is: ours are sent with no more in them."""
    station = await house.station(version)
    session = await charging(station)
    own = limit(9_000, purpose="TxProfile", evse_id=1, transaction_id=session.transaction_id)
    await house.ask("PUT", house.of(station, "charging-profiles/41"), own)

    async def sent(wanted: Any) -> Any:
        found = await house.ask("GET", house.of(station, "charging-profiles/41"))
        there = found["sent"] or found["profile"]
        same = Decimal(str(there["schedules"][0]["periods"][0]["limit"])) == wanted
        return found if found["state"] == "installed" and same else None

    await house.until(lambda: sent(9_000))
    await house.ask("PUT", house.of(station, "static-limit"), {"evse_id": 1, "limit": 4_600, "unit": "W"})
    found = await house.until(lambda: sent(4_600))
    assert "static limit" in found["changes"][0]
    computed = await house.ask("GET", house.of(station, "composite-schedule?evse=1&duration=600"))
    assert {Decimal(str(one["limit"])) for one in computed["ours"]["periods"]} == {Decimal(4_600)}
    await house.ask("DELETE", house.of(station, "static-limit?evse=1"))
    await house.until(lambda: sent(9_000))
    await station.stop_transaction(session)


async def limited_to(house: House, station: VirtualStation, watts: int) -> None:
    """EVSE 1 has a static limit, and the station holds it."""
    await house.ask("PUT", house.of(station, "static-limit"), {"evse_id": 1, "limit": watts, "unit": "W"})

    async def holds() -> Any:
        return all(one["holds"] for one in (await house.ask("GET", house.of(station, "static-limit")))["items"])

    await house.until(holds)


@pytest.mark.parametrize("evse_id", [1, None])
@pytest.mark.parametrize("version", VERSIONS)
async def test_profile_of_a_start_stays_within_the_static_limit(
    house: House, version: str, evse_id: int | None
) -> None:
    station = await house.station(version)
    await limited_to(house, station, 4_600)
    station.plug_in(1, Car(LARGE, soc_percent=10))
    own = {"id": 77, "evse_id": 0, "stack_level": 0, **limit(9_000, purpose="TxProfile")}
    start = {"type": "start", "id_token": "TAG1", "evse_id": evse_id, "charging_profile": own}
    started = await house.ask("POST", house.of(station, "commands?wait_s=30"), start)
    assert started["state"] == "accepted", started
    (asked,) = (
        told for action, told in station.calls if action in ("RequestStartTransaction", "RemoteStartTransaction")
    )
    schedule = asked["chargingProfile"]["chargingSchedule"]
    schedule = schedule if version == "1.6" else schedule[0]
    assert [one["limit"] for one in schedule["chargingSchedulePeriod"]] == [4_600]


async def test_dynamic_values_stay_within_the_static_limit(house: House) -> None:
    station = await house.station("2.1")
    await limited_to(house, station, 4_600)
    dynamic = limit(3_000, purpose="TxDefaultProfile", evse_id=1, stack_level=1)
    dynamic["kind"] = "Dynamic"
    del dynamic["schedules"][0]["start"]
    await house.ask("PUT", house.of(station, "charging-profiles/1"), dynamic)
    await house.profile(station, 1, "installed")
    path = house.of(station, "charging-profiles/1/update")

    async def values() -> list[Any]:
        held = await house.ask("GET", house.of(station, "charging-profiles/1"))
        there = held["sent"] or held["profile"]
        asked = held["profile"]["schedules"][0]["periods"][0]["limit"]
        return [asked, there["schedules"][0]["periods"][0]["limit"], len(held["changes"])]

    told = await house.ask("POST", path, {"limit": 8_000})
    assert told["told"]["state"] == "accepted"
    asked = [told for action, told in station.calls if action == "UpdateDynamicSchedule"]
    assert [one["scheduleUpdate"] for one in asked] == [{"limit": 4_600}]
    assert await values() == [8_000, 4_600, 1]
    await house.ask("POST", path, {"limit": 4_000})
    assert await values() == [4_000, 4_000, 0]
    # K28.FR.10: one that the station asks for
    await house.ask("PUT", house.of(station, "charging-profiles/1"), {**dynamic, "dyn_update_interval_s": 1})
    await house.profile(station, 1, "installed")
    await house.ask("POST", path, {"limit": 7_000})

    async def pulled() -> bool:
        held = station.profiles.get(1)
        return held is not None and held.periods[0].limit == 4_600

    await house.until(pulled)


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_offline_station_keeps_its_static_limit(house: House, version: str) -> None:
    station = await house.station(version)
    await house.ask("PUT", house.of(station, "static-limit"), {"limit": 10, "unit": "A"})

    async def holds() -> Any:
        (state,) = (await house.ask("GET", house.of(station, "static-limit")))["items"]
        return state if state["holds"] else None

    state = await house.until(holds)
    assert state["purpose"] == "ChargingStationMaxProfile"
    session = await charging(station)
    station.go_offline()
    await station.deliver(session, duration_s=3600, meter_interval_s=0)
    assert station.evse(1).meter.power_w == 10 * 230 * 3
    station.go_online()
    await station.wait_online()
    await station.stop_transaction(session)
    await station.drain()
    page = await house.ask("GET", f"/v1/transactions?station_id={station.station_id}")
    assert page["items"][0]["energy_wh"] == session.energy_wh == 6_900
    await house.ask("DELETE", house.of(station, "static-limit"))

    async def gone() -> bool:
        return station.profiles.empty

    await house.until(gone)


async def test_a_site_s_limit_is_divided_over_its_stations(house: House) -> None:
    site = f"site-{next(_numbers)}"
    small = await house.station("2.0.1", location_id=site)
    large = await house.station("1.6", location_id=site, evses=3)

    async def statuses() -> bool:
        page = await house.ask("GET", f"/v1/charging-stations?location_id={site}")
        return sorted(len(one["evses"]) for one in page["items"]) == [1, 3]

    await house.until(statuses)
    put = await house.ask("PUT", f"/v1/locations/{site}/static-limit", {"limit": 22_000, "unit": "W"})
    shares = {one["station_id"]: one["limit"] for one in put["stations"]}
    assert shares == {small.station_id: 5_500, large.station_id: 16_500}

    async def held() -> Any:
        found = await house.ask("GET", f"/v1/locations/{site}/static-limit")
        return all(one["holds"] for one in found["stations"])

    await house.until(held)
    # a station's own limit counts where it is lower
    await house.ask("PUT", house.of(small, "static-limit"), {"limit": 3_000, "unit": "W"})

    async def lower() -> bool:
        return any(p.periods[0].limit == 3_000 for p in small.profiles)

    await house.until(lower)
    equal = {"limit": 22_000, "unit": "W", "rule": "equal"}
    put = await house.ask("PUT", f"/v1/locations/{site}/static-limit", equal)
    assert {one["limit"] for one in put["stations"]} == {11_000}
    await house.ask("DELETE", f"/v1/locations/{site}/static-limit")

    async def released() -> bool:
        return large.profiles.empty and not small.profiles.empty

    await house.until(released)


# --- Dialects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("fault", "trait", "sent"),
    [
        (Fault.ONLY_AMPERES, "no_watts", {"unit": "A", "limit": 10}),
        (Fault.STACK_LEVEL_FROM_ONE, "stack_level_from_one", {"stack_level": 1}),
        (Fault.NO_STATION_MAX, "no_station_max", {"purpose": "TxDefaultProfile"}),
    ],
)
async def test_what_a_model_refuses_is_remembered_for_its_next_station(
    house: House, version: str, fault: Fault, trait: str, sent: dict[str, Any]
) -> None:
    model = StationModel(vendor="Odd", model=f"{trait[:12]}{version}", firmware="7")
    options = replace(FAST, model=model, faults=frozenset({fault}))
    first = await house.station(version, options=options)
    await house.ask("PUT", house.of(first, "charging-profiles/1"), limit(6_900))
    view = await house.profile(first, 1, "installed")
    assert view["changes"]
    got = {**view["sent"], **view["sent"]["schedules"][0], **view["sent"]["schedules"][0]["periods"][0]}
    assert {name: got[name] for name in sent} == sent
    known = await house.ask("GET", "/v1/charging-dialects")
    assert trait in [one["known"]["trait"] for one in known["items"] if one["known"]["model"] == model.model]
    second = await house.station(version, options=options)
    await house.ask("PUT", house.of(second, "charging-profiles/1"), limit(6_900))
    assert (await house.profile(second, 1, "installed"))["sent"] == view["sent"]
    assert len([action for action, _ in second.calls if action == "SetChargingProfile"]) == 1


async def test_a_limit_of_0_that_is_refused_becomes_the_least_current(house: House) -> None:
    model = StationModel(vendor="Odd", model="zero")
    station = await house.station("1.6", options=replace(FAST, model=model, faults=frozenset({Fault.NO_ZERO_LIMIT})))
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(0, stack_level=1))
    view = await house.profile(station, 1, "installed")
    assert view["sent"]["schedules"][0]["periods"][0]["limit"] == 6 * 230 * 3


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_composite_schedule_with_odd_numbers_is_read(house: House, version: str) -> None:
    station = await house.station(version, faults=frozenset({Fault.ODD_COMPOSITE}))
    body = limit(0)
    body["schedules"][0]["periods"] = [{"limit": 5_000}, {"start_s": 86_400 * 3650, "limit": 6_000}]
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(5_000, schedule={"duration_s": 10}))
    found = await house.ask("GET", house.of(station, "composite-schedule?evse=1&duration=600&ask=true"))
    assert found["station"]["periods"][0]["limit"] is None
    assert found["differences"] == []


# --- External limits, vehicles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", TWO)
async def test_k11_k13_an_external_limit_is_told_and_released(house: House, version: str) -> None:
    station = await house.station(version)
    session = await charging(station)
    station.clock.thaw()
    smart_charging.set_external_limit(station, 4_000, source="EMS")

    async def told() -> Any:
        return (await house.ask("GET", house.of(station, "charging-limits")))["items"]

    (one,) = await house.until(told)
    assert (one["source"], one["cleared_at"]) == ("EMS", None)
    found = await house.ask("GET", house.of(station, "composite-schedule?evse=1&duration=60&ask=true"))
    assert [p["limit"] for p in found["ours"]["periods"]] == [4_000]
    assert found["differences"] == []
    smart_charging.release_external_limit(station, source="EMS")

    async def released() -> bool:
        (now,) = await told()
        return now["cleared_at"] is not None

    await house.until(released)
    assert session.accepted


@pytest.mark.parametrize("version", TWO)
async def test_k15_a_vehicle_gets_a_schedule_within_the_limits_and_its_own_is_checked(
    house: House, version: str
) -> None:
    station = await house.station(version)
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(7_000))
    await house.profile(station, 1, "installed")
    session = await charging(station)
    station.clock.thaw()
    needs = smart_charging.Needs(energy_wh=20_000, max_a=16, max_periods=3)
    planned = await smart_charging.tell_needs(station, session, needs)
    assert planned is not None
    assert planned.periods[0].limit == 7_000
    assert planned.transaction_id == session.transaction_id
    assert await smart_charging.tell_schedule(station, session, [(0, Decimal(7_000))]) == "Accepted"
    # K15.FR.12, FR.13: beyond the limits it is refused, and gets a schedule again
    sent = len(station.calls)
    assert await smart_charging.tell_schedule(station, session, [(0, Decimal(9_000))]) == "Rejected"

    async def again() -> bool:
        return "SetChargingProfile" in [action for action, _ in station.calls[sent:]]

    await house.until(again)
    page = await house.ask("GET", house.of(station, "ev-charging-needs"))
    assert page["items"][0]["answer"] == "Accepted"
    schedules = (await house.ask("GET", house.of(station, "ev-charging-schedules")))["items"]
    assert [one["accepted"] for one in schedules] == [False, True]


async def test_k15_fr_04_a_vehicle_without_a_transaction_gets_none(house: House) -> None:
    station = await house.station("2.1")
    session = await charging(station)
    await station.stop_transaction(session)
    await station.drain()
    needs = smart_charging.Needs(energy_wh=20_000)
    assert await smart_charging.tell_needs(station, session, needs) is None
    assert station.state_of(smart_charging.SmartCharging).needs_status[1] == "Rejected"


async def test_q01_fr_04_a_transfer_that_is_not_allowed_ends_the_transaction_and_an_allowed_one_discharges(
    house: House,
) -> None:
    station = await house.station("2.1")
    session = await charging(station, Car(BIDIRECTIONAL, soc_percent=80))
    station.clock.thaw()
    needs = smart_charging.Needs(energy_wh=1_000, transfer="AC_BPT")
    assert await smart_charging.tell_needs(station, session, needs) is None
    await station.stop_transaction(session, session.stop_request or pytest.fail("was not asked to stop"))
    await station.drain()
    page = await house.ask("GET", f"/v1/transactions?station_id={station.station_id}")
    assert page["items"][0]["stop_reason"] == "ReqEnergyTransferRejected"

    session = await charging(station, Car(BIDIRECTIONAL, soc_percent=80))
    allowed = {"ocpp_transaction_id": session.transaction_id, "allowed": ["AC_three_phase", "AC_BPT"]}
    told = await house.ask("POST", house.of(station, "allowed-energy-transfers"), allowed)
    assert told["state"] == "accepted"
    station.clock.thaw()
    assert await smart_charging.tell_needs(station, session, needs) is not None
    station.clock.freeze(datetime.now(UTC))
    # Q03: a setpoint below 0 discharges
    discharging = limit(0, purpose="TxProfile", evse_id=1, transaction_id=session.transaction_id, stack_level=5)
    discharging["schedules"][0]["periods"] = [{"operation_mode": "CentralSetpoint", "setpoint": -5_000}]
    await house.ask("PUT", house.of(station, "charging-profiles/6"), discharging)
    await house.profile(station, 6, "installed")
    before = station.evse(1).meter.exported_wh
    await station.deliver(session, duration_s=3600, meter_interval_s=0)
    assert station.evse(1).meter.power_w == -5_000
    assert station.evse(1).meter.exported_wh - before == 5_000


async def test_k21_priority_charging_goes_before_the_transaction_s_profile(house: House) -> None:
    station = await house.station("2.1")
    session = await charging(station)
    own = limit(4_000, purpose="TxProfile", evse_id=1, transaction_id=session.transaction_id)
    await house.ask("PUT", house.of(station, "charging-profiles/1"), own)
    await house.profile(station, 1, "installed")
    ask = {"type": "use_priority_charging", "ocpp_transaction_id": session.transaction_id}
    refused = await house.ask("POST", house.of(station, "commands?wait_s=30"), ask)
    assert refused["state"] == "rejected"
    assert "NoProfile" in str(refused), refused
    await house.ask("PUT", house.of(station, "charging-profiles/2"), limit(20_000, purpose="PriorityCharging"))
    await house.profile(station, 2, "installed")
    await house.ask("POST", house.of(station, "commands?wait_s=30"), ask)
    await station.deliver(session, duration_s=60, meter_interval_s=0)
    assert station.evse(1).meter.power_w == 20_000
    station.clock.thaw()

    async def known() -> bool:
        found = await house.ask("GET", house.of(station, "composite-schedule?evse=1&duration=60"))
        return [p["limit"] for p in found["ours"]["periods"]] == [20_000]

    await house.until(known)


async def test_k28_dynamic_values_are_told_and_pulled(house: House) -> None:
    station = await house.station("2.1")
    session = await charging(station)
    dynamic = limit(9_000, purpose="TxDefaultProfile", evse_id=1)
    dynamic["kind"] = "Dynamic"
    del dynamic["schedules"][0]["start"]
    await house.ask("PUT", house.of(station, "charging-profiles/1"), dynamic)
    await house.profile(station, 1, "installed")
    told = await house.ask("POST", house.of(station, "charging-profiles/1/update"), {"limit": 8_000})
    assert told["told"]["state"] == "accepted"
    await station.deliver(session, duration_s=60, meter_interval_s=0)
    assert station.evse(1).meter.power_w == 8_000
    problem = await house.refused("POST", house.of(station, "charging-profiles/1/update"), {"limit": "NaN"})
    assert problem["status"] == 422
    # K28.FR.10: one that the station asks for
    await house.ask("PUT", house.of(station, "charging-profiles/1"), {**dynamic, "dyn_update_interval_s": 1})
    await house.profile(station, 1, "installed")
    told = await house.ask("POST", house.of(station, "charging-profiles/1/update"), {"limit": 5_000})
    assert told["told"]["state"] is None

    async def pulled() -> bool:
        held = station.profiles.get(1)
        return held is not None and held.periods[0].limit == 5_000

    await house.until(pulled)


async def test_r04_r05_der_controls_are_set_reported_and_alarm(house: House) -> None:
    station = await house.station("2.1")
    curve = {"points": [{"x": 100, "y": 100}, {"x": 110, "y": 0}], "unit": "PctMaxW", "priority": 3}
    path = house.of(station, "der-controls/volt-watt-1")
    put = await house.ask("PUT", path, {"type": "VoltWatt", "is_default": True, "curve": curve})
    assert put["state"] == "installed"
    await house.ask(
        "PUT",
        house.of(station, "der-controls/volt-watt-2"),
        {"type": "VoltWatt", "is_default": True, "curve": {**curve, "priority": 1}},
    )
    items = (await house.ask("GET", house.of(station, "der-controls")))["items"]
    assert {one["id"]: one["superseded"] for one in items} == {"volt-watt-1": True, "volt-watt-2": False}
    problem = await house.refused("PUT", path, {"type": "VoltWatt", "is_default": False, "curve": curve})
    assert problem["errors"][0]["pointer"] == "#/curve/start"
    soon = {**curve, "priority": 0, "start": datetime.now(UTC).isoformat(), "duration_s": 1}
    await house.ask(
        "PUT", house.of(station, "der-controls/now"), {"type": "VoltVar", "is_default": False, "curve": soon}
    )
    asked = await house.ask("POST", house.of(station, "der-controls/report"))
    assert asked["state"] == "accepted"

    async def reported() -> Any:
        found = (await house.ask("GET", house.of(station, "der-controls")))["items"]
        return all(one["reported"] for one in found if one["id"] != "now")

    await house.until(reported)
    der_control.tell_alarm(station, "VoltWatt")

    async def alerts() -> Any:
        page = await house.ask("GET", f"/v1/alerts?station_id={station.station_id}&kind=der_alarm&standing=true")
        return page["items"]

    (alert,) = await house.until(alerts)
    assert alert["details"]["fault"] == "OverVoltage"
    der_control.tell_alarm(station, "VoltWatt", ended=True)

    async def over() -> bool:
        return not await alerts()

    await house.until(over)

    async def began_and_ended() -> bool:
        kinds = [one["kind"] for one in (await house.ask("GET", house.of(station, "der-events")))["items"]]
        return {"started", "stopped", "alarm", "alarm_ended"} <= set(kinds)

    await house.until(began_and_ended)
    gone = await house.ask("DELETE", path)
    assert gone["state"] == "accepted"


async def test_the_command_line_draws_the_composite_schedule(house: House) -> None:
    station = await house.station("2.0.1")
    later = (datetime.now(UTC) + timedelta(hours=6)).isoformat()
    schedule = {"start": "2026-01-01T00:00:00Z", "periods": [{"limit": 11_000}]}
    await house.ask("PUT", house.of(station, "charging-profiles/1"), limit(11_000, schedule=schedule))
    lower = limit(3_000, stack_level=1, schedule={"start": later})
    await house.ask("PUT", house.of(station, "charging-profiles/2"), lower)
    for ident in (1, 2):
        await house.profile(station, ident, "installed")
    server = ["--url", str(house.rest.base_url), "--api-key", KEY]

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, [*arguments, *server], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    drawn = await asyncio.to_thread(run, "charging-profile", "composite", station.station_id, "--hours", "12", "--ask")
    assert drawn.count("11000 ┤" + "█" * 36) == 2  # ours and the station's
    listed = await asyncio.to_thread(run, "charging-profile", "list", station.station_id)
    assert "installed" in listed
    await asyncio.to_thread(run, "static-limit", "set", station.station_id, "16", "A")
    assert "16" in await asyncio.to_thread(run, "static-limit", "show", station.station_id)
