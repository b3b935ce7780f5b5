"""ocpp.md, items 3 and 17, and who may stop what another began."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.field import PASSWORD, VERSIONS, World, token_status

REFUSED_16 = {"Unknown": "Invalid"}


def said(version: str, status: str) -> str:
    """A status in the words of a version."""
    return REFUSED_16.get(status, status) if version == "1.6" else status


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", ["Unknown", "Blocked"])
async def test_start_with_a_refused_token_keeps_the_record(world: World, version: str, status: str) -> None:
    """Item 3: start with an unknown or blocked token; energy may already flow."""
    tag = "nobody-has-this" if status == "Unknown" else await world.token("Blocked")
    station = await world.station(version)
    charge = station.charge(tag=tag)
    answer = await charge.start(1000, 0)
    assert token_status(answer) == said(version, status)
    if version == "1.6":
        assert answer["transactionId"] > 0
    await charge.update(1300, 10)
    await charge.end(1450, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["state"], one["flags"]) == (450, "closed", ["refused_token"])
    assert (one["id_token"], one["authorization_status"]) == (tag, status)


@pytest.mark.parametrize("version", VERSIONS)
async def test_tokens_compare_without_case(world: World, version: str) -> None:
    """Item 17: id tokens compare without case."""
    tag = await world.token()
    station = await world.station(version)
    charge = station.charge(tag=tag.lower())
    assert token_status(await charge.start(1000, 0)) == "Accepted"
    assert token_status(await charge.end(1500, 20, tag.upper())) == "Accepted"
    one = await station.transaction()
    assert (one["id_token"], one["flags"]) == (tag.lower(), [])
    assert (await world.get("/transactions", id_token=tag.swapcase()))["items"] == [one]


@pytest.mark.parametrize("version", VERSIONS)
async def test_station_id_is_percent_encoded_and_its_case_and_slashes_vary(world: World, version: str) -> None:
    """Item 17: station ids are percent-encoded in URLs; case and slashes vary."""
    station_id = f"Säule 7/{version} #1"
    await world.post("/charging-stations", {"station_id": station_id, "password": PASSWORD})
    login = f"{station_id.upper()}:{PASSWORD}".encode()
    for path in (quote(station_id, safe=""), "/" + quote(station_id.upper(), safe="").lower() + "//"):
        station = await world.plug("", version, path=path, auth=login)
        assert (await station.boot())["status"] == "Accepted"
    seen = await world.get(f"/charging-stations/{quote(station_id, safe='')}")
    assert (seen["station_id"], seen["connected"]) == (station_id, True)


@pytest.mark.parametrize("version", VERSIONS)
async def test_another_token_that_stops_is_answered_truthfully_and_flagged(world: World, version: str) -> None:
    """Who may stop: neither the same token nor one of its group."""
    tag, other = await world.token(group_id="FAMILY"), await world.token(group_id="OTHERS")
    station = await world.station(version)
    charge = station.charge(tag=tag)
    await charge.start(1000, 0)
    answer = await charge.end(1500, 20, other)
    assert token_status(answer) == "Accepted"
    assert _group(answer) == "OTHERS"
    one = await station.transaction()
    assert (one["energy_wh"], one["state"], one["flags"]) == (500, "closed", ["stopped_by_other"])
    assert one["id_token"] == tag


@pytest.mark.parametrize("version", VERSIONS)
async def test_token_of_the_same_group_stops_without_a_flag(world: World, version: str) -> None:
    """Who may stop: a token of the same group."""
    tag, other = await world.token(group_id="FAMILY"), await world.token(group_id="family")
    station = await world.station(version)
    charge = station.charge(tag=tag)
    await charge.start(1000, 0)
    answer = await charge.end(1500, 20, other)
    assert (token_status(answer), _group(answer)) == ("Accepted", "family")
    assert (await station.transaction())["flags"] == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_unknown_token_that_stops_is_answered_so_and_flagged(world: World, version: str) -> None:
    """Who may stop: a stop is taken whoever made it."""
    station = await world.station(version)
    charge = station.charge(tag=await world.token())
    await charge.start(1000, 0)
    assert token_status(await charge.end(1500, 20, "nobody-has-this")) == said(version, "Unknown")
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (500, ["stopped_by_other"])


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_stop_authorised_by_another_token_before_the_end(world: World, version: str) -> None:
    """Who may stop: 2.x tells in an Updated with trigger StopAuthorized; the start may come last."""
    station = await world.station(version)
    charge = station.charge(tag=await world.token())
    start = charge.started(1000, 0)
    stop = charge.event("Updated", None, 20, "StopAuthorized", token=await world.token())
    await station.call("TransactionEvent", stop)
    await charge.end(1500, 20)
    assert (await station.transaction())["flags"] != ["stopped_by_other"]
    await station.call(*start)
    one = await station.transaction()
    assert (one["energy_wh"], one["state"]) == (500, "closed")
    assert "stopped_by_other" in one["flags"]
    assert one["id_token"] == charge.tag


def _group(answer: dict[str, dict[str, object]]) -> object:
    info = answer.get("idTagInfo")
    if info is not None:
        return info.get("parentIdTag")
    return answer["idTokenInfo"]["groupIdToken"]["idToken"]  # type: ignore[index]
