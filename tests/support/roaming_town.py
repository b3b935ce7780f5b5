"""A hub between operators and providers: whole installations, a tenant each per town, registered over the wire."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from chargeplane.main.config import RoamingConfig, RoamingOperatorConfig, SessionsConfig
from chargeplane.main.roaming import Roaming
from chargeplane.main.wiring import Server
from chargeplane.simulator import Options, VirtualStation
from tests.invoicing.making import ISSUER
from tests.support import postgres
from tests.support.charging_house import ChargingHouse, Tenant, config

NUMBERS = itertools.count(1)
OLD = "2.1.1"


@dataclass
class House:
    """A server with its tenants."""

    server: Server
    house: ChargingHouse

    @property
    def roaming(self) -> Roaming:
        """What main made."""
        assert self.server.business is not None
        found = self.server.business.roaming
        assert isinstance(found, Roaming)
        return found


@dataclass
class Houses:
    """The installations of the hub, of the operators and of the providers."""

    hub: House
    operator: House
    provider: House


@contextlib.asynccontextmanager
async def running_houses(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Houses]:
    """Three installations that do everything soon."""
    async with contextlib.AsyncExitStack() as stack:
        made: list[House] = []
        for name in ("hub", "operator", "provider"):
            url = stack.enter_context(postgres_server.database())
            server = Server(
                replace(
                    config(str(tmp_path_factory.mktemp(name)), url),
                    roaming=RoamingConfig(private_networks=True, timeout_s=10.0, first_pause_s=0.1),
                    roaming_operator=RoamingOperatorConfig(
                        session_push_s=0.2, status_look_every_s=1.0, command_timeout_s=10.0, authorize_timeout_s=8.0
                    ),
                    sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.2, poll_s=0.05),
                )
            )
            await server.start()
            stack.push_async_callback(server.stop)
            house = ChargingHouse(server)
            stack.push_async_callback(house.close)
            made.append(House(server, house))
        yield Houses(*made)


@dataclass
class Member:
    """A party behind the hub.

    Args:
        party: as `NL*ABC`.
        connection: its id of the hub; `at_hub` the hub's of it.
    """

    tenant: Tenant
    party: str
    version: str
    connection: int = 0
    at_hub: int = 0


@dataclass
class Town:
    """A hub with its members; tenants of their own in the houses."""

    houses: Houses
    hub: Tenant
    hub_party: str
    members: dict[str, Member] = field(default_factory=dict)

    async def member(self, name: str, role: str, version: str) -> Member:
        """A CPO or EMSP that registers with the hub in a version."""
        house = self.houses.operator if role == "CPO" else self.houses.provider
        tenant = await house.house.tenant()
        country, party = ("NL", f"O{next(NUMBERS):02d}") if role == "CPO" else ("DE", f"P{next(NUMBERS):02d}")
        await tenant.send(
            "PUT",
            f"/roaming/parties/{country}/{party}",
            {"roles": [role], "business_details": {"name": f"{party} Ltd"}},
        )
        old = version == OLD
        invited = await self.hub.send(
            "POST",
            "/roaming/partners",
            {"name": name, "own_role": ("EMSP" if role == "CPO" else "CPO") if old else None},
        )
        registered = await tenant.send(
            "POST",
            "/roaming/partners/register",
            {
                "name": "hub", "versions_url": invited["versions_url"], "token": invited["token"], "version": version,
                "own_role": role if old else None, "is_hub": True,
            },
        )  # fmt: skip
        made = Member(tenant, f"{country}*{party}", version, int(registered["id"]), int(invited["partner"]["id"]))
        self.members[name] = made
        return made


async def found_town(houses: Houses) -> Town:
    """A hub that nobody is registered with yet."""
    tenant = await houses.hub.house.tenant()
    party = f"H{next(NUMBERS):02d}"
    await tenant.send(
        "PUT", f"/roaming/parties/NL/{party}", {"roles": ["HUB"], "business_details": {"name": "Hub Ltd"}}
    )
    return Town(houses, tenant, f"NL*{party}")


@dataclass
class Place:
    """A location with a tariff and one EVSE that a virtual station stands for."""

    location: str
    tariff: str
    evse_uid: str
    station: VirtualStation


async def opened_place(operator: Member, options: Options, *, location: str | None = None) -> Place:
    """A new one of an operator; 0.40 a kWh and, where the version has it, 19 % VAT."""
    number, tenant = next(NUMBERS), operator.tenant
    place, tariff, uid = location or f"LOC{number}", f"TARIFF{number}", f"E{number}"
    element = {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 19.0, "step_size": 1}]}
    await tenant.send(
        "POST",
        "/tariffs",
        {"id": tariff, "type": "REGULAR", "currency": "EUR", "tax_included": "NO", "elements": [element]},
    )
    await tenant.send(
        "POST",
        "/locations",
        {
            "id": place, "name": "Plein", "address": "Plein 1", "city": "Utrecht", "postal_code": "3511", "country": "NLD",
            "time_zone": "Europe/Amsterdam", "coordinates": {"latitude": "52.09000", "longitude": "5.12000"},
        },
    )  # fmt: skip
    station = await tenant.station("2.0.1", options)
    connector = {
        "id": "1", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE", "max_voltage": 230,
        "max_amperage": 32, "tariff_ids": [tariff],
    }  # fmt: skip
    await tenant.send(
        "POST",
        f"/locations/{place}/evses",
        {
            "uid": uid, "evse_id": f"{operator.party}*{uid}", "station_id": station.station_id, "ocpp_evse_id": 1,
            "connectors": [connector],
        },
    )  # fmt: skip
    return Place(place, tariff, uid, station)


async def driver_with_card(provider: Member) -> tuple[str, str]:
    """A driver of a provider, and the card."""
    number = next(NUMBERS)
    await provider.tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
    driver = await provider.tenant.send("POST", "/drivers", {"email": f"driver{number}@example.com"})
    card = f"CARD{number:04d}"
    await provider.tenant.send("POST", f"/drivers/{driver['id']}/id-tokens", {"id_token": card})
    return str(driver["id"]), card


async def shown_place(provider: Member, operator: Member, place: Place) -> Any:
    """The EVSE as the provider's drivers find it, once it is there, free and priced."""

    async def shown() -> Any:
        found = (await provider.tenant.get("/roaming/locations", partner=operator.party, available=True))["items"]
        return next((one for at in found for one in at["evses"] if one["uid"] == place.evse_uid), None)

    return await provider.tenant.until(shown, lambda one: one is not None and one["connectors"][0]["price"] is not None)
