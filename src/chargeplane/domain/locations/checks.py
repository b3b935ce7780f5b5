"""What is wrong with a location beyond its form."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chargeplane.domain.locations.countries import ALPHA2
from chargeplane.domain.locations.model import ConnectorContent, EvseContent, GeoPoint, Hours, LocationContent, degrees
from chargeplane.kernel.errors import InvalidInputError

Faults = list[tuple[str, str]]


def check_location(location: LocationContent) -> None:
    """Refuses a location that cannot be.

    Raises:
        InvalidInputError: with a JSON pointer and a sentence for everything that is wrong.
    """
    faults: Faults = []
    if location.country not in ALPHA2:
        faults.append(("/country", "There is no such country (ISO 3166-1 alpha-3)"))
    try:
        ZoneInfo(location.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        faults.append(("/time_zone", "There is no such time zone (IANA)"))
    faults += _point("/coordinates", location.coordinates)
    for number, related in enumerate(location.related_locations):
        faults += _point(f"/related_locations/{number}", related)
    if location.publish and location.publish_allowed_to:
        faults.append(("/publish_allowed_to", "Only where publish is false"))
    for number, token in enumerate(location.publish_allowed_to):
        if token.uid is None and token.visual_number is None and token.group_id is None:
            faults.append((f"/publish_allowed_to/{number}", "Needs uid, visual_number or group_id"))
        if token.uid is not None and token.type is None:
            faults.append((f"/publish_allowed_to/{number}/type", "Required beside uid"))
        if token.visual_number is not None and token.issuer is None:
            faults.append((f"/publish_allowed_to/{number}/issuer", "Required beside visual_number"))
    places = [place.id.casefold() for place in location.parking_places]
    if len(set(places)) < len(places):
        faults.append(("/parking_places", "Two have one id"))
    if location.opening_times is not None:
        faults += _hours(location.opening_times)
    _refuse("location", faults)


def check_evse(evse: EvseContent, connectors: Sequence[ConnectorContent] | None, location: LocationContent) -> None:
    """Refuses an EVSE that cannot be.

    Args:
        connectors: None where they are not given.
    Raises:
        InvalidInputError: as `check_location`.
    """
    faults: Faults = []
    if evse.coordinates is not None:
        faults += _point("/coordinates", evse.coordinates)
    known = {place.id.casefold() for place in location.parking_places}
    for number, parking in enumerate(evse.parking):
        if parking.parking_id.casefold() not in known:
            faults.append((f"/parking/{number}/parking_id", "The location has no such parking place"))
    for number, period in enumerate(evse.status_schedule):
        if period.period_end is not None and period.period_end <= period.period_begin:
            faults.append((f"/status_schedule/{number}/period_end", "Must be after period_begin"))
    if len(set(evse.payment_methods)) < len(evse.payment_methods):
        faults.append(("/payment_methods", "One is named twice"))
    if connectors is not None:
        ids = [connector.id.casefold() for connector in connectors]
        numbers = [connector.ocpp_connector_id for connector in connectors]
        for number in range(len(connectors)):
            if ids[number] in ids[:number]:
                faults.append((f"/connectors/{number}/id", "Another connector of the EVSE has it"))
            if numbers[number] in numbers[:number]:
                faults.append((f"/connectors/{number}/ocpp_connector_id", "Another connector of the EVSE has it"))
    _refuse("EVSE", faults)


def _refuse(kind: str, faults: Faults) -> None:
    if faults:
        pointer, sentence = faults[0]
        raise InvalidInputError(f"The {kind} is not right: {pointer}: {sentence}.", tuple(faults))


def _point(pointer: str, point: GeoPoint) -> Faults:
    latitude, longitude = degrees(point)
    faults: Faults = []
    if abs(latitude) > 90:
        faults.append((f"{pointer}/latitude", "Must be from -90 to 90"))
    if abs(longitude) > 180:
        faults.append((f"{pointer}/longitude", "Must be from -180 to 180"))
    return faults


def _hours(hours: Hours) -> Faults:
    faults: Faults = []
    if hours.twentyfourseven and hours.regular_hours:
        faults.append(("/opening_times/regular_hours", "Only where twentyfourseven is false"))
    if not hours.twentyfourseven and not hours.regular_hours and not hours.exceptional_openings:
        faults.append(("/opening_times/regular_hours", "Required where twentyfourseven is false"))
    for number, regular in enumerate(hours.regular_hours):
        if regular.period_end <= regular.period_begin:
            faults.append((f"/opening_times/regular_hours/{number}/period_end", "Must be later than period_begin"))
    for name in ("exceptional_openings", "exceptional_closings"):
        for number, period in enumerate(getattr(hours, name)):
            if period.period_end <= period.period_begin:
                faults.append((f"/opening_times/{name}/{number}/period_end", "Must be after period_begin"))
    return faults
