"""How a change of credentials ends, from how the station comes in (OCPP 2.0.1 A01, A05; 1.6 security whitepaper)."""

from __future__ import annotations

import pytest

from chargeplane.domain.credential_changes import (
    MOST_ATTEMPTS,
    ChangeKind,
    ChangeState,
    NextStep,
    Standing,
    after_return,
    stays_good,
)

PASSWORD, PROFILE = ChangeKind.PASSWORD, ChangeKind.PROFILE


@pytest.mark.parametrize("state", ChangeState)
def test_whoever_comes_in_by_the_new_way_has_it_from_then_on(state: ChangeState) -> None:
    for kind in ChangeKind:
        assert after_return(Standing(kind=kind, state=state), by_next=True) is NextStep.PROMOTE


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (Standing(kind=PASSWORD, state=ChangeState.WAITING), NextStep.NOTHING),
        (Standing(kind=PASSWORD, state=ChangeState.SENT, attempts=1), NextStep.SEND_AGAIN),
        (Standing(kind=PASSWORD, state=ChangeState.SENT, attempts=MOST_ATTEMPTS), NextStep.ROLL_BACK),
        (Standing(kind=PASSWORD, state=ChangeState.AGREED), NextStep.RESTART),
        (Standing(kind=PASSWORD, state=ChangeState.AGREED, returns=2), NextStep.ROLL_BACK),
        (Standing(kind=PROFILE, state=ChangeState.AGREED), NextStep.RESTART),
        (Standing(kind=PROFILE, state=ChangeState.AGREED, restarts=True), NextStep.ROLL_BACK),
        (Standing(kind=PASSWORD, state=ChangeState.ROLLED_BACK, attempts=3), NextStep.NOTHING),
    ],
)
def test_whoever_comes_in_by_the_old_way_is_asked_again_or_given_up(standing: Standing, step: NextStep) -> None:
    assert after_return(standing, by_next=False) is step


def test_what_a_station_may_have_taken_stays_good_at_the_door() -> None:
    assert stays_good(ChangeState.ROLLED_BACK, agreed=True, attempts=1)
    assert stays_good(ChangeState.EXPIRED, agreed=False, attempts=1)
    assert not stays_good(ChangeState.EXPIRED, agreed=False, attempts=0)
    assert not stays_good(ChangeState.CANCELLED, agreed=False, attempts=0)
    # A01.FR.04: refused is not taken
    assert not stays_good(ChangeState.REFUSED, agreed=False, attempts=1)
    assert not stays_good(ChangeState.DONE, agreed=True, attempts=1)
