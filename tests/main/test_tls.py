"""The TLS door of a whole server: opened by files, replaced by newer ones, told about where it is wrong."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.config import TlsConfig
from chargeplane.main.tls import StationTls, read_files
from tests.support.authority import Authority, Issued, client_context
from tests.support.raw_station import RawStation
from tests.support.served import served


def files(folder: Path, authority: Authority, issued: Issued) -> TlsConfig:
    chain, key = issued.write(folder, "server")
    authorities = folder / "authorities.pem"
    authorities.write_bytes(authority.pem)
    return TlsConfig(certificate_file=str(chain), key_file=str(key), client_ca_file=str(authorities))


async def test_without_a_certificate_there_is_no_door() -> None:
    tls = StationTls(TlsConfig())
    assert await tls.open() is None
    assert not await tls.reload()
    await tls.close()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (TlsConfig(certificate_file="a.pem"), "set tls.key_file too"),
        (TlsConfig(second_key_file="a.key"), "set tls.second_certificate_file too"),
        (TlsConfig(client_ca_file="/no/such/file"), "tls.client_ca_file: /no/such/file cannot be read"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(config: TlsConfig, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        read_files(config)


async def test_newer_files_are_taken_and_unfit_ones_are_not(tmp_path: Path) -> None:
    authority = Authority()
    config = files(tmp_path, authority, authority.issue("localhost", dns="localhost"))
    tls = StationTls(config)
    door = await tls.open()
    assert door is not None
    assert not await tls.reload()
    newer = authority.issue("localhost", dns="localhost")
    (tmp_path / "server.pem").write_bytes(newer.pem)
    with capture_logs() as lines:
        assert not await tls.reload()
        assert not await tls.reload()
    assert [line["event"] for line in lines] == ["tls_reload_refused"]
    newer.write(tmp_path, "server")
    assert await tls.reload()
    assert door.material.certificates[0].chain == newer.pem
    await tls.close()


async def test_served_station_of_profile_3_connects_and_another_ones_certificate_does_not(
    data_dir: Path, tmp_path: Path
) -> None:
    authority = Authority()
    config = files(tmp_path, authority, authority.issue("localhost", dns="localhost"))
    settings = {
        "TLS_CERTIFICATE_FILE": str(config.certificate_file),
        "TLS_KEY_FILE": str(config.key_file),
        "TLS_CLIENT_CA_FILE": str(config.client_ca_file),
        "TLS_ORGANIZATIONS": "Operator, Friend",
    }
    async with served(data_dir, **settings) as server:
        for name in ("CS", "OTHER"):
            body = {"station_id": name, "security_profile": 3, "settings": {}}
            assert (await server.ask("POST", "/v1/charging-stations", body)).status_code == 201
        body = {"settings": {"certificate_name": "SERIAL-9"}}
        assert (await server.ask("PATCH", "/v1/charging-stations/OTHER", body)).status_code == 200

        async def connect(path: str, common_name: str, organization: str = "Operator") -> RawStation | int:
            shown = authority.issue(common_name, organization=organization).write(tmp_path, "client")
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                int(server.settings["OCPPS_PORT"]),
                ssl=client_context(authority.pem, shown),
                server_hostname="localhost",
            )
            station = RawStation(reader, writer)
            status = (await station.upgrade(path, protocols="ocpp2.0.1")).status
            if status == 101:
                return station
            station.hang_up()
            return status

        station = await connect("/ocpp/CS", "CS")
        assert isinstance(station, RawStation)
        boot = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
        answer = await station.call("1", "BootNotification", boot)
        assert answer[2]["status"] == "Accepted"  # type: ignore[index,call-overload]
        station.hang_up()
        assert isinstance(await connect("/ocpp/OTHER", "SERIAL-9", "Friend"), RawStation)
        assert await connect("/ocpp/OTHER", "OTHER") == 403
        assert await connect("/ocpp/CS", "CS", "Thief") == 403
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            authority = Authority("Other")
            shown = authority.issue("CS").write(tmp_path, "foreign")
            context = client_context((tmp_path / "authorities.pem").read_bytes(), shown)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", int(server.settings["OCPPS_PORT"]), ssl=context, server_hostname="localhost"
            )
            await RawStation(reader, writer).upgrade("/ocpp/CS")
        assert len(server.log("invalid_charging_station_certificate")) == 2
        assert len(server.log("tls_handshake_failed")) == 1
        metrics = (await server.ask("GET", "/metrics")).text
        assert 'chargeplane_ocpp_handshakes_total{outcome="tls_failed"} 1' in metrics
        plain = await RawStation.dial(server.ocpp_port)
        assert (await plain.upgrade("/ocpp/CS")).status == 403
        plain.hang_up()
