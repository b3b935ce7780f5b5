"""Display messages, costs, tariffs, vendors' data, batteries and streams as CALLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge.commands.checks import id_token2x, invalid
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.bridge.mirror import as_wire
from chargeplane.bridge.samples import moment
from chargeplane.domain.commands import CommandState
from chargeplane.domain.commands.display_and_cost import (
    AdjustStream,
    ChangeTransactionTariff,
    ClearDisplayMessage,
    ClearTariffs,
    GetDisplayMessages,
    GetStreams,
    GetTariffs,
    RequestBatterySwap,
    SetDefaultTariff,
    SetDisplayMessage,
    TellWebPayment,
    TransferData,
    UpdateCost,
)
from chargeplane.domain.station_exchanges import (
    DataTransferAnswer,
    DataTransferStatus,
    StreamOpening,
    StreamParameters,
    Streams,
)
from chargeplane.domain.station_tariffs import TariffAssignment, TariffCleared, TariffsCleared, TariffsThere
from chargeplane.kernel.text import made_storable
from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_V16, _V201, _V21 = OcppVersion.V16, OcppVersion.V201, OcppVersion.V21


def _transfer16(command: TransferData) -> tuple[str, Struct]:
    data = command.data
    if data is not None and not isinstance(data, str):
        data = msgspec.json.encode(data).decode()
    return "DataTransfer", v16.DataTransferRequest(
        vendor_id=command.vendor_id, message_id=command.message_id, data=data
    )


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    longest = 512 if v is v201 else 1024
    states = {word.value: word for word in v.MessageStateEnumType}
    formats = {word.value: word for word in v.MessageFormatEnumType}

    def content(text: Any, pointer: str) -> Any:
        if text.format.value not in formats:
            raise invalid(
                f"The station's OCPP version shows no {text.format.value}.", f"{pointer}/format", ", ".join(formats)
            )
        if len(text.content) > longest:
            raise invalid(
                f"A text for the display has at most {longest} characters in the station's OCPP version.",
                f"{pointer}/content",
                f"at most {longest} characters",
            )
        return v.MessageContentType(format=formats[text.format.value], content=text.content, language=text.language)

    def state_of(state: Any, pointer: str) -> Any:
        if state is None:
            return None
        if state.value not in states:
            raise invalid(
                f"The station's OCPP version knows no state '{state.value}'.", pointer, "one of " + ", ".join(states)
            )
        return states[state.value]

    def set_message(command: SetDisplayMessage) -> tuple[str, Struct]:
        message = command.message
        texts = [content(text, f"/message/texts/{place}") for place, text in enumerate(message.texts)]
        if len(texts) > 1 and v is v201:
            raise invalid(
                "OCPP 2.0.1 shows a message in one language.", "/message/texts", "one text; several need OCPP 2.1"
            )
        more = {"message_extra": tuple(texts[1:])} if len(texts) > 1 else {}
        return "SetDisplayMessage", v.SetDisplayMessageRequest(
            message=v.MessageInfoType(
                id=command.id,
                priority=v.MessagePriorityEnumType(message.priority.value),
                message=texts[0],
                state=state_of(message.state, "/message/state"),
                start_date_time=None if message.start is None else rfc3339(message.start),
                end_date_time=None if message.end is None else rfc3339(message.end),
                transaction_id=message.ocpp_transaction_id,
                **more,
            )
        )

    def get_messages(command: GetDisplayMessages) -> tuple[str, Struct]:
        return "GetDisplayMessages", v.GetDisplayMessagesRequest(
            request_id=command.request_id,
            id=command.ids or None,
            priority=None if command.priority is None else v.MessagePriorityEnumType(command.priority.value),
            state=state_of(command.state, "/state"),
        )

    def clear_message(command: ClearDisplayMessage) -> tuple[str, Struct]:
        return "ClearDisplayMessage", v.ClearDisplayMessageRequest(id=command.id)

    def update_cost(command: UpdateCost) -> tuple[str, Struct]:
        return "CostUpdated", v.CostUpdatedRequest(
            total_cost=command.total_cost, transaction_id=command.ocpp_transaction_id
        )

    def transfer(command: TransferData) -> tuple[str, Struct]:
        return "DataTransfer", v.DataTransferRequest(
            vendor_id=command.vendor_id, message_id=command.message_id, data=command.data
        )

    return {
        SetDisplayMessage: set_message,
        GetDisplayMessages: get_messages,
        ClearDisplayMessage: clear_message,
        UpdateCost: update_cost,
        TransferData: transfer,
    }


def _set_default_tariff(command: SetDefaultTariff) -> tuple[str, Struct]:
    return "SetDefaultTariff", v21.SetDefaultTariffRequest(
        evse_id=command.evse_id, tariff=as_wire(v21.TariffType, command.tariff)
    )


def _get_tariffs(command: GetTariffs) -> tuple[str, Struct]:
    return "GetTariffs", v21.GetTariffsRequest(evse_id=command.evse_id)


def _clear_tariffs(command: ClearTariffs) -> tuple[str, Struct]:
    return "ClearTariffs", v21.ClearTariffsRequest(
        tariff_ids=command.tariff_ids or None, evse_id=command.evse_id or None
    )


def _change_tariff(command: ChangeTransactionTariff) -> tuple[str, Struct]:
    return "ChangeTransactionTariff", v21.ChangeTransactionTariffRequest(
        tariff=as_wire(v21.TariffType, command.tariff), transaction_id=command.ocpp_transaction_id
    )


def _swap(command: RequestBatterySwap) -> tuple[str, Struct]:
    return "RequestBatterySwap", v21.RequestBatterySwapRequest(
        id_token=id_token2x(v21, command.id_token), request_id=command.request_id
    )


def _adjust(command: AdjustStream) -> tuple[str, Struct]:
    if command.interval_s is None and command.values is None:
        # N14.FR.01, as N11.FR.09 for the opening
        raise invalid("Say after how long or after how many values.", "/interval_s", "interval_s, values, or both")
    return "AdjustPeriodicEventStream", v21.AdjustPeriodicEventStreamRequest(
        id=command.id,
        params=v21.PeriodicEventStreamParamsType(interval=command.interval_s, values=command.values),
    )


def _get_streams(command: GetStreams) -> tuple[str, Struct]:
    return "GetPeriodicEventStream", v21.GetPeriodicEventStreamRequest()


def _web_payment(command: TellWebPayment) -> tuple[str, Struct]:
    return "NotifyWebPaymentStarted", v21.NotifyWebPaymentStartedRequest(
        evse_id=command.evse_id, timeout=command.hold_s
    )


# --- what stations answer ---------------------------------------------------------------------------------------------


class _Nothing(Struct):
    pass


class _Assignment(Struct, rename="camel"):
    tariff_id: str
    tariff_kind: str
    valid_from: str | None = None
    evse_ids: list[int] | None = None
    id_tokens: list[str] | None = None


class _Tariffs(Struct, rename="camel"):
    tariff_assignments: list[_Assignment] | None = None


class _Cleared(Struct, rename="camel"):
    status: str
    tariff_id: str | None = None


class _AllCleared(Struct, rename="camel"):
    clear_tariffs_result: list[_Cleared]


class _Transferred(Struct):
    status: str
    data: Any = None


class _Parameters(Struct):
    interval: int | None = None
    values: int | None = None


class _Stream(Struct, rename="camel"):
    id: int
    variable_monitoring_id: int
    params: _Parameters = msgspec.field(default_factory=_Parameters)


class _Streams(Struct, rename="camel"):
    constant_stream_data: list[_Stream] | None = None


_nothing: Final = msgspec.json.Decoder(_Nothing).decode
_tariffs: Final = msgspec.json.Decoder(_Tariffs).decode
_all_cleared: Final = msgspec.json.Decoder(_AllCleared).decode
_transferred: Final = msgspec.json.Decoder(_Transferred).decode
_streams: Final = msgspec.json.Decoder(_Streams).decode


def _noted(payload: bytes) -> Understood:
    """An answer without fields says that the message has arrived."""
    _nothing(payload)
    return Understood(state=CommandState.ACCEPTED)


def _tariffs_there(payload: bytes) -> TariffsThere:
    there = _tariffs(payload).tariff_assignments or []
    return TariffsThere(
        assignments=tuple(
            TariffAssignment(
                tariff_id=made_storable(one.tariff_id, 60),
                kind=made_storable(one.tariff_kind, 40),
                valid_from=moment(one.valid_from),
                evse_ids=tuple(one.evse_ids or ()),
                id_tokens=tuple(made_storable(token, 255) for token in one.id_tokens or ()),
            )
            for one in there
        )
    )


def _tariffs_cleared(payload: bytes) -> Understood:
    results = tuple(
        TariffCleared(
            tariff_id=None if one.tariff_id is None else made_storable(one.tariff_id, 60),
            status=made_storable(one.status, 40),
        )
        for one in _all_cleared(payload).clear_tariffs_result
    )
    refused = [one for one in results if one.status == "Rejected"]
    cleared = any(one.status == "Accepted" for one in results)
    status = "Rejected" if refused else "Accepted" if cleared else "NoTariff"
    return Understood(
        state=CommandState.ACCEPTED if cleared and not refused else CommandState.REJECTED,
        status=status,
        reason=None
        if status == "Accepted"
        else "The station kept some tariffs."
        if refused
        else "The station has no such tariff.",
        reply=TariffsCleared(results=results),
    )


def _data(payload: bytes) -> DataTransferAnswer | None:
    told = _transferred(payload)
    try:
        status = DataTransferStatus(told.status)
    except ValueError:
        return None
    return DataTransferAnswer(status=status, data=told.data)


def _open_streams(payload: bytes) -> Understood:
    there = tuple(
        StreamOpening(
            id=one.id,
            monitor_id=one.variable_monitoring_id,
            parameters=StreamParameters(interval_s=one.params.interval, values=one.params.values),
        )
        for one in _streams(payload).constant_stream_data or []
    )
    return Understood(state=CommandState.ACCEPTED, reply=Streams(streams=there))


_CALLS201: Final = _calls2x(v201)
_CALLS21: Final[Mapping[type, ToCall]] = {
    **_calls2x(v21),
    SetDefaultTariff: _set_default_tariff,
    GetTariffs: _get_tariffs,
    ClearTariffs: _clear_tariffs,
    ChangeTransactionTariff: _change_tariff,
    RequestBatterySwap: _swap,
    AdjustStream: _adjust,
    GetStreams: _get_streams,
    TellWebPayment: _web_payment,
}

_NO_DISPLAY: Final = "OCPP 1.6 has no messages for the display; some vendors have their own: use transfer_data."
_NO_TARIFFS: Final = (
    "Stations calculate costs by themselves since OCPP 2.1; this one is told the cost with update_cost."
)
_NO_COST: Final = "OCPP 1.6 has no message for costs; some vendors have their own: use transfer_data."
_SINCE_21: Final = "The station's OCPP version does not have this; it came with OCPP 2.1."

SUBJECT: Final = Subject(
    calls={_V16: {TransferData: _transfer16}, _V201: _CALLS201, _V21: _CALLS21},
    lacks={
        **dict.fromkeys(
            [(_V16, one) for one in (SetDisplayMessage, GetDisplayMessages, ClearDisplayMessage)], _NO_DISPLAY
        ),
        (_V16, UpdateCost): _NO_COST,
        **dict.fromkeys(
            [(_V201, one) for one in (SetDefaultTariff, GetTariffs, ClearTariffs, ChangeTransactionTariff)],
            _NO_TARIFFS,
        ),
        **dict.fromkeys(
            [(_V16, one) for one in (SetDefaultTariff, GetTariffs, ClearTariffs, ChangeTransactionTariff)], _SINCE_21
        ),
        **dict.fromkeys(
            [
                (version, one)
                for version in (_V16, _V201)
                for one in (RequestBatterySwap, AdjustStream, GetStreams, TellWebPayment)
            ],
            _SINCE_21,
        ),
    },
    reasons={
        (SetDisplayMessage, "Rejected"): "The station refused the message; it may hold as many as it can.",
        (SetDisplayMessage, "NotSupportedMessageFormat"): "The station cannot show texts of that format.",
        (SetDisplayMessage, "NotSupportedPriority"): "The station has no such priority.",
        (SetDisplayMessage, "NotSupportedState"): "The station has no such state to show a message in.",
        (SetDisplayMessage, "UnknownTransaction"): "The station knows no running transaction of that id.",
        (SetDisplayMessage, "LanguageNotSupported"): "The station's display does not know that language.",
        (GetDisplayMessages, "Unknown"): "The station has no such message.",
        (ClearDisplayMessage, "Unknown"): "The station has no message with that number.",
        (SetDefaultTariff, "TooManyElements"): "The station takes tariffs of fewer elements only.",
        (SetDefaultTariff, "ConditionNotSupported"): "The station knows no conditions in tariffs.",
        (SetDefaultTariff, "DuplicateTariffId"): "The station has a tariff of that id already.",
        (ChangeTransactionTariff, "TooManyElements"): "The station takes tariffs of fewer elements only.",
        (ChangeTransactionTariff, "ConditionNotSupported"): "The station knows no conditions in tariffs.",
        (ChangeTransactionTariff, "TxNotFound"): "The station knows no running transaction of that id.",
        (ChangeTransactionTariff, "NoCurrencyChange"): "The currency cannot change within a transaction.",
        (GetTariffs, "NoTariff"): "The station has no tariff there.",
        (TransferData, "UnknownVendorId"): "The station does not know that vendor.",
        (TransferData, "UnknownMessageId"): "The station knows the vendor, but no such message of theirs.",
        (RequestBatterySwap, "Rejected"): "The station refused; it may have too few charged batteries.",
        (AdjustStream, "Rejected"): "The station cannot send the stream at that pace, or has no such stream.",
    },
    replies={
        version: {TransferData: _data, **({GetTariffs: _tariffs_there} if version is _V21 else {})}
        for version in OcppVersion
    },
    answers={
        _V201: {UpdateCost: _noted},
        _V21: {
            UpdateCost: _noted,
            TellWebPayment: _noted,
            ClearTariffs: _tariffs_cleared,
            GetStreams: _open_streams,
        },
    },
)
"""What is shown to the driver, and what stations do besides charging."""
