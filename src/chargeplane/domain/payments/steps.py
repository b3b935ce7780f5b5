"""What is to be done next with a payment: a pure function, so that whoever comes after a crash decides the same."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

from chargeplane.domain.payments.states import NOTHING, OVER, Goal, Payment, PaymentState


class OperationKind(enum.StrEnum):
    """What a provider is asked for."""

    START = "start"
    AUTHORIZE = "authorize"
    INCREMENT = "increment"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class OperationState(enum.StrEnum):
    """How that goes.

    `wanted`: written down, not yet asked; `begun`: asked, or about to be; whether it came through is not known. `done` and `refused` are
    ends.
    """

    WANTED = "wanted"
    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a provider can do.

    Args:
        page: the payer acts on a page of the provider.
        off_session: authorises without the payer being there (`authorize`).
        increment: a hold can be raised.
        partial_capture: less than the hold can be captured.
        webhooks: it tells what happens by itself.
        disputes: money can be taken back from us.
        saved: keeps ways of paying, and authorises by one of them without the payer.
        holds_for_s: how long a hold lasts at least; None: until it is released.
    """

    page: bool = False
    off_session: bool = False
    increment: bool = False
    partial_capture: bool = True
    webhooks: bool = False
    disputes: bool = False
    saved: bool = False
    holds_for_s: int | None = None


class Step(Struct, frozen=True, kw_only=True):
    """Ask the provider for this."""

    kind: OperationKind
    amount: Decimal


CAPTURE_BEFORE: Final = timedelta(hours=2)
"""A hold is captured at the latest so long before it ends; of a shorter hold, in its last quarter."""


def next_step(
    payment: Payment,
    able: Capabilities,
    *,
    tried: frozenset[OperationKind] = frozenset(),
    off_session: bool = False,
    saved: bool = False,
) -> Step | None:
    """What to ask of the provider now; None: nothing, until something is told or wanted.

    Args:
        tried: what was refused for good and is not asked again.
        off_session: the payer is not there; the provider is asked to authorise at once.
        saved: by a way of paying that the provider keeps.
    """
    state = payment.state
    if state in OVER:
        return None
    if payment.ref is None:
        if payment.goal is Goal.VOID or OperationKind.START in tried:
            return None
        return Step(kind=OperationKind.START, amount=payment.hold)
    if payment.goal is Goal.VOID:
        return None if OperationKind.VOID in tried else Step(kind=OperationKind.VOID, amount=payment.authorized)
    if payment.authorized <= 0:
        alone = able.off_session or (saved and able.saved)
        if off_session and alone and OperationKind.AUTHORIZE not in tried:
            return Step(kind=OperationKind.AUTHORIZE, amount=payment.hold)
        return None
    if payment.goal is Goal.CAPTURE and payment.to_capture is not None:
        if payment.to_capture <= NOTHING:
            return None if OperationKind.VOID in tried else Step(kind=OperationKind.VOID, amount=payment.authorized)
        if payment.to_capture > payment.authorized and able.increment and OperationKind.INCREMENT not in tried:
            return Step(kind=OperationKind.INCREMENT, amount=payment.to_capture)
        if OperationKind.CAPTURE in tried:
            return None
        return Step(kind=OperationKind.CAPTURE, amount=min(payment.to_capture, payment.authorized))
    if payment.hold > payment.authorized and able.increment and OperationKind.INCREMENT not in tried:
        return Step(kind=OperationKind.INCREMENT, amount=payment.hold)
    return None


def capture_at(authorized_at: datetime, expires_at: datetime) -> datetime:
    """When a hold has to be captured at the latest, whatever is known of the final amount by then."""
    return expires_at - min(CAPTURE_BEFORE, (expires_at - authorized_at) / 4)


def visible(kind: OperationKind, amount: Decimal, key: str, payment: Payment, refunds: frozenset[str]) -> bool:
    """Whether an operation whose end is not known can be seen to have come through.

    Args:
        payment: with what the provider told just now.
        refunds: keys of the refunds it knows.
    """
    match kind:
        case OperationKind.START:
            return payment.ref is not None
        case OperationKind.AUTHORIZE:
            return payment.authorized > 0 or payment.state in OVER
        case OperationKind.INCREMENT:
            return payment.authorized >= amount or payment.state in OVER
        case OperationKind.CAPTURE:
            return payment.captured > 0 or payment.ended is not None
        case OperationKind.VOID:
            return payment.ended is not None or payment.captured > 0
        case OperationKind.REFUND:
            return key in refunds


def uncollected(payment: Payment) -> Decimal:
    """What was to be taken and could not, because the hold was smaller or gone."""
    if payment.goal is not Goal.CAPTURE or payment.to_capture is None:
        return NOTHING
    if payment.captured > 0 or payment.state in (PaymentState.VOIDED, PaymentState.FAILED, PaymentState.EXPIRED):
        return max(NOTHING, payment.to_capture - payment.captured)
    return NOTHING
