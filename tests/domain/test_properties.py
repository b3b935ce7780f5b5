"""Folding holds whatever the order, however often a message comes and wherever the server stops.

A second, slow implementation works the energy out from the sorted list of all readings, straight from the sentence
"the sum of the rises from meter start to meter stop".
"""

from __future__ import annotations

import itertools
from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chargeplane.domain.messages import Reading, ReportKind, Sample, TransactionReport
from chargeplane.domain.transactions import Flag, TransactionState
from tests.domain.desk import TAG, Desk, at, ended, reading, started, updated, wh

MARKS_OF_ARRIVAL = {Flag.LATE_VALUES, Flag.SEQ_REPEATED}


def brute_energy(reports: list[TransactionReport]) -> Decimal:
    """Energy of 2.x reports with plain total registers and times to believe."""
    begin = end = None
    samples = []
    for report in reports:
        points = [
            (r.at or report.at, s.value) for r in report.readings for s in r.samples if s.measurand.endswith("Register")
        ]
        if report.kind is ReportKind.STARTED and points:
            begin = min(points)
            points.remove(begin)
        if report.kind is ReportKind.ENDED and points:
            end = max(points, key=lambda p: (p[0], -p[1]))
            points.remove(end)
        samples += points
    if begin is not None and end is not None and begin[0] > end[0]:
        inside = samples
    else:
        inside = [p for p in samples if (begin is None or p[0] >= begin[0]) and (end is None or p[0] <= end[0])]
    ordered = ([begin] if begin else []) + sorted(inside) + ([end] if end else [])
    energy = Decimal(0)
    for (_, before), (_, after) in itertools.pairwise(ordered):
        energy += max(after - before, Decimal(0))
    return energy


def facts(state: TransactionState) -> dict[str, object]:
    """What must not depend on the order of arrival."""
    told = msgspec.to_builtins(state, builtin_types=(Decimal,))
    for name in ("opened_at", "recent", "newest_half", "newest_forgotten", "flags", "tracks", "start_message_id"):
        told.pop(name)
    told["flags"] = sorted(set(state.flags) - MARKS_OF_ARRIVAL)
    return told


REGISTERS = st.integers(0, 60_000)


@st.composite
def sessions(draw: st.DrawFn, *, monotone: bool = False, most: int = 12) -> list[TransactionReport]:
    """A 2.x session in the order in which it happened; meters may restart, values may be missing."""
    count = draw(st.integers(0, most))
    minutes = sorted(draw(st.lists(st.integers(1, 500), min_size=count, max_size=count, unique=True)))
    values = draw(st.lists(REGISTERS, min_size=count + 2, max_size=count + 2))
    if monotone:
        values = sorted(values)
    given_start = draw(st.booleans())
    reports = [started(0, *([values[0]] if given_start else []), seq=0, token=TAG, charging_state="EVConnected")]
    states = st.sampled_from([None, "Charging", "SuspendedEV"])
    for index, minute in enumerate(minutes, 1):
        told = [values[index]] if draw(st.booleans()) or monotone else []
        reports.append(updated(minute, *told, seq=index, charging_state=draw(states), offline=draw(st.booleans())))
    last = [values[-1]] if draw(st.booleans()) or monotone else []
    reports.append(ended(501, *last, seq=count + 1, stop_reason="Local", charging_state="Idle"))
    return reports


def told(reports: list[TransactionReport], desk: Desk | None = None) -> Desk:
    """A desk that took the reports, all after they happened."""
    desk = desk or Desk()
    for index, report in enumerate(reports):
        desk.tell(report, now=at(600) + timedelta(seconds=index), message_id=f"m{report.seq_no}")
    return desk


@given(sessions())
def test_energy_is_the_sum_of_the_rises_and_never_negative(reports: list[TransactionReport]) -> None:
    state = told(reports).only
    assert state.energy_wh >= 0
    # Falls below 1 Wh are rounding; these registers are whole.
    assert state.energy_wh == brute_energy(reports)


@given(sessions(monotone=True))
def test_energy_of_a_rising_register_is_its_difference(reports: list[TransactionReport]) -> None:
    state = told(reports).only
    values = [s.value for report in reports for r in report.readings for s in r.samples if s.value is not None]
    assert state.energy_wh == values[-1] - values[0]
    assert Flag.METER_RESET not in state.flags


@given(st.data())
def test_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    reports = data.draw(sessions())
    shuffled = data.draw(st.permutations(reports))
    expected = told(reports).only
    actual = told(list(shuffled)).only
    assert facts(actual) == facts(expected)


@given(st.data())
def test_anything_told_twice_counts_once(data: st.DataObject) -> None:
    reports = data.draw(sessions(most=30))
    once = told(reports)
    repeats = data.draw(st.lists(st.sampled_from(range(len(reports))), max_size=20))
    twice = list(reports)
    for index in sorted(repeats, reverse=True):
        twice.insert(data.draw(st.integers(index + 1, len(twice))), reports[index])
    again = told(twice)
    assert again.only.ordinal == once.only.ordinal
    assert facts(again.only) == facts(once.only)
    assert again.only.flags == once.only.flags
    assert again.repeats == len(repeats)


@given(st.data())
def test_a_crash_at_any_point_changes_nothing(data: st.DataObject) -> None:
    reports = list(data.draw(st.permutations(data.draw(sessions(most=25)))))
    crashes = data.draw(st.sets(st.integers(0, len(reports)), max_size=4))
    straight, crashing = Desk(), Desk()
    for index, report in enumerate(reports):
        for desk in (straight, crashing):
            desk.tell(report, now=at(600 + index), message_id=f"m{report.seq_no}")
        if index in crashes:
            crashing.crash()
        assert _comparable(crashing.only) == _comparable(straight.only)


@given(st.data())
def test_snapshot_and_tail_give_the_state_at_every_event(data: st.DataObject) -> None:
    desk = Desk()
    for index, report in enumerate(data.draw(sessions(most=40))):
        desk.tell(report, now=at(600 + index))
        assert _comparable(desk.recovered()[1]) == _comparable(desk.only)


def _comparable(state: TransactionState) -> TransactionState:
    # That a state was told again is not worth a snapshot: after a restart a late event may win over it, for display only.
    return msgspec.structs.replace(state, charging_state_at=None, charging_state=None)


PHASES = (None, "L1", "L2", "L3")
PLACES = (None, "Outlet", "Inlet", "Body", "EV")
CONTEXTS = (None, "Sample.Clock", "Transaction.Begin", "Transaction.End")


@st.composite
def odd_reports(draw: st.DrawFn) -> list[TransactionReport]:
    """Reports with anything in them: phases, places, contexts, intervals, wild numbers and times, repeated numbers."""
    value = st.one_of(
        st.decimals(0, 10**15, places=3),
        st.integers(0, 10**6).map(Decimal),
        st.sampled_from([Decimal(0), Decimal("0.5")]),
    )
    sample = st.builds(
        Sample,
        st.sampled_from(
            ["Energy.Active.Import.Register", "Energy.Active.Import.Interval", "Power.Active.Import", "SoC"]
        ),
        st.one_of(st.none(), value),
        st.sampled_from(["Wh", "W", None]),
        st.sampled_from(PHASES),
        st.sampled_from(PLACES),
        st.sampled_from(CONTEXTS),
    )
    minute = st.one_of(st.none(), st.integers(-(10**6), 3000).map(lambda m: m / 2))
    readings = st.lists(
        st.builds(lambda m, s: Reading(None if m is None else at(m), tuple(s)), minute, st.lists(sample, max_size=4)),
        max_size=3,
    )
    event = st.builds(
        lambda kind, m, rs, seq: TransactionReport(
            kind=kind,
            ocpp_transaction_id="odd",
            csms_assigns_id=False,
            at=None if m is None else at(m),
            seq_no=seq,
            evse_id=1,
            connector_id=1,
            readings=tuple(rs),
        ),
        st.sampled_from([ReportKind.UPDATED, ReportKind.UPDATED, ReportKind.ENDED]),
        minute,
        readings,
        st.one_of(st.none(), st.integers(0, 9)),
    )
    return draw(st.lists(event, min_size=1, max_size=20))


@given(odd_reports())
@settings(max_examples=200)
def test_whatever_comes_is_kept_once_and_never_negative(reports: list[TransactionReport]) -> None:
    desk = Desk()
    for index, report in enumerate(reports):
        state = desk.tell(report, now=at(index))
        assert state is not None
        assert state.energy_wh >= 0
        assert _comparable(desk.recovered()[state.id]) == _comparable(desk.states[state.id])
        decoded = msgspec.json.decode(msgspec.json.encode(state), type=TransactionState)
        assert decoded == state
    stored = sum(len(events) for events in desk.events.values())
    assert stored + desk.repeats == len(reports)


@given(odd_reports(), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_any_registers_in_any_order_give_the_same_energy(reports: list[TransactionReport], random) -> None:  # type: ignore[no-untyped-def]
    # Times to believe throughout: without them the order of arrival is all there is.
    timed = [
        msgspec.structs.replace(
            report,
            at=report.at or at(index / 7),
            seq_no=index,
            readings=tuple(Reading(r.at or at(index / 7), r.samples) for r in report.readings),
        )
        for index, report in enumerate(reports)
    ]
    first = started(-(10**6), reading(-(10**6), wh(0)), seq=1000, id="odd")
    everything = [first, *timed]
    shuffled = list(everything)
    random.shuffle(shuffled)
    one, other = Desk(), Desk()
    for index, (a, b) in enumerate(zip(everything, shuffled, strict=True)):
        one.tell(a, now=at(10_000 + index))
        other.tell(b, now=at(10_000 + index))
    assert one.only.energy_wh == other.only.energy_wh
    assert [(t.source, t.energy_wh) for t in one.only.tracks] == [(t.source, t.energy_wh) for t in other.only.tracks]
