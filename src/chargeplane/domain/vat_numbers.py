"""VAT numbers: whether one can be one, by the form of its country (European Commission's VIES lists the forms)."""

from __future__ import annotations

import enum
import re
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

_FORMS: Final = {
    country: re.compile(form)
    for country, form in {
        "AT": r"U\d{8}",
        "BE": r"[01]\d{9}",
        "BG": r"\d{9,10}",
        "CHE": r"\d{9}(MWST|TVA|IVA)?",
        "CY": r"\d{8}[A-Z]",
        "CZ": r"\d{8,10}",
        "DE": r"\d{9}",
        "DK": r"\d{8}",
        "EE": r"\d{9}",
        "EL": r"\d{9}",
        "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
        "FI": r"\d{8}",
        "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}",
        "GB": r"(\d{9}|\d{12}|GD\d{3}|HA\d{3})",
        "HR": r"\d{11}",
        "HU": r"\d{8}",
        "IE": r"(\d[A-Z0-9+*]\d{5}[A-Z]|\d{7}[A-W][A-I])",
        "IT": r"\d{11}",
        "LT": r"(\d{9}|\d{12})",
        "LU": r"\d{8}",
        "LV": r"\d{11}",
        "MT": r"\d{8}",
        "NL": r"[A-Z0-9+*]{10}\d{2}",
        "NO": r"\d{9}(MVA)?",
        "PL": r"\d{10}",
        "PT": r"\d{9}",
        "RO": r"\d{2,10}",
        "SE": r"\d{12}",
        "SI": r"\d{8}",
        "SK": r"\d{10}",
        "XI": r"(\d{9}|\d{12}|GD\d{3}|HA\d{3})",
    }.items()
}


class VatOutcome(enum.StrEnum):
    """What is known of a number."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    """The register did not say."""


class VatAnswer(Struct, frozen=True, kw_only=True):
    """What a register says.

    Args:
        reason: why it is unknown.
        reference: of the question, as the register numbers it.
    """

    outcome: VatOutcome
    reason: str | None = None
    name: str | None = None
    address: str | None = None
    reference: str | None = None


class VatCheck(Struct, frozen=True, kw_only=True):
    """What was said of a number last.

    Args:
        vat_id: normalized.
        valid_at: when it was valid last; None: never, or it is invalid now.
    """

    vat_id: str
    outcome: VatOutcome
    reason: str | None
    name: str | None
    address: str | None
    reference: str | None
    checked_at: datetime
    valid_at: datetime | None


GOOD_FOR: Final = timedelta(days=30)
"""So long that a number was valid counts, where the register does not answer."""


def verified(check: VatCheck | None, at: datetime) -> bool:
    """Whether a number counts as verified at a moment."""
    return check is not None and check.valid_at is not None and check.valid_at > at - GOOD_FOR


def normalized(vat_number: str) -> str:
    """Upper case, without the spaces, dots and hyphens people write."""
    return re.sub(r"[\s.\-]", "", vat_number).upper()


def can_be(vat_number: str) -> bool:
    """Whether the number has the form of its country. Countries whose form is not known here have none."""
    number = normalized(vat_number)
    for length in (3, 2):
        form = _FORMS.get(number[:length])
        if form is not None:
            return form.fullmatch(number[length:]) is not None
    return False
