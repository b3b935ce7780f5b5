"""CDRs written: the one place where they come from, with the facts that follow, in one database transaction that holds the session's lock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind, credit_of
from chargeplane.domain.cdrs.holds import Hold
from chargeplane.store.queries import cdrs as queries
from chargeplane.store.queries import facts
from chargeplane.store.queries.cdrs import Cdr, NewCdr
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.sessions import Session

CREATED: Final = "cdr.created"
RELEASED: Final = "cdr.released"
TOPICS: Final = (CREATED, RELEASED)


def key_of(session_id: int) -> str:
    """What facts about a session's CDRs are ordered by."""
    return f"session:{session_id}"


def standing(cdrs: Iterable[Cdr]) -> Cdr | None:
    """The CDR that holds: no credit, and not taken back."""
    found = [cdr for cdr in cdrs if cdr.kind is not CdrKind.CREDIT and cdr.credited_by is None]
    return found[-1] if found else None


async def write(
    db: Db, session: Session, said: CdrContent, kind: CdrKind, number: int, holds: Iterable[Hold], token_key: str | None
) -> Cdr:
    """Writes an original or a correction, and tells of it."""
    totals = said.totals
    made = await queries.insert(
        db,
        NewCdr(
            tenant_id=session.tenant_id,
            session_id=session.id,
            kind=kind,
            number=number,
            credits=None,
            location_id=said.place.id,
            evse_uid=said.place.evse_uid,
            token_key=token_key,
            driver_id=session.frozen.driver_id,
            agreement_id=None if said.agreement is None else said.agreement.id,
            payment_id=session.payment_id,
            tariff_id=None if said.tariff is None else said.tariff.id,
            energy_wh=totals.energy_kwh * 1000,
            currency=None if said.tariff is None else said.tariff.currency,
            total_excl=None if totals.cost is None else totals.cost.excl,
            total_incl=None if totals.cost is None else totals.cost.incl,
            holds=tuple(sorted(set(holds))),
        ),
        said,
    )
    await _tell(db, made)
    return made


async def take_back(db: Db, cdr: Cdr, number: int, reason: str) -> Cdr:
    """Writes the credit of a CDR, and tells of it; what it used of its agreement's allowances is given back."""
    said = credit_of(await queries.content(db, cdr.id), reason)
    made = await queries.insert(
        db,
        NewCdr(
            tenant_id=cdr.tenant_id,
            session_id=cdr.session_id,
            kind=CdrKind.CREDIT,
            number=number,
            credits=cdr.id,
            location_id=cdr.location_id,
            evse_uid=cdr.evse_uid,
            token_key=cdr.token_key,
            driver_id=cdr.driver_id,
            agreement_id=cdr.agreement_id,
            payment_id=cdr.payment_id,
            tariff_id=cdr.tariff_id,
            energy_wh=-cdr.energy_wh,
            currency=cdr.currency,
            total_excl=None if cdr.total_excl is None else -cdr.total_excl,
            total_incl=None if cdr.total_incl is None else -cdr.total_incl,
            # What was never billed need not be paid back either: a credit is held as long as what it takes back.
            holds=cdr.holds if cdr.is_held else (),
        ),
        said,
    )
    await queries.give_back(db, cdr.id, made.id)
    await _tell(db, made)
    return made


async def _tell(db: Db, cdr: Cdr) -> None:
    await facts.tell(db, cdr.tenant_id, CREATED, key_of(cdr.session_id), payload_of(cdr))


def payload_of(cdr: Cdr) -> dict[str, object]:
    """What `cdr.created` and `cdr.released` say: ids and amounts as text; those of a credit are negative."""

    def text(value: object) -> str | None:
        return None if value is None else format(value, "f") if not isinstance(value, int) else str(value)

    return {
        "cdr_id": str(cdr.id),
        "session_id": str(cdr.session_id),
        "kind": cdr.kind.value,
        "number": cdr.number,
        "credits": text(cdr.credits),
        "currency": cdr.currency,
        "total_excl": text(cdr.total_excl),
        "total_incl": text(cdr.total_incl),
        "energy_wh": text(cdr.energy_wh),
        "started_at": cdr.started_at,
        "ended_at": cdr.ended_at,
        "location_id": cdr.location_id,
        "evse_uid": cdr.evse_uid,
        "driver_id": text(cdr.driver_id),
        "agreement_id": text(cdr.agreement_id),
        "payment_id": text(cdr.payment_id),
        "tariff_id": cdr.tariff_id,
        "holds": [hold.value for hold in cdr.holds],
        "held": cdr.is_held,
    }
