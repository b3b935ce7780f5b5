"""What stations tell of firmware updates, publishing, logs and customers, in all versions. Nothing raises."""

from __future__ import annotations

from typing import Any, Final

from chargeplane.bridge.narrow import text
from chargeplane.domain.firmware import CustomerInformationPart, FirmwareStatus, LogStatus, PublishStatus
from chargeplane.domain.messages import Notice, StationMessage
from chargeplane.kernel.text import made_storable

_MAX_INT: Final = 2**31 - 1


def request_id_of(request: Any) -> int | None:
    """The request the message follows from; None where it names none, or no number of ours."""
    found = getattr(request, "request_id", None)
    return found if found is not None and 0 <= found <= _MAX_INT else None


def _info(request: Any) -> str | None:
    info = getattr(request, "status_info", None)  # since 2.1
    if info is None:
        return None
    return text(", ".join(one for one in (info.reason_code, info.additional_info) if one), 500)


def _status(request: Any) -> str:
    return made_storable(str(request.status), 64)


def firmware_status(request: Any) -> StationMessage:
    """FirmwareStatusNotification (OCPP 1.6, 4.5; 2.0.1 L01.FR.01)."""
    return _firmware("FirmwareStatusNotification", request)


def signed_firmware_status(request: Any) -> StationMessage:
    """SignedFirmwareStatusNotification (OCPP 1.6 security whitepaper L01.FR.01)."""
    return _firmware("SignedFirmwareStatusNotification", request)


def _firmware(action: str, request: Any) -> StationMessage:
    status = _status(request)
    return Notice(
        action=action,
        tells=status,
        report=FirmwareStatus(status=status, request_id=request_id_of(request), info=_info(request)),
    )


def publish_status(request: Any) -> StationMessage:
    """PublishFirmwareStatusNotification (OCPP 2.0.1 L03.FR.01)."""
    status = _status(request)
    return Notice(
        action="PublishFirmwareStatusNotification",
        tells=status,
        report=PublishStatus(
            status=status,
            request_id=request_id_of(request),
            locations=tuple(made_storable(one, 2000) for one in (request.location or ())[:20]),
            info=_info(request),
        ),
    )


def log_status(request: Any) -> StationMessage:
    """LogStatusNotification (OCPP 2.0.1 N01.FR.07; 1.6 security whitepaper N01)."""
    return _log("LogStatusNotification", request)


def diagnostics_status(request: Any) -> StationMessage:
    """DiagnosticsStatusNotification (OCPP 1.6, 4.4)."""
    return _log("DiagnosticsStatusNotification", request)


def _log(action: str, request: Any) -> StationMessage:
    status = _status(request)
    return Notice(
        action=action,
        tells=status,
        report=LogStatus(status=status, request_id=request_id_of(request), info=_info(request)),
    )


def customer_information(request: Any) -> StationMessage:
    """NotifyCustomerInformation (OCPP 2.0.1 N09.FR.05). What it tells of the customer is not among what is told of the message."""
    more = request.tbc is True
    return Notice(
        action="NotifyCustomerInformation",
        tells=f"request {request.request_id}, part {request.seq_no}{', more follows' if more else ''}",
        report=CustomerInformationPart(
            request_id=request_id_of(request) or 0,
            seq_no=request.seq_no if 0 <= request.seq_no <= _MAX_INT else 0,
            more=more,
            data=made_storable(request.data or "", 100_000),
        ),
        hides=True,
    )
