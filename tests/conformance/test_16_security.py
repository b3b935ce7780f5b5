"""OCPP 1.6 with the security whitepaper: who a charge point is, and its certificates."""

from __future__ import annotations

from tests.conformance.conftest import House
from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import moment
from tests.conformance.test_a_security import CIPHERS, boots, check_certificate, renewed, tls_of, with_certificate


@case("1.6")
async def test_TC_074_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await with_certificate(house, csms, version)
    issued = await renewed(csms, station)
    station.tls = tls_of(house, shown=house.write(issued, station.id))
    await station.connect()
    await boots(station)


@case("1.6")
async def test_TC_077_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await with_certificate(house, csms, version)
    await renewed(csms, station, "Rejected")
    told = {"type": "InvalidChargePointCertificate", "timestamp": moment()}
    assert await station.send("SecurityEventNotification", told) == {}


@case("1.6")
async def test_TC_085_CSMS(csms: Operator, version: str) -> None:
    station = await csms.register(version)
    station.password = "a-wrong-password-of-the-tests"
    assert await station.refused() == 401
    station = csms.at(station.id, version)
    await station.connect()
    await boots(station)


@case("1.6")
async def test_TC_086_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await csms.register(version, security_profile=2)
    for cipher in CIPHERS:
        station.tls = tls_of(house, ciphers=cipher)
        await station.connect()
        check_certificate(station)
    station.tls = tls_of(house)
    await station.connect()
    await boots(station)


@case("1.6")
async def test_TC_087_CSMS(house: House, csms: Operator, version: str) -> None:
    station = await csms.register(version, security_profile=3)
    shown = house.write(house.station_authority.issue(station.id), station.id)
    for cipher in CIPHERS:
        station.tls = tls_of(house, shown=shown, ciphers=cipher)
        await station.connect()
        check_certificate(station)
    await boots(station)


@case("1.6")
async def test_TC_088_CSMS(csms: Operator, version: str) -> None:
    station = await csms.register(version)
    await station.connect(subprotocols=("ocpp0.0", "ocpp1.6"))
    assert station.subprotocol == "ocpp1.6"
    await boots(station)
    # OCPP-J 1.6, 3.1.2: where no subprotocol suits, the handshake is completed without one and the socket closed at once
    await station.connect(subprotocols=("ocpp0.0",))
    assert station.subprotocol is None
    assert await station.until_closed() is not None
