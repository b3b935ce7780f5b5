"""The life of an agreement: actions, the clock, amendments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from chargeplane.domain.agreements.clock import CLOCK, Happening, advance, as_of, due_at, in_force, renews, spans
from chargeplane.domain.agreements.model import (
    Agreement,
    AgreementState,
    PartyRole,
    Renewal,
    RenewalMode,
    Terms,
    VersionState,
    content_hash,
    version_at,
)
from chargeplane.domain.agreements.states import TABLE, Action, act, allowed, amend, answer_amendment, superseded
from chargeplane.kernel.errors import ConflictError, InvalidInputError
from tests.agreements.making import NOON, accepted, draft, later, wish

S = AgreementState


def test_every_state_but_the_final_ones_is_left_by_an_action_or_the_clock() -> None:
    final = {S.CLOSED, S.REJECTED, S.WITHDRAWN, S.CANCELED}
    left = {state for state, _ in TABLE} | {state for state, _ in CLOCK}
    assert left == set(S) - final


def test_every_state_is_reached_from_a_draft() -> None:
    reached = {S.DRAFT}
    steps = [(start, end) for (start, _), end in (*TABLE.items(), *CLOCK.items())]
    for _ in S:
        reached |= {end for start, end in steps if start in reached}
    assert reached == set(S)


def test_both_parties_accept_once_and_the_offer_counts() -> None:
    offered, _ = act(draft(starts_at=later(1)), wish(Action.PROPOSE, role=PartyRole.CONSUMER), NOON)
    with pytest.raises(ConflictError, match="consumer has accepted already"):
        act(offered, wish(Action.ACCEPT, role=PartyRole.CONSUMER), NOON)
    done, happened = act(offered, wish(Action.ACCEPT, signed_by="Ada"), NOON)
    assert (done.state, happened) == (S.ACCEPTED, ())
    assert [one.role for one in done.versions[0].acceptances] == [PartyRole.CONSUMER, PartyRole.PROVIDER]
    assert {one.hash for one in done.versions[0].acceptances} == {done.versions[0].hash}
    with pytest.raises(InvalidInputError):
        act(offered, wish(Action.ACCEPT, role=PartyRole.GUARANTOR), NOON)


def test_the_hash_is_of_what_was_accepted() -> None:
    made = accepted()
    first = made.versions[0]
    assert first.hash != content_hash(made, replace(first.terms, priority=1), None)
    assert first.hash == content_hash(draft(starts_at=NOON), first.terms, None)


def test_an_agreement_whose_day_has_come_is_active_when_it_is_accepted() -> None:
    offered, _ = act(draft(starts_at=later(-3)), wish(Action.PROPOSE), NOON)
    done, happened = act(offered, wish(Action.ACCEPT), NOON)
    assert (done.state, done.begun_at) == (S.ACTIVE, NOON)
    assert [one.what for one in happened] == [Happening.ACTIVATED]


def test_the_clock_begins_and_ends_it_at_the_very_moment() -> None:
    made = replace(accepted(at=NOON, starts_at=later(2), ends_at=later(5)))
    assert made.state is S.ACCEPTED
    assert as_of(made, later(2) - timedelta(microseconds=1)).state is S.ACCEPTED
    assert as_of(made, later(2)).state is S.ACTIVE
    assert as_of(made, later(5) - timedelta(microseconds=1)).state is S.ACTIVE
    ended, happened = advance(made, later(50))
    assert ended.state is S.ENDED
    assert [(one.what, one.at) for one in happened] == [
        (Happening.ACTIVATED, later(2)),
        (Happening.ENDED, later(5)),
    ]


def test_what_has_no_start_waits_for_a_hand() -> None:
    made = accepted(starts_at=None)
    assert as_of(made, later(900)).state is S.ACCEPTED
    active, _ = act(made, wish(Action.ACTIVATE), later(3))
    assert (active.state, active.starts_at, active.begun_at) == (S.ACTIVE, later(3), later(3))


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ConflictError, match=r"is active and cannot be proposed. Allowed: suspend, renew, end\."):
        act(accepted(), wish(Action.PROPOSE), later(1))
    with pytest.raises(ConflictError, match="it is over"):
        act(replace(accepted(), state=S.CLOSED), wish(Action.SUSPEND), later(1))


def test_notice_is_kept_unless_the_parties_waive_it() -> None:
    made = accepted(terms=Terms(notice_days=30))
    with pytest.raises(InvalidInputError) as refused:
        act(made, wish(Action.END, ends_at=later(20)), later(1))
    assert refused.value.fields[0][0] == "/ends_at"
    ending, _ = act(made, wish(Action.END), later(1))
    assert (ending.state, ending.ends_at) == (S.ENDING, later(31))
    earlier, _ = act(made, wish(Action.END, ends_at=later(20), waive_notice=True), later(1))
    assert earlier.ends_at == later(20)
    gone, happened = act(made, wish(Action.END, waive_notice=True), later(1))
    assert gone.state is S.ENDED
    assert [one.what for one in happened] == [Happening.ENDED]


def test_a_notice_never_makes_a_fixed_term_longer() -> None:
    made = accepted(terms=Terms(notice_days=90), ends_at=later(30))
    ending, _ = act(made, wish(Action.END), later(1))
    assert ending.ends_at == later(30)


def test_reinstated_it_ends_when_it_would_have() -> None:
    made = accepted(terms=Terms(notice_days=10), ends_at=later(300))
    ending, _ = act(made, wish(Action.END), later(1))
    back, _ = act(ending, wish(Action.REINSTATE), later(2))
    assert (back.state, back.ends_at, back.notice) == (S.ACTIVE, later(300), None)


def test_a_suspension_is_remembered_with_its_times() -> None:
    made, _ = act(accepted(), wish(Action.SUSPEND, reason="unpaid"), later(1))
    made, _ = act(made, wish(Action.RESUME), later(3))
    assert in_force(made, later(0.5)) is None
    assert in_force(made, later(2)) == "it is suspended"
    assert in_force(made, later(3)) is None


def test_it_renews_by_itself_by_the_wall_clock_until_notice_is_given() -> None:
    ends = datetime(2026, 3, 31, 22, tzinfo=UTC)  # midnight in Berlin, summer time
    terms = Terms(renewal=Renewal(mode=RenewalMode.AUTOMATIC, months=6), notice_days=30)
    made = accepted(terms=terms, ends_at=ends)
    after, happened = advance(made, datetime(2026, 12, 1, tzinfo=UTC))
    assert after.ends_at == datetime(2027, 3, 31, 22, tzinfo=UTC)
    assert [(one.what, one.at) for one in happened] == [
        (Happening.RENEWED, ends),
        (Happening.RENEWED, datetime(2026, 9, 30, 22, tzinfo=UTC)),
    ]
    ending, _ = act(made, wish(Action.END), NOON)
    assert advance(ending, datetime(2026, 12, 1, tzinfo=UTC))[0].state is S.ENDED


@pytest.mark.parametrize("day", [29, 30, 31])
def test_an_end_late_in_the_month_comes_back_to_its_day_after_february(day: int) -> None:
    terms = Terms(renewal=Renewal(mode=RenewalMode.AUTOMATIC, months=1))
    made = accepted(terms=terms, at=datetime(2025, 12, 1, tzinfo=UTC), ends_at=datetime(2026, 1, day, 11, tzinfo=UTC))
    days, now = [], datetime(2026, 1, day, 12, tzinfo=UTC)
    for _ in range(5):  # as the job writes it, one renewal after the other
        made = as_of(made, now)
        assert made.ends_at is not None
        days.append((made.ends_at.month, made.ends_at.day))
        now = made.ends_at
    assert days == [(2, 28), (3, day), (4, min(day, 30)), (5, day), (6, min(day, 30))]
    by_hand, _ = act(made, wish(Action.RENEW), now - timedelta(days=1))
    assert by_hand.ends_at is not None
    assert (by_hand.ends_at.month, by_hand.ends_at.day) == (7, day)


def test_an_end_in_the_hour_that_the_clocks_leave_out_comes_back_to_its_hour() -> None:
    terms = Terms(renewal=Renewal(mode=RenewalMode.AUTOMATIC, months=1))
    made = accepted(terms=terms, at=datetime(2026, 1, 1, tzinfo=UTC), ends_at=datetime(2026, 1, 29, 1, 30, tzinfo=UTC))
    assert as_of(made, datetime(2026, 3, 1, tzinfo=UTC)).ends_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    after = as_of(made, datetime(2026, 4, 1, tzinfo=UTC))
    assert after.ends_at == datetime(2026, 4, 29, 0, 30, tzinfo=UTC)  # half past two in summer time


def test_by_hand_it_renews_only_where_the_terms_say_so() -> None:
    manual = accepted(terms=Terms(renewal=Renewal(mode=RenewalMode.MANUAL, months=1)), ends_at=later(10))
    assert as_of(manual, later(11)).state is S.ENDED
    renewed, _ = act(manual, wish(Action.RENEW), later(1))
    assert renewed.ends_at == datetime(2026, 4, 11, 11, tzinfo=UTC)  # the clocks went forward meanwhile
    with pytest.raises(ConflictError, match="know no renewal"):
        act(accepted(ends_at=later(10)), wish(Action.RENEW), later(1))


def test_an_amendment_holds_from_its_day_once_both_accepted() -> None:
    made = accepted()
    made = amend(made, Terms(priority=5), later(10), wish(Action.PROPOSE, reason="more"), later(1))
    with pytest.raises(ConflictError, match="waits for acceptance"):
        amend(made, Terms(), None, wish(Action.PROPOSE), later(1))
    made, _ = answer_amendment(made, 2, wish(Action.ACCEPT), later(2))
    assert made.version == 1
    assert version_at(made, later(9)).version == 1
    after, happened = advance(made, later(11))
    assert after.version == 2
    assert [(one.what, one.at) for one in happened] == [(Happening.AMENDED, later(10))]
    assert [(one.since, one.until, one.version.version) for one in spans(made, later(2))] == [
        (later(2), later(10), 1),
        (later(10), None, 2),
    ]


def test_an_amendment_accepted_late_holds_from_then() -> None:
    made = amend(accepted(), Terms(priority=5), later(10), wish(Action.PROPOSE), later(1))
    made, happened = answer_amendment(made, 2, wish(Action.ACCEPT), later(20))
    assert (made.version, made.versions[1].effective_at) == (2, later(20))
    assert [one.what for one in happened] == [Happening.AMENDED]
    assert version_at(made, later(15)).version == 1


def test_a_rejected_amendment_changes_nothing() -> None:
    made = amend(accepted(), Terms(priority=5), None, wish(Action.PROPOSE), later(1))
    made, _ = answer_amendment(made, 2, wish(Action.REJECT), later(2))
    assert made.versions[1].state is VersionState.REJECTED
    assert version_at(made, later(30)).version == 1
    with pytest.raises(ConflictError, match="does not wait"):
        answer_amendment(made, 2, wish(Action.ACCEPT), later(3))


def test_the_superseded_one_ends_where_the_other_begins() -> None:
    running, _ = superseded(accepted(), later(5), later(1))
    assert (running.state, running.ends_at) == (S.ENDING, later(5))
    waiting, _ = superseded(accepted(starts_at=later(9)), later(5), later(1))
    assert waiting.state is S.CANCELED
    gone, happened = superseded(accepted(), later(1), later(1))
    assert gone.state is S.ENDED
    assert [one.what for one in happened] == [Happening.ENDED]


STEPS = st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(days=3), timedelta(days=40), timedelta(days=400)])


class Life(RuleBasedStateMachine):
    """Anything done to an agreement, at any time, by somebody who reads it late: `seen` is never advanced by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.seen = draft()
        self.punctual = self.seen

    @initialize(
        start=st.one_of(st.none(), st.integers(-5, 60)),
        length=st.one_of(st.none(), st.integers(1, 500)),
        mode=st.sampled_from(list(RenewalMode)),
        notice=st.sampled_from([0, 1, 30]),
    )
    def begin(self, start: int | None, length: int | None, mode: RenewalMode, notice: int) -> None:
        starts = None if start is None else later(start)
        terms = Terms(notice_days=notice, renewal=Renewal(mode=mode if length else RenewalMode.NONE, months=1))
        self.seen = self.punctual = draft(
            terms=terms, starts_at=starts, ends_at=None if length is None else (starts or NOON) + timedelta(days=length)
        )

    @rule(step=STEPS)
    def time_passes(self, step: timedelta) -> None:
        self.now += step
        self.punctual = as_of(self.punctual, self.now)

    @rule(action=st.sampled_from(list(Action)), waive=st.booleans())
    def somebody_acts(self, action: Action, waive: bool) -> None:
        before = as_of(self.seen, self.now)
        done = wish(action, waive_notice=waive)
        try:
            self.seen, _ = act(self.seen, done, self.now)
        except (ConflictError, InvalidInputError):
            assert as_of(self.seen, self.now) == before
            if (before.state, action) not in TABLE:
                assert action not in allowed(before)
            return
        assert (before.state, action) in TABLE
        self.punctual, _ = act(self.punctual, done, self.now)
        self._was_legal(before.state, action)

    def _was_legal(self, state: AgreementState, action: Action) -> None:
        to = TABLE[state, action]
        reachable = {to} | ({S.PROPOSED} if action is Action.ACCEPT else set())
        for _ in range(3):  # what the clock may have done at once
            reachable |= {CLOCK[one, boundary] for (one, boundary) in CLOCK if one in reachable}
        assert self.seen.state in reachable

    @precondition(lambda self: self.seen.state in (S.ACCEPTED, S.ACTIVE, S.SUSPENDED))
    @rule(days=st.integers(0, 90), priority=st.integers(0, 9))
    def terms_are_amended(self, days: int, priority: int) -> None:
        try:
            terms = replace(version_at(self.seen, self.now).terms, priority=priority)
            offered = amend(self.seen, terms, self.now + timedelta(days=days), wish(Action.PROPOSE), self.now)
        except (ConflictError, InvalidInputError):
            return
        self.seen, _ = answer_amendment(offered, len(offered.versions), wish(Action.ACCEPT), self.now)
        self.punctual = self.seen

    @invariant()
    def reading_late_is_reading_the_same(self) -> None:
        assert as_of(self.seen, self.now) == as_of(self.punctual, self.now)

    @invariant()
    def the_clock_leaves_nothing_undone(self) -> None:
        current, _ = advance(self.seen, self.now)
        due = due_at(current)
        assert due is None or due > self.now
        assert advance(current, self.now) == (current, ())

    @invariant()
    def in_two_steps_or_in_one(self) -> None:
        far = self.now + timedelta(days=300)
        half, first = advance(self.seen, self.now + timedelta(days=150))
        whole, second = advance(half, far)
        assert advance(self.seen, far) == (whole, (*first, *second))
        assert [one.at for one in (*first, *second)] == sorted(one.at for one in (*first, *second))

    @invariant()
    def only_active_terms_hold(self) -> None:
        current = as_of(self.seen, self.now)
        if in_force(current, self.now) is None:
            assert current.state in (S.ACTIVE, S.ENDING)
        if current.state is S.ACTIVE:
            assert in_force(current, self.now) is None

    @invariant()
    def an_end_is_after_its_beginning(self) -> None:
        current: Agreement = as_of(self.seen, self.now)
        if current.begun_at is not None and current.ends_at is not None:
            assert current.ends_at >= current.begun_at
        for span in spans(current, self.now):
            assert span.until is None or span.since < span.until
        if current.state is S.ACTIVE and current.ends_at is not None and not renews(current):
            assert current.ends_at > self.now


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
