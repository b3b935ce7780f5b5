"""Cursor pages: {items, next_cursor}. A cursor is opaque, holds a position and nothing secret, and fits one list only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter
from msgspec import Struct

from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.store.queries.paging import Position, fits

T = TypeVar("T")

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many items a page holds, 1 to 1000.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=1000, description="`next_cursor` of the page before; the filters must be the same."),
]


class Page(Struct, Generic[T], kw_only=True):
    """A page of a list, newest first.

    Args:
        next_cursor: give it as `cursor` for the next page; null on the last one.
    """

    items: list[T]
    next_cursor: str | None


def encode_cursor(listing: str, position: Sequence[Any]) -> str:
    """A cursor for the page after `position` of one list."""
    return base64.urlsafe_b64encode(msgspec.json.encode([listing, *position])).decode().rstrip("=")


def decode_cursor(listing: str, cursor: str | None, kinds: Sequence[type]) -> Position | None:
    """The position a cursor stands for.

    Args:
        kinds: types of the position's values; times travel as RFC 3339.
    Raises:
        ProblemError: the cursor was not made by this list.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw, type=list[Any])
        if not values or values[0] != listing or len(values) != len(kinds) + 1:
            raise ValueError
        position = tuple(
            msgspec.convert(value, datetime) if kind is datetime else value
            for value, kind in zip(values[1:], kinds, strict=True)
        )
        if not fits(position, kinds):
            raise ValueError
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        sentence = "Not a cursor of this list; take 'next_cursor' of the page before, as it is"
        raise ProblemError(
            400,
            "malformed-request",
            f"'cursor': {sentence}.",
            errors=[FieldProblem(detail=sentence, parameter="cursor")],
        ) from None
    return position


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
