"""docs/conformance.md tells of every official case, and of what is not run what the table of the tests says."""

from __future__ import annotations

import re

import pytest

from tests.conformance.not_built import NOT_BUILT
from tests.conformance.official import official
from tests.conformance.record import VERSIONS, written
from tests.conformance.use_cases import UNTRIED, USE_CASES
from tools.conformance import PAGE, page

_ROW = re.compile(r"^\| (TC_\w+)_CSMS \| .* \| (passed|failed|not run: .*) \|$", re.MULTILINE)


def rows(text: str, version: str) -> dict[str, str]:
    """Result by case of a version's table."""
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (mine,) = [part for part in section if part.startswith(f"OCPP {version}\n")]
    return dict(_ROW.findall(mine))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_page_is_of_a_run_of_these_cases_in_which_none_failed(version: str) -> None:
    found = rows(PAGE.read_text(encoding="utf-8"), version)
    assert list(found) == list(official(version))
    missing = {ident: f"not run: {reason}" for ident, reason in NOT_BUILT[version].items()}
    assert found == {ident: missing.get(ident, "passed") for ident in found}, "run `make conformance`"


def test_what_did_not_run_is_never_passed() -> None:
    found = [{"id": "TC_001", "version": "1.6", "outcome": "passed"}]
    results = rows(page(written(found)), "1.6")
    assert results["TC_001"] == "passed"
    assert {result for ident, result in results.items() if ident != "TC_001"} == {
        f"not run: {reason}" for reason in {*NOT_BUILT["1.6"].values(), "the test was left out"}
    }


def test_a_case_that_failed_once_is_failed() -> None:
    runs = [{"id": "TC_001", "version": "1.6", "outcome": word} for word in ("passed", "failed", "passed")]
    assert rows(page(written(runs)), "1.6")["TC_001"] == "failed"


def test_the_page_tells_of_every_use_case_that_only_2_1_has() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]\d\d) \| .* \| (passed|failed|not run) \| .*\|$", text, re.MULTILINE)
    assert dict(rows) == {ident: "not run" if ident in UNTRIED else "passed" for ident in USE_CASES}, (
        "run `make conformance`"
    )
