"""Documents of OCPI made from the schema of their version, for tests that hold for every document."""

from __future__ import annotations

import random
import string
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import MODELS
from chargeplane.ocpi.schema import Base, Field, fields_of
from chargeplane.ocpi.versions import Version

_LETTERS = string.ascii_letters + string.digits + " -_*"
_SPECIAL = {
    "latitude": lambda chance: f"{chance.uniform(-60, 60):.6f}"[:10],
    "longitude": lambda chance: f"{chance.uniform(-170, 170):.6f}"[:11],
    "country": lambda chance: chance.choice(("BEL", "NLD", "DEU", "SWE", "USA", "GBR")),
    "currency": lambda chance: chance.choice(("EUR", "SEK", "CAD")),
    "time_zone": lambda chance: "Europe/Brussels",
}


def tree(shape: type[Struct], chance: random.Random, *, full: bool = False) -> dict[str, Any]:
    """An object that its version allows.

    Args:
        full: every field is there; otherwise each optional one in half of the cases.
    """
    made = {}
    for field in fields_of(shape).values():
        if field.required or full or chance.random() < 0.5:
            if field.many:
                least = 1 if field.required or full else 0
                made[field.name] = [value(field, chance, full) for _ in range(chance.randint(least, 2))]
            else:
                made[field.name] = value(field, chance, full)
    return made


def value(field: Field, chance: random.Random, full: bool = False) -> Any:
    """A value, or an item of a list."""
    if field.base is Base.OBJECT:
        assert field.shape is not None
        return tree(field.shape, chance, full=full)
    if field.name in _SPECIAL:
        return _SPECIAL[field.name](chance)
    if field.choices is not None:
        return chance.choice(list(field.choices)).value
    match field.base:
        case Base.TEXT:
            longest = min(field.max_length or 20, 300)
            length = longest if chance.random() < 0.2 else chance.randint(1, min(longest, 12))
            return "".join(chance.choices(_LETTERS, k=length))
        case Base.NUMBER:
            return chance.choice((chance.randint(0, 100), Decimal(chance.randint(0, 10**6)).scaleb(-3)))
        case Base.INT:
            return chance.randint(max(field.low or 0, 0), min(field.high or 10**6, 10**6))
        case Base.BOOL:
            return chance.random() < 0.5
        case _:
            fraction = chance.choice(("", ".5", ".123"))
            return f"20{chance.randint(20, 30)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T10:11:12{fraction}Z"


def objects(version: Version) -> list[tuple[Kind, type[Struct]]]:
    """The kinds of a version that are objects."""
    return [(kind, model) for kind, model in MODELS[version].items() if issubclass(model, Struct)]


def trees(shape: type[Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that their version allows."""
    return st.integers(0, 2**32).map(lambda seed: tree(shape, random.Random(seed)))
