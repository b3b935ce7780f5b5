"""What the pages say, by language: a file each; another language is another file."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final

from chargeplane.kernel.money import Money

DEFAULT: Final = "en"
_COMMA: Final = frozenset({"de", "sv"})
_SIGNS: Final = {"EUR": "€", "GBP": "£", "USD": "$"}


@cache
def words_of(language: str) -> dict[str, str]:
    """The texts of a language; those it lacks are English."""
    known = languages()
    found = known.get(language, {})
    return {**known[DEFAULT], **found}


@cache
def languages() -> dict[str, dict[str, str]]:
    """All languages there are files of."""
    folder = files("chargeplane.edges.http.guest") / "words"
    return {
        one.name.removesuffix(".toml"): tomllib.loads(one.read_text(encoding="utf-8"))
        for one in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if one.name.endswith(".toml")
    }


def chosen(asked: str | None, accepts: str | None) -> str:
    """The language that was asked for, else the first of the browser's that there is."""
    known = languages()
    if asked in known:
        return str(asked)
    wishes: list[tuple[float, str]] = []
    for part in (accepts or "")[:500].split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            value = float(weight) if weight else 1.0
        except ValueError:
            value = 0.0
        wishes.append((-value, name.partition("-")[0].lower()))
    for _, name in sorted(wishes, key=lambda wish: wish[0]):
        if name in known:
            return name
    return DEFAULT


def number(value: Decimal, language: str) -> str:
    """A number as the language writes it."""
    text = f"{value:f}"
    return text.replace(".", ",") if language in _COMMA else text


def money(amount: Money, language: str, *, exact: bool = False) -> str:
    """An amount as the language writes it.

    Args:
        exact: all decimals of a price; else minor units.
    """
    rounded = amount.rounded().amount
    value = amount.amount if exact and amount.amount != rounded else rounded
    sign = _SIGNS.get(amount.currency, amount.currency)
    text = number(value, language)
    return f"{text} {sign}" if language in _COMMA or sign == amount.currency else f"{sign}{text}"
