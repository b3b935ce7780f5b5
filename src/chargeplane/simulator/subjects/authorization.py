"""Local lists, caches, reservations, and what a station says of its transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.timestamps import parse_timestamp
from chargeplane.simulator import acts
from chargeplane.simulator.dialect import Reply
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.memory import TokenMemory, plain_token
from chargeplane.simulator.settings import CACHE_ENABLED, LOCAL_LIST_ENABLED

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation


def _forget_cache(station: VirtualStation) -> bool:
    """Whether there was a cache to clear (OCPP 2.0.1 C11.FR.04)."""
    if not station.settings.is_on(CACHE_ENABLED):
        return False
    station.state_of(TokenMemory).cache.clear()
    return True


def _version_of(station: VirtualStation) -> int:
    return station.local_list_version if station.settings.is_on(LOCAL_LIST_ENABLED) else 0  # D02.FR.03


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------


def _clear_cache16(station: VirtualStation, request: v16.ClearCacheRequest) -> Reply:
    cleared = _forget_cache(station)
    status = v16.ClearCacheStatus.ACCEPTED if cleared else v16.ClearCacheStatus.REJECTED
    return Reply(v16.ClearCacheResponse(status=status))


def _list_version16(station: VirtualStation, request: v16.GetLocalListVersionRequest) -> Reply:
    version = _version_of(station)
    answer: Struct = v16.GetLocalListVersionResponse(list_version=version)
    if station.has(Fault.OTHER_LIST_VERSION_FIELD):
        answer = v201.GetLocalListVersionResponse(version_number=version)
    return Reply(answer)


def _send_list16(station: VirtualStation, request: v16.SendLocalListRequest) -> Reply:
    entries = [
        (
            entry.id_tag,
            entry.id_tag_info.status.value if entry.id_tag_info is not None else None,
            entry.id_tag_info.parent_id_tag if entry.id_tag_info is not None else None,
        )
        for entry in request.local_authorization_list or ()
    ]
    full = request.update_type is v16.UpdateType.FULL
    word = acts.update_local_list(station, request.list_version, entries, full=full)
    return Reply(v16.SendLocalListResponse(status=v16.UpdateStatus(word)))


def _reserve16(station: VirtualStation, request: v16.ReserveNowRequest) -> Reply:
    word = acts.reserve(
        station,
        request.connector_id,
        request.reservation_id,
        request.id_tag,
        parse_timestamp(request.expiry_date),
        group=request.parent_id_tag,
    )
    return Reply(v16.ReserveNowResponse(status=v16.ReservationStatus(word)), lambda: acts.tell_all(station))


def _cancel16(station: VirtualStation, request: v16.CancelReservationRequest) -> Reply:
    found = acts.cancel_reservation(station, request.reservation_id)
    status = v16.CancelReservationStatus.ACCEPTED if found else v16.CancelReservationStatus.REJECTED
    return Reply(v16.CancelReservationResponse(status=status), lambda: acts.tell_all(station))


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


def _clear_cache2x(station: VirtualStation, request: v201.ClearCacheRequest) -> Reply:
    statuses = v201.ClearCacheStatusEnumType
    cleared = _forget_cache(station)
    return Reply(v201.ClearCacheResponse(status=statuses.ACCEPTED if cleared else statuses.REJECTED))


def _list_version2x(station: VirtualStation, request: v201.GetLocalListVersionRequest) -> Reply:
    version = _version_of(station)
    answer: Struct = v201.GetLocalListVersionResponse(version_number=version)
    if station.has(Fault.OTHER_LIST_VERSION_FIELD):
        answer = v16.GetLocalListVersionResponse(list_version=version)
    return Reply(answer)


def _send_list2x(station: VirtualStation, request: v201.SendLocalListRequest | v21.SendLocalListRequest) -> Reply:
    entries = []
    for entry in request.local_authorization_list or ():
        info = entry.id_token_info
        group = None if info is None or info.group_id_token is None else info.group_id_token.id_token
        entries.append((plain_token(entry.id_token), None if info is None else info.status.value, group))
    word = acts.update_local_list(station, request.version_number, entries, full=request.update_type == "Full")
    return Reply(v201.SendLocalListResponse(status=v201.SendLocalListStatusEnumType(word)))


def _reserve2x(station: VirtualStation, request: v201.ReserveNowRequest | v21.ReserveNowRequest) -> Reply:
    group = request.group_id_token
    word = acts.reserve(
        station,
        request.evse_id or 0,
        request.id,
        plain_token(request.id_token),
        parse_timestamp(request.expiry_date_time),
        group=None if group is None else group.id_token,
        connector_type=request.connector_type,
    )
    return Reply(v201.ReserveNowResponse(status=v201.ReserveNowStatusEnumType(word)), lambda: acts.tell_all(station))


def _cancel2x(station: VirtualStation, request: v201.CancelReservationRequest | v21.CancelReservationRequest) -> Reply:
    statuses = v201.CancelReservationStatusEnumType
    found = acts.cancel_reservation(station, request.reservation_id)
    return Reply(
        v201.CancelReservationResponse(status=statuses.ACCEPTED if found else statuses.REJECTED),
        lambda: acts.tell_all(station),
    )


def _transaction_status(station: VirtualStation, request: v201.GetTransactionStatusRequest) -> Reply:
    wanted = request.transaction_id
    if wanted is None:  # E14.FR.06 to 08
        return Reply(v201.GetTransactionStatusResponse(messages_in_queue=station.unsent > 0))
    return Reply(
        v201.GetTransactionStatusResponse(
            messages_in_queue=station.has_unsent(wanted), ongoing_indicator=station.session_of(wanted) is not None
        )
    )


HANDLERS16: Final[dict[str, Callable[[VirtualStation, Any], Reply]]] = {
    "CancelReservation": _cancel16,
    "ClearCache": _clear_cache16,
    "GetLocalListVersion": _list_version16,
    "ReserveNow": _reserve16,
    "SendLocalList": _send_list16,
}
"""What a 1.6 station does."""

HANDLERS2X: Final[dict[str, Callable[[VirtualStation, Any], Reply]]] = {
    "CancelReservation": _cancel2x,
    "ClearCache": _clear_cache2x,
    "GetLocalListVersion": _list_version2x,
    "GetTransactionStatus": _transaction_status,
    "ReserveNow": _reserve2x,
    "SendLocalList": _send_list2x,
}
"""What a 2.x station does."""
