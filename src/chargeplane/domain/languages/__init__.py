"""What drivers read, in their languages: one file a language, `<ISO 639-1>.toml` beside this one.

A key is `section.name`; a text has placeholders in braces. Whoever adds a language adds a file with the same keys; what it lacks is said
in English. Texts for one driver go by `say`, those that leave the house in all languages (OCPI DisplayText) by `said`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Final

from chargeplane.domain.tariffs.model import DisplayText
from chargeplane.kernel.money import Money

FALLBACK: Final = "en"

_SPOKEN: Final = {"AUT": "de", "CHE": "de", "DEU": "de", "LIE": "de", "SWE": "sv"}


def languages() -> tuple[str, ...]:
    """The languages there are, by their ISO 639-1 codes."""
    return tuple(sorted(_texts()))


def known(language: str | None) -> str:
    """The language there is for what somebody asked for: `de-CH` is read as `de`, what is not there as English."""
    code = (language or FALLBACK).replace("_", "-").split("-")[0].lower()
    return code if code in _texts() else FALLBACK


def spoken_in(country: str) -> str:
    """The language for people at a place of whom nothing is known.

    Args:
        country: ISO 3166-1 alpha-3.
    """
    return known(_SPOKEN.get(country))


def preferred(accept: str | None) -> str:
    """The best language for an Accept-Language header (RFC 9110, 12.5.4)."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate((accept or "")[:200].split(",")):
        code, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        if code and quality > 0:
            wanted.append((-quality, place, code.split("-")[0].lower()))
    return next((code for _, _, code in sorted(wanted) if code in _texts()), FALLBACK)


def say(key: str, language: str | None, **values: str) -> str:
    """A text in a language.

    Args:
        values: what the placeholders stand for, as text (`number`, `money` and `duration` write numbers).
    Raises:
        KeyError: no language has the key, or a placeholder has no value: a mistake of ours.
    """
    texts = _texts()
    text = texts[known(language)].get(key) or texts[FALLBACK][key]
    return text.format_map(values)


def said(key: str, chosen: Sequence[str] = (), **values: str) -> tuple[DisplayText, ...]:
    """A text in several languages, for partners.

    Args:
        chosen: languages; empty: all there are.
    """
    return tuple(DisplayText(language=code, text=say(key, code, **values)) for code in chosen or languages())


def number(value: Decimal, language: str | None, digits: int | None = None) -> str:
    """A number as a language writes it.

    Args:
        digits: behind the point; None: as many as it has, at most six.
    """
    if digits is None:
        shown = value.quantize(Decimal(1).scaleb(-6)).normalize()
        shown = shown if shown else Decimal(0)
        text = f"{shown:,f}"
    else:
        text = f"{value:,.{digits}f}"
    group, point = say("format.group", language), say("format.point", language)
    return text.replace(",", "\0").replace(".", point).replace("\0", group)


def money(amount: Decimal, currency: str, language: str | None, *, exact: bool = False) -> str:
    """An amount with its currency, in minor units.

    Args:
        exact: shows more decimals where there are more, as in prices per kWh.
    """
    rounded = Money(amount=amount, currency=currency).rounded().amount
    digits = -int(rounded.as_tuple().exponent)
    finer = amount.quantize(Decimal(1).scaleb(-6)).normalize()
    more = -int(finer.as_tuple().exponent)
    shown = number(finer, language, max(digits, more)) if exact and more > digits else number(rounded, language, digits)
    return say("format.money", language, amount=shown, currency=currency)


_DAYS: Final = {"de": "%d.%m.%Y", "en": "%-d %B %Y"}
"""How days are written; ISO 8601 in the other languages (in Swedish it is the custom)."""


def day(value: date, language: str | None) -> str:
    """A day as people of a language write it."""
    return value.strftime(_DAYS.get(known(language), "%Y-%m-%d"))


def duration(seconds: Decimal, language: str | None) -> str:
    """A length of time: `2 h 45 min`, `40 s`."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    parts = [say("format.hours", language, number=str(hours))] if hours else []
    if minutes:
        parts.append(say("format.minutes", language, number=str(minutes)))
    if (whole % 60 and not hours) or not parts:
        parts.append(say("format.seconds", language, number=str(whole % 60)))
    return " ".join(parts)


@lru_cache(maxsize=1)
def _texts() -> dict[str, dict[str, str]]:
    found = {}
    for file in files("chargeplane.domain.languages").iterdir():
        code, _, suffix = file.name.rpartition(".")
        if suffix == "toml":
            sections = tomllib.loads(file.read_text(encoding="utf-8"))
            found[code] = {
                f"{section}.{name}": text for section, names in sections.items() for name, text in names.items()
            }
    return found
