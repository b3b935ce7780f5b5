"""What a hub remembers of what passed through it: whose an object is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from msgspec import Struct

from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class Remembered(Struct, frozen=True, kw_only=True):
    """An object that passed.

    Args:
        module: `locations`, `sessions`, `tokens` or `reservations`.
        id_key, contract_key: folded.
        owner, for_party: keys of parties; of sessions `for_party` is the driver's.
        document: of tokens, canonical.
        ages: it is forgotten after a while.
    """

    module: str
    id_key: str
    owner: str
    connection_id: int
    for_party: str | None = None
    contract_key: str | None = None
    document: bytes | None = None
    ages: bool = False


_COLUMNS = "module, id_key, owner, connection_id, for_party, contract_key, document, ages_from IS NOT NULL AS ages"


def _one(row: Any) -> Remembered:
    return Remembered(**dict(row))


async def remember(db: Db, tenant_id: TenantId, objects: Sequence[Remembered]) -> None:
    """Keeps what passed; what was known of the same objects is replaced."""
    # One statement may not touch a row twice; sorted, so that two at a time do not wait for each other in a circle.
    chosen = {(one.module, one.id_key, one.owner): one for one in objects}
    ordered = [chosen[key] for key in sorted(chosen)]
    await db.execute(
        "INSERT INTO roaming_hub_object AS o (tenant_id, module, id_key, owner, connection_id, for_party, contract_key, document,"
        " ages_from) SELECT $1, m, i, w, c, f, k, d, CASE WHEN a THEN now() END"
        " FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::bool[])"
        " AS x (m, i, w, c, f, k, d, a)"
        " ON CONFLICT (tenant_id, module, id_key, owner) DO UPDATE SET connection_id = excluded.connection_id,"
        " for_party = coalesce(excluded.for_party, o.for_party), contract_key = excluded.contract_key,"
        " document = excluded.document, ages_from = excluded.ages_from",
        tenant_id,
        [one.module for one in ordered],
        [one.id_key for one in ordered],
        [one.owner for one in ordered],
        [one.connection_id for one in ordered],
        [one.for_party for one in ordered],
        [one.contract_key for one in ordered],
        [one.document for one in ordered],
        [one.ages for one in ordered],
    )


async def named(db: Db, tenant_id: TenantId, module: str, id_key: str) -> list[Remembered]:
    """Objects with an id, of all owners; at most 100."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM roaming_hub_object WHERE tenant_id = $1 AND module = $2 AND id_key = $3 ORDER BY owner LIMIT 100",
        tenant_id,
        module,
        id_key,
    )
    return [_one(row) for row in rows]


async def tokens_by_contract(db: Db, tenant_id: TenantId, contract_keys: Sequence[str]) -> dict[str, bytes]:
    """Documents of tokens by their folded contract ids; one of each contract.

    Whose a contract is its id says (an eMA-ID begins with country code and party id). Where it says nothing, and several providers have
    tokens of it, or it says another party that is known, nobody's is taken: none gets another one's sessions and CDRs by naming its contract.
    """
    return await _tokens(db, tenant_id, "contract_key", "named OR (alone AND NOT of_another)", contract_keys)


async def tokens_by_uid(db: Db, tenant_id: TenantId, uid_keys: Sequence[str]) -> dict[str, bytes]:
    """Documents of tokens by their folded uids, which stand where a contract should: of those that one party alone has, and that do not
    begin with another known party as its contracts do."""
    return await _tokens(db, tenant_id, "id_key", "alone AND NOT of_another", uid_keys)


async def _tokens(
    db: Db, tenant_id: TenantId, column: LiteralString, which: LiteralString, keys: Sequence[str]
) -> dict[str, bytes]:
    rows = await db.fetch(
        "WITH known AS (SELECT c.id, lower((p -> 'id' ->> 'country_code') || (p -> 'id' ->> 'party_id')) AS party"
        " FROM roaming_connection c, jsonb_array_elements(c.parties::jsonb) p WHERE c.tenant_id = $1 AND c.state IN ('registered', 'suspended')"
        " UNION SELECT i.connection_id, lower(i.country_code || i.party_id) FROM roaming_client_info i"
        " WHERE i.tenant_id = $1 AND i.connection_id IS NOT NULL"
        " UNION SELECT 0, lower(w.country_code || w.party_id) FROM roaming_party w WHERE w.tenant_id = $1)"
        f" SELECT DISTINCT ON (key) key, document FROM (SELECT o.{column} AS key, o.id_key, o.document, named.named,"
        f" min(o.owner) OVER of_key = max(o.owner) OVER of_key AS alone, NOT named.named AND EXISTS (SELECT FROM known k"
        f" WHERE k.id <> o.connection_id AND starts_with(replace(o.{column}, '-', ''), k.party)) AS of_another"
        " FROM roaming_hub_object o,"
        f" LATERAL (SELECT starts_with(replace(o.{column}, '-', ''), lower(o.owner)) AS named) named"
        f" WHERE o.tenant_id = $1 AND o.module = 'tokens' AND o.{column} = ANY ($2) AND o.document IS NOT NULL"
        f" WINDOW of_key AS (PARTITION BY o.{column})) t"
        f" WHERE {which} ORDER BY key, named DESC, id_key",
        tenant_id,
        list(keys),
    )
    return {row["key"]: row["document"] for row in rows}
