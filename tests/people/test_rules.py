"""Rules about people that need no server: one-time codes, waits, passwords, roles, mails, addresses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.app.api_keys import ALL_SCOPES
from chargeplane.domain.people.drivers import check_email, email_key
from chargeplane.domain.people.lockout import BY_ACCOUNT, BY_ADDRESS, LockoutRule
from chargeplane.domain.people.mails import MailedPurpose, Notice, letter, mail_languages
from chargeplane.domain.people.passwords import fault_of
from chargeplane.domain.people.roles import Role, scopes_of
from chargeplane.domain.people.totp import address_of, code_at, matching_step, step_at
from chargeplane.domain.people.vehicles import mac_of

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_one_time_codes_are_those_of_rfc_6238_appendix_b(seconds: int, code: str) -> None:
    assert code_at(SECRET, seconds // 30) == code


def test_one_time_code_counts_once_and_a_step_around_now() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    step = step_at(now)
    assert matching_step(SECRET, code_at(SECRET, step), now, 0) == step
    assert matching_step(SECRET, code_at(SECRET, step), now, step) is None
    assert matching_step(SECRET, code_at(SECRET, step - 1), now, 0) == step - 1
    assert matching_step(SECRET, code_at(SECRET, step + 2), now, 0) is None
    assert matching_step(SECRET, "12345x", now, 0) is None
    assert "secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" in address_of(SECRET, "Chargeplane", "a@example.org")


@given(st.integers(0, 10_000))
def test_waits_never_shrink_and_never_exceed_the_longest(failures: int) -> None:
    for rule in (BY_ACCOUNT, BY_ADDRESS):
        assert rule.wait_s(failures) <= rule.wait_s(failures + 1) <= rule.longest_s


def test_waits_double_after_the_free_failures() -> None:
    rule = LockoutRule(free=2, first_s=10, longest_s=60)
    assert [rule.wait_s(n) for n in range(7)] == [0, 0, 0, 10, 20, 40, 60]


def test_passwords_that_are_good_and_bad() -> None:
    assert fault_of("correct horse battery") is None
    assert fault_of("ett långt lösenord") is None
    for bad in ("short", "aaaaaaaaaaaaa", "1234567890", "qwertyuiop", "Password123!", "a" * 201):
        assert fault_of(bad) is not None, bad
    assert fault_of("anna.berg@example.org", "anna.berg@example.org") is not None


@pytest.mark.parametrize("address", ["a@example.org", "anna.b+x@mail.example.co", "ä@exämple.org"])
def test_email_addresses_that_mail_is_sent_to(address: str) -> None:
    assert check_email(address) is None


@pytest.mark.parametrize(
    "address", ["a", "a@b", "a@@b.org", "a b@c.org", "a@c.org\nBcc: x@y.org", "<a@c.org>", "a@c..org", "@c.org"]
)
def test_email_addresses_that_none_is_sent_to(address: str) -> None:
    assert check_email(address) is not None


def test_email_addresses_are_compared_without_case_in_one_form() -> None:
    assert email_key("Ängla@Example.ORG") == email_key("A\u0308ngla@example.org")


def test_roles_are_ordered_by_what_they_may() -> None:
    of = {role: scopes_of(role, ALL_SCOPES) for role in Role}
    assert of[Role.OWNER] == {"admin"}
    assert of[Role.READ_ONLY] < of[Role.OPERATOR]
    assert not any(scope.endswith(":write") for scope in of[Role.READ_ONLY])
    for role in Role:
        if role is not Role.OWNER:
            assert not of[role] & {"admin", "users:write", "users:read"}, role
    assert "tariffs:write" in of[Role.FINANCE]
    assert "tariffs:write" not in of[Role.SUPPORT]
    assert not any(scope.startswith("drivers") for scope in of[Role.INSTALLER])
    assert of[Role.INSTALLER] <= ALL_SCOPES


def test_mails_are_there_in_three_languages_with_all_they_speak_of() -> None:
    assert set(mail_languages()) >= {"de", "en", "sv"}
    values = {name: f"<{name}>" for name in ("tenant", "link", "code", "hours", "by", "role", "time")}
    for language in mail_languages():
        for kind in (*MailedPurpose, *Notice):
            made = letter(kind, "a@example.org", language, {**values, "name": "Anna"})
            assert "{" not in made.text + made.subject
            assert "Anna" in made.text
            if isinstance(kind, MailedPurpose):
                assert "<link>" in made.text
                assert "<code>" in made.text
                assert "<hours>" in made.text
    assert letter(Notice.ACCOUNT_CLOSED, "a@example.org", "fr", values).language == "en"
    assert letter(Notice.ACCOUNT_CLOSED, "a@example.org", "de-CH", values).language == "de"


def test_a_name_becomes_no_line_of_a_mail() -> None:
    made = letter(Notice.ACCOUNT_CLOSED, "a@example.org", "en", {"name": "A\n\nBcc: x@y.org", "tenant": "T"})
    assert "A Bcc: x@y.org" in made.text


@pytest.mark.parametrize("text", ["0a:1b:2c:3d:4e:5f", "0A-1B-2C-3D-4E-5F", "0a1b2c3d4e5f", "VID:0A1B2C3D4E5F"])
def test_mac_addresses_in_all_forms(text: str) -> None:
    assert mac_of(text) == "0A1B2C3D4E5F"
