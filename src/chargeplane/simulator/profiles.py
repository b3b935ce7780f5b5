"""Charging profiles as a station holds and obeys them: what counts at this moment, and the composite schedule.

Free of versions; the dialects translate. Written from the specifications and independently of the server's own computation
(OCPP 2.1 K 3.2 to 3.7, K08; OCPP 1.6, 3.13): it asks at each moment what holds, and looks at every moment at which that may change.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.simulator.car import MAINS_V

NO_LIMIT_W: Final = 1_000_000_000
"""More than any station delivers: no profile limits."""

_CUT: Final = Decimal("0.001")
_MOST_PERIODS: Final = 1024


class Purpose(enum.Enum):
    """What a profile is for; the lower of the purposes' limits counts (OCPP 2.1 SC.01)."""

    STATION_MAX = enum.auto()
    EXTERNAL = enum.auto()
    TX_DEFAULT = enum.auto()
    TX = enum.auto()
    PRIORITY = enum.auto()
    LOCAL_GENERATION = enum.auto()


class Anchor(enum.Enum):
    """What the schedule's times count from."""

    ABSOLUTE = enum.auto()
    RELATIVE = enum.auto()
    DAILY = enum.auto()
    WEEKLY = enum.auto()
    DYNAMIC = enum.auto()


class Period(Struct, frozen=True, kw_only=True):
    """What holds from `start_s` on. Values of all phases together in W, of each phase in A."""

    start_s: int = 0
    limit: Decimal | None = None
    discharge: Decimal | None = None
    setpoint: Decimal | None = None
    number_phases: int | None = None
    mode: str | None = None


class Profile(Struct, frozen=True, kw_only=True):
    """A charging profile.

    Args:
        evse_id: 0 for the station or for every EVSE (default profiles).
        start: of the schedule; None counts from the transaction's start.
        duration_s: None for no end.
        in_amperes: values are A per phase, else W.
        periods: in rising order.
        max_offline_s, invalid_after_offline: how long it counts without a connection, and whether it is gone then.
        pull_every_s: of dynamic profiles: how often new values are asked for.
        updated_at: of dynamic profiles: when they were last set.
        source: who set it, as OCPP's charging limit source.
        wire: as it was received, for reports.
    """

    id: int
    evse_id: int
    purpose: Purpose
    stack_level: int
    anchor: Anchor
    start: datetime | None
    duration_s: int | None
    in_amperes: bool
    periods: tuple[Period, ...]
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: str | None = None
    max_offline_s: int | None = None
    invalid_after_offline: bool = False
    pull_every_s: int | None = None
    updated_at: datetime | None = None
    source: str = "CSO"
    wire: Any = None

    def begins(self, tx: Running | None) -> datetime | None:
        """What the schedule's seconds count from; None where that is not known yet."""
        if self.anchor is Anchor.DYNAMIC:
            return self.updated_at
        if self.anchor is Anchor.RELATIVE or self.start is None:
            return None if tx is None else tx.started_at
        return self.start

    def period(self, now: datetime, tx: Running | None, offline_s: float | None = None) -> Period | None:
        """What the profile says at `now`, None where it does not hold then."""
        if (self.valid_from is not None and now < self.valid_from) or (
            self.valid_to is not None and now >= self.valid_to
        ):
            return None
        if offline_s is not None and self.max_offline_s is not None and offline_s >= self.max_offline_s:
            return None
        start = self.begins(tx)
        if start is None:
            return self.periods[0] if self.anchor is Anchor.DYNAMIC else None
        passed = (now - start) / timedelta(seconds=1)
        if passed < 0:
            return None
        length: float | None = self.duration_s
        every = {Anchor.DAILY: 86_400, Anchor.WEEKLY: 604_800}.get(self.anchor)
        if every is not None:
            passed %= every
            length = every if length is None else min(length, every)
        if length is not None and passed >= length:
            return None
        found: Period | None = None
        for each in self.periods:
            if each.start_s > passed:
                break
            found = each
        return found

    def edges(self, now: datetime, tx: Running | None, duration_s: int) -> Iterator[int]:
        """Seconds after `now` at which what it says may change."""
        for edge in (self.valid_from, self.valid_to):
            if edge is not None:
                yield _until(now, edge)
        start = self.begins(tx)
        if start is None:
            return
        begin = _until(now, start)
        inner = [each.start_s for each in self.periods]
        if self.duration_s is not None:
            inner.append(self.duration_s)
        every = {Anchor.DAILY: 86_400, Anchor.WEEKLY: 604_800}.get(self.anchor)
        if every is None:
            yield from (begin + second for second in inner)
            return
        yield begin
        for second in (*inner, 0):
            if second < every:
                first = begin + second
                if first < 0:
                    first %= every
                yield from range(first, duration_s, every)


def _until(now: datetime, edge: datetime) -> int:
    return -((now - edge) // timedelta(seconds=1))


class Running(Struct, frozen=True, kw_only=True):
    """A transaction, as far as profiles ask."""

    id: str | None
    started_at: datetime | None
    priority: bool = False


class Supply(Struct, frozen=True, kw_only=True):
    """What an EVSE is: its wired phases, and its greatest power and current per phase."""

    phases: int
    power_w: int
    max_a: Decimal


class Values(Struct, frozen=True, kw_only=True):
    """What counts at one moment, all in W or all in A."""

    limit: Decimal | None = None
    discharge: Decimal | None = None
    setpoint: Decimal | None = None
    number_phases: int | None = None
    mode: str | None = None


class Profiles:
    """The profiles a station holds, what external systems set among them."""

    __slots__ = ("_profiles", "offline_since")

    def __init__(self) -> None:
        self._profiles: list[Profile] | None = None
        self.offline_since: datetime | None = None

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._profiles or ())

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self._profiles

    def get(self, id: int) -> Profile | None:
        """The profile of an id."""
        return next((p for p in self._profiles or () if p.id == id), None)

    def rival(self, profile: Profile) -> Profile | None:
        """Another one of the same EVSE, purpose, stack level and transaction that is valid at the same time."""
        for other in self._profiles or ():
            if (
                other.id != profile.id
                and (other.evse_id, other.purpose, other.stack_level, other.transaction_id)
                == (profile.evse_id, profile.purpose, profile.stack_level, profile.transaction_id)
                and _overlap(other, profile)
            ):
                return other
        return None

    def put(self, profile: Profile, *, replaces_level: bool = True) -> None:
        """Installs a profile; one with the same id is replaced.

        Args:
            replaces_level: so is one of the same EVSE, purpose and stack level (OCPP 1.6, 3.13.2).
        """
        place = (profile.evse_id, profile.purpose, profile.stack_level)
        kept = [
            p
            for p in self._profiles or ()
            if p.id != profile.id
            and not (replaces_level and (p.evse_id, p.purpose, p.stack_level) == place and p.source == profile.source)
        ]
        kept.append(profile)
        self._profiles = kept

    def update(self, id: int, values: dict[str, Decimal], now: datetime) -> bool:
        """New values for a dynamic profile; whether there is such a one (OCPP 2.1 K28.FR.06, FR.11)."""
        found = self.get(id)
        if found is None or found.anchor is not Anchor.DYNAMIC:
            return False
        period = replace(found.periods[0], **values)
        self.put(replace(found, periods=(period,), updated_at=now), replaces_level=False)
        return True

    def clear(
        self,
        *,
        id: int | None = None,
        evse_id: int | None = None,
        purpose: Purpose | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Removes what matches every criterion given, but nothing of an external system's (K10.FR.03, FR.04); returns how many."""
        before = self._profiles or []
        kept = []
        for p in before:
            if p.purpose in (Purpose.EXTERNAL, Purpose.LOCAL_GENERATION):
                gone = False
            elif id is not None:
                gone = p.id == id
            else:
                gone = (
                    (evse_id is None or p.evse_id == evse_id)
                    and (purpose is None or p.purpose is purpose)
                    and (stack_level is None or p.stack_level == stack_level)
                )
            if not gone:
                kept.append(p)
        self._profiles = kept or None
        return len(before) - len(kept)

    def release(self, source: str, evse_id: int) -> int:
        """Removes what an external system set for an EVSE; returns how many."""
        before = self._profiles or []
        kept = [p for p in before if p.source != source or p.evse_id != evse_id]
        self._profiles = kept or None
        return len(before) - len(kept)

    def end_transaction(self, evse_id: int) -> None:
        """Transaction profiles go with their transaction (OCPP 2.0.1 K02.FR.05)."""
        if self._profiles:
            self._profiles = [p for p in self._profiles if p.purpose is not Purpose.TX or p.evse_id != evse_id] or None

    def back_online(self, now: datetime) -> None:
        """The connection is back: what was only good for a while without it is gone (OCPP 2.1 K01.FR.102)."""
        since, self.offline_since = self.offline_since, None
        if since is None or not self._profiles:
            return
        away = (now - since).total_seconds()
        self._profiles = [
            p
            for p in self._profiles
            if not (p.invalid_after_offline and p.max_offline_s is not None and away >= p.max_offline_s)
        ] or None

    def forget(self) -> None:
        """Loses everything."""
        self._profiles = None

    def _leader(
        self, purpose: Purpose, evse_id: int, now: datetime, tx: Running | None, *, station: bool = True
    ) -> tuple[Profile, Period] | None:
        """The highest stack level that says something; the EVSE's own before the station's.

        Args:
            station: those of the station count as well.
        """
        offline_s = None if self.offline_since is None else (now - self.offline_since).total_seconds()
        best: tuple[Profile, Period] | None = None
        for profile in self._profiles or ():
            if profile.purpose is not purpose or not (profile.evse_id == evse_id or (station and profile.evse_id == 0)):
                continue
            if purpose is Purpose.TX and (
                tx is None
                or profile.evse_id != evse_id
                or (profile.transaction_id is not None and profile.transaction_id != tx.id)
            ):
                continue
            period = profile.period(now, tx, offline_s)
            if period is None:
                continue
            if best is None or (profile.stack_level, profile.evse_id == evse_id, -profile.id) > (
                best[0].stack_level,
                best[0].evse_id == evse_id,
                -best[0].id,
            ):
                best = (profile, period)
        return best

    def values(
        self,
        evse_id: int,
        supply: Supply,
        now: datetime,
        tx: Running | None,
        *,
        in_amperes: bool = False,
        apart: bool = False,
    ) -> Values:
        """What counts for an EVSE at `now`.

        Args:
            apart: without the station's own maximum, external limit and generation.
        """
        if not self._profiles:
            return Values()
        tops = [] if apart else [self._leader(Purpose.STATION_MAX, evse_id, now, tx)]
        tops.append(self._leader(Purpose.EXTERNAL, evse_id, now, tx, station=not apart))
        driver = None
        if tx is not None and tx.priority:
            driver = self._leader(Purpose.PRIORITY, evse_id, now, tx)
        driver = (
            driver or self._leader(Purpose.TX, evse_id, now, tx) or self._leader(Purpose.TX_DEFAULT, evse_id, now, tx)
        )
        more = self._leader(Purpose.LOCAL_GENERATION, evse_id, now, tx, station=not apart)
        return _merged([*tops, driver], driver, more, supply, in_amperes)

    def limit_w(self, evse_id: int, supply: Supply, now: datetime, tx: Running | None) -> int:
        """The limit that counts for an EVSE at `now`, in whole W."""
        if not self._profiles:
            return NO_LIMIT_W
        limit = self.values(evse_id, supply, now, tx).limit
        return NO_LIMIT_W if limit is None else max(0, int(limit))

    def composite(
        self,
        evse_id: int,
        supplies: Sequence[tuple[int, Supply, Running | None]],
        now: datetime,
        duration_s: int,
        *,
        in_amperes: bool,
    ) -> list[tuple[int, Values]]:
        """(second from now, what counts) wherever that changes within `duration_s`.

        Args:
            supplies: of every EVSE: its id, what it is, and its transaction.
        """
        moments = {0}
        for _, _, tx in supplies:
            for profile in self._profiles or ():
                moments.update(profile.edges(now, tx or Running(id=None, started_at=now), duration_s))
        out: list[tuple[int, Values]] = []
        for moment in sorted(m for m in moments if 0 <= m < duration_s):
            at = now + timedelta(seconds=moment)
            found = self._at(evse_id, supplies, at, now, in_amperes)
            if not out or out[-1][1] != found:
                out.append((moment, found))
        return out[:_MOST_PERIODS]

    def _at(
        self,
        evse_id: int,
        supplies: Sequence[tuple[int, Supply, Running | None]],
        at: datetime,
        now: datetime,
        in_amperes: bool,
    ) -> Values:
        # K08.FR.06: as if there were a transaction where there is none
        if evse_id:
            supply, tx = next((s, t) for n, s, t in supplies if n == evse_id)
            found = self.values(evse_id, supply, at, tx or Running(id=None, started_at=now), in_amperes=in_amperes)
            own = supply.max_a if in_amperes else Decimal(supply.power_w)
            return replace(found, limit=own if found.limit is None else min(own, found.limit))
        total = Decimal(0)
        for number, supply, tx in supplies:
            each = self.values(
                number, supply, at, tx or Running(id=None, started_at=now), in_amperes=in_amperes, apart=True
            )
            own = supply.max_a if in_amperes else Decimal(supply.power_w)
            total += own if each.limit is None else min(own, each.limit)
        whole = supplies[0][1]
        tops = [self._leader(purpose, 0, at, None) for purpose in (Purpose.STATION_MAX, Purpose.EXTERNAL)]
        more = self._leader(Purpose.LOCAL_GENERATION, 0, at, None)
        found = _merged(tops, None, None, whole, in_amperes)
        limit = total if found.limit is None else min(total, found.limit)
        if more is not None and more[1].limit is not None:
            limit += _converted(more[1].limit, more[0], more[1], whole, in_amperes, None)
        return Values(limit=limit, number_phases=found.number_phases)


def _overlap(a: Profile, b: Profile) -> bool:
    return (a.valid_from is None or b.valid_to is None or a.valid_from < b.valid_to) and (
        b.valid_from is None or a.valid_to is None or b.valid_from < a.valid_to
    )


def _converted(
    value: Decimal, profile: Profile, period: Period, supply: Supply, in_amperes: bool, in_use: int | None
) -> Decimal:
    """A value in the unit asked for: a power by the period's own phases, a current by those in use (K01.FR.49, FR.50)."""
    if profile.in_amperes == in_amperes:
        return value
    if in_amperes:
        value = value / (MAINS_V * (period.number_phases or 3))
    else:
        value = value * MAINS_V * min(in_use or 3, supply.phases)
    return value.quantize(_CUT, ROUND_DOWN).normalize() + 0


def _merged(
    leaders: Iterable[tuple[Profile, Period] | None],
    driver: tuple[Profile, Period] | None,
    more: tuple[Profile, Period] | None,
    supply: Supply,
    in_amperes: bool,
) -> Values:
    found = [one for one in leaders if one is not None]
    in_use = min((period.number_phases for _, period in found if period.number_phases), default=None)

    def read(name: str) -> list[Decimal]:
        return [
            _converted(getattr(period, name), profile, period, supply, in_amperes, in_use)
            for profile, period in found
            if getattr(period, name) is not None
        ]

    limits, discharges = read("limit"), read("discharge")
    limit = min(limits, default=None)
    if limit is not None and more is not None and more[1].limit is not None:
        limit += _converted(more[1].limit, more[0], more[1], supply, in_amperes, in_use)
    discharge = max(discharges, default=None)
    # an external system's setpoint goes before the CSMS's (SmartChargingCtrlr.SetpointPriority)
    led = next((one for one in found if one[0].purpose is Purpose.EXTERNAL and one[1].setpoint is not None), driver)
    setpoint = None
    if led is not None and led[1].setpoint is not None:
        setpoint = _converted(led[1].setpoint, led[0], led[1], supply, in_amperes, in_use)
        if setpoint > 0 and limit is not None:  # V2X.03
            setpoint = min(setpoint, limit)
        elif setpoint < 0 and discharge is not None:  # V2X.04
            setpoint = max(setpoint, discharge)
    mode = None if driver is None or driver[1].mode == "ChargingOnly" else driver[1].mode
    return Values(limit=limit, discharge=discharge, setpoint=setpoint, number_phases=in_use, mode=mode)
