"""Tenants' own rules about stations."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chargeplane.domain.quirks import Quirk
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries.paging import Db

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
_decode = msgspec.json.Decoder(tuple[Quirk, ...]).decode


async def replace(db: Db, tenant_id: TenantId, rules: Sequence[Quirk]) -> tuple[Quirk, ...]:
    """Gives a tenant its rules; those it had before."""
    before = await db.fetchval("SELECT quirks FROM tenant WHERE id = $1 FOR UPDATE", tenant_id)
    await db.execute("UPDATE tenant SET quirks = $2 WHERE id = $1", tenant_id, _encode(rules).decode())
    return _decode(before)
