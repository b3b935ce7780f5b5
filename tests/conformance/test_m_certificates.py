"""Block M: certificates on stations are installed, listed and deleted."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.station import Station
from tests.support.authority import Authority

ROOT = Authority("Somebody's Root").pem.decode()
ALGORITHMS = ("SHA256", "SHA384", "SHA512")
DIGITS = {"SHA256": 64, "SHA384": 96, "SHA512": 128}
CSMS, MANUFACTURER = "CSMSRootCertificate", "ManufacturerRootCertificate"
V2G, MO, CHAIN = "V2GRootCertificate", "MORootCertificate", "V2GCertificateChain"
WORDS_16 = {CSMS: "CentralSystemRootCertificate"}


def hashes(algorithm: str = "SHA256", serial: str = "1f") -> dict[str, str]:
    """Hash data of a certificate, as a station lists it."""
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": "a1" * (DIGITS[algorithm] // 2),
        "issuerKeyHash": "b2" * (DIGITS[algorithm] // 2),
        "serialNumber": serial,
    }


def named(station: Station, use: str) -> str:
    """A use in the station's words."""
    return WORDS_16.get(use, use) if station.version == "1.6" else use


async def install(csms: Operator, station: Station, use: str, answer: str = "Accepted") -> None:
    """State CertificateInstalled, or the station does not take it."""
    doing = csms.command(station, "install_certificate", use=use, certificate=ROOT)
    called = await station.expect("InstallCertificate", certificateType=named(station, use))
    assert called["certificate"].split() == ROOT.split()
    await called.answer(status=answer)
    await doing.ends("accepted" if answer == "Accepted" else "rejected", answer)


def list_of(station: Station, rows: list[tuple[str, dict[str, str]]]) -> dict[str, Any]:
    """What the station lists."""
    if not rows:
        return {"status": "NotFound"}
    if station.version == "1.6":
        return {"status": "Accepted", "certificateHashData": [data for _, data in rows]}
    chain: list[dict[str, Any]] = [{"certificateType": use, "certificateHashData": data} for use, data in rows]
    if rows[0][0] == CHAIN:
        chain[0]["childCertificateHashData"] = [hashes(serial="2a")]
    return {"status": "Accepted", "certificateHashDataChain": chain}


async def listed(csms: Operator, station: Station, uses: list[str], rows: dict[str, dict[str, str]]) -> None:
    """State GetInstalledCertificates: the operator asks, and the station lists."""
    found = list_of(station, list(rows.items()))
    station.background["GetInstalledCertificateIds"] = lambda asked: found
    doing = csms.command(station, "get_installed_certificate_ids", uses=uses)
    if station.version == "1.6":
        called = await station.expect("GetInstalledCertificateIds", certificateType=named(station, uses[0]))
    else:
        called = await station.expect("GetInstalledCertificateIds", certificateType=uses or None)
    await called.answer(**found)
    view = await doing.done()
    assert view["state"] in ({"accepted"} if rows else {"accepted", "rejected"})
    assert view["status"] == ("Accepted" if rows else "NotFound")


async def booted(csms: Operator, version: str) -> Station:
    """A station that lists nothing unless a step has it list something."""
    station = await csms.booted(version)
    station.background["GetInstalledCertificateIds"] = lambda asked: {"status": "NotFound"}
    return station


@case()
async def test_TC_M_01_CSMS(csms: Operator, version: str) -> None:
    await install(csms, await booted(csms, version), CSMS)


@case()
async def test_TC_M_02_CSMS(csms: Operator, version: str) -> None:
    await install(csms, await booted(csms, version), MANUFACTURER)


@case()
async def test_TC_M_03_CSMS(csms: Operator, version: str) -> None:
    await install(csms, await booted(csms, version), V2G)


@case()
async def test_TC_M_04_CSMS(csms: Operator, version: str) -> None:
    await install(csms, await booted(csms, version), MO)


@case()
async def test_TC_M_05_CSMS(csms: Operator, version: str) -> None:
    await install(csms, await booted(csms, version), CSMS, "Failed")


@case()
async def test_TC_M_12_CSMS(csms: Operator, version: str) -> None:
    station = await booted(csms, version)
    for algorithm in ALGORITHMS:
        await listed(csms, station, [CSMS], {CSMS: hashes(algorithm)})


@case()
async def test_TC_M_13_CSMS(csms: Operator, version: str) -> None:
    await listed(csms, await booted(csms, version), [MANUFACTURER], {MANUFACTURER: hashes()})


@case()
async def test_TC_M_14_CSMS(csms: Operator, version: str) -> None:
    await listed(csms, await booted(csms, version), [V2G], {V2G: hashes()})


@case()
async def test_TC_M_15_CSMS(csms: Operator, version: str) -> None:
    await listed(csms, await booted(csms, version), [CHAIN], {CHAIN: hashes()})


@case()
async def test_TC_M_16_CSMS(csms: Operator, version: str) -> None:
    await listed(csms, await booted(csms, version), [MO], {MO: hashes()})


@case()
async def test_TC_M_17_CSMS(csms: Operator, version: str) -> None:
    rows = {CSMS: hashes(), MANUFACTURER: hashes(serial="2b")}
    await listed(csms, await booted(csms, version), [CSMS, MANUFACTURER], rows)


@case()
async def test_TC_M_18_CSMS(csms: Operator, version: str) -> None:
    rows = {CSMS: hashes(), MANUFACTURER: hashes(serial="2b"), V2G: hashes(serial="2c"), MO: hashes(serial="2d")}
    await listed(csms, await booted(csms, version), [], rows)


@case()
async def test_TC_M_19_CSMS(csms: Operator, version: str) -> None:
    await listed(csms, await booted(csms, version), [MANUFACTURER], {})


async def deleted(csms: Operator, station: Station, algorithm: str, answer: str) -> None:
    """The operator has a root installed, listed and deleted."""
    await install(csms, station, CSMS)
    data = hashes(algorithm)
    other = hashes(algorithm, "77")
    path = f"/charging-stations/{station.id}/installed-certificates"
    # another root beside it: the last one is deleted by force only
    found = list_of(station, [(CSMS, data), (CSMS, other)])
    station.background["GetInstalledCertificateIds"] = lambda asked: found
    doing = csms.begin("GET", path, refresh=True)
    doing.station = station
    await (await station.expect("GetInstalledCertificateIds")).answer(**found)
    await doing.done()
    doing = csms.begin("DELETE", f"{path}/{data['serialNumber']}", wait_s=30)
    doing.station = station
    await (await station.expect("DeleteCertificate", certificateHashData=data)).answer(status=answer)
    view = await doing.done()
    assert (view["state"], view["status"]) == ("accepted" if answer == "Accepted" else "rejected", answer)


@case()
async def test_TC_M_20_CSMS(csms: Operator, version: str) -> None:
    for algorithm in ALGORITHMS:
        await deleted(csms, await booted(csms, version), algorithm, "Accepted")


@case()
async def test_TC_M_21_CSMS(csms: Operator, version: str) -> None:
    await deleted(csms, await booted(csms, version), "SHA256", "Failed")
