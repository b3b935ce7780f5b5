"""Block E: transactions as 2.x stations begin, continue and end them."""

from __future__ import annotations

from typing import Any

from tests.conformance.official import case
from tests.conformance.rest import Operator
from tests.conformance.states import Session, register_value
from tests.conformance.station import Station


async def session(csms: Operator, version: str) -> Session:
    """A booted station and a driver with a valid id token."""
    return Session(await csms.booted(version), await csms.id_token())


async def is_open(csms: Operator, driver: Session) -> Any:
    """The operator sees the running transaction of this session."""
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["ocpp_transaction_id"]) == ("open", driver.transaction_id)
    assert (seen["gaps"], seen["flags"]) == ([], [])
    return seen


async def has_ended(csms: Operator, driver: Session, reason: str | None, flags: tuple[str, ...] = ()) -> Any:
    """The operator sees that it ended, and why."""
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["stop_reason"]) == ("closed", reason)
    assert (seen["gaps"], tuple(seen["flags"])) == ([], flags)
    return seen


def accepted(answer: dict[str, Any]) -> None:
    """The id token in the answer to a TransactionEvent is good."""
    assert answer["idTokenInfo"]["status"] == "Accepted"


@case()
async def test_TC_E_01_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    assert (await driver.authorize())["status"] == "Accepted"
    await driver.connector("Occupied")
    accepted(await driver.event("ChargingStateChanged", token=driver.token, evse=driver.evse, state="SuspendedEVSE"))
    await driver.event("ChargingStateChanged", state="Charging")
    seen = await is_open(csms, driver)
    assert (seen["id_token"], seen["evse_id"]) == (driver.token.value, 1)


@case()
async def test_TC_E_02_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    assert (await driver.authorize())["status"] == "Accepted"
    await driver.connector("Occupied")
    accepted(await driver.event("ChargingStateChanged", token=driver.token, evse=driver.evse, state="Charging"))
    await is_open(csms, driver)


@case()
async def test_TC_E_03_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.ev_connected_pre_session()
    await driver.authorized()
    await driver.energy_transfer_started()
    seen = await is_open(csms, driver)
    assert seen["id_token"] == driver.token.value


@case()
async def test_TC_E_04_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.authorized()
    await driver.energy_transfer_started()
    await is_open(csms, driver)


@case()
async def test_TC_E_07_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await driver.ended("StopAuthorized", stopped="Local")
    await has_ended(csms, driver, "Local")


@case()
async def test_TC_E_08_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await driver.stop_authorized()
    await driver.ended("ChargingStateChanged", state="EVConnected", stopped="Local")
    await has_ended(csms, driver, "Local")


@case()
async def test_TC_E_09_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.connector("Occupied")
    await driver.event("CablePluggedIn", evse=driver.evse, state="EVConnected")
    seen = await is_open(csms, driver)
    assert seen["id_token"] is None


@case()
async def test_TC_E_10_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    assert (await driver.authorize())["status"] == "Accepted"
    accepted(await driver.event("Authorized", token=driver.token))
    await is_open(csms, driver)


SIGNED = {
    "signedMeterData": "T0NNRnx7fXx7fQ==",
    "signingMethod": "ECDSA-secp256r1-SHA256",
    "encodingMethod": "OCMF",
    "publicKey": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE",
}
"""A signed meter value in form; nobody here checks the signature."""


@case()
async def test_TC_E_11_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    assert (await driver.authorize())["status"] == "Accepted"
    await driver.connector("Occupied")
    begin = register_value(0.0, "Transaction.Begin", signed=SIGNED)
    accepted(await driver.event("SignedDataReceived", token=driver.token, evse=driver.evse, meterValue=[begin]))
    await driver.event("ChargingStateChanged", state="Charging")
    seen = await is_open(csms, driver)
    (value,) = await csms.items(f"/transactions/{seen['id']}/meter-values")
    (sample,) = value["samples"]
    assert (sample["value"], sample["context"]) == (0, "Transaction.Begin")
    assert sample["signed"]["data"] == SIGNED["signedMeterData"]


@case()
async def test_TC_E_12_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.event("EVDetected")
    await is_open(csms, driver)


@case()
async def test_TC_E_14_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await driver.stop_authorized()
    await driver.ev_connected_post_session()
    await driver.ev_disconnected()
    await has_ended(csms, driver, "EVDisconnected")


@case()
async def test_TC_E_15_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await driver.ended("StopAuthorized", stopped="Local")
    await has_ended(csms, driver, "Local")


@case()
async def test_TC_E_16_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    unknown = await csms.id_token()
    await csms.delete(f"/id-tokens/{unknown.id}")
    driver = Session(station, unknown)
    answer = await driver.event("Authorized", token=unknown)
    assert answer["idTokenInfo"]["status"] in {"Invalid", "Unknown"}
    await driver.ended("Deauthorized", stopped="DeAuthorized")
    await has_ended(csms, driver, "DeAuthorized", ("refused_token",))


@case()
async def test_TC_E_17_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_suspended()
    await driver.ended("EVCommunicationLost", state="Idle", stopped="EVDisconnected")
    await has_ended(csms, driver, "EVDisconnected")


@case()
async def test_TC_E_19_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await driver.stop_authorized()
    await driver.ev_connected_post_session()
    # the state EVDisconnected, but that the transaction goes on until the parking bay is free (E06.FR.01)
    await driver.connector("Available")
    await driver.event("EVCommunicationLost", state="Idle")
    await driver.ended("EVDeparted", stopped="Local")
    await has_ended(csms, driver, "Local")


@case()
async def test_TC_E_20_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_suspended()
    await driver.ev_disconnected()
    await has_ended(csms, driver, "EVDisconnected")


@case()
async def test_TC_E_21_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    doing = csms.command(driver.station, "stop", transaction_id=(await is_open(csms, driver))["id"])
    asked = await driver.station.expect("RequestStopTransaction", transactionId=driver.transaction_id)
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    await driver.ended("RemoteStop", stopped="Remote")
    await has_ended(csms, driver, "Remote")


@case()
async def test_TC_E_22_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await driver.ended("ChargingStateChanged", state="SuspendedEV", stopped="StoppedByEV")
    await has_ended(csms, driver, "StoppedByEV")


@case()
async def test_TC_E_26_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_suspended()
    await driver.event("EVCommunicationLost", state="Idle")
    await driver.connector("Available")
    await driver.event("CablePluggedIn", state="EVConnected")
    await driver.event("ChargingStateChanged", state="Charging")
    await is_open(csms, driver)


@case()
async def test_TC_E_38_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.authorized()
    await driver.ev_connected_pre_session()
    await driver.event("ChargingStateChanged", state="SuspendedEV")
    await is_open(csms, driver)


@case()
async def test_TC_E_39_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.authorized()
    await driver.ended("EVConnectTimeout", stopped="Timeout")
    await has_ended(csms, driver, "Timeout")


@case()
async def test_TC_E_53_CSMS(csms: Operator, version: str) -> None:
    station, token = await csms.booted(version), await csms.id_token()
    for _ in range(2):
        driver = Session(station, token)
        await driver.energy_transfer_started()
        await driver.stop_authorized()
        await driver.ev_connected_post_session()
        await driver.ev_disconnected()
    seen = await csms.transactions(station)
    assert [(one["state"], one["gaps"], one["flags"]) for one in seen] == [("closed", [], [])] * 2
    events = [await csms.items(f"/transactions/{one['id']}/events") for one in seen]
    assert [found[0]["seq_no"] for found in events] == [0, 0]


async def away_and_back(station: Station) -> None:
    """The station loses its connection and comes back."""
    await station.close()
    await station.connect()


async def status_asked(
    csms: Operator, station: Station, transaction_id: str | None, ongoing: bool | None, queued: bool
) -> None:
    """The operator asks what of a transaction, or of any, is still to come, and sees what the station says."""
    named = {"ocpp_transaction_id": transaction_id} if transaction_id else {}
    doing = csms.command(station, "get_transaction_status", **named)
    asked = await station.expect("GetTransactionStatus", transactionId=transaction_id)
    told = {} if ongoing is None else {"ongoingIndicator": ongoing}
    await asked.answer(messagesInQueue=queued, **told)
    view = await doing.ends("accepted", "MessagesInQueue" if queued else "NothingInQueue")
    assert view["answer"] == {"messagesInQueue": queued, **told}


async def queued_values(driver: Session) -> None:
    """A report from the time without connection."""
    await driver.event("MeterValuePeriodic", offline=True, meterValue=[register_value(100)])


@case()
async def test_TC_E_29_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await away_and_back(driver.station)
    await status_asked(csms, driver.station, driver.transaction_id, True, True)
    await queued_values(driver)
    assert (await csms.transaction(driver.station))["offline"]


@case()
async def test_TC_E_30_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await status_asked(csms, driver.station, driver.transaction_id, True, False)


@case()
async def test_TC_E_31_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await away_and_back(driver.station)
    await driver.connector("Available")
    first = driver.seq_no
    driver.seq_no += 2
    await driver.ended("EVCommunicationLost", state="Idle", stopped="EVDisconnected", offline=True)
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["gaps"]) == ("closed", [{"first_seq_no": first, "last_seq_no": first + 1}])
    # by itself: nobody gives a command
    asked = await driver.station.expect("GetTransactionStatus", transactionId=driver.transaction_id)
    await asked.answer(ongoingIndicator=False, messagesInQueue=True)
    driver.seq_no = first
    await driver.event("StopAuthorized", offline=True)
    await driver.event("ChargingStateChanged", state="EVConnected", offline=True)
    seen = await csms.transaction(driver.station)
    assert (seen["state"], seen["gaps"], seen["stop_reason"]) == ("closed", [], "EVDisconnected")


@case()
async def test_TC_E_33_CSMS(csms: Operator, version: str) -> None:
    driver = await session(csms, version)
    await driver.energy_transfer_started()
    await away_and_back(driver.station)
    await status_asked(csms, driver.station, None, None, True)
    await queued_values(driver)


@case()
async def test_TC_E_34_CSMS(csms: Operator, version: str) -> None:
    station = await csms.booted(version)
    await status_asked(csms, station, None, None, False)
