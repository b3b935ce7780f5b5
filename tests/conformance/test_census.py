"""The census: every action of every version, in each direction it has, is taken, kept and shown, or goes out and comes back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.bridge.commands import SUBJECTS
from chargeplane.ocpp import CATALOGUE
from tests.conformance.conftest import House, operator_of
from tests.conformance.instances import fewest, fullest
from tests.conformance.rest import Operator
from tests.conformance.schemas import folder, name_of
from tests.conformance.station import Station

ACTIONS = [(version.value, spec) for version, table in CATALOGUE.items() for spec in table.values()]
COMMANDS = {
    "AFRRSignal": "afrr_signal",
    "AdjustPeriodicEventStream": "adjust_stream",
    "CertificateSigned": "deliver_certificate",
    "ChangeConfiguration": "set_variables",
    "CostUpdated": "update_cost",
    "DataTransfer": "transfer_data",
    "ExtendedTriggerMessage": "trigger",
    "GetConfiguration": "get_variables",
    "GetPeriodicEventStream": "get_streams",
    "NotifyWebPaymentStarted": "tell_web_payment",
    "RemoteStartTransaction": "start",
    "RemoteStopTransaction": "stop",
    "RequestStartTransaction": "start",
    "RequestStopTransaction": "stop",
    "SignedUpdateFirmware": "update_firmware",
    "TriggerMessage": "trigger",
    "UnlockConnector": "unlock",
}
"""The version-free command that stands for an action; any other is the action's name in small letters."""

UNLOGGED = {"Heartbeat"}
"""Counted, not logged singly: seen as the station's last sign of life."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stations(house: House) -> AsyncIterator[tuple[Operator, dict[str, Station]]]:
    """An operator and a booted station of each version, for all of the census."""
    async with operator_of(house) as operator:
        yield operator, {version.value: await operator.booted(version.value) for version in CATALOGUE}


def test_the_catalogue_has_the_actions_of_the_official_schemas() -> None:
    for version, table in CATALOGUE.items():
        files = {file.stem for file in folder(version.value).glob("*.json")}
        # the package's 1.6 folder has files of 2.0's security names beside the whitepaper's
        requests = {name_of(version.value, action, response=False) for action in table}
        responses = {name_of(version.value, action, response=True) for action, spec in table.items() if spec.response}
        assert requests | responses <= files
        if version.value != "1.6":
            assert requests | responses == files


def command_of(action: str) -> str:
    """The command that stands for an action to stations."""
    words = action.replace("DERControl", "DerControl")
    return COMMANDS.get(action) or re.sub(r"(?<!^)([A-Z])", r"_\1", words).lower()


@pytest.mark.parametrize("version", list(CATALOGUE))
def test_every_action_to_stations_has_a_version_free_command(version: Any) -> None:
    written = {
        str(kind.__struct_config__.tag)  # type: ignore[attr-defined]
        for subject in SUBJECTS
        for kind in subject.calls.get(version, {})
    }
    lacking = [
        action for action, spec in CATALOGUE[version].items() if spec.from_csms and command_of(action) not in written
    ]
    assert lacking == []


async def taken(operator: Operator, station: Station, action: str, *, answered: bool) -> str:
    """Sent with the fewest and with all fields; where it can be seen."""
    name = name_of(station.version, action, response=False)
    before = await operator.view(station)
    for payload in (fewest(station.version, name), fullest(station.version, name)):
        if answered:
            await station.send(action, payload)
        else:
            await station.write([6, f"sent-{len(payload)}-{len(str(payload))}", action, payload])
    if action in UNLOGGED:
        await operator.eventually(
            lambda: operator.view(station),
            lambda now: now["connection"]["last_seen_at"] > before["connection"]["last_seen_at"],
        )
        return "taken"
    path = f"/charging-stations/{station.id}/messages"
    await operator.eventually(
        lambda: operator.items(path, action=action, direction="from_station", limit=200),
        lambda rows: len([row for row in rows if row["error_code"] is None]) >= 2,
    )
    return "taken"


def shown(payload: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a call: everything but the passwords of a network profile."""
    profile = payload.get("connectionData")
    if not isinstance(profile, dict):
        return payload
    hidden: dict[str, Any] = {**profile}
    for group, names in (
        (None, ("basicAuthPassword",)),
        ("apn", ("apnPassword", "simPin")),
        ("vpn", ("password", "key")),
    ):
        holder = hidden if group is None else dict(hidden.get(group, {}))
        for name in names:
            if name in holder:
                holder[name] = "********" if isinstance(holder[name], str) else 0
        if group in hidden:
            hidden[group] = holder
    return {**payload, "connectionData": hidden}


async def sent(operator: Operator, station: Station, action: str) -> str:
    """Sent as a raw call with the fewest and with all fields; it arrives as it was given, and the answer comes back."""
    request, response = (name_of(station.version, action, response=which) for which in (False, True))
    for make in (fewest, fullest):
        payload, answer = make(station.version, request), make(station.version, response)
        doing = operator.begin("POST", f"/charging-stations/{station.id}/calls", {"action": action, "payload": payload})
        asked = await station.expect(action)
        assert asked.payload == payload
        await asked.answer(**answer)
        ended = await doing.done()
        assert (ended["outcome"], ended["payload"]) == ("callresult", answer)
        kept = await operator.get(f"/commands/{ended['command_id']}")
        assert (kept["action"], kept["request"]["payload"], kept["answer"]) == (action, shown(payload), answer)
    return "sent"


@pytest.mark.parametrize(("version", "spec"), ACTIONS, ids=[f"{v}-{s.action}" for v, s in ACTIONS])
async def test_action(
    stations: tuple[Operator, dict[str, Station]],
    version: str,
    spec: Any,
    record_property: Any,
) -> None:
    operator, by_version = stations
    station = by_version[version]
    row = {"version": version, "action": spec.action, "from_station": None, "to_station": None, "command": None}
    if spec.from_station:
        row["from_station"] = await taken(operator, station, spec.action, answered=spec.response is not None)
    if spec.from_csms:
        row["command"] = command_of(spec.action)
        row["to_station"] = await asyncio.wait_for(sent(operator, station, spec.action), 30)
    record_property("census", [row])
