"""Writes docs/requirements/ocpp-tests.md: which tests show which claim of the requirement pages.

The table itself is data, docs/requirements/ocpp-tests.toml: the text of the pages, cut into claims, each with its tests. Nothing of a page
can be left out: the claims of a line, put together, are the line.

`python tools/requirement_lines.py` writes the page, `--check` says whether it is up to date.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "docs" / "requirements"
DATA: Final = FOLDER / "ocpp-tests.toml"
PAGE: Final = FOLDER / "ocpp-tests.md"
PAGES: Final = ("ocpp.md", "stations.md")
ALL: Final = ("1.6", "2.0.1", "2.1")
_NEWER: Final = ALL[1:]
_SETS: Final = {
    "VERSIONS": ALL,
    "all_versions": ALL,
    "VERSIONS_2X": _NEWER,
    "TWO": _NEWER,
    "TWO_X": _NEWER,
    "two_x": _NEWER,
}
"""What the tests' own names for versions stand for."""


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a line that can be shown by itself.

    Args:
        says: as the page has it.
        tests: `file::function` below tests/.
        versions: of OCPP that the tests together have to run on, where the claim holds for several.
        not_yet: what of it nothing does so far.
    """

    says: Annotated[str, Meta(min_length=1)]
    tests: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    not_yet: str = ""


class Line(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A paragraph, list item or table row of a page."""

    page: str
    claims: Annotated[tuple[Claim, ...], Meta(min_length=1)]


class _Data(Struct, frozen=True, forbid_unknown_fields=True):
    line: tuple[Line, ...]


class Unit(Struct, frozen=True):
    """A line as the page has it.

    Args:
        label: where it stands.
    """

    page: str
    label: str
    text: str


def units(page: str) -> list[Unit]:
    """The lines of a requirement page: everything but its headings, quotes and the heads of tables."""
    section, number = "", 0
    made: list[Unit] = []
    fresh = True
    lines = (FOLDER / page).read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        row = re.fullmatch(r"\| ([A-Z](?: [A-Z])*) \| (.*?) \| (.*) \|", line)
        item = re.match(r"(?:- |(\d+)\. )", line)
        heading = re.fullmatch(r"#+ (.*)", line) or (
            re.fullmatch(r"([A-Z][\w ]+)", line) if following.startswith("- ") else None
        )
        if not line.strip() or line.startswith((">", "| |", "|---")):
            fresh = True
        elif heading is not None:
            section, number, fresh = heading[1].partition(" (")[0], 0, True
        elif row is not None:
            made.append(Unit(page, f"{row[1]} {row[2]}", row[3].strip()))
        elif item is not None or fresh:
            number += 1
            made.append(
                Unit(
                    page,
                    f"{section}, {item[1] if item and item[1] else number}",
                    line[item.end() if item else 0 :].strip(),
                )
            )
            fresh = False
        else:
            last = made.pop()
            made.append(Unit(page, last.label, f"{last.text} {line.strip()}"))
    return made


def data() -> tuple[Line, ...]:
    """The claims, in the order of the pages."""
    return msgspec.toml.decode(DATA.read_bytes(), type=_Data).line


@cache
def _functions(file: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The test functions of a file, as pytest finds them."""
    path = ROOT / "tests" / file
    if not path.is_file() or not path.name.startswith("test_"):
        return {}
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        of_class = isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        for one in node.body if isinstance(node, ast.ClassDef) and of_class else (node,):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_"):
                found[f"{node.name}::{one.name}" if isinstance(node, ast.ClassDef) else one.name] = one
    return found


def exists(test: str) -> bool:
    """Whether pytest finds such a test."""
    file, _, function = test.partition("::")
    return function in _functions(file)


def versions_of(test: str) -> tuple[str, ...]:
    """The versions of OCPP that a test runs on, as its parameters and its text say; empty where it is about none in particular."""
    file, _, function = test.partition("::")
    node = _functions(file)[function]
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in _SETS:
            found |= set(_SETS[part.id])
        elif isinstance(part, ast.Constant) and part.value in ALL:
            found.add(part.value)
    if any(
        isinstance(one, ast.Call) and getattr(one.func, "id", "") == "case" and not one.args
        for one in node.decorator_list
    ):
        found |= set(_NEWER)
    if re.match(r"test_(1_?6|TC_\d)", function.rpartition("::")[2]):
        found.add("1.6")
    return tuple(version for version in ALL if version in found)


def page() -> str:
    """The page."""
    lines = data()
    claims = [claim for line in lines for claim in line.claims]
    tests = {test for claim in claims for test in claim.tests}
    open_ = [claim for claim in claims if claim.not_yet]
    made = [
        "# Which tests show which line",
        "",
        "Generated from `ocpp-tests.toml` by `tools/requirement_lines.py`; `tests/tools/test_requirement_lines.py` holds it to the pages and to the tests.",
        "A test stands here where it was read and shows the claim or a part of it: mostly the whole server over real sockets and PostgreSQL, beside that",
        "the parts alone. The versions are those that the tests' parameters name.",
        "",
        f"{len(claims)} claims in {len(lines)} lines, {len(tests)} tests; {len(open_)} claims are not met, or not wholly:",
        "",
        *(f"- {_short(claim.says)}: {claim.not_yet}" for claim in open_),
    ]
    known = {(unit.page, index): unit for name in PAGES for index, unit in enumerate(units(name))}
    counts = dict.fromkeys(PAGES, 0)
    for line in lines:
        unit = known[line.page, counts[line.page]]
        if counts[line.page] == 0:
            made += ["", f"## {line.page}"]
        counts[line.page] += 1
        made += ["", f"### {unit.label}", "", "| claim | shown by | versions |", "|---|---|---|"]
        for claim in line.claims:
            shown = "<br>".join(f"`{test}`" for test in claim.tests)
            seen = {version for test in claim.tests for version in versions_of(test)}
            words = " ".join(version for version in ALL if version in seen)
            missing = f"**not yet**: {claim.not_yet}" if claim.not_yet else ""
            made.append(f"| {_cell(claim.says)} | {'<br>'.join(filter(None, (shown, missing)))} | {words} |")
    return "\n".join(made) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _short(text: str) -> str:
    return text if len(text) <= 90 else text[:87].rsplit(" ", 1)[0] + " ..."


def main() -> int:
    """Writes or checks the page."""
    text = page()
    if "--check" in sys.argv[1:]:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current != text:
            print(f"{PAGE.relative_to(ROOT)} is not up to date: run `make docs`.", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
