"""What stations tell about displays, vendors' data, batteries, streams and payments, and what they are answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from chargeplane.bridge.encoding import encode
from chargeplane.bridge.narrow import text
from chargeplane.bridge.samples import moment
from chargeplane.domain.display import DisplayMessagesReport, MessageThere
from chargeplane.domain.messages import IdToken, Notice, Question, StationMessage
from chargeplane.domain.station_exchanges import (
    Battery,
    BatterySwapReport,
    Company,
    DataTransferAnswer,
    DataTransferAsk,
    DataTransferStatus,
    Receipt,
    Settlement,
    StreamAccepted,
    StreamClosing,
    StreamOpening,
    StreamParameters,
    StreamValue,
    StreamValues,
    VatNumberAnswer,
    VatNumberAsk,
)
from chargeplane.kernel.text import made_storable
from chargeplane.ocpp import v16, v21, v201

_REFUSED: Final = DataTransferAnswer(status=DataTransferStatus.UNKNOWN_VENDOR_ID)


def data_transfer(request: Any) -> StationMessage:
    """DataTransfer of every version."""
    data = request.data
    return Question(
        action="DataTransfer",
        tells=text(f"{request.vendor_id} {request.message_id or ''}"),
        asks=DataTransferAsk(
            vendor_id=made_storable(request.vendor_id, 255),
            message_id=None if request.message_id is None else made_storable(request.message_id, 50),
            data=None if data is None else msgspec.json.encode(data),
        ),
    )


def answer_data_transfer16(request: Any, answer: Any) -> bytes:
    """DataTransfer.conf; P02.FR.06 holds alike: nobody here knows the vendor where nobody answers."""
    told = _told(answer)
    data = told.data
    if data is not None and not isinstance(data, str):
        data = msgspec.json.encode(data).decode()
    return encode(v16.DataTransferResponse(status=v16.DataTransferStatus(told.status.value), data=data))


def answer_data_transfer2x(request: Any, answer: Any) -> bytes:
    """DataTransferResponse of 2.0.1 and 2.1."""
    told = _told(answer)
    return encode(v201.DataTransferResponse(status=v201.DataTransferStatusEnumType(told.status.value), data=told.data))


def _told(answer: Any) -> DataTransferAnswer:
    told = getattr(answer, "answer", None)
    return told if isinstance(told, DataTransferAnswer) else _REFUSED


def display_messages(request: Any) -> StationMessage:
    """NotifyDisplayMessages."""
    messages = tuple(
        MessageThere(
            id=one.id,
            priority=made_storable(one.priority, 40),
            state=text(one.state, 40),
            start=moment(one.start_date_time),
            end=moment(one.end_date_time),
            ocpp_transaction_id=None if one.transaction_id is None else made_storable(one.transaction_id, 36),
            content=made_storable(one.message.content, 1024),
            format=made_storable(one.message.format, 40),
            language=text(one.message.language, 8),
        )
        for one in request.message_info or ()
    )
    more = request.tbc is True
    return Notice(
        action="NotifyDisplayMessages",
        tells=f"request {request.request_id}, {len(messages)} message(s){', more follows' if more else ''}",
        report=DisplayMessagesReport(request_id=request.request_id, messages=messages, more=more),
    )


# --- OCPP 2.1 ---------------------------------------------------------------------------------------------------------


def _battery_swap(request: v21.BatterySwapRequest) -> StationMessage:
    token = request.id_token
    batteries = tuple(
        Battery(
            evse_id=one.evse_id,
            serial_number=made_storable(one.serial_number, 50),
            soc=one.soc,
            soh=one.soh,
            production_date=moment(one.production_date),
            vendor_info=text(one.vendor_info, 500),
        )
        for one in request.battery_data
    )
    return Notice(
        action="BatterySwap",
        tells=f"{request.event_type} of {len(batteries)}, request {request.request_id}",
        report=BatterySwapReport(
            event=made_storable(request.event_type, 40),
            request_id=request.request_id,
            id_token=IdToken(value=made_storable(token.id_token, 255), type=made_storable(token.type, 64)),
            batteries=batteries,
        ),
    )


def _open_stream(request: v21.OpenPeriodicEventStreamRequest) -> StationMessage:
    stream = request.constant_stream_data
    return Question(
        action="OpenPeriodicEventStream",
        tells=f"stream {stream.id} of monitor {stream.variable_monitoring_id}",
        asks=StreamOpening(
            id=stream.id,
            monitor_id=stream.variable_monitoring_id,
            parameters=StreamParameters(interval_s=stream.params.interval, values=stream.params.values),
        ),
    )


def _answer_stream(request: Any, answer: Any) -> bytes:
    accepted = isinstance(getattr(answer, "answer", None), StreamAccepted)
    return b'{"status":"Accepted"}' if accepted else b'{"status":"Rejected"}'


def _close_stream(request: v21.ClosePeriodicEventStreamRequest) -> StationMessage:
    return Notice(action="ClosePeriodicEventStream", tells=f"stream {request.id}", report=StreamClosing(id=request.id))


def _stream_values(request: v21.NotifyPeriodicEventStream) -> StationMessage:
    base = moment(request.basetime)
    values: tuple[StreamValue, ...] = ()
    if base is not None:
        made = []
        for one in request.data:
            try:
                at = base + timedelta(seconds=float(one.t))
            except (OverflowError, ValueError):
                continue
            made.append(StreamValue(at=at, value=made_storable(one.v, 2500)))
        values = tuple(made)
    return Notice(
        action="NotifyPeriodicEventStream",
        tells=f"stream {request.id}: {len(request.data)} value(s), {request.pending} more held",
        report=StreamValues(id=request.id, values=values, pending=request.pending) if values else None,
    )


def _settlement(request: v21.NotifySettlementRequest) -> StationMessage:
    return Question(
        action="NotifySettlement",
        tells=text(f"{request.psp_ref} {request.status} {request.settlement_amount}"),
        asks=Settlement(
            psp_ref=made_storable(request.psp_ref, 255),
            status=made_storable(request.status, 40),
            amount=request.settlement_amount,
            at=moment(request.settlement_time),
            ocpp_transaction_id=text(request.transaction_id, 36),
            info=text(request.status_info, 500),
            receipt_id=text(request.receipt_id, 50),
            receipt_url=text(request.receipt_url, 2000),
            company=_company(request.vat_company),
            vat_number=text(request.vat_number, 20),
        ),
    )


def _company(address: v21.AddressType | None) -> Company | None:
    if address is None:
        return None
    return Company(
        name=made_storable(address.name),
        address1=made_storable(address.address1),
        city=made_storable(address.city),
        country=made_storable(address.country),
        address2=text(address.address2),
        postal_code=text(address.postal_code),
    )


def _answer_settlement(request: Any, answer: Any) -> bytes:
    receipt = getattr(answer, "answer", None)
    if not isinstance(receipt, Receipt):
        return b"{}"
    return encode(v21.NotifySettlementResponse(receipt_url=receipt.url, receipt_id=receipt.id))


def _vat_number(request: v21.VatNumberValidationRequest) -> StationMessage:
    return Question(
        action="VatNumberValidation",
        tells=text(request.vat_number),
        asks=VatNumberAsk(vat_number=made_storable(request.vat_number, 20), evse_id=request.evse_id),
    )


def _answer_vat_number(request: v21.VatNumberValidationRequest, answer: Any) -> bytes:
    """Nobody confirms what nobody could look up."""
    found = getattr(answer, "answer", None)
    valid = isinstance(found, VatNumberAnswer) and found.valid
    company = found.company if isinstance(found, VatNumberAnswer) else None
    return encode(
        v21.VatNumberValidationResponse(
            vat_number=request.vat_number[:20],
            evse_id=request.evse_id,
            status=v21.GenericStatusEnumType.ACCEPTED if valid else v21.GenericStatusEnumType.REJECTED,
            company=None
            if company is None
            else v21.AddressType(
                name=company.name[:50],
                address1=company.address1[:100],
                address2=company.address2,
                city=company.city[:100],
                postal_code=company.postal_code,
                country=company.country[:50],
            ),
        )
    )


INCOMING_21: Final[Mapping[str, Callable[[Any], StationMessage]]] = {
    "BatterySwap": _battery_swap,
    "ClosePeriodicEventStream": _close_stream,
    "NotifyPeriodicEventStream": _stream_values,
    "NotifySettlement": _settlement,
    "OpenPeriodicEventStream": _open_stream,
    "VatNumberValidation": _vat_number,
}
"""What these messages of a 2.1 station mean."""

OUTGOING_21: Final[Mapping[str, Callable[[Any, Any], bytes]]] = {
    "NotifySettlement": _answer_settlement,
    "OpenPeriodicEventStream": _answer_stream,
    "VatNumberValidation": _answer_vat_number,
}
"""What is answered where that is more than nothing."""
