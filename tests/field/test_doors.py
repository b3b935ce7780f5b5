"""What the doors promise: raw calls, commands, registration, unknown stations, device model."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.field import PASSWORD, VERSIONS, VERSIONS_2X, World, at, now, token_status
from tests.support.raw_station import RawStation
from tests.support.rest import assert_problem

LATER = "2030-01-31T12:00:00Z"


def _reservation(version: str, **more: Any) -> dict[str, Any]:
    if version == "1.6":
        return {"connectorId": 1, "expiryDate": LATER, "idTag": "TAG"} | more
    return {"expiryDateTime": LATER, "idToken": {"idToken": "TAG", "type": "ISO14443"}} | more


@pytest.mark.parametrize("version", VERSIONS)
async def test_reservation_without_id_gets_one_and_is_recorded(world: World, version: str) -> None:
    station = await world.station(version)
    name = "reservationId" if version == "1.6" else "id"
    path = f"/charging-stations/{station.id}"
    made = []
    for word in ("Accepted", "Occupied"):
        station.answers["ReserveNow"] = {"status": word}
        call = {"action": "ReserveNow", "payload": _reservation(version)}
        answer = await world.post(f"{path}/calls", call, status=200)
        sent = station.got[-1][1]
        assert list(sent) == [*_reservation(version), name]  # what was given keeps its order
        assert answer["reservation_id"] == sent[name]
        recorded = await world.get(f"/commands/{answer['command_id']}")
        assert recorded["action"] == "ReserveNow"
        assert recorded["request"] == {"action": "ReserveNow", "payload": sent}
        assert recorded["answer"] == {"status": word}
        assert recorded["status"] == word
        assert recorded["state"] == ("accepted" if word == "Accepted" else "rejected")
        made.append(sent[name])
    assert made[0] != made[1]
    call = {"action": "ReserveNow", "payload": _reservation(version, **{name: 77})}
    answer = await world.post(f"{path}/calls", call, status=200)
    assert station.got[-1][1][name] == 77
    assert "reservation_id" not in answer
    assert [c["request"]["payload"][name] for c in (await world.get(f"{path}/commands"))["items"]] == [77, *made[::-1]]


async def test_payload_that_is_wrong_besides_the_id_is_still_refused(world: World) -> None:
    station = await world.station("1.6")
    answer = await world.rest.post(
        f"/charging-stations/{station.id}/calls", json={"action": "ReserveNow", "payload": {}}
    )
    assert_problem(answer, 422)


async def test_local_list_version_and_profile_are_recorded_with_the_answer(world: World) -> None:
    station = await world.station("1.6")
    path = f"/charging-stations/{station.id}"
    station.answers["SendLocalList"] = {"status": "VersionMismatch"}
    station.answers["GetLocalListVersion"] = {"listVersion": 7}
    calls = [
        ("SendLocalList", {"listVersion": 8, "updateType": "Full"}, "rejected", "VersionMismatch"),
        ("GetLocalListVersion", {}, "accepted", None),
        ("ClearChargingProfile", {"id": 4}, "accepted", "Accepted"),
    ]
    for action, payload, _, _ in calls:
        await world.post(f"{path}/calls", {"action": action, "payload": payload}, status=200)
    listed = (await world.get(f"{path}/commands"))["items"][::-1]
    assert [(c["action"], c["request"]["payload"], c["state"], c["status"]) for c in listed] == calls
    assert listed[1]["answer"] == {"listVersion": 7}
    assert (await world.get(f"{path}/commands", action="SendLocalList"))["items"] == [listed[0]]


@pytest.mark.parametrize("version", VERSIONS)
async def test_raw_call_ends_at_once_when_the_socket_closes(world: World, version: str) -> None:
    station = await world.station(version)
    station.answers["ClearCache"] = None
    began = time.monotonic()
    call = asyncio.create_task(
        world.post(
            f"/charging-stations/{station.id}/calls", {"action": "ClearCache", "payload": {}, "timeout_s": 60}, 200
        )
    )
    await station.until_called("ClearCache")
    station.raw.hang_up()
    answer = await asyncio.wait_for(call, 30)
    assert answer["outcome"] == "disconnected"
    assert time.monotonic() - began < 50


async def test_time_of_a_call_counts_from_its_sending(world: World) -> None:
    station = await world.station("1.6")
    station.answers["ClearCache"] = None
    path = f"/charging-stations/{station.id}/calls"
    first = asyncio.create_task(world.post(path, {"action": "ClearCache", "timeout_s": 2}, 200))
    await station.until_called("ClearCache")
    # It waits behind the first for longer than it may take itself.
    answer = await world.post(path, {"action": "GetLocalListVersion", "timeout_s": 1.5}, 200)
    assert (await first)["outcome"] == "timeout"
    assert answer["outcome"] == "callresult"


@pytest.mark.parametrize("version", VERSIONS)
async def test_registration_by_patch_holds_from_the_next_boot_and_commands_wait_for_it(
    world: World, version: str
) -> None:
    station = await world.station(version)
    path = f"/charging-stations/{station.id}"

    async def register(word: str) -> None:
        answer = await world.rest.patch(path, json={"registration": word})
        assert answer.json()["registration"] == word, answer.text

    await register("pending")
    assert (await station.boot())["status"] == "Pending"
    command = await world.post(f"{path}/commands", {"type": "clear_cache"}, 202)
    raw = await world.post(f"{path}/calls", {"action": "ClearCache"}, 200)  # these do not wait
    assert raw["outcome"] == "callresult"
    assert (await world.get(f"/commands/{command['id']}"))["state"] == "pending"
    await register("accepted")
    # The station has not heard of it: OCPP 2.0.1 B02 has it pending until its next boot.
    assert (await world.get(f"/commands/{command['id']}"))["state"] == "pending"
    assert (await station.boot())["status"] == "Accepted"
    await world.eventually(lambda: world.get(f"/commands/{command['id']}"), lambda seen: seen["state"] == "accepted")
    await register("rejected")
    await station.until(lambda: station.close_code is not None)
    again = await world.plug(station.id, version)
    assert (await again.boot())["status"] == "Rejected"


async def test_unknown_station_is_pending_where_the_tenant_says_so(world: World) -> None:
    await world.post("/tenants", {"slug": "open-house", "name": "Open house"})
    key = (await world.post("/api-keys", {"name": "k", "scopes": ["admin"], "tenant": "open-house"}))["key"]
    headers = {"Authorization": f"Bearer {key}"}

    async def knock(name: str) -> int:
        raw = await RawStation.dial(world.server.ocpp.ports[0])
        answer = await raw.upgrade(f"/ocpp/open-house/{name}", protocols="ocpp2.0.1")
        raw.hang_up()
        return answer.status

    async def seen(path: str) -> Any:
        return (await world.rest.get(path, headers=headers)).json()

    assert await knock("EARLY") == 404
    await world.eventually(lambda: seen("/unknown-stations"), lambda found: len(found["items"]) == 1)
    assert (await seen("/charging-stations"))["items"] == []

    changed = await world.rest.patch("/tenants/open-house", json={"settings": {"unknown_stations": "pending"}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["settings"] == {"unknown_stations": "pending"}
    assert changed.json()["name"] == "Open house"
    assert await knock("NEW") == 404  # it will ask again
    (one,) = (
        await world.eventually(
            lambda: seen("/charging-stations?registration=pending"), lambda found: len(found["items"]) == 1
        )
    )["items"]
    assert (one["station_id"], one["registration"], one["security_profile"]) == ("NEW", "pending", 0)
    station = await world.plug("NEW", "2.0.1", path="open-house/NEW", auth=None)
    assert (await station.boot())["status"] == "Pending"
    assert (await seen("/charging-stations/NEW"))["vendor"] == "Acme"
    refused = await station.frame("Heartbeat", {})
    assert refused[0] == 4  # B02: nothing but its boot is taken
    accepted = await world.rest.patch("/charging-stations/NEW", json={"registration": "accepted"}, headers=headers)
    assert accepted.json()["registration"] == "accepted"
    assert (await station.boot())["status"] == "Accepted"
    assert (await station.call("Heartbeat", {}))["currentTime"]

    back = await world.rest.patch("/tenants/open-house", json={"settings": {"unknown_stations": "refuse"}})
    assert back.json()["settings"] == {}
    wrong = await world.rest.patch("/tenants/open-house", json={"settings": {"unknown_stations": "maybe"}})
    assert_problem(wrong, 422, pointer="#/settings/unknown_stations")


async def test_tenant_gives_its_stations_a_heartbeat_interval(world: World) -> None:
    await world.post("/tenants", {"slug": "slow", "name": "Slow", "settings": {"heartbeat_interval_s": 1234}})
    key = (await world.post("/api-keys", {"name": "k", "scopes": ["admin"], "tenant": "slow"}))["key"]
    made = await world.rest.post(
        "/charging-stations",
        json={"station_id": "SLOW-1", "password": PASSWORD},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert made.status_code == 201
    station = await world.plug("SLOW-1", "1.6", path="slow/SLOW-1")
    assert (await station.boot())["interval"] == 1234


def _report(request: int, part: int, more: bool, data: list[Any]) -> dict[str, Any]:
    return {
        "requestId": request,
        "generatedAt": "2026-01-31T12:00:00Z",
        "seqNo": part,
        "tbc": more,
        "reportData": data,
    }


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_report_fills_the_device_model(world: World, version: str) -> None:
    station = await world.station(version)
    evse = {
        "component": {"name": "EVSE", "evse": {"id": 2}},
        "variable": {"name": "Power"},
        "variableAttribute": [
            {"type": "Actual", "value": "0", "mutability": "ReadOnly"},
            {"type": "MaxSet", "value": "22000"},
        ],
        "variableCharacteristics": {
            "dataType": "decimal",
            "unit": "W",
            "maxLimit": 22000,
            "supportsMonitoring": True,
        },
    }
    plain = {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "HeartbeatInterval"},
        "variableAttribute": [{"value": "300"}],
    }
    await station.call("NotifyReport", _report(1, 0, True, [evse]))
    await station.call("NotifyReport", _report(1, 1, False, [plain, plain]))
    found = (await world.get(f"/charging-stations/{station.id}/variables"))["items"]
    shown = [(v["component"], v["evse_id"], v["variable"], v["attribute"], v["value"], v["mutability"]) for v in found]
    assert shown == [
        ("EVSE", 2, "Power", "Actual", "0", "ReadOnly"),
        ("EVSE", 2, "Power", "MaxSet", "22000", None),
        ("OCPPCommCtrlr", None, "HeartbeatInterval", "Actual", "300", None),
    ]
    assert found[0]["characteristics"] == {
        "data_type": "decimal",
        "unit": "W",
        "max_limit": 22000,
        "supports_monitoring": True,
    }
    assert found[2]["characteristics"] is None
    evse["variableAttribute"] = [{"value": "7000"}]
    del evse["variableCharacteristics"]
    await station.call("NotifyReport", _report(2, 0, False, [evse]))
    newer = (await world.get(f"/charging-stations/{station.id}/variables", variable="power"))["items"]
    assert [(v["attribute"], v["value"], v["mutability"]) for v in newer] == [
        ("Actual", "7000", "ReadOnly"),
        ("MaxSet", "22000", None),
    ]
    assert newer[0]["characteristics"] == found[0]["characteristics"]


async def test_device_model_of_one_station_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    station = await world.station("2.0.1")

    def variable(number: int) -> dict[str, Any]:
        return {
            "component": {"name": "C" * 50},
            "variable": {"name": f"V{number}"},
            "variableAttribute": [{"value": "1"}],
        }

    async with world.server.database.change() as db:
        await db.execute(
            "INSERT INTO station_variable (station_key, variable, reported_at) "
            "SELECT key, 'X' || n, now() FROM charging_station, generate_series(1, 20000) n WHERE station_id = $1",
            station.id,
        )
    await station.call("NotifyReport", _report(1, 0, False, [variable(n) for n in range(100)]))
    async with world.server.database.read() as db:
        count = await db.fetchval(
            "SELECT count(*) FROM station_variable v JOIN charging_station s ON s.key = v.station_key "
            "WHERE s.station_id = $1",
            station.id,
        )
    assert count == 20000


@pytest.mark.parametrize("path", ["/", "/app", "/app/anything"])
async def test_web_says_that_it_is_not_built(world: World, path: str) -> None:
    answer = await world.rest.get(f"http://127.0.0.1:{world.server.http.port}{path}")
    problem = assert_problem(answer, 404)
    assert "not built" in problem["detail"]
    assert "/docs" in problem["detail"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_id_token_is_matched_by_case_folding_everywhere(world: World, version: str) -> None:
    name = f"Straße-{version}"
    await world.post("/id-tokens", {"id_token": name, "type": "ISO14443"})
    twice = await world.rest.post("/id-tokens", json={"id_token": name.upper(), "type": "ISO14443"})
    assert_problem(twice, 409)
    assert len((await world.get("/id-tokens", id_token=name.upper()))["items"]) == 1
    assert len((await world.get("/id-tokens", q=name.upper()[:6]))["items"]) >= 1
    station = await world.station(version)
    token = {"idToken": name.upper(), "type": "ISO14443"}
    asked = {"idTag": name.upper()} if version == "1.6" else {"idToken": token}
    assert token_status(await station.call("Authorize", asked)) == "Accepted"
    charge = station.charge(tag=name.upper())
    await charge.start(0, 0)
    (one,) = (await world.get("/transactions", id_token=name.lower()))["items"]
    assert one["id_token"] == name.upper()


async def test_lists_of_transactions_find_what_was_told_late(world: World) -> None:
    """A page up to some start looks at what was opened soon after it, and at what is known to be late."""
    station = await world.station("2.0.1")
    for hours in (0, 1, 2):  # T0 is long ago: all of it is told late
        charge = station.charge(evse=1)
        await charge.start(0, hours * 60)
        await charge.end(10, hours * 60 + 30)
    fresh = station.charge(evse=1)
    await fresh.start(0, 0, timestamp=now())
    everything = (await world.get("/transactions", station_id=station.id))["items"]
    assert len(everything) == 4
    assert everything[0]["state"] == "open"

    async def found(**wanted: Any) -> list[str]:
        ids, cursor = [], None
        while True:
            page = await world.get(
                "/transactions", station_id=station.id, **wanted, limit=1, **({"cursor": cursor} if cursor else {})
            )
            ids += [one["id"] for one in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return ids

    names = [one["id"] for one in everything]
    assert await found() == names
    assert await found(started_to=at(90)) == names[2:]
    assert await found(started_to=at(60)) == names[3:]
    assert await found(started_from=at(60)) == names[:3]
    assert await found(started_from=at(60), started_to=at(61)) == names[2:3]
    assert await found(started_to=now(3600)) == names
    assert await found(state="closed") == names[1:]
    assert await found(state="open") == names[:1]
    assert await found(state="open", started_to=at(60)) == []


async def test_stations_are_filtered_by_what_they_are(world: World) -> None:
    station = await world.station("1.6", name="Filter Me", location_id="LOC-FILTER")
    away = await world.register(name="Filter me too", location_id="LOC-FILTER", registration="pending")
    await station.status("Faulted")

    async def found(**wanted: Any) -> set[str]:
        return {one["station_id"] for one in (await world.get("/charging-stations", **wanted))["items"]}

    assert await found(location_id="LOC-FILTER") == {station.id, away}
    assert await found(q="filter me") == {station.id, away}
    assert await found(q="ME TOO") == {away}
    assert await found(q="filter%me") == set()
    assert await found(location_id="LOC-FILTER", connected="true") == {station.id}
    assert await found(location_id="LOC-FILTER", connected="false") == {away}
    assert await found(location_id="LOC-FILTER", status="Faulted") == {station.id}
    assert await found(location_id="LOC-FILTER", status="Unknown") == {away}
    assert await found(location_id="LOC-FILTER", status="Available") == set()
    assert await found(location_id="LOC-FILTER", registration="pending") == {away}
    assert await found(location_id="LOC-FILTER", model="one") == {station.id}
    assert await found(location_id="LOC-FILTER", q="acme", status="Faulted", connected="true") == {station.id}


async def test_id_tokens_are_searched_in_token_group_and_note(world: World) -> None:
    for number, more in enumerate(({"note": "Fleet of Müller"}, {"group_id": "GRP-Search"}, {})):
        await world.post("/id-tokens", {"id_token": f"SEARCH-{number}%_X", "type": "Central", **more})

    async def found(text: str) -> set[str]:
        return {one["id_token"] for one in (await world.get("/id-tokens", q=text, type="Central"))["items"]}

    every = {f"SEARCH-{number}%_X" for number in range(3)}
    assert await found("search-") == every
    assert await found("rch-1%_x") == {"SEARCH-1%_X"}
    assert await found("MÜLLER") == {"SEARCH-0%_X"}
    assert await found("grp-search") == {"SEARCH-1%_X"}
    assert await found("%_") == every  # shorter than what the index holds
    assert await found("%__") == set()
    assert await found("search-0%_xmüller") == set()


async def test_nothing_public_shows_a_station_a_token_or_a_tenant(world: World) -> None:
    """Item 18: never show ids in public."""
    await world.post("/tenants", {"slug": "secret-tenant", "name": "Secret tenant"})
    tag = await world.token()
    station = await world.station("2.0.1")
    charge = station.charge(tag=tag)
    await charge.start(0, 0)
    base = f"http://127.0.0.1:{world.server.http.port}"
    async with httpx.AsyncClient(trust_env=False, timeout=20) as anybody:
        shown = [
            await anybody.get(base + where)
            for where in (
                *(
                    "/",
                    "/health",
                    "/healthz",
                    "/ready",
                    "/readyz",
                    "/metrics",
                    "/docs",
                    "/openapi.json",
                    "/v1/openapi.json",
                ),
                f"/v1/charging-stations/{station.id}",
                "/v1/charging-stations",
                "/v1/transactions",
                "/files/logs/none/",
            )
        ]
        shown.append(await anybody.get(f"http://127.0.0.1:{world.server.ocpp.ports[0]}/"))
    assert sum(answer.status_code == 200 for answer in shown) >= 4
    assert [answer.status_code for answer in shown if "/v1/ch" in str(answer.url) or "/v1/tr" in str(answer.url)] == [
        401
    ] * 3
    for answer in shown:
        asked = str(answer.url)
        for ident in (station.id, tag, charge.ocpp_id, "secret-tenant"):
            assert ident not in answer.text or ident in asked, asked


async def test_metrics_name_their_format_once(world: World) -> None:
    """Prometheus refuses a Content-Type that names a parameter twice."""
    answer = await world.rest.get(f"http://127.0.0.1:{world.server.http.port}/metrics")
    assert answer.status_code == 200
    parts = [part.strip() for part in answer.headers["content-type"].split(";")]
    assert parts[0] == "text/plain"
    names = [part.partition("=")[0] for part in parts[1:]]
    assert sorted(names) == sorted(set(names))
    assert "charset=utf-8" in parts
    assert "\nchargeplane_database_up 1.0\n" in answer.text


async def test_every_measure_that_the_pages_name_is_there(world: World) -> None:
    """docs/operating.md tells what to watch and when to alert; a name that does not exist alerts nobody."""
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "operating.md").read_text(encoding="utf-8") + (docs / "benchmarks.md").read_text(encoding="utf-8")
    named = {name.removesuffix("_total") for name in re.findall(r"`(chargeplane_[a-z_]+)", text)}
    assert len(named) >= 12
    page = (await world.rest.get(f"http://127.0.0.1:{world.server.http.port}/metrics")).text
    there = {name.removesuffix("_total") for name in re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE)}
    assert named - there == {"chargeplane_worker_up"}  # with several workers only
