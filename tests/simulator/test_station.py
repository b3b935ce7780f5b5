"""Virtual stations against a CSMS of a hundred lines, over real sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.simulator import FAST, Fault, HandshakeError, Ledger, StopReason, VirtualStation
from chargeplane.simulator.car import CAR_MODELS, Car
from tests.simulator.csms import Csms, running_csms

VERSIONS = ["1.6", "2.0.1", "2.1"]
TWO_X = ["2.0.1", "2.1"]


@pytest.fixture
async def csms() -> AsyncIterator[Csms]:
    async with running_csms() as running:
        yield running


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def online(csms: Csms, version: str, **arguments: Any) -> VirtualStation:
    arguments.setdefault("seed", 7)
    station = VirtualStation(csms.url, "CP-1", version, **arguments)
    await station.connect()
    await station.boot()
    return station


def energies(csms: Csms) -> list[Decimal]:
    """Energy registers in the order they came: 1.6 start and stop, 2.x first sample of every event that has one."""
    out = []
    for received in csms.received:
        payload = received.payload
        if received.action == "StartTransaction":
            out.append(Decimal(payload["meterStart"]))
        elif received.action == "StopTransaction":
            out.append(Decimal(payload["meterStop"]))
        elif received.action == "TransactionEvent" and "meterValue" in payload:
            out.append(Decimal(str(payload["meterValue"][0]["sampledValue"][0]["value"])))
    return out


def stops(csms: Csms) -> list[dict[str, Any]]:
    """Stops of transactions."""
    ended = [e for e in csms.of("TransactionEvent") if e["eventType"] == "Ended"]
    return csms.of("StopTransaction") + ended


def starts(csms: Csms) -> list[dict[str, Any]]:
    """Starts of transactions."""
    return csms.of("StartTransaction") + [e for e in csms.of("TransactionEvent") if e["eventType"] == "Started"]


async def test_session_delivers_its_energy_to_the_last_wh(csms: Csms, version: str) -> None:
    station = await online(csms, version, evses=2)
    session = await station.charge(id_token="TAG1", energy_wh=12_345, meter_interval_s=300, evse_id=2)
    assert session.energy_wh == Decimal(12_345)
    assert session.acknowledged
    await station.drain(everything=True)
    registers = energies(csms)
    assert registers[-1] - registers[0] == 12_345
    assert registers == sorted(registers)
    if version == "1.6":
        (stop,) = csms.of("StopTransaction")
        assert str(stop["transactionId"]) == session.transaction_id
        assert {m["transactionId"] for m in csms.of("MeterValues")} == {stop["transactionId"]}
        assert [s["status"] for s in csms.of("StatusNotification") if s["connectorId"] == 2] == [
            "Available",
            "Preparing",
            "Charging",
            "Finishing",
            "Available",
        ]
    else:
        events = csms.of("TransactionEvent")
        assert [e["seqNo"] for e in events] == list(range(len(events)))
        assert {e["transactionInfo"]["transactionId"] for e in events} == {session.transaction_id}
        assert [e["eventType"] for e in events] == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
        assert [s["connectorStatus"] for s in csms.of("StatusNotification") if s["evseId"] == 2] == [
            "Available",
            "Occupied",
            "Available",
        ]
    await station.close()


async def test_second_session_of_an_evse_is_as_exact(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    for energy in (1, 999, 7_777):
        assert (await station.charge(id_token="T", energy_wh=energy)).energy_wh == energy
    registers = [Decimal(s["meterStart"]) for s in csms.of("StartTransaction")] or [
        Decimal(str(e["meterValue"][0]["sampledValue"][0]["value"])) for e in starts(csms)
    ]
    assert [b - a for a, b in itertools.pairwise(registers)] == [1, 999]
    await station.close()


async def test_refused_token_does_not_start(csms: Csms, version: str) -> None:
    csms.id_tokens["BAD"] = "Blocked"
    station = await online(csms, version)
    session = await station.charge(id_token="BAD", energy_wh=1000)
    assert session.accepted is False
    assert session.status == "Blocked"
    assert starts(csms) == []
    assert station.evse(1).status == "Available"
    await station.close()


async def test_token_refused_in_the_answer_to_the_start_ends_the_transaction(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    station.local_list = {"tag": "Accepted"}
    station.settings.change(by("LocalPreAuthorize"), "true")
    csms.id_tokens["TAG"] = "Invalid"
    session = await station.charge(id_token="TAG", energy_wh=1000)
    assert session.stop_reason is StopReason.DEAUTHORIZED
    (stop,) = stops(csms)
    assert (stop.get("reason") or stop["transactionInfo"]["stoppedReason"]) == "DeAuthorized"
    await station.close()


def by(key: str) -> Any:
    from chargeplane.simulator.settings import by_key

    return by_key(key)


async def test_boot_waits_out_pending_and_rejected(csms: Csms, version: str) -> None:
    csms.boot_status = ["Pending", "Rejected", "Accepted"]
    csms.boot_interval = 0
    station = await online(csms, version, options=replace(FAST, boot_retry_s=0.01))
    await station.charge(id_token="T", energy_wh=10)
    actions = [r.action for r in csms.received]
    assert actions[:3] == ["BootNotification"] * 3
    assert "BootNotification" not in actions[3:]
    await station.close()


async def test_nothing_is_said_before_the_boot_is_accepted(csms: Csms) -> None:
    csms.boot_status = ["Pending"]
    csms.boot_interval = 100
    station = VirtualStation(csms.url, "CP-1", "1.6", seed=1)
    await station.connect()
    await csms.until(lambda: csms.of("BootNotification"))
    station.plug_in()
    assert (await csms.call("CP-1", "TriggerMessage", {"requestedMessage": "Heartbeat"}))["status"] == "Accepted"
    await csms.until(lambda: csms.of("Heartbeat"))
    assert {r.action for r in csms.received} == {"BootNotification", "Heartbeat"}
    await station.close()


async def test_heartbeats_come_at_the_interval_the_csms_gave(csms: Csms) -> None:
    csms.boot_interval = 1
    station = await online(csms, "2.0.1")
    await csms.until(lambda: csms.of("Heartbeat"))
    await station.close()


async def test_password_goes_into_the_handshake(csms: Csms) -> None:
    station = await online(csms, "1.6", password="s3cr:et")
    assert csms.handshakes[0]["authorization"] == "CP-1:s3cr:et"
    await station.close()


async def test_refused_handshake_tells_the_status(csms: Csms) -> None:
    csms.status_code = 401
    with pytest.raises(HandshakeError, match="401") as caught:
        await VirtualStation(csms.url, "CP-1").connect()
    assert caught.value.status == 401


async def test_nobody_listening_is_an_error_with_a_sentence() -> None:
    with pytest.raises(HandshakeError, match="CP-1"):
        await VirtualStation("ws://127.0.0.1:1/ocpp", "CP-1").connect()


async def test_what_happens_offline_is_replayed_in_order(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    station.go_offline()
    await csms.until(lambda: not csms.sockets)
    session = await station.charge(id_token="T", energy_wh=3_000, meter_interval_s=60)
    assert session.energy_wh == 3_000
    assert not session.acknowledged
    before = len(csms.received)
    station.go_online()
    await station.drain()
    assert session.acknowledged
    registers = energies(csms)
    assert registers[-1] - registers[0] == 3_000
    replayed = [r for r in csms.received[before:] if r.action not in ("StatusNotification", "Heartbeat")]
    assert "BootNotification" not in {r.action for r in replayed}
    if version == "1.6":
        assert replayed[0].action == "StartTransaction"
        assert replayed[-1].action == "StopTransaction"
        assert session.transaction_id == str(replayed[-1].payload["transactionId"])
    else:
        assert all(r.payload["offline"] is True for r in replayed)
        assert [r.payload["seqNo"] for r in replayed] == list(range(len(replayed)))
    await station.close()


async def test_unanswered_message_is_sent_again_as_it_was_after_reconnect(csms: Csms, version: str) -> None:
    ledger = Ledger()
    station = await online(csms, version, record=ledger.add)
    csms.mute = {"StopTransaction", "TransactionEvent"} if version != "1.6" else {"StopTransaction"}
    task = asyncio.create_task(station.charge(id_token="T", energy_wh=100))
    await csms.until(lambda: stops(csms) if version == "1.6" else csms.of("TransactionEvent"))
    csms.mute = set()
    unanswered = csms.received[-1]
    station.drop()
    await task
    await station.drain(everything=True)
    again = [r for r in csms.received if r.message_id == unanswered.message_id]
    assert len(again) == 2
    assert again[0].frame == again[1].frame
    assert ledger.unacknowledged() == []
    await station.close()


async def test_message_without_answer_is_sent_again_on_the_same_socket(csms: Csms, version: str) -> None:
    station = await online(csms, version, options=replace(FAST, answer_timeout_s=0.05))
    action = "StartTransaction" if version == "1.6" else "TransactionEvent"
    csms.mute = {action}
    task = asyncio.create_task(station.charge(id_token="T", energy_wh=100))
    await csms.until(lambda: len(csms.of(action)) == 2)
    csms.mute = set()
    assert (await task).energy_wh == 100
    same = [r.frame for r in csms.received if r.action == action][:2]
    assert same[0] == same[1]
    assert len(csms.handshakes) == 1
    await station.close()


async def test_callerror_is_retried_and_then_given_up(csms: Csms) -> None:
    station = await online(csms, "1.6")
    csms.refuse = {"StopTransaction": 2, "StartTransaction": 0}
    session = await station.charge(id_token="T", energy_wh=100)
    assert session.acknowledged
    assert len(csms.of("StopTransaction")) == 3
    csms.refuse = {"StopTransaction": 3}
    session = await station.charge(id_token="T", energy_wh=100)
    assert not session.acknowledged
    assert station.unsent == 0
    await station.close()


async def test_power_loss_ends_the_transaction_with_the_register(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    station.plug_in(1, Car(CAR_MODELS[1], soc_percent=10))
    session = await station.start_transaction("T")
    await station.deliver(session, 2_000, meter_interval_s=60)
    station.power_loss(outage_s=0.02)
    await station.wait_online()
    await station.stop_transaction(session, StopReason.POWER_LOSS)
    await station.drain()
    assert session.energy_wh == 2_000
    (stop,) = stops(csms)
    assert (stop.get("reason") or stop["transactionInfo"]["stoppedReason"]) == "PowerLoss"
    assert len(csms.of("BootNotification")) == 2
    await station.close()


async def test_meter_that_restarts_books_the_sum_of_the_rises(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    station.plug_in(1, Car(CAR_MODELS[1], soc_percent=10))
    session = await station.start_transaction("T")
    await station.deliver(session, 2_000, meter_interval_s=60)
    await station.meter_values()
    station.power_loss(outage_s=0.02, resumes=True, meter_restarts=True)
    await station.wait_online()
    await station.deliver(session, 500, meter_interval_s=60)
    await station.stop_transaction(session)
    assert session.energy_wh == 2_500
    assert energies(csms)[-1] == 500
    await station.close()


async def test_power_loss_in_a_running_visit_ends_it(csms: Csms, version: str) -> None:
    station = await online(csms, version, speed=36_000.0)
    task = asyncio.create_task(station.charge(id_token="T", meter_interval_s=60, energy_wh=30_000))
    await csms.until(lambda: len(csms.of("MeterValues") + csms.of("TransactionEvent")) > 5)
    station.power_loss(outage_s=0.02)
    session = await task
    await station.drain()
    assert session.stop_reason is StopReason.POWER_LOSS
    registers = energies(csms)
    assert registers[-1] - registers[0] == session.energy_wh
    await station.close()


async def test_remote_start_and_stop(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    if version == "1.6":
        assert await csms.call("CP-1", "RemoteStartTransaction", {"idTag": "APP", "connectorId": 1}) == {
            "status": "Accepted"
        }
    else:
        answer = await csms.call(
            "CP-1",
            "RequestStartTransaction",
            {"idToken": {"idToken": "APP", "type": "Central"}, "remoteStartId": 42, "evseId": 1},
        )
        assert answer == {"status": "Accepted"}
    session = station.evse(1).session
    assert session is not None
    await csms.until(lambda: session.energy_wh == 1_000 and session.transaction_id is not None)
    if version == "1.6":
        assert session.transaction_id is not None
        answer = await csms.call("CP-1", "RemoteStopTransaction", {"transactionId": int(session.transaction_id)})
    else:
        assert starts(csms)[0]["transactionInfo"]["remoteStartId"] == 42
        assert starts(csms)[0]["idToken"] == {"idToken": "APP", "type": "Central"}
        answer = await csms.call("CP-1", "RequestStopTransaction", {"transactionId": session.transaction_id})
    assert answer == {"status": "Accepted"}
    await session.ended()
    await station.drain()
    (stop,) = stops(csms)
    assert (stop.get("reason") or stop["transactionInfo"]["stoppedReason"]) == "Remote"
    await station.close()


async def test_reset_reboots_for_real(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    kind = {"type": "Hard"} if version == "1.6" else {"type": "Immediate"}
    task = asyncio.create_task(station.charge(id_token="T", duration_s=1e9, meter_interval_s=60))
    await csms.until(lambda: len(csms.of("MeterValues") + csms.of("TransactionEvent")) > 3)
    assert await csms.call("CP-1", "Reset", kind) == {"status": "Accepted"}
    session = await task
    assert session.stop_reason is StopReason.HARD_RESET
    await csms.until(lambda: len(csms.of("BootNotification")) == 2)
    if version != "1.6":
        assert csms.of("BootNotification")[1]["reason"] == "RemoteReset"
    await station.wait_online()
    await station.drain()
    assert len(stops(csms)) == 1
    await station.close()


async def test_reset_on_idle_waits_for_the_transaction(csms: Csms) -> None:
    station = await online(csms, "2.0.1")
    station.plug_in()
    session = await station.start_transaction("T")
    assert await csms.call("CP-1", "Reset", {"type": "OnIdle"}) == {"status": "Scheduled"}
    await station.deliver(session, 500)
    assert len(csms.of("BootNotification")) == 1
    await station.stop_transaction(session)
    await csms.until(lambda: len(csms.of("BootNotification")) == 2)
    assert csms.of("BootNotification")[1]["reason"] == "ScheduledReset"
    await station.close()


async def test_charging_profile_limits_the_car(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    schedule: dict[str, Any] = {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10.0, "numberPhases": 3}],
    }
    if version == "1.6":
        payload: dict[str, Any] = {
            "connectorId": 1,
            "csChargingProfiles": {
                "chargingProfileId": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxDefaultProfile",
                "chargingProfileKind": "Relative",
                "chargingSchedule": schedule,
            },
        }
        clear = {"id": 1}
    else:
        payload = {
            "evseId": 1,
            "chargingProfile": {
                "id": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxDefaultProfile",
                "chargingProfileKind": "Relative",
                "chargingSchedule": [{"id": 1, **schedule}],
            },
        }
        clear = {"chargingProfileId": 1}
    assert await csms.call("CP-1", "SetChargingProfile", payload) == {"status": "Accepted"}
    evse = station.evse(1)
    station.plug_in(1, Car(CAR_MODELS[3], soc_percent=10))
    session = await station.start_transaction("T")
    await station.deliver(session, duration_s=60)
    assert evse.meter.power_w == 10 * 230 * 3
    composite = await csms.call(
        "CP-1", "GetCompositeSchedule", {"connectorId" if version == "1.6" else "evseId": 1, "duration": 600}
    )
    schedule_of = composite.get("chargingSchedule") or composite["schedule"]
    assert schedule_of["chargingSchedulePeriod"][0]["limit"] == 6900
    assert await csms.call("CP-1", "ClearChargingProfile", clear) == {"status": "Accepted"}
    await station.deliver(session, duration_s=60)
    assert evse.meter.power_w == 22_080
    await station.close()


async def test_every_call_of_the_version_is_answered_in_its_types(csms: Csms, version: str) -> None:
    """An empty CALL of each action gets an answer: typed, or a CALLERROR for what the payload lacks."""
    from chargeplane.ocpp.catalogue import CATALOGUE
    from chargeplane.ocpp.versions import OcppVersion

    station = await online(csms, version, options=replace(FAST, reboot_s=60))
    for action, spec in CATALOGUE[OcppVersion(version)].items():
        if spec.from_csms and spec.response is not None:
            answer = await csms.call("CP-1", action, {})
            assert isinstance(answer, dict) or answer[0] == 4, (action, answer)
    assert await csms.call("CP-1", "DataTransfer", {"vendorId": "nobody"}) == {"status": "UnknownVendorId"}
    await station.close()


async def test_configuration_is_read_and_changed_in_1_6(csms: Csms) -> None:
    station = await online(csms, "1.6")
    answer = await csms.call("CP-1", "GetConfiguration", {"key": ["heartbeatinterval", "NoSuchKey"]})
    assert answer["configurationKey"] == [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]
    assert answer["unknownKey"] == ["NoSuchKey"]
    change = {"key": "MeterValuesSampledData", "value": "Energy.Active.Import.Register,SoC"}
    assert await csms.call("CP-1", "ChangeConfiguration", change) == {"status": "Accepted"}
    await station.charge(id_token="T", energy_wh=2_000, meter_interval_s=60)
    measurands = [s["measurand"] for s in csms.of("MeterValues")[0]["meterValue"][0]["sampledValue"]]
    assert measurands == ["Energy.Active.Import.Register", "SoC"]
    for key, value, status in (
        ("HeartbeatInterval", "soon", "Rejected"),
        ("GetConfigurationMaxKeys", "1", "Rejected"),
        ("NoSuchKey", "1", "NotSupported"),
    ):
        assert await csms.call("CP-1", "ChangeConfiguration", {"key": key, "value": value}) == {"status": status}
    await station.close()


@pytest.mark.parametrize("version", TWO_X)
async def test_base_report_comes_in_parts(csms: Csms, version: str) -> None:
    station = await online(csms, version, evses=2)
    answer = await csms.call("CP-1", "GetBaseReport", {"requestId": 5, "reportBase": "FullInventory"})
    assert answer == {"status": "Accepted"}
    await csms.until(lambda: any(not part.get("tbc") for part in csms.of("NotifyReport")))
    parts = csms.of("NotifyReport")
    assert [part["seqNo"] for part in parts] == list(range(len(parts)))
    assert len(parts) > 1
    rows = [row for part in parts for row in part["reportData"]]
    assert {row["component"]["name"] for row in rows} >= {"EVSE", "Connector", "OCPPCommCtrlr"}
    await station.close()


async def test_new_password_is_used_for_the_next_connection(csms: Csms) -> None:
    station = await online(csms, "1.6", password="old-password-0001")
    change = {"key": "AuthorizationKey", "value": "new-password-0002"}
    assert await csms.call("CP-1", "ChangeConfiguration", change) == {"status": "Accepted"}
    await csms.until(lambda: len(csms.handshakes) == 2)
    assert csms.handshakes[1]["authorization"] == "CP-1:new-password-0002"
    await station.close()


async def test_reservation_keeps_the_evse_for_its_driver(csms: Csms, version: str) -> None:
    station = await online(csms, version)
    until = "2036-01-01T00:00:00Z"
    if version == "1.6":
        payload: dict[str, Any] = {"connectorId": 1, "expiryDate": until, "idTag": "mine", "reservationId": 9}
    else:
        token = {"idToken": "mine", "type": "ISO14443"}
        payload = {"id": 9, "expiryDateTime": until, "idToken": token, "evseId": 1}
    assert await csms.call("CP-1", "ReserveNow", payload) == {"status": "Accepted"}
    assert station.evse(1).status == "Reserved"
    other = await station.charge(id_token="OTHER", energy_wh=10)
    assert other.accepted is False
    mine = await station.charge(id_token="MINE", energy_wh=10)
    assert mine.energy_wh == 10
    assert starts(csms)[0]["reservationId"] == 9
    assert await csms.call("CP-1", "CancelReservation", {"reservationId": 9}) == {"status": "Rejected"}
    await station.close()


async def test_lost_stop_is_never_sent(csms: Csms, version: str) -> None:
    station = await online(csms, version, faults=frozenset({Fault.LOST_STOP}))
    await station.charge(id_token="T", energy_wh=1_000)
    assert station.evse(1).status == "Available"
    assert stops(csms) == []
    await station.close()


async def test_duplicates_are_the_same_frame(csms: Csms, version: str) -> None:
    station = await online(csms, version, faults=frozenset({Fault.DUPLICATE_MESSAGES}))
    await station.charge(id_token="T", energy_wh=100)
    action = "StopTransaction" if version == "1.6" else "TransactionEvent"
    frames = [r.frame for r in csms.received if r.action == action]
    assert frames[0] == frames[1]
    assert len(frames) % 2 == 0
    await station.close()


@pytest.mark.parametrize("version", TWO_X)
async def test_seq_no_faults(csms: Csms, version: str) -> None:
    station = await online(csms, version, faults=frozenset({Fault.SEQ_NO_ZERO}))
    await station.charge(id_token="T", energy_wh=5_000, meter_interval_s=60)
    assert {e["seqNo"] for e in csms.of("TransactionEvent")} == {0}
    await station.close()


async def test_silent_station_comes_back_with_what_it_has(csms: Csms) -> None:
    station = await online(csms, "2.0.1")
    station.go_silent()
    session = asyncio.create_task(station.charge(id_token="T", energy_wh=100))
    await asyncio.sleep(0)
    assert csms.of("TransactionEvent") == []
    station.speak_again()
    assert (await session).energy_wh == 100
    await station.close()


async def test_garbage_can_be_sent(csms: Csms) -> None:
    station = await online(csms, "1.6")
    station.send_raw(b'[2,"1","StopTransaction",{"transactionId":,}]')
    await csms.until(lambda: [r for r in csms.received if r.action == "garbage"])
    await station.close()


async def test_equal_seeds_behave_equally(csms: Csms, version: str) -> None:
    shapes = []
    for _ in range(2):
        csms.received.clear()
        station = await online(csms, version, seed=99)
        await station.charge(id_token="T", energy_wh=9_000, meter_interval_s=60)
        await station.close()
        shapes.append([(r.message_id, r.action, _without_time(r.payload)) for r in csms.received])
    if version == "1.6":
        for shape in shapes:
            for _, _, payload in shape:
                payload.pop("transactionId", None)
    assert shapes[0] == shapes[1]


def _without_time(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_time(item) for key, item in value.items() if key != "timestamp"}
    if isinstance(value, list):
        return [_without_time(item) for item in value]
    return value


class _SlowToNotice(VirtualStation):
    """Learns late that its socket is open: by then it may be lost again."""

    __slots__ = ()

    async def _open(self) -> None:
        await super()._open()
        await asyncio.sleep(0.1)


async def test_socket_lost_while_it_was_being_opened_comes_back(csms: Csms) -> None:
    station = _SlowToNotice(csms.url, "CP-1", "2.0.1", seed=7)
    station.start()
    await station.boot()
    station.drop()
    async with asyncio.timeout(30):
        while station.counters.connects < 2:
            await asyncio.sleep(0.005)
    await station.close()
