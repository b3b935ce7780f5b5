"""Every official case has a test, or stands in the table of what is not built; never in both, never in neither."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conformance.not_built import NOT_BUILT
from tests.conformance.official import VERSIONS_2X, Kind, official
from tests.conformance.use_cases import PARTLY, UNTRIED, USE_CASES

VERSIONS = ("1.6", *VERSIONS_2X)


def implemented(version: str) -> list[str]:
    """Ids of the cases that functions of this folder run on a version, read from their source."""
    found = []
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) or not node.name.startswith("test_TC_"):
                continue
            marks = [mark for mark in node.decorator_list if isinstance(mark, ast.Call)]
            (mark,) = [mark for mark in marks if isinstance(mark.func, ast.Name) and mark.func.id == "case"]
            versions = [one.value for one in mark.args if isinstance(one, ast.Constant)] or list(VERSIONS_2X)
            if version in versions:
                found.append(node.name.removeprefix("test_").removesuffix("_CSMS"))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_case_is_implemented_or_said_to_be_missing(version: str) -> None:
    run, missing = implemented(version), NOT_BUILT[version]
    assert len(run) == len(set(run)), "two functions for one case"
    assert set(run) & set(missing) == set(), "implemented and still in the table"
    assert set(official(version)) - set(run) - set(missing) == set(), "neither implemented nor in the table"
    assert set(missing) - set(official(version)) == set(), "no such case"


def test_the_mandatory_and_conditional_cases_of_2_0_1_are_all_there() -> None:
    kinds = [about.kind for about in official("2.0.1").values()]
    assert (kinds.count(Kind.MANDATORY), kinds.count(Kind.CONDITIONAL)) == (200, 32)


def test_every_use_case_that_only_2_1_has_is_tried_or_says_why_not() -> None:
    tried = set()
    for file in Path(__file__).parent.glob("test_21_*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_"):
                marks = [
                    one.func.id
                    for one in node.decorator_list
                    if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
                ]
                assert "requires" in marks, node.name
                tried.add(node.name.split("_")[1])
    assert tried | set(UNTRIED) == set(USE_CASES)
    assert tried & set(UNTRIED) == set(), "tried and still in the table"
    assert set(PARTLY) <= tried
