"""What the simulated provider knows: intents, what was done with each, and which test card does what. No sockets, no clock of its own."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from msgspec import Struct

HOLDS_FOR: Final = timedelta(days=7)
OPEN_FOR: Final = timedelta(hours=1)
TRIES: Final = 3
MOST: Final = 100_000
"""Intents that are kept; the oldest are forgotten."""


class RefusalError(Exception):
    """The provider says no.

    Args:
        status: of the HTTP answer.
        code: in a word.
    """

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


class Status(enum.StrEnum):
    """Where an intent stands."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    CANCELED = "canceled"
    FAILED = "failed"
    EXPIRED = "expired"


class Card(enum.StrEnum):
    """What a test card does."""

    GOOD = "good"
    SECOND_FACTOR = "second_factor"
    DECLINED = "card_declined"
    NO_FUNDS = "insufficient_funds"
    EXPIRED = "expired_card"
    CAPTURE_FAILS = "capture_fails"
    DISPUTED = "disputed"
    NO_INCREMENT = "no_increment"
    SHORT_HOLD = "short_hold"
    DECLINED_LATER = "declined_later"


CARDS: Final[dict[str, tuple[Card, str]]] = {
    "4242424242424242": (Card.GOOD, "Visa"),
    "5555555555554444": (Card.GOOD, "Mastercard"),
    "4000000000003220": (Card.SECOND_FACTOR, "Visa"),
    "4000000000000002": (Card.DECLINED, "Visa"),
    "4000000000009995": (Card.NO_FUNDS, "Visa"),
    "4000000000000069": (Card.EXPIRED, "Visa"),
    "4000000000000341": (Card.CAPTURE_FAILS, "Visa"),
    "4000000000000259": (Card.DISPUTED, "Visa"),
    "4000000000000036": (Card.NO_INCREMENT, "Visa"),
    "4000000000000127": (Card.SHORT_HOLD, "Visa"),
    "4000000000009987": (Card.DECLINED_LATER, "Visa"),
}
"""Numbers that everybody uses for tests; none is anybody's card."""

SECOND_FACTOR_CODE: Final = "123456"
FEE_SHARE: Final = Decimal("0.014")
FEE_EACH: Final = Decimal("0.25")
FEE_DISPUTE: Final = Decimal("15.00")
"""What the provider keeps of a payment, and once more where it is disputed; in whatever currency."""


class Refund(Struct, kw_only=True):
    """What was given back."""

    id: str
    amount: Decimal
    key: str


class Intent(Struct, kw_only=True):
    """A payment at the provider.

    Args:
        merchant: whose; the API key names it.
        captures: how often money was taken: a merchant who captures once sees 1.
        save: the card is to be kept.
        saved: what a kept card is called.
        by: the kept card that is to pay.
    """

    id: str
    merchant: str
    amount: Decimal
    currency: str
    description: str
    reference: str
    return_url: str | None
    status: Status
    created_at: datetime
    expires_at: datetime
    authorized: Decimal = Decimal(0)
    captured: Decimal = Decimal(0)
    captures: int = 0
    holds: int = 0
    refunds: list[Refund] = []
    released: bool = False
    dispute: str = "none"
    error: str | None = None
    method: str | None = None
    card: Card | None = None
    tries: int = 0
    save: bool = False
    saved: str | None = None
    by: str | None = None

    @property
    def refunded(self) -> Decimal:
        """Given back in all."""
        return sum((one.amount for one in self.refunds), Decimal(0))

    @property
    def fee(self) -> Decimal:
        """What we keep for our work in all; it is not given back with a refund."""
        if self.captured <= 0:
            return Decimal(0)
        kept = (self.captured * FEE_SHARE).quantize(Decimal("0.01")) + FEE_EACH
        return kept if self.dispute == "none" else kept + FEE_DISPUTE


class Book:
    """All intents.

    Args:
        now: the clock.
        changed: told what happened to an intent, in a word such as `intent.authorized`.
        holds_for: how long a hold lasts.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        changed: Callable[[str, Intent], None],
        *,
        holds_for: timedelta = HOLDS_FOR,
    ) -> None:
        self._now = now
        self._changed = changed
        self._holds_for = holds_for
        self._intents: dict[str, Intent] = {}
        self._kept: dict[tuple[str, str], tuple[Card, str]] = {}

    def all(self) -> list[Intent]:
        """Every intent, oldest first."""
        return list(self._intents.values())

    def get(self, ident: str, merchant: str | None = None) -> Intent:
        """An intent by its id; only the merchant's where one is given.

        Raises:
            RefusalError: there is none.
        """
        found = self._intents.get(ident)
        if found is None or (merchant is not None and found.merchant != merchant):
            raise RefusalError(404, "unknown_intent", "There is no such intent.")
        self._age(found)
        return found

    def open(
        self,
        merchant: str,
        amount: Decimal,
        currency: str,
        description: str,
        reference: str,
        return_url: str | None,
        *,
        save: bool = False,
        by: str | None = None,
    ) -> Intent:
        """A new intent, for which a payer has to give a card."""
        _positive(amount)
        if by is not None and (merchant, by) not in self._kept:
            raise RefusalError(422, "unknown_method", "There is no such kept card.")
        intent = Intent(
            id=f"in_{secrets.token_urlsafe(18)}",
            merchant=merchant,
            amount=amount,
            currency=currency,
            description=description,
            reference=reference,
            return_url=return_url,
            status=Status.REQUIRES_PAYMENT_METHOD,
            created_at=self._now(),
            expires_at=self._now() + OPEN_FOR,
            refunds=[],
            save=save,
            by=by,
        )
        self._intents[intent.id] = intent
        while len(self._intents) > MOST:
            del self._intents[next(iter(self._intents))]
        self._changed("intent.created", intent)
        return intent

    # -- the payer -----------------------------------------------------------------------------------------------------

    def present(self, intent: Intent, number: str) -> None:
        """The payer gives a card.

        Args:
            number: forgotten when this returns, but for its last four digits.
        Raises:
            RefusalError: it is none that can be tried, or nothing is asked of the payer.
        """
        if intent.status not in (Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_ACTION):
            raise RefusalError(409, "not_open", "This payment is over.")
        digits = "".join(filter(str.isdigit, number))
        known = CARDS.get(digits)
        if known is None:
            raise RefusalError(422, "unknown_card", "This is a simulation: take one of the test cards below.")
        card, brand = known
        intent.card = card
        intent.method = f"{brand} {digits[-4:]}"
        intent.error = None
        if card in (Card.DECLINED, Card.NO_FUNDS, Card.EXPIRED):
            intent.error = card.value
            intent.tries += 1
            intent.status = Status.REQUIRES_PAYMENT_METHOD
            if intent.tries >= TRIES:
                intent.status = Status.FAILED
                self._changed("intent.failed", intent)
            else:
                self._changed("intent.declined", intent)
            return
        if card is Card.SECOND_FACTOR:
            intent.status = Status.REQUIRES_ACTION
            self._changed("intent.requires_action", intent)
            return
        self._authorize(intent)

    def confirm(self, intent: Intent, code: str) -> None:
        """The payer gives the second factor."""
        if intent.status is not Status.REQUIRES_ACTION:
            raise RefusalError(409, "not_open", "No second factor is asked for.")
        if code.strip() != SECOND_FACTOR_CODE:
            intent.tries += 1
            intent.error = "authentication_failed"
            if intent.tries >= TRIES:
                intent.status = Status.FAILED
                self._changed("intent.failed", intent)
            return
        intent.error = None
        self._authorize(intent)

    def give_up(self, intent: Intent) -> None:
        """The payer goes back without paying."""
        if intent.status in (Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_ACTION):
            intent.status = Status.FAILED
            intent.error = "canceled_by_payer"
            self._changed("intent.failed", intent)

    def _authorize(self, intent: Intent) -> None:
        intent.status = Status.AUTHORIZED
        intent.authorized = intent.amount
        intent.holds += 1
        lasts = timedelta(minutes=1) if intent.card is Card.SHORT_HOLD else self._holds_for
        intent.expires_at = self._now() + lasts
        if intent.save and intent.card is not None and intent.method is not None:
            intent.saved = f"pm_{secrets.token_urlsafe(12)}"
            self._kept[intent.merchant, intent.saved] = (intent.card, intent.method)
        self._changed("intent.authorized", intent)

    # -- the merchant --------------------------------------------------------------------------------------------------

    def authorize(self, intent: Intent) -> None:
        """Holds the amount by the kept card, without the payer."""
        if intent.status is Status.AUTHORIZED:
            return
        if intent.by is None or intent.status is not Status.REQUIRES_PAYMENT_METHOD:
            raise RefusalError(409, "payer_needed", "The payer has to be there.")
        intent.card, intent.method = self._kept[intent.merchant, intent.by]
        if intent.card in (Card.DECLINED_LATER, Card.SECOND_FACTOR):
            intent.status = Status.FAILED
            intent.error = "card_declined" if intent.card is Card.DECLINED_LATER else "authentication_required"
            self._changed("intent.failed", intent)
            raise RefusalError(402, intent.error, "The card's bank refuses.")
        self._authorize(intent)

    def increment(self, intent: Intent, total: Decimal) -> None:
        """Raises the hold."""
        self._held(intent)
        _positive(total)
        if total <= intent.authorized:
            return
        if intent.card is Card.NO_INCREMENT:
            raise RefusalError(402, "increment_refused", "The card's bank does not raise the hold.")
        intent.authorized = intent.amount = total
        self._changed("intent.incremented", intent)

    def capture(self, intent: Intent, amount: Decimal) -> None:
        """Takes of the hold, once, and releases the rest."""
        self._held(intent)
        _positive(amount)
        if amount > intent.authorized:
            raise RefusalError(422, "amount_too_large", f"Only {intent.authorized} {intent.currency} are held.")
        if intent.card is Card.CAPTURE_FAILS:
            raise RefusalError(402, "capture_failed", "The card's bank refuses.")
        intent.status = Status.CAPTURED
        intent.captured = amount
        intent.captures += 1
        intent.released = True
        self._changed("intent.captured", intent)
        if intent.card is Card.DISPUTED:
            self.dispute(intent, "open")

    def cancel(self, intent: Intent) -> None:
        """Releases the hold, or ends what was not held yet."""
        if intent.status is Status.CANCELED:
            return
        if intent.status is Status.CAPTURED:
            raise RefusalError(409, "captured", "The payment was captured; it can be refunded.")
        if intent.status in (Status.FAILED, Status.EXPIRED):
            raise RefusalError(409, "over", f"The payment is {intent.status.value}.")
        intent.status = Status.CANCELED
        intent.released = True
        self._changed("intent.canceled", intent)

    def refund(self, intent: Intent, amount: Decimal, key: str) -> None:
        """Gives back."""
        _positive(amount)
        if any(one.key == key for one in intent.refunds):
            return
        if amount > intent.captured - intent.refunded:
            raise RefusalError(422, "amount_too_large", "More than was captured cannot be given back.")
        intent.refunds.append(Refund(id=f"re_{secrets.token_urlsafe(12)}", amount=amount, key=key))
        self._changed("intent.refunded", intent)

    # -- on command ----------------------------------------------------------------------------------------------------

    def dispute(self, intent: Intent, state: str) -> None:
        """The payer's bank takes the money back (`open`), and decides (`won`, `lost`: for, or against, the merchant)."""
        if intent.status is not Status.CAPTURED:
            raise RefusalError(409, "not_captured", "Only what was captured can be disputed.")
        intent.dispute = state
        self._changed(f"intent.dispute_{state}", intent)

    def expire(self, intent: Intent) -> None:
        """The hold, or the time for the payer, ends now."""
        if intent.status in (Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_ACTION, Status.AUTHORIZED):
            intent.expires_at = self._now()
            self._age(intent)

    def _age(self, intent: Intent) -> None:
        waits = (Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_ACTION, Status.AUTHORIZED)
        if intent.status in waits and self._now() >= intent.expires_at:
            intent.status = Status.EXPIRED
            intent.released = True
            self._changed("intent.expired", intent)

    def _held(self, intent: Intent) -> None:
        if intent.status is not Status.AUTHORIZED:
            raise RefusalError(409, "not_held", f"The payment holds nothing: it is {intent.status.value}.")


def _positive(amount: Decimal) -> None:
    if not amount.is_finite() or amount <= 0:
        raise RefusalError(422, "invalid_amount", "The amount must be more than 0.")
