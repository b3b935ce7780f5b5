"""OCPP 1.6 with the security whitepaper: passwords, profiles, certificates on charge points."""

from __future__ import annotations

from tests.conformance.conftest import House
from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import moment
from tests.conformance.test_a_credentials import changed, raised
from tests.conformance.test_m_certificates import (
    ALGORITHMS,
    CSMS,
    MANUFACTURER,
    booted,
    deleted,
    hashes,
    install,
    listed,
)


@case("1.6")
async def test_TC_073_CSMS(csms: Operator, version: str) -> None:
    await changed(csms, version)


@case("1.6")
async def test_TC_075_1_CSMS(csms: Operator, version: str) -> None:
    station = await booted(csms, version)
    await install(csms, station, MANUFACTURER)
    await listed(csms, station, [MANUFACTURER], {MANUFACTURER: hashes()})


@case("1.6")
async def test_TC_075_2_CSMS(csms: Operator, version: str) -> None:
    station = await booted(csms, version)
    await install(csms, station, CSMS)
    await listed(csms, station, [CSMS], {CSMS: hashes()})


@case("1.6")
async def test_TC_076_CSMS(csms: Operator, version: str) -> None:
    for algorithm in ALGORITHMS:
        await deleted(csms, await booted(csms, version), algorithm, "Accepted")


@case("1.6")
async def test_TC_078_CSMS(csms: Operator, version: str) -> None:
    station = await booted(csms, version)
    await install(csms, station, CSMS, "Rejected")
    told = {"type": "InvalidCentralSystemCertificate", "timestamp": moment()}
    assert await station.send("SecurityEventNotification", told) == {}


@case("1.6")
async def test_TC_083_CSMS(house: House, csms: Operator, version: str) -> None:
    await raised(house, csms, version)
