"""What payments need of others: providers, costs, places, prices. The implementations are wired in main."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

from msgspec import Struct

from chargeplane.app.reports import Place
from chargeplane.domain.payments.states import Seen
from chargeplane.domain.payments.steps import Capabilities
from chargeplane.domain.people.mails import Attachment
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.queries.paging import Db

METHOD: Final = "method"
"""Purpose of a payment by which a way of paying is saved; nothing is taken."""

TAX: Final = "tax:"
"""Begins a line of `CostSoFar` that says how much of the amount is a tax; what follows is the tax's name."""


class DeclinedError(RuleError):
    """A provider said no, and would again.

    Args:
        code: in a word, such as `card_declined` or `insufficient_funds`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnknownPaymentError(RuleError):
    """A provider has no such payment."""


class BadWebhookError(RuleError):
    """What came to a provider's address was not from the provider."""


class Order(Struct, frozen=True, kw_only=True):
    """A payment to be begun.

    Args:
        key: idempotency key: the provider begins one payment for it.
        reference: ours, for the provider's records.
        hold: what is to be held.
        return_url: where the payer comes back to.
        account_id: of the house, where it pays.
        off_session: the payer is not there.
        save: the way of paying is to be kept by the provider; `Seen.saved` says what it calls it.
        method: a kept one, by which the payment is authorised without the payer.
    """

    key: str
    reference: str
    hold: Money
    description: str
    return_url: str | None = None
    language: str | None = None
    account_id: int | None = None
    off_session: bool = False
    email: str | None = None
    save: bool = False
    method: str | None = None


class Begun(Struct, frozen=True, kw_only=True):
    """A payment at its provider."""

    ref: str
    seen: Seen


class Told(Struct, frozen=True, kw_only=True):
    """What a provider told by itself.

    Args:
        event_id: the same whenever the same is told.
        kind: the provider's word.
        ref: of the payment; None where it is about none.
        seen: how the payment stands by it; None where it is to be asked.
        payload: what is kept: JSON without anything of the payer's card.
    """

    event_id: str
    kind: str
    ref: str | None
    seen: Seen | None
    payload: str


class Provider(Protocol):
    """Somebody who moves money.

    Every method that changes something takes an idempotency key and may be called again with it. They raise DeclinedError where the answer is
    no for good, UnknownPaymentError where there is no such payment, UnavailableError where it is not known whether it was done.
    """

    @property
    def able(self) -> Capabilities:
        """What it can do."""
        ...

    async def start(self, order: Order) -> Begun:
        """Begins a payment."""
        ...

    async def authorize(self, ref: str, amount: Money, key: str) -> Seen:
        """Holds an amount without the payer."""
        ...

    async def increment(self, ref: str, total: Money, key: str) -> Seen:
        """Raises the hold to a total."""
        ...

    async def capture(self, ref: str, amount: Money, key: str) -> Seen:
        """Takes of the hold, once; the rest is released."""
        ...

    async def void(self, ref: str, key: str) -> Seen:
        """Releases the hold, or ends a payment that was not authorised."""
        ...

    async def refund(self, ref: str, amount: Money, key: str) -> Seen:
        """Gives back of what was taken; `refunds` of what is seen holds the key."""
        ...

    async def fetch(self, ref: str, currency: str) -> Seen:
        """How the payment stands."""
        ...

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Sequence[Told]:
        """What was told.

        Args:
            headers: names in lower case.
        Raises:
            BadWebhookError: the signature is not the provider's, or too old.
        """
        ...

    async def close(self) -> None:
        """Ends its connections."""
        ...


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """Of one provider of a tenant, opened.

    Args:
        revision: of the configuration.
    """

    tenant_id: TenantId
    name: str
    kind: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, str]
    revision: int


class Factory(Protocol):
    """Makes providers of a kind."""

    def __call__(self, settings: ProviderSettings) -> Provider:
        """The provider.

        Raises:
            InvalidInputError: a setting is missing or wrong.
        """
        ...


class CostSoFar(Struct, frozen=True, kw_only=True):
    """What a session costs.

    Args:
        cost: all included, as it would be billed if it ended now.
        energy_wh: delivered.
        per_hour: the highest an hour from here can cost.
        jump: what may be added at once.
        lines: how it is made up: (words, amount).
        told_at: time of the newest meter value it rests on.
        meter_interval: time between meter values.
        final: the session has ended and this is its price.
    """

    cost: Money
    energy_wh: Decimal
    per_hour: Decimal
    lines: tuple[tuple[str, Decimal], ...] = ()
    told_at: datetime
    meter_interval: timedelta = timedelta(seconds=60)
    final: bool = False
    jump: Decimal = Decimal(0)


class Costs(Protocol):
    """Who knows what sessions cost."""

    async def so_far(self, tenant_id: TenantId, session_id: int, price: bytes | None) -> CostSoFar | None:
        """What a session costs now; None where nothing is known of it.

        Args:
            price: as frozen when it was shown (`PublicPrice.frozen`); None where the session has its own.
        """
        ...


class PayPlace(Struct, frozen=True, kw_only=True):
    """An EVSE where guests may pay.

    Args:
        code: of the QR code.
        name, address: of the location, for people.
        power_w: the most it gives; None where that is not known.
        connector: kind of plug, in OCPI's words.
    """

    tenant_id: TenantId
    code: str
    evse_uid: str
    evse_name: str | None
    station_key: StationKey
    station_id: str
    ocpp_evse_id: int
    location_id: str | None
    name: str
    address: str | None
    time_zone: str
    connector: str | None = None
    power_w: int | None = None
    operator: str | None = None
    for_guests: bool = True


class Places(Protocol):
    """Who knows EVSEs by the codes on them."""

    async def by_code(self, code: str) -> PayPlace | None:
        """The EVSE of a code; None where there is none."""
        ...


class PriceLine(Struct, frozen=True, kw_only=True):
    """A part of a price.

    Args:
        kind: energy, time, parking_time, flat.
        price: for a kWh, an hour, or once.
        condition: in words, where it does not always hold.
    """

    kind: str
    price: Money
    incl_tax: bool = True
    condition: str | None = None


class PublicPrice(Struct, frozen=True, kw_only=True):
    """What a guest pays, known before the plug goes in.

    Args:
        hold: what is held for a session.
        frozen: what `Costs` needs to rate by this price later, whatever changes meanwhile.
        words: of the operator about the price, by language.
    """

    currency: str
    lines: tuple[PriceLine, ...]
    hold: Money
    frozen: bytes
    words: Mapping[str, str] = {}


class Prices(Protocol):
    """Who knows what guests pay."""

    async def public(self, place: PayPlace, at: datetime) -> PublicPrice | None:
        """The price at an EVSE; None where guests cannot charge there."""
        ...


class Mailer(Protocol):
    """Who sends mail."""

    async def send(
        self,
        db: Db,
        tenant_id: TenantId,
        *,
        to: str,
        subject: str,
        text: str,
        language: str,
        html: str | None = None,
        attachments: tuple[Attachment, ...] = (),
    ) -> None:
        """Takes a mail within the caller's transaction, to be sent once that is committed."""
        ...


class Receipts(Protocol):
    """Who draws receipts."""

    async def receipt_of(self, tenant_id: TenantId, payment_id: int) -> tuple[bool, Attachment | None]:
        """(whether there will be one, the receipt of a payment once there is)."""
        ...


class Terminals(Protocol):
    """Who knows what stations' terminals take."""

    async def currency(self, db: Db, place: Place) -> str:
        """The currency a station settles in (ISO 4217)."""
        ...
