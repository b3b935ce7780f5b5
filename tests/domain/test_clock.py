"""Which time to believe."""

from __future__ import annotations

from datetime import timedelta

from chargeplane.domain.clock import effective, measure, plausible
from tests.domain.desk import NOON, at


def test_a_time_before_2010_or_in_the_future_is_not_believed() -> None:
    assert plausible(NOON, NOON)
    assert plausible(at(-60 * 24 * 365), NOON)
    assert not plausible(NOON.replace(year=1970), NOON)
    assert not plausible(NOON.replace(year=2009), NOON)
    assert not plausible(at(6), NOON)
    assert plausible(at(4), NOON)
    assert not plausible(None, NOON)


def test_the_effective_time_is_ours_where_the_stations_is_not_believed() -> None:
    assert effective(at(-30), NOON) == at(-30)
    assert effective(at(90), NOON) == NOON
    assert effective(None, NOON) == NOON
    assert effective(NOON.replace(year=1970), NOON) == NOON


def test_the_offset_is_that_of_the_quickest_message() -> None:
    offset = measure(None, at(0), at(0) + timedelta(seconds=9))
    assert offset is not None
    assert offset.offset_s == -9
    offset = measure(offset, at(1), at(1) + timedelta(seconds=1))
    assert offset is not None
    assert offset.offset_s == -1
    assert measure(offset, at(2), at(2) + timedelta(seconds=30)) is offset
    assert measure(offset, None, at(3)) is offset


def test_an_old_measurement_gives_way() -> None:
    offset = measure(None, at(0), at(0))
    newer = measure(offset, at(30), at(30) + timedelta(seconds=20))
    assert newer is not None
    assert newer.offset_s == -20


def test_local_time_sent_as_utc_is_recognised() -> None:
    for hours in (1, 2, -5, 5.5):
        offset = measure(None, at(60 * hours), at(0) + timedelta(seconds=3))
        assert offset is not None
        assert offset.zone_like, hours
    offset = measure(None, at(7), at(0))
    assert offset is not None
    assert not offset.zone_like
    offset = measure(None, at(0), at(0))
    assert offset is not None
    assert not offset.zone_like


def test_a_status_with_an_old_time_tells_nothing_of_the_clock() -> None:
    assert measure(None, at(0), at(120), may_be_old=True) is None
    ahead = measure(None, at(120), at(0), may_be_old=True)
    assert ahead is not None
    assert ahead.offset_s == 7200
    assert measure(ahead, at(30), at(90), may_be_old=True) is ahead
    set_right = measure(ahead, at(90), at(90), may_be_old=True)
    assert set_right is not None
    assert set_right.offset_s == 0
    lost = measure(set_right, at(0).replace(year=1970), at(120), may_be_old=True)
    assert lost is not None
    assert lost.offset_s < -(10**9)
