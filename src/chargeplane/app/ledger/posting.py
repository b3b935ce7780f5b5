"""Booking: called inside the database transaction of what is booked, so that neither is without the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from chargeplane.domain.ledger import Entry, digest_of, reversal
from chargeplane.domain.ledger.entries import checked
from chargeplane.kernel.errors import ConflictError, LocalProtocolError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries import ledger as queries
from chargeplane.store.queries.paging import Db


async def post(db: Db, tenant_id: TenantId, entry: Entry) -> int | None:
    """Books an entry; a repeat of its key books nothing.

    Args:
        db: of `Database.change`, the transaction that does what is booked.
    Returns:
        Our key of the entry, the first one's at a repeat; None where nothing is to be booked, all its postings being of nothing.
    Raises:
        LocalProtocolError: it does not balance, has fractions of a minor unit, or its key was booked with other postings.
    """
    entry = checked(entry)
    if not entry.postings:
        return None
    digest = digest_of(entry)
    before = await queries.booked(db, tenant_id, entry.key)
    if before is None:
        await queries.lock_period(db, tenant_id, exclusive=False)
        reverses = None
        if entry.reverses is not None:
            reversed_one = await queries.booked(db, tenant_id, entry.reverses)
            if reversed_one is None:
                raise NotFoundError("ledger entry", entry.reverses)
            reverses = reversed_one[0]
        day = entry.booked_on or entry.happened_at.astimezone(UTC).date()
        closed = await queries.closed_until(db, tenant_id)
        if closed is not None and day <= closed:
            day = closed + timedelta(days=1)
        ident = await queries.insert(db, tenant_id, entry, digest, day, reverses)
        if ident is not None:
            ids = await queries.accounts(db, tenant_id, [posting.account for posting in entry.postings])
            await queries.insert_postings(db, tenant_id, ident, entry.postings, ids)
            return ident
        before = await queries.booked(db, tenant_id, entry.key)
        assert before is not None
    if before[1] != digest:
        raise LocalProtocolError(f"'{entry.key}' was booked before, with other postings.")
    return before[0]


async def take_back(db: Db, tenant_id: TenantId, ident: int, reason: str, at: datetime) -> int:
    """Books the reversal of an entry; once.

    Raises:
        NotFoundError: the tenant has no such entry.
        ConflictError: it is a reversal itself.
    """
    found = await queries.one(db, tenant_id, ident)
    if found is None:
        raise NotFoundError("ledger entry", str(ident))
    if found.entry.reverses is not None:
        raise ConflictError(f"Entry {ident} is a reversal; book what is right instead.")
    made = await post(db, tenant_id, reversal(found.entry, key=f"reversal:{ident}", text=reason, at=at))
    assert made is not None
    return made
