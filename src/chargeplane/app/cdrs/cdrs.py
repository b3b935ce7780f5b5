"""CDRs as people ask for them, take them back, have them written again and release them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.cdrs.views import CdrView, cdr_view
from chargeplane.app.cdrs.writing import RELEASED, key_of, payload_of, standing, take_back
from chargeplane.app.events import EventFeed
from chargeplane.app.sessions.keeper import read_session
from chargeplane.app.sessions.ports import SessionAgreements, TariffSource
from chargeplane.app.sessions.pricing import prepared
from chargeplane.app.sessions.proving import NoProofs, Proofs
from chargeplane.app.sessions.settling import Settling
from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind
from chargeplane.domain.cdrs.session import Override, SessionState
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import cdrs as queries
from chargeplane.store.queries import facts
from chargeplane.store.queries import sessions as session_queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.cdrs import EXPORT_ROWS, Cdr, CdrFilter
from chargeplane.store.queries.paging import Db, Mark, Position

_KIND: Final = "CDR"


class Cdrs:
    """Use cases about CDRs.

    Args:
        told: called after a commit that wrote facts.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        tariffs: TariffSource,
        agreements: SessionAgreements,
        told: Callable[[], None] = lambda: None,
        proofs: Proofs | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._tariffs = tariffs
        self._settling = Settling(tariffs, agreements)
        self._told = told
        self._proofs: Proofs = proofs or NoProofs()

    async def page(
        self, caller: Caller, wanted: CdrFilter, limit: int, after: Position | None
    ) -> list[tuple[Mark, CdrView]]:
        """CDRs with their positions, the one whose session ended last first; at most `limit`."""
        async with self._database.read() as db:
            found = await queries.page(db, caller.tenant_id, wanted, limit, after)
        return [((one.ended_at, one.id), cdr_view(one)) for one in found]

    async def one(self, caller: Caller, ident: int) -> tuple[CdrView, CdrContent]:
        """A CDR with what it says.

        Raises:
            NotFoundError: the tenant has no such CDR.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return cdr_view(found[0]), found[1]

    async def export(self, caller: Caller, wanted: CdrFilter) -> AsyncIterator[Sequence[tuple[CdrView, CdrContent]]]:
        """All CDRs that a filter lets through, the one whose session ended last first, some hundred at a time."""
        after: Position | None = None
        while True:
            async with self._database.read() as db:
                found = await queries.whole_page(db, caller.tenant_id, wanted, EXPORT_ROWS, after)
            if found:
                yield [(cdr_view(one), said) for one, said in found]
            if len(found) < EXPORT_ROWS:
                return
            last = found[-1][0]
            after = Position((last.ended_at, last.id))

    async def release(self, caller: Caller, ident: int, reason: str) -> CdrView:
        """Says that a held CDR may be billed after all.

        Raises:
            NotFoundError: the tenant has no such CDR.
            ConflictError: it is not held, or was taken back.
        """
        async with self._database.change() as db:
            cdr = await self._locked(db, caller, ident)
            if cdr.kind is CdrKind.CREDIT or cdr.credited_by is not None:
                raise ConflictError(f"CDR {ident} was taken back, or takes one back; only one that stands is released.")
            if not cdr.is_held or not await queries.release(db, cdr, caller.actor, reason):
                raise ConflictError(f"CDR {ident} is not held: it may be billed already.")
            if cdr.currency is None:
                raise ConflictError(f"CDR {ident} has no price: correct it with a tariff, or credit it.")
            released = await queries.one(db, caller.tenant_id, ident)
            assert released is not None
            await facts.tell(db, caller.tenant_id, RELEASED, key_of(cdr.session_id), payload_of(released[0]))
            await self._audit(db, caller, "release", cdr, reason, {"holds": [hold.value for hold in cdr.holds]})
        self._told()
        view = cdr_view(released[0])
        self._events.publish("cdr.released", caller.tenant_id, None, view)
        return view

    async def credit(self, caller: Caller, ident: int, reason: str) -> CdrView:
        """Takes a CDR back; nothing stands in its place until it is corrected.

        Raises:
            NotFoundError: the tenant has no such CDR.
            ConflictError: it is a credit itself, or was taken back already.
        """
        async with self._database.change() as db:
            cdr = await self._locked(db, caller, ident)
            self._may_be_taken_back(cdr)
            cdrs = await queries.of_session(db, caller.tenant_id, cdr.session_id)
            made = await take_back(db, cdr, len(cdrs) + 1, reason)
            await session_queries.set_state(db, cdr.session_id, SessionState.CREDITED)
            await self._audit(db, caller, "credit", cdr, reason, None, {"credit": made.id})
        self._told()
        view = cdr_view(made)
        self._events.publish("cdr.created", caller.tenant_id, None, view)
        return view

    async def correct(
        self,
        caller: Caller,
        ident: int,
        reason: str,
        *,
        tariff_id: str | None = None,
        tariff_version: int | None = None,
        energy_wh: Decimal | None = None,
    ) -> list[CdrView]:
        """Takes the CDR that stands back, and tells the session again with another tariff or energy; later amendments go by these too.

        Args:
            ident: of the session's CDR that stands, or, where none does, of any of its CDRs.
            tariff_version: None: the one that held when the session began.
        Returns:
            what was written, in order.
        Raises:
            NotFoundError: the tenant has no such CDR.
            InvalidInputError: there is no such tariff or version.
            ConflictError: another CDR of the session stands; its transaction is open again; or it would say the same.
        """
        cdr, _ = await self._read(caller, ident)
        transaction, session, rows = await read_session(self._database, caller.tenant_id, cdr.session_id)
        if transaction is None or session is None:
            raise ConflictError(
                f"The transaction of CDR {ident} is not kept any more, so it cannot be rated again; credit it."
            )
        if transaction.is_open:
            raise ConflictError(f"The transaction {transaction.id} is open again; correct its CDR when it has ended.")
        override = session.override or Override()
        if tariff_id is not None:
            tariff = (
                await self._tariffs.version_of(caller.tenant_id, tariff_id, transaction.started_at)
                if tariff_version is None
                else await self._tariffs.frozen(caller.tenant_id, tariff_id, tariff_version)
            )
            if tariff is None:
                field = "tariff_id" if tariff_version is None else "tariff_version"
                sentence = "There is no such tariff or version, or it did not hold when the session began"
                raise InvalidInputError(f"'{field}': {sentence}.", ((f"/{field}", sentence),))
            override = Override(tariff_id=tariff.id, tariff_version=tariff.version, energy_wh=override.energy_wh)
        if energy_wh is not None:
            override = Override(
                tariff_id=override.tariff_id, tariff_version=override.tariff_version, energy_wh=energy_wh
            )
        async with self._database.change() as db:
            session = await session_queries.locked(db, caller.tenant_id, cdr.session_id)
            assert session is not None
            now_standing = standing(await queries.of_session(db, caller.tenant_id, cdr.session_id))
            if now_standing is not None and now_standing.id != ident:
                raise ConflictError(f"CDR {ident} does not stand; correct CDR {now_standing.id}, which does.")
            await session_queries.set_override(db, cdr.session_id, override)
            session = await session_queries.one(db, caller.tenant_id, cdr.session_id)
            assert session is not None
            what = await prepared(transaction, session, rows)
            proof = await self._proofs.of(what)
            settled = await self._settling.settle(db, what, proof, reason=reason, by_hand=True)
            if settled is None:
                raise ConflictError(f"The transaction {transaction.id} was just amended; try again.")
            if not settled.written:
                raise ConflictError(f"CDR {ident} says the same already.")
            await self._proofs.keep(db, what, proof)
            await self._audit(
                db,
                caller,
                "correct",
                cdr,
                reason,
                None,
                {"override": override, "cdrs": [one.id for one in settled.written]},
            )
        self._told()
        views = [cdr_view(one) for one in settled.written]
        for view in views:
            self._events.publish("cdr.created", caller.tenant_id, transaction.station_id, view)
        return views

    def _may_be_taken_back(self, cdr: Cdr) -> None:
        if cdr.kind is CdrKind.CREDIT:
            raise ConflictError(f"CDR {cdr.id} is a credit, and stays; correct the session's CDR instead.")
        if cdr.credited_by is not None:
            raise ConflictError(f"CDR {cdr.id} was taken back by CDR {cdr.credited_by} already.")

    async def _read(self, caller: Caller, ident: int) -> tuple[Cdr, CdrContent]:
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def _locked(self, db: Db, caller: Caller, ident: int) -> Cdr:
        """The CDR while its session is locked."""
        found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        await session_queries.locked(db, caller.tenant_id, found[0].session_id)
        # Only now nobody else writes CDRs of the session.
        again = await queries.one(db, caller.tenant_id, ident)
        assert again is not None
        return again[0]

    async def _audit(
        self, db: Db, caller: Caller, action: str, cdr: Cdr, reason: str, before: Any, after: Any = None
    ) -> None:
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind=_KIND,
            ident=str(cdr.id),
            before=before,
            after=after,
            reason=reason,
        )
