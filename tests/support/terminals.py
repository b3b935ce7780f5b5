"""An operator and who provides payment terminals, or a driver's provider, in two installations: a tenant each per test, registered with each other."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import httpx
from msgspec.structs import replace

from chargeplane.domain.roaming.connection import Peer
from chargeplane.main.roaming import Roaming
from chargeplane.simulator import FAST, Plan
from tests.support.charging_house import ChargingHouse, Tenant

NUMBERS = itertools.count(1)
FIVE_KWH = replace(FAST, remote_plan=Plan(energy_wh=5000, hold=True))


@dataclass
class Two:
    """An operator with a location, a tariff and (`station`) an EVSE, and a partner of it.

    Args:
        known_as: the partner's id at the operator; `knows`: the operator's id at the partner.
    """

    operator: Tenant
    partner: Tenant
    known_as: str
    knows: str
    party: str
    partner_party: str
    location: str
    tariff: str
    number: int
    uid: str = ""
    station: Any = None

    def roaming(self, tenant: Tenant) -> Roaming:
        """What main made of a tenant's installation."""
        business = tenant.house.server.business
        assert business is not None
        found = business.roaming
        assert isinstance(found, Roaming)
        return found

    async def peer(self, tenant: Tenant) -> Peer:
        """The other one, as a tenant knows it."""
        found = await self.roaming(tenant).connections.get(
            int(self.known_as if tenant is self.operator else self.knows)
        )
        assert found is not None
        return found

    async def ask(
        self, tenant: Tenant, method: str, module: str, side: str, path: str, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        """A request of a tenant at the other one's door, as it stands: (HTTP status, envelope)."""
        peer = await self.peer(tenant)
        token = await self.roaming(tenant).connections.token_of(peer)
        assert token is not None
        url = peer.url_of(module, side)
        assert url is not None, [(one.module, one.interface) for one in peer.modules]
        async with httpx.AsyncClient(timeout=60) as client:
            content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            answer = await client.request(
                method,
                f"{url}/{path}" if path else url,
                content=content,
                headers={"Authorization": f"Token {token}", "Content-Type": "application/json"},
            )
        envelope: dict[str, Any] = answer.json()
        return answer.status_code, envelope


async def two(
    houses: tuple[ChargingHouse, ChargingHouse],
    role: str,
    *,
    station: bool = False,
    issuer: dict[str, Any] | None = None,
) -> Two:
    """A new pair that is registered.

    Args:
        role: of the partner.
        issuer: of the operator's receipts.
    """
    number = next(NUMBERS)
    operator, partner = await houses[0].tenant(), await houses[1].tenant()
    party, other = f"X{number:02d}", f"T{number:02d}"
    for tenant, country, name, one in ((operator, "NL", party, "CPO"), (partner, "DE", other, role)):
        await tenant.send(
            "PUT", f"/roaming/parties/{country}/{name}", {"roles": [one], "business_details": {"name": f"{name} Ltd"}}
        )
    if issuer is not None:
        await operator.send("PUT", "/invoicing-settings", {"issuer": issuer})
    tariff, location = f"TARIFF{number}", f"LOC{number}"
    element = {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 21.0, "step_size": 1}]}
    await operator.send(
        "POST",
        "/tariffs",
        {"id": tariff, "currency": "EUR", "tax_included": "NO", "preauthorize_amount": 50, "elements": [element]},
    )
    await operator.send(
        "POST",
        "/locations",
        {
            "id": location, "name": "Plein", "address": "Plein 1", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
            "time_zone": "Europe/Amsterdam", "coordinates": {"latitude": "52.09000", "longitude": "5.12000"},
        },
    )  # fmt: skip
    invited = await operator.send("POST", "/roaming/partners", {"name": other})
    registered = await partner.send(
        "POST",
        "/roaming/partners/register",
        {"name": party, "versions_url": invited["versions_url"], "token": invited["token"], "version": "2.3.0"},
    )
    pair = Two(
        operator=operator, partner=partner, known_as=invited["partner"]["id"], knows=registered["id"], party=f"NL*{party}",
        partner_party=f"DE*{other}", location=location, tariff=tariff, number=number,
    )  # fmt: skip
    if station:
        pair.station = await operator.station("2.0.1", options=FIVE_KWH)
        pair.uid = await evse(pair, pair.station.station_id)
    return pair


async def evse(pair: Two, station_id: str | None = None) -> str:
    """A new EVSE at the location; its uid."""
    uid = f"E{next(NUMBERS)}"
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": [pair.tariff],
    }  # fmt: skip
    bound = {} if station_id is None else {"station_id": station_id, "ocpp_evse_id": 1}
    await pair.operator.send(
        "POST",
        f"/locations/{pair.location}/evses",
        {"uid": uid, "evse_id": f"{pair.party}*{uid}", "connectors": [connector], **bound},
    )
    return uid
