"""Sessions are looked after on one node, their stations are connected to another."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from chargeplane.edges.bus import EmbeddedNats
from chargeplane.main.config import Role, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator.ledger import Entry, Line
from tests.sessions.making import ENERGY, site
from tests.support.charging_house import ChargingHouse, config
from tests.support.postgres import TestServer


async def test_a_node_without_jobs_answers_the_end_with_what_it_cost_in_all(
    postgres_server: TestServer, tmp_path: Path
) -> None:
    """OCPP 2.0.1 I03.FR.02."""
    nats = EmbeddedNats(tmp_path / "nats")
    url = await nats.start()
    with postgres_server.database() as database:
        soon = SessionsConfig(running_cost_s=0.2, settle_after_s=1.0, poll_s=0.02)
        base = replace(
            config(str(tmp_path / "jobs"), database), nats_url=url, sessions=soon, secret_key="of-the-installation-" * 2
        )
        jobs = Server(base)
        door = Server(replace(base, data_dir=str(tmp_path / "door"), role=Role.STATIONS))
        started: list[Server] = []
        try:
            for server in (jobs, door):
                await server.start()
                started.append(server)
            assert door.ocpp is not None
            house = ChargingHouse(jobs)
            house.url = f"ws://127.0.0.1:{door.ocpp.ports[0]}/ocpp"
            made = await site(house, ENERGY)
            tag = (await made.tenant.token())["id_token"]
            lines: list[Line] = []
            station = await made.station("2.0.1", record=lines.append)
            station.plug_in()
            running = await station.start_transaction(tag)
            await station.deliver(running, 4_000, meter_interval_s=60)
            await made.tenant.until(made.sessions, lambda seen: bool(seen) and seen[0]["cost_incl"] is not None)
            (session,) = await made.sessions()
            ident = int(session["id"])

            async def known() -> bool:
                return ident in door.stations.house.final_costs.priced

            await made.tenant.until(known, bool)
            await station.deliver(running, 2_000, meter_interval_s=60)
            await station.stop_transaction(running)
            answers = [
                msgspec.json.decode(line.answer) for line in lines if line.entry is Entry.ACKNOWLEDGED and line.answer
            ]
            assert [answer["totalCost"] for answer in answers if "totalCost" in answer] == [3.6]

            async def forgotten() -> bool:
                return not door.stations.house.final_costs.priced and not jobs.stations.house.final_costs.priced

            await made.settled()
            await made.tenant.until(forgotten, bool)
            await house.close()
        finally:
            for server in reversed(started):
                await server.stop()
            await nats.stop()
