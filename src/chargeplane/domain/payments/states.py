"""The states of a payment, as data.

A payment is what is known of it: amounts that only grow, ends that do not come undone, and what we want of it. Its state follows from these
(`state_of`), so it does not matter in which order, how late or how often a provider tells them: `seen` joins what was told to what was known.
`MAY_FOLLOW` is the table of the states; that what is joined never leaves it is a property that is tested.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

NOTHING: Final = Decimal(0)


class PaymentState(enum.StrEnum):
    """Where a payment stands."""

    CREATED = "created"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURING = "capturing"
    CAPTURED = "captured"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"
    VOIDED = "voided"
    FAILED = "failed"
    EXPIRED = "expired"
    DISPUTED = "disputed"


class Dispute(enum.StrEnum):
    """Whether the payer's bank took the money back."""

    NONE = "none"
    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Ended(enum.StrEnum):
    """How a payment ended without money."""

    VOIDED = "voided"
    FAILED = "failed"
    EXPIRED = "expired"


class Goal(enum.StrEnum):
    """What we want of a payment."""

    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"


_S = PaymentState
MAY_FOLLOW: Final[dict[PaymentState, frozenset[PaymentState]]] = {
    _S.CREATED: frozenset(
        {
            _S.REQUIRES_ACTION,
            _S.AUTHORIZED,
            _S.CAPTURING,
            _S.CAPTURED,
            _S.PARTLY_REFUNDED,
            _S.REFUNDED,
            _S.VOIDED,
            _S.FAILED,
            _S.EXPIRED,
            _S.DISPUTED,
        }
    ),
    _S.REQUIRES_ACTION: frozenset(
        {
            _S.AUTHORIZED,
            _S.CAPTURING,
            _S.CAPTURED,
            _S.PARTLY_REFUNDED,
            _S.REFUNDED,
            _S.VOIDED,
            _S.FAILED,
            _S.EXPIRED,
            _S.DISPUTED,
        }
    ),
    _S.AUTHORIZED: frozenset(
        {
            _S.CAPTURING,
            _S.CAPTURED,
            _S.PARTLY_REFUNDED,
            _S.REFUNDED,
            _S.VOIDED,
            _S.FAILED,
            _S.EXPIRED,
            _S.DISPUTED,
        }
    ),
    _S.CAPTURING: frozenset(
        {_S.CAPTURED, _S.PARTLY_REFUNDED, _S.REFUNDED, _S.VOIDED, _S.FAILED, _S.EXPIRED, _S.DISPUTED}
    ),
    _S.CAPTURED: frozenset({_S.PARTLY_REFUNDED, _S.REFUNDED, _S.DISPUTED}),
    _S.PARTLY_REFUNDED: frozenset({_S.REFUNDED, _S.DISPUTED}),
    _S.REFUNDED: frozenset({_S.PARTLY_REFUNDED, _S.DISPUTED}),
    _S.DISPUTED: frozenset({_S.CAPTURED, _S.PARTLY_REFUNDED, _S.REFUNDED}),
    _S.VOIDED: frozenset({_S.CAPTURED, _S.PARTLY_REFUNDED, _S.REFUNDED, _S.DISPUTED}),
    _S.FAILED: frozenset({_S.VOIDED, _S.CAPTURED, _S.PARTLY_REFUNDED, _S.REFUNDED, _S.DISPUTED}),
    _S.EXPIRED: frozenset({_S.FAILED, _S.VOIDED, _S.CAPTURED, _S.PARTLY_REFUNDED, _S.REFUNDED, _S.DISPUTED}),
}
"""What may come after a state. Steps may be skipped: a provider's word can be the first that is heard for long. That money was taken is
believed whatever was heard before: it has to be accounted for."""

OVER: Final = frozenset({_S.CAPTURED, _S.PARTLY_REFUNDED, _S.REFUNDED, _S.VOIDED, _S.FAILED, _S.EXPIRED, _S.DISPUTED})
"""Nothing is held any more."""


class Seen(Struct, frozen=True, kw_only=True):
    """What a provider says of a payment. Amounts in major units of the payment's currency.

    Args:
        action: the payer has been asked for something (a card, a second factor).
        authorized: held for us, or held before it was captured.
        captured: taken in all; what was refunded of it is still in it.
        refunded: given back in all.
        refunds: keys of our refunds among it.
        expires_at: when the hold ends by itself; None: never, or not known.
        action_url: where the payer goes; None where there is nothing to do.
        client_secret: for an app that talks to the provider itself.
        error: why the last attempt of the payer failed, in a word.
        method: how it is paid, for people: "Visa 4242". Never a card number.
        alias: another id of the payment at the provider, under which it may be told of.
        fee: what the provider keeps for its work in all, where it tells; in the payment's currency.
        saved: what the provider calls the payer's way of paying, where that was saved for later.
    """

    action: bool = False
    authorized: Decimal = NOTHING
    captured: Decimal = NOTHING
    refunded: Decimal = NOTHING
    refunds: frozenset[str] = frozenset()
    ended: Ended | None = None
    dispute: Dispute = Dispute.NONE
    expires_at: datetime | None = None
    action_url: str | None = None
    client_secret: str | None = None
    error: str | None = None
    method: str | None = None
    alias: str | None = None
    fee: Decimal = NOTHING
    saved: str | None = None


class Payment(Struct, frozen=True, kw_only=True):
    """What is known of a payment.

    Args:
        hold: what is to be held.
        to_capture: what is to be taken in the end, once that is known.
        capture_begun: the provider was asked to take it.
        goal: what we want.
        ref: the provider's id; None before it was told.
        fee: what the provider keeps.
    """

    hold: Decimal
    goal: Goal = Goal.HOLD
    to_capture: Decimal | None = None
    capture_begun: bool = False
    ref: str | None = None
    action: bool = False
    authorized: Decimal = NOTHING
    captured: Decimal = NOTHING
    refunded: Decimal = NOTHING
    ended: Ended | None = None
    dispute: Dispute = Dispute.NONE
    expires_at: datetime | None = None
    error: str | None = None
    fee: Decimal = NOTHING

    @property
    def state(self) -> PaymentState:
        """Where it stands."""
        return state_of(self)


_DISPUTES: Final = (Dispute.NONE, Dispute.OPEN, Dispute.WON, Dispute.LOST)
_ENDS: Final = (None, Ended.EXPIRED, Ended.FAILED, Ended.VOIDED)


def state_of(payment: Payment) -> PaymentState:
    """The state that follows from what is known."""
    if payment.captured > 0:
        if payment.dispute in (Dispute.OPEN, Dispute.LOST):
            return _S.DISPUTED
        if payment.refunded >= payment.captured:
            return _S.REFUNDED
        return _S.PARTLY_REFUNDED if payment.refunded > 0 else _S.CAPTURED
    if payment.ended is not None:
        return PaymentState(payment.ended.value)
    if payment.authorized > 0:
        return _S.CAPTURING if payment.goal is Goal.CAPTURE else _S.AUTHORIZED
    return _S.REQUIRES_ACTION if payment.action else _S.CREATED


def seen(payment: Payment, told: Seen) -> Payment:
    """The payment with what a provider told joined to it: the same in any order, and however often."""
    return replace(
        payment,
        action=payment.action or told.action,
        authorized=max(payment.authorized, told.authorized),
        captured=max(payment.captured, told.captured),
        refunded=max(payment.refunded, told.refunded),
        ended=max(payment.ended, told.ended, key=_ENDS.index),
        dispute=max(payment.dispute, told.dispute, key=_DISPUTES.index),
        expires_at=_later(payment.expires_at, told.expires_at),
        error=payment.error if told.error is None else told.error,
        fee=max(payment.fee, told.fee),
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)


def refundable(payment: Payment, under_way: Decimal = NOTHING) -> Decimal:
    """What may still be given back.

    Args:
        under_way: refunds that were asked for and are not seen in `refunded` yet.
    """
    if payment.dispute in (Dispute.OPEN, Dispute.LOST):
        return NOTHING
    return max(NOTHING, payment.captured - payment.refunded - under_way)
