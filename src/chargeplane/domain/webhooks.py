"""What webhooks are signed with, what they tell, and when they are tried again.

Source: Standard Webhooks 1.0.0.
"""

from __future__ import annotations

import base64
import enum
import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105
SECRET_BYTES: Final = 32
"""Of a secret; the specification asks for 24 to 64."""

RETRIES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 30, 120, 600, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, 86_400)
)
"""Waits after the first, second, ... failed attempt; some four days together. After the last one the delivery is given up."""

TYPE_PATTERN: Final = r"^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?)$"
_TYPE: Final = re.compile(TYPE_PATTERN)


class DeliveryState(enum.StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


EVENT_TYPES: Final = {
    "transaction.started": "A transaction began.",
    "transaction.ended": "A transaction ended.",
    "transaction.amended": "What was known of a transaction that had ended was changed.",
    "transaction.reopened": "A transaction that had been taken for ended goes on.",
    "cdr.created": "A charge detail record was made: an original, a credit or a correction.",
    "cdr.released": "A charge detail record that was held back may be billed.",
    "payment.created": "A payment was begun.",
    "payment.requires_action": "The payer has to do something.",
    "payment.authorized": "An amount is held.",
    "payment.capturing": "An amount is being taken.",
    "payment.captured": "An amount was taken.",
    "payment.partly_refunded": "A part of an amount was given back.",
    "payment.refunded": "An amount was given back.",
    "payment.voided": "A held amount was let go.",
    "payment.failed": "A payment was declined or failed.",
    "payment.expired": "A payment was not completed in time.",
    "payment.disputed": "The payer disputes a payment, or its dispute was lost.",
    "payment.fee": "The provider told what it keeps of a payment.",
    "session.created": "A charging session began: its place, driver, agreement and tariff are known.",
    "session.updated": "What a charging session delivered or costs so far has changed.",
    "session.settled": "A charging session is over and has its price.",
    "partner_statement.created": "A statement of a site host or a roaming partner was made.",
    "invoice.issued": "An invoice, receipt or credit note got its number.",
    "invoice.sent": "An invoice was mailed to its customer.",
    "invoice.paid": "Nothing is owed on an invoice any more: it was paid.",
    "invoice.credited": "Nothing is owed on an invoice any more: it was taken back.",
    "invoice.overdue": "An invoice was not paid in time.",
    "invoice.reminded": "The customer of an overdue invoice was reminded.",
    "invoice.written_off": "What was owed on an invoice was given up.",
    "booking.created": "A booking: created.",
    "booking.confirmed": "A booking: confirmed.",
    "booking.changed": "A booking: changed.",
    "booking.moved": "A booking: moved.",
    "booking.upcoming": "A booking: upcoming.",
    "booking.active": "A booking: active.",
    "booking.used": "A booking: used.",
    "booking.completed": "A booking: completed.",
    "booking.canceled": "A booking: canceled.",
    "booking.no_show": "A booking: no show.",
    "booking.failed": "A booking: failed.",
    "booking.walk_in": "A booking: walk in.",
    "booking.charged": "A fee for a booking without a session is due.",
    "agreement.created": "A service agreement: created.",
    "agreement.updated": "A service agreement: updated.",
    "agreement.deleted": "A service agreement: deleted.",
    "agreement.proposed": "A service agreement: proposed.",
    "agreement.accepted": "A service agreement: accepted.",
    "agreement.rejected": "A service agreement: rejected.",
    "agreement.withdrawn": "A service agreement: withdrawn.",
    "agreement.canceled": "A service agreement: canceled.",
    "agreement.activated": "A service agreement: activated.",
    "agreement.suspended": "A service agreement: suspended.",
    "agreement.resumed": "A service agreement: resumed.",
    "agreement.renewed": "A service agreement: renewed.",
    "agreement.amendment_proposed": "A service agreement: amendment proposed.",
    "agreement.amendment_accepted": "A service agreement: amendment accepted.",
    "agreement.amendment_rejected": "A service agreement: amendment rejected.",
    "agreement.amendment_withdrawn": "A service agreement: amendment withdrawn.",
    "agreement.amended": "A service agreement: amended.",
    "agreement.ending": "A service agreement: ending.",
    "agreement.reinstated": "A service agreement: reinstated.",
    "agreement.ended": "A service agreement: ended.",
    "agreement.closed": "A service agreement: closed.",
    "alert.raised": "A person should look at something.",
    "alert.acknowledged": "A person looks after it.",
    "alert.cleared": "It is over.",
    "charging_station.created": "A charging station was registered.",
    "charging_station.updated": "What is stored of a charging station was changed.",
    "charging_station.deleted": "A charging station was removed.",
    "command.finished": "A command to a charging station came to its end, whatever that was.",
    "location.created": "A location was made.",
    "location.updated": "A location, its EVSEs or their tariffs were changed.",
    "location.deleted": "A location was deleted.",
    "evse.created": "An EVSE was made.",
    "evse.updated": "An EVSE, its connectors or its code were changed.",
    "evse.removed": "An EVSE was removed.",
    "tariff.created": "A tariff was made.",
    "tariff.updated": "A tariff has a new version.",
    "tariff.retired": "No session begins with a tariff any more.",
    "tariff.deleted": "A tariff was deleted.",
    "work_item.opened": "Something needs a person.",
    "work_item.updated": "A work item was acknowledged, assigned, put off or annotated.",
    "work_item.resolved": "A work item is done.",
    "webhook.ping": "A test: sent only when asked for.",
}
"""What there may be, and what it means."""

PING: Final = "webhook.ping"

_NOUNS: Final = frozenset(kind.partition(".")[0] for kind in EVENT_TYPES) - {"webhook"}
"""Nouns whose facts are told."""


def is_fact_told(topic: str) -> bool:
    """Whether facts of a topic of the outbox are events: a noun of ours and a verb, as `transaction.ended`."""
    noun, _, verb = topic.partition(".")
    return noun in _NOUNS and verb.isidentifier()


def is_event_type(pattern: str) -> bool:
    """Whether a text is a type, `noun.*` or `*`."""
    return _TYPE.fullmatch(pattern) is not None


def can_match(pattern: str) -> bool:
    """Whether some type is meant by a pattern; one that means none is a misspelling."""
    return any(matches((pattern,), kind) for kind in EVENT_TYPES) or pattern.removesuffix(".*") in _NOUNS


def matches(patterns: Sequence[str], kind: str) -> bool:
    """Whether an endpoint with these types hears of an event; store/queries/webhooks says the same in SQL."""
    return any(
        pattern in ("*", kind) or (pattern.endswith(".*") and kind.startswith(pattern[:-1])) for pattern in patterns
    )


def secret_text(secret: bytes) -> str:
    """A secret as it is shown: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def body_of(kind: str, at: datetime, data: bytes) -> bytes:
    """What is sent: JSON with `type`, `timestamp` and `data`.

    Args:
        kind: of the event; ASCII without quotes.
        at: when it happened.
        data: JSON.
    """
    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return b'{"type":"%s","timestamp":"%s","data":%s}' % (kind.encode(), stamp.encode(), data)


def signed_headers(message_id: str, at: datetime, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers of an attempt.

    Args:
        message_id: the same at each attempt.
        at: of this attempt.
        secrets: one, or two while one takes over from the other: there is a signature by each.
    Source: Standard Webhooks 1.0.0, Webhook Headers, Signature scheme.
    """
    stamp = str(int(at.timestamp()))
    signed = f"{message_id}.{stamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def wait_after(attempts: int, chance: float) -> timedelta | None:
    """How long to wait after a failed attempt; None: it was the last one.

    Args:
        attempts: so far, 1 or more.
        chance: 0 to 1, even: a fifth more or less, so that what failed together does not come back together.
    """
    if attempts > len(RETRIES):
        return None
    return RETRIES[attempts - 1] * (0.8 + 0.4 * chance)
