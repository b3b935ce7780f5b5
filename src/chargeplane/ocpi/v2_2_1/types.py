"""Types that several modules share (OCPI 2.2.1 types)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import Number
from chargeplane.ocpi.v2_3_0.types import DisplayText

__all__ = [
    "DisplayText",
    "Price",
]


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An amount without and with VAT."""

    excl_vat: Number
    incl_vat: Number | None = None
