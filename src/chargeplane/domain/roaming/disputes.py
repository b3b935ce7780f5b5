"""Disputes about partners' CDRs: OCPI has no messages for them, so they are kept here and settled by a credit CDR, or given up.

open      -> accepted (the partner agrees and will credit) | rejected (the CDR stands) | credited (its credit CDR came)
accepted  -> credited | rejected
rejected  -> open (again, with a new reason)
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.kernel.errors import ConflictError


class DisputeState(enum.StrEnum):
    """Where a dispute stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CREDITED = "credited"


WAITING: Final = frozenset({DisputeState.OPEN, DisputeState.ACCEPTED})
"""It is not known yet whether the CDR stands, or its credit is to come."""

NEXT: Final = {
    None: frozenset({DisputeState.OPEN}),
    DisputeState.OPEN: frozenset({DisputeState.ACCEPTED, DisputeState.REJECTED, DisputeState.CREDITED}),
    DisputeState.ACCEPTED: frozenset({DisputeState.REJECTED, DisputeState.CREDITED}),
    DisputeState.REJECTED: frozenset({DisputeState.OPEN}),
    DisputeState.CREDITED: frozenset[DisputeState](),
}


class DisputeStep(Struct, frozen=True, kw_only=True):
    """A change of a dispute."""

    state: DisputeState
    at: datetime
    by: str
    reason: str


class Dispute(Struct, frozen=True, kw_only=True):
    """A dispute.

    Args:
        claimed: what we say that the CDR should cost before taxes; None where we do not say.
        steps: how it came to be what it is, oldest first.
    """

    claimed: Decimal | None = None
    steps: tuple[DisputeStep, ...] = ()


_decode: Final = msgspec.json.Decoder(Dispute).decode


def dispute_text(dispute: Dispute) -> str:
    """As stored."""
    return msgspec.json.encode(dispute).decode()


def dispute_of(text: str | None) -> Dispute:
    """From the store."""
    return Dispute() if text is None else _decode(text)


def moved(now: DisputeState | None, dispute: Dispute, step: DisputeStep, claimed: Decimal | None = None) -> Dispute:
    """The dispute after a step.

    Raises:
        ConflictError: it cannot go there from where it is.
    """
    if step.state not in NEXT[now]:
        allowed = ", ".join(sorted(NEXT[now])) or "nothing more"
        here = "none" if now is None else now.value
        raise ConflictError(f"The dispute is '{here}'; from there it can become {allowed}, not '{step.state.value}'.")
    return Dispute(claimed=dispute.claimed if claimed is None else claimed, steps=(*dispute.steps, step))
