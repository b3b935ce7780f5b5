"""Signed meter values from the meter to the CDR, in every version: verified, shown, required; keys registered, sent along, retired."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from chargeplane.simulator import FAST, VirtualStation
from chargeplane.simulator.faults import Fault
from chargeplane.simulator.signing import public_key_of
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import VERSIONS, ChargingHouse

SIGNS = replace(FAST, signs=True)


async def station_of(made: Site, version: str, *, registered: bool = True, **more: Any) -> VirtualStation:
    station = await made.station(version, replace(SIGNS, **more))
    if registered:
        await made.tenant.send(
            "POST",
            f"/charging-stations/{station.station_id}/meter-public-keys",
            {"public_key": public_key_of(station.station_id)},
        )
    return station


async def charged(made: Site, station: VirtualStation) -> Any:
    """The CDR of a visit."""
    tag = (await made.tenant.token())["id_token"]
    before = len(await made.cdrs())
    await station.charge(id_token=tag, energy_wh=5_000, meter_interval_s=600)
    return (await made.settled(before + 1))[-1]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_the_meter_signed_is_proven_and_handed_to_the_driver(house: ChargingHouse, version: str) -> None:
    made = await site(house, ENERGY, signed_meter_values="require")
    station = await station_of(made, version)
    cdr = await charged(made, station)
    assert cdr["holds"] == []
    said = (await made.tenant.get(f"/cdrs/{cdr['id']}"))["signed_data"]
    assert (said["values"], said["valid"], said["proven"], said["agrees"]) == (2, 2, True, True)
    assert said["energy_wh"] == 5_000
    values = await made.tenant.get(f"/sessions/{cdr['session_id']}/signed-meter-values")
    assert [one["readings"][0]["reason"] for one in values["values"]] == ["B", "E"]
    answer = await made.tenant.client.get(f"/cdrs/{cdr['id']}/transparency-file")
    root = ElementTree.fromstring(answer.content)
    assert [value.get("context") for value in root] == ["Transaction.Begin", "Transaction.End"]
    assert root[0].findtext("publicKey") == public_key_of(station.station_id)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_wrong_signature_holds_the_cdr_and_raises_an_alert(house: ChargingHouse, version: str) -> None:
    made = await site(house, ENERGY, signed_meter_values="require")
    station = await station_of(made, version, faults=frozenset({Fault.WRONG_SIGNATURE}))
    cdr = await charged(made, station)
    assert [one["hold"] for one in cdr["holds"]] == ["signature"]
    alerts = (await made.tenant.get("/alerts", kind="signed_meter_value"))["items"]
    assert [(one["station_id"], one["details"]["session_id"]) for one in alerts] == [
        (station.station_id, cdr["session_id"])
    ]
    released = await made.tenant.send("POST", f"/cdrs/{cdr['id']}/release", {"reason": "The meter was read by hand"})
    assert (released["held"], released["release"]["reason"]) == (False, "The meter was read by hand")
    again = await made.tenant.client.post(f"/cdrs/{cdr['id']}/release", json={"reason": "Twice"})
    assert again.status_code == 409


async def test_keys_that_stations_send_are_kept_and_not_trusted(house: ChargingHouse) -> None:
    made = await site(house, ENERGY, signed_meter_values="require")
    station = await station_of(made, "2.0.1", registered=False)
    cdr = await charged(made, station)
    assert [one["hold"] for one in cdr["holds"]] == ["signature"]
    path = f"/charging-stations/{station.station_id}/meter-public-keys"
    (kept,) = (await made.tenant.get(path))["items"]
    assert (kept["source"], kept["public_key"]) == ("station", public_key_of(station.station_id))
    # An operator who registers it says that it is the meter's.
    own = await made.tenant.send("POST", path, {"public_key": kept["public_key"], "ocpp_evse_id": 1})
    assert (own["id"], own["source"]) == (kept["id"], "operator")
    assert (await charged(made, station))["holds"] == []
    assert (
        await made.tenant.client.post(path, json={"public_key": kept["public_key"], "ocpp_evse_id": 1})
    ).status_code == 409
    await made.tenant.send("DELETE", f"{path}/{kept['id']}", status=204)
    assert (await made.tenant.client.delete(f"{path}/{kept['id']}")).status_code == 404
    bad = await made.tenant.client.post(path, json={"public_key": "no key"})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "#/public_key")


async def test_a_tenant_that_trusts_its_stations_takes_their_keys(house: ChargingHouse) -> None:
    made = await site(house, ENERGY, signed_meter_values="require", trust_station_keys=True)
    assert (await charged(made, await station_of(made, "2.1", registered=False)))["holds"] == []


@pytest.mark.parametrize(("policy", "holds"), [("ignore", []), ("show", []), ("require", ["signature"])])
async def test_what_is_not_signed_is_held_only_where_it_is_required(
    house: ChargingHouse, policy: str, holds: list[str]
) -> None:
    made = await site(house, ENERGY, signed_meter_values=policy)
    cdr = await charged(made, await made.station("2.0.1"))
    assert [one["hold"] for one in cdr["holds"]] == holds
    answer = await made.tenant.client.get(f"/cdrs/{cdr['id']}/transparency-file")
    assert answer.status_code == 409
