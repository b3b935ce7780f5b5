"""Block C: id tokens, their groups, the master pass, the cache."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import IdToken, Operator
from tests.conformance.states import Session


async def nobodys(csms: Operator) -> IdToken:
    """An id token that is not known any more."""
    token = await csms.id_token()
    await csms.delete(f"/id-tokens/{token.id}")
    return token


async def at_evse(csms: Operator, version: str, token: IdToken) -> Session:
    """State EVConnectedPreSession."""
    driver = Session(await csms.booted(version), token)
    await driver.ev_connected_pre_session()
    return driver


@case()
async def test_TC_C_02_CSMS(csms: Operator, version: str) -> None:
    driver = Session(await csms.booted(version), await nobodys(csms))
    assert (await driver.authorize())["status"] in {"Invalid", "Unknown"}


@case()
async def test_TC_C_06_CSMS(csms: Operator, version: str) -> None:
    driver = Session(await csms.booted(version), await csms.id_token("Blocked"))
    assert (await driver.authorize())["status"] in {"Blocked", "Invalid"}


@case()
async def test_TC_C_07_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for expired in (await csms.id_token("Expired"), await csms.id_token(valid_until=yesterday)):
        assert (await Session(station, expired).authorize())["status"] in {"Expired", "Invalid"}


@case()
async def test_TC_C_08_CSMS(csms: Operator, version: str) -> None:
    driver = await at_evse(csms, version, await csms.id_token())
    answer = await driver.event("Authorized", token=driver.token)
    assert answer["idTokenInfo"]["status"] == "Accepted"


@case()
async def test_TC_C_20_CSMS(csms: Operator, version: str) -> None:
    driver = await at_evse(csms, version, await nobodys(csms))
    answer = await driver.event("Authorized", token=driver.token)
    assert answer["idTokenInfo"]["status"] in {"Invalid", "Unknown"}


@case()
async def test_TC_C_37_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "clear_cache")
    await (await station.expect("ClearCache")).answer(status="Accepted")
    await doing.ends("accepted", "Accepted")


@case()
async def test_TC_C_38_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    doing = csms.command(station, "clear_cache")
    await (await station.expect("ClearCache")).answer(status="Rejected")
    assert (await doing.ends("rejected", "Rejected"))["reason"]


async def two_of_a_group(csms: Operator, group: str) -> tuple[IdToken, IdToken]:
    """Two id tokens of one group."""
    return await csms.id_token(group_id=group), await csms.id_token(group_id=group)


def of_group(info: dict[str, Any], group: str) -> None:
    """Accepted, with the group named."""
    assert info["status"] == "Accepted"
    assert info["groupIdToken"]["idToken"] == group


async def stopped_by(csms: Operator, driver: Session, other: IdToken, group: str) -> None:
    """The second of the group stops the transaction; nothing is wrong with that."""
    of_group((await driver.event("StopAuthorized", token=other))["idTokenInfo"], group)
    await driver.ev_connected_post_session()
    await driver.ev_disconnected()
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["id_token"], seen["flags"]) == ("closed", driver.token.value, [])


@case()
async def test_TC_C_39_CSMS(csms: Operator, version: str) -> None:
    first, second = await two_of_a_group(csms, "GROUP-39")
    driver = await at_evse(csms, version, first)
    of_group(await driver.authorize(second), "GROUP-39")
    of_group((await driver.event("Authorized", token=first))["idTokenInfo"], "GROUP-39")
    driver.authorized_before = True
    await driver.energy_transfer_started()
    of_group(await driver.authorize(second), "GROUP-39")
    await stopped_by(csms, driver, second, "GROUP-39")


@case()
async def test_TC_C_40_CSMS(csms: Operator, version: str) -> None:
    first, second = await two_of_a_group(csms, "GROUP-40")
    driver = await at_evse(csms, version, first)
    of_group((await driver.event("Authorized", token=first))["idTokenInfo"], "GROUP-40")
    driver.authorized_before = True
    await driver.energy_transfer_started()
    await stopped_by(csms, driver, second, "GROUP-40")


@case()
async def test_TC_C_43_CSMS(csms: Operator, version: str) -> None:
    first, second = await two_of_a_group(csms, "GROUP-43")
    driver = await at_evse(csms, version, first)
    of_group((await driver.event("Authorized", token=first))["idTokenInfo"], "GROUP-43")
    driver.authorized_before = True
    await driver.energy_transfer_started()
    of_group(await driver.authorize(second), "GROUP-43")
    await stopped_by(csms, driver, second, "GROUP-43")


async def charging_everywhere(csms: Operator, version: str) -> tuple[Session, Session]:
    """State EnergyTransferStarted on both EVSEs of a station, with an id token each."""
    station = await csms.booted(version)
    one, two = Session(station, await csms.id_token()), Session(station, await csms.id_token(), evse=2)
    await one.energy_transfer_started()
    await two.energy_transfer_started()
    return one, two


MASTER = "MASTER-PASS"


async def master_ends(csms: Operator, master: IdToken, *sessions: Session) -> None:
    """The holder of the master pass stops transactions (C16); nothing is wrong with that."""
    await csms.patch("/tenants/default", {"settings": {"master_pass_group_id": MASTER}})
    of_group(await sessions[0].authorize(master), MASTER)
    for driver in sessions:
        answer = await driver.ended("StopAuthorized", stopped="MasterPass", token=master)
        of_group(answer["idTokenInfo"], MASTER)
    seen = {one["ocpp_transaction_id"]: one for one in await csms.transactions(sessions[0].station)}
    for driver in sessions:
        one = seen[driver.transaction_id]
        assert (one["state"], one["stop_reason"], one["flags"]) == ("closed", "MasterPass", [])


@case()
async def test_TC_C_47_CSMS(csms: Operator, version: str) -> None:
    sessions = await charging_everywhere(csms, version)
    await master_ends(csms, await csms.id_token(group_id=MASTER), *sessions)


@case()
async def test_TC_C_48_CSMS(csms: Operator, version: str) -> None:
    one, two = await charging_everywhere(csms, version)
    await master_ends(csms, await csms.id_token(group_id=MASTER), one)
    seen = {row["ocpp_transaction_id"]: row["state"] for row in await csms.transactions(one.station)}
    assert seen == {one.transaction_id: "closed", two.transaction_id: "open"}


@case()
async def test_TC_C_49_CSMS(csms: Operator, version: str) -> None:
    sessions = await charging_everywhere(csms, version)
    await master_ends(csms, await csms.id_token(group_id=MASTER), *sessions)
