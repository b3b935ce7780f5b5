"""The official cases whose role is CSMS, and which of them a test stands for.

`cases.json` has their ids, names, profiles and conditions: of 1.6 those of the Compliance Testing Tool, of 2.0.1 those of
Part 6 (kind `other`: described there, asked for by no certification profile of Part 5). The 2.1 edition at hand has no test
cases; the 2.0.1 ones run on 2.1 stations too. A case that nothing runs yet stands in `not_built.py` with what is missing.
"""

from __future__ import annotations

import enum
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import Struct, convert

VERSIONS_2X = ("2.0.1", "2.1")
_Test = TypeVar("_Test", bound=Callable[..., Any])


class Kind(enum.StrEnum):
    """What certification says of a case."""

    MANDATORY = "mandatory"
    CONDITIONAL = "conditional"
    OTHER = "other"


class Official(Struct, frozen=True, kw_only=True):
    """A case.

    Args:
        profiles: certification profiles that ask for it.
        condition: feature that makes a conditional one apply.
    """

    title: str
    kind: Kind
    profiles: tuple[str, ...]
    condition: str | None = None


@functools.cache
def official(version: str) -> dict[str, Official]:
    """The cases of a version by id; those of 2.1 are 2.0.1's."""
    every = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
    return convert(every["1.6" if version == "1.6" else "2.0.1"], dict[str, Official])


def case(*versions: str) -> Callable[[_Test], _Test]:
    """Marks the function `test_TC_..._CSMS` as the test of that case, once for each version (both of 2.x where none is named).

    Args:
        versions: ("1.6",), or those of 2.x that it runs on.
    """
    chosen = versions or VERSIONS_2X

    def mark(test: _Test) -> _Test:
        ident = test.__name__.removeprefix("test_").removesuffix("_CSMS")
        assert ident in official(chosen[0]), test.__name__
        parameters = [pytest.param(v, marks=pytest.mark.official_case(ident, v), id=v) for v in chosen]
        made: _Test = pytest.mark.parametrize("version", parameters)(test)
        return made

    return mark
