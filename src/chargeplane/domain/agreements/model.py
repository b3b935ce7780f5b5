"""Agreements as data: parties, scope, terms, versions."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, structs

from chargeplane.domain.agreements.items import Days, Ident, Item, ItemName
from chargeplane.kernel.money import Money


class AgreementKind(enum.StrEnum):
    """What an agreement is about."""

    DRIVER_PLAN = "driver_plan"
    SITE_HOST = "site_host"
    FLEET = "fleet"
    ROAMING_BILATERAL = "roaming_bilateral"
    HUB = "hub"
    MAINTENANCE_SLA = "maintenance_sla"


CHARGING: Final = (
    AgreementKind.DRIVER_PLAN,
    AgreementKind.FLEET,
    AgreementKind.ROAMING_BILATERAL,
    AgreementKind.HUB,
)
"""Kinds under which somebody charges; they compete for a session. The others are about places, each kind by itself."""


class AgreementState(enum.StrEnum):
    """Where an agreement is in its life; `states.TABLE` says how it gets from one to another."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDING = "ending"
    ENDED = "ended"
    CLOSED = "closed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    CANCELED = "canceled"


class PartyRole(enum.StrEnum):
    """What a party is in an agreement. Provider and consumer must be there, and must accept."""

    PROVIDER = "provider"
    CONSUMER = "consumer"
    PAYER = "payer"
    SITE_OWNER = "site_owner"
    GUARANTOR = "guarantor"


SIGNING: Final = (PartyRole.PROVIDER, PartyRole.CONSUMER)
"""Roles whose parties must accept."""


class PartyKind(enum.StrEnum):
    """What stands behind a party."""

    HOUSE = "house"
    DRIVER = "driver"
    COMPANY = "company"
    OCPI_PARTY = "ocpi_party"


class Party(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody an agreement is between.

    Args:
        id: of a driver; of a company as the tenant names it; of an OCPI party: country code and party id, as `DE*ABC`.
            The house, the tenant itself, has none.
        name: as documents show it.
        vat_id: VAT number with its country in front; on invoices where nothing was put for the customer.
    """

    role: PartyRole
    kind: PartyKind
    id: Ident | None = None
    name: ItemName | None = None
    vat_id: Annotated[str, Meta(min_length=4, max_length=20)] | None = None


class ScopeKind(enum.StrEnum):
    """What an entry of a scope names: places from the whole tenant down to one EVSE, and people from a group to one id token."""

    TENANT = "tenant"
    COUNTRY = "country"
    LOCATION = "location"
    STATION = "station"
    EVSE = "evse"
    USER_GROUP = "user_group"
    TOKEN_GROUP = "token_group"  # noqa: S105
    ID_TOKEN = "id_token"  # noqa: S105


class ScopeEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place or people that terms cover, or do not.

    Args:
        value: the id; none for the tenant. Of a country its two letters.
        id_token_type: of an id token: this type only.
        exclude: it is taken out of what the other entries cover.
    """

    kind: ScopeKind
    value: Ident | None = None
    id_token_type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None
    exclude: bool = False


class RenewalMode(enum.StrEnum):
    """What happens at the end of the term."""

    NONE = "none"
    MANUAL = "manual"
    AUTOMATIC = "automatic"


class Renewal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the term goes on.

    Args:
        months: by which a renewal moves the end, in the agreement's time zone.
    """

    mode: RenewalMode = RenewalMode.NONE
    months: Annotated[int, Meta(ge=1, le=120)] = 12


class BillingCycle(enum.StrEnum):
    """When invoices are made."""

    SESSION = "session"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"


class BillingMethod(enum.StrEnum):
    """How is paid."""

    INVOICE = "invoice"
    CARD = "card"
    DIRECT_DEBIT = "direct_debit"
    WALLET = "wallet"
    FREE = "free"


class Billing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How what was charged is billed.

    Args:
        terms_days: until an invoice is due.
        tax_profile: of the consumer, as the invoices know it.
        reference: what the consumer wants to read on invoices (an order number).
    """

    cycle: BillingCycle = BillingCycle.MONTH
    terms_days: Annotated[int, Meta(ge=0, le=365)] = 14
    method: BillingMethod = BillingMethod.INVOICE
    tax_profile: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    reference: ItemName | None = None


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How far the provider goes; what is absent is not limited.

    Args:
        credit: what may be owed.
        hold_per_session: what is held on a card before a session.
        kwh_per_month: energy of all id tokens together, by months of the agreement's time zone.
        kw: power of one session.
        concurrent_sessions: of all id tokens together.
    """

    credit: Money | None = None
    hold_per_session: Money | None = None
    kwh_per_month: Decimal | None = None
    kw: Decimal | None = None
    concurrent_sessions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text that belongs to the agreement: general terms, a price list, a signed scan.

    Args:
        sha256: of its bytes, in hex; made here where `text` is given.
        text: the document itself, where it is kept here.
        url: where it is to be found, where it is not.
    """

    name: ItemName
    sha256: Sha256 | None = None
    text: Annotated[str, Meta(max_length=200_000)] | None = None
    url: Annotated[str, Meta(min_length=1, max_length=2000)] | None = None
    media_type: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    language: Annotated[str, Meta(min_length=2, max_length=8)] | None = None


class Terms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a version of an agreement says.

    Args:
        priority: of two that cover as specifically, the higher one applies.
        notice_days: between a notice and the end.
    """

    scope: Annotated[tuple[ScopeEntry, ...], Meta(max_length=2000)] = ()
    items: Annotated[tuple[Item, ...], Meta(max_length=200)] = ()
    limits: Limits = Limits()
    billing: Billing = Billing()
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    notice_days: Days = 0
    renewal: Renewal = Renewal()
    documents: Annotated[tuple[Document, ...], Meta(max_length=50)] = ()


class VersionState(enum.StrEnum):
    """Where a version is: terms hold once they are accepted and their time has come."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Acceptance(Struct, frozen=True, kw_only=True):
    """That a party accepted.

    Args:
        at: when.
        by: who told us, as the audit log names callers.
        signed_by: the person, as the caller gave it.
        hash: SHA-256 of what was accepted; equal to the version's for as long as nobody changed it.
    """

    role: PartyRole
    at: datetime
    by: str
    signed_by: str | None
    hash: str


class Version(Struct, frozen=True, kw_only=True):
    """The terms from a moment on.

    Args:
        version: 1 is the agreement as it was made, others are amendments.
        effective_at: from when it holds; None: from the agreement's start (version 1), or from its acceptance.
        hash: SHA-256 of what the parties accept, frozen when it is proposed.
        proposed_by: who must not accept it once more.
    """

    version: int
    state: VersionState
    terms: Terms
    effective_at: datetime | None = None
    reason: str | None = None
    proposed_by: PartyRole | None = None
    proposed_at: datetime | None = None
    hash: str | None = None
    acceptances: tuple[Acceptance, ...] = ()


class Suspension(Struct, frozen=True, kw_only=True):
    """A time in which nobody charges by the agreement; `until` None: it lasts."""

    since: datetime
    until: datetime | None = None


class Notice(Struct, frozen=True, kw_only=True):
    """That a party ended the agreement.

    Args:
        ends_before: when it would have ended without the notice.
    """

    at: datetime
    role: PartyRole | None
    ends_before: datetime | None


class Agreement(Struct, frozen=True, kw_only=True):
    """A service agreement, as of the last moment that was written.

    Args:
        version: whose terms hold, or will first.
        starts_at: from when; None: when it is activated by hand.
        ends_at: not included; None: without end.
        accepted_at: when the last of the signing parties accepted.
        begun_at: when it became active.
        renewed_from, renewed_months: the end as it was before its first renewal, and the months it was moved by since.
        supersedes: the agreement that ends when this one begins.
    """

    id: int
    number: str
    kind: AgreementKind
    state: AgreementState
    currency: str
    time_zone: str
    versions: tuple[Version, ...]
    name: str | None = None
    version: int = 1
    parties: tuple[Party, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    accepted_at: datetime | None = None
    begun_at: datetime | None = None
    suspensions: tuple[Suspension, ...] = ()
    notice: Notice | None = None
    renewals: int = 0
    renewed_from: datetime | None = None
    renewed_months: int = 0
    supersedes: int | None = None
    state_reason: str | None = None

    @property
    def signing(self) -> tuple[PartyRole, ...]:
        """Roles that must accept."""
        return SIGNING

    def numbered(self, version: int) -> Version:
        """A version by its number."""
        return self.versions[version - 1]

    @property
    def open_amendment(self) -> Version | None:
        """The amendment that waits for acceptance."""
        last = self.versions[-1]
        return last if last.version > 1 and last.state is VersionState.PROPOSED else None


def version_at(agreement: Agreement, at: datetime) -> Version:
    """The version whose terms hold at a moment; the first one where none has begun."""
    found = agreement.versions[0]
    for version in agreement.versions[1:]:
        since = version.effective_at
        if version.state is not VersionState.ACCEPTED or since is None or since > at:
            continue
        if found.effective_at is None or since >= found.effective_at:
            found = version
    return found


_canonical = msgspec.json.Encoder(order="sorted")


def content_hash(agreement: Agreement, terms: Terms, effective_at: datetime | None) -> str:
    """SHA-256 of what the parties accept: who they are, the period, the currency, and the terms with their documents."""
    content: dict[str, Any] = {
        "number": agreement.number,
        "kind": agreement.kind,
        "currency": agreement.currency,
        "time_zone": agreement.time_zone,
        "parties": agreement.parties,
        "starts_at": agreement.starts_at,
        "ends_at": agreement.ends_at,
        "effective_at": effective_at,
        "terms": terms,
    }
    return hashlib.sha256(_canonical.encode(content)).hexdigest()


def with_hashes(documents: Sequence[Document]) -> tuple[Document, ...]:
    """The documents, those kept here with the hash of their text."""
    return tuple(
        one if one.text is None else structs.replace(one, sha256=hashlib.sha256(one.text.encode()).hexdigest())
        for one in documents
    )
