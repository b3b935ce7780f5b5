"""Described behaviours: what is wrong with a file, and the ones of the package against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.registering import register_id_tokens, register_stations
from chargeplane.main.config import Config
from chargeplane.main.rest import RestClient
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST
from chargeplane.simulator.scenario import Scenario, parse
from chargeplane.simulator.stage import Stage, plans_of, tokens_of
from tests.support import postgres

KEY = "test-key-0123456789"
PASSWORD = "a-password-of-20-chars"
PACKAGED = ("depot_night", "network_outage", "bad_station")

SMALL = """
speed = 100.0

[[group]]
name = "a"
evses = ["ac22"]

[[group.step]]
do = "connect"

[[group.step]]
do = "plug"
evse = 1

[[group]]
name = "b"
step = [
    { do = "connect" },
    { do = "wait", seconds = 1 },
]
"""


@pytest.mark.parametrize(
    ("good", "bad", "line", "says"),
    [
        ('do = "plug"', 'do = "plugg"', 12, "plugg"),
        ("evse = 1", "evs = 1", 13, "evs"),
        ("evse = 1", "evse = 2", 13, "have 1 EVSE"),
        ('evses = ["ac22"]', 'evses = ["ac22", "ac23"]', 6, "no EVSE type 'ac23'"),
        ('name = "b"', 'name = "a"', 16, "another group is named 'a'"),
        ("seconds = 1 },", "seconds = -1 },", 19, ">= 0"),
        ('{ do = "wait", seconds = 1 }', '{ do = "deliver" }', 19, "needs wh or seconds"),
        ("speed = 100.0", "speed = ", 2, "Invalid value"),
        ("speed = 100.0", "sped = 100.0", 2, "sped"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(good: str, bad: str, line: int, says: str) -> None:
    assert len(parse(SMALL, "own.toml").group) == 2
    assert good in SMALL
    with pytest.raises(InvalidInputError) as refused:
        parse(SMALL.replace(good, bad, 1), "own.toml")
    assert str(refused.value).startswith(f"own.toml, line {line}: "), refused.value
    assert says in str(refused.value)


class House:
    """A running server."""

    def __init__(self, server: Server) -> None:
        self.rest = RestClient(f"http://127.0.0.1:{server.http.port}", KEY)
        self.url = f"ws://127.0.0.1:{server.ocpp.ports[0]}/ocpp"

    async def stage(self, scenario: Scenario, prefix: str) -> Stage:
        wanted = plans_of(scenario, prefix, PASSWORD)
        await asyncio.to_thread(register_id_tokens, self.rest, tokens_of(scenario, prefix), lambda: None)
        known = await asyncio.to_thread(register_stations, self.rest, wanted, lambda: None)
        quick = replace(FAST, speed=1e6, remote_plan=FAST.remote_plan)
        return Stage(self.url, scenario, known, options=quick)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.TestServer) -> AsyncIterator[House]:
    with postgres_server.database() as url:
        server = Server(
            Config(
                bind="127.0.0.1",
                http_port=0,
                ocpp_port=0,
                data_dir=str(tmp_path_factory.mktemp("scenario")),
                database_url=url,
                admin_key=KEY,
            )
        )
        await server.start()
        house = House(server)
        yield house
        house.rest.close()
        await server.stop()


def packaged(name: str) -> Scenario:
    return parse((files("chargeplane.simulator") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8"), name)


def hurried(scenario: Scenario) -> Scenario:
    """The same with waits of the wall cut short."""

    def step(one: Any) -> Any:
        return replace(one, seconds=0.2) if hasattr(one, "seconds") and one.seconds else one

    return replace(
        scenario,
        group=tuple(
            replace(group, stagger_s=0.01, after_s=0.0, step=tuple(map(step, group.step))) for group in scenario.group
        ),
    )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", PACKAGED)
async def test_scenario_of_the_package_goes_as_described(house: House, name: str) -> None:
    scenario = hurried(packaged(name))
    stage = await house.stage(scenario, f"P-{name.replace('_', '-')}")
    try:
        await asyncio.wait_for(stage.play(), 30)
    finally:
        await stage.close()
    assert stage.failures == []
    for tally in stage.tallies.values():
        assert tally.done == tally.total
        assert tally.stations_done == tally.group.stations
    told = await asyncio.to_thread(house.rest.request, "GET", "/v1/transactions?limit=200", None)
    mine = [one for one in told["items"] if one["station_id"].startswith(f"P-{name.replace('_', '-')}")]
    assert sum(one["energy_wh"] for one in mine) == sum(tally.energy_wh for tally in stage.tallies.values()) > 0


@pytest.mark.asyncio(loop_scope="module")
async def test_expectation_that_is_not_met_fails_its_step_and_the_rest_goes_on(house: House) -> None:
    scenario = parse(
        """
[[group]]
name = "a"
versions = ["1.6"]
step = [
    { do = "connect" },
    { do = "boot" },
    { do = "expect_token", token = "NOBODY", status = "Accepted" },
    { do = "expect_call", action = "Reset", within_s = 0.1 },
    { do = "charge", token = "SOMEBODY", wh = 1000 },
    { do = "expect_energy", wh = 999, within_s = 0.1 },
    { do = "expect_energy", wh = 1000 },
]
""",
        "own.toml",
    )
    # NOBODY is not known
    stage = await house.stage(
        replace(scenario, group=(replace(scenario.group[0], step=scenario.group[0].step[4:]),)), "E"
    )
    await stage.close()
    stage = Stage(
        house.url, scenario, plans_of(scenario, "E", stage.stations[0].password), options=replace(FAST, speed=1e6)
    )
    try:
        await asyncio.wait_for(stage.play(), 30)
    finally:
        await stage.close()
    assert [failure.step for failure in stage.failures] == [3, 4, 6]
    assert "is Invalid, not Accepted" in stage.failures[0].reason
    assert "no Reset came" in stage.failures[1].reason
    assert "delivered 1000 Wh, not 999" in stage.failures[2].reason
    assert stage.tallies["a"].done == 7


@pytest.mark.asyncio(loop_scope="module")
async def test_call_that_comes_is_what_was_expected(house: House) -> None:
    scenario = parse(
        """
[[group]]
name = "a"
step = [
    { do = "connect" },
    { do = "boot" },
    { do = "expect_call", action = "Reset", within_s = 20, has = { type = "OnIdle" } },
]
""",
        "own.toml",
    )
    stage = await house.stage(scenario, "C")
    playing = asyncio.create_task(stage.play())
    try:
        body = {"action": "Reset", "payload": {"type": "OnIdle"}}
        while not stage.stations[0].accepted:
            await asyncio.sleep(0.02)
        path = f"/v1/charging-stations/{stage.stations[0].station_id}/calls"
        await asyncio.to_thread(house.rest.request, "POST", path, body)
        await asyncio.wait_for(playing, 30)
    finally:
        await stage.close()
    assert stage.failures == []
