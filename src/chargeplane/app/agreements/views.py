"""Agreements as the API shows them: always as of a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.agreements.ports import Charged
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.items import Item
from chargeplane.domain.agreements.model import (
    Acceptance,
    AgreementKind,
    AgreementState,
    Billing,
    Document,
    Limits,
    Notice,
    Party,
    PartyRole,
    Renewal,
    ScopeEntry,
    Suspension,
    Version,
    VersionState,
)
from chargeplane.domain.agreements.resolve import Candidate
from chargeplane.domain.agreements.states import Action, allowed
from chargeplane.kernel.money import Money
from chargeplane.store.queries.agreements import Stored

_Shown = TypeVar("_Shown")


class DocumentView(Struct, frozen=True, kw_only=True):
    """A document of an agreement.

    Args:
        sha256: of its bytes.
        kept: its text is kept here, under the agreement's versions.
    """

    name: str
    sha256: str | None
    kept: bool
    url: str | None
    media_type: str | None
    language: str | None


class AgreementView(Struct, frozen=True, kw_only=True):
    """A service agreement as of now, with the terms of the version that holds, or will first.

    Args:
        id: ours.
        number: unique within the tenant.
        version: whose terms these are.
        open_amendment: the version that waits for acceptance; null where none does.
        scope: whom and where it covers.
        starts_at: from when; null: when it is activated by hand.
        ends_at: not included; null: without end.
        accepted_at: when the last signing party accepted.
        begun_at: when it became active.
        supersedes: the agreement that ended when this one began.
        hash: SHA-256 of what the parties accept, frozen when it was proposed.
        acceptances: of this version.
        allowed_actions: what can be done to it now.
        revision: rises with every change by hand; the ETag.
    """

    id: str
    number: str
    name: str | None
    kind: AgreementKind
    status: AgreementState
    status_reason: str | None
    currency: str
    time_zone: str
    version: int
    open_amendment: int | None
    supersedes: str | None
    parties: Sequence[Party]
    scope: Sequence[ScopeEntry]
    items: Sequence[Item]
    priority: int
    starts_at: datetime | None
    ends_at: datetime | None
    accepted_at: datetime | None
    begun_at: datetime | None
    notice_days: int
    notice: Notice | None
    renewal: Renewal
    renewals: int
    suspensions: Sequence[Suspension]
    billing: Billing
    limits: Limits
    documents: Sequence[DocumentView]
    hash: str | None
    acceptances: Sequence[Acceptance]
    allowed_actions: Sequence[Action]
    external_ids: dict[str, str]
    metadata: dict[str, Any]
    revision: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class VersionView(Struct, frozen=True, kw_only=True):
    """A version of an agreement's terms.

    Args:
        effective_at: from when it holds; null: from the agreement's start, or from its acceptance.
        in_force: whether its terms are the agreement's now.
        hash: SHA-256 of what the parties accept.
    """

    version: int
    state: VersionState
    in_force: bool
    effective_at: datetime | None
    reason: str | None
    proposed_by: PartyRole | None
    proposed_at: datetime | None
    hash: str | None
    acceptances: Sequence[Acceptance]
    scope: Sequence[ScopeEntry]
    items: Sequence[Item]
    priority: int
    notice_days: int
    renewal: Renewal
    billing: Billing
    limits: Limits
    documents: Sequence[Document]


class UsageView(Struct, frozen=True, kw_only=True):
    """What was charged under an agreement in an interval.

    Args:
        since, until: the interval, cut to the time in which the agreement was active.
        sessions: transactions of its id tokens that began then at the places it covers.
        charged: what they cost, a sum a currency; empty as long as nothing was rated.
        month_energy_wh: of the present month, by the agreement's time zone; what `limits.kwh_per_month` is held against.
        open_at_a_time: sessions open now; what `limits.concurrent_sessions` is held against.
    """

    agreement_id: str
    since: datetime
    until: datetime
    sessions: int
    open_sessions: int
    energy_wh: Decimal
    charged: Sequence[Charged]
    month_energy_wh: Decimal
    open_at_a_time: int
    limits: Limits


class ResolvedView(Struct, frozen=True, kw_only=True):
    """The agreement that applies, with what holds of it."""

    agreement_id: str
    number: str
    name: str | None
    kind: AgreementKind
    version: int
    currency: str
    items: Sequence[Item]
    limits: Limits
    billing: Billing


class ResolutionView(Struct, frozen=True, kw_only=True):
    """Which agreement applies, and why.

    Args:
        applies: null where none does.
        candidates: all that were looked at, the best first, each with the reason.
        token_group, driver_id, location_id, country: what was found out about who asks and where.
    """

    at: datetime
    applies: ResolvedView | None
    candidates: Sequence[Candidate]
    token_group: str | None
    driver_id: str | None
    location_id: str | None
    country: str | None


def as_texts(value: _Shown) -> _Shown:
    """The same with each amount of money as a text, as the API writes it. Only to be encoded: where its type says `Money` stands a `MoneyView`."""
    found: Any = value
    if isinstance(value, Money):
        found = value.view()
    elif isinstance(value, Struct):
        changed = {name: as_texts(getattr(value, name)) for name in value.__struct_fields__}
        found = replace(value, **{name: one for name, one in changed.items() if one is not getattr(value, name)})
    elif isinstance(value, tuple | list):
        changed_items = [as_texts(one) for one in value]
        if any(one is not before for one, before in zip(changed_items, value, strict=True)):
            found = type(value)(changed_items)
    same: _Shown = found
    return same


def shown(stored: Stored, now: datetime) -> AgreementView:
    """An agreement as of a moment."""
    agreement = as_of(stored.agreement, now)
    version = agreement.numbered(agreement.version)
    terms = version.terms
    waiting = agreement.open_amendment
    return AgreementView(
        id=str(agreement.id),
        number=agreement.number,
        name=agreement.name,
        kind=agreement.kind,
        status=agreement.state,
        status_reason=agreement.state_reason,
        currency=agreement.currency,
        time_zone=agreement.time_zone,
        version=agreement.version,
        open_amendment=None if waiting is None else waiting.version,
        supersedes=None if agreement.supersedes is None else str(agreement.supersedes),
        parties=agreement.parties,
        scope=terms.scope,
        items=as_texts(terms.items),
        priority=terms.priority,
        starts_at=agreement.starts_at,
        ends_at=agreement.ends_at,
        accepted_at=agreement.accepted_at,
        begun_at=agreement.begun_at,
        notice_days=terms.notice_days,
        notice=agreement.notice,
        renewal=terms.renewal,
        renewals=agreement.renewals,
        suspensions=agreement.suspensions,
        billing=terms.billing,
        limits=as_texts(terms.limits),
        documents=[_document(one) for one in terms.documents],
        hash=version.hash,
        acceptances=version.acceptances,
        allowed_actions=allowed(agreement),
        external_ids=stored.external_ids,
        metadata=stored.metadata,
        revision=stored.revision,
        created_at=stored.created_at,
        created_by=stored.created_by,
        updated_at=stored.updated_at,
        updated_by=stored.updated_by,
    )


def _document(one: Document) -> DocumentView:
    return DocumentView(
        name=one.name,
        sha256=one.sha256,
        kept=one.text is not None,
        url=one.url,
        media_type=one.media_type,
        language=one.language,
    )


def version_shown(version: Version, current: int) -> VersionView:
    """A version with its terms."""
    terms = version.terms
    return VersionView(
        version=version.version,
        state=version.state,
        in_force=version.version == current and version.state is VersionState.ACCEPTED,
        effective_at=version.effective_at,
        reason=version.reason,
        proposed_by=version.proposed_by,
        proposed_at=version.proposed_at,
        hash=version.hash,
        acceptances=version.acceptances,
        scope=terms.scope,
        items=as_texts(terms.items),
        priority=terms.priority,
        notice_days=terms.notice_days,
        renewal=terms.renewal,
        billing=terms.billing,
        limits=as_texts(terms.limits),
        documents=terms.documents,
    )
