"""Cursor pages: {items, next_cursor}. A cursor is opaque, holds a position and nothing secret, and fits one list in one sort only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar

import msgspec
from litestar import Request
from litestar.params import QueryParameter
from msgspec import Struct

from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.store.queries.paging import Mark, Position, Sorts, fits

S = TypeVar("S")
T = TypeVar("T")

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many items a page holds, 1 to 1000.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=4000, description="`next_cursor` of the page before; sort and filters must be the same."),
]


Sort = Annotated[
    str | None,
    QueryParameter(max_length=100, description="What the list is sorted by; with `-` before it in descending order."),
]


class Page(Struct, Generic[T], kw_only=True):
    """A page of a list.

    Args:
        next_cursor: give it as `cursor` for the next page; null on the last one.
    """

    items: list[T]
    next_cursor: str | None

    def of(self, shown: Callable[[T], S]) -> Page[S]:
        """The same page with its items as they are shown."""
        return Page(items=[shown(item) for item in self.items], next_cursor=self.next_cursor)


def encode_cursor(listing: str, position: Sequence[Any]) -> str:
    """A cursor for the page after `position` of one list."""
    return base64.urlsafe_b64encode(msgspec.json.encode([listing, *position])).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str | None, kinds: Sequence[type]) -> Position | None:
    """The position a cursor stands for, in a list that has one order.

    Args:
        kinds: types of the position's values; times travel as RFC 3339.
    Raises:
        ProblemError: the cursor was not made by this list.
    """
    if cursor is None:
        return None
    values = _values_of(listing, cursor)
    return Position(_place(values, kinds))


def begin(
    request: Request[Any, Any, Any], cursor: str | None, sort: str | None, *, default: str | None = None
) -> Position | None:
    """Where the page begins that was asked for, in a list whose route says in `sorts` what it may be sorted by.

    Args:
        default: the sort of whoever asks for none, where it is not always the same.
    Raises:
        ProblemError: an unknown sort, or a cursor that was not made by this list in this sort.
    """
    handler = request.scope["route_handler"]
    sorts: Sorts = handler.opt["sorts"]
    wanted = sort if sort is not None else default or sorts.default
    if wanted not in sorts.choices:
        known = ", ".join(f"'{one}'" for one in sorts.names)
        _refuse("sort", f"Not a key of this list; it is sorted by one of {known}, descending with '-' before it")
    if cursor is None:
        return Position(sort=wanted)
    made, *values = _values_of(handler.handler_name, cursor) or [None]
    if made != wanted:
        if made not in sorts.choices:
            _refuse("cursor", _FOREIGN)
        _refuse("cursor", f"Is of the sort '{made}'; ask for the same sort, or without a cursor for the first page")
    kinds = sorts.kinds(wanted)
    if sorts.may_miss(wanted) and values and values[0] is None:
        return Position((None, *_place(values[1:], kinds[1:])), wanted)
    return Position(_place(values, kinds), wanted)


def page_of(request: Request[Any, Any, Any], found: Sequence[T], limit: int, begun: Position | None) -> Page[T]:
    """The page of what was found, with a cursor of this list in this sort.

    Args:
        found: up to `limit` + 1 items as the query gives them; the one too many tells that there is a next page.
        begun: as `begin` gave it.
    """
    if len(found) <= limit:
        return Page(items=list(found), next_cursor=None)
    handler = request.scope["route_handler"]
    sorts: Sorts = handler.opt["sorts"]
    sort = (begun.sort if begun is not None else None) or sorts.default
    place = sorts.place_of(found[limit - 1], sort)
    return Page(items=list(found[:limit]), next_cursor=encode_cursor(handler.handler_name, [sort, *place]))


_FOREIGN: Final = "Not a cursor of this list; take 'next_cursor' of the page before, as it is"


def _refuse(parameter: str, sentence: str) -> NoReturn:
    raise ProblemError(
        400,
        "malformed-request",
        f"'{parameter}': {sentence}.",
        errors=[FieldProblem(detail=sentence, parameter=parameter)],
    )


def _values_of(listing: str, cursor: str) -> list[Any]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw, type=list[Any])
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        values = []
    if not values or values[0] != listing:
        _refuse("cursor", _FOREIGN)
    return values[1:]


def _place(values: Sequence[Any], kinds: Sequence[type]) -> Mark:
    try:
        place = tuple(
            msgspec.convert(value, kind) if kind in (datetime, date, Decimal) else value
            for value, kind in zip(values, kinds, strict=True)
        )
    except (ValueError, msgspec.MsgspecError):
        _refuse("cursor", _FOREIGN)
    if not fits(place, kinds):
        _refuse("cursor", _FOREIGN)
    return place


def as_page(listing: str, found: list[T], limit: int, position: Any) -> Page[T]:
    """The page of what was found.

    Args:
        found: up to `limit` + 1 items; the one too many tells that there is a next page.
        position: function from an item to its position.
    """
    if len(found) <= limit:
        return Page(items=found, next_cursor=None)
    items = found[:limit]
    return Page(items=items, next_cursor=encode_cursor(listing, position(items[-1])))
