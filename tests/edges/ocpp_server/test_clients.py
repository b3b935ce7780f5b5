"""WebSocket clients that others wrote, and the door with TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import picows
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import json

from chargeplane.app.ports import StationCredentials
from chargeplane.edges.ocpp_server import Listener, OcppServer
from tests.support.station_gateway import MemoryGateway

Door = Callable[..., Awaitable[OcppServer]]

LONG = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "info": "so viel " * 200}


async def test_websockets_client_with_compression(door: Door, gateway: MemoryGateway) -> None:
    gateway.add("CS1", profile=1, password=b"secret")
    server = await door(compression_threshold_bytes=1)
    url = f"ws://CS1:secret@127.0.0.1:{server.ports[0]}/ocpp/CS1"
    async with websockets.connect(url, subprotocols=["ocpp1.6", "ocpp2.0.1"]) as station:
        assert station.subprotocol == "ocpp2.0.1"
        assert station.response is not None
        assert "permessage-deflate" in station.response.headers["Sec-WebSocket-Extensions"]
        for number in range(3):
            await station.send(json.encode([2, str(number), "Dance" * 10, {}]).decode())
            assert json.decode(await station.recv())[:3] == [4, str(number), "NotImplemented"]
        latency = await station.ping()
        assert await asyncio.wait_for(latency, 30) >= 0
    assert station.close_code == 1000


async def test_websockets_client_sees_the_status_of_a_refusal(door: Door, gateway: MemoryGateway) -> None:
    server = await door()
    with pytest.raises(websockets.InvalidStatus) as raised:
        await websockets.connect(f"ws://127.0.0.1:{server.ports[0]}/ocpp/NOBODY", subprotocols=["ocpp1.6"])
    assert raised.value.response.status_code == 404
    assert b"No charging station" in (raised.value.response.body or b"")


async def test_aiohttp_client_with_compression_and_fragments(door: Door, gateway: MemoryGateway) -> None:
    key = gateway.add("CS1")
    server = await door()
    url = f"http://127.0.0.1:{server.ports[0]}/ocpp/CS1"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, protocols=("ocpp1.6",), compress=15) as station,
    ):
        await station.send_str(json.encode([2, "1", "StatusNotification", LONG]).decode())
        assert await station.receive_json(timeout=30) == [3, "1", {}]
    assert json.decode(gateway.actors[key].messages[0].payload) == LONG


async def test_picows_client(door: Door, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door()
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    class Listening(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type is picows.WSMsgType.TEXT:
                answers.put_nowait(frame.get_payload_as_bytes())

    transport, _ = await picows.ws_connect(
        Listening,
        f"ws://127.0.0.1:{server.ports[0]}/ocpp/CS1",
        extra_headers={"Sec-WebSocket-Protocol": "ocpp1.6"},
        use_aiofastnet=False,
    )
    transport.send(picows.WSMsgType.TEXT, json.encode([2, "1", "StatusNotification", LONG]))
    assert await asyncio.wait_for(answers.get(), 30) == b'[3,"1",{}]'
    transport.disconnect()
    await transport.wait_disconnected()


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """Paths of a certificate for `name` and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


async def test_tls_listener_takes_the_tls_profiles_and_shows_the_certificate(
    door: Door, gateway: MemoryGateway, tmp_path: Path
) -> None:
    gateway.add("TLS", profile=2, password=b"pw")
    gateway.add("MUTUAL", profile=3)
    gateway.add("OTHER", profile=3)
    gateway.add("PLAIN", profile=1, password=b"pw")
    server_files, station_files = self_signed(tmp_path, "localhost"), self_signed(tmp_path, "MUTUAL")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server_files)
    context.load_verify_locations(station_files[0])
    context.verify_mode = ssl.CERT_OPTIONAL

    def check(credentials: StationCredentials, peer: ssl.SSLObject, address: str) -> bool:
        subject = dict(part[0] for part in (peer.getpeercert() or {}).get("subject", ()))  # type: ignore[misc]
        return subject.get("commonName") == credentials.station_id

    listener = Listener(host="127.0.0.1", port=0, ssl_context=context, certificate_check=check)
    server = await door(listeners=(listener,))
    client = ssl.create_default_context(cafile=str(server_files[0]))
    client.load_cert_chain(*station_files)
    address = f"localhost:{server.ports[0]}/ocpp"

    async def connect(path: str) -> int:
        try:
            async with websockets.connect(f"wss://{path}", ssl=client, subprotocols=["ocpp2.0.1"]) as station:
                await station.send('[2,"1","Heartbeat",{}]')
                assert json.decode(await station.recv())[:2] == [3, "1"]
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    assert await connect(f"TLS:pw@{address}/TLS") == 101
    assert await connect(f"TLS:no@{address}/TLS") == 401
    assert await connect(f"{address}/MUTUAL") == 101
    assert await connect(f"{address}/OTHER") == 403
    assert await connect(f"PLAIN:pw@{address}/PLAIN") == 403
