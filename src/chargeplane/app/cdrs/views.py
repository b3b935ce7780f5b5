"""CDRs as the API and the live feed show them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from chargeplane.app.money_text import money_text
from chargeplane.domain.cdrs.cdr import CdrKind
from chargeplane.domain.cdrs.holds import Hold, sentence
from chargeplane.kernel.money import MoneyView
from chargeplane.store.queries.cdrs import Cdr


class HoldView(Struct, frozen=True, kw_only=True):
    """Why a CDR is held."""

    hold: Hold
    because: str


class ReleaseView(Struct, frozen=True, kw_only=True):
    """Who said that a held CDR may be billed, and why."""

    at: datetime
    by: str
    reason: str


class CdrView(Struct, frozen=True, kw_only=True):
    """A CDR in short. Energy and totals of a credit are negative, so that sums over all CDRs are right.

    Args:
        kind: original; credit, which takes one back; correction, which tells the session again.
        number: within the session, from 1.
        credits: the CDR that a credit takes back. credited_by: the credit that took it back.
        total_excl, total_incl: before and after taxes; null where no tariff held.
        held: it may not be billed until somebody releases it; `holds` tell why.
    """

    id: str
    session_id: str
    kind: CdrKind
    number: int
    credits: str | None
    credited_by: str | None
    created_at: datetime
    started_at: datetime
    ended_at: datetime
    location_id: str
    evse_uid: str
    driver_id: str | None
    agreement_id: str | None
    payment_id: str | None
    tariff_id: str | None
    energy_wh: Decimal
    total_excl: MoneyView | None
    total_incl: MoneyView | None
    held: bool
    holds: list[HoldView]
    release: ReleaseView | None


def cdr_view(cdr: Cdr) -> CdrView:
    """A CDR as it is shown."""
    released = None
    if cdr.released_at is not None:
        released = ReleaseView(at=cdr.released_at, by=cdr.released_by or "", reason=cdr.release_reason or "")
    return CdrView(
        id=str(cdr.id),
        session_id=str(cdr.session_id),
        kind=cdr.kind,
        number=cdr.number,
        credits=_text(cdr.credits),
        credited_by=_text(cdr.credited_by),
        created_at=cdr.created_at,
        started_at=cdr.started_at,
        ended_at=cdr.ended_at,
        location_id=cdr.location_id,
        evse_uid=cdr.evse_uid,
        driver_id=_text(cdr.driver_id),
        agreement_id=_text(cdr.agreement_id),
        payment_id=_text(cdr.payment_id),
        tariff_id=cdr.tariff_id,
        energy_wh=cdr.energy_wh,
        total_excl=money_text(cdr.total_excl, cdr.currency),
        total_incl=money_text(cdr.total_incl, cdr.currency),
        held=cdr.is_held,
        holds=[HoldView(hold=hold, because=sentence(hold)) for hold in cdr.holds],
        release=released,
    )


def _text(ident: int | None) -> str | None:
    return None if ident is None else str(ident)
