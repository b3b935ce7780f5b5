"""A foreign station's password, TLS, certificates and security events, as the operator sees them."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.foreign.house import Address, Operator, operator
from tests.foreign.stations import STATIONS
from tests.support.authority import Authority

every_version = pytest.mark.parametrize("version", STATIONS)
OTHER = Authority("Manufacturer")


async def refused(station: Any, password: str) -> int:
    """How the door answers this password."""
    with pytest.raises(InvalidStatus) as error:
        await station.try_to_connect(password)
    return int(error.value.response.status_code)


async def on_profile(who: Operator, station: Any, profile: int) -> Any:
    """Brings the station to a security profile; the change when it is done."""
    body = {"security_profile": profile, "url": station.address.secure}
    change = await who.post(f"{who.station}/security-profile-changes", body, 201)
    return await who.until(f"/security-profile-changes/{change['id']}", lambda found: found["finished_at"] is not None)


@every_version
async def test_password_is_changed_and_the_old_one_refused(address: Address, version: str) -> None:
    async with operator(address, f"PASSWORD-{version}") as who, STATIONS[version].online(who, address) as station:
        assert await refused(station, "not-its-password-at-all") == 401
        change = await who.post(f"{who.station}/password-rotations", {}, 201)
        done = await who.until(f"/password-rotations/{change['id']}", lambda found: found["finished_at"] is not None)
        assert (done["state"], done["both_accepted"]) == ("done", False), done
        assert station.password != who.password
        assert await refused(station, who.password) == 401
        assert (await station.tell("Heartbeat")).current_time
        (event,) = await who.items("/security-events", station_id=who.name, type="CredentialsChanged")
        assert event["source"] == "server"


@every_version
async def test_tls_with_basic_then_a_certificate_of_the_house_and_its_renewal(address: Address, version: str) -> None:
    async with operator(address, f"TLS-{version}") as who, STATIONS[version].online(who, address) as station:
        done = await on_profile(who, station, 2)
        assert done["state"] == "done", done
        assert station.line.socket.transport.get_extra_info("cipher") is not None
        assert (await who.get(who.station))["security_profile"] == 2
        assert (await station.tell("Heartbeat")).current_time
        root = (await who.get("/certificate-authority"))["root"]
        assert [pem.strip() for _, pem in station.roots] == [root.strip()]

        done = await on_profile(who, station, 3)
        assert done["state"] == "done", done
        await station.settled()
        seen = await who.get(who.station)
        assert (seen["security_profile"], seen["connected"]) == (3, True)
        (signed,) = await who.items("/certificates", station_id=who.name)
        assert (signed["state"], signed["delivery"]) == ("issued", "accepted")
        assert signed["serial_number"] == station.serial_number

        assert await station.ask_for_certificate() == "Accepted"  # by itself (A03)
        page = await who.until(
            "/certificates",
            lambda found: len(found["items"]) == 2 and found["items"][0]["delivery"] == "accepted",
            station_id=who.name,
        )
        await station.settled()
        assert page["items"][0]["serial_number"] == station.serial_number != signed["serial_number"]
        assert (await station.tell("Heartbeat")).current_time

        assert await station.ask_for_certificate("SOMEBODY-ELSE") == "Rejected"
        newest, *_ = await who.items("/certificates", station_id=who.name)
        assert (newest["state"], "SOMEBODY-ELSE" in newest["reason"]) == ("refused", True)

        await who.send("POST", f"/certificates/{page['items'][0]['id']}/revoke", {"reason": "lost"}, 200)
        await station.line.closed()
        with pytest.raises(InvalidStatus):
            await station.line.open()
        await who.until(who.station, lambda found: not found["connected"])


@every_version
async def test_roots_are_installed_listed_and_deleted(address: Address, version: str) -> None:
    async with operator(address, f"ROOTS-{version}") as who, STATIONS[version].online(who, address) as station:
        path = f"{who.station}/installed-certificates"
        assert (await who.post(f"{path}?wait_s=20", {}, 202))["state"] == "accepted"
        body = {"use": "ManufacturerRootCertificate", "certificate": OTHER.pem.decode()}
        assert (await who.post(f"{path}?wait_s=20", body, 202))["state"] == "accepted"
        listed = await who.until(path, lambda found: len(found["items"]) == 2 and found["listed_at"] is not None)
        uses = {one["use"]: one for one in listed["items"]}
        assert uses["CSMSRootCertificate"]["in_use"] is True
        maker = uses["ManufacturerRootCertificate"]
        assert maker["serial_number"] == f"{OTHER.certificate.serial_number:x}"
        gone = await who.send("DELETE", f"{path}/{maker['serial_number']}?wait_s=20", status=202)
        assert (gone["state"], len(station.roots)) == ("accepted", 1)
        page = await who.get(path, refresh=True)
        assert [one["use"] for one in page["items"]] == ["CSMSRootCertificate"]


@every_version
async def test_security_event_is_shown_and_raises_an_alert(address: Address, version: str) -> None:
    async with operator(address, f"EVENT-{version}") as who, STATIONS[version].online(who, address) as station:
        await station.report_event("TamperDetectionActivated", "the door")
        (event,) = (await who.until("/security-events", lambda found: found["items"], station_id=who.name))["items"]
        assert (event["source"], event["type"], event["severity"]) == (
            "station",
            "TamperDetectionActivated",
            "critical",
        )
        assert event["info"] == "the door"
        (alert,) = (await who.until("/alerts", lambda found: found["items"], station_id=who.name))["items"]
        assert (alert["kind"], alert["severity"], alert["ident"]) == (
            "security_event",
            "critical",
            "TamperDetectionActivated",
        )
        seen = await who.post(f"/alerts/{alert['id']}/acknowledge", {}, 200)
        assert seen["acknowledged_by"] is not None
