"""Who we are as operator, and what partners pushed that operators need."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct

from chargeplane.domain.roaming.authorization import KnownToken, Whitelist
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db


class _Token(Struct):
    country_code: str
    party_id: str
    uid: str
    contract_id: str
    valid: bool
    whitelist: str
    type: str = "RFID"
    group_id: str | None = None
    language: str | None = None


_token = msgspec.json.Decoder(_Token).decode


async def operators(db: Db) -> dict[TenantId, PartyId]:
    """The first party of each tenant that is an operator."""
    rows = await db.fetch(
        "SELECT DISTINCT ON (tenant_id) tenant_id, country_code, party_id FROM roaming_party WHERE 'CPO' = ANY(roles)"
        " ORDER BY tenant_id, key"
    )
    return {row["tenant_id"]: PartyId(row["country_code"], row["party_id"]) for row in rows}


async def has_role(db: Db, tenant_id: TenantId, role: str) -> bool:
    """Whether a party of a tenant has a role (OCPI Role)."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM roaming_party WHERE tenant_id = $1 AND $2 = ANY(roles))", tenant_id, role
    )
    return found


async def pushed_tokens(db: Db, tenant_id: TenantId, uid: str) -> Sequence[KnownToken]:
    """Tokens with this uid as partners that are registered pushed them; what cannot be read is left out."""
    rows = await db.fetch(
        "SELECT o.connection_id, o.document FROM partner_object o JOIN roaming_connection c ON c.id = o.connection_id"
        " WHERE o.tenant_id = $1 AND o.module = 'tokens' AND o.id_key = $2 AND o.gone_at IS NULL AND c.state = 'registered'"
        " LIMIT 20",
        tenant_id,
        uid.casefold(),
    )
    found = []
    for row in rows:
        try:
            said = _token(row["document"])
        except (msgspec.MsgspecError, ValueError):
            continue
        found.append(
            KnownToken(
                connection_id=row["connection_id"],
                country_code=said.country_code,
                party_id=said.party_id,
                uid=said.uid,
                type=said.type,
                contract_id=said.contract_id,
                valid=said.valid,
                whitelist=_whitelist(said.whitelist),
                group_id=said.group_id,
                language=said.language,
            )
        )
    return found


async def pushes_tokens(db: Db, connection_id: int) -> bool:
    """Whether a partner pushed any token."""
    return bool(
        await db.fetchval(
            "SELECT EXISTS (SELECT FROM partner_object WHERE connection_id = $1 AND module = 'tokens' AND gone_at IS NULL)",
            connection_id,
        )
    )


async def sent_of(db: Db, module: str, places: Collection[tuple[int, str]]) -> set[tuple[int, str]]:
    """Which partners took which objects before: connections and keys."""
    rows = await db.fetch(
        "SELECT s.connection_id, s.key FROM unnest($2::bigint[], $3::text[]) AS w(connection_id, key)"
        " JOIN roaming_sent s ON s.connection_id = w.connection_id AND s.module = $1 AND s.key = w.key",
        module,
        [one[0] for one in places],
        [one[1] for one in places],
    )
    return {(row["connection_id"], row["key"]) for row in rows}


def _whitelist(word: str) -> Whitelist:
    """What is not known is asked about each time."""
    try:
        return Whitelist(word.upper())
    except ValueError:
        return Whitelist.NEVER
