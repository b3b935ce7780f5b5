"""Logs of a virtual station, really written and really uploaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.transfers import TransferError, upload

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_RETRY_S: Final = 1.0


class Wanted(Struct, frozen=True, kw_only=True):
    """A log that was asked for.

    Args:
        diagnostics: told by 1.6 DiagnosticsStatusNotification.
    """

    location: str
    kind: str
    request_id: int | None
    oldest: datetime | None
    latest: datetime | None
    retries: int
    retry_interval_s: float
    diagnostics: bool = False


class LogState:
    """A station's uploads.

    Attributes:
        method: how files are uploaded by HTTP: multipart, post or put.
        uploaded: the files that were, by name.
    """

    def __init__(self) -> None:
        self.wanted: Wanted | None = None
        self.task: asyncio.Task[None] | None = None
        self.method = "multipart"
        self.uploaded: dict[str, bytes] = {}


_FAILURES16: Final = {word.value: word for word in v16.UploadLogStatus}


def status_draft(station: VirtualStation, wanted: Wanted | None, word: str, *, diagnostics: bool = False) -> Draft:
    """The status of an upload in the station's version."""
    number = None if wanted is None else wanted.request_id
    if station.version != "1.6":
        return Draft(
            "LogStatusNotification",
            lambda: v201.LogStatusNotificationRequest(status=v201.UploadLogStatusEnumType(word), request_id=number),
        )
    if diagnostics or (wanted is not None and wanted.diagnostics):
        status = v16.DiagnosticsStatus.UPLOAD_FAILED if word not in ("Idle", "Uploaded", "Uploading") else word
        return Draft(
            "DiagnosticsStatusNotification",
            lambda: v16.DiagnosticsStatusNotificationRequest(status=v16.DiagnosticsStatus(status)),
        )
    return Draft(
        "LogStatusNotification",
        lambda: v16.LogStatusNotificationRequest(status=v16.UploadLogStatus(word), request_id=number),
    )


def triggered(station: VirtualStation, *, diagnostics: bool = False) -> Draft:
    """What is told after a trigger: Uploading while it goes on, else Idle (OCPP 2.0.1 N01.FR.13; 1.6, 4.4)."""
    state = station.state_of(LogState)
    going_on = state.task is not None and not state.task.done()
    if going_on and state.wanted is not None and state.wanted.diagnostics == diagnostics:
        return status_draft(station, state.wanted, "Uploading")
    return status_draft(station, None, "Idle", diagnostics=diagnostics)


def log_text(station: VirtualStation, wanted: Wanted) -> bytes:
    """The log: what the station knows of itself, one line each."""
    now = rfc3339(station.clock.now())
    model = station.options.model
    lines = [
        f"{now} {wanted.kind} of {station.station_id} ({model.vendor} {model.model}, firmware {model.firmware})",
        f"{now} from {wanted.oldest or 'the beginning'} to {wanted.latest or 'now'}",
    ]
    lines += [
        f"{now} EVSE {evse.id}: {evse.status.value}, {evse.meter.power_w} W, {evse.meter.delivered_wh} Wh"
        for evse in station.evses
    ]
    lines += [f"{now} called: {action} {payload}" for action, payload in station.calls]
    return "\n".join([*lines, ""]).encode()


def file_name(station: VirtualStation) -> str:
    """Of a log that begins now."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in station.station_id)
    return f"{safe[:200]}-{station.clock.now():%Y%m%d%H%M%S}.log"


async def _carry_out(station: VirtualStation, wanted: Wanted, name: str) -> None:
    state = station.state_of(LogState)
    failure = "UploadFailure"
    for attempt in range(wanted.retries + 1):
        if attempt:
            await asyncio.sleep(wanted.retry_interval_s)
        station.send(status_draft(station, wanted, "Uploading"))
        await asyncio.sleep(station.options.step_s)
        if station.has(Fault.UPLOAD_STUCK):
            await asyncio.Event().wait()
        if station.has(Fault.UPLOAD_FAILS):
            continue
        data = log_text(station, wanted)
        try:
            await upload(wanted.location, name, data, station.options.ssl, method=state.method)
        except TransferError as error:
            failure = {401: "PermissionDenied", 403: "PermissionDenied", 405: "NotSupportedOperation"}.get(
                error.status or 0, "UploadFailure"
            )
            continue
        state.uploaded[name] = data
        station.send(status_draft(station, wanted, "Uploaded"))
        return
    station.send(status_draft(station, wanted, failure))  # after the last attempt (N01.FR.10)


def _begin(station: VirtualStation, wanted: Wanted) -> tuple[str, str | None, Callable[[], None] | None]:
    """Status word, file name, and what follows."""
    if station.has(Fault.REJECTS_ALL) or station.has(Fault.NO_LOGS):
        return "Rejected", None, None  # N01.FR.05
    state = station.state_of(LogState)
    going_on = state.task is not None and not state.task.done()
    earlier = state.wanted
    name = file_name(station)

    def begin() -> None:
        if state.task is not None and going_on:
            state.task.cancel()
            if station.version != "1.6":
                station.send(status_draft(station, earlier, "AcceptedCanceled"))  # N01.FR.20
        state.wanted = wanted
        state.task = station.work(_carry_out(station, wanted, name))

    return ("AcceptedCanceled" if going_on else "Accepted"), name, begin  # N01.FR.12


def _wanted(request: Any) -> Wanted:
    log = request.log
    return Wanted(
        location=log.remote_location,
        kind=str(request.log_type),
        request_id=request.request_id,
        oldest=None if log.oldest_timestamp is None else parse_timestamp(log.oldest_timestamp),
        latest=None if log.latest_timestamp is None else parse_timestamp(log.latest_timestamp),
        retries=max(0, request.retries or 0),
        retry_interval_s=_RETRY_S if request.retry_interval is None else max(0, request.retry_interval),
    )


def _get_log16(station: VirtualStation, request: v16.GetLogRequest) -> Reply:
    word, name, then = _begin(station, _wanted(request))
    return Reply(v16.GetLogResponse(status=v16.LogStatus(word), filename=name), then)


def _get_log2x(station: VirtualStation, request: Any) -> Reply:
    word, name, then = _begin(station, _wanted(request))
    return Reply(v201.GetLogResponse(status=v201.LogStatusEnumType(word), filename=name), then)


def _get_diagnostics(station: VirtualStation, request: v16.GetDiagnosticsRequest) -> Reply:
    _, name, then = _begin(
        station,
        Wanted(
            location=request.location,
            kind="DiagnosticsLog",
            request_id=None,
            oldest=None if request.start_time is None else parse_timestamp(request.start_time),
            latest=None if request.stop_time is None else parse_timestamp(request.stop_time),
            retries=max(0, request.retries or 0),
            retry_interval_s=_RETRY_S if request.retry_interval is None else max(0, request.retry_interval),
            diagnostics=True,
        ),
    )
    return Reply(v16.GetDiagnosticsResponse(file_name=name), then)


HANDLERS16: Final[dict[str, Callable[[Any, Any], Reply | None]]] = {
    "GetDiagnostics": _get_diagnostics,
    "GetLog": lambda station, request: (
        None if station.has(Fault.NO_SECURITY_EXTENSION) else _get_log16(station, request)
    ),
}
"""OCPP 1.6 with its security extension."""

HANDLERS2X: Final[dict[str, Callable[[Any, Any], Reply]]] = {"GetLog": _get_log2x}
"""OCPP 2.0.1 and 2.1."""
