"""A foreign station restarts, sends what it is asked for, unlocks and goes out of service, as the operator wants it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.house import Address, Operator, operator
from tests.foreign.stations import STATIONS
from tests.foreign.stations.sessions import moment

every_version = pytest.mark.parametrize("version", STATIONS)


async def charge(who: Operator, station: Any) -> None:
    """Begins a transaction at the station."""
    if station.version == "1.6":
        await station.start_transaction(who.tag, 1_000_000, moment())
    else:
        await station.start_transaction(who.tag, f"{who.name}-1")


async def end(station: Any) -> None:
    """Ends it."""
    if station.version == "1.6":
        await station.stop_transaction(1_002_000, moment(4), reason="EVDisconnected")
    else:
        await station.stop_transaction()


@every_version
async def test_reset_at_once_and_when_the_transaction_is_over(address: Address, version: str) -> None:
    async with operator(address, f"RESET-{version}") as who, STATIONS[version].online(who, address) as station:
        first = (await who.get(who.station))["booted_at"]
        done = await who.command(type="reset", kind="immediate")
        assert (done["state"], done["action"]) == ("accepted", "Reset")
        await station.settled()
        seen = await who.until(who.station, lambda found: found["booted_at"] > first)
        assert seen["connected"] is True
        assert seen["boot_reason"] == (None if version == "1.6" else "RemoteReset")

        await charge(who, station)
        waits = await who.command(type="reset", kind="on_idle")
        assert (waits["state"], waits["status"]) == ("accepted", "Accepted" if version == "1.6" else "Scheduled")
        assert len(station.boot_reasons) == 2
        await end(station)
        await station.settled()
        again = await who.until(who.station, lambda found: found["booted_at"] > seen["booted_at"])
        assert again["boot_reason"] == (None if version == "1.6" else "ScheduledReset")
        (one,) = await who.items("/transactions", station_id=who.name)
        assert (one["state"], one["energy_wh"], one["flags"]) == ("closed", 2000, [])
        assert [payload["type"] for payload in station.asked("Reset")] == (
            ["Hard", "Soft"] if version == "1.6" else ["Immediate", "OnIdle"]
        )


@every_version
async def test_messages_are_triggered(address: Address, version: str) -> None:
    async with operator(address, f"TRIGGER-{version}") as who, STATIONS[version].online(who, address) as station:
        for message in ("Heartbeat", "StatusNotification", "BootNotification"):
            before = len(station.told(message))
            where = {"evse_id": 1, "connector_id": 1} if message == "StatusNotification" else {}
            done = await who.command(type="trigger", message=message, **where)
            assert done["state"] == "accepted", done
            await station.settled()
            assert len(station.told(message)) == before + 1
        cannot = await who.command(type="trigger", message="MeterValues")
        assert (cannot["state"], cannot["status"]) == ("rejected", "NotImplemented")
        page = await who.until(
            f"{who.station}/messages", lambda found: len(found["items"]) == 2, action="BootNotification"
        )
        assert [one["outcome"] for one in page["items"]] == ["callresult", "callresult"]


@every_version
async def test_connector_is_unlocked_or_jammed(address: Address, version: str) -> None:
    async with operator(address, f"UNLOCK-{version}") as who, STATIONS[version].online(who, address) as station:
        done = await who.command(type="unlock", evse_id=1)
        assert (done["state"], done["status"]) == ("accepted", "Unlocked")
        station.jammed = True
        failed = await who.command(type="unlock", evse_id=1, connector_id=1)
        assert (failed["state"], failed["status"]) == ("rejected", "UnlockFailed")
        unknown = await who.command(type="unlock", evse_id=7)
        assert (unknown["state"], unknown["status"]) == (
            "rejected",
            "NotSupported" if version == "1.6" else "UnknownConnector",
        )
        assert (await who.command(type="clear_cache"))["state"] == "accepted"


@every_version
async def test_connector_is_taken_out_of_service_and_back(address: Address, version: str) -> None:
    async with operator(address, f"SERVICE-{version}") as who, STATIONS[version].online(who, address) as station:

        async def shows(status: str) -> None:
            await who.until(
                who.station, lambda found: [one["status"] for one in found["evses"][0]["connectors"]] == [status]
            )

        await shows("Available")
        await charge(who, station)
        out = await who.command(type="change_availability", operative=False, evse_id=1)
        assert (out["state"], out["status"]) == ("accepted", "Scheduled")
        await end(station)
        await shows("Unavailable")
        wanted = await who.items(f"{who.station}/availability")
        assert [(one["evse_id"], one["operative"]) for one in wanted] == [(1, False)]
        back = await who.command(type="change_availability", operative=True, evse_id=1)
        assert (back["state"], back["status"]) == ("accepted", "Accepted")
        await shows("Available")
