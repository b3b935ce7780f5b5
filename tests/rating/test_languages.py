"""Texts for drivers: every language has every text with the same placeholders, and numbers are written its way."""

from __future__ import annotations

from decimal import Decimal
from string import Formatter

import pytest

from chargeplane.domain import languages
from chargeplane.domain.languages import duration, known, money, number, preferred, said, say


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_language_has_every_text_with_the_same_placeholders() -> None:
    texts = languages._texts()
    assert set(texts) >= {"en", "de", "sv"}
    for code, own in texts.items():
        assert set(own) == set(texts["en"]), code
        for key, text in own.items():
            assert placeholders(text) == placeholders(texts["en"][key]), (code, key)


@pytest.mark.parametrize(
    ("asked", "found"), [("de-AT", "de"), ("SV_se", "sv"), ("xx", "en"), (None, "en"), ("", "en"), ("en", "en")]
)
def test_what_is_not_there_is_said_in_english(asked: str | None, found: str) -> None:
    assert known(asked) == found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("fr, de;q=0.5, en;q=0.4", "de"),
        ("sv-SE,en;q=0.8", "sv"),
        ("en;q=0, sv;q=0.1", "sv"),
        (None, "en"),
        ("*;q=x, ,;", "en"),
    ],
)
def test_the_best_language_of_a_header(header: str | None, found: str) -> None:
    assert preferred(header) == found


def test_numbers_money_and_lengths_of_time() -> None:
    big = Decimal("1234567.891")
    assert [number(big, code) for code in ("en", "de", "sv")] == [
        "1,234,567.891",
        "1.234.567,891",
        "1\u00a0234\u00a0567,891",
    ]
    assert number(Decimal("0.000"), "en") == "0"
    assert money(Decimal("1234.5"), "EUR", "de") == "1.234,50 EUR"
    assert money(Decimal("0.2567"), "EUR", "en", exact=True) == "0.2567 EUR"
    assert money(Decimal("0.25"), "EUR", "en", exact=True) == "0.25 EUR"
    assert money(Decimal("99.6"), "JPY", "en") == "100 JPY"
    assert [duration(Decimal(s), "en") for s in (0, 40, 90, 3600, 9930)] == [
        "0 s",
        "40 s",
        "1 min 30 s",
        "1 h",
        "2 h 45 min",
    ]


def test_a_text_leaves_the_house_in_all_languages() -> None:
    told = said("price.free")
    assert {one.language: one.text for one in told} == {
        "de": "Kostenlos",
        "en": "Free of charge",
        "sv": "Kostnadsfritt",
    }
    assert [one.language for one in said("price.kwh", ("sv",), price="1 kr")] == ["sv"]
    with pytest.raises(KeyError):
        say("price.nothing", "en")
