"""Reads the tables of the OCPI specification, from a git repository of github.com/ocpi/ocpi.

The specification is not shipped with the project, as its licence forbids changed copies; who has a clone compares with it.
Versions up to 2.1.1 are written in Markdown, later ones in AsciiDoc; the tables of both are rows that begin with a bar.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "CHARGEPLANE_OCPI_SPECIFICATION"
"""Names the clone; a bare one will do."""

BRANCHES = {
    "2.3.0": ("2.3.0/release/core", "2.3.0/release/payments", "2.3.0/release/bookings"),
    "2.2.1": ("release-2.2.1-bugfixes",),
    "2.1.1": ("release-2.1.1-bugfixes",),
}
"""The branches of a version. What a later one of the list adds is added; where it differs, the first one counts."""


@dataclass(frozen=True)
class Row:
    """A field in a table: its type and cardinality as written."""

    name: str
    type: str
    cardinality: str


@dataclass
class Tables:
    """The objects and enumerations of a version."""

    objects: dict[str, dict[str, Row]] = field(default_factory=dict)
    enums: dict[str, list[str]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)


def repository() -> Path | None:
    """The clone that the variable names, if it does."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def git(clone: Path, *arguments: str) -> str:
    """What git says in the clone."""
    place = clone if (clone / "objects").is_dir() else clone / ".git"
    command = ["git", f"--git-dir={place}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def branch(clone: Path, name: str) -> str:
    """A branch of the clone, its own or the remote's."""
    for prefix in ("refs/heads/", "refs/remotes/origin/"):
        if git(clone, "for-each-ref", prefix + name):
            return prefix + name
    raise SystemExit(f"The clone {clone} has no branch {name}.")


def pages(clone: Path, name: str) -> Iterator[tuple[str, str]]:
    """(file, text) of the chapters of a branch."""
    place = branch(clone, name)
    for file in git(clone, "ls-tree", "--name-only", place).split():
        if file.endswith((".asciidoc", ".md")) and not file.startswith("template"):
            yield file, git(clone, "show", f"{place}:{file}")


def read(clone: Path, version: str) -> Tables:
    """The tables of a version."""
    found = Tables()
    for name in BRANCHES[version]:
        add(found, (section for _, text in pages(clone, name) for section in sections(text)))
    return found


def add(found: Tables, parts: Iterator[tuple[str, list[str], list[list[str]]]]) -> None:
    """Adds what sections define and is not known yet."""
    for heading, columns, rows in parts:
        name, kind = named(heading)
        if kind in ("object", "class"):
            fields = found.objects.setdefault(name, {})
            for cells in rows:
                one = cells[0].lstrip("> ").strip()
                if len(cells) > 2 and re.fullmatch(r"[a-z][a-z0-9_]*", one) and cells[2] in ("1", "?", "*", "+"):
                    fields.setdefault(one, Row(one, cells[1], cells[2]))
        elif kind in ("enum", "openenum"):
            place = columns.index("moduleid") if "moduleid" in columns else 0
            values = found.enums.setdefault(name, [])
            values += [value for cells in rows if (value := re.sub(r" a$", "", cells[place])) not in values]
            if kind == "openenum":
                found.open.add(name)


_HEADERS = ("property", "field name", "value", "module")


def sections(text: str) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(heading, names of the columns, rows) of the tables of a chapter."""
    heading, columns, rows = "", [], []
    for line in text.splitlines():
        title = re.match(r"(?:=+|#+) (.*)$", line)
        if title:
            if columns:
                yield heading, columns, rows
            heading, columns, rows = _plain(title[1]), [], []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", _plain(line))[1:]]
            if set("".join(cells)) <= set("-:= "):
                continue
            if cells[0].lower() in _HEADERS:
                columns = [cell.lower() for cell in cells]
            elif columns:
                rows.append(cells)
    if columns:
        yield heading, columns, rows


def named(heading: str) -> tuple[str, str]:
    """The name of what a heading introduces, and whether it is an object, a class, an enum or an openenum; else ""."""
    words = re.sub(r"[_*]", " ", re.sub(r"^[\d.]+ ", "", heading)).split()
    if heading == "Data":
        return "VersionDetails", "class"
    kinds = [word.lower() for word in words if word.lower() in ("object", "class", "enum", "openenum")]
    if "Request" in words or "Parameters" in words or not kinds:
        return "", ""
    return "".join(word for word in words if word.lower() != kinds[-1]), kinds[-1]


def examples(clone: Path, version: str) -> Iterator[tuple[str, str]]:
    """(heading, JSON text) of the examples that stand in the chapters themselves, as those of 2.1.1 do."""
    for file, text in pages(clone, BRANCHES[version][0]):
        heading = ""
        for part in re.finditer(r"^#+ ([^\n]*)$|^```json\r?\n(.*?)^\s*```", text, re.MULTILINE | re.DOTALL):
            if part[1]:
                heading = _plain(part[1])
            else:
                yield f"{file}: {heading}", part[2]


def _plain(text: str) -> str:
    text = re.sub(r"\[\[[^\]]*\]\]", "", text)
    text = re.sub(r"<<[^,>]*,([^>]*)>>", r"\1", text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).strip()
