"""What stations report, in words, and what to do about it: `error_words.toml` beside this file.

Source: OCPP 1.6, 7.6 ChargePointErrorCode, 7.7 ChargePointStatus; OCPP 2.0.1, ConnectorStatusEnumType.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from msgspec import Struct

FALLBACK: Final = "en"


class Words(Struct, frozen=True, kw_only=True):
    """A code in words.

    Args:
        code: as the station told it.
        text: what it means.
        todo: what to do.
    """

    code: str
    text: str
    todo: str


def explain(
    *,
    error_code: str | None = None,
    vendor_error_code: str | None = None,
    status: str | None = None,
    vendor: str | None = None,
    model: str | None = None,
    language: str | None = None,
) -> Words | None:
    """The most telling of what a station reported: the vendor's code, OCPP's error code, the status; None where none is known.

    Args:
        vendor, model: of the station, compared without case; an entry for `*` is for all.
        language: English where it is not there.
    """
    if vendor_error_code:
        for entry in _file()["vendor"]:
            if (
                entry["code"].casefold() == vendor_error_code.casefold()
                and _fits(entry["vendor"], vendor)
                and _fits(entry["model"], model)
            ):
                return _words(vendor_error_code, entry, language)
    for kind, code in (("error", error_code), ("status", status)):
        entry = _file()[kind].get(code) if code and code != "NoError" else None
        if entry is not None and code is not None:
            return _words(code, entry, language)
    return None


def _fits(wanted: str, told: str | None) -> bool:
    return wanted == "*" or wanted.casefold() == (told or "").casefold()


def _words(code: str, entry: dict[str, Any], language: str | None) -> Words:
    short = (language or FALLBACK).replace("_", "-").split("-")[0].lower()
    text, todo = entry.get(short) or entry[FALLBACK]
    return Words(code=code, text=text, todo=todo)


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    read = tomllib.loads(files("chargeplane.domain").joinpath("error_words.toml").read_text(encoding="utf-8"))
    # One for a vendor and model before one for all.
    vendors = sorted(read.get("vendor", ()), key=lambda entry: (entry["vendor"] == "*", entry["model"] == "*"))
    return {"error": read["error"], "status": read["status"], "vendor": vendors}
