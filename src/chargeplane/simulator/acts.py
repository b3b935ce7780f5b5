"""What a station does when the CSMS asks, in words free of any OCPP version; the dialects translate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from chargeplane.simulator.dialect import Draft
from chargeplane.simulator.evse import Evse, StopReason
from chargeplane.simulator.settings import LOCAL_LIST_ENABLED

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
    free = [evse for evse in evses if evse.free and evse.takes(id_token)]
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


def reserve(station: VirtualStation, evse_id: int, reservation_id: int, id_token: str, until: datetime | None) -> str:
    """Reserves an EVSE (0: any); returns the status word, the same in all versions. The same id replaces
    (OCPP 1.6, 5.13; OCPP 2.0.1 H01.FR.02)."""
    cancel_reservation(station, reservation_id)
    evses = evses_of(station, evse_id)
    if not evses:
        return "Rejected"
    for evse in evses:
        if evse.free and evse.car is None and evse.reservation_id is None:
            evse.reservation_id = reservation_id
            evse.reservation_token = id_token.casefold()
            evse.reservation_until = until
            if until is not None:
                left = (until - station.clock.now()).total_seconds()
                station.timers.after(left, partial(expire_reservation, station, evse, reservation_id))
            return "Accepted"
    if all(evse.faulted for evse in evses):
        return "Faulted"
    if not any(evse.operative for evse in evses):
        return "Unavailable"
    return "Occupied"


def expire_reservation(station: VirtualStation, evse: Evse, reservation_id: int) -> None:
    """A reservation's time is over."""
    if evse.reservation_id == reservation_id:
        evse.forget_reservation()
        station.tell_status(evse)
        draft = station.dialect.reservation_expired(station, reservation_id)
        if draft is not None:
            station.send(draft)


def cancel_reservation(station: VirtualStation, reservation_id: int) -> bool:
    """Forgets a reservation; whether there was one."""
    for evse in station.evses:
        if evse.reservation_id == reservation_id:
            evse.forget_reservation()
            return True
    return False


def update_local_list(
    station: VirtualStation, version: int, entries: Sequence[tuple[str, str | None]], *, full: bool
) -> str:
    """Takes a local list; returns the status word, the same in all versions.

    Args:
        entries: (id token, status); status None removes the token (differential).
    """
    if not station.settings.is_on(LOCAL_LIST_ENABLED):
        return "Failed"
    if not full and version <= station.local_list_version:
        return "VersionMismatch"
    known = {} if full else dict(station.local_list or {})
    for token, status in entries:
        if status is None:
            known.pop(token.casefold(), None)
        else:
            known[token.casefold()] = status
    station.local_list = known or None
    station.local_list_version = version
    return "Accepted"
