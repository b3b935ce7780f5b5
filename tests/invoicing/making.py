"""What tests about invoices are made of."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from chargeplane.app.invoicing.drafting import Drafting
from chargeplane.app.invoicing.facts import InvoicingFacts
from chargeplane.app.people import People
from chargeplane.kernel.ids import TenantId
from chargeplane.store.outbox import Fact
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


ISSUER: dict[str, Any] = {
    "name": "Ladewerk GmbH",
    "address": {"lines": ["Stromstraße 1"], "postal_code": "10115", "city": "Berlin", "country": "DE"},
    "vat_id": "DE123456789",
    "registration": "HRB 123456",
    "email": "rechnung@ladewerk.example",
    "phone": "+49 30 1234567",
    "iban": "DE89370400440532013000",
    "bic": "COBADEFFXXX",
}
ROWS = itertools.count(1_000_000)


async def billing_tenant(rest: Rest, **settings: Any) -> Tenant:
    """A tenant that issues invoices."""
    one = await tenant(rest)
    put = await one.client.put("/v1/invoicing-settings", json={"issuer": ISSUER, **settings})
    assert put.status_code == 200, put.text
    return one


async def cdr(
    rest: Rest,
    one: Tenant,
    *,
    incl: str = "11.90",
    percent: str = "19",
    included: bool = True,
    at: datetime | None = None,
    holds: Sequence[str] = (),
    credits: int | None = None,
    **whose: int | None,
) -> int:
    """Writes a CDR as the sessions do, and tells of it; its id."""
    end = at or datetime.now(UTC) - timedelta(hours=1)
    sign = -1 if credits is not None else 1
    gross = Decimal(incl)
    net = (gross / (1 + Decimal(percent) / 100)).quantize(Decimal("0.01"))
    taxes = [{"name": "VAT", "percentage": percent, "base": str(sign * net), "amount": str(sign * (gross - net))}]
    body = {
        "place": {
            "id": "L1",
            "name": "Marktplatz",
            "address": "Markt 1",
            "city": "Berlin",
            "country": "DEU",
            "country_alpha2": "DE",
            "time_zone": "Europe/Berlin",
            "evse_uid": "E1",
            "evse_id": "DE*LAD*E1",
        },
        "started_at": (end - timedelta(hours=1)).isoformat(),
        "ended_at": end.isoformat(),
        "totals": {
            "energy_kwh": "21.5",
            "cost": {"excl": str(sign * net), "incl": str(sign * gross), "taxes": taxes},
        },
        "tariff": {"tax_included": "YES" if included else "NO"},
        "signed": {"proven": True, "begin_wh": "1000", "end_wh": "22500"},
        "credit": credits is not None,
    }
    session = next(ROWS)
    ident: int = await rest.execute(
        "INSERT INTO cdr (tenant_id, session_id, kind, number, credits, started_at, ended_at, location_id, evse_uid, driver_id,"
        " agreement_id, payment_id, tariff_id, energy_wh, currency, total_excl, total_incl, holds, body)"
        " VALUES ($1, $2, $3, 1, $4, $5, $6, 'L1', 'E1', $7, $8, $9, 'T', 21500, 'EUR', $10, $11, $12, $13) RETURNING id",
        one.id,
        session,
        "original" if credits is None else "credit",
        credits,
        end - timedelta(hours=1),
        end,
        whose.get("driver_id"),
        whose.get("agreement_id"),
        whose.get("payment_id"),
        sign * net,
        sign * gross,
        list(holds),
        json.dumps(body),
    )
    await tell_cdr(rest, one, ident)
    return ident


def facts(rest: Rest) -> InvoicingFacts:
    """What hears of CDRs and payments."""
    return InvoicingFacts(rest.database, Drafting(People(rest.database)))


async def tell_cdr(rest: Rest, one: Tenant, ident: int) -> None:
    """Tells of a CDR, as its fact does."""
    await facts(rest).cdr(_fact(one, "cdr.created", {"cdr_id": str(ident)}))


async def tell_payment(
    rest: Rest, one: Tenant, payment_id: int, captured: str, refunded: str = "0", **more: Any
) -> None:
    """Tells of a payment, as its fact does."""
    said = {
        "payment_id": str(payment_id),
        "provider": "stripe",
        "provider_kind": "stripe",
        "currency": "EUR",
        "captured": captured,
        "refunded": refunded,
        "at": datetime.now(UTC).isoformat(),
        **more,
    }
    await facts(rest).payment(_fact(one, "payment.captured", said))


def _fact(one: Tenant, topic: str, said: dict[str, Any]) -> Fact:
    return Fact(
        id=1,
        tenant_id=one.id,
        topic=topic,
        key="k",
        payload=json.dumps(said),
        created_at=datetime.now(UTC),
        attempts=1,
    )


async def agreement(
    rest: Rest, one: Tenant, *, begun: datetime, cycle: str = "month", items: Sequence[Any] = (), **consumer: str
) -> int:
    """An agreement that began; its id."""
    body = {
        "kind": "fleet",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [
            {"role": "provider", "kind": "house"},
            {"role": "consumer", "kind": "company", "id": f"c{next(ROWS)}", "name": "Flotte AG", **consumer},
        ],
        "items": list(items),
        "billing": {"cycle": cycle, "terms_days": 30},
    }
    made = await one.client.post("/v1/service-agreements", json=body)
    assert made.status_code == 201, made.text
    ident = int(made.json()["id"])
    await rest.execute(
        "UPDATE service_agreement SET state = 'active', begun_at = $2, starts_at = $2, accepted_at = $2 WHERE id = $1",
        ident,
        begun,
    )
    await rest.execute("UPDATE service_agreement_version SET state = 'accepted' WHERE agreement_id = $1", ident)
    return ident


async def run(one: Tenant, **order: Any) -> dict[str, Any]:
    """A billing run, waited for."""
    made = await one.client.post("/v1/billing-runs", json=order)
    assert made.status_code == 202, made.text
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = (await one.client.get(f"/v1/billing-runs/{made.json()['id']}")).json()
            if found["finished_at"] is not None:
                return found
            await asyncio.sleep(0.05)
