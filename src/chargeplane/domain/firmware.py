"""What stations tell of firmware updates, of what they publish, and of logs they upload, free of versions."""

from __future__ import annotations

from msgspec import Struct


class FirmwareStatus(Struct, frozen=True, kw_only=True, tag="firmware_status"):
    """FirmwareStatusNotification and 1.6 SignedFirmwareStatusNotification.

    Args:
        status: OCPP 2.x FirmwareStatusEnum word.
        request_id: None in 1.6 without signature, and where nothing goes on.
    """

    status: str
    request_id: int | None = None
    info: str | None = None


class PublishStatus(Struct, frozen=True, kw_only=True, tag="publish_status"):
    """PublishFirmwareStatusNotification (OCPP 2.0.1 L03).

    Args:
        locations: where the file is to be had, with `Published`.
    """

    status: str
    request_id: int | None = None
    locations: tuple[str, ...] = ()
    info: str | None = None


class LogStatus(Struct, frozen=True, kw_only=True, tag="log_status"):
    """LogStatusNotification and 1.6 DiagnosticsStatusNotification.

    Args:
        status: OCPP 2.x UploadLogStatusEnum word.
        request_id: None in 1.6 diagnostics, and where no upload goes on.
    """

    status: str
    request_id: int | None = None
    info: str | None = None


class CustomerInformationPart(Struct, frozen=True, kw_only=True, tag="customer_information_part"):
    """NotifyCustomerInformation (OCPP 2.0.1 N09.FR.05)."""

    request_id: int
    seq_no: int
    more: bool
    data: str


IDLE = "Idle"
"""Nothing goes on; said after a trigger."""

INSTALLED = "Installed"

FIRMWARE_FAILED = frozenset({"DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature"})
"""Words after which an update is over without success."""

FIRMWARE_STEPS = (
    "DownloadScheduled",
    "Downloading",
    "DownloadPaused",
    "Downloaded",
    "SignatureVerified",
    "InstallScheduled",
    "Installing",
    "InstallRebooting",
    "Installed",
)
"""The way of an update that goes well, in its order; not every station tells every step."""

PUBLISHED = "Published"
PUBLISH_FAILED = frozenset({"DownloadFailed", "InvalidChecksum", "PublishFailed"})
UPLOADED = "Uploaded"
UPLOAD_FAILED = frozenset(
    {"UploadFailure", "UploadFailed", "BadMessage", "PermissionDenied", "NotSupportedOperation", "AcceptedCanceled"}
)
"""Words after which an upload is over without success. 1.6 diagnostics say UploadFailed."""
