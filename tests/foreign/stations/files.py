"""A foreign station's firmware, which it fetches and checks, and its logs, which it uploads."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from typing import Any

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from ocpp.routing import after, on

from tests.foreign.stations.control import Control, Control2x, Control16

LOG = b"2026-01-31T12:00:00Z a line of the foreign station\n" * 500


def image_of(version: str) -> bytes:
    """A firmware image: its version, its program, the SHA-256 of both."""
    body = f"firmware {version}\n".encode() + bytes(range(256)) * 400
    return body + hashlib.sha256(body).digest()


def is_signed(image: bytes, certificate: str, signature: str) -> bool:
    """Whether the signature is that of the certificate's key over the whole file."""
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            key.verify(b64decode(signature), image, pss, hashes.SHA256())
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(b64decode(signature), image, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


class Files(Control):
    """What the versions share."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.busy = False
        """It takes no firmware and gives no log."""
        self.image: bytes | None = None

    def client(self) -> httpx.AsyncClient:
        """By TLS it trusts what it connects by."""
        return httpx.AsyncClient(trust_env=False, timeout=20, verify=self.tls() if self.roots else True)

    async def firmware_status(self, status: str, request_id: int | None) -> None:
        raise NotImplementedError

    async def log_status(self, status: str, request_id: int | None) -> None:
        raise NotImplementedError

    async def update(
        self, location: str, request_id: int | None, certificate: str | None = None, signature: str | None = None
    ) -> None:
        """Fetches an image, checks it, restarts with it, and tells each step."""
        signed = certificate is not None and signature is not None
        await self.firmware_status("Downloading", request_id)
        async with self.client() as client:
            answer = await client.get(location)
        if answer.status_code != 200:
            await self.firmware_status("DownloadFailed", request_id)
            return
        await self.firmware_status("Downloaded", request_id)
        image = answer.content
        if signed:
            assert certificate is not None
            assert signature is not None
            if not is_signed(image, certificate, signature):
                await self.firmware_status("InvalidSignature", request_id)
                return
            await self.firmware_status("SignatureVerified", request_id)
        await self.firmware_status("Installing", request_id)
        if hashlib.sha256(image[:-32]).digest() != image[-32:]:
            await self.firmware_status("InstallationFailed", request_id)
            return
        self.image = image
        self.firmware = image.split(b"\n", 1)[0].decode().removeprefix("firmware ")
        await self.restart("FirmwareUpdate")
        await self.firmware_status("Installed", request_id)

    async def upload(self, location: str, name: str, request_id: int | None) -> None:
        """Uploads the log, each version in another of the ways that servers take."""
        await self.log_status("Uploading", request_id)
        async with self.client() as client:
            if self.version == "1.6":
                answer = await client.post(location, content=LOG)
            elif self.version == "2.0.1":
                answer = await client.put(location.rstrip("/") + "/" + name, content=LOG)
            else:
                answer = await client.post(location, files={"file": (name, LOG)})
        await self.log_status("Uploaded" if answer.is_success else "UploadFailure", request_id)


class Files16(Files, Control16):
    """OCPP 1.6: the words of the core and of the security extension."""

    async def firmware_status(self, status: str, request_id: int | None) -> None:
        if request_id is None:
            await self.tell("FirmwareStatusNotification", status=status)
        else:
            await self.tell("SignedFirmwareStatusNotification", status=status, request_id=request_id)

    async def log_status(self, status: str, request_id: int | None) -> None:
        if request_id is None:
            await self.tell("DiagnosticsStatusNotification", status=status)
        else:
            await self.tell("LogStatusNotification", status=status, request_id=request_id)

    @on("UpdateFirmware")
    def _update16(self, **_: Any) -> Any:
        return self.answer("UpdateFirmware")

    @after("UpdateFirmware")
    def _updates16(self, location: str, **_: Any) -> None:
        self.begin(self.firmware_status("DownloadFailed", None) if self.busy else self.update(location, None))

    @on("SignedUpdateFirmware")
    def _signed_update16(self, **_: Any) -> Any:
        return self.answer("SignedUpdateFirmware", status="Rejected" if self.busy else "Accepted")

    @after("SignedUpdateFirmware")
    def _signed_updates16(self, request_id: int, firmware: dict[str, Any], **_: Any) -> None:
        if not self.busy:
            self.begin(
                self.update(firmware["location"], request_id, firmware["signing_certificate"], firmware["signature"])
            )

    @on("GetLog")
    def _log16(self, **_: Any) -> Any:
        if self.busy:
            return self.answer("GetLog", status="Rejected")
        return self.answer("GetLog", status="Accepted", filename="foreign.log")

    @after("GetLog")
    def _logs16(self, log: dict[str, Any], request_id: int, **_: Any) -> None:
        if not self.busy:
            self.begin(self.upload(log["remote_location"], "foreign.log", request_id))

    @on("GetDiagnostics")
    def _diagnostics16(self, **_: Any) -> Any:
        return self.answer("GetDiagnostics", file_name="foreign.log")

    @after("GetDiagnostics")
    def _diagnoses16(self, location: str, **_: Any) -> None:
        self.begin(self.upload(location, "foreign.log", None))


class Files2x(Files, Control2x):
    """OCPP 2.0.1 and 2.1."""

    async def firmware_status(self, status: str, request_id: int | None) -> None:
        await self.tell("FirmwareStatusNotification", status=status, request_id=request_id)

    async def log_status(self, status: str, request_id: int | None) -> None:
        await self.tell("LogStatusNotification", status=status, request_id=request_id)

    @on("UpdateFirmware")
    def _update2x(self, **_: Any) -> Any:
        return self.answer("UpdateFirmware", status="Rejected" if self.busy else "Accepted")

    @after("UpdateFirmware")
    def _updates2x(self, request_id: int, firmware: dict[str, Any], **_: Any) -> None:
        if not self.busy:
            signing = firmware.get("signing_certificate"), firmware.get("signature")
            self.begin(self.update(firmware["location"], request_id, *signing))

    @on("GetLog")
    def _log2x(self, **_: Any) -> Any:
        if self.busy:
            return self.answer("GetLog", status="Rejected")
        return self.answer("GetLog", status="Accepted", filename="foreign.log")

    @after("GetLog")
    def _logs2x(self, log: dict[str, Any], request_id: int, **_: Any) -> None:
        if not self.busy:
            self.begin(self.upload(log["remote_location"], "foreign.log", request_id))
