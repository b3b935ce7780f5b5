"""Block A: a station's password and its security profile are changed."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.conftest import House
from tests.conformance.official import case
from tests.conformance.rest import PASSWORD, Operator
from tests.conformance.station import PATIENCE_S, Station
from tests.conformance.test_a_security import boots, tls_of

NEW = "another-password-16x"


async def password_asked(csms: Operator, station: Station, answer: str) -> str:
    """The operator has the station's password changed; what the station is told, in the form it logs in with."""
    await csms.post(f"/charging-stations/{station.id}/password-rotations", {"password": NEW})
    if station.version == "1.6":
        called = await station.expect("ChangeConfiguration", key="AuthorizationKey")
        assert bytes.fromhex(called["value"]) == NEW.encode()
        await called.answer(status=answer)
        return NEW
    called = await station.expect("SetVariables")
    (row,) = called["setVariableData"]
    assert (row["component"]["name"], row["variable"]["name"]) == ("SecurityCtrlr", "BasicAuthPassword")
    assert row["attributeValue"] == NEW
    result = {"attributeStatus": answer, "component": row["component"], "variable": row["variable"]}
    await called.answer(setVariableResult=[result])
    return NEW


async def rotation_is(csms: Operator, station: Station, state: str) -> None:
    """The operator sees how the rotation ended."""
    path = f"/charging-stations/{station.id}/password-rotations"
    await csms.eventually(lambda: csms.items(path), lambda rows: rows[0]["state"] == state)


async def changed(csms: Operator, version: str) -> None:
    """The password is changed, and only the new one is good."""
    station = await csms.booted(version)
    station.password = await password_asked(csms, station, "Accepted")
    await station.connect()
    await boots(station)
    await rotation_is(csms, station, "done")
    # What the operator sees is committed a moment before the doors of all nodes know of it.
    async with asyncio.timeout(PATIENCE_S):
        while (status := await csms.at(station.id, version).tried()) is None:
            await asyncio.sleep(0.05)
    assert status == 401


@case()
async def test_TC_A_09_CSMS(csms: Operator, version: str) -> None:
    await changed(csms, version)


@case()
async def test_TC_A_10_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await password_asked(csms, station, "Rejected")
    await rotation_is(csms, station, "refused")
    assert station.password == PASSWORD
    await station.connect()
    await boots(station)


SLOT = "2"


async def raised(house: House, csms: Operator, version: str) -> None:
    """The security profile is raised from 1 to 2, and the lower one is good no more (A05)."""
    station = await csms.booted(version)
    url = f"wss://localhost:{csms.ocpps_port}/ocpp"
    body: dict[str, Any] = {"security_profile": 2, "root": house.authority.pem.decode()}
    if version != "1.6":
        body |= {"url": url, "slot": int(SLOT)}
    change = await csms.post(f"/charging-stations/{station.id}/security-profile-changes", body)
    installed = await station.expect("InstallCertificate")
    assert installed["certificate"].split() == house.authority.pem.decode().split()
    await installed.answer(status="Accepted")
    if version == "1.6":
        await (await station.expect("ChangeConfiguration", key="SecurityProfile", value="2")).answer(status="Accepted")
    else:
        await network_profile_set(station, url)
        doing = csms.command(station, "reset", kind="on_idle")
        await (await station.expect("Reset")).answer(status="Accepted")
        await doing.ends("accepted", "Accepted")
    upgraded = csms.at(station.id, version, 2, PASSWORD, tls_of(house))
    await station.close()
    await upgraded.connect()
    await boots(upgraded)
    path = f"/security-profile-changes/{change['id']}"
    await csms.eventually(lambda: csms.get(path), lambda seen: seen["state"] == "done")
    assert (await csms.view(station))["security_profile"] == 2
    assert await station.refused() == 403


async def network_profile_set(station: Station, url: str) -> None:
    """The new connection profile, and the order of the station's profiles."""
    station.background["GetVariables"] = lambda asked: {
        "getVariableResult": [
            {
                "attributeStatus": "Accepted",
                "attributeValue": "1",
                "component": row["component"],
                "variable": row["variable"],
            }
            for row in asked["getVariableData"]
        ]
    }
    called = await station.expect("SetNetworkProfile", configurationSlot=int(SLOT))
    data = called["connectionData"]
    assert (data["ocppCsmsUrl"], data["securityProfile"]) == (url, 2)
    assert data.get("ocppTransport", "JSON") == "JSON"
    await called.answer(status="Accepted")
    order = await station.expect("SetVariables")
    (row,) = order["setVariableData"]
    assert (row["component"]["name"], row["variable"]["name"]) == ("OCPPCommCtrlr", "NetworkConfigurationPriority")
    assert SLOT in row["attributeValue"].split(",")
    result = {"attributeStatus": "Accepted", "component": row["component"], "variable": row["variable"]}
    await order.answer(setVariableResult=[result])


@case()
async def test_TC_A_19_CSMS(house: House, csms: Operator, version: str) -> None:
    await raised(house, csms, version)
