"""Connector statuses and numbers."""

from __future__ import annotations

from datetime import datetime

from chargeplane.domain.connectors import KnownStatus, may_replace, replaced, within_bounds
from chargeplane.domain.messages import ConnectorState, ConnectorStatus
from tests.domain.desk import NOON, at


def status(when: datetime | None) -> ConnectorStatus:
    return ConnectorStatus(evse_id=1, connector_id=1, status=ConnectorState.OCCUPIED, reported="Charging", at=when)


def test_a_late_status_with_an_old_time_does_not_overwrite_a_newer_one() -> None:
    known = KnownStatus("Available", at(0), at(0))
    assert not may_replace(known, status(at(-30)), at(1))
    assert may_replace(known, status(at(0)), at(1))
    assert may_replace(known, status(at(1)), at(1))
    assert replaced(known, status(at(-30)), at(1)) is known


def test_a_time_that_cannot_be_believed_does_not_keep_a_status_out() -> None:
    known = KnownStatus("Available", at(0), at(0))
    assert may_replace(known, status(NOON.replace(year=1970)), at(1))
    assert may_replace(known, status(None), at(1))
    assert may_replace(known, status(at(600)), at(1))


def test_a_status_from_the_future_does_not_block_later_ones() -> None:
    known = KnownStatus("Available", at(6000), at(0))
    assert may_replace(known, status(at(1)), at(1))


def test_the_first_status_is_taken() -> None:
    assert replaced(None, status(at(0)), at(1)) == KnownStatus("Occupied", at(0), at(1))


def test_numbers_that_no_station_has_are_out_of_bounds() -> None:
    assert within_bounds(0, 0)
    assert within_bounds(1, 2)
    assert within_bounds(1)
    assert not within_bounds(1_634_030_126, 1)
    assert not within_bounds(1, 1_634_030_126)
    assert not within_bounds(-1, 1)
    assert not within_bounds(1, -1)
