"""What the demo needs for guests to pay: a simulated provider, a price, and a place for the stations, made over REST."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from chargeplane.main.rest import RestClient

if TYPE_CHECKING:
    from chargeplane.simulator.payments import PaymentSimulator


class PayingGuests:
    """The provider that runs, and what is made for it."""

    def __init__(self, simulator: PaymentSimulator) -> None:
        self._simulator = simulator

    def furnish(self, rest: RestClient, http: str, station_ids: Sequence[str]) -> str:
        """Makes all of it; where a guest pays at the first station. Again on the same data it changes only the provider."""
        from chargeplane.kernel.errors import ConflictError

        key, secret = secrets.token_hex(12), secrets.token_hex(12)
        provider = rest.request(
            "PUT",
            "/v1/payment-providers/simulated",
            {
                "kind": "simulator",
                "for_guests": True,
                "settings": {"url": self._simulator.url},
                "secrets": {"key": key, "webhook_secret": secret},
            },
        )
        self._simulator.tell(key, http + provider["webhook_path"], secret)
        with contextlib.suppress(ConflictError):
            rest.request("POST", "/v1/tariffs", _TARIFF)
        with contextlib.suppress(ConflictError):
            rest.request("POST", "/v1/locations", _LOCATION)
        for number, station_id in enumerate(station_ids, 1):
            evse = {
                "uid": f"DEMO-{number}",
                "station_id": station_id,
                "ocpp_evse_id": 1,
                "payment_methods": ["web", "contract"],
                "connectors": [_CONNECTOR],
            }
            with contextlib.suppress(ConflictError):
                rest.request("POST", "/v1/locations/demo/evses", evse)
        code = rest.get("/v1/evses/DEMO-1")["code"]
        return f"{http}/pay/{code}"


@contextlib.asynccontextmanager
async def paying_guests() -> AsyncIterator[PayingGuests]:
    """Runs the simulated provider."""
    from chargeplane.simulator.payments import PaymentSimulator

    simulator = PaymentSimulator()
    await simulator.start()
    try:
        yield PayingGuests(simulator)
    finally:
        await simulator.stop()


_TARIFF: dict[str, Any] = {
    "id": "demo-guests",
    "name": "Guests",
    "currency": "EUR",
    "tax_included": "YES",
    "type": "AD_HOC_PAYMENT",
    "preauthorize_amount": 60,
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.59, "vat": 19}]}],
}
_LOCATION: dict[str, Any] = {
    "id": "demo",
    "name": "Demo street",
    "address": "Main street 1",
    "city": "Kiel",
    "country": "DEU",
    "time_zone": "Europe/Berlin",
    "coordinates": {"latitude": "54.32000", "longitude": "10.14000"},
}
_CONNECTOR: dict[str, Any] = {
    "id": "1",
    "standard": "IEC_62196_T2_COMBO",
    "format": "CABLE",
    "power_type": "DC",
    "max_voltage": 920,
    "max_amperage": 500,
    "max_electric_power": 150_000,
    "tariff_ids": ["demo-guests"],
}
