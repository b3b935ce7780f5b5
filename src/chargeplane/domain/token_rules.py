"""Where and when an id token may charge, and how much: the rules an operator gives it beyond its status.

They are about beginning a transaction. What has begun goes on and may be stopped by its token whatever the hour is.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from chargeplane.domain.messages import AdditionalIdToken, AuthorizationStatus, LimitKind, TransactionLimits

ClockTime = Annotated[
    str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$", description="Hour and minute of the day, 00:00 to 24:00.")
]
Weekday = Annotated[int, Meta(ge=1, le=7, description="1 is Monday, 7 is Sunday.")]
MOST: Final = Decimal(1_000_000_000)
"""Beyond every limit in Wh or money."""

Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
Percent = Annotated[int, Meta(ge=0, le=100)]


class EvseType(enum.StrEnum):
    """What kind of current an EVSE gives."""

    AC = "AC"
    DC = "DC"


class WeeklyTime(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A time of the week.

    Args:
        days: the days on which it begins.
        start: included.
        until: not included; one that is not after `start` is of the next day.
    """

    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)]
    start: ClockTime = "00:00"
    until: ClockTime = "24:00"


class TokenRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What restricts an id token; what is empty or absent does not.

    Args:
        allowed_evse_types: kinds of EVSE it may use, where the station's kinds are known.
        location_ids: locations it may charge at.
        weekly_times: when it may begin to charge, in `time_zone` (an IANA name).
        additional_info: what must be presented with it (OCPP 2.x additionalInfo), such as a PIN or the car's EVCCID.
        max_energy_wh, max_time_s, max_cost, max_soc: limits of each of its transactions.
        language2: a second language of the driver.
        charging_priority: -9 to 9 (OCPP 2.x); 0 is everybody's.
    """

    allowed_evse_types: Annotated[tuple[EvseType, ...], Meta(max_length=2)] = ()
    location_ids: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(max_length=1000)] = ()
    weekly_times: Annotated[tuple[WeeklyTime, ...], Meta(max_length=50)] = ()
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    additional_info: Annotated[tuple[AdditionalIdToken, ...], Meta(max_length=10)] = ()
    max_energy_wh: Decimal | None = None
    max_time_s: Seconds | None = None
    max_cost: Decimal | None = None
    max_soc: Percent | None = None
    language2: Annotated[str, Meta(min_length=1, max_length=8)] | None = None
    charging_priority: Annotated[int, Meta(ge=-9, le=9)] | None = None


TRUSTED: Final = ("Local", "DirectPayment")
"""Types of id tokens that the station itself has vouched for (OCPP 2.1 part 2 appendices, IdTokenEnumStringType): a
locally generated one, and one of a payment terminal that has authorised a card."""


class AuthorizationPolicy(Struct, frozen=True, kw_only=True):
    """How a tenant decides.

    Args:
        master_pass_group_id: tokens of this group stop any transaction and begin none (OCPP 2.0.1 C16).
        trusted_types: a token of such a type that is not registered is accepted.
        cache_s: how long a station may go by what it was told (cacheExpiryDateTime, expiryDate); None leaves it to the
            station, and to the token's own end.
        stop_deauthorized: a running transaction ends when its token loses its right; else it may end by itself.
    """

    master_pass_group_id: str | None = None
    trusted_types: tuple[str, ...] = TRUSTED
    cache_s: int | None = None
    stop_deauthorized: bool = False


class Here(Struct, frozen=True, kw_only=True):
    """What is known of the station that asks.

    Args:
        evse_types: kinds of its EVSEs by id, as far as known.
    """

    policy: AuthorizationPolicy = AuthorizationPolicy()
    location_id: str | None = None
    evse_types: Mapping[int, EvseType] = {}


ANYWHERE: Final = Here()
"""A station of which nothing is known, of a tenant without wishes."""


def restriction(
    rules: TokenRules,
    here: Here,
    *,
    now: datetime,
    evse_ids: Sequence[int],
    additional: Sequence[AdditionalIdToken],
) -> AuthorizationStatus | None:
    """The reason why a token may not begin to charge here and now; None where it may.

    Args:
        evse_ids: where it is asked for; empty is anywhere at the station.
    Source: OCPP 2.0.1 AuthorizationStatusEnumType.
    """
    if rules.location_ids and here.location_id not in rules.location_ids:
        return AuthorizationStatus.NOT_AT_THIS_LOCATION
    if rules.weekly_times and not within(rules.weekly_times, rules.time_zone, now):
        return AuthorizationStatus.NOT_AT_THIS_TIME
    allowed = fitting_evses(rules, here)
    if allowed is not None and not (any(evse in allowed for evse in evse_ids) if evse_ids else allowed):
        return AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE
    if rules.additional_info:
        shown = {(one.type.casefold(), one.value.casefold()) for one in additional}
        if any((one.type.casefold(), one.value.casefold()) not in shown for one in rules.additional_info):
            return AuthorizationStatus.INVALID
    return None


def fitting_evses(rules: TokenRules, here: Here) -> tuple[int, ...] | None:
    """The EVSEs of the station that a token may use; None where it may use all, or nothing is known of them."""
    if not rules.allowed_evse_types or not here.evse_types:
        return None
    return tuple(sorted(evse for evse, kind in here.evse_types.items() if kind in rules.allowed_evse_types))


def restricts(rules: TokenRules) -> bool:
    """Whether rules stand against some transaction or limit one; a station that is offline could not keep them."""
    return bool(rules.allowed_evse_types or rules.location_ids or rules.weekly_times or rules.additional_info) or any(
        limit is not None for limit in (rules.max_energy_wh, rules.max_time_s, rules.max_cost, rules.max_soc)
    )


def limits_of(rules: TokenRules | None, credit_wh: Decimal | None, credit: Decimal | None) -> TransactionLimits | None:
    """What a transaction of the token may take at most; None where there is no limit."""
    if rules is None and credit_wh is None and credit is None:
        return None
    energy = _least(None if rules is None else rules.max_energy_wh, credit_wh)
    cost = _least(None if rules is None else rules.max_cost, credit)
    time = None if rules is None else rules.max_time_s
    soc = None if rules is None else rules.max_soc
    if energy is None and cost is None and time is None and soc is None:
        return None
    return TransactionLimits(max_energy_wh=energy, max_cost=cost, max_time_s=time, max_soc=soc)


def _least(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def zone_exists(name: str) -> bool:
    """Whether it is the name of a time zone."""
    try:
        _zone(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def within(times: Sequence[WeeklyTime], time_zone: str, now: datetime) -> bool:
    """Whether a moment is in one of the weekly times, as the clocks on the wall show it."""
    try:
        local = now.astimezone(_zone(time_zone))
    except (KeyError, ValueError, OSError):  # a name that this machine does not know: the hours of UTC
        local = now.astimezone(UTC)
    minute = local.hour * 60 + local.minute
    today, yesterday = local.isoweekday(), (local - timedelta(days=1)).isoweekday()
    for one in times:
        start, until = _minutes(one.start), _minutes(one.until)
        if until > start:
            if today in one.days and start <= minute < until:
                return True
        elif (today in one.days and minute >= start) or (yesterday in one.days and minute < until):
            return True
    return False


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


_LIMIT_WORDS: Final = {kind.value.casefold(): kind for kind in LimitKind} | {"maxlength": LimitKind.TIME}
"""As the list of values has them; for the time it has another word than the messages."""


def supported_limits(told: str) -> frozenset[LimitKind]:
    """The limits that a station says it keeps (OCPP 2.1 TxCtrlr.SupportedLimits); words that are none of them are skipped."""
    words = (word.strip().casefold() for word in told.split(","))
    return frozenset(_LIMIT_WORDS[word] for word in words if word in _LIMIT_WORDS)


class Reached(enum.StrEnum):
    """Which limit of a transaction was reached."""

    ENERGY = "energy"
    TIME = "time"
    SOC = "soc"


def reached(
    limits: TransactionLimits,
    *,
    energy_wh: Decimal,
    started_at: datetime,
    soc: Decimal | None,
    now: datetime,
) -> Reached | None:
    """The limit that a transaction has reached; None where it may go on.

    A limit in money is not judged here: it is handed to stations that know costs (OCPP 2.1). A station that keeps a limit itself is stopped
    only where it went well beyond it.

    Args:
        soc: percent, as last told.
    """
    kept = limits.kept
    energy, time, most = limits.max_energy_wh, limits.max_time_s, limits.max_soc
    if energy is not None and energy_wh >= (energy * Decimal("1.02") + 50 if LimitKind.ENERGY in kept else energy):
        return Reached.ENERGY
    grace = timedelta(minutes=2) if LimitKind.TIME in kept else timedelta()
    if time is not None and now - started_at >= timedelta(seconds=time) + grace:
        return Reached.TIME
    if most is not None and soc is not None and soc >= (most + 2 if LimitKind.SOC in kept else most):
        return Reached.SOC
    return None
