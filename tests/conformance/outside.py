"""Who stands outside of the server in the Plug & Charge cases: authorities, an OCSP responder, a pool of contract certificates."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.support.authority import name_of

POOL_TOKEN = "token-of-the-pool"
EXI_RESPONSE = b64encode(b"a CertificateInstallationRes in EXI").decode()


class Certified:
    """A certificate with its key and who signed it."""

    def __init__(self, name: str, issuer: Certified | None, responder: str | None, *, ca: bool) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.issuer = issuer or self
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(name))
            .issuer_name(name_of(name) if issuer is None else issuer.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if responder is not None:
            place = x509.UniformResourceIdentifier(responder)
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        signer = self.key if issuer is None else issuer.key
        self.certificate: x509.Certificate = builder.sign(signer, hashes.SHA256())
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def named(self, responder: str) -> dict[str, str]:
        """OCPP's OCSPRequestDataType of it."""
        above = self.issuer.certificate
        bits = above.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return {
            "hashAlgorithm": "SHA256",
            "issuerNameHash": hashlib.sha256(above.subject.public_bytes()).hexdigest(),
            "issuerKeyHash": hashlib.sha256(bits).hexdigest(),
            "serialNumber": f"{self.certificate.serial_number:x}",
            "responderURL": responder,
        }


class Outside:
    """An HTTP server of its own on the loopback: `/ocsp`, and the pool below `/v1`."""

    def __init__(self) -> None:
        self.known: dict[int, Certified] = {}
        self.revoked: set[int] = set()
        self.asked: list[int] = []
        """Serial numbers that somebody asked about."""
        self.wanted: list[dict[str, Any]] = []
        """What the pool was asked for."""
        self.url = ""
        self._server: asyncio.Server

    @property
    def responder(self) -> str:
        """Address of the OCSP responder."""
        return f"{self.url}/ocsp"

    async def start(self) -> None:
        """Opens the door."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Closes it."""
        self._server.close()

    def certify(self, name: str, issuer: Certified | None = None, *, ca: bool = False) -> Certified:
        """A certificate that the responder knows."""
        made = Certified(name, issuer, None if issuer is None else self.responder, ca=ca)
        self.known[made.certificate.serial_number] = made
        return made

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, kind, answer = self._answer(first.split()[1], headers, body)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
                    + answer
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[str, str, bytes]:
        if path == "/ocsp":
            return "200 OK", "application/ocsp-response", self._ocsp(body)
        if path == "/v1/ccp/signedContractData" and headers.get("authorization") == f"Bearer {POOL_TOKEN}":
            self.wanted.append(json.loads(body))
            message = {"certificateInstallationRes": EXI_RESPONSE, "emaid": "DE8AAC00000001"}
            answer = {"CCPResponse": {"emaidContent": [{"messageDef": message}]}}
            return "200 OK", "application/json", json.dumps(answer).encode()
        return "404 Not Found", "text/plain", b""

    def _ocsp(self, body: bytes) -> bytes:
        request = ocsp.load_der_ocsp_request(body)
        number = request.serial_number
        self.asked.append(number)
        known = self.known.get(number)
        if known is None:
            return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(
                serialization.Encoding.DER
            )
        now = datetime.now(UTC)
        gone = number in self.revoked
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=known.certificate,
                issuer=known.issuer.certificate,
                algorithm=request.hash_algorithm,
                cert_status=ocsp.OCSPCertStatus.REVOKED if gone else ocsp.OCSPCertStatus.GOOD,
                this_update=now,
                next_update=now + timedelta(hours=1),
                revocation_time=now if gone else None,
                revocation_reason=x509.ReasonFlags.key_compromise if gone else None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.NAME, known.issuer.certificate)
        )
        return builder.sign(known.issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
