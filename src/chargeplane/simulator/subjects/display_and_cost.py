"""What is on a virtual station's display, what it calculates with, batteries it swaps, values it streams, payments it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v21, v201
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.faults import Fault

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_MOST_MESSAGES: Final = 50
_MOST_ELEMENTS: Final = 20
_AT_ONCE: Final = 10
"""Display messages in one NotifyDisplayMessages."""


class Showing:
    """What a station holds of this subject."""

    def __init__(self) -> None:
        self.messages: dict[int, Any] = {}
        self.costs: dict[str, Decimal] = {}
        self.default_tariffs: dict[int, v21.TariffType] = {}
        self.transaction_tariffs: dict[str, v21.TariffType] = {}
        self.streams: dict[int, v21.ConstantStreamDataType] = {}
        self.web_payments: dict[int, int] = {}
        self.charged_batteries = 4


def _set_message(station: VirtualStation, request: v201.SetDisplayMessageRequest) -> Reply:
    statuses = v201.DisplayMessageStatusEnumType
    showing = station.state_of(Showing)
    message = request.message
    status = statuses.ACCEPTED
    if station.has(Fault.REJECTS_ALL):
        status = statuses.REJECTED
    elif message.message.format not in ("UTF8", "ASCII", "URI", "QRCODE"):
        status = statuses.NOT_SUPPORTED_MESSAGE_FORMAT
    elif message.transaction_id is not None and station.session_of(message.transaction_id) is None:
        status = statuses.UNKNOWN_TRANSACTION  # O02.FR.01
    elif message.id not in showing.messages and len(showing.messages) >= _MOST_MESSAGES:
        status = statuses.REJECTED
    else:
        showing.messages[message.id] = message
    return Reply(v201.SetDisplayMessageResponse(status=status))


def _get_messages(station: VirtualStation, request: v201.GetDisplayMessagesRequest) -> Reply:
    wanted = [
        one
        for one in station.state_of(Showing).messages.values()
        if (request.id is None or one.id in request.id)
        and (request.priority is None or one.priority == request.priority)
        and (request.state is None or one.state == request.state)
    ]
    statuses = v201.GetDisplayMessagesStatusEnumType
    if not wanted:
        return Reply(v201.GetDisplayMessagesResponse(status=statuses.UNKNOWN))  # O03.FR.06

    def tell() -> None:
        for start in range(0, len(wanted), _AT_ONCE):
            part = tuple(wanted[start : start + _AT_ONCE])
            _send(
                station,
                "NotifyDisplayMessages",
                v21.NotifyDisplayMessagesRequest(
                    request_id=request.request_id, message_info=part, tbc=start + _AT_ONCE < len(wanted)
                ),
            )

    return Reply(v201.GetDisplayMessagesResponse(status=statuses.ACCEPTED), tell)


def _clear_message(station: VirtualStation, request: v201.ClearDisplayMessageRequest) -> Reply:
    statuses = v201.ClearMessageStatusEnumType
    found = station.state_of(Showing).messages.pop(request.id, None)
    return Reply(v201.ClearDisplayMessageResponse(status=statuses.ACCEPTED if found else statuses.UNKNOWN))


def _cost_updated(station: VirtualStation, request: v201.CostUpdatedRequest) -> Reply:
    station.state_of(Showing).costs[request.transaction_id] = request.total_cost
    return Reply(v201.CostUpdatedResponse())


# --- OCPP 2.1 ---------------------------------------------------------------------------------------------------------


def _elements(tariff: v21.TariffType) -> int:
    parts: Sequence[Any] = (
        tariff.energy,
        tariff.charging_time,
        tariff.idle_time,
        tariff.fixed_fee,
        tariff.reservation_time,
        tariff.reservation_fixed,
    )
    return sum(len(part.prices) for part in parts if part is not None)


def _set_default_tariff(station: VirtualStation, request: v21.SetDefaultTariffRequest) -> Reply:
    statuses = v21.TariffSetStatusEnumType
    showing = station.state_of(Showing)
    status = statuses.ACCEPTED
    if station.has(Fault.REJECTS_ALL) or request.evse_id > len(station.evses):
        status = statuses.REJECTED
    elif _elements(request.tariff) > _MOST_ELEMENTS:
        status = statuses.TOO_MANY_ELEMENTS
    else:
        evses = [request.evse_id] if request.evse_id else [evse.id for evse in station.evses]
        for evse_id in evses:
            showing.default_tariffs[evse_id] = request.tariff
    return Reply(v21.SetDefaultTariffResponse(status=status))


def _get_tariffs(station: VirtualStation, request: v21.GetTariffsRequest) -> Reply:
    showing = station.state_of(Showing)
    places: dict[str, tuple[v21.TariffType, list[int]]] = {}
    for evse_id, tariff in sorted(showing.default_tariffs.items()):
        if request.evse_id in (0, evse_id):
            places.setdefault(tariff.tariff_id, (tariff, []))[1].append(evse_id)
    if not places:
        return Reply(v21.GetTariffsResponse(status=v21.TariffGetStatusEnumType.NO_TARIFF))
    return Reply(
        v21.GetTariffsResponse(
            status=v21.TariffGetStatusEnumType.ACCEPTED,
            tariff_assignments=tuple(
                v21.TariffAssignmentType(
                    tariff_id=name,
                    tariff_kind=v21.TariffKindEnumType.DEFAULT_TARIFF,
                    valid_from=tariff.valid_from,
                    evse_ids=tuple(evse_ids),
                )
                for name, (tariff, evse_ids) in places.items()
            ),
        )
    )


def _clear_tariffs(station: VirtualStation, request: v21.ClearTariffsRequest) -> Reply:
    statuses = v21.TariffClearStatusEnumType
    tariffs = station.state_of(Showing).default_tariffs
    gone = {
        evse_id: tariff.tariff_id
        for evse_id, tariff in tariffs.items()
        if (request.evse_id is None or request.evse_id == evse_id)
        and (request.tariff_ids is None or tariff.tariff_id in request.tariff_ids)
    }
    for evse_id in gone:
        del tariffs[evse_id]
    results = [
        v21.ClearTariffsResultType(status=statuses.ACCEPTED, tariff_id=name) for name in sorted({*gone.values()})
    ]
    results += [
        v21.ClearTariffsResultType(status=statuses.NO_TARIFF, tariff_id=name)
        for name in request.tariff_ids or ()
        if name not in gone.values()
    ]
    return Reply(
        v21.ClearTariffsResponse(
            clear_tariffs_result=tuple(results) or (v21.ClearTariffsResultType(status=statuses.NO_TARIFF),)
        )
    )


def _change_tariff(station: VirtualStation, request: v21.ChangeTransactionTariffRequest) -> Reply:
    statuses = v21.TariffChangeStatusEnumType
    showing = station.state_of(Showing)
    status = statuses.ACCEPTED
    known = showing.transaction_tariffs.get(request.transaction_id)
    if station.session_of(request.transaction_id) is None:
        status = statuses.TX_NOT_FOUND
    elif known is not None and known.currency != request.tariff.currency:
        status = statuses.NO_CURRENCY_CHANGE
    elif _elements(request.tariff) > _MOST_ELEMENTS:
        status = statuses.TOO_MANY_ELEMENTS
    else:
        showing.transaction_tariffs[request.transaction_id] = request.tariff
    return Reply(v21.ChangeTransactionTariffResponse(status=status))


def _request_swap(station: VirtualStation, request: v21.RequestBatterySwapRequest) -> Reply:
    showing = station.state_of(Showing)
    if station.has(Fault.REJECTS_ALL) or not showing.charged_batteries:
        return Reply(
            v21.RequestBatterySwapResponse(
                status=v21.GenericStatusEnumType.REJECTED,
                status_info=v21.StatusInfoType(reason_code="NoBatteryAvailable"),
            )
        )
    return Reply(
        v21.RequestBatterySwapResponse(status=v21.GenericStatusEnumType.ACCEPTED),
        lambda: swap_batteries(station, request.id_token.id_token, request.request_id),
    )


def swap_batteries(station: VirtualStation, id_token: str, request_id: int) -> None:
    """A driver brings an empty battery and takes a charged one (OCPP 2.1 S03)."""
    showing = station.state_of(Showing)
    showing.charged_batteries -= 1
    events = v21.BatterySwapEventEnumType
    token = v21.IdTokenType(id_token=id_token, type="Central")
    for event, soc, slot in ((events.BATTERY_IN, 12, 1), (events.BATTERY_OUT, 95, len(station.evses))):
        battery = v21.BatteryDataType(
            evse_id=slot,
            serial_number=f"{station.station_id}-{request_id}-{soc}"[:50],
            soc=Decimal(soc),
            soh=Decimal(97),
        )
        _send(
            station,
            "BatterySwap",
            v21.BatterySwapRequest(battery_data=(battery,), event_type=event, id_token=token, request_id=request_id),
        )


def open_stream(station: VirtualStation, number: int, monitor_id: int, interval_s: int = 60, values: int = 60) -> None:
    """Asks whether it may stream a monitor's values (OCPP 2.1 N11)."""
    stream = v21.ConstantStreamDataType(
        id=number,
        variable_monitoring_id=monitor_id,
        params=v21.PeriodicEventStreamParamsType(interval=interval_s, values=values),
    )
    station.state_of(Showing).streams[number] = stream
    _send(station, "OpenPeriodicEventStream", v21.OpenPeriodicEventStreamRequest(constant_stream_data=stream))


def close_stream(station: VirtualStation, number: int) -> None:
    """Ends a stream (OCPP 2.1 N13)."""
    station.state_of(Showing).streams.pop(number, None)
    _send(station, "ClosePeriodicEventStream", v21.ClosePeriodicEventStreamRequest(id=number))


def _adjust_stream(station: VirtualStation, request: v21.AdjustPeriodicEventStreamRequest) -> Reply:
    streams = station.state_of(Showing).streams
    known = streams.get(request.id)
    statuses = v21.GenericStatusEnumType
    if known is None or station.has(Fault.REJECTS_ALL):
        return Reply(v21.AdjustPeriodicEventStreamResponse(status=statuses.REJECTED))
    streams[request.id] = v21.ConstantStreamDataType(
        id=known.id, variable_monitoring_id=known.variable_monitoring_id, params=request.params
    )
    return Reply(v21.AdjustPeriodicEventStreamResponse(status=statuses.ACCEPTED))


def _get_streams(station: VirtualStation, request: v21.GetPeriodicEventStreamRequest) -> Reply:
    streams = tuple(station.state_of(Showing).streams.values())
    return Reply(v21.GetPeriodicEventStreamResponse(constant_stream_data=streams or None))


def _web_payment(station: VirtualStation, request: v21.NotifyWebPaymentStartedRequest) -> Reply:
    station.state_of(Showing).web_payments[request.evse_id] = request.timeout
    return Reply(v21.NotifyWebPaymentStartedResponse())


def settle_payment(station: VirtualStation, psp_ref: str, amount: Decimal, transaction_id: str | None) -> None:
    """Tells that the terminal settled a payment (OCPP 2.1 C21)."""
    _send(
        station,
        "NotifySettlement",
        v21.NotifySettlementRequest(
            psp_ref=psp_ref,
            status=v21.PaymentStatusEnumType.SETTLED,
            settlement_amount=amount,
            settlement_time=rfc3339(station.clock.now()),
            transaction_id=transaction_id,
        ),
    )


def check_vat_number(station: VirtualStation, vat_number: str) -> None:
    """Asks whether a VAT number may stand on the receipt (OCPP 2.1 C25)."""
    _send(station, "VatNumberValidation", v21.VatNumberValidationRequest(vat_number=vat_number, evse_id=1))


def _send(station: VirtualStation, action: str, request: Any) -> None:
    station.send(Draft(action, lambda: request))


HANDLERS16: Final[dict[str, Callable[[VirtualStation, Any], Reply]]] = {}
"""1.6 has none of it."""

HANDLERS2X: Final[dict[str, Callable[[VirtualStation, Any], Reply]]] = {
    "AdjustPeriodicEventStream": _adjust_stream,
    "ChangeTransactionTariff": _change_tariff,
    "ClearDisplayMessage": _clear_message,
    "ClearTariffs": _clear_tariffs,
    "CostUpdated": _cost_updated,
    "GetDisplayMessages": _get_messages,
    "GetPeriodicEventStream": _get_streams,
    "GetTariffs": _get_tariffs,
    "NotifyWebPaymentStarted": _web_payment,
    "RequestBatterySwap": _request_swap,
    "SetDefaultTariff": _set_default_tariff,
    "SetDisplayMessage": _set_message,
}
"""What it does when it is asked. Those of 2.1 alone never come to a station of 2.0.1, which does not know the action."""
