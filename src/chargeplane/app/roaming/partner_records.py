"""Partners' sessions and CDRs as operators and drivers see them, and disputes about CDRs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.domain.roaming.disputes import DisputeState, DisputeStep, moved
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import partner_records as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.partner_records import PartnerCdr, PartnerCdrFilter, PartnerSession

_BY_HAND: Final = frozenset({DisputeState.OPEN, DisputeState.ACCEPTED, DisputeState.REJECTED})


class PartnerRecords:
    """Use cases about them."""

    def __init__(self, database: Database, events: EventFeed, *, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._events = events
        self._now = now

    async def sessions(
        self,
        caller: Caller,
        limit: int,
        after: Position | None,
        *,
        driver_id: int | None = None,
        connection_id: int | None = None,
        status: str | None = None,
    ) -> Sequence[PartnerSession]:
        """Sessions at partners' stations, the one that began last first."""
        async with self._database.read() as db:
            return await queries.sessions(
                db, caller.tenant_id, limit, after, driver_id=driver_id, connection_id=connection_id, status=status
            )

    async def session(self, caller: Caller, key: int, *, driver_id: int | None = None) -> PartnerSession:
        """One session.

        Raises:
            NotFoundError: there is none, or it is another driver's.
        """
        async with self._database.read() as db:
            found = await queries.session(db, caller.tenant_id, key)
        if found is None or (driver_id is not None and found.driver_id != driver_id):
            raise NotFoundError("session", str(key))
        return found

    async def cdrs(
        self, caller: Caller, wanted: PartnerCdrFilter, limit: int, after: Position | None
    ) -> Sequence[PartnerCdr]:
        """CDRs of partners, the one whose session ended last first."""
        async with self._database.read() as db:
            return await queries.cdrs(db, caller.tenant_id, wanted, limit, after)

    async def cdr(self, caller: Caller, key: int) -> tuple[PartnerCdr, bytes]:
        """One CDR with its document.

        Raises:
            NotFoundError: there is none.
        """
        async with self._database.read() as db:
            found = await queries.cdr(db, caller.tenant_id, key)
            document = await queries.document(db, caller.tenant_id, key)
        if found is None or document is None:
            raise NotFoundError("CDR", str(key))
        return found, document

    async def dispute(
        self,
        caller: Caller,
        key: int,
        state: DisputeState,
        reason: str,
        *,
        claimed: Decimal | None = None,
        if_revision: int | None = None,
    ) -> PartnerCdr:
        """Opens a dispute about a CDR, or says how it went on.

        Args:
            claimed: what the CDR should cost before taxes.
        Raises:
            NotFoundError: there is no such CDR.
            ConflictError: the dispute cannot go there, the CDR is a credit, or changed since `if_revision`.
        """
        if state not in _BY_HAND:
            raise ConflictError("A dispute is credited by the partner's credit CDR, not by hand.")
        async with self._database.change() as db:
            found = await queries.cdr(db, caller.tenant_id, key, locked=True)
            if found is None:
                raise NotFoundError("CDR", str(key))
            if if_revision is not None and found.revision != if_revision:
                raise ConflictError(f"CDR '{key}' has changed: its revision is {found.revision}.")
            if found.credit:
                raise ConflictError("A credit CDR cannot be disputed.")
            if found.credited_by is not None:
                raise ConflictError("The CDR was credited already.")
            step = DisputeStep(state=state, at=self._now(), by=caller.actor, reason=reason)
            dispute = moved(found.dispute_state, found.dispute, step, claimed)
            await queries.put_dispute(db, key, state, dispute)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="received_cdr.disputed",
                kind="received-cdr",
                ident=str(key),
                reason=reason,
                before=None if found.dispute_state is None else {"state": found.dispute_state.value},
                after={"state": state.value},
            )
            changed = await queries.cdr(db, caller.tenant_id, key)
        assert changed is not None
        self._events.publish(
            "received_cdr.disputed",
            caller.tenant_id,
            None,
            {"id": str(key), "state": state.value, "cdr_id": changed.id},
        )
        return changed
