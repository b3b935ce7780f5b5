"""A process serves the doors of its role and tells of no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargeplane.main.config import Config, Role
from chargeplane.main.wiring import Server


@pytest.mark.parametrize(
    ("role", "ocpp", "http"),
    [(Role.ALL, True, True), (Role.STATIONS, True, False), (Role.API, False, True), (Role.JOBS, False, False)],
)
async def test_a_role_opens_its_doors_and_no_others(
    database_url: str, tmp_path: Path, role: Role, ocpp: bool, http: bool
) -> None:
    server = Server(
        Config(bind="127.0.0.1", http_port=0, ocpp_port=0, data_dir=str(tmp_path), database_url=database_url, role=role)
    )
    await server.start()
    try:
        places = server.places()
        assert (places.ocpp_port is not None, places.http_port is not None) == (ocpp, http)
    finally:
        await server.stop()
