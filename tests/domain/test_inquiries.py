"""What is made of a station's answer about a transaction, and which transactions are silent or too old."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import structs

from chargeplane.domain.inquiries import LONGEST_WAIT, Outcome, Why, again_after, is_eternal, is_silent, settled
from chargeplane.domain.messages import ReportKind, TransactionReport
from chargeplane.domain.transactions import Flag, TransactionState, advance, close_by_hand, open_transaction
from chargeplane.kernel.ids import TransactionId
from tests.domain.desk import NOON, TAG, at

DAY = timedelta(days=1)


def report(kind: ReportKind, minute: float, **more: object) -> TransactionReport:
    return TransactionReport(
        kind=kind,
        ocpp_transaction_id="t",
        csms_assigns_id=False,
        at=at(minute),
        evse_id=1,
        connector_id=1,
        **more,  # type: ignore[arg-type]
    )


def running() -> TransactionState:
    return open_transaction(
        report(ReportKind.STARTED, 0, id_token=TAG, seq_no=0),
        id=TransactionId(1),
        assigned_id=None,
        message_id="m",
        content_hash=b"0" * 16,
        flags=(),
        now=NOON,
    ).state


@pytest.mark.parametrize(
    ("ongoing", "queued", "is_open", "outcome"),
    [
        (True, True, True, Outcome.WAITING),
        (False, True, True, Outcome.WAITING),
        (True, False, True, Outcome.KEPT),
        (False, False, True, Outcome.CLOSED),
        (False, False, False, Outcome.COMPLETE),
        (None, False, False, Outcome.COMPLETE),
        (None, False, True, Outcome.UNKNOWN),
        (None, None, True, Outcome.UNKNOWN),
    ],
)
def test_e14_nothing_is_closed_before_its_queue_is_empty(
    ongoing: bool | None, queued: bool | None, is_open: bool, outcome: Outcome
) -> None:
    for why in (Why.GAP, Why.RECONNECT):
        assert settled(why, is_open=is_open, ongoing=ongoing, messages_in_queue=queued, connector=None) is outcome


@pytest.mark.parametrize(
    ("connector", "outcome"),
    [("Occupied", Outcome.KEPT), ("Reserved", Outcome.KEPT), ("Faulted", Outcome.CLOSED), (None, Outcome.CLOSED)],
)
def test_a_silent_station_that_cannot_be_asked_is_judged_by_its_connector(
    connector: str | None, outcome: Outcome
) -> None:
    told = settled(Why.SILENCE, is_open=True, ongoing=None, messages_in_queue=None, connector=connector)
    assert told is outcome


def test_a_transaction_is_silent_only_while_its_station_speaks() -> None:
    state = running()
    assert is_silent(state, NOON + DAY, NOON + DAY, DAY)
    assert not is_silent(state, NOON + DAY / 2, NOON + 2 * DAY, DAY), "the station was not heard either"
    assert not is_silent(state, NOON + DAY / 2, NOON + DAY, DAY)
    assert not is_silent(state, None, NOON + 9 * DAY, DAY)


def test_a_transaction_is_eternal_by_the_clock_that_is_ours() -> None:
    state = running()
    assert is_eternal(state, NOON + 30 * DAY, 30 * DAY)
    assert not is_eternal(state, NOON + 29 * DAY, 30 * DAY)
    old = structs.replace(state, started_at=NOON - 400 * DAY)
    assert not is_eternal(old, NOON + 29 * DAY, 30 * DAY)


def test_the_same_question_is_asked_ever_more_seldom() -> None:
    waits = [again_after(times, timedelta(seconds=60)) for times in range(20)]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT


def closed() -> TransactionState:
    return close_by_hand(running(), reason="x", flag=Flag.CLOSED_BY_EVIDENCE, now=at(30)).state


def later(state: TransactionState, minute: float, now: float, **more: object) -> TransactionState:
    free = bool(more.pop("free", True))
    outcome = advance(
        state,
        report(ReportKind.UPDATED, minute, seq_no=1, **more),
        message_id="n",
        content_hash=b"1" * 16,
        now=at(now),
        place_is_free=free,
    )
    assert not isinstance(outcome, type(None))
    return outcome.state  # type: ignore[union-attr]


def test_what_was_closed_by_evidence_goes_on_when_its_station_speaks_of_the_present() -> None:
    state = later(closed(), 60, 60.1)
    assert state.is_open
    assert (state.flags, state.stopped_at, state.stop_reason) == ((Flag.REOPENED,), None, None)


@pytest.mark.parametrize(
    ("minute", "now", "more"),
    [
        (40, 400, {}),  # told long after it happened: it may have ended since
        (60, 60, {"offline": True}),
        (60, 60, {"free": False}),  # another one runs there
    ],
)
def test_what_was_closed_stays_closed_when_the_past_is_told(minute: float, now: float, more: dict[str, object]) -> None:
    state = later(closed(), minute, now, **more)
    assert not state.is_open
    assert Flag.LATE_VALUES in state.flags


def test_what_a_person_or_a_rule_closed_stays_closed() -> None:
    for flag in (Flag.CLOSED_BY_OPERATOR, Flag.CLOSED_BY_POLICY):
        state = close_by_hand(running(), reason="x", flag=flag, now=at(30)).state
        assert not later(state, 60, 60).is_open
