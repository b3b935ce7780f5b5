"""What several routes need: ids in paths, times in queries, ETags."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.time import as_utc

StationIdPath = Annotated[
    str, PathParameter(description="The identity the station connects with; a slash in it is %2F.")
]
StateText = Annotated[str | None, QueryParameter(name="state", min_length=1, max_length=255)]
Text = Annotated[str | None, QueryParameter(min_length=1, max_length=255)]
From = Annotated[str | None, QueryParameter(description="RFC 3339; included.", schema_extra={"format": "date-time"})]
To = Annotated[str | None, QueryParameter(description="RFC 3339; not included.", schema_extra={"format": "date-time"})]
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="The ETag that was read: changes nothing if there is a newer one."),
]

_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')


def ident_of(kind: str, text: str) -> int:
    """A numeric id from a path.

    Raises:
        NotFoundError: it cannot be the id of anything.
    """
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise NotFoundError(kind, text[:60])
    return int(text)


def time_of(name: str, text: str | None) -> datetime | None:
    """A time from the query, RFC 3339; one without zone is UTC.

    Raises:
        ProblemError: it is no time.
    """
    if text is None:
        return None
    try:
        # a plus that was not percent-encoded arrives as a space
        return as_utc(datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text))
    except (ValueError, OverflowError):
        sentence = "Not an RFC 3339 time such as 2026-01-31T12:00:00Z"
        raise ProblemError(
            400, "malformed-request", f"'{name}': {sentence}.", errors=[FieldProblem(detail=sentence, parameter=name)]
        ) from None


def revision_of(if_match: str | None) -> int | None:
    """The revision an If-Match header asks for; None where it asks for none.

    Raises:
        ProblemError: it is no ETag of ours.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        sentence = 'Not an ETag of this resource, which look like "3"'
        raise ProblemError(
            400,
            "malformed-request",
            f"'If-Match': {sentence}.",
            errors=[FieldProblem(detail=sentence, parameter="If-Match")],
        )
    return int(found.group(1))


def etag(revision: int) -> dict[str, str]:
    """The ETag header of a revision."""
    return {"ETag": f'"{revision}"'}
