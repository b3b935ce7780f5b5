"""Payloads made from an official schema: with the fewest fields it allows, and with all of them."""

from __future__ import annotations

from typing import Any

from tests.conformance import schemas

_TEXT = "Zürich 7-b"
_WHEN = "2026-01-31T12:00:00.000Z"


def fewest(version: str, name: str) -> Any:
    """Only what the schema requires, shortest lists, smallest numbers."""
    root = schemas.schema(version, name)
    return _made(root, root, full=False)


def fullest(version: str, name: str) -> Any:
    """Every field, longest texts and largest numbers; lists of two where they may have two."""
    root = schemas.schema(version, name)
    return _made(root, root, full=True)


def _made(part: dict[str, Any], root: dict[str, Any], *, full: bool) -> Any:
    if "$ref" in part:
        part = root["definitions"][part["$ref"].rsplit("/", 1)[1]]
    if "enum" in part:
        return part["enum"][-1 if full else 0]
    match part.get("type"):
        case "object":
            wanted = part.get("properties", {})
            needed = part.get("required", ())
            return {name: _made(one, root, full=full) for name, one in wanted.items() if full or name in needed}
        case "array":
            least, most = part.get("minItems", 0), part.get("maxItems", 2)
            return [_made(part["items"], root, full=full) for _ in range(min(most, 2) if full else least)]
        case "string":
            if part.get("format") == "date-time":
                return _WHEN
            if part.get("format") == "uri":
                return "https://example.org/file"
            longest = part.get("maxLength", 40)
            return (_TEXT * (longest // len(_TEXT) + 1))[:longest] if full else _TEXT[:longest]
        case "integer":
            return int(part.get("maximum", 2**31 - 1)) if full else int(part.get("minimum", 0))
        case "number":
            return part.get("maximum", 1000) - 0.5 if full else part.get("minimum", 0)
        case "boolean":
            return full
        case None:
            return {"any": ["thing"]}
        case other:
            raise AssertionError(other)
