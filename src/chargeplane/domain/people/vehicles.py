"""Vehicles of drivers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Final

from msgspec import Meta, Struct

Word = Annotated[str, Meta(min_length=1, max_length=100)]


class VehicleContent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A vehicle.

    Args:
        vin: 17 characters (ISO 3779).
        evcc_id: address of its charging controller: 12 hexadecimal digits, or 2 letters and more (ISO 15118-20).
        battery_kwh: usable, kWh.
        max_ac_kw, max_dc_kw: what it takes at most, kW.
        connectors: in OCPI's words, such as IEC_62196_T2_COMBO.
    """

    brand: Word | None = None
    model: Word | None = None
    year: Annotated[int, Meta(ge=1980, le=2100)] | None = None
    licence_plate: Annotated[str, Meta(min_length=1, max_length=20)] | None = None
    licence_country: Annotated[str, Meta(pattern="^[A-Z]{2}$")] | None = None
    vin: Annotated[str, Meta(pattern="^[A-HJ-NPR-Za-hj-npr-z0-9]{17}$")] | None = None
    evcc_id: Annotated[str, Meta(min_length=12, max_length=255)] | None = None
    battery_kwh: Decimal | None = None
    max_ac_kw: Decimal | None = None
    max_dc_kw: Decimal | None = None
    connectors: Annotated[tuple[Word, ...], Meta(max_length=10)] = ()
    label: Word | None = None


_MOST_KW: Final = 5000
_MAC: Final = re.compile(r"[0-9A-Fa-f]{12}")


def mac_of(text: str) -> str | None:
    """The 12 hexadecimal digits of a MAC address however it is written; None where it is none."""
    bare = re.sub(r"[\s:.\-]", "", text.removeprefix("VID:"))
    return bare.upper() if _MAC.fullmatch(bare) else None


def check_vehicle(content: VehicleContent) -> list[tuple[str, str]]:
    """What is wrong with a vehicle: JSON pointers and sentences."""
    faults = []
    for name in ("battery_kwh", "max_ac_kw", "max_dc_kw"):
        value = getattr(content, name)
        if value is not None and not (value.is_finite() and 0 < value <= _MOST_KW and value == round(value, 3)):
            faults.append((f"/{name}", f"Must be above 0 and at most {_MOST_KW}, with at most 3 decimals"))
    return faults
