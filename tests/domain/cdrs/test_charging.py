"""A transaction as it is rated: its periods are its time and its energy, whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.cdrs.charging import ToldEvent, charge_of_transaction
from chargeplane.domain.messages import Reading, ReportKind, Sample
from chargeplane.domain.rating import PeriodState
from chargeplane.domain.register import REGISTER
from chargeplane.domain.transaction_state import StoredEvent

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


def _told(ordinal: int, minutes: float, wh: int | None, kind: ReportKind, state: str | None = None) -> ToldEvent:
    at = START + timedelta(minutes=minutes)
    samples = () if wh is None else (Sample(REGISTER, Decimal(wh), "Wh"),)
    return ToldEvent(
        event=StoredEvent(
            ordinal=ordinal,
            kind=kind,
            content_hash=bytes([ordinal]) * 16,
            seq_no=ordinal,
            at=at,
            received_at=at,
            readings=(Reading(at, samples),) if samples else (),
        ),
        charging_state=state,
    )


def _kinds(count: int) -> list[ReportKind]:
    return [ReportKind.STARTED, *[ReportKind.UPDATED] * (count - 2), ReportKind.ENDED]


def test_energy_lies_where_the_register_rose_and_rests_on_its_values() -> None:
    told = [
        _told(1, 0, 1000, ReportKind.STARTED, "Charging"),
        _told(2, 30, 8000, ReportKind.UPDATED, "SuspendedEV"),
        _told(3, 60, 8000, ReportKind.ENDED, "EVConnected"),
    ]
    charge = charge_of_transaction(told, started_at=START, until=START + timedelta(hours=1), energy_wh=Decimal(7000))
    first, second = charge.periods
    assert (first.energy_wh, first.state, first.meter_values) == (7000, PeriodState.CHARGING, (1, 2))
    assert (second.energy_wh, second.state) == (0, PeriodState.PARKING)
    assert (first.start, second.end) == (START, START + timedelta(hours=1))


def test_register_that_was_reset_adds_up_to_the_transactions_energy() -> None:
    values = [5000, 9000, 0, 3000]
    told = [_told(i + 1, 20 * i, wh, kind) for i, (wh, kind) in enumerate(zip(values, _kinds(4), strict=True))]
    charge = charge_of_transaction(told, started_at=START, until=START + timedelta(hours=1), energy_wh=Decimal(7000))
    assert [period.energy_wh for period in charge.periods if period.energy_wh] == [4000, 3000]


def test_energy_known_better_than_by_its_values_is_put_at_the_end() -> None:
    charge = charge_of_transaction(
        [_told(1, 0, None, ReportKind.STARTED), _told(2, 60, None, ReportKind.ENDED)],
        started_at=START,
        until=START + timedelta(hours=1),
        energy_wh=Decimal(4200),
    )
    assert sum(period.energy_wh for period in charge.periods) == 4200


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 60_000)), min_size=2, max_size=20), st.randoms())
def test_periods_are_the_whole_time_and_the_whole_energy_in_any_order(
    pairs: list[tuple[int, int]], any_: object
) -> None:
    minutes = sorted(minute for minute, _ in pairs)
    registers = sorted(wh for _, wh in pairs)
    told = [
        _told(i + 1, minute, wh, kind)
        for i, (minute, wh, kind) in enumerate(zip(minutes, registers, _kinds(len(pairs)), strict=True))
    ]
    any_.shuffle(told)  # type: ignore[attr-defined]
    begin, end = START + timedelta(minutes=minutes[0]), START + timedelta(minutes=minutes[-1])
    energy = Decimal(registers[-1] - registers[0])
    charge = charge_of_transaction(told, started_at=begin, until=end, energy_wh=energy)
    assert sum(period.energy_wh for period in charge.periods) == energy
    lasted = sum(((period.end - period.start) for period in charge.periods), timedelta())
    assert lasted == end - begin
