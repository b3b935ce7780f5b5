"""Rules about vendors, models and firmwares in the whole server: picked at boot, remembered, shown with hits, set over REST."""

from __future__ import annotations

from typing import Any

from tests.support.field import PASSWORD, Station, World, now
from tests.support.raw_station import RawStation

BOOT = {"chargePointVendor": "Frobozz", "chargePointModel": "Zork 22", "firmwareVersion": "1.2"}


async def _put(world: World, *rules: dict[str, Any], status: int = 200) -> Any:
    answer = await world.rest.put("/quirks", json={"quirks": list(rules)})
    assert answer.status_code == status, answer.text
    return answer.json()


def rule(**effects: Any) -> dict[str, Any]:
    return {"name": "frobozz", "does": "It does.", "source": "its manual", "vendor": "Frobozz", **effects}


async def _quirk(station: Station, name: str = "frobozz") -> Any:
    return next((one for one in (await station.view())["quirks"] if one["rule"] == name), None)


async def test_rule_is_picked_at_boot_and_shown_with_where_it_comes_from(world: World) -> None:
    listed = await _put(world, rule(limits=["no_power_samples"]))
    origins = {one["name"]: one["origin"] for one in listed["quirks"]}
    assert (origins["frobozz"], origins["openevse_kwh_as_wh"]) == ("tenant", "built_in")
    station = await world.station("1.6", boot=False)
    assert await _quirk(station) is None
    await station.call("BootNotification", BOOT)
    assert await _quirk(station) == {
        "rule": "frobozz",
        "hits": 0,
        "last_at": None,
        "description": "It does.",
        "origin": "tenant",
        "source": "its manual",
        "applies": True,
    }


async def test_station_that_connects_without_a_boot_is_known_by_its_last_one(world: World) -> None:
    await _put(world, rule(time_zone="Asia/Tokyo"))
    station = await world.station("1.6", boot=False)
    await station.call("BootNotification", BOOT)
    await station.leave()
    again = await world.plug(station.id, "1.6")
    charge = again.charge()
    told = "2026-01-31T21:00:00Z"
    await charge.start(1000, 0, timestamp=told)
    assert (await again.transaction())["started_at"] == "2026-01-31T12:00:00Z"
    seen = await world.eventually(lambda: _quirk(again), lambda quirk: quirk["hits"] == 1)
    assert seen["last_at"]


async def test_rules_set_over_rest_reach_open_connections_at_once_and_end_with_them(world: World) -> None:
    station = await world.station("1.6", boot=False)
    await station.call("BootNotification", BOOT)
    status = {"connector": 1, "status": "Available", "errorCode": "NoError", "timestamp": now()}
    wire = [{"action": "StatusNotification", "rename": {"connector": "connectorId"}}]
    await _put(world, rule(wire=wire))
    assert await station.call("StatusNotification", status) == {}
    assert [evse["evse_id"] for evse in (await station.view())["evses"]] == [1]
    await world.eventually(lambda: _quirk(station), lambda quirk: quirk["hits"] == 1)
    await _put(world)
    await world.eventually(lambda: _quirk(station), lambda quirk: not quirk["applies"])


async def test_command_beyond_the_limits_of_a_model_is_rejected_with_the_rule(world: World) -> None:
    await _put(world, rule(max_message_bytes=40))
    station = await world.station("1.6", boot=False)
    await station.call("BootNotification", BOOT)
    order = {"type": "start", "id_token": {"id_token": "T" * 20, "type": "ISO14443"}, "evse_id": 1}
    path = f"/charging-stations/{station.id}/commands?wait_s=30"
    made = await world.rest.post(path, json=order)
    assert made.status_code < 300, made.text
    command = await world.eventually(
        lambda: world.get(f"/commands/{made.json()['id']}"), lambda seen: seen["state"] not in ("pending", "sent")
    )
    assert command["state"] == "rejected"
    assert "quirk frobozz" in command["reason"]
    assert station.asked() == []


async def test_station_that_does_not_answer_triggers_is_not_triggered(world: World) -> None:
    await _put(world, rule(limits=["boot_not_triggered"]))
    station = await world.station("1.6", boot=False)
    await station.call("BootNotification", BOOT)
    await station.leave()
    again = await world.plug(station.id, "1.6")
    await world.eventually(lambda: _quirk(again), lambda quirk: quirk["hits"] == 1)
    assert again.got == []


async def test_handshake_without_a_subprotocol_is_let_in_by_the_last_boot(world: World) -> None:
    await _put(world, rule(assumed_version="1.6"))
    station = await world.station("1.6", boot=False)
    await station.call("BootNotification", BOOT)
    await station.leave()
    again = await world.plug(station.id, "1.6", protocols=None)
    assert (await again.call("Heartbeat", {}))["currentTime"]
    stranger = await RawStation.dial(world.server.ocpp.ports[0])
    ident = await world.register()
    await stranger.upgrade(f"/ocpp/{ident}", protocols=None, auth=f"{ident}:{PASSWORD}".encode())
    assert await stranger.close_code() == 1002
    stranger.hang_up()


async def test_grizzl_e_comes_back_without_a_subprotocol(world: World) -> None:
    """The shape: a boot in good order, then a firmware whose handshake has no Sec-WebSocket-Protocol (lbbrhzn/ocpp issue 442)."""
    station = await world.station("1.6", boot=False)
    boot = {
        "chargePointVendor": "UnitedChargers",
        "chargePointModel": "Grizzl-E Smart Connect",
        "firmwareVersion": "5.43",
    }
    await station.call("BootNotification", boot)
    await station.leave()
    again = await world.plug(station.id, "1.6", protocols=None)
    assert (await again.call("Heartbeat", {}))["currentTime"]
    seen = await world.eventually(
        lambda: _quirk(again, "grizzl_e_no_subprotocol"), lambda quirk: quirk is not None and quirk["hits"] == 1
    )
    assert (seen["origin"], seen["applies"]) == ("built_in", True)


async def test_elvi_gets_the_limit_of_the_station_as_a_default_at_once(world: World) -> None:
    """The shape: it answers Rejected to ChargePointMaxProfile (lbbrhzn/ocpp issue 221)."""
    station_id = "EVB-P20482857"
    await world.post("/charging-stations", {"station_id": station_id, "password": PASSWORD})
    station = await world.plug(station_id, "1.6")
    purposes: list[str] = []

    def answer(frame: list[Any]) -> list[Any]:
        purpose = frame[3]["csChargingProfiles"]["chargingProfilePurpose"]
        purposes.append(purpose)
        return [3, frame[1], {"status": "Rejected" if purpose == "ChargePointMaxProfile" else "Accepted"}]

    station.answers["SetChargingProfile"] = answer
    await station.boot()
    schedule = {"id": 1, "unit": "A", "start": "2026-01-01T00:00:00Z", "periods": [{"limit": 10}]}
    body = {"purpose": "ChargingStationMaxProfile", "kind": "Absolute", "schedules": [schedule]}
    path = f"/charging-stations/{station_id}/charging-profiles/7"
    made = await world.rest.put(path, json=body)
    assert made.status_code < 300, made.text
    view = await world.eventually(lambda: world.get(path), lambda seen: seen["state"] == "installed", 20)
    assert view["sent"]["purpose"] == "TxDefaultProfile"
    assert set(purposes) == {"TxDefaultProfile"}
    assert (await _quirk(station, "evbox_elvi_no_station_max"))["origin"] == "built_in"


async def test_wrong_rules_name_the_field(world: World) -> None:
    problem = await _put(world, rule(), status=422)
    assert problem["errors"][0]["pointer"] == "#/quirks/0/name", problem
    problem = await _put(world, rule(time_zone="Mars/Olympus"), status=422)
    assert problem["errors"][0]["pointer"] == "#/quirks/0/time_zone", problem
    await _put(world, rule(limitz=[]), status=422)
