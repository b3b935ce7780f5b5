"""Invoice reconciliation: which CDRs our invoices to partners are made of, and partners' to us (OCPI 2.3.0 mod_invoice_reconciliation).

A statement of a roaming agreement brings a record of the CDRs that it rests on and that the partner was told; the partner gets it by the queue.
A person can make one for an invoice of elsewhere, also of CDRs that we received (reverse billing), change it, and take it back. A partner's
record is compared with our copies of its CDRs whenever it is looked at, since CDRs may come later than it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.outgoing import Message
from chargeplane.app.roaming.partner_records import PartnerRecords
from chargeplane.app.roaming.replicas import ChangedObject
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.domain.roaming.reconciliation import Comparison, Finding, compared, record_said
from chargeplane.domain.settlements.model import SettlementKind
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import reconciliation as queries
from chargeplane.store.queries import settlements_of_partners as statements
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.reconciliation import ReceivedRecord, SentRecord

log = structlog.get_logger(__name__)

MODULE: Final = "invoicereconciliation"
POST_RECORD: Final = 53
PUT_RECORD: Final = 55
DELETE_RECORD: Final = 56
"""Rows of the table of endpoints."""

_KIND: Final = "invoice reconciliation record"
_PARTY: Final = re.compile(r"([A-Za-z]{2})\*([A-Za-z0-9]{3})")
_MOST: Final = 1000


class Peers(Protocol):
    """Who the partners are."""

    async def get(self, ident: int) -> Peer | None:
        """A connection."""
        ...

    async def peer_of(self, tenant_id: TenantId, party: PartyId, role: PartyRole | None = None) -> Peer | None:
        """The connection by which a party is reached."""
        ...


class NewRecord(Struct, frozen=True, kw_only=True):
    """A record that a person wants.

    Args:
        ident: as partners name it.
        cdrs: ids of our CDRs that the partner was told, or of its own that we received.
    """

    connection_id: int
    ident: str
    invoice_id: str
    cdrs: tuple[str, ...]


class _Made(Struct, frozen=True, kw_only=True):
    statement_id: str


_made = msgspec.json.Decoder(_Made).decode


class Reconciliation:
    """Use cases about them.

    Args:
        wake: called after something was noted for partners.
    """

    def __init__(
        self,
        database: Database,
        peers: Peers,
        records: PartnerRecords,
        events: EventFeed,
        *,
        wake: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._peers = peers
        self._records = records
        self._events = events
        self._wake = wake
        self._now = now

    # -- ours ----------------------------------------------------------------------------------------------------------

    async def stated(self, fact: Fact) -> None:
        """A statement was made: a roaming partner gets the record of its CDRs, once."""
        tenant_id, statement_id = TenantId(fact.tenant_id), int(_made(fact.payload).statement_id)
        async with self._database.read() as db:
            found = await statements.one(db, tenant_id, statement_id)
        if found is None or found.statement.kind is not SettlementKind.ROAMING:
            return
        named = _PARTY.fullmatch(found.statement.party)
        peer = None if named is None else await self._peers.peer_of(tenant_id, PartyId(named[1], named[2]))
        ours = None if peer is None else peer.own_party(PartyRole.CPO)
        if peer is None or ours is None:
            return  # a partner that is settled with otherwise
        async with self._database.change() as db:
            cdrs = await queries.stated_cdrs(db, statement_id, peer.id)
            if not cdrs:
                return
            key = await queries.insert(
                db,
                tenant_id,
                peer.id,
                (ours.id.country_code, ours.id.party_id),
                found.number[:36],
                found.number,
                cdrs,
                _truncated(self._now()),
                statement_id,
            )
            if key is None:
                return
            await self._note(db, tenant_id, key, peer.id)
        self._wake()

    async def sent_page(
        self, caller: Caller, connection_id: int | None, limit: int, after: Position | None
    ) -> list[SentRecord]:
        """Records of ours, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.sent_page(db, caller.tenant_id, connection_id, limit, after)

    async def sent(self, caller: Caller, key: int) -> SentRecord:
        """A record of ours.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.sent(db, caller.tenant_id, key)
        if found is None:
            raise NotFoundError(_KIND, str(key))
        return found

    async def make(self, caller: Caller, new: NewRecord) -> SentRecord:
        """A record for an invoice; the partner is told.

        Raises:
            InvalidInputError: there is no such partner, or a CDR that neither side told the other.
            ConflictError: there is a record of this id.
        """
        peer = await self._peers.get(new.connection_id)
        if peer is None or peer.tenant_id != caller.tenant_id:
            sentence = "There is no partner of this id"
            raise InvalidInputError(f"{sentence}.", (("/partner_id", sentence),))
        async with self._database.change() as db:
            role = await self._issuer(db, caller.tenant_id, peer.id, new.cdrs)
            ours = peer.own_party(role)
            if ours is None:
                raise ConflictError("The partner sees no party of ours.")
            key = await queries.insert(
                db,
                caller.tenant_id,
                peer.id,
                (ours.id.country_code, ours.id.party_id),
                new.ident,
                new.invoice_id,
                new.cdrs,
                _truncated(self._now()),
            )
            if key is None:
                raise ConflictError(f"There is a record '{new.ident}' already; ids are never given again.")
            await self._note(db, caller.tenant_id, key, peer.id)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind=_KIND,
                ident=str(key),
                after={"id": new.ident, "invoice_id": new.invoice_id, "cdrs": len(new.cdrs)},
            )
        self._wake()
        return await self.sent(caller, key)

    async def change(
        self, caller: Caller, key: int, invoice_id: str, cdrs: tuple[str, ...], if_revision: int | None
    ) -> SentRecord:
        """What a record says from now on; the partner is told.

        Raises:
            NotFoundError, InvalidInputError: as `sent` and `make`.
            ConflictError: it was taken back, or has another revision.
        """
        async with self._database.change() as db:
            before = await self._locked(db, caller, key, if_revision)
            await self._issuer(db, caller.tenant_id, before.connection_id, cdrs)
            await queries.replace(db, key, invoice_id, cdrs, self._after(before))
            await self._note(db, caller.tenant_id, key, before.connection_id)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind=_KIND,
                ident=str(key),
                before={"invoice_id": before.invoice_id, "cdrs": len(before.cdrs)},
                after={"invoice_id": invoice_id, "cdrs": len(cdrs)},
            )
        self._wake()
        return await self.sent(caller, key)

    async def take_back(self, caller: Caller, key: int) -> None:
        """A record was an error: the partner is told that there is none.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it was taken back already.
        """
        async with self._database.change() as db:
            before = await self._locked(db, caller, key, None)
            await queries.delete(db, key, self._after(before))
            await self._note(db, caller.tenant_id, key, before.connection_id)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind=_KIND,
                ident=str(key),
                before={"id": before.id},
            )
        self._wake()

    async def listed(
        self, peer: Peer, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
    ) -> tuple[int, list[bytes]]:
        """Our records that are for a partner: (how many match, documents)."""
        async with self._database.read() as db:
            return await queries.listed(db, peer.id, date_from, date_to, offset, limit)

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state of a record (a `Renderer` of outgoing)."""
        async with self._database.read() as db:
            row = await queries.sent(db, peer.tenant_id, int(key))
        if row is None:
            return None
        path = {"country_code": row.country_code, "party_id": row.party_id, "id": row.id}
        if row.deleted_at is not None:
            return Message(row=DELETE_RECORD, path=path) if row.taken else None
        if row.taken:
            return Message(row=PUT_RECORD, path=path, body=row.document)
        return Message(row=POST_RECORD, body=row.document)

    async def _locked(self, db: Db, caller: Caller, key: int, if_revision: int | None) -> SentRecord:
        found = await queries.sent(db, caller.tenant_id, key, lock=True)
        if found is None:
            raise NotFoundError(_KIND, str(key))
        if if_revision is not None and if_revision != found.revision:
            raise StaleError(found.id, found.revision)
        if found.deleted_at is not None:
            raise ConflictError("The record was taken back.")
        return found

    def _after(self, before: SentRecord) -> datetime:
        return max(_truncated(self._now()), before.last_updated + timedelta(milliseconds=1))

    async def _issuer(self, db: Db, tenant_id: TenantId, connection_id: int, cdrs: Sequence[str]) -> PartyRole:
        """As who we invoice these CDRs: as operator our own; as provider those that we received, which is reverse billing."""
        told = {one.lower() for one in await queries.told_cdrs(db, tenant_id, connection_id, cdrs)}
        came = await queries.received_ids(db, tenant_id, connection_id, cdrs)
        known = told if told or not came else came
        wrong = [
            (f"/cdrs/{place}", f"The partner and we know of no CDR '{one}' that this invoice can be for")
            for place, one in enumerate(cdrs)
            if one.lower() not in known
        ]
        if wrong:
            raise InvalidInputError(f"{wrong[0][1]}.", tuple(wrong[:20]))
        return PartyRole.CPO if known is told else PartyRole.EMSP

    async def _note(self, db: Db, tenant_id: TenantId, key: int, connection_id: int) -> None:
        await outgoing.note(db, tenant_id, MODULE, str(key), connections=[connection_id])

    # -- partners' -----------------------------------------------------------------------------------------------------

    async def came(self, db: Db, changed: Sequence[ChangedObject]) -> None:
        """Hook of the copies: records were written, or taken back."""
        for one in changed:
            if not one.document:
                await queries.received_gone(db, one.key)
                continue
            said = record_said(one.document)
            await queries.put_received(db, one.tenant_id, one.connection_id, one.key, said, as_utc(said.last_updated))

    def written(self, changed: Sequence[ChangedObject]) -> None:
        """After the commit: shown to whoever watches."""
        for one in changed:
            self._events.publish(
                "invoice_reconciliation.received",
                one.tenant_id,
                None,
                {
                    "id": str(one.key),
                    "partner": f"{one.country_code}*{one.party_id}",
                    "record_id": one.id,
                    "gone": not one.document,
                },
            )

    async def received_page(
        self, caller: Caller, connection_id: int | None, open: bool | None, limit: int, after: Position | None
    ) -> list[ReceivedRecord]:
        """Partners' records, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.received_page(db, caller.tenant_id, connection_id, open, limit, after)

    async def received(self, caller: Caller, key: int) -> tuple[ReceivedRecord, Comparison]:
        """A partner's record, compared with what we have; of what is missing there the oldest 1,000.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.received(db, caller.tenant_id, key)
            if found is None:
                raise NotFoundError(_KIND, str(key))
            return found, await self._compared(db, found)

    async def _compared(self, db: Db, record: ReceivedRecord) -> Comparison:
        known = await queries.known(db, record)
        theirs = [one.ended_at for one in known.values() if one.received]
        left = [] if not theirs else await queries.left_out(db, record, max(theirs), _MOST)
        return compared(record.cdrs, known, left)

    async def settle(
        self, caller: Caller, key: int, invoiced: Money | None, note: str | None, if_revision: int | None
    ) -> tuple[ReceivedRecord, Comparison]:
        """A person found a record right, or settled it otherwise.

        Args:
            invoiced: what the invoice asks, taxes included.
        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: the partner took it back, or it has another revision.
        """
        async with self._database.change() as db:
            found = await queries.received(db, caller.tenant_id, key, lock=True)
            if found is None:
                raise NotFoundError(_KIND, str(key))
            if if_revision is not None and if_revision != found.revision:
                raise StaleError(found.id, found.revision)
            if found.gone_at is not None:
                raise ConflictError("The partner took the record back.")
            amount: Decimal | None = None if invoiced is None else invoiced.amount
            currency = None if invoiced is None else invoiced.currency
            await queries.settle(db, key, amount, currency, self._now(), caller.actor, note)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="settle",
                kind=_KIND,
                ident=str(key),
                reason=note,
                after={"invoiced": None if amount is None else f"{amount} {currency}"},
            )
        return await self.received(caller, key)

    async def dispute(self, caller: Caller, key: int, reason: str, cdrs: Sequence[str] | None) -> list[int]:
        """Opens disputes about received CDRs of a record; our ids of those that are in dispute now.

        Args:
            cdrs: ids of the record; None: all that differ and are in no dispute.
        Raises:
            NotFoundError: the tenant has none such.
            InvalidInputError: one is not of the record, or we have none such.
            ConflictError: there is nothing to dispute, or one is in dispute or credited already.
        """
        _, comparison = await self.received(caller, key)
        async with self._database.read() as db:
            record = await queries.received(db, caller.tenant_id, key)
            known = {} if record is None else await queries.known(db, record)
        if cdrs is None:
            chosen = [
                one.cdr.key
                for one in comparison.compared
                if one.finding is Finding.DIFFERS and one.cdr is not None and one.cdr.dispute is None
            ]
            if not chosen:
                raise ConflictError("No CDR of the record differs that is in no dispute.")
        else:
            wrong = [
                (f"/cdr_ids/{place}", "The record names no CDR of this id that we received")
                for place, one in enumerate(cdrs)
                if one.lower() not in known or not known[one.lower()].received
            ]
            if wrong:
                raise InvalidInputError(f"'cdr_ids': {wrong[0][1]}.", tuple(wrong[:20]))
            chosen = list(dict.fromkeys(known[one.lower()].key for one in cdrs))
        for ident in chosen:
            await self._records.dispute(caller, ident, DisputeState.OPEN, reason)
        return chosen


def _truncated(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
