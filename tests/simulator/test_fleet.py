from __future__ import annotations

from chargeplane.simulator import FAST, Fleet, Plan, Traffic, plans
from tests.simulator.csms import running_csms


async def test_a_thousand_stations_connect_boot_and_charge_in_one_process() -> None:
    async with running_csms() as csms:
        csms.check = False
        fleet = Fleet(csms.url, plans(1000, ["1.6", "2.0.1", "2.1"]), options=FAST, rate=5000, seed=1)
        await fleet.start()
        await fleet.accepted()
        assert fleet.state().accepted == 1000
        plan = Plan(energy_wh=1_500, meter_interval_s=300)
        sessions = [station.run(station.visit(1, f"T-{station.station_id}", plan)) for station in fleet]
        for session in sessions:
            assert (await session).energy_wh == 1_500
        for station in fleet:
            await station.drain()
        assert fleet.total().sessions == 1000
        assert fleet.total().delivered_wh == 1_500_000
        ended = csms.of("StopTransaction") + [e for e in csms.of("TransactionEvent") if e["eventType"] == "Ended"]
        assert len(ended) == 1000
        await fleet.stop()


async def test_drivers_come_and_go() -> None:
    async with running_csms() as csms:
        ended: list[str] = []
        fleet = Fleet(
            csms.url,
            plans(6, ["1.6", "2.0.1", "2.1"]),
            options=FAST,
            seed=2,
            on_session=lambda station, session: ended.append(station.station_id),
        )
        await fleet.start()
        await fleet.accepted()
        fleet.drive(
            Traffic(id_tokens=("A", "B"), idle_s=(0, 1), first_s=(0, 1), plan=Plan(energy_wh=500, meter_interval_s=60))
        )
        await csms.until(lambda: len(ended) > 30)
        assert len(set(ended)) == 6
        state = fleet.state()
        assert state.stations == 6
        assert state.energy_wh >= 500 * 30
        await fleet.stop()
