"""Text as it can be stored and shown: no NUL, no lone surrogates, bounded length."""

from __future__ import annotations


def storable(value: str) -> bool:
    """Whether PostgreSQL takes the text: it has neither U+0000 nor lone surrogates."""
    if "\x00" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def made_storable(value: str, limit: int | None = None) -> str:
    """The text with U+0000 and lone surrogates replaced by U+FFFD, cut to `limit` characters."""
    if not storable(value):
        value = value.replace("\x00", "�").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return value if limit is None or len(value) <= limit else value[:limit]
