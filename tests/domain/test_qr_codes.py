"""One-time codes of web payment addresses, and VAT numbers by their form."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from chargeplane.domain.qr_codes import is_current, one_time_code
from chargeplane.domain.vat_numbers import can_be, normalized

T = datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC)


def test_C25_the_code_is_made_as_the_algorithm_says() -> None:
    """Step by step, as the pseudocode has it."""
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    digest = hmac.new(b"secret", (int(T.timestamp()) // 30).to_bytes(8, "big"), hashlib.sha256).digest()
    first = digest[31] & 15
    expected = ""
    for i in range(6):
        expected += alphabet[digest[(first + i) % 32] % 62]
    assert one_time_code("secret", T, 30, 6) == expected


def test_a_code_holds_for_its_time_and_a_little_around_it() -> None:
    code = one_time_code("secret", T, 30, 8)
    assert is_current(code, "secret", T, 30)
    assert is_current(code, "secret", T + timedelta(seconds=30), 30)
    assert not is_current(code, "secret", T + timedelta(seconds=90), 30)
    assert not is_current(code, "another", T, 30)
    assert not is_current("", "secret", T, 30)
    assert not is_current("ü" * 8, "secret", T, 30)


@pytest.mark.parametrize(
    "number", ["DE123456789", "de 123.456.789", "ATU12345678", "CHE-123.456.789 MWST", "NL123456789B01"]
)
def test_a_number_of_its_countrys_form_can_be_one(number: str) -> None:
    assert can_be(number)


@pytest.mark.parametrize("number", ["", "DE", "DE12345678", "XX123456789", "DE12345678A", "123456789"])
def test_other_texts_cannot(number: str) -> None:
    assert not can_be(number)
    assert normalized(" a-b.c ") == "ABC"
