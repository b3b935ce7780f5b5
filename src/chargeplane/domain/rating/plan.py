"""A tariff made ready for rating: thresholds sorted, local time cut into slices, what holds looked up instead of worked out.

Whether an element holds depends on six things that move on their own: the local clock, the energy and the duration so far, power,
current, and whether it is about a reservation. Each is brought to a number that changes only where a restriction says so (the bucket
between two thresholds, the mask of the elements whose clock restrictions are met), so that what holds for a combination is worked out
once. Plans are kept: a tariff's version never changes.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from chargeplane.domain.tariffs.model import (
    BookingRestriction,
    PriceComponent,
    ReservationRestriction,
    Restrictions,
    Tariff,
    TariffDimension,
)

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_SECOND: Final = timedelta(seconds=1)
_DAYS_KEPT: Final = 1024
_NO_DATE: Final = Restrictions()
_WEEKDAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


class Use(enum.Enum):
    """Which elements are asked."""

    SESSION = "session"
    RESERVATION = "reservation"
    EXPIRED = "expired"
    BOOKING = "booking"
    BOOKING_EXPIRED = "booking_expired"
    BOOKING_CANCELED = "booking_canceled"
    OVERTIME = "overtime"
    """Charging after a booking's end, beside what the session costs."""


class Priced(Struct, frozen=True, kw_only=True):
    """A price component and where it stands."""

    element: int
    component: int
    price: PriceComponent
    reservation: ReservationRestriction | None


class Holding(Struct, frozen=True):
    """What holds for each dimension; None where nothing is asked for it."""

    energy: Priced | None = None
    time: Priced | None = None
    parking: Priced | None = None
    flat: Priced | None = None
    expiry: Priced | None = None
    """FLAT of RESERVATION_EXPIRES, beside that of RESERVATION."""


_First = dict[tuple[TariffDimension, ReservationRestriction | BookingRestriction | None], Priced]
"""The first component of a dimension that holds, by what its element is about."""


class Plan:
    """A tariff ready for rating.

    Args:
        tariff: one version.
    """

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        self._restrictions = [element.restrictions or _NO_DATE for element in tariff.elements]
        used = self._restrictions
        # One object for each component, whatever holds beside it: slices are told apart by it.
        self._priced = [
            [
                Priced(element=number, component=place, price=price, reservation=_reserves(used[number]))
                for place, price in enumerate(element.price_components)
            ]
            for number, element in enumerate(tariff.elements)
        ]
        self.energy_cuts = [cut * 1000 for cut in _cuts((r.min_kwh, r.max_kwh) for r in used)]
        self.power_cuts = [cut * 1000 for cut in _cuts((r.min_power, r.max_power) for r in used)]
        self.current_cuts = _cuts((r.min_current, r.max_current) for r in used)
        seconds = {s for r in used for s in (r.min_duration, r.max_duration) if s is not None}
        self.duration_cuts = [timedelta(seconds=s) for s in sorted(seconds)]
        self._clocked = any(_has_clock(r) for r in used)
        minutes = {_minute(text) for r in used for text in (r.start_time, r.end_time) if text is not None}
        minutes.add(0)  # days and dates change, and what has a start or an end only goes to it or begins at it
        self._minutes = sorted(minutes)
        self._everything = (1 << len(used)) - 1
        self._days: dict[tuple[str, date], tuple[list[datetime], list[int]]] = {}
        self._held: dict[tuple[Use, int, int, int, int, int], Holding] = {}

    def clock(self, at: datetime, zone: ZoneInfo) -> tuple[int, datetime | None]:
        """Which elements the local clock allows, a bit each, and until when that stays so (None: for good).

        Args:
            at: UTC.
        """
        if not self._clocked:
            return self._everything, None
        day = at.date()
        key = (zone.key, day)
        found = self._days.get(key)
        if found is None:
            if len(self._days) >= _DAYS_KEPT:
                self._days.clear()
            found = self._days[key] = self._slices(day, zone)
        starts, masks = found
        place = bisect_right(starts, at)
        until = starts[place] if place < len(starts) else datetime.combine(day + _DAY, time(), UTC)
        return masks[place - 1], until

    def holding(self, use: Use, clock: int, energy: int, duration: int, power: int, current: int) -> Holding:
        """What holds.

        Args:
            clock: mask of the elements that the local clock allows.
            energy, duration, power, current: how many thresholds are reached; -1 where the value is not known.
        """
        key = (use, clock, energy, duration, power, current)
        found = self._held.get(key)
        if found is None:
            if len(self._held) >= 4096:
                self._held.clear()
            found = self._held[key] = self._hold(*key)
        return found

    def _hold(self, use: Use, clock: int, energy: int, duration: int, power: int, current: int) -> Holding:
        first: _First = {}
        for number, r in enumerate(self._restrictions):
            if (
                not clock >> number & 1
                or not _within(self.energy_cuts, energy, _scaled(r.min_kwh), _scaled(r.max_kwh))
                or not _within(self.power_cuts, power, _scaled(r.min_power), _scaled(r.max_power))
                or not _within(self.current_cuts, current, r.min_current, r.max_current)
                or not _within(self.duration_cuts, duration, _lasting(r.min_duration), _lasting(r.max_duration))
            ):
                continue
            for priced in self._priced[number]:
                first.setdefault((priced.price.type, r.about), priced)
        return _chosen(use, first)

    def _slices(self, day: date, zone: ZoneInfo) -> tuple[list[datetime], list[int]]:
        begin = datetime.combine(day, time(), UTC)
        end = begin + _DAY
        starts: list[datetime] = []
        masks: list[int] = []
        for a, b in _even_spans(begin, end, zone):
            offset = a.astimezone(zone).utcoffset() or timedelta()
            cuts = {a}
            local_day = (a + offset).date()
            while local_day <= (b + offset).date():
                midnight = datetime.combine(local_day, time(), UTC)
                cuts |= {midnight + timedelta(minutes=minute) - offset for minute in self._minutes}
                local_day += _DAY
            for cut in sorted(cut for cut in cuts if a <= cut < b):
                mask = self._mask(cut + offset)
                if not masks or masks[-1] != mask:
                    starts.append(cut)
                    masks.append(mask)
        return starts, masks

    def _mask(self, local: datetime) -> int:
        mask = 0
        for number, restrictions in enumerate(self._restrictions):
            if _on_the_clock(restrictions, local):
                mask |= 1 << number
        return mask


@lru_cache(maxsize=1024)
def plan_of(tariff: Tariff) -> Plan:
    """The plan of a tariff's version."""
    return Plan(tariff)


_EXPIRY: Final = frozenset({BookingRestriction.BOOKING_EXPIRES, BookingRestriction.BOOKING_CANCELLATION_FEES})


def _reserves(r: Restrictions) -> ReservationRestriction | None:
    """How a line tells that it is about a reservation; a booking is one."""
    if r.booking is None:
        return r.reservation
    return ReservationRestriction.RESERVATION_EXPIRES if r.booking in _EXPIRY else ReservationRestriction.RESERVATION


def _booked(use: Use, first: _First) -> Holding:
    """Of a booking: the elements about bookings before those about reservations (OCPI 2.3.0 mod_tariffs, BookingRestrictionType)."""
    flat, time = TariffDimension.FLAT, TariffDimension.TIME
    made, expired = ReservationRestriction.RESERVATION, ReservationRestriction.RESERVATION_EXPIRES
    if use is Use.OVERTIME:
        over = BookingRestriction.BOOKING_OVERTIME
        return Holding(time=first.get((time, over)), flat=first.get((flat, over)))
    if use is Use.BOOKING_CANCELED:
        canceled = BookingRestriction.BOOKING_CANCELLATION_FEES
        return Holding(time=first.get((time, canceled)), expiry=first.get((flat, canceled)))
    booked = Holding(
        time=first.get((time, BookingRestriction.BOOKING)) or first.get((time, made)),
        flat=first.get((flat, BookingRestriction.BOOKING)) or first.get((flat, made)),
    )
    if use is Use.BOOKING:
        return booked
    gone = BookingRestriction.BOOKING_EXPIRES
    return Holding(
        time=first.get((time, gone)) or first.get((time, expired)) or booked.time,
        flat=booked.flat,
        expiry=first.get((flat, gone)) or first.get((flat, expired)),
    )


def _chosen(use: Use, first: _First) -> Holding:
    if use is Use.SESSION:
        return Holding(
            energy=first.get((TariffDimension.ENERGY, None)),
            time=first.get((TariffDimension.TIME, None)),
            parking=first.get((TariffDimension.PARKING_TIME, None)),
            flat=first.get((TariffDimension.FLAT, None)),
        )
    if use not in (Use.RESERVATION, Use.EXPIRED):
        return _booked(use, first)
    made, expired = ReservationRestriction.RESERVATION, ReservationRestriction.RESERVATION_EXPIRES
    reserved = Holding(
        time=first.get((TariffDimension.TIME, made)),
        flat=first.get((TariffDimension.FLAT, made)),
    )
    if use is Use.RESERVATION:
        return reserved
    # The time of a reservation that expired is paid by RESERVATION_EXPIRES where that has a price for it (OCPI 2.3.0 mod_tariffs,
    # ReservationRestrictionType), whatever the order of the elements.
    return Holding(
        time=first.get((TariffDimension.TIME, expired)) or reserved.time,
        flat=reserved.flat,
        expiry=first.get((TariffDimension.FLAT, expired)),
    )


def _cuts(pairs: Iterable[tuple[Decimal | None, Decimal | None]]) -> list[Decimal]:
    return sorted({value for pair in pairs for value in pair if value is not None})


def _scaled(value: Decimal | None) -> Decimal | None:
    return None if value is None else value * 1000


def _lasting(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _within(cuts: list[Any], bucket: int, least: Any, most: Any) -> bool:
    """Whether a value in a bucket is at least `least` and less than `most`."""
    if least is None and most is None:
        return True
    if bucket < 0:
        return False
    if least is not None and bucket <= cuts.index(least):
        return False
    return most is None or bucket <= cuts.index(most)


def _has_clock(r: Restrictions) -> bool:
    return bool(r.start_time or r.end_time or r.start_date or r.end_date or r.day_of_week)


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _on_the_clock(r: Restrictions, local: datetime) -> bool:
    """Whether the clock restrictions are met at a local time: each by itself, all of them together."""
    today = local.date().isoformat()
    if (r.start_date is not None and today < r.start_date) or (r.end_date is not None and today >= r.end_date):
        return False
    if r.day_of_week and _WEEKDAYS[local.weekday()] not in r.day_of_week:
        return False
    if r.start_time is None and r.end_time is None:
        return True
    now = local.hour * 60 + local.minute
    start = _minute(r.start_time) if r.start_time is not None else 0
    end = _minute(r.end_time) if r.end_time is not None else 0
    # 00:00 as an end is the end of the day; an end that is not after the start is on the next day.
    if end > start:
        return start <= now < end
    return now >= start or now < end


def _even_spans(begin: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """The time from `begin` to `end` in parts within which the zone's offset from UTC stays."""
    cuts = [begin]
    at = begin
    while at < end:
        following = min(at + _HOUR, end)
        low, high = at, following
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > _SECOND:
                middle = (low + (high - low) / 2).replace(microsecond=0)
                if middle <= low:
                    break
                if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
                    low = middle
                else:
                    high = middle
            if high < end:
                cuts.append(high)
        at = following
    return list(zip(cuts, [*cuts[1:], end], strict=True))
