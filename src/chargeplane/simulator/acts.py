"""What a station does when the CSMS asks, in words free of any OCPP version; the dialects translate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from chargeplane.simulator.dialect import Draft
from chargeplane.simulator.evse import Evse, StopReason
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.memory import TokenMemory, group_of
from chargeplane.simulator.settings import LOCAL_LIST_ENABLED, LOCAL_LIST_MOST, LOCAL_LIST_PER_MESSAGE, RESERVE_ANY

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation


def find_evse(station: VirtualStation, evse_id: int) -> Evse | None:
    """The EVSE with this id."""
    return station.evses[evse_id - 1] if 1 <= evse_id <= len(station.evses) else None


def evses_of(station: VirtualStation, evse_id: int) -> list[Evse]:
    """All EVSEs for 0, else the one; empty where there is none."""
    if evse_id == 0:
        return station.evses
    evse = find_evse(station, evse_id)
    return [] if evse is None else [evse]


def any_busy(evses: Sequence[Evse]) -> bool:
    """Whether a transaction goes on at any of them."""
    return any(evse.busy for evse in evses)


def stop_if_busy(evse: Evse, reason: StopReason) -> None:
    """Ends the transaction of an EVSE, if there is one."""
    if evse.session is not None and evse.busy:
        evse.session.request_stop(reason)


def evse_for_remote_start(station: VirtualStation, evse_id: int | None, id_token: str) -> Evse | None:
    """Where a transaction that is asked for can begin: the EVSE named, else a free one, one with a car first."""
    if not station.accepted:
        return None
    evses = station.evses if not evse_id else evses_of(station, evse_id)
    group = group_of(station, id_token)
    free = [evse for evse in evses if evse.free and evse.takes(id_token, group)]
    return min(free, key=lambda evse: evse.car is None) if free else None


def change_availability(
    station: VirtualStation, evses: Sequence[Evse], operative: bool, *, whole_station: bool
) -> None:
    """Takes EVSEs in or out of service; those that charge follow when they are done."""
    if whole_station:
        station.operative = operative
    for evse in evses:
        if evse.busy and not operative:
            evse.operative_later = operative
        else:
            evse.operative, evse.operative_later = operative, None
            if not operative:
                end_reservation(station, evse, "Removed")  # H01.FR.17
        station.tell_status(evse)


def send_all(station: VirtualStation, drafts: Sequence[Draft], *, first: bool = False) -> None:
    """Sends messages one after the other."""
    for draft in drafts:
        station.send(draft, first=first)


def tell_all(station: VirtualStation) -> None:
    """Tells the statuses that changed."""
    for evse in station.evses:
        station.tell_status(evse)


def trigger_meter_values(station: VirtualStation, evses: Sequence[Evse]) -> None:
    """Sends meter values of EVSEs."""
    for evse in evses:
        station.report(evse)


def play(station: VirtualStation, drafts: Sequence[Draft]) -> None:
    """Sends messages with the station's step between them."""
    for number, draft in enumerate(drafts, 1):
        station.timers.after(number * station.options.step_s, partial(station.send, draft))


def reset_evse(station: VirtualStation, evse: Evse) -> None:
    """Restarts one EVSE: its transaction ends, it is gone for a moment and comes back."""
    stop_if_busy(evse, StopReason.HARD_RESET)
    evse.operative = False
    station.tell_status(evse)

    def back() -> None:
        evse.operative = True
        station.tell_status(evse)

    station.timers.after(station.options.reboot_s, back)


def reserve(
    station: VirtualStation,
    evse_id: int,
    reservation_id: int,
    id_token: str,
    until: datetime | None,
    *,
    group: str | None = None,
    connector_type: str | None = None,
) -> str:
    """Reserves an EVSE (0: any, or any with the type of connector); returns the status word, the same in all versions. The same
    id replaces (OCPP 1.6, 5.13; OCPP 2.0.1 H01.FR.02)."""
    if evse_id == 0 and connector_type is None and not station.settings.is_on(RESERVE_ANY):
        return "Rejected"  # H01.FR.19; 1.6 ReserveConnectorZeroSupported
    cancel_reservation(station, reservation_id)
    evses = [
        evse
        for evse in evses_of(station, evse_id)
        if connector_type is None or evse.meter.model.connector.casefold() == connector_type.casefold()
    ]
    if not evses:
        return "Rejected"
    for evse in evses:
        if evse.free and evse.car is None and evse.reservation_id is None:
            evse.reservation_id = reservation_id
            evse.reservation_token = id_token.casefold()
            evse.reservation_group = None if group is None else group.casefold()
            evse.reservation_until = until
            if until is not None:
                left = (until - station.clock.now()).total_seconds()
                station.timers.after(max(left, 0), partial(expire_reservation, station, evse, reservation_id))
            return "Accepted"
    if all(evse.faulted for evse in evses):
        return "Faulted"
    if not any(evse.operative for evse in evses):
        return "Unavailable"
    return "Occupied"


def expire_reservation(station: VirtualStation, evse: Evse, reservation_id: int) -> None:
    """A reservation's time is over."""
    if evse.reservation_id == reservation_id:
        end_reservation(station, evse, "Expired")


def end_reservation(station: VirtualStation, evse: Evse, word: str) -> None:
    """The station ends the reservation of an EVSE and says so.

    Args:
        word: OCPP 2.x ReservationUpdateStatusEnum.
    """
    number = evse.reservation_id
    if number is None:
        return
    evse.forget_reservation()
    station.tell_status(evse)
    draft = station.dialect.reservation_ended(station, number, word)
    if draft is not None and station.online:
        station.send(draft)


def cancel_reservation(station: VirtualStation, reservation_id: int) -> bool:
    """Forgets a reservation; whether there was one."""
    for evse in station.evses:
        if evse.reservation_id == reservation_id:
            evse.forget_reservation()
            return True
    return False


def update_local_list(
    station: VirtualStation, version: int, entries: Sequence[tuple[str, str | None, str | None]], *, full: bool
) -> str:
    """Takes a local list; returns the status word, the same in all versions.

    Args:
        entries: (id token, status, group); status None removes the token (differential).
    """
    settings = station.settings
    if not settings.is_on(LOCAL_LIST_ENABLED):
        return "Failed"
    if len(entries) > settings.number(LOCAL_LIST_PER_MESSAGE) or version <= 0:  # D01.FR.11, D01.FR.18
        return "Failed"
    if len({token.casefold() for token, _, _ in entries}) < len(entries):  # D01.FR.06
        return "Failed"
    if not full and version <= station.local_list_version:  # D01.FR.19
        return "VersionMismatch"
    memory = station.state_of(TokenMemory)
    known = {} if full else dict(station.local_list or {})
    groups = {} if full else dict(memory.groups)
    for token, status, group in entries:
        key = token.casefold()
        known.pop(key, None)
        groups.pop(key, None)
        if status is not None:
            known[key] = status
            if group is not None:
                groups[key] = group
    if len(known) > settings.number(LOCAL_LIST_MOST):
        return "Failed"
    station.local_list = known or None
    memory.groups = groups
    station.local_list_version = version
    return "Accepted"


def forget(station: VirtualStation) -> None:
    """What a station with a bad memory has lost after a reboot."""
    if station.has(Fault.FORGETS_LOCAL_LIST):
        station.local_list, station.local_list_version = None, 0
        station.state_of(TokenMemory).groups.clear()
    if station.has(Fault.FORGETS_AVAILABILITY):
        station.operative = True
        for evse in station.evses:
            evse.operative, evse.operative_later = True, None
