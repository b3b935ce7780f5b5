"""Elements as text. Documents are streamed, so there is no tree; the schema fixes the order, which is the caller's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape, quoteattr

NAMESPACES: Final = {
    "d2": "d2Payload",
    "com": "common",
    "loc": "locationReferencing",
    "locx": "locationExtension",
    "afac": "afirFacilities",
    "aegi": "afirEnergyInfrastructure",
}
_BASE: Final = "http://datex2.eu/schema/3/"
_LONGEST: Final = 1024
"""Characters a text of DATEX II may have."""

# What XML 1.0 cannot say at all.
_UNSPEAKABLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def namespaces() -> str:
    """The declarations for the outermost element."""
    names = "".join(f' xmlns:{prefix}="{_BASE}{name}"' for prefix, name in NAMESPACES.items())
    return f'{names} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def attribute(value: str) -> str:
    """A value in its quotes."""
    return quoteattr(_UNSPEAKABLE.sub("\ufffd", value))


def _said(text: str) -> str:
    return escape(_UNSPEAKABLE.sub("\ufffd", text)[:_LONGEST])


def leaf(tag: str, value: object) -> str:
    """An element with a text; nothing for None."""
    if value is None:
        return ""
    return f"<{tag}>{_said(str(value))}</{tag}>"


def node(tag: str, *parts: str, attributes: str = "") -> str:
    """An element with elements."""
    return f"<{tag}{attributes}>{''.join(parts)}</{tag}>"


def texts(tag: str, values: Iterable[tuple[str, str]]) -> str:
    """A text in languages (MultilingualString); nothing where there is none.

    Args:
        values: language and text.
    """
    said = "".join(f"<com:value lang={attribute(language)}>{_said(text)}</com:value>" for language, text in values)
    return node(tag, node("com:values", said)) if said else ""


def instant(at: datetime) -> str:
    """A moment in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
