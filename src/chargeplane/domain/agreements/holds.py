"""What an id token is held to by the agreements that cover it.

A token with agreements is held where none of them is in force: Blocked while one is suspended, Expired where all have ended. Where one is
in force, its limits are the token's. A token that never had an agreement is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from chargeplane.domain.agreements.model import CHARGING, Agreement, AgreementState
from chargeplane.domain.messages import AuthorizationStatus


class Room(Struct, frozen=True, kw_only=True):
    """What is left of an agreement's limits; None where there is none.

    Args:
        wh: of the month.
        sessions: that may begin now, over all its tokens.
        credit: that may still be owed.
    """

    wh: Decimal | None = None
    sessions: int | None = None
    credit: Decimal | None = None


class Hold(Struct, frozen=True, kw_only=True):
    """What is written to the row of an id token, beside what the operator set.

    Args:
        status: what it is answered with; None where it may charge within the limits.
        concurrent: transactions it may have open at a time, of this token.
        wh: what its transactions may take together until the limit is looked at again.
    """

    agreement_id: int
    reason: str
    status: AuthorizationStatus | None = None
    concurrent: int | None = None
    wh: Decimal | None = None


_IN_FORCE = (AgreementState.ACTIVE, AgreementState.ENDING)
_OVER = (AgreementState.ENDED, AgreementState.CLOSED)


def suspended(agreement: Agreement) -> bool:
    """Whether a suspension lasts, in whatever state."""
    return bool(agreement.suspensions) and agreement.suspensions[-1].until is None


def hold_of(standing: Sequence[tuple[Agreement, Room]], *, open_count: int = 0) -> Hold | None:
    """What a token is held to; None where nothing holds it.

    Args:
        standing: the agreements that cover it, as of now, with what is left of their limits.
        open_count: transactions it has open.
    """
    standing = [one for one in standing if one[0].kind in CHARGING]
    able = [one for one in standing if one[0].state in _IN_FORCE and not suspended(one[0])]
    if able:
        agreement, room = max(able, key=lambda one: (_leniency(one[1]), -one[0].id))
        broke = room.credit is not None and room.credit <= 0
        if room.wh is None and room.sessions is None and not broke:
            return None
        wh = None if room.wh is None else max(room.wh, Decimal(0))
        limits = agreement.numbered(agreement.version).terms.limits
        parts = []
        if wh is not None:
            parts.append(f"its {limits.kwh_per_month} kWh a month{' are used up' if wh == 0 else ''}")
        if room.sessions is not None:
            full = " are open" if room.sessions <= 0 else ""
            parts.append(f"its {limits.concurrent_sessions} sessions at a time{full}")
        if broke:
            assert limits.credit is not None
            parts.insert(0, f"its credit of {limits.credit.amount:f} {limits.credit.currency} is used up")
        return Hold(
            agreement_id=agreement.id,
            status=AuthorizationStatus.NO_CREDIT if broke else None,
            reason=f"Agreement '{agreement.number}' limits it: {', '.join(parts)}.",
            concurrent=None if room.sessions is None else open_count + max(room.sessions, 0),
            wh=wh,
        )
    for agreement, _ in standing:
        if agreement.state in (AgreementState.SUSPENDED, AgreementState.ENDING):
            because = f": {agreement.state_reason}" if agreement.state_reason else ""
            reason = f"Agreement '{agreement.number}' is suspended{because}."
            return Hold(agreement_id=agreement.id, reason=reason, status=AuthorizationStatus.BLOCKED)
    for agreement, _ in standing:
        if agreement.state in _OVER:
            reason = f"Agreement '{agreement.number}' has ended."
            return Hold(agreement_id=agreement.id, reason=reason, status=AuthorizationStatus.EXPIRED)
    return None


def _leniency(room: Room) -> tuple[bool, bool, int, Decimal]:
    """Orders rooms: something left before nothing, then the one without limits, then the wider one."""
    nothing = any(left is not None and left <= 0 for left in (room.sessions, room.wh, room.credit))
    free = room.sessions is None and room.wh is None and room.credit is None
    sessions = 10**9 if room.sessions is None else room.sessions
    return not nothing, free, sessions, Decimal(10**15) if room.wh is None else room.wh
