"""ocpp.md, items 3 and 17, and who may stop what another began."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.field import PASSWORD, VERSIONS, VERSIONS_2X, Station, World, at, now, sampled, token_status

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


# -- C: ways to be let in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_token_of_the_csms_begins_and_ends_a_transaction(world: World, version: str) -> None:
    """OCPP 2.0.1, C05: a token of type Central, made for a driver without a card; 1.6 has no types."""
    tag = f"app-{version}"
    await world.post("/id-tokens", {"id_token": tag, "type": "Central"})
    station = await world.station(version)
    order = {"type": "start", "id_token": tag, "evse_id": 1}
    answer = await world.rest.post(f"/charging-stations/{station.id}/commands?wait_s=20", json=order)
    assert answer.json()["state"] == "accepted", answer.text
    _, asked = station.got[-1]
    token = {"idToken": tag, "type": "Central"}
    assert asked.get("idTag") == tag or asked["idToken"] == token
    charge = station.charge(tag=tag)
    more = {} if version == "1.6" else {"idToken": token, "triggerReason": "RemoteStart"}
    assert token_status(await charge.start(1000, 0, **more)) == "Accepted"
    await charge.end(1500, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["id_token"], one["authorization_status"]) == (500, tag, "Accepted")


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_anybody_charges_where_the_station_asks_for_no_authorization(world: World, version: str) -> None:
    """OCPP 2.0.1, C02: the empty token of type NoAuthorization."""
    station = await world.station(version)
    charge = station.charge(tag=None)
    nobody = {"idToken": "", "type": "NoAuthorization"}
    assert token_status(await charge.start(1000, 0, idToken=nobody)) == "Accepted"
    await charge.end(1500, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["state"], one["flags"]) == (500, "closed", [])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_token_charges_so_often_at_once_as_it_may(world: World, version: str) -> None:
    """OCPP 1.6, 7.2 and 2.0.1, C01: ConcurrentTx, whichever station it is; when one has ended there is room again."""
    tag = await world.token(concurrent_limit=1)
    first, second = await world.station(version), await world.station(version)
    charge, other, third = first.charge(tag=tag), second.charge(tag=tag), second.charge(tag=tag)
    assert token_status(await charge.start(1000, 0)) == "Accepted"
    assert token_status(await other.start(2000, 1)) == "ConcurrentTx"
    await other.end(2100, 5)
    await charge.end(1500, 20)
    assert token_status(await third.start(2100, 30)) == "Accepted"
    assert [one["flags"] for one in await second.transactions()] == [["refused_token"], []]


# -- C: what must come with a token, key codes, limits ------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_pin_that_must_come_with_a_token(world: World, version: str) -> None:
    """OCPP 2.0.1, C03 and IdTokenType.additionalInfo: a card is good with its PIN alone."""
    tag = await world.token(rules={"additional_info": [{"value": "4711", "type": "PIN"}]})
    station = await world.station(version)

    async def shown(*more: dict[str, str]) -> str | None:
        token = {"idToken": tag, "type": "ISO14443", **({"additionalInfo": list(more)} if more else {})}
        return token_status(await station.call("Authorize", {"idToken": token}))

    assert await shown() == "Invalid"
    assert await shown({"additionalIdToken": "0815", "type": "PIN"}) == "Invalid"
    assert await shown({"additionalIdToken": "4711", "type": "PIN"}) == "Accepted"


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_c04_fr_06_who_guesses_key_codes_has_to_wait(world: World, version: str) -> None:
    """OCPP 2.0.1, C04.FR.06: after five wrong ones none is looked at for a while, by no way to present them; cards go on."""
    code = f"47{version.replace('.', '')}"
    await world.post("/id-tokens", {"id_token": code, "type": "KeyCode"})
    station, other = await world.station(version), await world.station(version)

    async def shown(at_station: Station, value: str) -> str | None:
        token = {"idToken": value, "type": "KeyCode"}
        return token_status(await at_station.call("Authorize", {"idToken": token}))

    for guess in range(4):
        assert await shown(station, f"{guess:04}") == "Invalid"
    assert await shown(station, code) == "Accepted"  # a right one ends the row
    for guess in range(5):
        assert await shown(station, f"{guess:04}") == "Invalid"
    assert await shown(station, code) == "Invalid"
    charge = station.charge(tag=None)
    assert token_status(await charge.start(0, 0, idToken={"idToken": code, "type": "KeyCode"})) == "Invalid"
    card = {"idToken": "TAG", "type": "ISO14443"}
    assert token_status(await station.call("Authorize", {"idToken": card})) == "Accepted"
    assert await shown(other, code) == "Accepted"
    (event,) = (
        await world.eventually(
            lambda: world.get("/security-events", station_id=station.id, type="KeyCodesGuessed"),
            lambda page: len(page["items"]) == 1,
        )
    )["items"]
    assert (event["severity"], event["hits"]) == ("notice", 1)
    (alert,) = (await world.get("/alerts", station_id=station.id, kind="security_event"))["items"]
    assert (alert["ident"], alert["severity"]) == ("KeyCodesGuessed", "warning")


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_e16_fr_12_a_station_is_told_the_limits_that_it_keeps_and_no_other(world: World, version: str) -> None:
    """OCPP 2.1, E16.FR.02 and E16.FR.12; what it does not keep is kept here."""
    rules = {"max_energy_wh": 20_000, "max_time_s": 36_000, "max_soc": 80, "max_cost": 12.5}
    tag = await world.token(rules=rules)

    async def told(station: Station) -> Any:
        charge = station.charge(tag=tag)
        answer = await charge.start(0, 0, timestamp=now())
        assert token_status(answer) == "Accepted"
        await charge.end(10, 1, timestamp=now())
        return answer.get("transactionLimit")

    station = await world.station(version)
    assert await told(station) is None  # nothing is known of what it keeps
    variable = {
        "component": {"name": "TxCtrlr"},
        "variable": {"name": "SupportedLimits"},
        "variableAttribute": [{"value": "maxEnergy,maxSoC"}],
    }
    report = {"requestId": 1, "generatedAt": at(0), "seqNo": 0, "reportData": [variable]}
    await station.call("NotifyReport", report)
    path = f"/charging-stations/{station.id}/variables"
    await world.eventually(lambda: world.get(path, variable="SupportedLimits"), lambda page: page["items"])
    assert await told(station) == (None if version == "2.0.1" else {"maxEnergy": 20_000, "maxSoC": 80})


@pytest.mark.parametrize("event", ["Started", "Authorized"])
async def test_e16_fr_02_a_report_repeated_after_its_answer_was_lost_is_answered_with_the_limits_again(
    world: World, event: str
) -> None:
    """OCPP 2.1, E16.FR.02: with those it was answered with the first time, whatever the token's rules are meanwhile; no later one has any."""
    tag = await world.token(rules={"max_energy_wh": 20_000, "max_soc": 80})
    station = await world.station("2.1")
    variable = {
        "component": {"name": "TxCtrlr"},
        "variable": {"name": "SupportedLimits"},
        "variableAttribute": [{"value": "maxEnergy"}],
    }
    report = {"requestId": 1, "generatedAt": at(0), "seqNo": 0, "reportData": [variable]}
    await station.call("NotifyReport", report)
    path = f"/charging-stations/{station.id}/variables"
    await world.eventually(lambda: world.get(path, variable="SupportedLimits"), lambda page: page["items"])
    charge = station.charge(tag=tag)
    opening = charge.event("Started", 0, 0, "CablePluggedIn", timestamp=now())
    told = opening | charge.event("Started", 0, 0, "Authorized", token=tag, timestamp=opening["timestamp"])
    if event == "Authorized":
        await station.call("TransactionEvent", opening)
        told = charge.event("Updated", 0, 1, "Authorized", token=tag, timestamp=now())
    first = await station.call("TransactionEvent", told)
    assert first["transactionLimit"] == {"maxEnergy": 20_000}
    one = await station.transaction()
    details = f"/transactions/{one['id']}/details"
    await world.eventually(lambda: world.get(details), lambda seen: seen["limits"])
    await station.leave()
    station = charge.station = await world.plug(station.id, "2.1")
    assert await station.call("TransactionEvent", told) == first
    assert "transactionLimit" not in await charge.update(10, 2)


async def test_limit_that_a_station_does_not_keep_is_kept_here(world: World) -> None:
    """OCPP 2.1, E16: the station reports that it keeps the energy; the state of charge is looked at by the server, to the percent."""
    tag = await world.token(rules={"max_soc": 80, "max_energy_wh": 10_000})
    station = await world.station("2.1")
    variable = {
        "component": {"name": "TxCtrlr"},
        "variable": {"name": "SupportedLimits"},
        "variableAttribute": [{"value": "maxEnergy"}],
    }
    report = {"requestId": 1, "generatedAt": at(0), "seqNo": 0, "reportData": [variable]}
    await station.call("NotifyReport", report)
    path = f"/charging-stations/{station.id}/variables"
    await world.eventually(lambda: world.get(path, variable="SupportedLimits"), lambda page: page["items"])
    charge = station.charge(tag=tag)
    await charge.start(0, 0, timestamp=now())
    await charge.update(10_020, 1)  # a little beyond is the station's own business
    await charge.update(0, 2, meterValue=[sampled("2.1", 80, at(2), measurand="SoC", unit="Percent")])
    asked = await station.until_called("RequestStopTransaction", 20)
    assert asked == {"transactionId": charge.ocpp_id}
    one = await station.transaction()
    details = f"/transactions/{one['id']}/details"
    await world.eventually(lambda: world.get(details), lambda seen: seen["limits"]["reached"] == "soc", 20)


def _group(answer: dict[str, dict[str, object]]) -> object:
    info = answer.get("idTagInfo")
    if info is not None:
        return info.get("parentIdTag")
    return answer["idTokenInfo"]["groupIdToken"]["idToken"]  # type: ignore[index]
