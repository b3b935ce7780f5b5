"""What follows from a few transactions, told to the house itself after their commit."""

from __future__ import annotations

from msgspec import Struct

from chargeplane.domain.messages import IdToken, TransactionLimits
from chargeplane.kernel.ids import TransactionId


class ReservationUsed(Struct, frozen=True, kw_only=True, tag="reservation_used"):
    """A transaction names the reservation it began with."""

    reservation_id: int
    transaction_id: TransactionId


class TransactionLimited(Struct, frozen=True, kw_only=True, tag="transaction_limited"):
    """A transaction of an id token with limits has begun."""

    transaction_id: TransactionId
    id_token: IdToken
    limits: TransactionLimits
