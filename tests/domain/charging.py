"""Charging profiles for tests, written short."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from chargeplane.domain.charging_profiles import (
    ChargingPeriod,
    ChargingProfile,
    ChargingSchedule,
    ProfileKind,
    ProfilePurpose,
    RateUnit,
)
from chargeplane.domain.composite_schedules import CompositeSchedule

W, A = RateUnit.W, RateUnit.A
MAX, EXTERNAL = ProfilePurpose.CHARGING_STATION_MAX, ProfilePurpose.EXTERNAL_CONSTRAINTS
DEFAULT, TX = ProfilePurpose.TX_DEFAULT, ProfilePurpose.TX
PRIORITY, GENERATION = ProfilePurpose.PRIORITY_CHARGING, ProfilePurpose.LOCAL_GENERATION
ABSOLUTE, RECURRING = ProfileKind.ABSOLUTE, ProfileKind.RECURRING
RELATIVE, DYNAMIC = ProfileKind.RELATIVE, ProfileKind.DYNAMIC


def at(text: str) -> datetime:
    """`2026-01-31T12:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def period(start_s: int, limit: object = None, **more: Any) -> ChargingPeriod:
    return ChargingPeriod(start_s=start_s, limit=None if limit is None else Decimal(str(limit)), **more)


def profile(
    purpose: ProfilePurpose,
    kind: ProfileKind,
    periods: list[tuple[int, object]] | list[ChargingPeriod],
    *,
    id: int = 1,
    evse: int | None = None,
    level: int = 0,
    unit: RateUnit = W,
    start: datetime | None = None,
    duration_s: int | None = None,
    schedule: dict[str, Any] | None = None,
    phases: int | None = None,
    **more: Any,
) -> ChargingProfile:
    """A profile with one schedule. `periods`: (start, limit), or whole ones."""
    whole = tuple(p if isinstance(p, ChargingPeriod) else period(*p, number_phases=phases) for p in periods)
    return ChargingProfile(
        id=id,
        evse_id=(0 if purpose in (MAX, EXTERNAL, GENERATION) else 1) if evse is None else evse,
        stack_level=level,
        purpose=purpose,
        kind=kind,
        schedules=(ChargingSchedule(unit=unit, periods=whole, start=start, duration_s=duration_s, **(schedule or {})),),
        **more,
    )


def limits(schedule: CompositeSchedule) -> list[tuple[int, Decimal | None]]:
    """(start, limit) of each period."""
    return [(p.start_s, p.limit) for p in schedule.periods]
