"""Id tokens as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from chargeplane.domain.authorization import IdTokenRecord, token_key
from chargeplane.domain.messages import AuthorizationStatus
from chargeplane.domain.token_rules import TokenRules
from chargeplane.kernel.ids import TenantId
from chargeplane.store.held import EFFECTIVE_CREDIT_WH, EFFECTIVE_STATUS
from chargeplane.store.queries.paging import Db, Position, Sorts, Where, by_text, like


class TokenHold(Struct, frozen=True, kw_only=True):
    """What a service agreement holds an id token to, beside what the operator set.

    Args:
        agreement_id: of the agreement.
        status: what stations are told instead of Accepted; null where it may charge within the limits.
        reason: one sentence.
        concurrent_limit: transactions it may have open at a time; null for no limit.
        left_wh: what is left of the month's energy; null for no limit.
        since: of the present hold.
    """

    agreement_id: str
    status: str | None
    reason: str
    concurrent_limit: int | None
    left_wh: Decimal | None
    since: datetime


class IdTokenView(Struct, frozen=True, kw_only=True):
    """Whom stations let charge.

    Args:
        id: ours.
        id_token: as given; matched without case.
        type: OCPP 2.x IdTokenEnum word; OCPP 1.6 has no types, there a tag matches any.
        status: Accepted, Blocked, Expired, Invalid.
        concurrent_limit: transactions at a time; null for no limit.
        rules: where, when and how much; null for no rules.
        credit_wh, credit: what is left of a prepaid account, in Wh and in money; null where it is none.
        held: what an agreement holds it to; null where none does.
        revision: rises with every change; the ETag.
    """

    id: str
    id_token: str
    type: str
    status: str
    valid_from: datetime | None
    valid_until: datetime | None
    group_id: str | None
    language: str | None
    personal_message: str | None
    concurrent_limit: int | None
    rules: TokenRules | None
    credit_wh: Decimal | None
    credit: Decimal | None
    note: str | None
    held: TokenHold | None
    revision: int
    created_at: datetime
    updated_at: datetime


class IdTokenFilter(Struct, frozen=True, kw_only=True):
    """Which id tokens. `q` is looked for in id token, group and note, without case."""

    id_token: str | None = None
    type: str | None = None
    status: str | None = None
    group_id: str | None = None
    q: str | None = None


_COLUMNS = (
    "id::text AS id, id_token, type, status, valid_from, valid_until, group_id, language, personal_message,"
    " concurrent_limit, rules, credit_wh, credit, note, revision, created_at, updated_at,"
    " held_by, held_status, held_reason, held_concurrent, held_wh, held_at"
)


_decode_rules = msgspec.json.Decoder(TokenRules).decode


def _view(row: Any) -> IdTokenView:
    fields = {name: value for name, value in row.items() if not name.startswith("held_")}
    rules = fields["rules"]
    fields["rules"] = None if rules is None else _decode_rules(rules)
    return IdTokenView(**fields, held=None if row["held_by"] is None else _hold(row))


def _hold(row: Any) -> TokenHold:
    return TokenHold(
        agreement_id=str(row["held_by"]),
        status=row["held_status"],
        reason=row["held_reason"],
        concurrent_limit=row["held_concurrent"],
        left_wh=row["held_wh"],
        since=row["held_at"],
    )


def _value(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, TokenRules) else value


def _place(name: str, number: int) -> str:
    return f"${number}::text::jsonb" if name == "rules" else f"${number}"


ID_TOKEN_SORTS: Final = Sorts("id_token.id", id_token=by_text("id_token.id_token"))


async def page(
    db: Db, tenant_id: TenantId, wanted: IdTokenFilter, limit: int, after: Position | None
) -> list[IdTokenView]:
    """Id tokens, newest first."""
    where = Where()
    where.add("tenant_id = ?", tenant_id)
    where.add_if("token_key = ?", None if wanted.id_token is None else token_key(wanted.id_token))
    where.add_if("type = ?", wanted.type)
    where.add_if("status = ?", wanted.status)
    where.add_if("group_id = ?", wanted.group_id)
    if wanted.q is not None:
        lowered, folded = wanted.q.lower(), token_key(wanted.q)
        texts = [lowered] if lowered == folded else [lowered, folded]
        # The grams find candidates by the index; the pattern decides. A text of one or two letters has none.
        places = ["(search LIKE ? AND search_grams(search) @> coalesce(search_grams(?), '{}'))" for _ in texts]
        where.add(f"({' OR '.join(places)})", *(value for one in texts for value in (like(one), one)))
    order = ID_TOKEN_SORTS.begin(where, after)
    where.values.append(limit)
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM id_token WHERE {where} ORDER BY {order} LIMIT ${len(where.values)}",
        *where.values,
    )
    return [_view(row) for row in rows]


async def one(db: Db, tenant_id: TenantId, ident: int, *, lock: bool = False) -> IdTokenView | None:
    """The id token with our id.

    Args:
        lock: until the transaction ends.
    """
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM id_token WHERE tenant_id = $1 AND id_token.id = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        ident,
    )
    return None if row is None else _view(row)


async def insert(db: Db, tenant_id: TenantId, columns: dict[str, Any]) -> IdTokenView:
    """A new id token.

    Raises:
        asyncpg.UniqueViolationError: the tenant has one with this type and id token.
    """
    names = ["tenant_id", "token_key", *columns]
    values = [tenant_id, token_key(columns["id_token"]), *map(_value, columns.values())]
    places = ", ".join(_place(name, i) for i, name in enumerate(names, 1))
    row = await db.fetchrow(
        f"INSERT INTO id_token ({', '.join(names)}) VALUES ({places}) RETURNING {_COLUMNS}",
        *values,
    )
    assert row is not None  # RETURNING gives the row
    return _view(row)


async def update(db: Db, ident: int, columns: dict[str, Any]) -> IdTokenView:
    """Changes columns and raises the revision.

    Raises:
        asyncpg.UniqueViolationError: the tenant has another with this type and id token.
    """
    if "id_token" in columns:
        columns = {**columns, "token_key": token_key(columns["id_token"])}
    changes = [f"{name} = {_place(name, i)}" for i, name in enumerate(columns, 2)]
    row = await db.fetchrow(
        f"UPDATE id_token SET {', '.join([*changes, 'revision = revision + 1', 'updated_at = now()'])}"
        f" WHERE id = $1 RETURNING {_COLUMNS}",
        ident,
        *map(_value, columns.values()),
    )
    assert row is not None  # an id that is not there was refused before
    return _view(row)


async def delete(db: Db, tenant_id: TenantId, ident: int) -> IdTokenView | None:
    """Removes an id token; what it was."""
    row = await db.fetchrow(
        f"DELETE FROM id_token WHERE tenant_id = $1 AND id_token.id = $2 RETURNING {_COLUMNS}",
        tenant_id,
        ident,
    )
    return None if row is None else _view(row)


async def records(db: Db, tenant_id: TenantId, value: str) -> list[IdTokenRecord]:
    """Every record of the tenant whose id equals the value without case."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM id_token WHERE tenant_id = $1 AND token_key = $2", tenant_id, token_key(value)
    )
    return [record_of(row) for row in rows]


async def ticks(db: Db) -> dict[TenantId, int]:
    """A number a tenant that rises with every change of its id tokens; tenants that never had any are absent."""
    return {TenantId(row[0]): row[1] for row in await db.fetch("SELECT tenant_id, ticks FROM id_token_clock")}


async def candidates(
    db: Db, tenant_id: TenantId, group_ids: Sequence[str] | None, refused: bool, most: int
) -> list[IdTokenRecord]:
    """What may stand on local lists, the ones that changed last first; no prepaid ones, whose every use is a change.

    Args:
        group_ids: of these groups only, without case; None for all.
        refused: those that are not accepted, too.
    """
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM id_token WHERE tenant_id = $1 AND ($2::text[] IS NULL OR lower(group_id) = ANY($2))"
        f" AND ($3 OR {EFFECTIVE_STATUS} = 'Accepted')"
        f" AND ({EFFECTIVE_STATUS} <> 'Accepted' OR {EFFECTIVE_CREDIT_WH} IS NULL AND credit IS NULL)"
        f" ORDER BY {EFFECTIVE_STATUS} = 'Accepted' DESC, updated_at DESC, id_token.id LIMIT $4",
        tenant_id,
        None if group_ids is None else [group.lower() for group in group_ids],
        refused,
        most,
    )
    return [record_of(row) for row in rows]


N = TypeVar("N", int, Decimal)


def _least(one: N | None, other: N | None) -> N | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def record_of(row: Any) -> IdTokenRecord:
    """A row as the domain knows it: with what agreements hold it to, as `store/held.py` has it in SQL."""
    rules = row["rules"]
    status = row["status"]
    if status == "Accepted":
        status = row["held_status"] or status
    return IdTokenRecord(
        value=row["id_token"],
        type=row["type"],
        status=AuthorizationStatus(status),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        group_id=row["group_id"],
        language=row["language"],
        personal_message=row["personal_message"],
        concurrent_limit=_least(row["concurrent_limit"], row["held_concurrent"]),
        rules=None if rules is None else _decode_rules(rules),
        credit_wh=_least(row["credit_wh"], row["held_wh"]),
        credit=row["credit"],
    )
