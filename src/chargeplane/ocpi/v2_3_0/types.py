"""Types that several modules share (OCPI 2.3.0 types)."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.ocpi.fields import Number, String, String2, String512

__all__ = [
    "DisplayText",
    "Price",
    "TaxAmount",
]


class DisplayText(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text in one language."""

    language: String2
    text: String512


class TaxAmount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tax of an amount."""

    name: String
    account_number: String | None = None
    percentage: Number | None = None
    amount: Number


class Price(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An amount before taxes, and its taxes."""

    before_taxes: Number
    taxes: tuple[TaxAmount, ...] = ()
