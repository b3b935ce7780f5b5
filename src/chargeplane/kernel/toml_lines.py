"""TOML files that people write by hand: read into structs, and every complaint names the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from chargeplane.kernel.errors import InvalidInputError

T = TypeVar("T")

Path = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, numbers of array items from 0."""

_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=(.*)$""")
_PART: Final = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_TEXT: Final = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|#.*""")
_WHERE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")


def decode(text: str, kind: type[T], name: str) -> T:
    """The file's content as a struct.

    Args:
        name: of the file, for the complaint.
    Raises:
        InvalidInputError: no TOML, or not of the kind's shape; the sentence names file and line.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        what = re.sub(r"\s*\(at .*\)$", "", str(error))
        raise complaint(name, line, what) from None
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        found = _WHERE.match(str(error))
        assert found is not None
        path: Path = tuple(
            int(match[2]) if match[2] is not None else match[1]
            for match in _STEP.finditer(found["path"] or "")
            if match[1] is not None or match[2] is not None
        )
        unknown = re.search(r"unknown field `([^`]*)`", found["what"])
        if unknown is not None:
            path = (*path, unknown[1])
        raise complaint(name, line_of(text, path), found["what"]) from None


def complaint(name: str, line: int, what: str) -> InvalidInputError:
    """What is wrong with a line of a file."""
    return InvalidInputError(f"{name}, line {line}: {what.rstrip('.')}.")


def line_of(text: str, path: Path) -> int:
    """The line, from 1, in which a value of a TOML text begins; that of what it stands in where it has none of its own."""
    lines = dict(reversed(list(_lines(text))))
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


def _lines(text: str) -> Iterator[tuple[Path, int]]:
    """Path and line of each table, key and item that begins a line."""
    counts: dict[Path, int] = {}
    table: Path = ()
    array: Path | None = None
    depth = items = 0
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence:  # inside a text over several lines
            if fence in line:
                fence = ""
            continue
        if depth > 0 and array is not None:  # inside an array over several lines
            if depth == 1 and line.lstrip()[:1] not in ("", "]", "#", ","):
                yield (*array, items), number
                items += 1
            depth += _nesting(line)
            continue
        header = _HEADER.match(line)
        if header is not None:
            table = ()
            names = [_bare(part) for part in _PART.findall(header[2])]
            for place, part in enumerate(names):
                table = (*table, part)
                if place == len(names) - 1 and header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                if table in counts:
                    table = (*table, counts[table])
            yield table, number
            continue
        key = _KEY.match(line)
        if key is None:
            continue
        path = (*table, *(_bare(part) for part in _PART.findall(key[1])))
        yield path, number
        value = key[2].strip()
        for quotes in ('"""', "'''"):
            if value.startswith(quotes) and quotes not in value[3:]:
                fence = quotes
        depth, array, items = _nesting(value), path, 0


def _bare(part: str) -> str:
    return part[1:-1] if part[:1] in ("'", '"') else part


def _nesting(text: str) -> int:
    """How many brackets a line opens more than it closes."""
    text = _TEXT.sub("", text)
    return text.count("[") + text.count("{") - text.count("]") - text.count("}")
