"""Payment terminals, what was captured at them, and the sessions that are paid there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.roaming.terminals import TerminalSaid, TerminalStatus, shown, terminal_said
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db, Position, Sorts, Where


class TerminalRow(Struct, frozen=True, kw_only=True):
    """A terminal.

    Args:
        told: as its provider has it; `said`: what we as operator say of it.
        added: by EVSE uid, ways to pay that it added there.
    """

    key: int
    tenant_id: TenantId
    own: bool
    connection_id: int | None
    terminal_id: str
    status: TerminalStatus
    told: bytes
    said: bytes
    ways: tuple[PaymentMethod, ...]
    added: dict[str, list[PaymentMethod]]
    last_updated: datetime
    revision: int
    created_at: datetime
    updated_at: datetime

    @property
    def document(self) -> bytes:
        """As it is now (canonical)."""
        return shown(self.told, self.said, self.last_updated)

    @property
    def now(self) -> TerminalSaid:
        """What it says now."""
        return terminal_said(self.document)


_COLUMNS: Final = "key, tenant_id, own, connection_id, terminal_id, status, told, said, ways, added, last_updated, revision, created_at, updated_at"
_added = msgspec.json.Decoder(dict[str, list[PaymentMethod]]).decode


def _row(row: Any) -> TerminalRow:
    said = dict(row)
    return TerminalRow(
        **{
            **said,
            "status": TerminalStatus(said["status"]),
            "told": said["told"].encode(),
            "said": said["said"].encode(),
            "ways": tuple(PaymentMethod(one) for one in said["ways"]),
            "added": _added(said["added"]),
        }
    )


async def terminal(db: Db, tenant_id: TenantId, key: int, *, lock: bool = False) -> TerminalRow | None:
    """A terminal by our key."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM payment_terminal WHERE tenant_id = $1 AND key = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        key,
    )
    return None if row is None else _row(row)


async def received(db: Db, connection_id: int, terminal_id: str, *, lock: bool = False) -> TerminalRow | None:
    """A partner's terminal by its id."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM payment_terminal WHERE connection_id = $1 AND lower(terminal_id) = lower($2) AND NOT own"
        f"{' FOR UPDATE' if lock else ''}",
        connection_id,
        terminal_id,
    )
    return None if row is None else _row(row)


async def own(db: Db, tenant_id: TenantId, terminal_id: str, *, lock: bool = False) -> TerminalRow | None:
    """A terminal of ours by its id."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM payment_terminal WHERE tenant_id = $1 AND lower(terminal_id) = lower($2) AND own"
        f"{' FOR UPDATE' if lock else ''}",
        tenant_id,
        terminal_id,
    )
    return None if row is None else _row(row)


async def own_by_reference(db: Db, tenant_id: TenantId, reference: str) -> TerminalRow | None:
    """A terminal of ours by what is printed on it, locked; None where there is none, or several."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM payment_terminal WHERE tenant_id = $1 AND own AND lower(told::jsonb ->> 'reference') = lower($2)"
        " ORDER BY key LIMIT 2 FOR UPDATE",
        tenant_id,
        reference,
    )
    return _row(rows[0]) if len(rows) == 1 else None


class TerminalFilter(Struct, frozen=True, kw_only=True):
    """Which terminals."""

    own: bool | None = None
    connection_id: int | None = None
    status: TerminalStatus | None = None
    location_id: str | None = None
    evse_uid: str | None = None


TERMINAL_SORTS: Final = Sorts("key", ident_of=lambda one: (one.key,))


async def page(
    db: Db, tenant_id: TenantId, wanted: TerminalFilter, limit: int, after: Position | None
) -> list[TerminalRow]:
    """Terminals, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("own = ?", wanted.own)
    where.add_if("connection_id = ?", wanted.connection_id)
    where.add_if("status = ?", None if wanted.status is None else wanted.status.value)
    if wanted.location_id is not None:
        where.add("location_keys @> ARRAY[lower(?)]", wanted.location_id)
    if wanted.evse_uid is not None:
        where.add("evse_keys @> ARRAY[lower(?)]", wanted.evse_uid)
    order = TERMINAL_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM payment_terminal WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_row(row) for row in rows]


async def listed(
    db: Db, connection_id: int, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
) -> tuple[int, list[bytes]]:
    """Part of what an operator may read of our terminals, in the order of creation: (how many match, documents)."""
    return await _listed(
        db, "payment_terminal", "told", "status <> 'stored'", connection_id, date_from, date_to, offset, limit
    )


async def _listed(
    db: Db,
    table: str,
    column: str,
    more: str,
    connection_id: int,
    date_from: datetime | None,
    date_to: datetime | None,
    offset: int,
    limit: int,
) -> tuple[int, list[bytes]]:
    where = Where()
    where.add(f"own AND {more} AND connection_id = ?", connection_id)
    where.add_if("last_updated >= ?", date_from)
    where.add_if("last_updated < ?", date_to)
    total = await db.fetchval(f"SELECT count(*) FROM {table} WHERE {where}", *where.values)
    where.values += [limit, offset]
    rows = await db.fetch(
        f"SELECT {column} AS body FROM {table} WHERE {where} ORDER BY key LIMIT ${len(where.values) - 1}"
        f" OFFSET ${len(where.values)}",
        *where.values,
    )
    return total, [row["body"].encode() for row in rows]


async def insert(
    db: Db,
    tenant_id: TenantId,
    *,
    own: bool,
    connection_id: int | None,
    terminal_id: str,
    status: TerminalStatus,
    told: bytes,
    ways: Sequence[PaymentMethod],
    at: datetime,
) -> int | None:
    """A new terminal; its key, None where there is one of this id."""
    said = terminal_said(told)
    key: int | None = await db.fetchval(
        "INSERT INTO payment_terminal (tenant_id, own, connection_id, terminal_id, status, told, ways, ways_wanted, location_keys, evse_keys,"
        " last_updated) VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $2 THEN 0 ELSE 1 END, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING key",
        tenant_id,
        own,
        connection_id,
        terminal_id,
        status.value,
        told.decode(),
        [one.value for one in ways],
        [one.lower() for one in said.location_ids],
        [one.lower() for one in said.evse_uids],
        at,
    )
    return key


async def save(db: Db, row: TerminalRow) -> None:
    """Writes what changed of a terminal; a partner's has its EVSEs looked at."""
    said = row.now
    await db.execute(
        "UPDATE payment_terminal SET connection_id = $2, status = $3, told = $4, said = $5, ways = $6,"
        " ways_wanted = ways_wanted + CASE WHEN own THEN 0 ELSE 1 END,"
        " location_keys = $7, evse_keys = $8, last_updated = $9, revision = revision + 1, updated_at = now() WHERE key = $1",
        row.key,
        row.connection_id,
        row.status.value,
        row.told.decode(),
        row.said.decode(),
        [one.value for one in row.ways],
        [one.lower() for one in said.location_ids],
        [one.lower() for one in said.evse_uids],
        row.last_updated,
    )


async def unknown_places(
    db: Db, tenant_id: TenantId, location_ids: Sequence[str], evse_uids: Sequence[str]
) -> tuple[set[int], set[int]]:
    """Which of these locations and EVSEs we don't have: by their places in the sequences."""
    rows = await db.fetch(
        "SELECT 'l' AS kind, u.n FROM unnest($2::text[]) WITH ORDINALITY AS u(id, n) WHERE NOT EXISTS (SELECT FROM location l"
        " WHERE l.tenant_id = $1 AND lower(l.id) = lower(u.id) AND l.deleted_at IS NULL)"
        " UNION ALL SELECT 'e', u.n FROM unnest($3::text[]) WITH ORDINALITY AS u(id, n) WHERE NOT EXISTS (SELECT FROM evse e"
        " WHERE e.tenant_id = $1 AND lower(e.uid) = lower(u.id) AND e.removed_at IS NULL)",
        tenant_id,
        list(location_ids),
        list(evse_uids),
    )
    return {row["n"] - 1 for row in rows if row["kind"] == "l"}, {row["n"] - 1 for row in rows if row["kind"] == "e"}


async def ways_due(db: Db, limit: int) -> list[tuple[TenantId, int, int]]:
    """Partners' terminals whose EVSEs are to be brought to them: tenant, key, and what `ways_told` is to be told."""
    rows = await db.fetch(
        "SELECT tenant_id, key, ways_wanted FROM payment_terminal WHERE ways_wanted <> ways_done ORDER BY key LIMIT $1",
        limit,
    )
    return [(TenantId(row["tenant_id"]), row["key"], row["ways_wanted"]) for row in rows]


async def ways_told(db: Db, key: int, added: dict[str, list[PaymentMethod]], done: int | None) -> None:
    """What a terminal added to which EVSEs.

    Args:
        done: as `ways_due` gave it, where all was brought: what was wanted since then is still due. None: not all was.
    """
    await db.execute(
        "UPDATE payment_terminal SET added = $2, ways_done = coalesce($3, ways_done) WHERE key = $1",
        key,
        msgspec.json.encode(added).decode(),
        done,
    )


async def served(db: Db, row: TerminalRow) -> list[str]:
    """Uids of the EVSEs at which one can pay at a partner's terminal: those it names, and all of the locations it names."""
    said = row.now
    rows = await db.fetch(
        "SELECT e.uid FROM evse e JOIN location l ON l.key = e.location_key WHERE e.tenant_id = $1 AND e.removed_at IS NULL"
        " AND l.deleted_at IS NULL AND (lower(e.uid) = ANY($2) OR lower(l.id) = ANY($3)) ORDER BY e.uid",
        row.tenant_id,
        [one.lower() for one in said.evse_uids],
        [one.lower() for one in said.location_ids],
    )
    return [found["uid"] for found in rows]


_SERVING: Final = (
    "NOT own AND status = 'active' AND (evse_keys @> ARRAY[lower($2)] OR location_keys @> ARRAY[lower($3)])"
)


async def look_again(db: Db, tenant_id: TenantId, evse_uid: str) -> None:
    """Has the active terminals that serve an EVSE say again how one can pay there."""
    await db.execute(
        "UPDATE payment_terminal t SET ways_wanted = ways_wanted + 1 FROM evse e JOIN location l ON l.key = e.location_key"
        " WHERE e.tenant_id = $1 AND lower(e.uid) = lower($2) AND t.tenant_id = $1 AND NOT t.own AND t.status = 'active'"
        " AND (t.evse_keys @> ARRAY[lower(e.uid)] OR t.location_keys @> ARRAY[lower(l.id)])",
        tenant_id,
        evse_uid,
    )


async def invoice_creator(
    db: Db, tenant_id: TenantId, connection_id: int, evse_uid: str, location_id: str
) -> str | None:
    """Who makes the invoices of a partner's terminals at an EVSE; None where none there says."""
    found: str | None = await db.fetchval(
        "SELECT coalesce(said::jsonb ->> 'invoice_creator', told::jsonb ->> 'invoice_creator') AS who FROM payment_terminal"
        f" WHERE tenant_id = $1 AND {_SERVING} AND connection_id = $4 ORDER BY who, key LIMIT 1",
        tenant_id,
        evse_uid,
        location_id,
        connection_id,
    )
    return found


# Confirmations


class ConfirmationRow(Struct, frozen=True, kw_only=True):
    """What was captured at a terminal.

    Args:
        session_id: ours that it pays; None where none is known.
        payment_id: the session's.
        owed: what the session's CDRs say together; None where there are none.
        taken: what all confirmations of the session say together, in the currency of its payment; None where none does.
    """

    key: int
    tenant_id: TenantId
    own: bool
    connection_id: int
    confirmation_id: str
    reference: str
    capture_status: str
    currency: str
    total_excl: Decimal
    total_incl: Decimal
    document: bytes
    session_id: int | None
    last_updated: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    revision: int
    created_at: datetime
    payment_id: int | None
    owed: Decimal | None
    owed_currency: str | None
    taken: Decimal | None


_TAKEN: Final = (
    "(SELECT sum(o.total_incl) FROM payment_confirmation o WHERE o.session_id = c.session_id AND NOT o.own"
    " AND o.capture_status <> 'FAILED' AND o.currency = p.currency)"
)
_CONFIRMATION: Final = (
    "c.key, c.tenant_id, c.own, c.connection_id, c.confirmation_id, c.reference, c.capture_status, c.currency, c.total_excl,"
    " c.total_incl, c.document, c.session_id, c.last_updated, c.resolved_at, c.resolved_by, c.resolution, c.revision, c.created_at,"
    f" t.payment_id, p.to_capture AS owed, p.currency AS owed_currency, {_TAKEN} AS taken"
)
_FROM: Final = "payment_confirmation c LEFT JOIN terminal_session t ON t.session_id = c.session_id LEFT JOIN payment p ON p.id = t.payment_id"


def _confirmation(row: Any) -> ConfirmationRow:
    return ConfirmationRow(**{**row, "document": row["document"].encode()})


async def confirmation(db: Db, tenant_id: TenantId, key: int, *, lock: bool = False) -> ConfirmationRow | None:
    """A confirmation by our key."""
    row = await db.fetchrow(
        f"SELECT {_CONFIRMATION} FROM {_FROM} WHERE c.tenant_id = $1 AND c.key = $2{' FOR UPDATE OF c' if lock else ''}",
        tenant_id,
        key,
    )
    return None if row is None else _confirmation(row)


async def confirmation_of(
    db: Db, connection_id: int, confirmation_id: str, *, own: bool, lock: bool = False
) -> ConfirmationRow | None:
    """A confirmation that a partner told, or was told, by its id."""
    row = await db.fetchrow(
        f"SELECT {_CONFIRMATION} FROM {_FROM} WHERE c.connection_id = $1 AND lower(c.confirmation_id) = lower($2) AND c.own = $3"
        f"{' FOR UPDATE OF c' if lock else ''}",
        connection_id,
        confirmation_id,
        own,
    )
    return None if row is None else _confirmation(row)


async def own_confirmation(db: Db, tenant_id: TenantId, confirmation_id: str) -> ConfirmationRow | None:
    """A confirmation of ours by its id, locked."""
    row = await db.fetchrow(
        f"SELECT {_CONFIRMATION} FROM {_FROM} WHERE c.tenant_id = $1 AND lower(c.confirmation_id) = lower($2) AND c.own FOR UPDATE OF c",
        tenant_id,
        confirmation_id,
    )
    return None if row is None else _confirmation(row)


async def confirmations_of_session(db: Db, session_id: int) -> list[ConfirmationRow]:
    """What was told of a session of ours, oldest first."""
    rows = await db.fetch(f"SELECT {_CONFIRMATION} FROM {_FROM} WHERE c.session_id = $1 ORDER BY c.key", session_id)
    return [_confirmation(row) for row in rows]


async def taken(db: Db, session_id: int, currency: str) -> Decimal:
    """What was captured of a session in all, taxes included: what its confirmations say that did not fail, in one currency."""
    total: Decimal = await db.fetchval(
        "SELECT coalesce(sum(total_incl), 0) FROM payment_confirmation WHERE session_id = $1 AND NOT own"
        " AND capture_status <> 'FAILED' AND currency = $2",
        session_id,
        currency,
    )
    return total


class ConfirmationFilter(Struct, frozen=True, kw_only=True):
    """Which confirmations.

    Args:
        open: partners' that a person has to look at, or not.
    """

    own: bool | None = None
    connection_id: int | None = None
    reference: str | None = None
    session_id: int | None = None
    open: bool | None = None


_OPEN: Final = (
    "(NOT c.own AND c.resolved_at IS NULL AND CASE WHEN c.capture_status = 'FAILED' THEN coalesce(p.to_capture > 0, true)"
    f" ELSE p.to_capture IS NOT NULL AND (p.currency <> c.currency OR p.to_capture <> {_TAKEN}) END)"
)


CONFIRMATION_SORTS: Final = Sorts("c.key", ident_of=lambda one: (one.key,))


async def confirmations(
    db: Db, tenant_id: TenantId, wanted: ConfirmationFilter, limit: int, after: Position | None
) -> list[ConfirmationRow]:
    """Confirmations, newest first."""
    where = Where()
    where.add("c.tenant_id = ?", tenant_id)
    where.add_if("c.own = ?", wanted.own)
    where.add_if("c.connection_id = ?", wanted.connection_id)
    where.add_if("lower(c.reference) = lower(?)", wanted.reference)
    where.add_if("c.session_id = ?", wanted.session_id)
    if wanted.open is not None:
        where.add(_OPEN if wanted.open else f"NOT {_OPEN}")
    order = CONFIRMATION_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_CONFIRMATION} FROM {_FROM} WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_confirmation(row) for row in rows]


async def confirmations_listed(
    db: Db, connection_id: int, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
) -> tuple[int, list[bytes]]:
    """Part of what an operator may read of our confirmations, in the order of creation: (how many match, documents)."""
    return await _listed(
        db, "payment_confirmation", "document", "true", connection_id, date_from, date_to, offset, limit
    )


class NewConfirmation(Struct, frozen=True, kw_only=True):
    """A confirmation as it is written."""

    own: bool
    connection_id: int
    confirmation_id: str
    reference: str
    capture_status: str
    currency: str
    total_excl: Decimal
    total_incl: Decimal
    document: bytes
    last_updated: datetime
    session_id: int | None = None


async def put_confirmation(db: Db, tenant_id: TenantId, new: NewConfirmation, key: int | None) -> int:
    """Writes a confirmation; its key.

    Args:
        key: of the one whose place it takes, which is to be looked at anew.
    """
    values = (
        new.reference, new.capture_status, new.currency, new.total_excl, new.total_incl, new.document.decode(), new.session_id,
        new.last_updated,
    )  # fmt: skip
    if key is not None:
        await db.execute(
            "UPDATE payment_confirmation SET reference = $2, capture_status = $3, currency = $4, total_excl = $5, total_incl = $6,"
            " document = $7, session_id = $8, last_updated = $9, revision = revision + 1, resolved_at = NULL, resolved_by = NULL,"
            " resolution = NULL WHERE key = $1",
            key,
            *values,
        )
        return key
    made: int = await db.fetchval(
        "INSERT INTO payment_confirmation (reference, capture_status, currency, total_excl, total_incl, document, session_id, last_updated,"
        " tenant_id, own, connection_id, confirmation_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING key",
        *values,
        tenant_id,
        new.own,
        new.connection_id,
        new.confirmation_id,
    )
    return made


async def bind_confirmation(db: Db, key: int, session_id: int) -> None:
    """The session that a confirmation pays has begun."""
    await db.execute("UPDATE payment_confirmation SET session_id = $2 WHERE key = $1", key, session_id)


async def resolve(db: Db, key: int, at: datetime, by: str, resolution: str) -> None:
    """A person has looked at a confirmation."""
    await db.execute(
        "UPDATE payment_confirmation SET resolved_at = $2, resolved_by = $3, resolution = $4, revision = revision + 1 WHERE key = $1",
        key,
        at,
        by,
        resolution,
    )


# Sessions at terminals


class TerminalSession(Struct, frozen=True, kw_only=True):
    """A session of ours that is paid at a partner's terminal."""

    session_id: int
    tenant_id: TenantId
    connection_id: int
    reference: str
    payment_id: int


async def session(db: Db, session_id: int) -> TerminalSession | None:
    """A session that is paid at a terminal; None where it is not."""
    row = await db.fetchrow(
        "SELECT session_id, tenant_id, connection_id, reference, payment_id FROM terminal_session WHERE session_id = $1",
        session_id,
    )
    return None if row is None else TerminalSession(**row)


async def session_by_reference(db: Db, connection_id: int, reference: str) -> TerminalSession | None:
    """The session of a partner's reference; of several the newest."""
    row = await db.fetchrow(
        "SELECT session_id, tenant_id, connection_id, reference, payment_id FROM terminal_session"
        " WHERE connection_id = $1 AND lower(reference) = lower($2) ORDER BY session_id DESC LIMIT 1",
        connection_id,
        reference,
    )
    return None if row is None else TerminalSession(**row)


async def put_session(db: Db, new: TerminalSession) -> None:
    """Notes that a session is paid at a terminal, and what was told of it before; a repeat changes nothing."""
    await db.execute(
        "INSERT INTO terminal_session (session_id, tenant_id, connection_id, reference, payment_id) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT DO NOTHING",
        new.session_id,
        new.tenant_id,
        new.connection_id,
        new.reference,
        new.payment_id,
    )
