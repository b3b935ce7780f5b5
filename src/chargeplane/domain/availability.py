"""Availability that an operator wants, beside what a station reports after it has booted.

A station keeps what it was told over a reboot (OCPP 2.0.1 G03.FR.08, G04.FR.09); some forget it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from chargeplane.domain.messages import ConnectorState


class Wanted(Struct, frozen=True, kw_only=True):
    """What is wanted of a place; 0 is the whole station, the whole EVSE."""

    evse_id: int
    connector_id: int
    operative: bool


def forgotten(wanted: Sequence[Wanted], reported: Mapping[tuple[int, int], str]) -> list[Wanted]:
    """What the station has to be told again.

    A place that is to be out of service and reports anything but Unavailable or Faulted has forgotten it, unless a transaction
    goes on there (then it follows later); one that is to be in service and reports Unavailable has, too, unless a wider
    or narrower place is to be out of service.

    Args:
        wanted: of one station.
        reported: newest status by (EVSE, connector).
    """
    again = []
    off = {(one.evse_id, one.connector_id) for one in wanted if not one.operative}
    for one in wanted:
        seen = [status for place, status in reported.items() if _within(place, one)]
        if not one.operative:
            if any(status in (ConnectorState.AVAILABLE, ConnectorState.RESERVED) for status in seen):
                again.append(one)
        else:
            mine = [
                status
                for place, status in reported.items()
                if _within(place, one) and not any(_covers(place, other) for other in off)
            ]
            if mine and all(status == ConnectorState.UNAVAILABLE for status in mine):
                again.append(one)
    return again


def _within(place: tuple[int, int], wanted: Wanted) -> bool:
    return _covers(place, (wanted.evse_id, wanted.connector_id))


def _covers(place: tuple[int, int], wider: tuple[int, int]) -> bool:
    """Whether a place is the wider one or lies in it."""
    evse, connector = wider
    return evse == 0 or (place[0] == evse and connector in (0, place[1]))
