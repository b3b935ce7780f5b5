"""Which agreement applies, why not the others, and what would tie."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from chargeplane.domain.agreements.checks import wrong_frame, wrong_proposal, wrong_terms
from chargeplane.domain.agreements.holds import Room, hold_of
from chargeplane.domain.agreements.items import Allowance, Discount, RecurringFee
from chargeplane.domain.agreements.model import (
    Agreement,
    AgreementKind,
    Limits,
    Party,
    PartyKind,
    PartyRole,
    Renewal,
    RenewalMode,
    ScopeEntry,
    ScopeKind,
    Terms,
)
from chargeplane.domain.agreements.resolve import Verdict, resolve, ties
from chargeplane.domain.agreements.scope import ResolveAsk, asked_keys, keys_of
from chargeplane.domain.agreements.states import Action, act
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.kernel.money import Money
from tests.agreements.making import NOON, accepted, draft, later, scoped, wish

ASK = ResolveAsk(
    at=later(1),
    id_token="TAG-1",
    token_group="Fleet",
    driver_id="D1",
    user_groups=("club",),
    party="DE*ABC",
    evse_uid="E1",
    station_id="CP1",
    location_id="HQ",
    country="DE",
)
HOUSE = Party(role=PartyRole.PROVIDER, kind=PartyKind.HOUSE)


def plan(ident: int, *entries: tuple[ScopeKind, str | None], priority: int = 0, **more: object) -> Agreement:
    return accepted(ident, terms=Terms(scope=scoped(*entries), priority=priority), **more)


LADDER = [
    plan(
        1,
        kind=AgreementKind.ROAMING_BILATERAL,
        parties=(HOUSE, Party(role=PartyRole.CONSUMER, kind=PartyKind.OCPI_PARTY, id="DE*ABC")),
    ),
    plan(2, (ScopeKind.USER_GROUP, "club")),
    plan(3, (ScopeKind.TOKEN_GROUP, "FLEET")),
    plan(4),
    plan(5, (ScopeKind.ID_TOKEN, "tag-1")),
    plan(6, (ScopeKind.COUNTRY, "de")),
    plan(7, (ScopeKind.LOCATION, "hq")),
    plan(8, (ScopeKind.STATION, "cp1")),
    plan(9, (ScopeKind.EVSE, "e1")),
]


@pytest.mark.parametrize("number", range(len(LADDER) - 1))
def test_the_more_specific_scope_applies_place_before_people(number: int) -> None:
    lesser, greater = LADDER[number], LADDER[number + 1]
    for order in ([lesser, greater], [greater, lesser]):
        found = resolve(order, ASK)
        assert found.agreement is greater
        assert [one.verdict for one in found.candidates] == [Verdict.APPLIES, Verdict.LOST]
        assert f"Lost to '{greater.number}'" in found.candidates[1].reason


def test_then_priority_and_every_refusal_has_its_reason() -> None:
    suspended, _ = act(plan(3), wish(Action.SUSPEND), later(0.5))
    found = resolve(
        [
            plan(1),
            plan(2, priority=5),
            suspended,
            plan(4, (ScopeKind.LOCATION, "elsewhere")),
            plan(5, (ScopeKind.ID_TOKEN, "other")),
            plan(6, at=later(3)),
            plan(7, ends_at=later(0.5)),
            plan(8, kind=AgreementKind.SITE_HOST),
            draft(9),
            accepted(10, terms=Terms(scope=scoped(exclude=((ScopeKind.LOCATION, "Hq"),)))),
        ],
        ASK,
    )
    reasons = {one.number: (one.verdict.value, one.reason) for one in found.candidates}
    assert reasons == {
        "A-2": ("applies", "Applies: it covers the driver everywhere, nothing covers it more specifically."),
        "A-1": ("lost", "Lost to 'A-2' by priority: 0 against 5."),
        "A-3": ("refused", "Refused: it is suspended."),
        "A-4": ("refused", "Refused: it covers other places."),
        "A-5": ("refused", "Refused: it covers others."),
        "A-6": ("refused", "Refused: it has not begun then."),
        "A-7": ("refused", "Refused: it has ended by then."),
        "A-8": ("refused", "Refused: it is a site host agreement."),
        "A-9": ("refused", "Refused: it is draft."),
        "A-10": ("refused", "Refused: it excludes location 'Hq'."),
    }


def test_the_index_finds_whatever_the_decision_would_take() -> None:
    asked = set(asked_keys(ASK))
    host = accepted(
        20,
        kind=AgreementKind.SITE_HOST,
        terms=Terms(scope=scoped((ScopeKind.LOCATION, "HQ"))),
        parties=(HOUSE, Party(role=PartyRole.CONSUMER, kind=PartyKind.COMPANY, id="c")),
    )
    for agreement in (*LADDER, host):
        assert asked & set(keys_of(agreement.versions[0].terms, agreement.parties)), agreement.number
    assert resolve([host], replace(ASK, kinds=(AgreementKind.SITE_HOST,))).agreement is host


def test_an_id_token_of_another_type_is_another_one() -> None:
    terms = Terms(scope=(ScopeEntry(kind=ScopeKind.ID_TOKEN, value="TAG-1", id_token_type="eMAID"),))
    made = accepted(terms=terms)
    assert resolve([made], replace(ASK, id_token="TAG1", id_token_type="eMAID")).agreement is made
    assert resolve([made], replace(ASK, id_token="TAG1", id_token_type="ISO14443")).agreement is None


def test_equal_scope_people_priority_and_time_is_a_tie() -> None:
    one = plan(1, (ScopeKind.LOCATION, "hq"))
    assert [tie.number for tie in ties(plan(2, (ScopeKind.LOCATION, "HQ")), [one], NOON)] == ["A-1"]
    for other in (
        plan(2, (ScopeKind.LOCATION, "hq"), priority=1),
        plan(2, (ScopeKind.LOCATION, "hq2")),
        plan(2),
        plan(2, (ScopeKind.LOCATION, "hq"), (ScopeKind.ID_TOKEN, "x")),
        draft(2, terms=one.versions[0].terms),
        accepted(2, starts_at=None, terms=one.versions[0].terms),
    ):
        assert ties(other, [one], NOON) == ()
    ended = plan(3, (ScopeKind.LOCATION, "hq"), ends_at=later(10))
    assert ties(plan(4, (ScopeKind.LOCATION, "hq"), at=later(10)), [ended], NOON) == ()
    assert ties(plan(4, (ScopeKind.LOCATION, "hq"), at=later(9)), [ended], NOON)[0].until == later(10)
    renewing = accepted(
        5,
        terms=replace(one.versions[0].terms, renewal=Renewal(mode=RenewalMode.AUTOMATIC, months=1)),
        ends_at=later(10),
    )
    assert ties(plan(4, (ScopeKind.LOCATION, "hq"), at=later(500)), [renewing], NOON)


def test_what_is_wrong_is_named() -> None:
    terms = Terms(
        scope=(ScopeEntry(kind=ScopeKind.LOCATION), ScopeEntry(kind=ScopeKind.COUNTRY, value="Germany")),
        items=(
            RecurringFee(name="f", amount=Money(amount=Decimal(5), currency="SEK")),
            Discount(name="d", percent=Decimal(101)),
            Discount(name="d"),
            Allowance(name="a", sessions=1, minutes=1),
        ),
        limits=Limits(kw=Decimal("NaN")),
        renewal=Renewal(mode=RenewalMode.AUTOMATIC),
    )
    assert {pointer for pointer, _ in wrong_terms(terms, "EUR", None)} == {
        "/scope/0/value",
        "/scope/1/value",
        "/items/0/amount/currency",
        "/items/1/percent",
        "/items/2",
        "/items/3",
        "/limits/kw",
        "/renewal/mode",
    }
    parties = (
        Party(role=PartyRole.PROVIDER, kind=PartyKind.HOUSE, id="x"),
        Party(role=PartyRole.PROVIDER, kind=PartyKind.OCPI_PARTY, id="DEABC"),
    )
    wrong = wrong_frame(currency="eur", time_zone="Mars", starts_at=NOON, ends_at=NOON, parties=parties)
    assert {pointer for pointer, _ in wrong} == {
        "/currency",
        "/time_zone",
        "/ends_at",
        "/parties/0/id",
        "/parties/1/role",
        "/parties/1/id",
    }
    assert {pointer for pointer, _ in wrong_proposal(AgreementKind.FLEET, (HOUSE,), Terms())} == {"/parties", "/scope"}


def test_a_token_is_held_where_no_agreement_of_it_is_in_force() -> None:
    active = accepted(1, terms=Terms(limits=Limits(kwh_per_month=Decimal(10), concurrent_sessions=2)))
    suspended, _ = act(accepted(2), wish(Action.SUSPEND, reason="unpaid"), later(1))
    ended, _ = act(accepted(3), wish(Action.END), later(1))
    assert hold_of([]) is None
    assert hold_of([(draft(), Room())]) is None
    assert hold_of([(active, Room())]) is None
    held = hold_of([(suspended, Room()), (ended, Room())])
    assert held is not None
    assert (held.status, held.reason) == (AuthorizationStatus.BLOCKED, "Agreement 'A-2' is suspended: unpaid.")
    over = hold_of([(ended, Room())])
    assert over is not None
    assert (over.status, over.agreement_id) == (AuthorizationStatus.EXPIRED, 3)
    assert hold_of([(suspended, Room()), (accepted(4), Room())]) is None


def test_limits_are_what_is_left_and_the_wider_agreement_counts() -> None:
    limits = Limits(kwh_per_month=Decimal(10), concurrent_sessions=2)
    one, other = accepted(1, terms=Terms(limits=limits)), accepted(2, terms=Terms(limits=limits))
    held = hold_of([(one, Room(wh=Decimal(-3), sessions=1))], open_count=1)
    assert held is not None
    assert (held.status, held.wh, held.concurrent) == (None, Decimal(0), 2)
    assert "10 kWh a month are used up" in held.reason
    wider = hold_of([(one, Room(wh=Decimal(0))), (other, Room(wh=Decimal(500)))])
    assert wider is not None
    assert (wider.agreement_id, wider.wh) == (2, Decimal(500))
    assert hold_of([(one, Room(sessions=1)), (other, Room())]) is None
