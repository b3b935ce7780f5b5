"""A small EST server (RFC 7030) over TLS, in a thread of its own."""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.support.authority import Authority, name_of

USER, SECRET = "chargeplane", "an-est-password"


class EstServer:
    """Signs with a root and an intermediate authority of its own.

    Args:
        folder: for its files.
        with_certificate: clients show a certificate of `clients` in place of a password.
    """

    def __init__(self, folder: Path, *, with_certificate: bool = False) -> None:
        self.folder = folder
        self.root = Authority("EST Root")
        self.clients = Authority("EST Clients")
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.issuing = self._certificate(
            name_of("EST Issuing"), self.key.public_key(), self.root.name, self.root.key, ca=True
        )
        self.with_certificate = with_certificate
        self.status = 200
        self.answers = 0
        self.wrong_key = False
        self.label = ""
        self.prefix = "est/"
        self.admits = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
        chain, key = self.root.issue("localhost", dns="localhost").write(folder, "est-server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        if with_certificate:
            context.load_verify_locations(cadata=self.clients.pem.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        self.ca_file = folder / "est-ca.pem"
        self.ca_file.write_bytes(self.root.pem)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def client_files(self) -> tuple[str, str]:
        chain, key = self.clients.issue("csms").write(self.folder, "est-client")
        return str(chain), str(key)

    def _certificate(
        self, subject: x509.Name, public: Any, issuer: x509.Name, signing: Any, *, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .sign(signing, hashes.SHA256())
        )

    def enroll(self, body: bytes) -> bytes:
        request = x509.load_der_x509_csr(base64.b64decode(body))
        assert request.is_signature_valid
        key = ec.generate_private_key(ec.SECP256R1()).public_key() if self.wrong_key else request.public_key()
        made = self._certificate(request.subject, key, self.issuing.subject, self.key)
        return pkcs7.serialize_certificates([made, self.issuing], serialization.Encoding.DER)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        est = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _tell(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _admitted(self) -> bool:
                return est.with_certificate or self.headers.get("Authorization") == est.admits

            def do_GET(self) -> None:
                if self.path != f"/.well-known/{est.prefix}{est.label}cacerts":
                    self._tell(404)
                    return
                found = pkcs7.serialize_certificates([est.issuing, est.root.certificate], serialization.Encoding.DER)
                self._tell(200, base64.encodebytes(found), Content_Type="application/pkcs7-mime")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                est.answers += 1
                if self.path != f"/.well-known/{est.prefix}{est.label}simpleenroll":
                    self._tell(404)
                elif not self._admitted():
                    self._tell(401, WWW_Authenticate="Basic")
                elif est.status != 200:
                    self._tell(est.status, b"not now", Retry_After="60")
                elif self.headers["Content-Type"] != "application/pkcs10":
                    self._tell(415)
                else:
                    self._tell(
                        200,
                        base64.encodebytes(est.enroll(body)),
                        Content_Type="application/pkcs7-mime; smime-type=certs-only",
                        Content_Transfer_Encoding="base64",
                    )

        return Handler


@contextlib.contextmanager
def est_server(folder: Path, **more: Any) -> Iterator[EstServer]:
    """A running one."""
    server = EstServer(folder, **more)
    server.start()
    try:
        yield server
    finally:
        server.stop()
