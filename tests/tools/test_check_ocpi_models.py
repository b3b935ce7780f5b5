"""The objects of OCPI are the tables of the specification, where somebody has it; the reader of tables is tested here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import check_ocpi_models as check
from ocpi_specification import BRANCHES, VARIABLE, Tables, add, named, read, repository, sections

ASCIIDOC = """
==== _Hours_ Object

[cols="3,3,1,9",options="header"]
|===
|Property |Type |Card. |Description

|twentyfourseven |boolean |1 |Always.
|regular_hours |<<a.asciidoc#b,RegularHours>> |* |Per `day \\| night`.
|===

==== Role _OpenEnum_
|===
|Value |Description

|CPO a|Operator.
|N/A |None.
|===
"""

MARKDOWN = """
### 3.1 _Hours_ Object

| Property          | Type                      | Card. | Description |
|-------------------|---------------------------|-------|-------------|
| > twentyfourseven | boolean                   | 1     | Always.     |
| regular_hours     | [RegularHours](a.md#b)    | *     | Per day.    |

### Role *enum*

| Value | Description |
|-------|-------------|
| CPO   | Operator.   |
"""


def tables(text: str) -> Tables:
    found = Tables()
    add(found, sections(text))
    return found


@pytest.mark.parametrize("text", [ASCIIDOC, MARKDOWN], ids=["asciidoc", "markdown"])
def test_tables_are_read(text: str) -> None:
    rows = tables(text).objects["Hours"]
    assert {row.name: (row.type, row.cardinality) for row in rows.values()} == {
        "twentyfourseven": ("boolean", "1"),
        "regular_hours": ("RegularHours", "*"),
    }


def test_enumerations_are_read_with_whether_they_are_open() -> None:
    assert (tables(ASCIIDOC).enums, tables(ASCIIDOC).open) == ({"Role": ["CPO", "N/A"]}, {"Role"})
    assert (tables(MARKDOWN).enums, tables(MARKDOWN).open) == ({"Role": ["CPO"]}, set())


def test_what_an_extension_adds_is_added_and_what_it_has_otherwise_is_not_taken() -> None:
    found = tables(ASCIIDOC)
    other = ASCIIDOC.replace("|boolean |1 |", "|string(3) |? |").replace(
        "|===\n\n==== Role", "|more |int |? |.\n|===\n\n==== Role"
    )
    add(found, sections(other))
    assert found.objects["Hours"]["twentyfourseven"].type == "boolean"
    assert found.objects["Hours"]["more"].cardinality == "?"


@pytest.mark.parametrize(
    ("heading", "name", "kind"),
    [
        ("_Financial Advice Confirmation_ Object", "FinancialAdviceConfirmation", "object"),
        ("4.13 Hours *class*", "Hours", "class"),
        ("GET Object: Request Parameters", "", ""),
        ("Data", "VersionDetails", "class"),
        ("Object description", "description", "object"),
    ],
)
def test_names_of_what_a_heading_introduces(heading: str, name: str, kind: str) -> None:
    assert named(heading) == (name, kind)


def test_differences_are_found() -> None:
    text = """
==== _Endpoint_ Object
|===
|Property |Type |Card. |Description
|identifier |ModuleID |? |
|role |InterfaceRole |1 |
|url |string(20) |1 |
|extra |int |1 |
|===
"""
    found = [line for line in check.differences("2.3.0", tables(text)) if "Endpoint" in line]
    assert found == [
        "2.3.0 Endpoint.extra: not in the project",
        "2.3.0 Endpoint.identifier: ours 1, table ?",
        "2.3.0 Endpoint.url: ours URL, table string(20)",
    ]


@pytest.mark.parametrize("version", list(BRANCHES))
def test_objects_are_as_in_the_tables(version: str) -> None:
    clone = repository()
    if clone is None:
        print(f"skipped: the tables of OCPI {version}, 1 of {len(BRANCHES)} versions (set {VARIABLE} to a clone)")
        pytest.skip(f"no clone of the specification ({VARIABLE})")
    found = read(clone, version)
    assert sum(len(fields) for fields in found.objects.values()) > 150
    assert [line for line in check.differences(version, found) if line not in check.KNOWN] == []
