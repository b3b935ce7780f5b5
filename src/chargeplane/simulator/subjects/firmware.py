"""Firmware of a virtual station: really fetched, its signature verified, installed with a reboot; published as a local controller.

A firmware file names its version in its first line (`firmware 2.0.0`); of a file without such a line the name is the version.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.evse import StopReason
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.transfers import Fetched, TransferError, fetch, serve_file

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_VERSION_LINE: Final = re.compile(rb"firmware ([!-~]{1,50})\s")
_RETRY_S: Final = 1.0


class Update(Struct, frozen=True, kw_only=True):
    """An update that was asked for.

    Args:
        signed: told by the messages of the security extension (1.6).
        request_id: None in an unsigned update of 1.6.
    """

    location: str
    request_id: int | None
    retrieve_at: datetime | None
    install_at: datetime | None
    retries: int
    retry_interval_s: float
    certificate: str | None
    signature: str | None
    signed: bool


class FirmwareState:
    """What a station knows of its updates.

    Attributes:
        task: the update that goes on.
        last: the last status that was told, to be told again after a trigger (L01.FR.26).
        history: all statuses told, in order.
    """

    def __init__(self) -> None:
        self.update: Update | None = None
        self.task: asyncio.Task[None] | None = None
        self.installing = False
        self.last = "Idle"
        self.history: list[str] = []
        self.published: dict[str, Published] = {}
        self.publishing: asyncio.Task[None] | None = None
        self.publish_last = "Idle"


class Published:
    """A file that a local controller offers."""

    def __init__(self, server: asyncio.Server, url: str) -> None:
        self.server = server
        self.url = url
        self.downloads = 0

    def count(self, begins: bool) -> None:
        """A download began or ended."""
        self.downloads += 1 if begins else -1


# --- telling ----------------------------------------------------------------------------------------------------------


def status_draft(station: VirtualStation, update: Update | None, word: str) -> Draft:
    """The status of an update in the station's version."""
    if station.version != "1.6":
        return Draft(
            "FirmwareStatusNotification",
            lambda: v201.FirmwareStatusNotificationRequest(
                status=v201.FirmwareStatusEnumType(word), request_id=None if update is None else update.request_id
            ),
        )
    if update is not None and update.signed:
        number = update.request_id or 0
        return Draft(
            "SignedFirmwareStatusNotification",
            lambda: v16.SignedFirmwareStatusNotificationRequest(
                status=v16.SignedFirmwareStatus(word), request_id=number
            ),
        )
    return Draft(
        "FirmwareStatusNotification",
        lambda: v16.FirmwareStatusNotificationRequest(status=v16.FirmwareStatus(word)),
    )


_PLAIN16: Final = frozenset(word.value for word in v16.FirmwareStatus)


def _tell(station: VirtualStation, update: Update, word: str) -> None:
    if station.version == "1.6" and not update.signed and word not in _PLAIN16:
        return  # 1.6 has seven words
    state = station.state_of(FirmwareState)
    state.last = word
    state.history.append(word)
    station.send(status_draft(station, update, word))


def triggered(station: VirtualStation) -> Draft:
    """What is told after a trigger: Idle after an Installed or without any update, else the last status
    (OCPP 2.0.1 L01.FR.25, FR.26)."""
    state = station.state_of(FirmwareState)
    if state.last in ("Idle", "Installed") or state.update is None:
        return status_draft(station, None, "Idle")
    return status_draft(station, state.update, state.last)


def security_event(station: VirtualStation, kind: str, info: str | None = None) -> Draft:
    """SecurityEventNotification."""
    at = rfc3339(station.clock.now())
    if station.version == "1.6":
        return Draft(
            "SecurityEventNotification",
            lambda: v16.SecurityEventNotificationRequest(type=kind, timestamp=at, tech_info=info),
        )
    return Draft(
        "SecurityEventNotification",
        lambda: v201.SecurityEventNotificationRequest(type=kind, timestamp=at, tech_info=info),
    )


# --- updating ---------------------------------------------------------------------------------------------------------


def _seconds_until(station: VirtualStation, at: datetime | None) -> float:
    return 0.0 if at is None else max(0.0, (at - station.clock.now()).total_seconds())


async def _pause(station: VirtualStation, steps: float = 1.0) -> None:
    await asyncio.sleep(station.options.step_s * steps)


async def _carry_out(station: VirtualStation, update: Update) -> None:
    wait_s = _seconds_until(station, update.retrieve_at)
    if wait_s > 0:
        _tell(station, update, "DownloadScheduled")
        await asyncio.sleep(wait_s)
    fetched = await _download(station, update)
    if fetched is None:
        _tell(station, update, "DownloadFailed")
        return
    _tell(station, update, "Downloaded")
    await _pause(station)
    if update.signature is not None:
        if not await asyncio.to_thread(_verified, fetched.data, update):
            _tell(station, update, "InvalidSignature")
            station.send(security_event(station, "InvalidFirmwareSignature"))
            return
        _tell(station, update, "SignatureVerified")
        await _pause(station)
    wait_s = _seconds_until(station, update.install_at)
    if wait_s > 0:
        _tell(station, update, "InstallScheduled")
        await asyncio.sleep(wait_s)
    await _wait_until_idle(station, update)
    state = station.state_of(FirmwareState)
    state.installing = True
    _tell(station, update, "Installing")
    await _pause(station, 2)
    if station.has(Fault.FIRMWARE_INSTALL_FAILS):
        _tell(station, update, "InstallationFailed")
        return
    if station.has(Fault.FIRMWARE_VERIFICATION_FAILS):
        _tell(station, update, "InstallVerificationFailed" if _has_word(station, update) else "InstallationFailed")
        return
    _reboot_with(station, update, _version_of(fetched))


def _has_word(station: VirtualStation, update: Update) -> bool:
    return station.version != "1.6" or update.signed


async def _download(station: VirtualStation, update: Update) -> Fetched | None:
    for attempt in range(update.retries + 1):
        if attempt:
            await asyncio.sleep(update.retry_interval_s)
        _tell(station, update, "Downloading")  # a retry may tell it again (L01.FR.30)
        await _pause(station)
        if station.has(Fault.FIRMWARE_STUCK):
            await asyncio.Event().wait()
        if station.has(Fault.FIRMWARE_DOWNLOAD_FAILS):
            continue
        try:
            return await fetch(update.location, station.options.ssl)
        except TransferError:
            continue
    return None


async def _wait_until_idle(station: VirtualStation, update: Update) -> None:
    """Transactions end first; EVSEs that are free take no new ones meanwhile (L01.FR.06, FR.07)."""
    if not any(evse.busy for evse in station.evses):
        return
    _tell(station, update, "InstallScheduled")
    while any(evse.busy for evse in station.evses):
        for evse in station.evses:
            if not evse.busy and evse.operative:
                evse.operative = False
                station.tell_status(evse)
        await asyncio.sleep(max(station.options.step_s, 0.01))


def _version_of(fetched: Fetched) -> str:
    found = _VERSION_LINE.match(fetched.data)
    return found[1].decode() if found is not None else fetched.name[:50] or "unknown"


def _reboot_with(station: VirtualStation, update: Update, version: str) -> None:
    if _has_word(station, update):
        _tell(station, update, "InstallRebooting")
    if not station.has(Fault.FIRMWARE_KEEPS_OLD_VERSION):
        station.options = replace(station.options, model=replace(station.options.model, firmware=version))
    state = station.state_of(FirmwareState)

    def booted() -> Struct:
        # written when the new firmware tells it: after its boot was accepted (L01.FR.32, a)
        state.last = "Installed"
        state.history.append("Installed")
        state.installing = False
        for evse in station.evses:
            evse.operative = station.operative
        if update.signed or station.version != "1.6":
            station.send(security_event(station, "FirmwareUpdated"))  # L01.FR.31
        return status_draft(station, update, "Installed").write()

    station.after_boot = Draft(status_draft(station, update, "Installed").action, booted)
    station.reboot("FirmwareUpdate", stop=StopReason.SOFT_RESET)


def _certificate(pem: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return None


def _certificate_is_good(station: VirtualStation, pem: str) -> bool:
    found = _certificate(pem)
    if found is None or station.has(Fault.REJECTS_SIGNING_CERTIFICATE):
        return False
    now = station.clock.now()
    return found.not_valid_before_utc <= now <= found.not_valid_after_utc


def _verified(data: bytes, update: Update) -> bool:
    """RSA-PSS or ECDSA over SHA-256 of the whole file (L01.FR.04)."""
    certificate = _certificate(update.certificate or "")
    if certificate is None or update.signature is None:
        return False
    key = certificate.public_key()
    try:
        signature = b64decode(update.signature)
        if isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
            key.verify(signature, data, pss, hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (InvalidSignature, Base64Error, ValueError):
        return False
    return True


def _begin(station: VirtualStation, update: Update) -> tuple[str, Callable[[], None] | None]:
    """The status word of the answer, and what follows."""
    state = station.state_of(FirmwareState)
    if station.has(Fault.REJECTS_ALL):
        return "Rejected", None
    if update.certificate is not None and not _certificate_is_good(station, update.certificate):
        event = security_event(station, "InvalidFirmwareSigningCertificate")
        return "InvalidCertificate", lambda: station.send(event)
    going_on = state.task is not None and not state.task.done()
    if going_on and state.installing:
        return "Rejected", None  # L01.FR.27

    def begin() -> None:
        if state.task is not None:
            state.task.cancel()
        state.update, state.installing = update, False
        state.task = station.work(_carry_out(station, update))

    return ("AcceptedCanceled" if going_on else "Accepted"), begin  # L01.FR.24


def _update16(station: VirtualStation, request: v16.UpdateFirmwareRequest) -> Reply:
    _, then = _begin(
        station,
        Update(
            location=request.location,
            request_id=None,
            retrieve_at=parse_timestamp(request.retrieve_date),
            install_at=None,
            retries=max(0, request.retries or 0),
            retry_interval_s=_RETRY_S if request.retry_interval is None else max(0, request.retry_interval),
            certificate=None,
            signature=None,
            signed=False,
        ),
    )
    return Reply(v16.UpdateFirmwareResponse(), then)


def _with_firmware(request: Any) -> Update:
    firmware = request.firmware
    return Update(
        location=firmware.location,
        request_id=request.request_id,
        retrieve_at=parse_timestamp(firmware.retrieve_date_time),
        install_at=None if firmware.install_date_time is None else parse_timestamp(firmware.install_date_time),
        retries=max(0, request.retries or 0),
        retry_interval_s=_RETRY_S if request.retry_interval is None else max(0, request.retry_interval),
        certificate=firmware.signing_certificate,
        signature=firmware.signature,
        signed=True,
    )


def _signed16(station: VirtualStation, request: v16.SignedUpdateFirmwareRequest) -> Reply:
    word, then = _begin(station, _with_firmware(request))
    return Reply(v16.SignedUpdateFirmwareResponse(status=v16.UpdateFirmwareStatus(word)), then)


def _update2x(station: VirtualStation, request: Any) -> Reply:
    word, then = _begin(station, _with_firmware(request))
    return Reply(v201.UpdateFirmwareResponse(status=v201.UpdateFirmwareStatusEnumType(word)), then)


# --- publishing -------------------------------------------------------------------------------------------------------


def publish_draft(word: str, request_id: int | None, urls: tuple[str, ...] = ()) -> Draft:
    """PublishFirmwareStatusNotification."""
    return Draft(
        "PublishFirmwareStatusNotification",
        lambda: v201.PublishFirmwareStatusNotificationRequest(
            status=v201.PublishFirmwareStatusEnumType(word), request_id=request_id, location=urls or None
        ),
    )


def publishing_triggered(station: VirtualStation) -> Draft:
    """What is told after a trigger (L03.FR.10, FR.11)."""
    last = station.state_of(FirmwareState).publish_last
    return publish_draft("Idle" if last == "Published" else last, None)


async def _publish(station: VirtualStation, request: Any) -> None:
    state = station.state_of(FirmwareState)
    checksum = request.checksum.lower()

    def tell(word: str, *urls: str) -> None:
        state.publish_last = word
        station.send(publish_draft(word, request.request_id, urls))

    fetched: Fetched | None = None
    for attempt in range(max(0, request.retries or 0) + 1):
        if attempt:
            await asyncio.sleep(_RETRY_S if request.retry_interval is None else max(0, request.retry_interval))
        tell("Downloading")
        await _pause(station)
        try:
            fetched = await fetch(request.location, station.options.ssl)
            break
        except TransferError:
            continue
    if fetched is None:
        tell("DownloadFailed")
        return
    tell("Downloaded")
    if hashlib.md5(fetched.data, usedforsecurity=False).hexdigest() != checksum:
        tell("InvalidChecksum")
        return
    tell("ChecksumVerified")
    file: Published | None = None

    def count(begins: bool) -> None:
        if file is not None:
            file.count(begins)

    try:
        server, url = await serve_file(checksum, fetched.data, count)
    except OSError:
        tell("PublishFailed")
        return
    earlier = state.published.pop(checksum, None)
    if earlier is not None:
        earlier.server.close()
    file = state.published[checksum] = Published(server, url)
    station.at_close(server.close)
    tell("Published", url)


def _publish_firmware(station: VirtualStation, request: Any) -> Reply:
    words = v201.GenericStatusEnumType
    if station.has(Fault.REJECTS_ALL):
        return Reply(v201.PublishFirmwareResponse(status=words.REJECTED))

    def begin() -> None:
        state = station.state_of(FirmwareState)
        if state.publishing is not None:
            state.publishing.cancel()
        state.publishing = station.work(_publish(station, request))

    return Reply(v201.PublishFirmwareResponse(status=words.ACCEPTED), begin)


def _unpublish_firmware(station: VirtualStation, request: Any) -> Reply:
    words = v201.UnpublishFirmwareStatusEnumType
    state = station.state_of(FirmwareState)
    found = state.published.get(request.checksum.lower())
    if found is None:
        return Reply(v201.UnpublishFirmwareResponse(status=words.NO_FIRMWARE))
    if found.downloads > 0:
        return Reply(v201.UnpublishFirmwareResponse(status=words.DOWNLOAD_ONGOING))
    del state.published[request.checksum.lower()]
    return Reply(v201.UnpublishFirmwareResponse(status=words.UNPUBLISHED), found.server.close)


HANDLERS16: Final[dict[str, Callable[[Any, Any], Reply]]] = {
    "SignedUpdateFirmware": _signed16,
    "UpdateFirmware": _update16,
}
"""OCPP 1.6 with its security extension."""

HANDLERS2X: Final[dict[str, Callable[[Any, Any], Reply]]] = {
    "PublishFirmware": _publish_firmware,
    "UnpublishFirmware": _unpublish_firmware,
    "UpdateFirmware": _update2x,
}
"""OCPP 2.0.1 and 2.1."""
