"""A foreign station's local list follows the operator's tokens, and its place is reserved, used, cancelled and expires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.foreign.house import Address, operator
from tests.foreign.stations import STATIONS
from tests.foreign.stations.sessions import moment

every_version = pytest.mark.parametrize("version", STATIONS)


@every_version
async def test_local_list_is_brought_whole_then_by_differences(address: Address, version: str) -> None:
    group = f"FLEET-{version}"
    settings = {"local_list": {"tokens": "groups", "group_ids": [group]}}
    async with operator(address, f"LIST-{version}", settings=settings) as who:
        tags = [f"{who.tag}{number}" for number in range(3)]
        made = [await who.post("/id-tokens", {"id_token": tag, "group_id": group}, 201) for tag in tags]
        async with STATIONS[version].online(who, address) as station:
            path = f"{who.station}/local-list"

            async def held(*wanted: str) -> Any:
                return await who.until(
                    path,
                    lambda found: (
                        found["in_sync"]
                        and (found["version"], found["entries"]) == (station.list_version, len(wanted))
                        and station.local_list == dict.fromkeys(wanted, "Accepted")
                    ),
                )

            first = await held(*tags)
            assert station.asked("SendLocalList")[0]["updateType"] == "Full"
            await who.post("/id-tokens", {"id_token": f"{who.tag}NEW", "group_id": group}, 201)
            await who.send("DELETE", f"/id-tokens/{made[0]['id']}", status=204)
            later = await held(*tags[1:], f"{who.tag}NEW")
            assert later["version"] > first["version"]
            assert {one["updateType"] for one in station.asked("SendLocalList")[1:]} == {"Differential"}
            told = await who.command(type="get_local_list_version")
            assert told["reply"] == {"version": station.list_version}

            station.local_list, station.list_version = {"SOMEBODYS": "Accepted"}, 0  # it lost its list
            await who.post(f"{path}/send", None, 202)
            await held(*tags[1:], f"{who.tag}NEW")
            assert station.asked("SendLocalList")[-1]["updateType"] == "Full"


def until(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@every_version
async def test_place_is_reserved_and_used_cancelled_or_expires(address: Address, version: str) -> None:
    async with operator(address, f"PLACE-{version}") as who, STATIONS[version].online(who, address) as station:
        body = {"station_id": who.name, "id_token": who.tag, "evse_id": 1, "valid_until": until(600)}
        first = await who.post("/reservations", body, 201)
        assert (first["state"], station.reservation) == ("accepted", first["ocpp_reservation_id"])
        second = await who.post("/reservations", {**body, "id_token": "ANOTHER"}, 201)
        assert second["state"] == "occupied"

        ident = station.reservation
        if version == "1.6":
            await station.start_transaction(who.tag, 1_000_000, moment(), reservation_id=ident)
        else:
            await station.start_transaction(who.tag, f"{who.name}-1", reservation_id=ident)
        station.reservation = None
        used = await who.until(f"/reservations/{first['id']}", lambda found: found["state"] == "used")
        (one,) = await who.items("/transactions", station_id=who.name)
        assert (one["id"], one["reservation_id"]) == (used["transaction_id"], ident)
        if version == "1.6":
            await station.stop_transaction(1_002_000, moment(4))
        else:
            await station.stop_transaction()
        await who.send("DELETE", f"/reservations/{first['id']}", status=409)

        third = await who.post("/reservations", body, 201)
        assert third["state"] == "accepted"
        gone = await who.send("DELETE", f"/reservations/{third['id']}")
        assert (gone["state"], station.reservation) == ("cancelled", None)

        if version == "1.6":
            return  # nobody tells the end: the server's clock finds it half a minute later
        short = await who.post("/reservations", {**body, "valid_until": until(1)}, 201)
        assert short["state"] == "accepted"
        await who.until(f"/reservations/{short['id']}", lambda found: found["state"] == "expired")
        assert len(station.told("ReservationStatusUpdate")) == 1
