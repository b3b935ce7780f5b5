"""OCPP over a station's socket: calls of the station, calls of ours, what cannot be understood, who owns the station."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from msgspec import json, structs

from chargeplane.app.ports import CloseReason, StationLink
from chargeplane.domain.commands import CallOutcomeKind, CommandState, Reset, Start, Trigger
from chargeplane.domain.messages import (
    Boot,
    ConnectorStatus,
    IdToken,
    MeterReport,
    Registration,
    TransactionReport,
    Unusable,
)
from chargeplane.edges.ocpp_server import OcppServer
from chargeplane.kernel.errors import InvalidInputError, RuleError
from chargeplane.kernel.ids import StationKey
from tests.support.raw_station import PING, TEXT, RawStation
from tests.support.station_gateway import ListLog, MemoryGateway

Door = Callable[..., Awaitable[OcppServer]]
Dial = Callable[[OcppServer], Awaitable[RawStation]]

BOOT_16 = {"chargePointVendor": "Acme", "chargePointModel": "One"}
BOOT_2X = {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}}
STATUS_16 = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
STATUS_2X = {"timestamp": "2026-01-31T12:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
START = {"connectorId": 1, "idTag": "TAG", "meterStart": 100, "timestamp": "2026-01-31T12:00:00Z"}
EVENT = {
    "eventType": "Started",
    "timestamp": "2026-01-31T12:00:00Z",
    "triggerReason": "Authorized",
    "seqNo": 0,
    "transactionInfo": {"transactionId": "t1"},
    "idToken": {"idToken": "TAG", "type": "ISO14443"},
}


class Plugged:
    """A station let in: its raw socket, its key, its link."""

    def __init__(self, station: RawStation, key: StationKey, link: StationLink, server: OcppServer) -> None:
        self.station = station
        self.key = key
        self.link = link
        self.server = server


@pytest.fixture
def plug(door: Door, dial: Dial, gateway: MemoryGateway) -> Callable[..., Awaitable[Plugged]]:
    async def connect(
        version: str = "1.6",
        *,
        station_id: str = "CS1",
        registration: Registration = Registration.ACCEPTED,
        server: OcppServer | None = None,
        **settings: object,
    ) -> Plugged:
        known = gateway.find(None, station_id)
        key = known.key if known is not None else gateway.add(station_id, registration=registration)
        server = server or await door(**settings)
        station = await dial(server)
        before = gateway.actors[key].link if key in gateway.actors else None
        assert (await station.upgrade(f"/ocpp/{station_id}", protocols=f"ocpp{version}")).status == 101
        await gateway.until(lambda: key in gateway.actors and gateway.actors[key].link not in (None, before))
        return Plugged(station, key, gateway.link(key), server)

    return connect


Plug = Callable[..., Awaitable[Plugged]]


@pytest.mark.parametrize(("version", "boot"), [("1.6", BOOT_16), ("2.0.1", BOOT_2X), ("2.1", BOOT_2X)])
async def test_boot_is_answered_in_every_version(
    plug: Plug, gateway: MemoryGateway, version: str, boot: object
) -> None:
    cs = await plug(version)
    answer = await cs.station.call("b1", "BootNotification", boot)
    assert answer[:2] == [3, "b1"]
    assert answer[2] == {"currentTime": "2026-01-31T12:00:00.000Z", "interval": 300, "status": "Accepted"}
    received = gateway.actors[cs.key].messages[0]
    assert isinstance(received.message, Boot)
    assert received.message.vendor == "Acme"
    assert (received.message_id, received.action) == ("b1", "BootNotification")
    assert json.decode(received.payload) == boot
    assert len(received.content_hash) == 16
    assert abs((datetime.now(UTC) - received.received_at).total_seconds()) < 10


async def test_transaction_in_1_6_gets_the_id_the_app_assigned(plug: Plug) -> None:
    cs = await plug()
    answer = await cs.station.call("s", "StartTransaction", START)
    assert answer == [3, "s", {"idTagInfo": {"status": "Accepted"}, "transactionId": 4711}]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_transaction_event_is_answered(plug: Plug, gateway: MemoryGateway, version: str) -> None:
    cs = await plug(version)
    answer = await cs.station.call("e", "TransactionEvent", EVENT)
    assert answer == [3, "e", {"idTokenInfo": {"status": "Accepted"}}]
    assert isinstance(gateway.actors[cs.key].messages[0].message, TransactionReport)


async def test_nothing_is_answered_before_the_commit(plug: Plug, gateway: MemoryGateway) -> None:
    cs = await plug()
    gateway.held = True
    cs.station.send(json.encode([2, "1", "StatusNotification", STATUS_16]))
    await gateway.heard(1)
    # A heartbeat needs no commit and overtakes; so it also shows that nothing was sent before it.
    assert (await cs.station.call("2", "Heartbeat", {}))[1] == "2"
    gateway.release()
    assert await cs.station.message() == [3, "1", {}]


async def test_repeated_frame_gets_the_stored_answer_and_is_taken_once(plug: Plug, gateway: MemoryGateway) -> None:
    cs = await plug()
    first = await cs.station.call("1", "StartTransaction", START)
    assert await cs.station.call("1", "StartTransaction", START) == first
    assert len(gateway.actors[cs.key].messages) == 1
    await cs.station.call("1", "StartTransaction", {**START, "meterStart": 101})
    assert len(gateway.actors[cs.key].messages) == 2


async def test_calls_cross_in_both_directions(plug: Plug) -> None:
    cs = await plug()
    ours = asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 5))
    opcode, sent, _ = await cs.station.read()
    assert opcode == TEXT
    kind, message_id, action, payload = json.decode(sent)
    assert (kind, action, payload) == (2, "ClearCache", {})
    assert (await cs.station.call("1", "StatusNotification", STATUS_16))[:2] == [3, "1"]
    assert (await cs.station.call("2", "Heartbeat", {}))[:2] == [3, "2"]
    cs.station.send(json.encode([3, message_id, {"status": "Accepted"}]))
    outcome = await ours
    assert outcome.outcome is CallOutcomeKind.CALLRESULT
    assert outcome.message_id == message_id
    assert json.decode(outcome.payload or b"") == {"status": "Accepted"}
    assert outcome.latency_ms is not None


async def test_second_call_waits_for_first_answer(plug: Plug) -> None:
    cs = await plug()
    first = asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 5))
    second = asyncio.ensure_future(cs.link.call("Reset", b'{"type":"Soft"}', 5))
    call = await cs.station.message()
    assert call[2] == "ClearCache"
    # Had the second been sent, it would stand before this answer.
    assert (await cs.station.call("1", "Heartbeat", {}))[:2] == [3, "1"]
    cs.station.send(json.encode([4, call[1], "InternalError", "no\ncache " + "x" * 300, {"a": 1}]))
    outcome = await first
    assert outcome.outcome is CallOutcomeKind.CALLERROR
    assert outcome.error_code == "InternalError"
    assert (outcome.error_description or "").startswith("no\ncache")
    assert json.decode(outcome.error_details or b"") == {"a": 1}
    call = await cs.station.message()
    assert call[2] == "Reset"
    cs.station.send(json.encode([3, call[1], {"status": "Accepted"}]))
    assert (await second).outcome is CallOutcomeKind.CALLRESULT


async def test_timeout_counts_from_sending_and_late_answer_is_dropped(plug: Plug) -> None:
    cs = await plug()
    first = asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 0.1))
    second = asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 5))
    late = await cs.station.message()
    assert (await first).outcome is CallOutcomeKind.TIMEOUT
    call = await cs.station.message()
    cs.station.send(json.encode([3, late[1], {"status": "Rejected"}]))
    cs.station.send(json.encode([3, call[1], {"status": "Accepted"}]))
    outcome = await second
    assert json.decode(outcome.payload or b"") == {"status": "Accepted"}


async def test_call_ends_at_once_when_the_socket_closes(plug: Plug, gateway: MemoryGateway) -> None:
    cs = await plug()
    calls = [asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 60)) for _ in range(2)]
    await cs.station.message()
    cs.station.hang_up()
    assert [(await call).outcome for call in calls] == [CallOutcomeKind.DISCONNECTED] * 2
    assert (await cs.link.call("ClearCache", b"{}", 60)).outcome is CallOutcomeKind.DISCONNECTED


async def test_call_whose_caller_gave_up_is_never_sent(plug: Plug) -> None:
    cs = await plug()
    first = asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 5))
    given_up = asyncio.ensure_future(cs.link.call("Reset", b'{"type":"Hard"}', 5))
    third = asyncio.ensure_future(cs.link.call("GetConfiguration", b"{}", 5))
    call = await cs.station.message()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    cs.station.send(json.encode([3, call[1], {"status": "Accepted"}]))
    await first
    call = await cs.station.message()
    assert call[2] == "GetConfiguration"
    cs.station.send(json.encode([3, call[1], {}]))
    await third


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Nonsense", b"{}"),
        ("Heartbeat", b"{}"),
        ("Reset", b'{"type":"Warm"}'),
        ("Reset", b'{"type":"Soft","extra":1}'),
        ("Reset", b"[]"),
        ("Reset", b"{"),
    ],
)
async def test_raw_call_that_fails_the_schema_is_not_sent(plug: Plug, action: str, payload: bytes) -> None:
    cs = await plug()
    with pytest.raises(InvalidInputError) as raised:
        await cs.link.call(action, payload, 5)
    assert raised.value.fields


async def test_raw_call_goes_out_as_it_was_given(plug: Plug) -> None:
    cs = await plug("2.0.1")
    payload = b'{"evseId":99,"connectorId":7}'
    call = asyncio.ensure_future(cs.link.call("UnlockConnector", payload, 5))
    _, sent, _ = await cs.station.read()
    assert sent.endswith(b',"UnlockConnector",' + payload + b"]")
    cs.station.send(json.encode([3, json.decode(sent)[1], {"status": "UnknownConnector"}]))
    assert (await call).outcome is CallOutcomeKind.CALLRESULT


@pytest.mark.parametrize(
    ("version", "action"), [("1.6", "RemoteStartTransaction"), ("2.0.1", "RequestStartTransaction")]
)
async def test_command_is_spoken_in_the_version_of_the_socket(plug: Plug, version: str, action: str) -> None:
    cs = await plug(version)
    command = Start(id_token=IdToken(value="TAG"), evse_id=1, remote_start_id=5)
    ended = asyncio.ensure_future(cs.link.command(command, 5))
    call = await cs.station.message()
    assert call[2] == action
    cs.station.send(json.encode([3, call[1], {"status": "Rejected"}]))
    outcome = await ended
    assert outcome.state is CommandState.REJECTED
    assert outcome.status == "Rejected"
    assert outcome.action == action


async def test_command_that_the_version_lacks_is_refused_with_a_sentence(plug: Plug) -> None:
    cs = await plug()
    with pytest.raises(RuleError, match=r"1\.6"):
        await cs.link.command(Reset(evse_id=1), 5)


async def test_newest_socket_owns_the_station_and_the_older_ones_close_changes_nothing(
    plug: Plug, gateway: MemoryGateway
) -> None:
    old = await plug()
    gateway.held = True
    old.station.send(json.encode([2, "1", "StatusNotification", STATUS_16]))
    await gateway.heard(1)
    new = await plug(server=old.server)
    assert await old.station.close_code() == 1008
    await gateway.until(lambda: old.link in gateway.gone)
    assert gateway.link(old.key) is new.link
    gateway.release()
    assert (await new.station.call("1", "StatusNotification", STATUS_16))[:2] == [3, "1"]


async def test_one_station_may_come_in_another_version_tomorrow(plug: Plug) -> None:
    old = await plug("1.6")
    new = await plug("2.0.1", server=old.server)
    assert new.link.ocpp_version == "2.0.1"
    assert (await new.station.call("1", "TransactionEvent", EVENT))[0] == 3


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (CloseReason.DELETED, 1008),
        (CloseReason.CREDENTIALS_CHANGED, 1008),
        (CloseReason.FENCED, 1012),
        (CloseReason.SHUTDOWN, 1001),
        (CloseReason.UNSTORABLE, 1011),
    ],
)
async def test_every_close_of_the_app_has_its_code(plug: Plug, reason: CloseReason, code: int) -> None:
    cs = await plug()
    cs.link.close(reason)
    cs.link.close(CloseReason.DISPLACED)
    assert await cs.station.close_code() == code


# Before the boot is accepted


@pytest.mark.parametrize("registration", [Registration.PENDING, Registration.REJECTED])
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_station_that_is_not_accepted_gets_a_security_error_for_what_it_sends(
    plug: Plug, gateway: MemoryGateway, version: str, registration: Registration
) -> None:
    cs = await plug(version, registration=registration)
    answer = await cs.station.call("1", "BootNotification", BOOT_2X)
    assert answer[2]["status"] == registration.value  # type: ignore[index]
    for action, payload in (("StatusNotification", STATUS_2X), ("Heartbeat", {}), ("TransactionEvent", EVENT)):
        assert (await cs.station.call("2" + action, action, payload))[:3] == [4, "2" + action, "SecurityError"]
    assert len(gateway.actors[cs.key].messages) == 1
    gateway.registrations[cs.key] = Registration.ACCEPTED
    await cs.station.call("3", "BootNotification", BOOT_2X)
    assert (await cs.station.call("4", "StatusNotification", STATUS_2X))[:2] == [3, "4"]


async def test_pending_station_may_send_what_it_was_asked_for(plug: Plug) -> None:
    cs = await plug("2.0.1", registration=Registration.PENDING)
    asked = asyncio.ensure_future(cs.link.command(Trigger(message="StatusNotification", evse_id=1), 5))
    call = await cs.station.message()
    assert (await cs.station.call("1", "StatusNotification", STATUS_2X))[0] == 3
    assert (await cs.station.call("2", "Heartbeat", {}))[:3] == [4, "2", "SecurityError"]
    cs.station.send(json.encode([3, call[1], {"status": "Accepted"}]))
    await asked


async def test_pending_1_6_station_is_heard_but_not_served(plug: Plug) -> None:
    cs = await plug(registration=Registration.PENDING)
    for number, (action, payload) in enumerate(
        [("Heartbeat", {}), ("StatusNotification", STATUS_16), ("StartTransaction", START)]
    ):
        assert (await cs.station.call(str(number), action, payload))[0] == 3
    assert (await cs.station.call("a", "Authorize", {"idTag": "TAG"}))[:3] == [4, "a", "SecurityError"]


async def test_accepted_station_works_without_a_boot(plug: Plug) -> None:
    cs = await plug("2.0.1")
    assert (await cs.station.call("1", "StatusNotification", STATUS_2X))[:2] == [3, "1"]


async def test_status_before_the_boots_answer_is_taken(plug: Plug, gateway: MemoryGateway) -> None:
    cs = await plug()
    gateway.held = True
    cs.station.send(json.encode([2, "1", "BootNotification", BOOT_16]))
    cs.station.send(json.encode([2, "2", "StatusNotification", STATUS_16]))
    await gateway.heard(2)
    gateway.release()
    assert [(await cs.station.message())[1] for _ in range(2)] == ["1", "2"]


# What cannot be understood


async def test_unknown_action_is_not_implemented_and_ours_not_supported(plug: Plug) -> None:
    cs = await plug()
    assert (await cs.station.call("1", "Dance", {}))[:3] == [4, "1", "NotImplemented"]
    assert (await cs.station.call("2", "Reset", {"type": "Soft"}))[:3] == [4, "2", "NotSupported"]


async def test_known_faults_are_repaired_and_counted(plug: Plug, gateway: MemoryGateway) -> None:
    cs = await plug()
    cs.station.send(
        '[2,"m","MeterValues",{"connectorId":1,"transactionId":,"meterValue":'
        '[{"timestamp":"2026-01-31T12:00:00Z","sampledValue":[{"value":"12"}]}]}]'
    )
    assert await cs.station.message() == [3, "m", {}]
    message = gateway.actors[cs.key].messages[0].message
    assert isinstance(message, MeterReport | TransactionReport)
    assert gateway.actors[cs.key].repairs


async def test_unusable_transaction_message_goes_to_quarantine_and_is_answered(
    plug: Plug, gateway: MemoryGateway
) -> None:
    cs = await plug("2.0.1")
    answer = await cs.station.call("1", "TransactionEvent", {"eventType": {"no": "event"}})
    assert answer[:2] == [3, "1"]
    message = gateway.actors[cs.key].messages[0].message
    assert isinstance(message, Unusable)
    assert message.action == "TransactionEvent"


async def test_other_message_that_does_not_fit_gets_a_callerror_that_names_the_field(plug: Plug) -> None:
    cs = await plug("2.0.1")
    answer = await cs.station.call("1", "BootNotification", {"reason": "PowerUp", "chargingStation": 5})
    assert answer[:2] == [4, "1"]
    assert "chargingStation" in str(answer[3])


HOSTILE = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"[2]",
    b'[2,"x"]',
    b'[2,7,"Heartbeat",{}]',
    b'[2,"x",7,{}]',
    b'[99,"x","Heartbeat",{}]',
    b'["2","x","Heartbeat",{}]',
    b'[2,"x","Heartbeat"]',
    b'[2,"x","Heartbeat",[]]',
    b'[2,"x","Heartbeat",5]',
    b'[2,"x","Heartbeat",{}',
    b'[2,"x","StatusNotification",{"connectorId":1e400000,"errorCode":"NoError","status":"Available"}]',
    b'[2,"x","StatusNotification",{"connectorId":99999999999999999999,"errorCode":"NoError","status":"Available"}]',
    b'[2,"x","StatusNotification",{"connectorId":NaN,"errorCode":"NoError","status":"Available"}]',
    b'[2,"x","StatusNotification",{"connectorId":1,"connectorId":2,"errorCode":"NoError","status":"Available"}]',
    b'[2,"x","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available","info":"\\u0000"}]',
    b'[2,"x","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available","info":"\\ud800"}]',
    b'[2,"\\u0000","Heartbeat",{}]',
    b'[2,"\\ud800","Heartbeat",{}]',
    b'[2,"' + b"i" * 200_000 + b'","Heartbeat",{}]',
    b'[2,"x","' + b"A" * 200_000 + b'",{}]',
    b'[2,"x","Authorize",{"idTag":"\'; DROP TABLE transactions; --"}]',
    b"[" * 100_000,
    b'[2,"x","Heartbeat",' + b'{"a":' * 40_000 + b"1" + b"}" * 40_000 + b"]",
    b'[3,"never asked",{}]',
    b'[4,"-1","InternalError","",{}]',
    b'[4,"never asked"]',
    b'[2,"x","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"x","sampledValue":[{"value":"sNaN"}]}]}]',
    b'[2,"x","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"x","sampledValue":[{"value":"1E+999999"}]}]}]',
    b'[2,"x","StopTransaction",{"transactionId":2147483648,"meterStop":-1,"timestamp":"1970-01-01T00:00:00"}]',
    b"\x00" * 1000,
    b'\xef\xbb\xbf[2,"x","Heartbeat",{}]',
    b'{"a":"b"}' * 1000,
    b'[2,"x","BootNotification",null]',
]


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_hostile_frames_are_answered_or_dropped_and_nobody_else_notices(
    plug: Plug, gateway: MemoryGateway, version: str
) -> None:
    neighbour = await plug(version, station_id="CALM", failed_attempts_burst=10)
    hostile = await plug(version, station_id="EVIL", server=neighbour.server)
    for number, data in enumerate(HOSTILE):
        hostile.station.send(data)
        # The socket lives on: its next proper message is answered, after whatever the broken one got.
        hostile.station.send(json.encode([2, f"after{number}", "Heartbeat", {}]))
        while (answer := await hostile.station.message())[1] != f"after{number}":
            assert answer[0] in (3, 4), (data[:60], answer)
        assert answer[0] == 3
        assert (await neighbour.station.call(str(number), "Heartbeat", {}))[:2] == [3, str(number)]
    assert not gateway.gone


async def test_station_whose_message_was_dear_to_understand_rests_meanwhile(plug: Plug) -> None:
    neighbour = await plug(station_id="CALM")
    hostile = await plug(station_id="EVIL", server=neighbour.server)
    (session,) = (one for one in neighbour.server._sessions if one.station_id == "EVIL")
    session.took(0.004)
    assert not session.paused
    session.took(0.02)
    assert session.paused
    hostile.station.send(json.encode([2, "after", "Heartbeat", {}]))
    assert (await neighbour.station.call("1", "Heartbeat", {}))[:2] == [3, "1"]
    assert session.paused
    assert (await hostile.station.message())[:2] == [3, "after"]
    assert not session.paused


# The message log


async def test_finished_calls_are_logged_and_heartbeats_only_counted(
    plug: Plug, gateway: MemoryGateway, message_log: ListLog
) -> None:
    cs = await plug()
    await cs.station.call("1", "Heartbeat", {})
    await cs.station.call("2", "BootNotification", BOOT_16)
    await cs.station.call("3", "StartTransaction", START)
    await cs.station.call("4", "Dance", {"a": 1})
    ours = asyncio.ensure_future(cs.link.call("ClearCache", b"{}", 5))
    call = await cs.station.message()
    cs.station.send(json.encode([3, call[1], {"status": "Accepted"}]))
    await ours
    boot, start, unknown, clear = message_log.entries
    assert (boot.action, boot.from_station, boot.outcome, boot.stored) == (
        "BootNotification",
        True,
        "callresult",
        False,
    )
    assert json.decode(boot.request or b"") == BOOT_16
    assert json.decode(boot.response or b"")["status"] == "Accepted"
    assert boot.latency_us is not None
    assert (start.stored, start.request) == (True, None)
    assert (unknown.outcome, unknown.error_code) == ("callerror", "NotImplemented")
    assert (clear.from_station, clear.action, clear.request) == (False, "ClearCache", b"{}")
    assert json.decode(clear.response or b"") == {"status": "Accepted"}


async def test_answer_that_finds_no_socket_is_logged_as_disconnected(
    plug: Plug, gateway: MemoryGateway, message_log: ListLog
) -> None:
    cs = await plug()
    gateway.held = True
    cs.station.send(json.encode([2, "1", "StatusNotification", STATUS_16]))
    await gateway.heard(1)
    cs.station.hang_up()
    await gateway.until(lambda: bool(gateway.gone))
    gateway.release()
    assert [entry.outcome for entry in message_log.entries] == ["disconnected"]
    assert isinstance(gateway.actors[cs.key].messages[0].message, ConnectorStatus)


async def test_failing_actor_closes_the_socket_so_that_the_station_asks_again(
    plug: Plug, gateway: MemoryGateway
) -> None:
    cs = await plug()

    def fail(key: StationKey) -> None:
        raise RuntimeError("bug")

    gateway.on_take = fail
    cs.station.send(json.encode([2, "1", "StartTransaction", START]))
    assert await cs.station.close_code() == 1011


async def test_station_with_a_known_quirk_is_corrected_after_its_boot_and_over_reconnects(
    plug: Plug, gateway: MemoryGateway
) -> None:
    cs = await plug()
    boot = {"chargePointVendor": "OpenEVSE", "chargePointModel": "x", "firmwareVersion": "4.2.2"}
    await cs.station.call("1", "BootNotification", boot)
    again = await plug(server=cs.server)
    await again.station.call("2", "StartTransaction", {**START, "meterStart": 5})
    message = gateway.actors[cs.key].messages[-1].message
    assert isinstance(message, TransactionReport)
    assert message.meter_start == 5000
    assert gateway.actors[cs.key].repairs == ["openevse_kwh_as_wh"]


async def test_station_with_a_known_quirk_is_corrected_by_its_stored_boot(plug: Plug, gateway: MemoryGateway) -> None:
    cs = await plug()
    ident, credentials = next((i, c) for i, c in gateway.stations.items() if c.key == cs.key)
    stored = structs.replace(credentials, vendor="OpenEVSE", model="x", firmware_version="4.2.2")
    gateway.stations[ident] = stored
    again = await plug(server=cs.server)
    await again.station.call("2", "StartTransaction", {**START, "meterStart": 5})
    message = gateway.actors[cs.key].messages[-1].message
    assert isinstance(message, TransactionReport)
    assert message.meter_start == 5000
    # a boot with a firmware that has the fault no more is believed over what was stored
    boot = {"chargePointVendor": "OpenEVSE", "chargePointModel": "x", "firmwareVersion": "5.1.5"}
    await again.station.call("3", "BootNotification", boot)
    for server in (cs.server, cs.server):
        third = await plug(server=server)
        await third.station.call("4", "StartTransaction", {**START, "meterStart": 6})
        message = gateway.actors[cs.key].messages[-1].message
        assert isinstance(message, TransactionReport)
        assert message.meter_start == 6


async def test_pings_of_the_station_are_answered(plug: Plug) -> None:
    cs = await plug()
    cs.station.send(b"hello", PING)
    assert (await cs.station.read())[1] == b"hello"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("frames", [3_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_hostile_frames_leave_no_memory_behind(
    plug: Plug, gateway: MemoryGateway, message_log: ListLog, frames: int
) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    hostile = await plug("2.0.1")
    small = [data for data in HOSTILE if len(data) < 5_000]

    async def send(count: int) -> None:
        for number in range(0, count, len(small)):
            for data in small if number % 100 else HOSTILE:
                hostile.station.send(data)
            hostile.station.send(json.encode([2, f"last{number}", "Heartbeat", {}]))
            while (await hostile.station.message())[1] != f"last{number}":
                pass
            gateway.actors[hostile.key].messages.clear()
            gateway.actors[hostile.key].repairs.clear()
            message_log.entries.clear()

    await send(2_000)
    gc.collect()
    before = resident_bytes()
    await send(frames)
    gc.collect()
    assert resident_bytes() - before < 5 * 2**20
    structlog.reset_defaults()
