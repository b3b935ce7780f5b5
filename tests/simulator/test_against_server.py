"""Virtual stations against the project's own server: what they delivered is what REST says, whatever happened."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.cli.registering import register_stations
from chargeplane.main.config import Config
from chargeplane.main.rest import RestClient
from chargeplane.main.wiring import Server
from chargeplane.simulator import (
    FAST,
    Fault,
    Fleet,
    HandshakeError,
    Options,
    Plan,
    Session,
    StopReason,
    VirtualStation,
    plans,
)
from chargeplane.simulator.car import CAR_MODELS, Car
from tests.support import postgres

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chars"
VERSIONS = ("1.6", "2.0.1", "2.1")

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)


class House:
    """A running server and what a test needs of it."""

    def __init__(self, server: Server) -> None:
        assert server.http is not None
        assert server.ocpp is not None
        self.rest = RestClient(f"http://127.0.0.1:{server.http.port}", KEY)
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"
        self._stations: list[VirtualStation] = []

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.rest.request, method, path, body)

    async def station(
        self, version: str, options: Options = FAST, *, boot: bool = True, **arguments: Any
    ) -> VirtualStation:
        station_id = f"CP-{next(_numbers)}"
        await self.ask("POST", "/v1/charging-stations", {"station_id": station_id, "password": PASSWORD})
        station = VirtualStation(
            self.url, station_id, version, password=PASSWORD, seed=11, options=options, **arguments
        )
        self._stations.append(station)
        await station.connect()
        if boot:
            await station.boot()
        return station

    async def transactions(self, station: VirtualStation) -> list[dict[str, Any]]:
        page = await self.ask("GET", f"/v1/transactions?station_id={station.station_id}")
        return list(page["items"])

    async def close(self) -> None:
        for station in self._stations:
            await station.close()
        self.rest.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One server for all of these tests: they share nothing but it."""
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
        rest = House(server)
        await rest.ask("POST", "/v1/id-tokens", {"id_token": "TAG1"})
        await rest.ask("POST", "/v1/id-tokens", {"id_token": "BLOCKED1", "status": "Blocked"})
        try:
            yield server
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(running: Server) -> AsyncIterator[House]:
    house = House(running)
    yield house
    await house.close()


async def only(house: House, station: VirtualStation, session: Session) -> dict[str, Any]:
    """The station's one transaction, closed, with exactly the session's energy."""
    found = await house.transactions(station)
    assert len(found) == 1, found
    (row,) = found
    assert row["state"] == "closed", row
    assert row["energy_wh"] == session.energy_wh, row
    return row


@pytest.mark.parametrize("version", VERSIONS)
async def test_energy_in_rest_is_the_register_to_the_last_wh(house: House, version: str) -> None:
    station = await house.station(version)
    session = await station.charge(id_token="tag1", energy_wh=12_345, meter_interval_s=120)
    assert session.acknowledged
    row = await only(house, station, session)
    assert row["ocpp_transaction_id"] == session.transaction_id
    assert row["evse_id"] == 1
    assert row["offline"] is False
    view = await house.ask("GET", f"/v1/charging-stations/{station.station_id}")
    assert view["connected"] is True
    assert view["ocpp_version"] == version
    assert view["vendor"] == "Chargeplane"


@pytest.mark.parametrize("version", VERSIONS)
async def test_blocked_token_does_not_charge(house: House, version: str) -> None:
    station = await house.station(version)
    session = await station.charge(id_token="BLOCKED1", energy_wh=1000)
    assert (session.accepted, session.status) == (False, "Blocked")
    assert await house.transactions(station) == []


async def test_wrong_password_and_unknown_station_are_refused(house: House) -> None:
    station = await house.station("1.6")
    for station_id, status in ((station.station_id, 401), ("NOBODY", 404)):
        with pytest.raises(HandshakeError) as caught:
            await VirtualStation(house.url, station_id, "1.6", password="wrong-password-000").connect()
        assert caught.value.status == status
    assert station.online


@pytest.mark.parametrize("version", VERSIONS)
async def test_session_without_network_is_booked_when_it_is_back(house: House, version: str) -> None:
    station = await house.station(version)
    station.go_offline()
    async with asyncio.timeout(30):
        while station.online:
            await asyncio.sleep(0.005)
    session = await station.charge(id_token="TAG1", energy_wh=3_210, meter_interval_s=120)
    station.go_online()
    await station.drain()
    row = await only(house, station, session)
    assert row["offline"] is (version != "1.6")


@pytest.mark.parametrize("version", VERSIONS)
async def test_socket_lost_again_and_again_in_a_session(house: House, version: str) -> None:
    station = await house.station(version)
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("TAG1")
    for _ in range(8):
        delivering = asyncio.create_task(station.deliver(session, 700, meter_interval_s=30))
        await asyncio.sleep(0.002)
        station.drop()
        await delivering
        await station.wait_online()
    await station.stop_transaction(session)
    await station.drain()
    assert session.energy_wh == 5_600
    await only(house, station, session)


@pytest.mark.parametrize("version", VERSIONS)
async def test_meter_that_restarts_after_a_power_loss(house: House, version: str) -> None:
    station = await house.station(version)
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("TAG1")
    await station.deliver(session, 2_000, meter_interval_s=60)
    await station.meter_values()
    station.power_loss(outage_s=0.01, resumes=True, meter_restarts=True)
    await station.wait_online()
    await station.meter_values()
    await station.deliver(session, 500, meter_interval_s=60)
    await station.stop_transaction(session)
    await station.drain()
    assert session.energy_wh == 2_500
    await only(house, station, session)


@pytest.mark.parametrize("version", VERSIONS)
async def test_power_loss_without_resume_closes_with_its_reason(house: House, version: str) -> None:
    station = await house.station(version)
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("TAG1")
    await station.deliver(session, 2_000, meter_interval_s=60)
    station.power_loss(outage_s=0.01)
    await station.wait_online()
    await station.stop_transaction(session, StopReason.POWER_LOSS)
    await station.drain()
    assert (await only(house, station, session))["stop_reason"] == "PowerLoss"


_HARMLESS = [
    Fault.DUPLICATE_MESSAGES,
    Fault.SEQ_NO_ZERO,
    Fault.SEQ_NO_REPEATED,
    Fault.NO_UPDATES,
    Fault.TRANSACTION_ID_ZERO,
    Fault.BARE_START,
    Fault.LATE_METER_VALUES,
    Fault.KWH_AS_FLOATS,
    Fault.VALUE_AS_NUMBER,
    Fault.NO_MEASURAND,
    Fault.EMPTY_SERIALS,
    Fault.LOCAL_TIME,
    Fault.TIME_1970,
    Fault.NO_TIMESTAMP_IN_STATUS,
    Fault.REPEATING_MESSAGE_IDS,
    Fault.NO_BOOT,
    Fault.STATUS_BEFORE_BOOT_ANSWER,
]


@pytest.mark.parametrize("fault", _HARMLESS)
async def test_energy_is_exact_with_a_fault(house: House, fault: Fault) -> None:
    wrong = []
    for version in VERSIONS:
        station = await house.station(version, replace(FAST, faults=frozenset({fault})))
        session = await station.charge(id_token="TAG1", energy_wh=4_321, meter_interval_s=60)
        await station.drain(everything=True)
        rows = await house.transactions(station)
        told = [(row["state"], row["energy_wh"]) for row in rows]
        if told != [("closed", 4_321)] or session.energy_wh != 4_321:
            wrong.append((version, told))
    assert wrong == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_clock_a_day_ahead_changes_no_energy(house: House, version: str) -> None:
    station = await house.station(version, boot=False)
    station.set_clock_wrong(timedelta(days=1))
    await station.boot()
    session = await station.charge(id_token="TAG1", energy_wh=777)
    await only(house, station, session)


@pytest.mark.parametrize("version", VERSIONS)
async def test_remote_start_and_stop_by_command(house: House, version: str) -> None:
    station = await house.station(version)
    command = {"type": "start", "id_token": {"id_token": "TAG1", "type": "ISO14443"}, "evse_id": 1}
    answer = await house.ask("POST", f"/v1/charging-stations/{station.station_id}/commands?wait_s=30", command)
    assert answer["state"] == "accepted", answer
    session = station.evse(1).session
    assert session is not None
    async with asyncio.timeout(30):
        while session.transaction_id is None or session.energy_wh < 1000:
            await asyncio.sleep(0.005)
    await station.drain()
    (row,) = await house.transactions(station)
    stop = {"type": "stop", "transaction_id": row["id"]}
    answer = await house.ask("POST", f"/v1/charging-stations/{station.station_id}/commands?wait_s=30", stop)
    assert answer["state"] == "accepted", answer
    await session.ended()
    await station.drain()
    assert (await only(house, station, session))["stop_reason"] == "Remote"


@pytest.mark.parametrize("version", VERSIONS)
async def test_raw_call_reaches_the_station_as_given(house: House, version: str) -> None:
    station = await house.station(version)
    payload = {"vendorId": "Chargeplane", "data": "x"}
    body = {"action": "DataTransfer", "payload": payload}
    answer = await house.ask("POST", f"/v1/charging-stations/{station.station_id}/calls", body)
    assert answer["outcome"] == "callresult"
    assert answer["payload"] == {"status": "Accepted", "data": "x"}
    assert ("DataTransfer", payload) in station.calls


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("fault", [Fault.REORDERED_REPLAY, Fault.UNFLAGGED_OFFLINE, Fault.DUPLICATE_MESSAGES])
async def test_replay_in_odd_ways_books_the_same_energy(house: House, version: str, fault: Fault) -> None:
    station = await house.station(version, replace(FAST, faults=frozenset({fault})))
    station.go_offline()
    async with asyncio.timeout(30):
        while station.online:
            await asyncio.sleep(0.005)
    session = await station.charge(id_token="TAG1", energy_wh=3_210, meter_interval_s=120)
    station.go_online()
    await station.drain()
    await only(house, station, session)


@pytest.mark.parametrize("version", VERSIONS)
async def test_lost_stop_does_not_swallow_the_next_session(house: House, version: str) -> None:
    station = await house.station(version, replace(FAST, faults=frozenset({Fault.LOST_STOP})))
    await station.charge(id_token="TAG1", energy_wh=1_000, meter_interval_s=10)
    station.give_faults()
    second = await station.charge(id_token="TAG1", energy_wh=2_000, meter_interval_s=60)
    await station.drain(everything=True)
    newest, oldest = await house.transactions(station)
    assert (newest["state"], newest["energy_wh"]) == ("closed", 2_000)
    assert second.acknowledged
    assert oldest["energy_wh"] <= 1_000


async def test_two_hundred_stations_of_all_versions_charge_at_once(house: House) -> None:
    wanted = plans(200, VERSIONS, password=PASSWORD)
    await asyncio.to_thread(register_stations, house.rest, wanted)
    fleet = Fleet(house.url, wanted, options=FAST, rate=2000, seed=3)
    await fleet.start()
    await fleet.accepted()
    plan = Plan(energy_wh=1_234, meter_interval_s=120)
    sessions = await asyncio.gather(*(station.run(station.visit(1, "TAG1", plan)) for station in fleet))
    for station in fleet:
        await station.drain()
    await fleet.stop()
    assert all(session.acknowledged for session in sessions)
    rows = [row async for row in _pages(house, "/v1/transactions") if row["station_id"].startswith("SIM-")]
    assert len(rows) == 200
    assert {(row["state"], row["energy_wh"]) for row in rows} == {("closed", 1_234)}


async def _pages(house: House, path: str) -> AsyncIterator[dict[str, Any]]:
    for row in await asyncio.to_thread(lambda: list(house.rest.pages(path))):
        yield row


_SET_DISPLAY_MESSAGE = {
    "message": {"id": 1, "priority": "NormalCycle", "message": {"format": "UTF8", "content": "Hello"}}
}


@pytest.mark.parametrize(
    ("faults", "outcomes"),
    [
        ((), ("callerror",)),
        ((Fault.UNKNOWN_ACTION_IGNORED,), ("timeout",)),
        ((Fault.UNKNOWN_ACTION_CLOSES,), ("disconnected",)),
        ((Fault.UNKNOWN_ACTION_MINUS_ONE,), ("timeout", "callerror")),
    ],
)
async def test_unknown_action_ends_the_call_and_the_station_goes_on(
    house: House, faults: tuple[Fault, ...], outcomes: tuple[str, ...]
) -> None:
    without = replace(FAST, faults=frozenset(faults), unsupported=frozenset({"SetDisplayMessage"}))
    station = await house.station("2.0.1", without)
    path = f"/v1/charging-stations/{station.station_id}/calls"
    body = {
        "action": "SetDisplayMessage",
        "payload": _SET_DISPLAY_MESSAGE,
        "timeout_s": 0.5 if "timeout" in outcomes else 30,
    }
    assert (await house.ask("POST", path, body))["outcome"] in outcomes
    await station.wait_online()
    answer = await house.ask("POST", path, {"action": "GetLocalListVersion", "payload": {}})
    assert answer["payload"] == {"versionNumber": 0}


async def test_foreign_answer_is_not_taken_for_the_right_one(house: House) -> None:
    station = await house.station("1.6", replace(FAST, faults=frozenset({Fault.FOREIGN_ANSWERS})))
    path = f"/v1/charging-stations/{station.station_id}/calls"
    for key in ("HeartbeatInterval", "MeterValueSampleInterval"):
        answer = await house.ask("POST", path, {"action": "GetConfiguration", "payload": {"key": [key]}})
        assert [row["key"] for row in answer["payload"]["configurationKey"]] == [key]


@pytest.mark.parametrize("version", VERSIONS)
async def test_boot_in_the_middle_of_a_transaction_changes_no_energy(house: House, version: str) -> None:
    station = await house.station(version, replace(FAST, faults=frozenset({Fault.BOOT_ON_RECONNECT})))
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("TAG1")
    await station.deliver(session, 1_000, meter_interval_s=30)
    station.drop()
    await station.deliver(session, 1_000, meter_interval_s=30)
    await station.wait_online()
    await station.stop_transaction(session)
    await station.drain()
    await only(house, station, session)


@pytest.mark.parametrize("version", VERSIONS)
async def test_bare_end_closes_with_the_last_known_energy(house: House, version: str) -> None:
    station = await house.station(version, replace(FAST, faults=frozenset({Fault.BARE_END})))
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("TAG1")
    await station.deliver(session, 1_000, meter_interval_s=30)
    await station.meter_values()
    await station.stop_transaction(session)
    await station.drain()
    await only(house, station, session)


@pytest.mark.parametrize("version", VERSIONS)
async def test_wh_under_the_label_kwh_books_the_right_energy_and_says_so(house: House, version: str) -> None:
    station = await house.station(version, replace(FAST, faults=frozenset({Fault.KWH_LABEL_ON_WH})))
    station.clock.freeze(
        datetime.now(UTC) - timedelta(hours=2)
    )  # power and time are what a register that is wrong throughout can be compared with
    session = await station.charge(id_token="TAG1", energy_wh=4_321, meter_interval_s=60)
    await station.drain(everything=True)
    row = await only(house, station, session)
    assert "unit_repaired" in row["flags"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_rejects_all_refuses_every_command_and_charges_on(house: House, version: str) -> None:
    station = await house.station(version, replace(FAST, faults=frozenset({Fault.REJECTS_ALL})))
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("TAG1")
    await station.drain()
    (row,) = await house.transactions(station)
    commands: list[dict[str, Any]] = [
        {"type": "start", "id_token": "TAG1", "evse_id": 2},
        {"type": "stop", "transaction_id": row["id"]},
        {"type": "unlock", "evse_id": 1},
        {"type": "reset", "kind": "immediate"},
        {"type": "trigger", "message": "Heartbeat"},
        {"type": "change_availability", "operative": False},
        {"type": "clear_cache"},
    ]
    path = f"/v1/charging-stations/{station.station_id}/commands"
    for command in commands:
        answer = await house.ask("POST", f"{path}?wait_s=30", command)
        assert answer["state"] == "rejected", answer
        assert answer["status"] in ("Rejected", "UnlockFailed"), answer
    assert station.online
    await station.deliver(session, 1_000, meter_interval_s=30)
    await station.stop_transaction(session)
    await station.drain()
    await only(house, station, session)


_PROFILE_16 = {
    "connectorId": 0,
    "csChargingProfiles": {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "ChargePointMaxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 1000}],
        },
    },
}


async def test_refused_charging_profile_limits_nothing(house: House) -> None:
    station = await house.station("1.6", replace(FAST, faults=frozenset({Fault.REJECTS_ALL})))
    path = f"/v1/charging-stations/{station.station_id}/calls"
    asked = {"action": "SetChargingProfile", "payload": _PROFILE_16}
    assert (await house.ask("POST", path, asked))["payload"] == {"status": "Rejected"}
    station.give_faults()
    cleared = {"action": "ClearChargingProfile", "payload": {}}
    assert (await house.ask("POST", path, cleared))["payload"] == {"status": "Unknown"}


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_last_part_of_a_report_alone_is_kept(house: House, version: str) -> None:
    whole, rest = [
        await house.station(version, replace(FAST, faults=frozenset(faults)))
        for faults in ((), (Fault.NOTIFY_REPORT_LAST_PART_ONLY,))
    ]
    reported = []
    for station in (whole, rest):
        asked = {"action": "GetBaseReport", "payload": {"requestId": 5, "reportBase": "FullInventory"}}
        answer = await house.ask("POST", f"/v1/charging-stations/{station.station_id}/calls", asked)
        assert answer["payload"] == {"status": "Accepted"}
        await station.drain(everything=True)
        path = f"/v1/charging-stations/{station.station_id}/variables?limit=200"
        found = (await house.ask("GET", path))["items"]
        reported.append({(row["component"], row["evse_id"], row["variable"]) for row in found})
    assert rest.online
    assert reported[1]
    assert reported[1] < reported[0]


@pytest.mark.parametrize("version", VERSIONS)
async def test_late_answer_is_dropped_and_the_next_call_gets_its_own(
    house: House, running: Server, version: str
) -> None:
    door = running.ocpp
    assert door is not None
    options = replace(FAST, faults=frozenset({Fault.LATE_ANSWERS}), late_answer_s=1.5)
    station = await house.station(version, options)
    path = f"/v1/charging-stations/{station.station_id}/calls"
    late = {"action": "DataTransfer", "payload": {"vendorId": "Chargeplane", "data": "late"}, "timeout_s": 0.3}
    assert (await house.ask("POST", path, late))["outcome"] == "timeout"
    before = door.measures.unreadable[0]
    station.give_faults()
    asked = {"action": "DataTransfer", "payload": {"vendorId": "Chargeplane", "data": "in time"}}
    answer = await house.ask("POST", path, asked)
    assert answer["payload"] == {"status": "Accepted", "data": "in time"}
    async with asyncio.timeout(30):
        while door.measures.unreadable[0] == before:
            await asyncio.sleep(0.02)
    assert door.measures.unreadable[0] == before + 1
    assert station.online
    session = await station.charge(id_token="TAG1", energy_wh=500)
    await only(house, station, session)
