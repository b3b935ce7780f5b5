"""What tests about invoices are made of."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import httpx

from chargeplane.kernel.ids import TenantId
from tests.support.rest import Rest


@dataclass
class Tenant:
    """A tenant of its own, with its administrator's client."""

    id: TenantId
    client: httpx.AsyncClient


CLIENTS: list[httpx.AsyncClient] = []
"""Those that were made; closed with the server."""


async def tenant(rest: Rest) -> Tenant:
    """A new tenant."""
    slug = f"t{secrets.token_hex(6)}"
    made = await rest.client.post("/v1/tenants", json={"slug": slug, "name": slug})
    assert made.status_code == 201, made.text
    key = await rest.client.post("/v1/api-keys", json={"name": slug, "scopes": ["admin"], "tenant": slug})
    assert key.status_code == 201, key.text
    ident = await rest.execute("SELECT id FROM tenant WHERE slug = $1", slug)
    CLIENTS.append(rest.as_key(key.json()["key"]))
    return Tenant(TenantId(ident), CLIENTS[-1])
