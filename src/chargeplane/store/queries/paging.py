"""Pages by position: stable while rows are added, and as fast on the last page as on the first.

A list is sorted by one key, and by the identity of its items behind it, so that equal keys have an order too. A position is what both were of the
last item that a page held; the next page is what stands behind it. So an item that was there from the beginning to the end is seen exactly once,
whatever is written meanwhile. `Sorts` beside a query says what its list may be sorted by; `Sorts.begin` writes both the condition and the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from msgspec import Struct

from chargeplane.kernel.text import storable
from chargeplane.store.database import Connection, PooledConnection

Mark = tuple[Any, ...]
"""The sort key of the last item a page held: values of the key, then of the identity."""


class Position(Struct, frozen=True):
    """Where in a list a page begins, and how the list is sorted.

    Args:
        place: of the last item of the page before; nothing: the first page. A position is true where it has one.
        sort: key, with `-` before it for descending; None: as the list has it.
    """

    place: Mark = ()
    sort: str | None = None

    def __bool__(self) -> bool:
        return bool(self.place)

    def __getitem__(self, index: int) -> Any:
        return self.place[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.place)


Db: TypeAlias = "Connection | PooledConnection"
"""What a query runs on: a connection, within a transaction where it changes something."""


class Where:
    """Conditions joined by AND, with numbered parameters."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """Adds a condition; each `?` in it stands for one of `values`."""
        pieces = condition.split("?")
        assert len(pieces) == len(values) + 1, condition
        text = pieces[0]
        for value, piece in zip(values, pieces[1:], strict=True):
            self.values.append(value)
            text += f"${len(self.values)}{piece}"
        self.conditions.append(text)

    def add_if(self, condition: str, value: Any) -> None:
        """Adds a condition unless its value is None."""
        if value is not None:
            self.add(condition, value)

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "true"


class Key(Struct, frozen=True, kw_only=True):
    """What a list may be sorted by.

    Args:
        column: in SQL; texts are compared by their code points.
        kind: type of the value as it is given to the database.
        missing: SQL of the value that stands for none; without it there is always one.
        of: where an item has it, names with dots between; None: under the key's name.
    """

    column: str
    kind: type
    missing: str | None = None
    of: str | None = None


def by_time(column: str, *, missing: bool = False, of: str | None = None) -> Key:
    """By a time; none is before all."""
    return Key(column=column, kind=datetime, missing="'-infinity'::timestamptz" if missing else None, of=of)


def by_day(column: str, *, missing: bool = False) -> Key:
    """By a day; none is before all."""
    return Key(column=column, kind=date, missing="'-infinity'::date" if missing else None)


def by_number(column: str, kind: type = int, *, missing: bool = False, of: str | None = None) -> Key:
    """By a number; none is below all.

    Args:
        kind: int or Decimal.
    """
    none = ("'-infinity'::numeric" if kind is Decimal else str(-(2**31))) if missing else None
    return Key(column=column, kind=kind, missing=none, of=of)


def by_amount(column: str, of: str, *, missing: bool = False) -> Key:
    """By an amount of money, whatever its currency; none is below all.

    Args:
        of: the money in an item.
    """
    return by_number(column, Decimal, missing=missing, of=f"{of}.amount")


def by_text(column: str, *, missing: bool = False, of: str | None = None) -> Key:
    """By a text, code point by code point; none is before all."""
    return Key(column=f'{column} COLLATE "C"', kind=str, missing="''" if missing else None, of=of)


_SQL: Final = {int: "bigint", str: "text", Decimal: "numeric", datetime: "timestamptz", date: "date", float: "float8"}


class Sorts:
    """What a list may be sorted by, and how pages of it are cut.

    Args:
        ident: columns of the identity, which is behind every key.
        ident_kinds: their types.
        ident_name: key that sorts by the identity alone; None: there is none.
        default: the sort of a list whose reader asks for none.
        ident_of: the identity of an item as a query gives it.
        item: what has the values of the keys, of what a query gives.
        keys: by name.
    """

    def __init__(
        self,
        *ident: str,
        ident_kinds: tuple[type, ...] = (int,),
        ident_name: str | None = "id",
        default: str = "-id",
        ident_of: Callable[[Any], Mark] = lambda item: (int(item.id),),
        item: Callable[[Any], Any] = lambda item: item,
        **keys: Key,
    ) -> None:
        assert len(ident) == len(ident_kinds)
        self._ident: Final = ident
        self._kinds: Final = ident_kinds
        self._name: Final = ident_name
        self._ident_of: Final = ident_of
        self._item: Final = item
        self._keys: Final = keys
        self.default: Final = default
        self.names: Final = tuple(keys) if ident_name is None else (ident_name, *keys)
        """The keys, without direction."""
        self.choices: Final = tuple(choice for one in self.names for choice in (one, f"-{one}"))
        """What a reader may ask for."""
        assert default in self.choices

    def kinds(self, sort: str) -> tuple[type, ...]:
        """Types of the values in a place under a sort."""
        key = self._keys.get(sort.removeprefix("-"))
        return self._kinds if key is None else (key.kind, *self._kinds)

    def may_miss(self, sort: str) -> bool:
        """Whether the first value of a place may be None."""
        key = self._keys.get(sort.removeprefix("-"))
        return key is not None and key.missing is not None

    def place_of(self, found: Any, sort: str | None) -> Mark:
        """The place of what a query gave."""
        ident = self._ident_of(found)
        name = (sort or self.default).removeprefix("-")
        if name == self._name:
            return ident
        value = self._item(found)
        for part in (self._keys[name].of or name).split("."):
            value = None if value is None else getattr(value, part)
        return (value, *ident)

    def begin(self, where: Where, after: Position | None) -> str:
        """Adds the condition of what stands behind a position.

        Returns:
            What ORDER BY takes.
        """
        sort = (after.sort if after is not None else None) or self.default
        descending = sort.startswith("-")
        key = self._keys.get(sort.removeprefix("-"))
        columns = list(self._ident)
        if key is not None:
            columns.insert(0, key.column if key.missing is None else f"coalesce({key.column}, {key.missing})")
        if after:
            values = list(after.place)
            # As wide as the place may be: a column may be narrower than what a reader makes up.
            marks = [f"?::{_SQL[kind]}" for kind in self.kinds(sort)]
            if key is not None and key.missing is not None and values[0] is None:
                marks[0] = key.missing
                del values[0]
            sign = "<" if descending else ">"
            where.add(f"({', '.join(columns)}) {sign} ({', '.join(marks)})", *values)
        return ", ".join(f"{column}{' DESC' if descending else ''}" for column in columns)


def like(text: str) -> str:
    """A LIKE pattern that finds the text anywhere, in lower case."""
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def fits(place: Mark, kinds: Sequence[type]) -> bool:
    """Whether a place that came back from a caller has the shape it was given out with."""
    return len(place) == len(kinds) and all(
        isinstance(value, kind) and not isinstance(value, bool) and _in_range(value)
        for value, kind in zip(place, kinds, strict=True)
    )


def _in_range(value: object) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) < 1000
    if isinstance(value, str):
        return storable(value)
    return not isinstance(value, datetime) or value.tzinfo is not None
