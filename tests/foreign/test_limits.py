"""A foreign station's power is limited by the operator's charging profiles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.house import Address, operator
from tests.foreign.stations import STATIONS

every_version = pytest.mark.parametrize("version", STATIONS)


def limit(value: float, purpose: str, unit: str = "W", **more: Any) -> dict[str, Any]:
    schedule = {"id": 1, "unit": unit, "start": "2026-01-01T00:00:00Z", "periods": [{"limit": value}]}
    return {"purpose": purpose, "kind": "Absolute", "schedules": [schedule], **more}


@every_version
async def test_profiles_are_set_added_up_reported_and_cleared(address: Address, version: str) -> None:
    async with operator(address, f"LIMIT-{version}") as who, STATIONS[version].online(who, address) as station:
        path = f"{who.station}/charging-profiles"

        async def is_in_state(ident: int, state: str) -> Any:
            return await who.until(f"{path}/{ident}", lambda found: found["state"] == state)

        await who.send("PUT", f"{path}/1", limit(11_000, "ChargingStationMaxProfile"))
        await who.send("PUT", f"{path}/2", limit(7_360.5, "TxDefaultProfile", evse_id=1))
        await is_in_state(1, "installed")
        await is_in_state(2, "installed")
        assert {ident: place for ident, (place, _) in station.profiles.items()} == {1: 0, 2: 1}
        query = {"evse": 1, "duration": 600, "unit": "W", "ask": True}
        found = await who.get(f"{who.station}/composite-schedule", **query)
        for side in ("ours", "station"):
            assert [float(one["limit"]) for one in found[side]["periods"]] == [7_360.5], found
        assert not [one for one in found["differences"] if one["end_s"] - one["start_s"] > 5], found["differences"]

        # a unit that it does not take: the same in the other one
        await who.send("PUT", f"{path}/3", limit(16, "TxDefaultProfile", unit="A", evse_id=1, stack_level=3))
        learned = await is_in_state(3, "installed")
        assert learned["changes"], learned
        assert [payload for _, payload in station.profiles.values()][2] is not None
        dialects = await who.get("/charging-dialects")
        assert "no_amperes" in str(dialects)

        if version != "1.6":
            del station.profiles[2]  # it lost one
            assert (await who.post(f"{path}/report", None, 202))["state"] == "accepted"
            await who.request("charging_profiles")
            await is_in_state(2, "installed")
            await who.until(path, lambda _: 2 in station.profiles)
        await who.send("DELETE", f"{path}/1")
        await is_in_state(1, "removed")
        assert 1 not in station.profiles
        cleared = await who.command(type="clear_charging_profile", id=1)
        assert (cleared["state"], cleared["status"]) == ("rejected", "Unknown")
        await who.post(
            "/charging-dialects/forget",
            {"vendor": "Foreign", "model": station.model, "firmware": "1.0.0", "trait": "no_amperes"},
            204,
        )
