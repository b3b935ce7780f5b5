"""The certificate authority of the house in a whole server: TC_A_09 to TC_A_14 of a CSMS, in all versions."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.authority import Issued, client_context, csr_of
from tests.support.raw_station import RawStation
from tests.support.served import Served, served

PASSWORD = "a-password-of-tests"
BOOT_16 = {"chargePointVendor": "V", "chargePointModel": "M"}
BOOT_2X = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}


class House:
    """A server whose authority made its certificate, and what stations need to reach it."""

    def __init__(self, server: Served, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.root = b""

    async def authority(self) -> dict[str, str]:
        answer = await self.server.ask("GET", "/v1/certificate-authority")
        assert answer.status_code == 200, answer.text
        found: dict[str, str] = answer.json()
        return found

    async def register(self, station_id: str, profile: int, **settings: object) -> None:
        body: dict[str, object] = {"station_id": station_id, "security_profile": profile, "settings": settings}
        if profile < 3:
            body["password"] = PASSWORD
        answer = await self.server.ask("POST", "/v1/charging-stations", body)
        assert answer.status_code == 201, answer.text

    async def dial(self, shown: Issued | None = None) -> RawStation:
        files = None if shown is None else shown.write(self.folder, "client")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            int(self.server.settings["OCPPS_PORT"]),
            ssl=client_context(self.root, files),
            server_hostname="localhost",
        )
        return RawStation(reader, writer)

    async def boot(self, station_id: str, protocol: str, shown: Issued | None = None) -> RawStation:
        station = await self.dial(shown)
        auth = None if shown is not None else f"{station_id}:{PASSWORD}".encode()
        answer = await station.upgrade(f"/ocpp/{station_id}", protocols=protocol, auth=auth)
        assert answer.status == 101, answer.body
        boot = await station.call("boot", "BootNotification", BOOT_16 if protocol == "ocpp1.6" else BOOT_2X)
        assert boot[2]["status"] == "Accepted"  # type: ignore[index,call-overload]
        return station

    async def status(self, station_id: str, shown: Issued) -> int:
        station = await self.dial(shown)
        try:
            return (await station.upgrade(f"/ocpp/{station_id}", protocols="ocpp2.0.1")).status
        finally:
            station.hang_up()

    async def certificates(self, station_id: str) -> list[dict[str, Any]]:
        return await self.server.items(f"/v1/certificates?station_id={station_id}")

    async def delivered(self, station_id: str) -> dict[str, Any]:
        """The station's newest certificate, once the station's answer to it is written down."""
        async with asyncio.timeout(30):
            while True:
                newest = (await self.certificates(station_id))[0]
                if newest["delivery"] not in (None, "pending", "sent"):
                    return newest
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def house(data_dir: Path, folder: Path) -> AsyncIterator[House]:
    settings = {"TLS_SERVER_NAMES": "localhost, 127.0.0.1", "TLS_ORGANIZATION": "Operator"}
    async with served(data_dir, **settings) as server:
        place = House(server, folder)
        place.root = (await place.authority())["root"].encode()
        yield place


async def signed(
    station: RawStation, request: dict[str, object], answer: str = "Accepted", ident: str = "sign"
) -> dict[str, Any]:
    """Asks for a certificate and takes what comes."""
    told = await station.call(ident, "SignCertificate", request)
    assert told == [3, ident, {"status": "Accepted"}]
    return await taken(station, answer)


async def taken(station: RawStation, answer: str = "Accepted") -> dict[str, Any]:
    frame: Any = await station.message()
    assert frame[2] == "CertificateSigned"
    station.send(msgspec.json.encode([3, frame[1], {"status": answer}]))
    payload: dict[str, Any] = frame[3]
    return payload


def issued(chain: str, key: ec.EllipticCurvePrivateKey) -> Issued:
    first, *above = x509.load_pem_x509_certificates(chain.encode())
    assert first.public_key() == key.public_key()
    return Issued(first, key, b"".join(one.public_bytes(serialization.Encoding.PEM) for one in above))


async def test_a_station_gets_a_certificate_and_connects_with_it_until_it_is_revoked(
    data_dir: Path, tmp_path: Path
) -> None:
    async with house(data_dir, tmp_path) as place:
        for protocol, extra, echoed in (
            ("ocpp1.6", {}, {}),
            ("ocpp2.0.1", {"certificateType": "ChargingStationCertificate"}, {"certificateType"}),
            ("ocpp2.1", {"requestId": 9}, {"requestId"}),
        ):
            name = f"CS-{protocol}"
            await place.register(name, 2)
            await place.register(f"OTHER-{protocol}", 3, certificate_name=name)
            station = await place.boot(name, protocol)
            key = ec.generate_private_key(ec.SECP256R1())
            payload = await signed(station, {"csr": csr_of(name, key), **extra})
            assert set(payload) == {"certificateChain", *echoed}
            assert all(payload[field] == extra[field] for field in echoed)  # type: ignore[index]
            certificate = await place.delivered(name)
            assert (certificate["state"], certificate["delivery"]) == ("issued", "accepted")
            assert certificate["subject"] == f"CN={name},O=Operator"
            mine = issued(payload["certificateChain"], key)
            assert certificate["serial_number"] == f"{mine.certificate.serial_number:x}"
            answer = await place.server.ask("PATCH", f"/v1/charging-stations/{name}", {"security_profile": 3})
            assert answer.status_code == 200, answer.text
            assert await station.ended()
            station = await place.boot(name, protocol, mine)
            # the same common name is not enough: it was made for one station
            assert await place.status(f"OTHER-{protocol}", mine) == 403

            path = f"/v1/certificates/{certificate['id']}"
            answer = await place.server.ask("POST", f"{path}/revoke", {"reason": "stolen"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["state"] == "revoked"
            assert await station.ended()
            assert await place.status(name, mine) == 403
            assert (await place.server.ask("POST", f"{path}/revoke", {"reason": "again"})).status_code == 409
        revoked = x509.load_pem_x509_crl((await place.authority())["revocation_list"].encode())
        assert len(list(revoked)) == 3
        reasons = [line["reason"] for line in place.server.log("invalid_charging_station_certificate")]
        assert reasons == ["it was made for another station", "it was revoked"] * 3


async def test_bad_requests_are_refused_and_kept_with_the_reason(data_dir: Path, tmp_path: Path) -> None:
    async with house(data_dir, tmp_path) as place:
        await place.register("CS", 2)
        station = await place.boot("CS", "ocpp2.0.1")
        for csr, more in (
            (csr_of("OTHER"), {}),
            ("no request", {}),
            (csr_of("CS"), {"certificateType": "V2GCertificate"}),
        ):
            told = await station.call("sign", "SignCertificate", {"csr": csr, **more})
            assert told == [3, "sign", {"status": "Rejected"}]
        kept = await place.certificates("CS")
        assert [one["state"] for one in kept] == ["refused"] * 3
        assert "V2GCertificate" in kept[0]["reason"]
        assert "cannot be read" in kept[1]["reason"]
        assert "must be 'CS'" in kept[2]["reason"]
        station.hang_up()


async def test_the_same_request_again_brings_the_same_certificate_and_a_restart_keeps_the_authority(
    data_dir: Path, tmp_path: Path
) -> None:
    async with house(data_dir, tmp_path) as place:
        await place.register("CS", 2)
        station = await place.boot("CS", "ocpp2.0.1")
        csr = csr_of("CS")
        first = await signed(station, {"csr": csr}, "Rejected")
        certificate = await place.delivered("CS")
        assert certificate["delivery"] == "rejected"
        assert "does not take the certificate" in certificate["delivery_reason"]
        again = await signed(station, {"csr": csr}, ident="again")
        assert again == first
        assert len(await place.certificates("CS")) == 1
        station.hang_up()
        before = await place.authority()
        assert await place.server.stop() == 0
        await place.server.start()
        after = await place.authority()
        assert (after["root"], after["issuing"]) == (before["root"], before["issuing"])
        station = await place.boot("CS", "ocpp2.0.1")  # its root still fits the server's certificate
        station.hang_up()


async def test_a_request_waits_for_the_station_and_is_brought_after_its_return(data_dir: Path, tmp_path: Path) -> None:
    async with house(data_dir, tmp_path) as place:
        await place.register("CS", 2)
        station = await place.boot("CS", "ocpp2.0.1")
        told = await station.call("sign", "SignCertificate", {"csr": csr_of("CS")})
        assert told == [3, "sign", {"status": "Accepted"}]
        station.hang_up()
        back = await place.dial()
        await back.upgrade("/ocpp/CS", protocols="ocpp2.0.1", auth=f"CS:{PASSWORD}".encode())
        payload = await taken(back)
        assert "BEGIN CERTIFICATE" in payload["certificateChain"]
        with pytest.raises(ssl.SSLCertVerificationError):
            place.root = payload["certificateChain"].split("-----END")[0].encode() + b"-----END CERTIFICATE-----\n"
            await place.dial()
        back.hang_up()
