"""Field types that the objects of all versions share.

What a limit is stands in the type, so that the objects are the table of the specification in code; `chargeplane.ocpi.schema` reads it from there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

MAX_DIGITS: Final = 30
"""Numbers of 10^30 and more are refused: no quantity of charging has them, and arithmetic on them costs."""

MAX_PLACES: Final = 100
"""Digits after the point; who writes out a binary fraction sends some 55."""

DateTime: TypeAlias = Annotated[datetime, Meta(tz=True)]
"""A point in time, aware. On the wire UTC with or without Z (OCPI 2.3.0 types, DateTime)."""

Number: TypeAlias = Decimal
"""A number with the digits that were sent; JSON numbers never pass through a float."""

Int: TypeAlias = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""A whole number; OCPI names no size."""

Int1: TypeAlias = Annotated[int, Meta(ge=1, le=7)]
"""A weekday, Monday is 1; `int(1)` stands for nothing else in OCPI."""

Int5: TypeAlias = Annotated[int, Meta(ge=0, le=99_999)]
"""A whole number of at most five digits."""

Url: TypeAlias = Annotated[str, Meta(max_length=255, extra={"url": True})]
"""A URL of at most 255 characters (OCPI 2.3.0 types, URL)."""

String: TypeAlias = str
CiString: TypeAlias = Annotated[str, Meta(extra={"ci": True})]
"""Text that is kept as sent and compared without case, see `same`."""

CiString2: TypeAlias = Annotated[str, Meta(max_length=2, extra={"ci": True})]
CiString3: TypeAlias = Annotated[str, Meta(max_length=3, extra={"ci": True})]
CiString4: TypeAlias = Annotated[str, Meta(max_length=4, extra={"ci": True})]
CiString5: TypeAlias = Annotated[str, Meta(max_length=5, extra={"ci": True})]
CiString10: TypeAlias = Annotated[str, Meta(max_length=10, extra={"ci": True})]
CiString20: TypeAlias = Annotated[str, Meta(max_length=20, extra={"ci": True})]
CiString25: TypeAlias = Annotated[str, Meta(max_length=25, extra={"ci": True})]
CiString32: TypeAlias = Annotated[str, Meta(max_length=32, extra={"ci": True})]
CiString36: TypeAlias = Annotated[str, Meta(max_length=36, extra={"ci": True})]
CiString39: TypeAlias = Annotated[str, Meta(max_length=39, extra={"ci": True})]
CiString45: TypeAlias = Annotated[str, Meta(max_length=45, extra={"ci": True})]
CiString48: TypeAlias = Annotated[str, Meta(max_length=48, extra={"ci": True})]
CiString255: TypeAlias = Annotated[str, Meta(max_length=255, extra={"ci": True})]
String2: TypeAlias = Annotated[str, Meta(max_length=2)]
String3: TypeAlias = Annotated[str, Meta(max_length=3)]
String4: TypeAlias = Annotated[str, Meta(max_length=4)]
String5: TypeAlias = Annotated[str, Meta(max_length=5)]
String10: TypeAlias = Annotated[str, Meta(max_length=10)]
String11: TypeAlias = Annotated[str, Meta(max_length=11)]
String12: TypeAlias = Annotated[str, Meta(max_length=12)]
String16: TypeAlias = Annotated[str, Meta(max_length=16)]
String20: TypeAlias = Annotated[str, Meta(max_length=20)]
String36: TypeAlias = Annotated[str, Meta(max_length=36)]
String39: TypeAlias = Annotated[str, Meta(max_length=39)]
String45: TypeAlias = Annotated[str, Meta(max_length=45)]
String48: TypeAlias = Annotated[str, Meta(max_length=48)]
String50: TypeAlias = Annotated[str, Meta(max_length=50)]
String64: TypeAlias = Annotated[str, Meta(max_length=64)]
String100: TypeAlias = Annotated[str, Meta(max_length=100)]
String255: TypeAlias = Annotated[str, Meta(max_length=255)]
String512: TypeAlias = Annotated[str, Meta(max_length=512)]
String5000: TypeAlias = Annotated[str, Meta(max_length=5000)]


def same(one: str, other: str) -> bool:
    """Whether two CiStrings are equal: case does not count (OCPI 2.3.0 types, CiString)."""
    return one == other or one.lower() == other.lower()


def instant(text: str) -> datetime:
    """The aware time of a DateTime as sent; without a zone it is UTC.

    Raises:
        ValueError: the text is no time.
    """
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def written(time: datetime) -> str:
    """A time as we send it: UTC with Z, in milliseconds where it has any (at most 24 characters of the 25).

    Args:
        time: aware.
    """
    time = time.astimezone(UTC)
    return time.isoformat(timespec="milliseconds" if time.microsecond >= 1000 else "seconds")[:-6] + "Z"


def number(text: str) -> Decimal:
    """A JSON number with a fraction or an exponent, its digits kept.

    Raises:
        ValueError: it is beyond what any quantity can be.
    """
    value = Decimal(text)
    if (len(text) > MAX_DIGITS or "e" in text or "E" in text) and value:
        _, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        if len(digits) + exponent > MAX_DIGITS or exponent < -MAX_PLACES:
            raise ValueError(f"Expected a number below 1E+{MAX_DIGITS} with at most {MAX_PLACES} places: {text[:40]}")
    return value
