"""stations.md, "Connection", and items 8, 10 and 18 of ocpp.md: sockets, message ids, crossing calls, boots that never come."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from typing import Any

import pytest
from msgspec import json

from tests.support.field import PASSWORD, VERSIONS, VERSIONS_2X, Station, World, at, sampled
from tests.support.raw_station import RawStation

LONG = "It does not work.\r\nStack:\n" + "\tat line\n" * 100


def ask(world: World, station: Station, action: str, payload: object, timeout_s: float = 30.0) -> asyncio.Task[Any]:
    """A raw call over REST, under way."""

    async def call() -> Any:
        body = {"action": action, "payload": payload, "timeout_s": timeout_s}
        return await world.post(f"/charging-stations/{station.id}/calls", body, 200)

    return asyncio.create_task(call())


# -- line 1: message ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_message_id_repeats_over_stations_connections_and_reboots(world: World, version: str) -> None:
    """Line 1: everything is keyed by station; a repeated id is a repeat only if the frame is the same."""
    stations = [await world.station(version, boot=False) for _ in range(4)]
    vendor = "chargePointVendor" if version == "1.6" else "vendorName"
    boot = {vendor: "Acme", ("chargePointModel" if version == "1.6" else "model"): "One"}
    payload = boot if version == "1.6" else {"reason": "PowerUp", "chargingStation": boot}
    for station in stations:
        assert (await station.call("BootNotification", payload, "boot-1"))["status"] == "Accepted"
    one = stations[0]
    # the same id with another frame is another message
    await one.call("StatusNotification", one.status_payload("Occupied", at(0)), "1")
    await one.call("StatusNotification", one.status_payload("Available", at(1)), "1")
    assert (await one.view())["evses"][0]["status"] == "Available"
    one.raw.hang_up()
    again = await world.plug(one.id, version)
    boot[vendor] = "Other"
    assert (await again.call("BootNotification", payload, "boot-1"))["status"] == "Accepted"
    assert (await again.view())["vendor"] == "Other"


# -- line 2: how stations refuse ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_unknown_action_answered_with_message_id_minus_one(world: World, version: str) -> None:
    """Line 2: to an unknown action some answer CALLERROR with message id "-1", some not at all; the next call goes out."""
    station = await world.station(version)
    station.answers["ClearCache"] = lambda frame: [4, "-1", "NotImplemented", LONG, {}]
    answer = await ask(world, station, "ClearCache", {})
    assert (answer["outcome"], answer["error_code"]) == ("callerror", "NotImplemented")
    station.answers["ClearCache"] = None
    assert (await ask(world, station, "ClearCache", {}, 0.3))["outcome"] == "timeout"
    station.answers["ClearCache"] = {"status": "Accepted"}
    assert (await ask(world, station, "ClearCache", {}))["outcome"] == "callresult"


@pytest.mark.parametrize("version", VERSIONS)
async def test_error_description_over_lines_and_past_255_characters(world: World, version: str) -> None:
    """Line 2: error descriptions run over lines and past 255 characters."""
    station = await world.station(version)
    station.answers["ClearCache"] = lambda frame: [4, frame[1], "InternalError", LONG, {"a": [1]}]
    answer = await ask(world, station, "ClearCache", {})
    assert (answer["outcome"], answer["error_code"]) == ("callerror", "InternalError")
    assert answer["error_description"].startswith("It does not work.")


@pytest.mark.parametrize("version", VERSIONS)
async def test_call_that_makes_the_station_close_its_socket(world: World, version: str) -> None:
    """Line 2: some close the socket; one answers CertificateSigned so and returns later."""
    station = await world.station(version)

    def close(_: object) -> None:
        station.raw.hang_up()

    station.answers["CertificateSigned"] = close
    answer = await ask(world, station, "CertificateSigned", {"certificateChain": "-----BEGIN CERTIFICATE-----"}, 30)
    assert answer["outcome"] == "disconnected"
    again = await world.plug(station.id, version)
    assert (await again.boot())["status"] == "Accepted"
    assert (await ask(world, again, "ClearCache", {}))["outcome"] == "callresult"


# -- line 3: calls cross -----------------------------------------------------------------------------------------------------


def ours(version: str, action: str) -> tuple[str, dict[str, Any]]:
    """A call of ours as the version has it."""
    token = {"idToken": "TAG", "type": "ISO14443"}
    if action == "Reset":
        return action, {"type": "Soft" if version == "1.6" else "OnIdle"}
    if action == "ReserveNow":
        if version == "1.6":
            return action, {"connectorId": 1, "expiryDate": "2030-01-01T00:00:00Z", "idTag": "TAG", "reservationId": 5}
        return action, {"id": 5, "evseId": 1, "expiryDateTime": "2030-01-01T00:00:00Z", "idToken": token}
    if version == "1.6":
        return "RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG"}
    return action, {"remoteStartId": 5, "evseId": 1, "idToken": token}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("call", ["Reset", "ReserveNow", "RequestStartTransaction"])
async def test_authorize_and_status_come_before_the_answer_to_our_call(world: World, version: str, call: str) -> None:
    """Line 3: calls cross: Authorize or StatusNotification before the answer to our ReserveNow, Reset or RequestStart."""
    station = await world.station(version)
    action, payload = ours(version, call)
    station.answers[action] = None
    asked = ask(world, station, action, payload)
    await station.until_called(action)
    token = {"idTag": "TAG"} if version == "1.6" else {"idToken": {"idToken": "TAG", "type": "ISO14443"}}
    answer = await station.call("Authorize", token)
    assert (answer.get("idTagInfo") or answer["idTokenInfo"])["status"] == "Accepted"
    await station.status("Reserved", at(0))
    (number,) = [frame[1] for frame in station.frames if frame[0] == 2]
    station.raw.send(json.encode([3, number, {"status": "Accepted"}]))
    assert (await asked)["payload"] == {"status": "Accepted"}
    assert (await station.view())["evses"][0]["status"] == "Reserved"


@pytest.mark.parametrize("version", VERSIONS)
async def test_boot_and_status_in_one_burst(world: World, version: str) -> None:
    """Line 3: a boot and a status in one burst, the status before the boot's answer."""
    station = await world.station(version, boot=False)
    boot = (
        {"chargePointVendor": "Acme", "chargePointModel": "One"}
        if version == "1.6"
        else {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}}
    )
    answers = [
        station.begin("StatusNotification", station.status_payload("Available", at(0))),
        station.begin("BootNotification", boot),
        station.begin("StatusNotification", station.status_payload("Available", at(0), 2)),
        station.begin("Heartbeat", {}),
    ]
    frames = await asyncio.gather(*answers)
    assert [frame[0] for frame in frames] == [3, 3, 3, 3]
    assert len((await station.view())["evses"]) == 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_status_and_heartbeat_while_pending(world: World, version: str) -> None:
    """Line 3: also when Pending; heartbeats while Pending. 1.6 is silent on the answer; 2.x asks for SecurityError (B02)."""
    station = await world.station(version, boot=False, registration="pending")
    assert (await station.boot())["status"] == "Pending"
    frames = [
        await station.frame("StatusNotification", station.status_payload("Available", at(0))),
        await station.frame("Heartbeat", {}),
    ]
    if version == "1.6":
        assert [frame[0] for frame in frames] == [3, 3]
    else:
        assert [frame[2] for frame in frames] == ["SecurityError", "SecurityError"]
    assert station.close_code is None
    await world.rest.patch(f"/charging-stations/{station.id}", json={"registration": "accepted"})
    assert (await station.boot())["status"] == "Accepted"
    assert (await station.frame("StatusNotification", station.status_payload("Available", at(0))))[0] == 3


# -- line 4 and item 10: boots that never come -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_without_a_boot_is_served_and_asked_for_one(world: World, version: str) -> None:
    """Line 4, item 10: after a reconnect many send no BootNotification, some a Heartbeat first: trigger one, work without."""
    first = await world.station(version)
    charge = first.charge()
    await charge.start(1000, 0)
    first.raw.hang_up()
    station = charge.station = await world.plug(first.id, version)
    assert "currentTime" in await station.call("Heartbeat", {})
    await charge.update(1400, 10)
    assert (await station.until_called("TriggerMessage"))["requestedMessage"] == "BootNotification"
    assert (await station.boot("Triggered"))["status"] == "Accepted"
    await charge.end(1500, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["state"], one["flags"]) == (500, "closed", [])
    assert [name for name, _ in station.got] == ["TriggerMessage"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_trigger_after_a_reconnect_is_switchable(world: World, version: str) -> None:
    """api.md: what the server sends by itself after a boot is switchable per station."""
    quiet = await world.station(version, boot=False, settings={"trigger_boot": False})
    asked = await world.station(version, boot=False)
    await asked.until_called("TriggerMessage")  # both connected before that
    assert quiet.got == []
    assert (await quiet.view())["settings"] == {"trigger_boot": False}
    # and switched on again, at once
    await world.rest.patch(f"/charging-stations/{quiet.id}", json={"settings": {}})
    again = await world.plug(quiet.id, version)
    await again.until_called("TriggerMessage")


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_cannot_be_triggered_is_served(world: World, version: str) -> None:
    """Line 2 and 4: the trigger is refused, or never answered; nothing depends on it."""
    station = await world.station(version, boot=False)
    station.answers["TriggerMessage"] = lambda frame: [4, "-1", "NotSupported", LONG, {}]
    await station.until_called("TriggerMessage")
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.end(1500, 20)
    assert (await station.transaction())["energy_wh"] == 500


@pytest.mark.parametrize("version", VERSIONS)
async def test_rejected_station_is_left_alone(world: World, version: str) -> None:
    """Item 10: no commands before boot is accepted; OCPP 2.0.1 B03.FR.03: nothing is sent to a rejected station."""
    refused = await world.station(version, boot=False, registration="rejected")
    other = await world.station(version, boot=False)
    await other.until_called("TriggerMessage")
    assert refused.got == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_commands_wait_for_accepted_and_raw_calls_do_not(world: World, version: str) -> None:
    """Item 10: no commands before boot is accepted, raw calls excepted."""
    station = await world.station(version, boot=False, registration="pending")
    await station.boot()
    path = f"/charging-stations/{station.id}"
    command = await world.post(f"{path}/commands", {"type": "clear_cache"}, 202)
    assert command["state"] == "pending"
    get = ("GetConfiguration", {}) if version == "1.6" else ("GetTransactionStatus", {})
    station.answers[get[0]] = {} if version == "1.6" else {"messagesInQueue": False}
    assert (await ask(world, station, *get))["outcome"] == "callresult"
    assert station.asked() == [get[0]]
    assert (await world.get(f"/commands/{command['id']}"))["state"] == "pending"
    await world.rest.patch(path, json={"registration": "accepted"})
    assert (await station.boot())["status"] == "Accepted"
    done = await world.eventually(
        lambda: world.get(f"/commands/{command['id']}"), lambda seen: seen["state"] == "accepted"
    )
    assert done["action"] == "ClearCache"
    assert station.asked() == [get[0], "ClearCache"]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_what_was_asked_for_is_taken_while_pending(world: World, version: str) -> None:
    """Item 10: what B02 allows while Pending: what the CSMS triggers, the station may send."""
    station = await world.station(version, boot=False, registration="pending")
    await station.boot()
    await ask(world, station, "TriggerMessage", {"requestedMessage": "StatusNotification"})
    await station.status("Available", at(0))
    assert (await station.view())["evses"][0]["status"] == "Available"


# -- line 5: deflate, no subprotocol, long frames ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_half_of_them_offer_permessage_deflate(world: World, version: str) -> None:
    """Line 5: half of them offer permessage-deflate; a compressed session books the same energy."""
    station_id = await world.register()
    raw = await RawStation.dial(world.server.ocpp.ports[0])
    answer = await raw.upgrade(
        f"/ocpp/{station_id}",
        protocols=f"ocpp{version}",
        auth=f"{station_id}:{PASSWORD}".encode(),
        extensions="permessage-deflate; client_max_window_bits",
    )
    assert answer.status == 101
    assert "permessage-deflate" in answer.headers["sec-websocket-extensions"]
    station = Station(world, raw, station_id, version)
    charge = station.charge()

    async def compressed(call: tuple[str, dict[str, Any]], message_id: str) -> Any:
        compressor = zlib.compressobj(wbits=-15)
        data = compressor.compress(json.encode([2, message_id, *call])) + compressor.flush(zlib.Z_SYNC_FLUSH)
        answered = station.expect(message_id)
        raw.send(data[:-4], rsv=4)
        return (await asyncio.wait_for(answered, 30))[2]

    given = await compressed(charge.started(1000, 0), "1")
    if version == "1.6":
        charge.ocpp_id = str(given["transactionId"])
    await compressed(charge.ended(1500, 20), "2")
    assert (await station.transaction())["energy_wh"] == 500
    station._reading.cancel()
    raw.hang_up()


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_without_subprotocol_where_it_is_registered_so(world: World, version: str) -> None:
    """Line 5: some offer no subprotocol: taken where registered so, else let in and closed."""
    station_id = await world.register(settings={"assumed_version": version})
    station = await world.plug(station_id, version, protocols=None)
    assert (await station.boot())["status"] == "Accepted"
    assert (await station.view())["ocpp_version"] == version
    other = await world.plug(await world.register(), version, protocols=None)
    await other.until(lambda: other.close_code is not None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kib", [5, 30])
async def test_frames_of_5_to_30_kib(world: World, version: str, kib: int) -> None:
    """Line 5: frames of 5 to 30 KB (signed values, reports) are normal."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(0, 0)
    values = [sampled(version, n * 100, at(n), measurand="Energy.Active.Import.Register") for n in range(kib * 9)]
    await charge.update(0, kib * 9, meterValue=values)
    one = await station.transaction()
    assert one["energy_wh"] == (kib * 9 - 1) * 100
    report = {"vendorId": "Acme", "data": "x" * kib * 1024}
    assert (await station.call("DataTransfer", report))["status"] == "UnknownVendorId"


# -- line 6: passwords -------------------------------------------------------------------------------------------------------


HEX = "4f43415f4f4354545f61646d696e5f74"


@pytest.mark.parametrize(
    "presented", [HEX.encode(), HEX.upper().encode(), bytes.fromhex(HEX)], ids=["text", "upper", "bytes"]
)
async def test_16_password_in_all_forms_of_the_right_secret(world: World, presented: bytes) -> None:
    """Line 6: decoded bytes of the hex AuthorizationKey, the hex text, the string as configured."""
    station_id = "HEX-" + presented.hex()[:8]
    await world.post("/charging-stations", {"station_id": station_id, "password": HEX})
    station = await world.plug(station_id, "1.6", auth=station_id.encode() + b":" + presented)
    assert (await station.boot())["status"] == "Accepted"


@pytest.mark.parametrize(
    "presented",
    [PASSWORD.encode(), PASSWORD.encode().hex().encode(), PASSWORD.encode().hex().upper().encode()],
    ids=["as-configured", "hex", "upper-hex"],
)
async def test_16_password_that_was_configured_as_text(world: World, presented: bytes) -> None:
    """Line 6: one sends the string as configured, one the hex text of the AuthorizationKey that it was given."""
    station_id = await world.register()
    station = await world.plug(station_id, "1.6", auth=station_id.encode() + b":" + presented)
    assert (await station.boot())["status"] == "Accepted"


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_that_is_known_to_answer_late_is_waited_for(world: World, version: str) -> None:
    """ocpp.md, the wire: answer timeout per station."""
    slow, other = await world.station(version, boot=False), await world.station(version)
    rule = {
        "name": "slow_one",
        "does": "It answers late.",
        "source": "a test",
        "station": slow.id,
        "answer_within_s": {"ClearCache": 60},
    }
    try:
        assert (await world.rest.put("/quirks", json={"quirks": [rule]})).status_code == 200
        await slow.boot()
        for station in (slow, other):
            station.answers["ClearCache"] = None
        body = {"type": "clear_cache", "timeout_s": 0.5}
        waiting = asyncio.create_task(world.rest.post(f"/charging-stations/{slow.id}/commands?wait_s=30", json=body))
        await slow.until_called("ClearCache")
        given_up = await world.rest.post(f"/charging-stations/{other.id}/commands?wait_s=30", json=body)
        assert given_up.json()["state"] == "timed_out", given_up.text
        assert not waiting.done()
        (number,) = [frame[1] for frame in slow.frames if frame[0] == 2 and frame[2] == "ClearCache"]
        slow.raw.send(json.encode([3, number, {"status": "Accepted"}]))
        assert (await waiting).json()["state"] == "accepted"
    finally:
        await world.rest.put("/quirks", json={"quirks": []})


@pytest.mark.parametrize("version", VERSIONS)
async def test_wrong_and_missing_passwords_are_refused(world: World, version: str) -> None:
    """Line 6, item 18: of the right secret only; authenticate by default."""
    station_id = await world.register()
    for auth, status in ((f"{station_id}:{PASSWORD.upper()}".encode(), 401), (None, 401)):
        raw = await RawStation.dial(world.server.ocpp.ports[0])
        assert (await raw.upgrade(f"/ocpp/{station_id}", protocols=f"ocpp{version}", auth=auth)).status == status
        raw.hang_up()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("checks", [True, False], ids=["tls-1.2", "unchecked"])
async def test_station_that_is_tls_12_only_or_does_not_check_our_certificate(
    world: World, version: str, checks: bool
) -> None:
    """Line 6: one is TLS 1.2 only; one does not check our certificate."""
    station_id = await world.register(security_profile=2)
    context = ssl.create_default_context(cadata=world.authority.decode())
    if checks:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    port = world.server.places().ocpps_port
    raw = RawStation(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"))
    auth = f"{station_id}:{PASSWORD}".encode()
    assert (await raw.upgrade(f"/ocpp/{station_id}", protocols=f"ocpp{version}", auth=auth)).status == 101
    station = Station(world, raw, station_id, version)
    assert (await station.boot())["status"] == "Accepted"
    station._reading.cancel()
    raw.hang_up()


# -- item 8: reconnects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_close_of_the_old_socket_does_not_mark_the_new_one_offline(world: World, version: str) -> None:
    """Item 8: reconnects; the newest socket owns the station."""
    old = await world.station(version)
    new = await world.plug(old.id, version)
    await old.until(lambda: old.close_code is not None)
    assert old.close_code == 1008
    old.raw.hang_up()
    await new.boot()
    assert (await new.view())["connected"]
    assert (await ask(world, new, "ClearCache", {}))["outcome"] == "callresult"
    await new.leave()
    assert not (await new.view())["connected"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_second_socket_from_elsewhere_raises_an_alert(world: World, version: str) -> None:
    """Item 18: a second socket with the same id is an event to alert on; the station itself coming back is none."""
    own = await world.station(version)
    back = await world.plug(own.id, version)
    await back.boot()
    elsewhere = RawStation(
        *await asyncio.open_connection("127.0.0.1", world.server.ocpp.ports[0], local_addr=("127.0.0.2", 0))
    )
    auth = f"{own.id}:{PASSWORD}".encode()
    assert (await elsewhere.upgrade(f"/ocpp/{own.id}", protocols=f"ocpp{version}", auth=auth)).status == 101
    await back.until(lambda: back.close_code is not None)

    async def alerts() -> Any:
        return (await world.get("/alerts", station_id=own.id, kind="security_event"))["items"]

    (alert,) = await world.eventually(alerts, bool, 20)
    assert (alert["ident"], alert["severity"]) == ("SecondConnection", "warning")
    page = await world.get("/security-events", station_id=own.id, type="SecondConnection")
    assert page["items"][0]["remote_address"] == "127.0.0.2"
    elsewhere.hang_up()


async def test_dead_socket_is_found_by_ping(world: World) -> None:
    """Item 8: dead sockets are found by ping, not by the next user."""
    station = await world.station("1.6")
    station._reading.cancel()  # reads nothing any more, answers no ping, and never closes
    await world.eventually(station.view, lambda seen: not seen["connected"])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_transaction_goes_on_over_a_reconnect_in_the_middle_of_a_message(world: World, version: str) -> None:
    """Item 8: the socket dies with half a frame sent; the whole one counts once."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    action, payload = charge.updated(1300, 10)
    text = json.encode([2, "half", action, payload])
    station.raw.writer.write(b"\x81\xfe" + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text[:100])
    await station.raw.writer.drain()
    station.raw.hang_up()
    again = charge.station = await world.plug(station.id, version)
    await again.call(action, payload, "half")
    await charge.end(1500, 20)
    assert (await again.transaction())["energy_wh"] == 500
    assert len(await again.events()) == 3
