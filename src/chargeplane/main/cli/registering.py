"""Registering virtual stations and their drivers' id tokens through the REST doors."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from chargeplane.kernel.errors import ConflictError
from chargeplane.main.rest import RestClient, segment
from chargeplane.simulator import StationPlan

_THREADS = 8


def register_stations(
    rest: RestClient, plans: Sequence[StationPlan], told: Callable[[], None] = lambda: None
) -> list[StationPlan]:
    """Makes every station known to the server, with a new password each; one that is known gets a new password.

    Args:
        told: called as each one is done.
    Returns:
        The plans with their passwords.
    """

    def one(plan: StationPlan) -> StationPlan:
        password = plan.password or secrets.token_hex(10)
        try:
            rest.request("POST", "/v1/charging-stations", {"station_id": plan.station_id, "password": password})
        except ConflictError:
            rest.request("PATCH", f"/v1/charging-stations/{segment(plan.station_id)}", {"password": password})
        told()
        return StationPlan(station_id=plan.station_id, version=plan.version, password=password, evses=plan.evses)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(one, plans))


def register_id_tokens(rest: RestClient, id_tokens: Sequence[str], told: Callable[[], None] = lambda: None) -> None:
    """Makes id tokens known; those that are known stay as they are."""

    def one(id_token: str) -> None:
        try:
            rest.request("POST", "/v1/id-tokens", {"id_token": id_token, "note": "virtual driver"})
        except ConflictError:
            pass
        told()

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(one, id_tokens))
