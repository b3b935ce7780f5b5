"""Security profiles 2 and 3 over real TLS sockets (OCPP 2.0.1 A00; TC_A_04 to TC_A_08 of a CSMS)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from chargeplane.edges.ocpp_server import Listener, OcppServer, ServerCertificate, TlsDoor, TlsMaterial
from chargeplane.kernel.errors import InvalidInputError
from tests.edges.ocpp_server.conftest import Door
from tests.support.authority import Authority, Issued, client_context
from tests.support.raw_station import RawStation, frame
from tests.support.station_gateway import MemoryGateway

BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


class Place:
    """An authority, a server certificate of it, and the stations' folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.server = self.authority.issue("localhost", dns="localhost")
        self.made = 0

    def material(self, *more: Issued, lists: bytes = b"", clients: bytes | None = None) -> TlsMaterial:
        shown = (self.server, *more)
        return TlsMaterial(
            certificates=tuple(ServerCertificate(chain=one.pem, key=one.key_pem) for one in shown),
            client_authorities=self.authority.pem if clients is None else clients,
            revocation_lists=lists,
        )

    def client(self, shown: Issued | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        self.made += 1
        files = None if shown is None else shown.write(self.folder, f"client-{self.made}")
        context = client_context(self.authority.pem, files)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def open_tls(door: Door, tls: TlsDoor) -> OcppServer:
    listener = Listener(host="127.0.0.1", port=0, ssl_context=tls.context, certificate_check=tls.check)
    return await door(listeners=(listener, Listener(host="127.0.0.1", port=0)))


async def dial(server: OcppServer, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> RawStation:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.ports[0], ssl=context, server_hostname="localhost"
    )
    return RawStation(reader, writer)


async def status(server: OcppServer, context: ssl.SSLContext, station: str, auth: bytes | None = None) -> int:
    connection = await dial(server, context)
    try:
        return (await connection.upgrade(f"/ocpp/{station}", protocols="ocpp2.0.1", auth=auth)).status
    finally:
        connection.hang_up()


async def is_cut(server: OcppServer, context: ssl.SSLContext, station: str) -> bool:
    """Whether the TLS handshake fails; with TLS 1.3 a client sees it at its first read."""
    try:
        await status(server, context, station)
    except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        return True
    return False


@BOTH
async def test_profile_2_takes_tls_with_the_password(
    door: Door, gateway: MemoryGateway, place: Place, version: ssl.TLSVersion
) -> None:
    gateway.add("CS", profile=2, password=b"pw")
    server = await open_tls(door, TlsDoor(place.material()))
    station = await dial(server, place.client(version=version))
    assert (await station.upgrade("/ocpp/CS", protocols="ocpp2.0.1", auth=b"CS:pw")).status == 101
    assert (await station.call("1", "Heartbeat", {}))[:2] == [3, "1"]
    station.hang_up()
    assert await status(server, place.client(version=version), "CS", b"CS:no") == 401
    assert await status(server, place.client(version=version), "CS") == 401


@BOTH
async def test_profile_3_takes_the_stations_own_certificate(
    door: Door, gateway: MemoryGateway, place: Place, version: ssl.TLSVersion
) -> None:
    gateway.add("CS", profile=3)
    server = await open_tls(door, TlsDoor(place.material(), organizations=frozenset({"Operator"})))
    station = await dial(server, place.client(place.authority.issue("CS"), version))
    assert (await station.upgrade("/ocpp/CS", protocols="ocpp2.0.1")).status == 101
    assert (await station.call("1", "Heartbeat", {}))[:2] == [3, "1"]
    station.hang_up()


async def test_certificate_of_another_station_or_organisation_is_refused_with_a_log_line(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("CS", profile=3)
    server = await open_tls(door, TlsDoor(place.material(), organizations=frozenset({"Operator"})))
    with capture_logs() as lines:
        assert await status(server, place.client(place.authority.issue("OTHER")), "CS") == 403
        assert await status(server, place.client(place.authority.issue("CS", organization="Thief")), "CS") == 403
        assert await status(server, place.client(), "CS") == 403
    reasons = [line["reason"] for line in lines if line["event"] == "invalid_charging_station_certificate"]
    assert reasons == [
        "its common name is not CS",
        "its organisation is not one of those that are trusted",
        "none was shown",
    ]


async def test_common_name_may_be_one_that_the_operator_has_set(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("CS", profile=3)
    gateway.stations[(None, "CS")] = msgspec.structs.replace(
        gateway.stations[(None, "CS")], certificate_name="SERIAL-1"
    )
    server = await open_tls(door, TlsDoor(place.material()))
    assert await status(server, place.client(place.authority.issue("SERIAL-1")), "CS") == 101
    assert await status(server, place.client(place.authority.issue("CS")), "CS") == 403


async def test_only_the_certificate_of_the_serial_number_that_the_operator_has_set_is_taken(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("CS", profile=3)
    mine, other = place.authority.issue("CS"), place.authority.issue("CS")
    number = mine.certificate.serial_number
    for spelled in (f"{number:x}", f"{number:X}"):
        gateway.stations[(None, "CS")] = msgspec.structs.replace(
            gateway.stations[(None, "CS")], certificate_serial_number=spelled
        )
        server = await open_tls(door, TlsDoor(place.material()))
        assert await status(server, place.client(mine), "CS") == 101
        assert await status(server, place.client(other), "CS") == 403


@BOTH
async def test_expired_and_foreign_certificates_end_the_tls_handshake_with_a_log_line(
    door: Door, gateway: MemoryGateway, place: Place, version: ssl.TLSVersion
) -> None:
    gateway.add("CS", profile=3)
    failures: list[None] = []
    server = await open_tls(door, TlsDoor(place.material(), on_failure=lambda: failures.append(None)))
    with capture_logs() as lines:
        assert await is_cut(server, place.client(place.authority.issue("CS", days=-1), version), "CS")
        assert await is_cut(server, place.client(Authority("Other").issue("CS"), version), "CS")
    reasons = [line["reason"] for line in lines if line["event"] == "tls_handshake_failed"]
    assert reasons == ["certificate has expired", "unable to get local issuer certificate"]
    assert len(failures) == 2
    assert gateway.actors == {}


async def test_revoked_certificates_are_refused_by_list_and_by_the_house(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("CS", profile=3)
    good, listed, told = (place.authority.issue("CS") for _ in range(3))
    issuer = place.authority.name.public_bytes()
    tls = TlsDoor(
        place.material(lists=place.authority.revoke(listed)),
        revoked=lambda by, serial: (by, serial) == (issuer, told.certificate.serial_number),
    )
    server = await open_tls(door, tls)
    assert await status(server, place.client(good), "CS") == 101
    with capture_logs() as lines:
        assert await status(server, place.client(listed), "CS") == 403
        assert await status(server, place.client(told), "CS") == 403
    reasons = [line["reason"] for line in lines if line["event"] == "invalid_charging_station_certificate"]
    assert reasons == ["it was revoked"] * 2


async def test_tls_profiles_are_refused_without_tls_and_the_others_with_it(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("TWO", profile=2, password=b"pw")
    gateway.add("THREE", profile=3)
    gateway.add("ONE", profile=1, password=b"pw")
    server = await open_tls(door, TlsDoor(place.material()))
    with capture_logs() as lines:
        for name in ("TWO", "THREE"):
            plain = await RawStation.dial(server.ports[1])
            assert (await plain.upgrade(f"/ocpp/{name}", auth=f"{name}:pw".encode())).status == 403
            plain.hang_up()
        assert await status(server, place.client(), "ONE", b"ONE:pw") == 403
    outcomes = [line["outcome"] for line in lines if line["event"] == "ocpp_handshake_refused"]
    assert outcomes == ["wrong_security_profile"] * 3


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_older_tls_is_refused(door: Door, gateway: MemoryGateway, place: Place) -> None:
    gateway.add("CS", profile=2, password=b"pw")
    server = await open_tls(door, TlsDoor(place.material()))
    old = place.client(version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with capture_logs() as lines:
        assert await is_cut(server, old, "CS")
    assert [line["event"] for line in lines] == ["tls_handshake_failed"]


@pytest.mark.parametrize(
    ("cipher", "kind"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ec"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "ec"),
        ("AES128-GCM-SHA256", "rsa"),
        ("AES256-GCM-SHA384", "rsa"),
    ],
)
async def test_the_four_cipher_suites_of_the_specification_are_there(
    door: Door, gateway: MemoryGateway, place: Place, cipher: str, kind: str
) -> None:
    gateway.add("CS", profile=2, password=b"pw")
    more = (place.authority.issue("localhost", dns="localhost", rsa_key=True),) if kind == "rsa" else ()
    server = await open_tls(door, TlsDoor(place.material(*more)))
    context = place.client(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(cipher)
    station = await dial(server, context)
    assert station.writer.get_extra_info("cipher")[0] == cipher
    assert (await station.upgrade("/ocpp/CS", auth=b"CS:pw")).status == 101
    station.hang_up()


async def test_new_certificates_serve_new_handshakes_and_leave_connections_alone(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("CS", profile=2, password=b"pw")
    gateway.add("LATER", profile=2, password=b"pw")
    tls = TlsDoor(place.material())
    server = await open_tls(door, tls)
    station = await dial(server, place.client())
    await station.upgrade("/ocpp/CS", auth=b"CS:pw")
    newer = Place(place.folder)
    with pytest.raises(InvalidInputError, match="do not fit"):
        tls.load(TlsMaterial(certificates=(ServerCertificate(chain=newer.server.pem, key=place.server.key_pem),)))
    assert await status(server, place.client(), "LATER", b"LATER:pw") == 101
    tls.load(newer.material())
    assert await status(server, newer.client(), "LATER", b"LATER:pw") == 101
    with pytest.raises(ssl.SSLCertVerificationError):
        await status(server, place.client(), "LATER", b"LATER:pw")
    assert (await station.call("1", "Heartbeat", {}))[:2] == [3, "1"]
    station.hang_up()


def resumed(port: int, context: ssl.SSLContext, request: bytes) -> list[tuple[bool, bytes]]:
    """Connects twice, the second time with the session of the first: whether it was resumed, and the answer."""

    session, answers = None, []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as secure,
        ):
            secure.sendall(request)
            answers.append((bool(secure.session_reused), secure.recv(4096)[:12]))
            session = secure.session
    return answers


@BOTH
async def test_sessions_are_resumed_and_the_certificate_is_judged_again(
    door: Door, gateway: MemoryGateway, place: Place, version: ssl.TLSVersion
) -> None:
    gateway.add("CS", profile=3)
    mine = place.authority.issue("CS")
    revoked: set[int] = set()
    server = await open_tls(door, TlsDoor(place.material(), revoked=lambda issuer, serial: serial in revoked))
    request = (
        b"GET /ocpp/CS HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ocpp2.0.1\r\n\r\n"
    )
    context = place.client(mine, version)
    answers = await asyncio.to_thread(resumed, server.ports[0], context, request)
    assert answers == [(False, b"HTTP/1.1 101"), (True, b"HTTP/1.1 101")]
    revoked.add(mine.certificate.serial_number)
    answers = await asyncio.to_thread(resumed, server.ports[0], context, request)
    assert [answer for _, answer in answers] == [b"HTTP/1.1 403"] * 2


async def test_long_messages_pass_over_tls_and_the_socket_goes_on(
    door: Door, gateway: MemoryGateway, place: Place
) -> None:
    gateway.add("CS", profile=2, password=b"pw")
    server = await open_tls(door, TlsDoor(place.material()))
    station = await dial(server, place.client())
    await station.upgrade("/ocpp/CS", auth=b"CS:pw")
    for number in range(3):
        long = await station.call(f"l{number}", "DataTransfer", {"vendorId": "v", "data": "x" * 100_000})
        assert long[:2] == [3, f"l{number}"]
        assert (await station.call(f"h{number}", "Heartbeat", {}))[:2] == [3, f"h{number}"]
    station.hang_up()


def test_a_list_of_an_unknown_authority_is_refused(place: Place) -> None:
    with pytest.raises(InvalidInputError, match="signed by none"):
        TlsDoor(place.material(lists=Authority("Other").revoke()))


@BOTH
async def test_close_code_reaches_a_station_that_is_still_sending(
    door: Door, gateway: MemoryGateway, place: Place, version: ssl.TLSVersion
) -> None:
    gateway.add("CS", profile=2, password=b"pw")
    server = await open_tls(door, TlsDoor(place.material()))
    station = await dial(server, place.client(version=version))
    assert (await station.upgrade("/ocpp/CS", protocols="ocpp2.0.1", auth=b"CS:pw")).status == 101
    data = frame(b"x" * 1_000_000)
    station.writer.write(data[:1000])
    await gateway.until(lambda: len(gateway.gone) == 1)
    for start in range(1000, len(data), 50_000):
        station.writer.write(data[start : start + 50_000])
        await asyncio.sleep(0)
    assert await station.close_code() == 1009
