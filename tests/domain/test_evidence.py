"""Transactions whose stop never comes."""

from __future__ import annotations

from chargeplane.domain.evidence import GRACE, Verdict, doubtful, verdict
from chargeplane.domain.messages import ConnectorState, ConnectorStatus
from chargeplane.domain.transactions import Flag
from tests.domain.desk import Desk, at, start16, values16


def available(minutes: float, evse: int = 1, state: ConnectorState = ConnectorState.AVAILABLE) -> ConnectorStatus:
    return ConnectorStatus(evse_id=evse, connector_id=1, status=state, reported=state.value, at=at(minutes))


def running() -> Desk:
    desk = Desk()
    desk.tell(start16(0, 1000))
    desk.tell(values16(10, 1500))
    return desk


def test_an_evse_that_turns_available_casts_doubt_on_its_open_transaction() -> None:
    desk = running()
    assert doubtful(available(20), desk.open, at(20)) == (desk.only,)


def test_an_old_status_of_a_replay_casts_no_doubt() -> None:
    desk = running()
    assert doubtful(available(5), desk.open, at(20)) == ()


def test_other_states_and_other_evses_cast_no_doubt() -> None:
    desk = running()
    assert doubtful(available(20, evse=2), desk.open, at(20)) == ()
    assert doubtful(available(20, evse=0), desk.open, at(20)) == ()
    assert doubtful(available(20, state=ConnectorState.OCCUPIED), desk.open, at(20)) == ()


def test_the_stations_word_decides() -> None:
    ask = {"doubted_at": at(20), "now": at(21)}
    assert verdict(ongoing=True, messages_in_queue=False, **ask) is Verdict.KEEP
    assert verdict(ongoing=False, messages_in_queue=True, **ask) is Verdict.WAIT
    assert verdict(ongoing=False, messages_in_queue=False, **ask) is Verdict.CLOSE


def test_without_an_answer_a_grace_decides() -> None:
    assert verdict(ongoing=None, messages_in_queue=None, doubted_at=at(20), now=at(21)) is Verdict.WAIT
    assert verdict(ongoing=None, messages_in_queue=None, doubted_at=at(20), now=at(20) + GRACE) is Verdict.CLOSE


def test_a_transaction_heard_of_since_is_kept() -> None:
    assert (
        verdict(ongoing=None, messages_in_queue=None, doubted_at=at(20), now=at(90), heard_since=True) is Verdict.KEEP
    )


def test_closed_by_evidence_it_ends_with_its_last_value_at_its_last_time() -> None:
    desk = running()
    state = desk.close(Flag.CLOSED_BY_EVIDENCE, "EVSE free", at(40))
    assert (state.energy_wh, state.stopped_at, state.meter_stop_wh) == (500, at(10), 1500)
    assert Flag.CLOSED_BY_EVIDENCE in state.flags
