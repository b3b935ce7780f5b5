"""Everything that holds something of a person: found and replaced wherever it stands in the database."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db

KEPT_BY_LAW: Final = frozenset(
    {"cdr", "invoice", "ledger_entry", "ledger_posting", "service_agreement", "service_agreement_version"}
)
"""Tables of records that tax and commercial law want kept as they were issued."""


_GIVEN_OUT: Final = frozenset(
    {
        "driver",
        "driver_id_token",
        "id_token",
        "vehicle",
        "login",
        "mailed_secret",
        "transaction",
        "charging_session",
        "booking",
        "payment",
    }
) | frozenset({"cdr", "invoice", "service_agreement", "service_agreement_version", "payment_account", "audit_log"})


class TextColumns(Struct, frozen=True, kw_only=True):
    """The columns of a table that hold text.

    Args:
        scope: the column by which rows belong to a tenant: tenant_id, station_key, or None.
        columns: names with their types.
    """

    table: str
    scope: str | None
    columns: tuple[tuple[str, str], ...]


async def text_columns(db: Db) -> list[TextColumns]:
    """All tables with text, JSON or arrays of text, by name; partitions stand for themselves under their parent."""
    rows = await db.fetch(
        "SELECT c.relname AS table, array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE format_type(a.atttypid, a.atttypmod)"
        "  IN ('text', 'jsonb', 'json', 'text[]') AND a.attgenerated = '') AS names,"
        " array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) FILTER (WHERE format_type(a.atttypid, a.atttypmod)"
        "  IN ('text', 'jsonb', 'json', 'text[]') AND a.attgenerated = '') AS types,"
        " bool_or(a.attname = 'tenant_id') AS by_tenant, bool_or(a.attname = 'station_key') AS by_station"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition GROUP BY 1 ORDER BY 1"
    )
    return [
        TextColumns(
            table=row["table"],
            scope="tenant_id" if row["by_tenant"] else "station_key" if row["by_station"] else None,
            columns=tuple(zip(row["names"], row["types"], strict=True)),
        )
        for row in rows
        if row["names"]
    ]


async def replace_in(db: Db, place: TextColumns, tenant_id: TenantId, words: Sequence[tuple[str, str]]) -> int:
    """Replaces words, without case, where they stand alone; how many rows changed.

    Args:
        words: each with what stands in its place.
    """
    scope, values = "true", []
    if place.scope is not None:
        values.append(tenant_id)
        scope = (
            "tenant_id = $1"
            if place.scope == "tenant_id"
            else "station_key IN (SELECT key FROM charging_station WHERE tenant_id = $1)"
        )
    changed = 0
    for word, instead in words:
        escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"(?<![[:alnum:]]){re.escape(word)}(?![[:alnum:]])"
        n = len(values)
        arguments: list[Any] = [*values, f"%{escaped}%", pattern, instead]
        sets = ", ".join(
            f'"{name}" = regexp_replace("{name}"::text, ${n + 2}, ${n + 3}, \'gi\')::{kind}'
            for name, kind in place.columns
        )
        holds = " OR ".join(f'"{name}"::text ILIKE ${n + 1}' for name, _ in place.columns)
        status = await db.execute(f'UPDATE "{place.table}" SET {sets} WHERE {scope} AND ({holds})', *arguments)
        changed += int(status.rpartition(" ")[2])
    return changed


async def count_places(db: Db, tenant_id: TenantId, words: Sequence[str]) -> dict[str, int]:
    """In how many rows of which tables words stand, without case; tables of which everything is given out already are left out."""
    found = {}
    for place in await text_columns(db):
        if place.table in _GIVEN_OUT or place.scope is None:
            continue
        scope = (
            "tenant_id = $1"
            if place.scope == "tenant_id"
            else "station_key IN (SELECT key FROM charging_station WHERE tenant_id = $1)"
        )
        holds = " OR ".join(f'"{name}"::text ILIKE ANY($2)' for name, _ in place.columns)
        sought = ["%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%" for word in words]
        count = await db.fetchval(
            f'SELECT count(*) FROM "{place.table}" WHERE {scope} AND ({holds})', tenant_id, sought
        )
        if count:
            found[place.table] = count
    return found


async def forget_rows(db: Db, tenant_id: TenantId, driver_id: int) -> None:
    """Deletes what is about the driver alone, and empties what was written down about the driver."""
    text = str(driver_id)
    await db.execute(
        "UPDATE audit_log SET before = NULL, after = NULL, reason = NULL WHERE tenant_id = $1 AND (object_kind = 'driver'"
        " AND object_id = $2 OR object_kind = 'vehicle' AND object_id IN (SELECT id::text FROM vehicle WHERE driver_id = $3)"
        " OR object_kind = 'id-token' AND object_id IN (SELECT id_token_id::text FROM driver_id_token WHERE driver_id = $3))",
        tenant_id,
        text,
        driver_id,
    )
    await db.execute(
        "DELETE FROM idempotency_key WHERE tenant_id = $1 AND (route LIKE $2 OR route LIKE '%/v1/drivers%'"
        " OR route LIKE '%/v1/vehicles%' OR route LIKE '%/v1/id-tokens%' OR route LIKE '%/v1/service-agreements%'"
        " OR route LIKE '%/v1/invoice%' OR route LIKE '%/v1/bookings%' OR route LIKE '%/v1/charging-stations%'"
        " OR route LIKE '%/v1/rfid-cards%' OR route LIKE '%/v1/wallets%')",
        tenant_id,
        f"driver:{driver_id} %",
    )
    for table in ("login", "mailed_secret", "mail", "vehicle"):
        await db.execute(f"DELETE FROM {table} WHERE driver_id = $1", driver_id)
    await db.execute("DELETE FROM rfid_card WHERE driver_id = $1", driver_id)
    await db.execute("DELETE FROM payment_method WHERE tenant_id = $1 AND owner = $2", tenant_id, str(driver_id))
    # Whom future invoices are for; those that were issued say it themselves.
    await db.execute(
        "DELETE FROM invoice_customer WHERE tenant_id = $1 AND kind = 'driver' AND id = $2", tenant_id, text
    )
    await db.execute(
        "DELETE FROM id_token WHERE tenant_id = $1 AND id IN (SELECT id_token_id FROM driver_id_token WHERE driver_id = $2)",
        tenant_id,
        driver_id,
    )
    await db.execute(
        "UPDATE driver SET status = 'erased', status_reason = NULL, email = NULL, email_key = NULL, email_verified_at = NULL,"
        " password_hash = NULL, external_id = NULL, user_groups = '{}', body = '{}', search = '', revision = revision + 1,"
        " updated_at = now(), erased_at = now() WHERE id = $1",
        driver_id,
    )


async def open_transactions_of(db: Db, tenant_id: TenantId, driver_id: int) -> int:
    """How many transactions of the driver run."""
    count: int = await db.fetchval(
        "SELECT count(*) FROM driver_id_token d JOIN id_token i ON i.id = d.id_token_id JOIN open_transaction o"
        " ON o.tenant_id = $1 AND o.token_key = i.token_key WHERE d.driver_id = $2",
        tenant_id,
        driver_id,
    )
    return count


async def begin_request(db: Db, tenant_id: TenantId, driver_id: int, kind: str, by: str) -> int:
    """Notes that a person's data are asked for, or are to be erased; our id of it."""
    ident: int = await db.fetchval(
        "INSERT INTO data_request (tenant_id, driver_id, kind, state, asked_by) VALUES ($1, $2, $3, 'running', $4) RETURNING id",
        tenant_id,
        driver_id,
        kind,
        by,
    )
    return ident


async def seal_request(db: Db, ident: int, sealed: bytes, topic: str, tenant_id: TenantId) -> None:
    """What an erasure looks for, encrypted, and the fact that it is to be done."""
    await db.execute("UPDATE data_request SET sealed = $2 WHERE id = $1", ident, sealed)
    await db.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload) VALUES ($1, $2, $3, $4)",
        tenant_id,
        topic,
        f"data request {ident}",
        str(ident),
    )


async def sealed_request(db: Db, ident: int) -> tuple[TenantId, int, bytes] | None:
    """What an erasure looks for; None where it is done."""
    row = await db.fetchrow(
        "SELECT tenant_id, driver_id, sealed FROM data_request WHERE id = $1 AND sealed IS NOT NULL", ident
    )
    return None if row is None else (row["tenant_id"], row["driver_id"], row["sealed"])


async def end_request(db: Db, ident: int, result: str) -> None:
    """Notes that it is done; what was looked for is forgotten."""
    await db.execute(
        "UPDATE data_request SET state = 'done', sealed = NULL, result = $2::text::jsonb, finished_at = now() WHERE id = $1",
        ident,
        result,
    )
