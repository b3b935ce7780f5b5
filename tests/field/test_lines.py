"""Every line of the field list has a test that quotes it, so that none is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCS = Path(__file__).parents[2] / "docs" / "requirements"


def quoted(pattern: str, *files: str) -> set[int]:
    """Numbers that the docstrings of these files quote."""
    found: set[int] = set()
    for file in files:
        text = (HERE / file).read_text(encoding="utf-8")
        for docstring in re.findall(r'"""(.*?)"""', text, re.DOTALL):
            for numbers in re.findall(pattern, docstring):
                found |= {int(number) for number in re.findall(r"\d+", numbers)}
    return found


def test_every_item_of_the_field_list_has_a_test() -> None:
    files = sorted(path.name for path in HERE.glob("test_*.py") if path.name != Path(__file__).name)
    assert quoted(r"[Ii]tems? (\d+(?:(?:, | and )\d+)*)", *files) >= set(range(1, 15))


@pytest.mark.parametrize(
    ("section", "files"),
    [
        ("Connection", ("test_connection.py",)),
        ("Transactions", ("test_transactions.py", "test_evidence.py")),
        ("Meter data", ("test_meter_data.py",)),
    ],
)
def test_every_line_of_a_section_has_a_test(section: str, files: tuple[str, ...]) -> None:
    page = (DOCS / "stations.md").read_text(encoding="utf-8")
    lines = page.split(f"\n{section}\n")[1].split("\n\n")[0]
    count = len(re.findall(r"^- ", lines, re.MULTILINE))
    assert count >= 3
    assert quoted(r"[Ll]ine (\d+(?: and \d+)*)", *files) >= set(range(1, count + 1))
