"""Lists in pages (OCPI 2.3.0 transport_and_format, Pagination)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.time import as_utc, rfc3339

MOST: Final = 1000
"""Documents that a page of ours has at most; also what `X-Limit` says unless the setting is lower."""

_LAST_OFFSET: Final = 2**53
_LINK: Final = re.compile(r'<([^<>]*)>\s*((?:;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^";,\s]+)\s*)*)(?:,|$)')
_NEXT: Final = re.compile(r';\s*rel\s*=\s*(?:"[^"]*\bnext\b[^"]*"|next\b)', re.IGNORECASE)
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.IGNORECASE
)


class PageAsk(Struct, frozen=True, kw_only=True):
    """Which part of a list.

    Args:
        date_from: `last_updated` from then on, included.
        date_to: until then, not included.
        offset: documents to leave out at the beginning.
        limit: documents at most, already capped.
        filters: further query parameters, as they came.
    """

    date_from: datetime | None = None
    date_to: datetime | None = None
    offset: int = 0
    limit: int = MOST
    filters: tuple[tuple[str, str], ...] = ()


def read_time(name: str, text: str) -> datetime:
    """A DateTime of the query; one without zone is UTC (OCPI 2.3.0 types, DateTime).

    Raises:
        InvalidInputError: it is none.
    """
    plain = text.strip().replace(" ", "+") if "T" in text.upper() else text.strip()
    if _TIME.fullmatch(plain):
        try:
            return as_utc(datetime.fromisoformat(plain.upper()))
        except ValueError:
            pass
    raise InvalidInputError(f"'{name}' is no DateTime such as 2026-01-31T12:00:00Z.", ((f"/{name}", "No DateTime"),))


def read_ask(query: Mapping[str, str], most: int = MOST) -> PageAsk:
    """What a query asks for; a limit above `most` is cut to it, one of 0 means the default.

    Raises:
        InvalidInputError: a parameter is none; the sentence names it.
    """
    filters = tuple((name, value) for name, value in query.items() if name not in _OWN)
    return PageAsk(
        date_from=read_time("date_from", query["date_from"]) if query.get("date_from") else None,
        date_to=read_time("date_to", query["date_to"]) if query.get("date_to") else None,
        offset=_number("offset", query.get("offset"), 0),
        limit=min(_number("limit", query.get("limit"), most) or most, most),
        filters=filters,
    )


_OWN: Final = frozenset({"date_from", "date_to", "offset", "limit"})


def _number(name: str, text: str | None, default: int) -> int:
    if text is None or not text.strip():
        return default
    plain = text.strip()
    if not plain.isascii() or not plain.isdecimal() or int(plain[:20]) > _LAST_OFFSET:
        raise InvalidInputError(f"'{name}' is no number from 0 on.", ((f"/{name}", "No number from 0 on"),))
    return int(plain)


def next_link(url: str, ask: PageAsk, total: int, given: int) -> str | None:
    """The Link header of a page; None where it is the last one.

    Args:
        url: of the list, absolute, without a query.
        total: documents that match, in all pages.
        given: documents in this page.
    """
    following = ask.offset + given
    if following >= total or given == 0:
        return None
    query: list[tuple[str, str]] = [("offset", str(following)), ("limit", str(ask.limit))]
    if ask.date_from is not None:
        query.append(("date_from", rfc3339(ask.date_from)))
    if ask.date_to is not None:
        query.append(("date_to", rfc3339(ask.date_to)))
    return f'<{url}?{urlencode([*query, *ask.filters], safe=":")}>; rel="next"'


def read_link(header: str | None) -> str | None:
    """The URL of the next page in a Link header; None where there is none."""
    if not header:
        return None
    for found in _LINK.finditer(header[:8192]):
        if _NEXT.search(found.group(2)):
            return found.group(1).strip() or None
    return None


def ask_query(ask: PageAsk) -> dict[str, str]:
    """Query parameters that ask for a part of a list; the limit is always named."""
    query = {"offset": str(ask.offset), "limit": str(ask.limit)}
    if ask.date_from is not None:
        query["date_from"] = rfc3339(ask.date_from)
    if ask.date_to is not None:
        query["date_to"] = rfc3339(ask.date_to)
    return query | dict(ask.filters)


def offset_in(url: str) -> int | None:
    """The offset that a page's URL names."""
    for name, value in parse_qsl(urlsplit(url).query):
        if name == "offset" and value.isascii() and value.isdecimal() and len(value) < 16:
            return int(value)
    return None


def with_query(url: str, query: Mapping[str, str]) -> str:
    """A URL with query parameters beside those it has."""
    if not query:
        return url
    parts = urlsplit(url)
    both = "&".join(part for part in (parts.query, urlencode(query, safe=":/")) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, both, ""))
