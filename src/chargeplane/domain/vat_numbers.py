"""VAT numbers: whether one can be one, by the form of its country (European Commission's VIES lists the forms)."""

from __future__ import annotations

import re
from typing import Final

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
