"""Charging profiles as a station obeys them: the limit of this moment, and the composite schedule.

Free of versions; the dialects translate. OCPP 2.0.1 K01, K08; OCPP 1.6, 3.13.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from chargeplane.simulator.car import MAINS_V

NO_LIMIT_W: Final = 1_000_000_000
"""More than any station delivers: no profile limits."""


class Purpose(enum.Enum):
    """What a profile is for; the lower of the purposes' limits counts (OCPP 2.0.1 K01.FR.28 to 31)."""

    STATION_MAX = enum.auto()
    EXTERNAL = enum.auto()
    TX_DEFAULT = enum.auto()
    TX = enum.auto()
    OTHER = enum.auto()


class Anchor(enum.Enum):
    """What the schedule's times count from."""

    ABSOLUTE = enum.auto()
    RELATIVE = enum.auto()
    DAILY = enum.auto()
    WEEKLY = enum.auto()


class Profile(Struct, frozen=True, kw_only=True):
    """A charging profile.

    Args:
        evse_id: 0 for the station or for every EVSE (default profiles).
        start: of the schedule; None counts from the transaction's start.
        duration_s: None for no end.
        in_amperes: limits are A per phase, else W.
        periods: (seconds after the start, limit, phases) in rising order.
    """

    id: int
    evse_id: int
    purpose: Purpose
    stack_level: int
    anchor: Anchor
    start: datetime | None
    duration_s: int | None
    in_amperes: bool
    periods: tuple[tuple[int, float, int | None], ...]
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction_id: str | None = None

    def second(self, now: datetime, transaction_start: datetime | None) -> float | None:
        """Seconds since the schedule's start, None where the profile does not hold at `now`."""
        if (self.valid_from is not None and now < self.valid_from) or (
            self.valid_to is not None and now >= self.valid_to
        ):
            return None
        start = self.start
        if self.anchor is Anchor.RELATIVE or start is None:
            if transaction_start is None:
                return None
            start = transaction_start
        passed = (now - start) / timedelta(seconds=1)
        if self.anchor is Anchor.DAILY:
            passed %= 86_400
        elif self.anchor is Anchor.WEEKLY:
            passed %= 604_800
        if passed < 0 or (self.duration_s is not None and passed >= self.duration_s):
            return None
        return passed

    def limit_w(self, now: datetime, transaction_start: datetime | None, phases: int) -> int | None:
        """The limit in W at `now` for an EVSE with so many phases, None where the profile does not hold."""
        passed = self.second(now, transaction_start)
        if passed is None or passed < self.periods[0][0]:
            return None
        limit, used = self.periods[0][1:]
        for begin, value, number in self.periods:
            if begin > passed:
                break
            limit, used = value, number
        if self.in_amperes:
            limit *= MAINS_V * (phases if used is None else min(used, phases) or phases)
        return max(0, int(limit))


class Profiles:
    """The profiles a station holds."""

    __slots__ = ("_profiles",)

    def __init__(self) -> None:
        self._profiles: list[Profile] | None = None

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._profiles or ())

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return not self._profiles

    def put(self, profile: Profile) -> None:
        """Installs a profile; one with the same id, or the same EVSE, purpose and stack level, is replaced
        (OCPP 2.0.1 K01.FR.05; OCPP 1.6, 3.13.2)."""
        place = (profile.evse_id, profile.purpose, profile.stack_level)
        kept = [
            p for p in self._profiles or () if p.id != profile.id and (p.evse_id, p.purpose, p.stack_level) != place
        ]
        kept.append(profile)
        kept.sort(key=lambda p: -p.stack_level)
        self._profiles = kept

    def clear(
        self,
        *,
        id: int | None = None,
        evse_id: int | None = None,
        purpose: Purpose | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Removes what matches every criterion given; returns how many."""
        before = self._profiles or []
        kept = [
            p
            for p in before
            if not (
                (id is None or p.id == id)
                and (
                    id is not None
                    or (
                        (evse_id is None or p.evse_id == evse_id)
                        and (purpose is None or p.purpose is purpose)
                        and (stack_level is None or p.stack_level == stack_level)
                    )
                )
            )
        ]
        self._profiles = kept or None
        return len(before) - len(kept)

    def end_transaction(self, evse_id: int) -> None:
        """Transaction profiles go with their transaction (OCPP 2.0.1 K02.FR.05)."""
        if self._profiles:
            self.clear(evse_id=evse_id, purpose=Purpose.TX)

    def limit_w(self, evse_id: int, phases: int, now: datetime, transaction_start: datetime | None) -> int:
        """The limit that counts for an EVSE at `now`, in W."""
        if not self._profiles:
            return NO_LIMIT_W
        first: dict[Purpose, int] = {}
        for profile in self._profiles:
            if profile.purpose in first or profile.evse_id not in (0, evse_id):
                continue
            limit = profile.limit_w(now, transaction_start, phases)
            if limit is not None:
                first[profile.purpose] = limit
        if Purpose.TX in first:
            first.pop(Purpose.TX_DEFAULT, None)
        return min(first.values(), default=NO_LIMIT_W)

    def composite(
        self,
        evse_id: int,
        phases: int,
        highest_w: int,
        now: datetime,
        transaction_start: datetime | None,
        duration_s: int,
    ) -> list[tuple[int, int]]:
        """(second from now, limit in W) wherever the limit changes within `duration_s`, at most 100 periods."""
        moments = {0}
        for profile in self._profiles or ():
            for edge in (profile.valid_from, profile.valid_to):
                if edge is not None:
                    moments.add(int((edge - now) / timedelta(seconds=1)))
            start = transaction_start if profile.start is None else profile.start
            if start is None:
                continue
            offset = int((start - now) / timedelta(seconds=1))
            cycle = {Anchor.DAILY: 86_400, Anchor.WEEKLY: 604_800}.get(profile.anchor)
            edges = [begin for begin, _, _ in profile.periods]
            if profile.duration_s is not None:
                edges.append(profile.duration_s)
            for edge_s in edges:
                moment = offset + edge_s
                if cycle is None:
                    moments.add(moment)
                else:
                    moments.update(range(moment % cycle, duration_s, cycle))
        out: list[tuple[int, int]] = []
        for moment in sorted(m for m in moments if 0 <= m < duration_s):
            at = now + timedelta(seconds=moment)
            limit = min(highest_w, self.limit_w(evse_id, phases, at, transaction_start))
            if not out or out[-1][1] != limit:
                out.append((moment, limit))
        return out[:100]
