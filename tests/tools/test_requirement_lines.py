"""Every line of the requirement pages, and the tests that show it."""

from __future__ import annotations

import pytest

from tools.requirement_lines import ALL, PAGE, PAGES, data, exists, page, units, versions_of

LINES = [unit for name in PAGES for unit in units(name)]


def test_every_line_of_the_pages_is_claimed_word_by_word() -> None:
    assert len(LINES) > 60
    claimed = [(line.page, " ".join(claim.says for claim in line.claims)) for line in data()]
    assert claimed == [(unit.page, unit.text) for unit in LINES]


def test_every_claim_has_a_test_that_exists() -> None:
    claims = [claim for line in data() for claim in line.claims]
    assert [claim.says for claim in claims if not claim.tests and not claim.not_yet] == []
    assert [test for claim in claims for test in claim.tests if not exists(test)] == []
    assert [claim.says for claim in claims if len(set(claim.tests)) != len(claim.tests)] == []


def test_what_holds_for_several_versions_is_shown_in_each() -> None:
    lacking = [
        (claim.says, version)
        for line in data()
        for claim in line.claims
        for version in claim.versions
        if version not in {seen for test in claim.tests for seen in versions_of(test)}
    ]
    assert lacking == []
    assert {version for line in data() for claim in line.claims for version in claim.versions} == set(ALL)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


@pytest.mark.parametrize(
    ("test", "versions"),
    [
        ("field/test_tokens.py::test_tokens_compare_without_case", ALL),
        ("field/test_transactions.py::test_seq_no_always_zero", ALL[1:]),
        ("field/test_meter_data.py::test_16_ocmf_as_json_text_in_transaction_data", ("1.6",)),
        ("conformance/test_e_transactions.py::test_TC_E_01_CSMS", ALL[1:]),
        ("conformance/test_16_core.py::test_TC_003_CSMS", ("1.6",)),
        ("store/test_partitions.py::test_today_and_the_days_ahead_have_partitions", ()),
    ],
)
def test_versions_are_read_from_the_test(test: str, versions: tuple[str, ...]) -> None:
    assert versions_of(test) == versions


def test_a_test_that_is_not_there_does_not_exist() -> None:
    assert not exists("field/test_tokens.py::test_no_such_test")
    assert not exists("field/test_no_such_file.py::test_tokens_compare_without_case")
    assert not exists("support/field.py::token_status")
