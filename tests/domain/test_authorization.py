"""Who may charge and who may stop."""

from __future__ import annotations

import pytest

from chargeplane.domain.authorization import Asked, IdTokenRecord, authorize, decide, matching, may_stop, same_token
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from tests.domain.desk import NOON, at

ACCEPTED = AuthorizationStatus.ACCEPTED


def test_an_unknown_token_is_unknown() -> None:
    assert decide(None, now=NOON).status is AuthorizationStatus.UNKNOWN


def test_an_accepted_token_brings_its_group_language_and_validity() -> None:
    record = IdTokenRecord(value="A", group_id="FLEET", language="de", valid_until=at(5), personal_message="Hallo")
    info = decide(record, now=NOON)
    assert (info.status, info.group_id, info.language, info.valid_until, info.personal_message) == (
        ACCEPTED,
        "FLEET",
        "de",
        at(5),
        "Hallo",
    )


@pytest.mark.parametrize("status", [s for s in AuthorizationStatus if s is not ACCEPTED])
def test_a_refused_token_is_told_its_own_status(status: AuthorizationStatus) -> None:
    assert decide(IdTokenRecord(value="A", status=status), now=NOON).status is status


def test_a_token_expires_at_its_time() -> None:
    record = IdTokenRecord(value="A", valid_until=at(5))
    assert decide(record, now=at(4)).status is ACCEPTED
    assert decide(record, now=at(5)).status is AuthorizationStatus.EXPIRED


def test_a_token_is_not_valid_before_its_time() -> None:
    record = IdTokenRecord(value="A", valid_from=at(5))
    assert decide(record, now=at(4)).status is AuthorizationStatus.INVALID
    assert decide(record, now=at(5)).status is ACCEPTED


def test_a_blocked_token_stays_blocked_when_it_also_expired() -> None:
    record = IdTokenRecord(value="A", status=AuthorizationStatus.BLOCKED, valid_until=at(-5))
    assert decide(record, now=NOON).status is AuthorizationStatus.BLOCKED


def test_concurrency_is_unlimited_unless_set() -> None:
    assert decide(IdTokenRecord(value="A", concurrent_count=99), now=NOON).status is ACCEPTED
    record = IdTokenRecord(value="A", concurrent_limit=2, concurrent_count=2)
    assert decide(record, now=NOON).status is AuthorizationStatus.CONCURRENT_TX
    assert decide(record, now=NOON, concurrent_count=1).status is ACCEPTED
    assert decide(record, now=NOON, asked=Asked.GO_ON).status is ACCEPTED


def test_a_token_for_some_evses_is_refused_at_others() -> None:
    record = IdTokenRecord(value="A", evse_ids=(1, 2))
    assert decide(record, now=NOON, evse_ids=(2, 3)).status is ACCEPTED
    assert decide(record, now=NOON).status is ACCEPTED
    assert decide(record, now=NOON, evse_ids=(3,)).status is AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE


def test_tokens_match_without_case() -> None:
    record = IdTokenRecord(value="AbCd", type="ISO14443")
    assert matching(IdToken(value="aBcD", type="ISO14443"), [record]) is record
    assert matching(IdToken(value="aBcE", type="ISO14443"), [record]) is None


def test_a_16_tag_matches_any_type_an_accepted_one_first() -> None:
    blocked = IdTokenRecord(value="A", type="Central", status=AuthorizationStatus.BLOCKED)
    good = IdTokenRecord(value="A", type="eMAID")
    assert matching(IdToken(value="a"), [blocked, good]) is good
    assert matching(IdToken(value="a"), [blocked]) is blocked


def test_a_type_matches_only_itself() -> None:
    record = IdTokenRecord(value="A", type="Central")
    assert authorize(IdToken(value="A", type="eMAID"), [record], now=NOON).status is AuthorizationStatus.UNKNOWN
    assert authorize(IdToken(value="A", type="central"), [record], now=NOON).status is ACCEPTED


def test_no_authorization_needs_no_record() -> None:
    assert authorize(IdToken(value="", type="NoAuthorization"), [], now=NOON).status is ACCEPTED


def test_the_same_token_or_one_of_its_group_may_stop() -> None:
    starter = IdToken(value="A", type="ISO14443")
    assert may_stop(IdToken(value="a"), starter, group_id=None, started_by_group_id=None)
    friend = IdToken(value="B", type="ISO14443")
    assert may_stop(friend, starter, group_id="Fleet", started_by_group_id="FLEET")
    assert not may_stop(friend, starter, group_id="X", started_by_group_id="Fleet")
    assert not may_stop(friend, starter, group_id=None, started_by_group_id=None)
    assert not may_stop(friend, None, group_id=None, started_by_group_id=None)


def test_tokens_of_one_value_and_two_types_are_two() -> None:
    assert not same_token(IdToken(value="A", type="eMAID"), IdToken(value="A", type="Central"))
    assert same_token(IdToken(value="A", type="eMAID"), IdToken(value="a"))
    assert not same_token(None, IdToken(value="a"))
