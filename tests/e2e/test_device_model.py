"""Block B over real sockets: variables, reports, changes and templates with virtual stations of all versions."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.main.cli.root import run_command
from chargeplane.main.config import Config, DeviceModelConfig, OcppConfig
from chargeplane.main.rest import RestClient
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Fault, Options, VirtualStation
from chargeplane.simulator.settings import ACTIVE_NETWORK, HEARTBEAT_INTERVAL, by_key
from tests.support import postgres

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chars"
VERSIONS = ("1.6", "2.0.1", "2.1")
VERSIONS_2X = ("2.0.1", "2.1")

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
all_versions = pytest.mark.parametrize("version", VERSIONS)
two_x = pytest.mark.parametrize("version", VERSIONS_2X)

INTERVAL = {"component": "OCPPCommCtrlr", "variable": "HeartbeatInterval"}


class House:
    """A running server and what a test needs of it."""

    def __init__(self, server: Server) -> None:
        assert server.http is not None
        assert server.ocpp is not None
        self.server = server
        self.rest = RestClient(f"http://127.0.0.1:{server.http.port}", KEY)
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"
        self._stations: list[VirtualStation] = []

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        return await asyncio.to_thread(self.rest.request, method, path, body)

    async def station(
        self, version: str, options: Options = FAST, *, boot: bool = True, known: bool = True, **more: Any
    ) -> VirtualStation:
        """A station that has booted and, where `known`, told its variables."""
        station_id = f"DM-{next(_numbers)}"
        settings = {"read_variables": known}
        await self.ask(
            "POST",
            "/v1/charging-stations",
            {"station_id": station_id, "password": PASSWORD, "settings": settings, **more},
        )
        station = VirtualStation(self.url, station_id, version, password=PASSWORD, seed=11, options=options)
        self._stations.append(station)
        await station.connect()
        if boot:
            await station.boot()
        if known and version == "1.6":
            await self.until(lambda: self.variables(station), lambda found: len(found) > 5)
        elif known:
            await self.until(lambda: self.is_complete(station), bool)
        return station

    async def is_complete(self, station: VirtualStation) -> bool:
        """Whether everything that follows from the report of everything has been done."""
        async with self.server.database.read() as db:
            return bool(
                await db.fetchval(
                    "SELECT complete_at IS NOT NULL FROM device_model_reading r"
                    " JOIN charging_station s ON s.key = r.station_key WHERE s.station_id = $1",
                    station.station_id,
                )
            )

    async def requests(self, station: VirtualStation) -> list[dict[str, Any]]:
        page = await self.ask("GET", f"/v1/charging-stations/{station.station_id}/requests")
        return list(page["items"])

    async def variables(self, station: VirtualStation, query: str = "") -> list[dict[str, Any]]:
        page = await self.ask("GET", f"/v1/charging-stations/{station.station_id}/variables?limit=1000{query}")
        return list(page["items"])

    async def value(self, station: VirtualStation, variable: str) -> str | None:
        (found,) = await self.variables(station, f"&variable={variable}")
        value: str | None = found["value"]
        return value

    async def command(self, station: VirtualStation, **body: Any) -> Any:
        return await self.ask("POST", f"/v1/charging-stations/{station.station_id}/commands?wait_s=30", body)

    async def change(self, station: VirtualStation, *variables: dict[str, Any], **more: Any) -> Any:
        return await self.ask(
            "PATCH",
            f"/v1/charging-stations/{station.station_id}/variables?wait_s=30",
            {"variables": list(variables), "patience_s": 10, **more},
        )

    async def until(self, look: Callable[[], Any], good: Callable[[Any], bool], timeout_s: float = 30.0) -> Any:
        """What `look` finds, as soon as it is good."""
        end = time.monotonic() + timeout_s
        while True:
            found = await look()
            if good(found):
                return found
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)

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
                ocpp=OcppConfig(boot_retry_interval_s=1),
                device_model=DeviceModelConfig(
                    read_delay_s=0, read_spread_s=0.05, read_rate_per_s=1000, template_retry_s=0.2
                ),
            )
        )
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(running: Server) -> AsyncIterator[House]:
    house = House(running)
    yield house
    await house.close()


def seen(station: VirtualStation, action: str) -> list[dict[str, Any]]:
    return [payload for name, payload in station.calls if name == action]


# --- after a boot -----------------------------------------------------------------------------------------------------


@all_versions
async def test_b07_fr_14_a_station_nothing_is_known_of_is_asked_for_everything(house: House, version: str) -> None:
    station = await house.station(version)
    found = await house.variables(station, "&variable=HeartbeatInterval")
    assert [(one["component"], one["value"], one["key"]) for one in found] == [
        ("OCPPCommCtrlr", "300", "HeartbeatInterval")
    ]
    if version == "1.6":
        assert seen(station, "GetConfiguration") == [{}]
    else:
        (asked,) = seen(station, "GetBaseReport")
        assert asked["reportBase"] == "FullInventory"
        assert found[0]["characteristics"]["data_type"] == "integer"
        assert [(one["kind"], one["state"], one["request_id"]) for one in await house.requests(station)] == [
            ("variables", "complete", asked["requestId"])
        ]


@all_versions
async def test_b07_fr_14_what_is_known_is_not_asked_for_again(house: House, version: str) -> None:
    station = await house.station(version)
    before = len(station.calls)
    boots = station.counters.boots
    station.reboot()
    await house.until(lambda: _booted(station), lambda count: count > boots)
    await station.wait_online()
    await house.command(station, type="get_variables", variables=[INTERVAL])
    assert len(station.calls) == before + 1


@all_versions
async def test_b02_fr_01_a_pending_station_is_read_and_configured(house: House, version: str) -> None:
    station = await house.station(version, boot=False, known=False, registration="pending")
    await house.until(lambda: _counted(station), lambda refused: refused > 0)
    read = await house.command(station, type="get_variables", variables=[INTERVAL])
    assert read["state"] == "accepted", read
    done = await house.change(station, {"variable": "MeterValueSampleInterval", "value": "42"})
    assert done["state"] == "succeeded", done
    if version != "1.6":
        assert (await house.command(station, type="get_base_report"))["state"] == "accepted"
        await house.until(lambda: house.variables(station), lambda found: len(found) > 20)
    waits = await house.ask(
        "POST",
        f"/v1/charging-stations/{station.station_id}/commands?wait_s=0.5",
        {"type": "clear_cache", "expires_in_s": 0.2},
    )
    assert waits["state"] in ("pending", "expired")
    await house.ask("PATCH", f"/v1/charging-stations/{station.station_id}", {"registration": "accepted"})
    await station.boot()
    assert not seen(station, "ClearCache")


async def _counted(station: VirtualStation) -> int:
    return station.counters.boots_refused


# --- B05, B06, 1.6 5.3 and 5.8 ----------------------------------------------------------------------------------------


@all_versions
async def test_b06_get_variables_answers_each_with_its_status(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    asked = [INTERVAL, {"component": "OCPPCommCtrlr", "variable": "ResetRetries"}]
    gone = {"variable": "AcmeGone"} if version == "1.6" else {"component": "AcmeCtrlr", "variable": "Gone"}
    view = await house.command(station, type="get_variables", variables=[*asked, gone])
    assert view["state"] == "accepted", view
    results = view["reply"]["results"]
    assert [(one["variable"], one["status"], one.get("value")) for one in results[:2]] == [
        ("HeartbeatInterval", "Accepted", "300"),
        ("ResetRetries", "Accepted", "1"),
    ]
    assert results[2]["status"] == ("UnknownVariable" if version == "1.6" else "UnknownComponent")
    assert await house.value(station, "HeartbeatInterval") == "300"


@all_versions
async def test_b05_set_variables_of_any_version_by_one_command(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    view = await house.command(
        station,
        type="set_variables",
        variables=[
            {**INTERVAL, "value": "120"},
            {"variable": "MeterValueSampleInterval", "value": "15"},
            {"variable": "ChargeProfileMaxStackLevel", "value": "3"},
        ],
    )
    assert (view["state"], view["status"]) == ("rejected", "Rejected")
    assert [one["status"] for one in view["reply"]["results"]] == ["Accepted", "Accepted", "Rejected"]
    assert len(seen(station, "ChangeConfiguration" if version == "1.6" else "SetVariables")) == (
        3 if version == "1.6" else 1
    )
    assert await house.value(station, "MeterValueSampleInterval") == "15"
    assert await house.value(station, "HeartbeatInterval") == "120"


@all_versions
async def test_b05_fr_11_b06_fr_05_messages_are_as_large_as_the_station_takes(house: House, version: str) -> None:
    station = await house.station(version)
    names = [one for one in await house.variables(station) if one["attribute"] == "Actual" and one["component"]]
    names = [one for one in names if one["variable"] != "BasicAuthPassword"][:60]
    most = 7
    async with house.server.database.change() as db:
        await db.execute(
            "INSERT INTO station_variable (station_key, component, variable, variable_instance, value, reported_at)"
            " SELECT key, 'DeviceDataCtrlr', 'ItemsPerMessage', 'GetVariables', $2, now() FROM charging_station"
            " WHERE station_id = $1 ON CONFLICT (station_key, component, component_instance, evse_id, connector_id,"
            " variable, variable_instance, attribute) DO UPDATE SET value = excluded.value",
            station.station_id,
            str(most),
        )
    wanted = [
        {key: one[key] for key in ("component", "evse_id", "connector_id", "variable", "variable_instance")}
        for one in names
        if version != "1.6" or one["key"]
    ]
    station.calls.clear()
    view = await house.command(station, type="get_variables", variables=wanted)
    assert view["state"] == "accepted", view
    assert [one["status"] for one in view["reply"]["results"]] == ["Accepted"] * len(wanted)
    action, field = ("GetConfiguration", "key") if version == "1.6" else ("GetVariables", "getVariableData")
    sizes = [len(payload[field]) for payload in seen(station, action)]
    assert sizes == [most] * (len(wanted) // most) + [len(wanted) % most] * bool(len(wanted) % most)


@all_versions
async def test_a_password_is_neither_stored_nor_logged(house: House, version: str) -> None:
    station = await house.station(version)
    secret = "NobodyMayReadThis123456"
    done = await house.change(station, {"variable": "AuthorizationKey", "value": secret})
    assert done["state"] == "succeeded", done
    (item,) = done["variables"]
    assert (item["component"], item["variable"], item["value"], item["state"]) == (
        "SecurityCtrlr",
        "BasicAuthPassword",
        "********",
        "accepted",
    )
    assert station.password == secret
    raw = (
        {"action": "ChangeConfiguration", "payload": {"key": "AuthorizationKey", "value": secret}}
        if version == "1.6"
        else {
            "action": "SetVariables",
            "payload": {
                "setVariableData": [
                    {
                        "component": {"name": "SecurityCtrlr"},
                        "variable": {"name": "BasicAuthPassword"},
                        "attributeValue": secret,
                    }
                ]
            },
        }
    )
    station.password = PASSWORD
    await house.until(lambda: _shown(house, station), lambda view: view["connected"] and station.counters.connects > 1)
    await station.wait_online()
    await house.ask("POST", f"/v1/charging-stations/{station.station_id}/calls", raw)
    await house.until(
        lambda: house.ask("GET", f"/v1/charging-stations/{station.station_id}/messages?limit=100"),
        lambda page: sum(one["action"] == raw["action"] for one in page["items"]) >= 2,
    )
    async with house.server.database.read() as db:
        tables = await db.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        for table in tables:
            held = await db.fetchval(
                f'SELECT count(*) FROM "{table["relname"]}" t WHERE t::text LIKE $1', f"%{secret}%"
            )
            assert held == 0, table["relname"]


async def _shown(house: House, station: VirtualStation) -> Any:
    return await house.ask("GET", f"/v1/charging-stations/{station.station_id}")


# --- B07, B08 ----------------------------------------------------------------------------------------------------------


@two_x
async def test_b07_a_complete_full_report_removes_what_is_gone(house: House, version: str) -> None:
    station = await house.station(version)
    async with house.server.database.change() as db:
        await db.execute(
            "INSERT INTO station_variable (station_key, component, variable, value, reported_at)"
            " SELECT key, 'AcmeCtrlr', 'Gone', '1', now() - interval '1 minute' FROM charging_station WHERE station_id = $1",
            station.station_id,
        )
    assert len(await house.variables(station, "&component=AcmeCtrlr")) == 1
    assert (await house.command(station, type="get_base_report", report="configuration_inventory"))[
        "state"
    ] == "accepted"
    await _reports(house, station, 2)
    assert len(await house.variables(station, "&component=AcmeCtrlr")) == 1
    before = len(await house.variables(station))
    assert (await house.command(station, type="get_base_report"))["state"] == "accepted"
    await house.until(lambda: house.variables(station, "&component=AcmeCtrlr"), lambda found: not found)
    assert len(await house.variables(station)) == before - 1


async def _reports(house: House, station: VirtualStation, number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await house.until(
        lambda: house.requests(station),
        lambda all_: len(all_) == number and all(one["finished_at"] for one in all_),
    )
    return found


@two_x
async def test_b07_a_report_of_which_only_the_last_part_comes_removes_nothing(house: House, version: str) -> None:
    station = await house.station(version)
    before = await house.variables(station)
    station.give_faults(Fault.NOTIFY_REPORT_LAST_PART_ONLY)
    assert (await house.command(station, type="get_base_report"))["state"] == "accepted"
    newest, *_ = await _reports(house, station, 2)
    assert newest["state"] == "incomplete"
    assert len(await house.variables(station)) == len(before)


@two_x
async def test_b08_custom_report(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    view = await house.command(station, type="get_report", targets=[{"component": "OCPPCommCtrlr"}])
    assert view["state"] == "accepted", view
    found = await house.until(lambda: house.variables(station), lambda found: len(found) > 3)
    assert {one["component"] for one in found} == {"OCPPCommCtrlr"}
    view = await house.command(station, type="get_report", targets=[{"component": "AcmeCtrlr"}])
    assert (view["state"], view["status"]) == ("rejected", "EmptyResultSet")
    newest, *_ = await _reports(house, station, 2)
    assert (newest["state"], newest["status"]) == ("failed", "EmptyResultSet")


# --- changes -----------------------------------------------------------------------------------------------------------


@all_versions
async def test_changes_are_made_one_at_a_time_and_read_back(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    done = await house.change(
        station,
        {**INTERVAL, "value": "90"},
        {"variable": "ChargeProfileMaxStackLevel", "value": "3"},
        {"variable": "ConnectionTimeOut", "value": "soon"},
        {"variable": "ConnectionTimeOut", "value": "45"},
    )
    assert done["state"] == "partly"
    assert [(one["variable"], one["state"], one.get("has")) for one in done["variables"]] == [
        ("HeartbeatInterval", "applied", "90"),
        ("ProfileStackLevel", "rejected", None),
        ("EVConnectionTimeOut", "rejected", None),
        ("EVConnectionTimeOut", "applied", "45"),
    ]
    names = [name for name, _ in station.calls]
    write, read = ("ChangeConfiguration", "GetConfiguration") if version == "1.6" else ("SetVariables", "GetVariables")
    assert names == [write, read, write, write, write, read]
    listed = await house.ask("GET", f"/v1/charging-stations/{station.station_id}/variable-changes")
    assert [one["id"] for one in listed["items"]] == [done["id"]]


# --- templates ---------------------------------------------------------------------------------------------------------


async def _template(house: House, **more: Any) -> Any:
    name = f"template {next(_numbers)}"
    return await house.ask("POST", "/v1/configuration-templates", {"name": name, **more})


async def _standing(house: House, station: VirtualStation) -> dict[str, Any]:
    found = await house.ask("GET", f"/v1/charging-stations/{station.station_id}/configuration")
    return {one["template"]: one for one in found}


@all_versions
async def test_a_template_brings_its_stations_to_what_it_wants(house: House, version: str) -> None:
    stations = [await house.station(version, location_id=f"site-{version}") for _ in range(3)]
    template = await _template(
        house,
        selector={"location_id": [f"site-{version}"]},
        apply="auto",
        variables=[
            {"variable": "MeterValueSampleInterval", "value": "33"},
            {**INTERVAL, "value": "300"},
        ],
    )
    path = f"/v1/configuration-templates/{template['id']}"
    await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"in_sync": 3})
    for station in stations:
        assert await house.value(station, "MeterValueSampleInterval") == "33"
        standing = (await _standing(house, station))[template["name"]]
        assert [(one["want"], one["has"], one["state"]) for one in standing["variables"]] == [
            ("33", "33", "in_sync"),
            ("300", "300", "in_sync"),
        ]
        changes = (await house.ask("GET", f"/v1/charging-stations/{station.station_id}/variable-changes"))["items"]
        assert [(one["template"], len(one["variables"]), one["state"]) for one in changes] == [
            (template["name"], 1, "succeeded")
        ]


@all_versions
@pytest.mark.parametrize("by", ["template", "hand"])
async def test_a_boot_is_answered_with_the_heartbeat_interval_that_was_set(house: House, version: str, by: str) -> None:
    """OCPP 1.6, 4.2; 2.0.1 B01.FR.05: the station takes it from the answer, and would lose what was set."""
    place = f"beat-{version}-{by}"
    station = await house.station(version, location_id=place)
    if by == "template":
        template = await _template(
            house,
            selector={"location_id": [place]},
            apply="auto",
            variables=[{"variable": "HeartbeatInterval", "value": "77"}],
        )
        path = f"/v1/configuration-templates/{template['id']}"
        await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"in_sync": 1})
    else:
        change = await house.change(station, {"variable": "HeartbeatInterval", "value": "77"})
        assert change["state"] == "succeeded"
    path = f"/v1/charging-stations/{station.station_id}"
    await house.until(lambda: house.ask("GET", path), lambda one: one["settings"].get("heartbeat_interval_s") == 77)
    await station.boot()
    assert station.settings.number(HEARTBEAT_INTERVAL) == 77
    refused = await house.change(station, {"variable": "HeartbeatInterval", "value": "never"})
    assert refused["state"] != "succeeded"
    await station.boot()
    assert station.settings.number(HEARTBEAT_INTERVAL) == 77


@all_versions
async def test_drift_is_seen_after_a_boot_and_put_right(house: House, version: str) -> None:
    station = await house.station(version, location_id=f"drift-{version}")
    template = await _template(
        house,
        selector={"location_id": [f"drift-{version}"]},
        variables=[{"variable": "ConnectionTimeOut", "value": "77"}],
    )
    path = f"/v1/configuration-templates/{template['id']}"
    await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"drifted": 1})
    assert not seen(station, "SetVariables") + seen(station, "ChangeConfiguration")
    await house.ask("POST", f"{path}/apply", {})
    await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"in_sync": 1})
    setting = by_key("ConnectionTimeOut")
    assert setting is not None
    station.settings.put(setting, "5")
    station.reboot()
    await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"drifted": 1})
    standing = (await _standing(house, station))[template["name"]]["variables"][0]
    assert (standing["want"], standing["has"]) == ("77", "5")
    await house.ask("PATCH", path, {"apply": "auto"})
    await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"in_sync": 1})


@all_versions
async def test_what_a_station_refuses_is_shown_and_not_tried_again_and_again(house: House, version: str) -> None:
    station = await house.station(version, location_id=f"refuse-{version}")
    template = await _template(
        house,
        selector={"location_id": [f"refuse-{version}"]},
        apply="auto",
        stop_after=1,
        variables=[{"variable": "ChargeProfileMaxStackLevel", "value": "1"}],
    )
    path = f"/v1/configuration-templates/{template['id']}"
    view = await house.until(
        lambda: house.ask("GET", path), lambda view: view["stations"] == {"rejected": 1} and view["paused_because"]
    )
    assert station.station_id in view["paused_because"]
    standing = (await _standing(house, station))[template["name"]]["variables"][0]
    assert (standing["state"], standing["status"]) == ("rejected", "Rejected")
    alerts = (await house.ask("GET", "/v1/alerts?kind=configuration_paused"))["items"]
    assert any(template["id"] == one["details"]["template_id"] for one in alerts)
    await house.ask("PATCH", path, {"paused": False})
    await asyncio.sleep(0.6)
    assert len(seen(station, "SetVariables") + seen(station, "ChangeConfiguration")) == 1
    await house.ask("POST", f"{path}/apply", {})
    await house.until(lambda: _calls(station), lambda calls: calls == 2)


async def _booted(station: VirtualStation) -> int:
    return station.counters.boots


async def _calls(station: VirtualStation) -> int:
    return len(seen(station, "SetVariables") + seen(station, "ChangeConfiguration"))


async def test_of_two_templates_the_one_of_higher_priority_has_its_way(house: House) -> None:
    station = await house.station("2.0.1", location_id="two")
    low = await _template(
        house,
        selector={"location_id": ["two"]},
        apply="auto",
        variables=[{**INTERVAL, "value": "111"}, {"variable": "ResetRetries", "value": "4"}],
    )
    high = await _template(
        house,
        selector={"station_id": [station.station_id]},
        apply="auto",
        priority=5,
        variables=[{**INTERVAL, "value": "222"}],
    )
    standing = await house.until(
        lambda: _standing(house, station),
        lambda found: len(found) == 2 and all(one["state"] == "in_sync" for one in found.values()),
    )
    assert [one["state"] for one in standing[low["name"]]["variables"]] == ["overridden", "in_sync"]
    assert await house.value(station, "HeartbeatInterval") == "222"
    await house.ask("DELETE", f"/v1/configuration-templates/{high['id']}")
    await house.ask("POST", f"/v1/configuration-templates/{low['id']}/check")
    await house.until(lambda: house.value(station, "HeartbeatInterval"), lambda value: value == "111")


# --- stations as they are ----------------------------------------------------------------------------------------------


@all_versions
async def test_a_station_that_restarts_on_every_change_is_waited_for(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    station.give_faults(Fault.REBOOTS_ON_CHANGE)
    boots = station.counters.boots
    done = await house.change(
        station,
        {"variable": "ClockAlignedDataInterval", "value": "900"},  # not the heartbeat's: its boot sets that anew
        {"variable": "ConnectionTimeOut", "value": "45"},
        {"variable": "MeterValueSampleInterval", "value": "20"},
    )
    assert [one["state"] for one in done["variables"]] == ["applied"] * 3, done
    await house.until(lambda: _boots(station), lambda now: now > boots)


async def _boots(station: VirtualStation) -> int:
    return station.counters.boots


@all_versions
async def test_a_station_that_accepts_everything_and_does_nothing_is_found_out(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    station.give_faults(Fault.ACCEPTS_AND_IGNORES)
    done = await house.change(station, {**INTERVAL, "value": "91"})
    (item,) = done["variables"]
    assert (done["state"], item["state"], item["has"]) == ("failed", "mismatch", "300")
    assert await house.value(station, "HeartbeatInterval") == "300"


async def test_1_6_5_8_keys_without_values_are_accepted_and_not_confirmed(house: House) -> None:
    station = await house.station("1.6", known=False)
    station.give_faults(Fault.KEYS_WITHOUT_VALUES, Fault.ALL_KEYS)
    done = await house.change(station, {**INTERVAL, "value": "92"})
    (item,) = done["variables"]
    assert (done["state"], item["state"]) == ("succeeded", "accepted")
    assert item["reason"] == "The station does not tell the value."


@all_versions
async def test_reboot_required_is_collected_and_carried_out_where_that_is_wanted(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    if version == "1.6":
        change = {"variable": "ChargeplaneLanguage", "value": "de"}
    else:
        stored = await house.command(
            station, type="set_network_profile", slot=2, url=house.url, security_profile=1, ocpp_version=version
        )
        assert stored["state"] == "accepted", stored
        change = {"component": "OCPPCommCtrlr", "variable": "NetworkConfigurationPriority", "value": "2,1"}
    done = await house.change(station, change, {**INTERVAL, "value": "90"})
    assert (done["state"], done["reboot_required"]) == ("succeeded", True)
    assert [one["state"] for one in done["variables"]] == ["reboot_required", "applied"]
    done = await house.change(station, change, reset="immediate")
    assert (done["state"], done["reboot_required"]) == ("succeeded", False)
    assert [(one["state"], one["has"]) for one in done["variables"]] == [("applied", change["value"])]
    if version != "1.6":
        assert await house.command(
            station,
            type="get_variables",
            variables=[{"component": "OCPPCommCtrlr", "variable": "ActiveNetworkProfile"}],
        )
        assert await house.value(station, "ActiveNetworkProfile") == "2"


@two_x
async def test_b10_a_station_whose_new_csms_does_not_answer_comes_back(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    await house.command(
        station,
        type="set_network_profile",
        slot=2,
        url="ws://127.0.0.1:9/ocpp",
        security_profile=1,
        ocpp_version="2.0.1",
    )
    priority = {"component": "OCPPCommCtrlr", "variable": "NetworkConfigurationPriority", "value": "2,1"}
    done = await house.change(station, priority, reset="immediate")
    assert done["variables"][0]["state"] == "applied", done
    assert station.settings.text(ACTIVE_NETWORK) == "1"


@two_x
async def test_b09_fr_04_a_lower_security_profile_is_refused(house: House, version: str) -> None:
    station = await house.station(version, known=False)
    view = await house.command(
        station, type="set_network_profile", slot=1, url="ws://csms.example", security_profile=0, ocpp_version="2.0.1"
    )
    assert (view["state"], view["status"]) == ("rejected", "Rejected")
    view = await house.command(
        station, type="set_network_profile", slot=9, url="ws://csms.example", security_profile=1, ocpp_version="2.0.1"
    )
    assert view["status"] == "Rejected"


@two_x
@pytest.mark.parametrize("fault", [Fault.REPORT_WITHOUT_TBC, Fault.REPORT_WITH_EMPTY_PART])
async def test_b07_odd_reports_lose_nothing(house: House, version: str, fault: Fault) -> None:
    station = await house.station(version)
    before = {_named(one) for one in await house.variables(station)}
    station.give_faults(fault)
    assert (await house.command(station, type="get_base_report"))["state"] == "accepted"
    await house.until(
        lambda: house.requests(station), lambda found: len(found) == 2 and found[0]["state"] == "complete"
    )

    async def names() -> set[tuple[Any, ...]]:
        return {_named(one) for one in await house.variables(station)}

    await station.drain(everything=True)
    await house.until(names, lambda found: found == before)


def _named(one: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        one[key] for key in ("component", "component_instance", "evse_id", "connector_id", "variable", "attribute")
    )


@two_x
async def test_b07_fr_11_attributes_and_characteristics_are_shown(house: House, version: str) -> None:
    station = await house.station(version)
    power = await house.variables(station, "&component=EVSE&variable=Power&evse_id=1")
    assert [(one["attribute"], one["mutability"]) for one in power] == [("Actual", "ReadOnly"), ("MaxSet", "ReadOnly")]
    assert power[0]["characteristics"] == {
        "data_type": "decimal",
        "supports_monitoring": True,
        "unit": "W",
        "max_limit": int(power[1]["value"]),
    }
    (policy,) = await house.variables(station, "&component=AuthCacheCtrlr&variable=Policy")
    assert policy["characteristics"]["values_list"] == "LRU,LFU,FIFO,CUSTOM"
    (password,) = await house.variables(station, "&mutability=WriteOnly")
    assert (password["variable"], password["value"]) == ("BasicAuthPassword", None)
    read = await house.command(
        station,
        type="get_variables",
        variables=[{"component": "EVSE", "evse_id": 1, "variable": "Power", "attribute": "MinSet"}],
    )
    assert read["status"] == "NotSupportedAttributeType"


async def test_b03_fr_03_a_rejected_station_is_asked_nothing(house: House) -> None:
    station = await house.station("2.0.1", known=False, boot=False, registration="rejected")
    await house.until(lambda: _counted(station), lambda refused: refused > 0)
    view = await house.ask(
        "POST",
        f"/v1/charging-stations/{station.station_id}/commands?wait_s=30",
        {"type": "get_variables", "variables": [INTERVAL], "expires_in_s": 0.3},
    )
    assert view["state"] == "expired"
    assert station.calls == []


async def test_a_change_can_be_cancelled_and_bad_ones_name_their_field(house: House) -> None:
    station = await house.station("2.0.1", known=False)
    station.go_offline()
    shown = f"/v1/charging-stations/{station.station_id}"
    await house.until(lambda: house.ask("GET", shown), lambda view: not view["connected"])
    path = f"/v1/charging-stations/{station.station_id}/variables"
    waiting = await house.ask("PATCH", path, {"variables": [{**INTERVAL, "value": "9"}]})
    assert waiting["state"] in ("pending", "running")
    ended = await house.ask("POST", f"/v1/variable-changes/{waiting['id']}/cancel")
    assert (ended["state"], ended["variables"][0]["state"]) == ("cancelled", "cancelled")
    for body, field in (
        ({"variables": []}, "variables"),
        ({"variables": [{"variable": "X"}]}, "value"),
        ({"variables": [{"variable": "X", "value": "1", "attribute": "Best"}]}, "attribute"),
        ({"variables": [{"variable": "X", "value": "1"}], "reset": "now"}, "reset"),
    ):
        with pytest.raises(ChargeplaneError) as refused:
            await house.ask("PATCH", path, body)
        assert field in str(refused.value)


async def test_a_template_of_passwords_shows_none(house: House) -> None:
    station = await house.station("2.0.1", location_id="secret")
    secret = "AnotherOneNobodyReads1"
    template = await _template(
        house,
        selector={"station_id": [station.station_id]},
        apply="auto",
        variables=[{"component": "SecurityCtrlr", "variable": "BasicAuthPassword", "value": secret}],
    )
    assert template["variables"][0]["value"] == "********"
    path = f"/v1/configuration-templates/{template['id']}"
    await house.until(lambda: house.ask("GET", path), lambda view: view["stations"] == {"in_sync": 1})
    assert station.password == secret
    again = await house.ask("PATCH", path, {"variables": template["variables"]})
    assert again["version"] == 1
    versions = await house.ask("GET", f"{path}/versions")
    assert secret not in str(versions)
    with pytest.raises(ChargeplaneError):
        await _template(house, selector={}, variables=[{"variable": "X", "value": "1"}])
    await house.ask("DELETE", path)


async def test_the_command_line_shows_sets_and_applies(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    station = await house.station("2.0.1", location_id="cli")
    door = ["--url", house.rest.url, "--api-key", KEY]

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(run_command, [*arguments, *door])
        return code, capsys.readouterr().out

    code, shown = await run(
        "station", "set", station.station_id, "HeartbeatInterval=88", "TxCtrlr/EVConnectionTimeOut=44"
    )
    assert (code, shown.count("applied")) == (0, 2), shown
    code, shown = await run("station", "set", station.station_id, "ProfileStackLevel=1")
    assert code == 1
    code, shown = await run("station", "variables", station.station_id, "--component", "TxCtrlr", "--read")
    assert code == 0
    assert "TxCtrlr/EVConnectionTimeOut" in shown
    assert "ConnectionTimeOut" in shown
    name = f"cli {next(_numbers)}"
    assert (await run("template", "add", name, "HeartbeatInterval=77", "--location", "cli"))[0] == 0
    code, shown = await run("template", "apply", name)
    assert (code, "1 of 1 stations are in sync" in shown) == (0, True), shown
    assert await house.value(station, "HeartbeatInterval") == "77"
    assert (await run("template", "set", name, "HeartbeatInterval=66", "--note", "shorter"))[0] == 0
    code, shown = await run("template", "list")
    assert name in shown
    assert (await run("template", "remove", name, "--yes"))[0] == 0


@pytest.mark.parametrize("whole", [True, False])
async def test_b13_a_transaction_goes_on_after_a_reset_that_resumes_it(house: House, whole: bool) -> None:
    station = await house.station("2.1", known=False)
    await house.ask("POST", "/v1/id-tokens", {"id_token": f"B13-{whole}"})
    station.plug_in()
    session = await station.start_transaction(f"B13-{whole}")
    boots = station.counters.boots
    view = await house.command(station, type="reset", kind="immediate_and_resume", **({} if whole else {"evse_id": 1}))
    assert (view["state"], view["status"]) == ("accepted", "Accepted")
    path = f"/v1/transactions?station_id={station.station_id}"

    async def triggers() -> list[str]:
        (row,) = (await house.ask("GET", path))["items"]
        assert row["state"] == "open"
        events = (await house.ask("GET", f"/v1/transactions/{row['id']}/events"))["items"]
        return [one["payload"].get("triggerReason") for one in events]

    told = await house.until(triggers, lambda found: "TxResumed" in found)
    assert told.index("ResetCommand") < told.index("TxResumed")
    assert station.counters.boots == boots + whole
    await station.stop_transaction(session)
    await station.drain()
    (row,) = (await house.ask("GET", path))["items"]
    assert row["state"] == "closed"


async def test_b13_fr_01_a_station_that_cannot_resume_refuses(house: House) -> None:
    station = await house.station("2.1", known=False)
    done = await house.change(station, {"component": "TxCtrlr", "variable": "ResumptionTimeout", "value": "0"})
    assert done["state"] == "succeeded", done
    view = await house.command(station, type="reset", kind="immediate_and_resume")
    assert (view["state"], view["status"]) == ("rejected", "Rejected")
