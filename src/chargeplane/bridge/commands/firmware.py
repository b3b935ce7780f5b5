"""Firmware as CALLs: update, publish, unpublish (OCPP 2.x block L; 1.6, 5.20; security whitepaper L01)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands.checks import invalid
from chargeplane.bridge.commands.outcomes import DONE, status_word, with_info
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.domain.commands.firmware import PublishFirmware, UnpublishFirmware, UpdateFirmware
from chargeplane.domain.commands.outcomes import CommandState
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

NO_REQUEST_ID: Final = 0
"""What a request without a number of ours carries: only a caller that follows nothing up leaves it out."""


def fitting_url(url: str, longest: int, pointer: str = "/location") -> str:
    """The URL where it fits the version.

    Raises:
        InvalidInputError: it is longer than the version takes, or no URL.
    """
    if len(url) > longest:
        raise invalid(
            f"The station's OCPP version takes URLs of at most {longest} characters, this one has {len(url)}.",
            pointer,
            f"at most {longest} characters",
        )
    return url


def when(value: datetime | None) -> str | None:
    """A time on the wire."""
    return None if value is None else rfc3339(value)


_NOW: Final = "1970-01-01T00:00:00.000Z"
"""A moment that has passed by every clock: OCPP demands a time to fetch the file after."""


def _update16(command: UpdateFirmware) -> tuple[str, Struct]:
    if command.signature is None and command.signing_certificate is None:
        if command.install_at is not None:
            raise invalid(
                "An unsigned update of OCPP 1.6 has no time of installation: the station installs when it has the file.",
                "/install_at",
                "leave it out, or sign the firmware",
            )
        return "UpdateFirmware", v16.UpdateFirmwareRequest(
            location=command.location,
            retrieve_date=when(command.retrieve_at) or _NOW,
            retries=command.retries,
            retry_interval=command.retry_interval_s,
        )
    if command.signature is None or command.signing_certificate is None:
        missing = "signature" if command.signature is None else "signing_certificate"
        raise invalid(
            "A signed update of OCPP 1.6 needs signature and signing certificate.", f"/{missing}", "give both or none"
        )
    return "SignedUpdateFirmware", v16.SignedUpdateFirmwareRequest(
        request_id=command.request_id or NO_REQUEST_ID,
        firmware=v16.Firmware(
            location=fitting_url(command.location, 512),
            retrieve_date_time=when(command.retrieve_at) or _NOW,
            install_date_time=when(command.install_at),
            signing_certificate=command.signing_certificate,
            signature=command.signature,
        ),
        retries=command.retries,
        retry_interval=command.retry_interval_s,
    )


def _calls2x(v: Any) -> dict[type, ToCall]:
    longest = 512 if v is v201 else 2000

    def update(command: UpdateFirmware) -> tuple[str, Struct]:
        return "UpdateFirmware", v.UpdateFirmwareRequest(
            request_id=command.request_id or NO_REQUEST_ID,
            firmware=v.FirmwareType(
                location=fitting_url(command.location, longest),
                retrieve_date_time=when(command.retrieve_at) or _NOW,
                install_date_time=when(command.install_at),
                signing_certificate=command.signing_certificate,
                signature=command.signature,
            ),
            retries=command.retries,
            retry_interval=command.retry_interval_s,
        )

    def publish(command: PublishFirmware) -> tuple[str, Struct]:
        return "PublishFirmware", v.PublishFirmwareRequest(
            location=fitting_url(command.location, longest),
            checksum=command.checksum.lower(),
            request_id=command.request_id or NO_REQUEST_ID,
            retries=command.retries,
            retry_interval=command.retry_interval_s,
        )

    def unpublish(command: UnpublishFirmware) -> tuple[str, Struct]:
        return "UnpublishFirmware", v.UnpublishFirmwareRequest(checksum=command.checksum.lower())

    return {UpdateFirmware: update, PublishFirmware: publish, UnpublishFirmware: unpublish}


_UPDATE_REASONS: Final = {
    "Rejected": "The station does not take the update: it may be busy with another one that it cannot give up.",
    "InvalidCertificate": "The station does not take the signing certificate: it trusts no authority that signed it.",
    "RevokedCertificate": "The station says that the signing certificate was revoked.",
}


def _update_answered16(payload: bytes) -> Understood:
    # OCPP 1.6, 6.54: the answer to an unsigned update has no field; the signed one has a status.
    if not isinstance(msgspec.json.decode(payload), dict):
        return Understood(state=CommandState.FAILED, reason="The station answered with something that is no object.")
    word, info = status_word(payload)
    if not isinstance(word, str) or not word:
        return Understood(state=CommandState.ACCEPTED, status="Accepted")
    status = made_storable(word, 64)
    if status in DONE:
        return Understood(state=CommandState.ACCEPTED, status=status)
    reason = with_info(_UPDATE_REASONS.get(status, f"The station answered {status}."), info)
    return Understood(state=CommandState.REJECTED, status=status, reason=reason)


_UNPUBLISHED: Final = {
    "DownloadOngoing": "A station is fetching the file just now; try again later.",
    "NoFirmware": "The local controller offers no firmware of that checksum.",
}


def _unpublished(payload: bytes) -> Understood:
    word, info = status_word(payload)
    status = made_storable(word, 64) if isinstance(word, str) and word else None
    if status in ("Unpublished", "Accepted"):
        return Understood(state=CommandState.ACCEPTED, status=status)
    if status is None:
        return Understood(state=CommandState.FAILED, reason="The station answered UnpublishFirmware without a status.")
    reason = with_info(_UNPUBLISHED.get(status, f"The station answered {status}."), info)
    return Understood(state=CommandState.REJECTED, status=status, reason=reason)


_LOCAL_CONTROLLERS: Final = "Publishing firmware by a local controller exists since OCPP 2.0.1."

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {UpdateFirmware: _update16},
        OcppVersion.V201: _calls2x(v201),
        OcppVersion.V21: _calls2x(v21),
    },
    lacks={
        (OcppVersion.V16, PublishFirmware): _LOCAL_CONTROLLERS,
        (OcppVersion.V16, UnpublishFirmware): _LOCAL_CONTROLLERS,
    },
    reasons={
        **{(UpdateFirmware, word): reason for word, reason in _UPDATE_REASONS.items()},
        (PublishFirmware, "Rejected"): "The station does not publish the firmware; it may be no local controller.",
    },
    answers={
        OcppVersion.V16: {UpdateFirmware: _update_answered16},
        OcppVersion.V201: {UnpublishFirmware: _unpublished},
        OcppVersion.V21: {UnpublishFirmware: _unpublished},
    },
)
"""Firmware: updates, and their publishing by local controllers."""
