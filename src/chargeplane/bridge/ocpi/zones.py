"""The time zone of a place that does not name it: the nearest principal place of a zone in its country (tzdata's zone.tab)."""

from __future__ import annotations

import functools
import math
import re
from importlib import resources
from typing import Final

from chargeplane.domain.locations.countries import ALPHA2

_PLACE: Final = re.compile(r"([+-])(\d{2,3})(\d\d)(\d\d)?(?=[+-]|$)")


def zone_of(country: str, latitude: str | None, longitude: str | None) -> str | None:
    """The IANA zone of a place.

    Args:
        country: ISO 3166-1 alpha-3 or alpha-2.
        latitude, longitude: decimal degrees as text; without them a country of several zones has none.
    """
    country = country.upper()
    zones = _zones().get(ALPHA2.get(country, country), ())
    if len(zones) < 2:
        return zones[0][2] if zones else None
    try:
        north, east = float(latitude or ""), float(longitude or "")
    except ValueError:
        return None
    narrow = math.cos(math.radians(north))

    def distance(zone: tuple[float, float, str]) -> float:
        around = abs(zone[1] - east) % 360
        return (zone[0] - north) ** 2 + (min(around, 360 - around) * narrow) ** 2

    return min(zones, key=distance)[2]


@functools.cache
def _zones() -> dict[str, tuple[tuple[float, float, str], ...]]:
    found: dict[str, tuple[tuple[float, float, str], ...]] = {}
    table = resources.files("tzdata.zoneinfo").joinpath("zone.tab").read_text("utf-8")
    for line in table.splitlines():
        if line and not line.startswith("#"):
            country, place, zone, *_ = line.split("\t")
            north, east = (_degrees(*match.groups(default="0")) for match in _PLACE.finditer(place))
            found[country] = (*found.get(country, ()), (north, east, zone))
    return found


def _degrees(sign: str, degrees: str, minutes: str, seconds: str) -> float:
    value = int(degrees) + int(minutes) / 60 + int(seconds) / 3600
    return -value if sign == "-" else value
