"""A session that is over gets its CDR; one whose transaction is amended afterwards gets a credit and a correction.

All of it is one database transaction that holds the session's lock: the rating by what is left of the agreement's allowances, the
CDRs, the facts, the session's state. Whoever comes second finds the CDR, rates the same and changes nothing; a crash before the commit
leaves nothing. So there is exactly one CDR that stands, however often a session is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.cdrs.writing import standing, take_back, write
from chargeplane.app.sessions.ports import SessionAgreements, TariffSource
from chargeplane.app.sessions.pricing import Prepared, rated, tariff_of
from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind, SignedSummary, cdr_of
from chargeplane.domain.cdrs.holds import Hold, holds_by
from chargeplane.domain.cdrs.included import SessionTerms, used_of
from chargeplane.domain.cdrs.session import SessionState
from chargeplane.domain.ocmf import MeterPublicKey
from chargeplane.domain.rating import Rating
from chargeplane.store.queries import cdrs as queries
from chargeplane.store.queries import session_transactions
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries.cdrs import Cdr
from chargeplane.store.queries.meter_keys import CheckedValue
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.sessions import Session

_AGREEMENT_LOCK: Final = 0x6167_7265
"""First key of the advisory locks under which allowances are used up; the second is of the agreement."""

AMENDED: Final = "The transaction was amended after its CDR was written."


class Proof(Struct, frozen=True, kw_only=True):
    """What signed meter values said of a session.

    Args:
        hold: the tenant's policy holds what they do not prove.
        values: each with its verdict.
        sent: keys that the station sent along.
    """

    summary: SignedSummary | None = None
    hold: bool = False
    values: tuple[CheckedValue, ...] = ()
    sent: tuple[MeterPublicKey, ...] = ()


class Settled(Struct, frozen=True, kw_only=True):
    """What settling did.

    Args:
        written: CDRs, in their order; none where the one that stands is right.
        rating: by which it was settled.
    """

    session: Session
    written: tuple[Cdr, ...] = ()
    unchanged: bool = False
    rating: Rating | None = None


class Settling:
    """Writes CDRs of sessions that are over."""

    def __init__(self, tariffs: TariffSource, agreements: SessionAgreements) -> None:
        self._tariffs = tariffs
        self._agreements = agreements

    async def settle(
        self,
        db: Db,
        what: Prepared,
        proof: Proof,
        *,
        reason: str | None = None,
        by_hand: bool = False,
    ) -> Settled | None:
        """Settles a session within the caller's change; None where it changed meanwhile, and is to be looked at again.

        Args:
            what: of a transaction that is closed.
            reason: why a CDR that stands is corrected; that the transaction was amended, unless given.
            by_hand: writes a CDR again where it was taken back.
        """
        transaction = what.transaction
        session = await session_queries.locked(db, transaction.tenant_id, transaction.id)
        if session is None:
            return None
        # The transaction's row is locked by nobody: what comes after this look brings a fact, and with it another look.
        if await session_transactions.closed_ordinal(db, transaction.id) != transaction.ordinal:
            return None
        cdrs = await queries.of_session(db, session.tenant_id, session.id)
        before = standing(cdrs)
        if cdrs and before is None and not by_hand:
            await session_queries.set_state(db, session.id, SessionState.CREDITED)
            return Settled(session=session, unchanged=True)
        said, holds, terms = await self._said(db, what, session, proof)
        if before is not None and _equal(before, said):
            await self._note(db, what, said, proof)
            return Settled(session=session, unchanged=True, rating=said.rating)
        number, written = len(cdrs), []
        if before is not None:
            number += 1
            written.append(await take_back(db, before, number, reason or AMENDED))
        kind = CdrKind.CORRECTION if cdrs else CdrKind.ORIGINAL
        if kind is CdrKind.CORRECTION:
            said = replace(said, reason=reason or AMENDED)
        made = await write(db, session, said, kind, number + 1, holds, transaction.token_key)
        written.append(made)
        if said.rating is not None and session.frozen.agreement is not None:
            await queries.note_use(
                db,
                made.id,
                session.frozen.agreement.id,
                transaction.started_at,
                [] if said.tariff is None else used_of(terms, said.rating, said.tariff),
            )
        await self._note(db, what, said, proof)
        return Settled(session=session, written=tuple(written), rating=said.rating)

    async def _said(
        self, db: Db, what: Prepared, session: Session, proof: Proof
    ) -> tuple[CdrContent, set[Hold], SessionTerms]:
        transaction = what.transaction
        tariff, by = await tariff_of(self._tariffs, session)
        terms = SessionTerms()
        agreement = session.frozen.agreement
        if agreement is not None and tariff is not None:
            await db.execute("SELECT pg_advisory_xact_lock($1, hashint8($2))", _AGREEMENT_LOCK, agreement.id)
            terms = await self._agreements.terms(db, transaction, agreement, tariff)
        rating = None if tariff is None else await rated(what, session, tariff, terms)
        holds = holds_by(transaction.flags)
        if tariff is None:
            holds.add(Hold.NO_TARIFF)
        if transaction.gaps:
            holds.add(Hold.VALUES_MISSING)
        if what.cut_off:
            holds.add(Hold.TOO_LONG)
        if terms.other_currency:
            holds.add(Hold.CURRENCY_MISMATCH)
        if proof.hold:
            holds.add(Hold.SIGNATURE)
        said = cdr_of(
            session.frozen,
            what.charge,
            started_at=transaction.started_at,
            ended_at=what.ended_at,
            energy_wh=what.energy_wh,
            stop_reason=transaction.stop_reason,
            flags=[flag.value for flag in transaction.flags],
            tariff=tariff,
            rating=rating,
            priced_by=by,
            signed=proof.summary,
        )
        return said, holds, terms

    async def _note(self, db: Db, what: Prepared, said: CdrContent, proof: Proof) -> None:
        cost = said.totals.cost
        await session_queries.update(
            db,
            what.transaction,
            SessionState.SETTLED,
            energy_wh=what.energy_wh,
            cost=None if cost is None else (cost.excl, cost.incl),
            currency=None if said.tariff is None else said.tariff.currency,
            signed=proof.summary,
        )


def _equal(cdr: Cdr, said: CdrContent) -> bool:
    """Whether a CDR says the same energy, times and totals."""
    cost, tariff = said.totals.cost, said.tariff
    told: Sequence[object] = (
        said.totals.energy_kwh * 1000,
        said.started_at,
        said.ended_at,
        None if tariff is None else tariff.id,
        None if cost is None else cost.excl,
        None if cost is None else cost.incl,
    )
    return told == (cdr.energy_wh, cdr.started_at, cdr.ended_at, cdr.tariff_id, cdr.total_excl, cdr.total_incl)
