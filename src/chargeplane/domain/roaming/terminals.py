"""Payment terminals and what was captured at them: what is read of their documents, and what follows from them.

A terminal is its provider's. An operator says where it stands and what its invoices are to name; what the operator says goes before what the
provider has of it, until the provider took it over (OCPI 2.3.0 mod_payments, Terminal Assignment).
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.roaming.records import Price
from chargeplane.domain.roaming.replicas import fields_of, merged, stamped, wrong
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money
from chargeplane.kernel.time import EPOCH, as_utc

AD_HOC: Final = "AD_HOC_USER"
"""Type of the token by which a terminal's provider starts sessions (OCPI 2.3.0 mod_tokens, TokenType)."""

WAYS: Final = (
    PaymentMethod.TERMINAL_CREDIT_CARD,
    PaymentMethod.TERMINAL_DEBIT_CARD,
    PaymentMethod.TERMINAL_CONTACTLESS,
)
"""What one can pay with at a terminal, where nobody said otherwise."""

BEFORE: Final = (PaymentMethod.CONTRACT, PaymentMethod.WEB)
"""How one can pay at an EVSE of which nothing was said; a terminal there takes none of it away."""

_ASSIGNING: Final = frozenset({"location_ids", "evse_uids"})


class TerminalStatus(enum.StrEnum):
    """Where a terminal stands.

    `stored`: ours, and for no operator yet.
    """

    STORED = "stored"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"


class InvoiceCreator(enum.StrEnum):
    """Who makes the driver's invoice (OCPI InvoiceCreator)."""

    CPO = "CPO"
    PTP = "PTP"


class CaptureStatus(enum.StrEnum):
    """How a capture ended (OCPI CaptureStatusCode)."""

    SUCCESS = "SUCCESS"
    PARTIAL_SUCCESS = "PARTIAL_SUCCESS"
    FAILED = "FAILED"


class GeoSaid(Struct, frozen=True):
    """OCPI GeoLocation."""

    latitude: str
    longitude: str


class TerminalSaid(Struct, frozen=True, kw_only=True):
    """OCPI Terminal; without an id where its provider is to choose it."""

    terminal_id: str | None = None
    customer_reference: str | None = None
    party_id: str | None = None
    country_code: str | None = None
    address: str | None = None
    city: str | None = None
    postal_code: str | None = None
    state: str | None = None
    country: str | None = None
    coordinates: GeoSaid | None = None
    invoice_base_url: str | None = None
    invoice_creator: str | None = None
    reference: str | None = None
    location_ids: tuple[str, ...] = ()
    evse_uids: tuple[str, ...] = ()
    last_updated: datetime | None = None

    @property
    def updated(self) -> datetime:
        """When it changed last; long ago where that was not told."""
        return EPOCH if self.last_updated is None else as_utc(self.last_updated)


class ConfirmationSaid(Struct, frozen=True, kw_only=True):
    """OCPI FinancialAdviceConfirmation."""

    id: str
    authorization_reference: str
    total_costs: Price
    currency: str
    capture_status_code: str
    last_updated: datetime
    eft_data: tuple[str, ...] = ()
    capture_status_message: str | None = None


_terminal = msgspec.json.Decoder(TerminalSaid).decode
_confirmation = msgspec.json.Decoder(ConfirmationSaid).decode
_encode: Final = msgspec.json.Encoder().encode


def terminal_said(document: bytes) -> TerminalSaid:
    """What a Terminal says.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return _terminal(document)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"The terminal cannot be taken: {error}.", (("", str(error)),)) from None


def confirmation_said(document: bytes) -> ConfirmationSaid:
    """What a FinancialAdviceConfirmation says.

    Raises:
        InvalidInputError: it is none, or asks for less than nothing.
    """
    try:
        said = _confirmation(document)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"The confirmation cannot be taken: {error}.", (("", str(error)),)) from None
    cost = said.total_costs.cost
    if cost.excl < 0 or cost.incl < 0:
        raise wrong("total_costs", "nothing below zero is captured")
    if not said.currency.isalpha() or len(said.currency) != 3:
        raise wrong("currency", "it must be a code of ISO 4217")
    return said


def shown(told: bytes, said: bytes, at: datetime) -> bytes:
    """A terminal as the operator has it: what its provider told, with what the operator says in its place.

    Args:
        at: when either changed last.
    """
    return stamped(merged(told, said), at)


def only_assigns(said: bytes) -> bool:
    """Whether an operator says nothing but where a terminal stands: what a PATCH is for (OCPI 2.3.0 mod_payments, PATCH Terminal)."""
    return fields_of(said).keys() <= _ASSIGNING


def put(told: bytes, document: bytes, at: datetime) -> bytes:
    """A terminal of ours as the operator PUT it; the reference stays, for it is how we know the thing itself.

    Args:
        at: its new `last_updated`.
    """
    fields = fields_of(document)
    before = fields_of(told)
    for name in ("terminal_id", "reference"):
        if name in before:
            fields[name] = before[name]
    return stamped(_encode(fields), at)


class Verdict(enum.StrEnum):
    """How what was captured stands to what the session costs.

    `waiting`: the session is not known, or has no final price yet.
    """

    WAITING = "waiting"
    AGREES = "agrees"
    DIFFERS = "differs"
    FAILED = "failed"


def verdict(status: str, captured: Money, owed: Money | None) -> Verdict:
    """How a confirmation is to be judged.

    Args:
        captured: of the session in all, taxes included.
        owed: what the session's CDRs say together, taxes included; None where there are none.
    """
    if status == CaptureStatus.FAILED:
        return Verdict.AGREES if owed is not None and owed.amount <= 0 else Verdict.FAILED
    if owed is None:
        return Verdict.WAITING
    if captured.currency != owed.currency:
        return Verdict.DIFFERS
    return Verdict.AGREES if captured.rounded().amount == owed.rounded().amount else Verdict.DIFFERS


def difference(captured: Money, owed: Money | None) -> Decimal | None:
    """How much more was captured than is owed; below nothing: less. None where that cannot be said."""
    if owed is None or owed.currency != captured.currency:
        return None
    return captured.rounded().amount - owed.rounded().amount
