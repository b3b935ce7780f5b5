"""OCPP 2.1 beyond 2.0.1: resuming, prepaid and ad hoc payment, limits, tariffs that stations calculate with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.conftest import House
from tests.conformance.rest import IdToken, Operator
from tests.conformance.states import Session
from tests.conformance.station import Station, moment
from tests.conformance.test_21_smart_charging import put
from tests.conformance.test_k_smart_charging import relative
from tests.conformance.use_cases import requires

VERSION = "2.1"
TARIFF: dict[str, Any] = {
    "tariff_id": "day",
    "currency": "EUR",
    "energy": {"prices": [{"price_kwh": 0.4}], "tax_rates": [{"type": "vat", "tax": 19}]},
}


async def session(csms: Operator, **token: Any) -> Session:
    return Session(await csms.booted(VERSION), await csms.id_token(**token))


async def keeps_limits(csms: Operator, station: Station) -> None:
    """The station reports that it keeps every limit of a transaction (TxCtrlr.SupportedLimits)."""
    told = {
        "component": {"name": "TxCtrlr"},
        "variable": {"name": "SupportedLimits"},
        "variableAttribute": [{"value": "maxCost,maxEnergy,maxTime,maxSoC"}],
    }
    report = {"requestId": 1, "generatedAt": moment(), "seqNo": 0, "reportData": [told]}
    assert await station.send("NotifyReport", report) == {}
    path = f"/charging-stations/{station.id}/variables"
    await csms.eventually(lambda: csms.items(path, variable="SupportedLimits"), bool)


def is_now(text: str) -> bool:
    return abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(seconds=30)


# -- B13, E17: going on after a restart ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tells", [True, False], ids=["tells", "cannot-tell"])
@requires("FR.31")
async def test_B13_the_profile_of_a_transaction_that_goes_on_is_sent_again(csms: Operator, tells: bool) -> None:
    driver = await session(csms)
    station = driver.station
    await driver.energy_transfer_started()
    await put(csms, station, 41, relative(9, transaction_id=driver.transaction_id))
    reset = csms.command(station, "reset", kind="immediate_and_resume")
    asked = await station.expect("Reset")
    assert asked["type"] == "ImmediateAndResume"
    await asked.answer(status="Accepted")
    await reset.ends("accepted", "Accepted")
    await station.close()
    await station.connect()
    assert (await station.boot("RemoteReset"))["status"] == "Accepted"
    await driver.event("TxResumed", state="Charging")
    if tells:
        await (await station.expect("GetChargingProfiles")).answer(status="NoProfiles")
    again = await station.expect("SetChargingProfile")
    assert again["chargingProfile"]["id"] == 41
    assert again["chargingProfile"]["transactionId"] == driver.transaction_id
    await again.answer(status="Accepted")


@requires()
async def test_E17_a_transaction_that_is_resumed_is_the_same_one(csms: Operator) -> None:
    driver = await session(csms)
    await driver.energy_transfer_started()
    await driver.station.close()
    await driver.station.connect()
    await driver.station.boot("PowerUp")
    await driver.event("TxResumed", state="Charging")
    assert (await csms.transaction(driver.station))["state"] == "open"
    await driver.ended("StopAuthorized", stopped="Local", token=driver.token)
    ended = await csms.eventually(lambda: csms.transaction(driver.station), lambda one: one["state"] == "closed")
    assert ended["stop_reason"] == "Local"


@requires()
async def test_E17_a_transaction_that_cannot_be_resumed_ends_with_its_reason(csms: Operator) -> None:
    driver = await session(csms)
    await driver.energy_transfer_started()
    await driver.station.close()
    await driver.station.connect()
    await driver.station.boot("PowerUp")
    await driver.ended("AbnormalCondition", stopped="PowerLoss")
    ended = await csms.eventually(lambda: csms.transaction(driver.station), lambda one: one["state"] == "closed")
    assert ended["stop_reason"] == "PowerLoss"


# -- C17: prepaid ----------------------------------------------------------------------------------------------------------


@requires("FR.01", "FR.03")
async def test_C17_a_prepaid_card_with_money_is_accepted_is_not_cached_and_limits_the_cost_once(csms: Operator) -> None:
    driver = await session(csms, credit=5)
    await keeps_limits(csms, driver.station)
    info = await driver.authorize()
    assert info["status"] == "Accepted"
    assert is_now(info["cacheExpiryDateTime"])
    answer = await driver.event("Authorized", token=driver.token, **driver.where())
    assert answer["transactionLimit"]["maxCost"] == 5
    assert "transactionLimit" not in await driver.event("CablePluggedIn", state="EVConnected")


@requires("FR.02")
async def test_C17_a_prepaid_card_without_money_has_no_credit(csms: Operator) -> None:
    driver = await session(csms, credit=0)
    info = await driver.authorize()
    assert info["status"] == "NoCredit"
    assert is_now(info["cacheExpiryDateTime"])


# -- C18 to C25: payment at the station ------------------------------------------------------------------------------------


@requires("FR.10")
async def test_C18_the_answer_about_a_vat_number_names_the_evse_of_the_question(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    answer = await station.send("VatNumberValidation", vatNumber="DE123456789", evseId=2)
    assert (answer["evseId"], answer["vatNumber"]) == (2, "DE123456789")
    assert "evseId" not in await station.send("VatNumberValidation", vatNumber="DE123456789")


async def settled(csms: Operator, station: Station, **told: Any) -> Any:
    """What is kept of a settlement; told twice, it is one."""
    payload = {"pspRef": f"psp-{station.id}", "settlementAmount": 3.5, "settlementTime": moment(), **told}
    for _ in range(2):
        await station.send("NotifySettlement", payload)
    (row,) = await csms.items("/settlements", station_id=station.id)
    return row


@requires()
async def test_C19_a_payment_that_was_cancelled_before_a_transaction_is_kept(csms: Operator) -> None:
    row = await settled(csms, await csms.booted(VERSION), status="Canceled", settlementAmount=0)
    assert (row["status"], row["amount"]) == ("Canceled", 0)


@requires()
async def test_C21_a_settlement_is_answered_and_kept_once(csms: Operator) -> None:
    row = await settled(csms, await csms.booted(VERSION), status="Settled", transactionId="tx-1", receiptId="R-1")
    assert (row["status"], row["amount"], row["receipt_id"]) == ("Settled", 3.5, "R-1")


@pytest.mark.parametrize("status", ["Rejected", "Failed"])
@requires()
async def test_C22_a_settlement_that_failed_is_kept_with_its_reason(csms: Operator, status: str) -> None:
    row = await settled(csms, await csms.booted(VERSION), status=status, statusInfo="card is empty")
    assert (row["status"], row["info"]) == (status, "card is empty")


@requires("FR.01", "FR.02")
async def test_C24_what_a_kiosk_authorised_starts_with_its_limit(csms: Operator) -> None:
    await started_with_limit(csms, "DirectPayment", {"max_cost": 20}, {"maxCost": 20})


@requires("FR.24")
async def test_C25_what_was_paid_by_a_code_starts_with_its_limit(csms: Operator) -> None:
    await started_with_limit(csms, "DirectPayment", {"max_energy_wh": 15_000}, {"maxEnergy": 15_000})


@requires()
async def test_C25_the_station_is_told_that_somebody_pays_on_the_web(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    doing = csms.command(station, "tell_web_payment", evse_id=2, hold_s=90)
    await (await station.expect("NotifyWebPaymentStarted", evseId=2, timeout=90)).answer()
    await doing.ends("accepted")


async def started_with_limit(csms: Operator, kind: str, rules: dict[str, Any], limit: dict[str, Any]) -> Session:
    """A transaction that we ask for, of a token whose transactions are limited."""
    station = await csms.booted(VERSION)
    await keeps_limits(csms, station)
    view = await csms.post("/id-tokens", {"id_token": f"PSP-{station.id}", "type": kind, "rules": rules})
    driver = Session(station, IdToken(view))
    doing = csms.command(station, "start", id_token={"id_token": driver.token.value, "type": kind}, evse_id=1)
    asked = await station.expect("RequestStartTransaction", evseId=1)
    assert asked["idToken"] == {"idToken": driver.token.value, "type": kind}
    await asked.answer(status="Accepted")
    await doing.ends("accepted", "Accepted")
    answer = await driver.event(
        "RemoteStart", token=driver.token, evse=driver.evse, info={"remoteStartId": asked["remoteStartId"]}
    )
    assert answer["transactionLimit"] == limit
    return driver


# -- E16, F07: limits ------------------------------------------------------------------------------------------------------


@requires("FR.02", "FR.08")
async def test_E16_a_limit_is_told_once_and_not_again_where_the_station_has_a_lower_one(csms: Operator) -> None:
    driver = await session(csms, rules={"max_energy_wh": 10_000, "max_time_s": 3600, "max_soc": 80})
    await keeps_limits(csms, driver.station)
    answer = await driver.event("Authorized", token=driver.token, **driver.where())
    assert answer["transactionLimit"] == {"maxEnergy": 10_000, "maxTime": 3600, "maxSoC": 80}
    told = {"transactionLimit": {"maxEnergy": 8_000, "maxTime": 3600, "maxSoC": 80}}
    assert "transactionLimit" not in await driver.event("LimitSet", info=told)
    assert "transactionLimit" not in await driver.event("ChargingStateChanged", state="Charging")


@requires("FR.12")
async def test_E16_a_limit_that_the_station_does_not_report_to_keep_is_not_told(csms: Operator) -> None:
    driver = await session(csms, rules={"max_energy_wh": 10_000})
    answer = await driver.event("Authorized", token=driver.token, **driver.where())
    assert answer["idTokenInfo"]["status"] == "Accepted"
    assert "transactionLimit" not in answer


@requires("FR.01", "FR.02")
async def test_F07_a_remote_start_of_a_limited_token_is_limited(csms: Operator) -> None:
    driver = await started_with_limit(csms, "Central", {"max_time_s": 1800}, {"maxTime": 1800})
    assert "transactionLimit" not in await driver.event("CablePluggedIn", state="EVConnected")


# -- I07 to I12: tariffs that stations calculate with -----------------------------------------------------------------------


async def with_default(csms: Operator, status: str = "Accepted") -> tuple[Station, Any]:
    """A default tariff, and what the operator is told of it."""
    station = await csms.booted(VERSION)
    doing = csms.begin("PUT", f"/charging-stations/{station.id}/tariffs/0", TARIFF)
    asked = await station.expect("SetDefaultTariff", evseId=0)
    assert asked["tariff"]["tariffId"] == "day"
    assert asked["tariff"]["energy"]["prices"] == [{"priceKwh": 0.4}]
    await asked.answer(status=status)
    return station, await doing.done()


@pytest.mark.parametrize(("status", "state"), [("Accepted", "set"), ("ConditionNotSupported", "refused")])
@requires()
async def test_I07_a_default_tariff_is_set_and_its_refusal_shown(csms: Operator, status: str, state: str) -> None:
    _, told = await with_default(csms, status)
    assert [(one["evse_id"], one["tariff_id"], one["state"]) for one in told["wanted"]] == [(0, "day", state)]


@requires()
async def test_I09_the_station_tells_its_tariffs(csms: Operator) -> None:
    station, _ = await with_default(csms)
    doing = csms.begin("GET", f"/charging-stations/{station.id}/tariffs", ask="true")
    there = [{"tariffId": "day", "tariffKind": "DefaultTariff", "evseIds": [1, 2]}]
    await (await station.expect("GetTariffs")).answer(status="Accepted", tariffAssignments=there)
    (told,) = (await doing.done())["at_station"]
    assert (told["tariff_id"], told["kind"], told["evse_ids"]) == ("day", "DefaultTariff", [1, 2])


@requires()
async def test_I10_a_tariff_is_cleared(csms: Operator) -> None:
    station, _ = await with_default(csms)
    doing = csms.begin("DELETE", f"/charging-stations/{station.id}/tariffs", tariff_id="day")
    asked = await station.expect("ClearTariffs")
    assert asked["tariffIds"] == ["day"]
    await asked.answer(clearTariffsResult=[{"tariffId": "day", "status": "Accepted"}])
    assert (await doing.done())["results"] == [{"tariff_id": "day", "status": "Accepted"}]


@pytest.mark.parametrize(("status", "state"), [("Accepted", "accepted"), ("NoCurrencyChange", "rejected")])
@requires()
async def test_I11_a_transactions_tariff_is_changed_or_the_reason_shown(
    csms: Operator, status: str, state: str
) -> None:
    driver = await session(csms)
    await driver.energy_transfer_started()
    doing = csms.command(
        driver.station, "change_transaction_tariff", ocpp_transaction_id=driver.transaction_id, tariff=TARIFF
    )
    asked = await driver.station.expect("ChangeTransactionTariff", transactionId=driver.transaction_id)
    assert asked["tariff"]["tariffId"] == "day"
    await asked.answer(status=status)
    await doing.ends(state, status)


@requires()
async def test_I12_cost_details_at_the_end_of_a_transaction_are_taken(csms: Operator) -> None:
    driver = await session(csms)
    await driver.energy_transfer_started()
    total = {"exclTax": 4, "inclTax": 4.76}
    details = {
        "totalCost": {"currency": "EUR", "typeOfCost": "NormalCost", "energy": total, "total": total},
        "totalUsage": {"energy": 10_000, "chargingTime": 3600, "idleTime": 0},
    }
    answer = await driver.ended("StopAuthorized", stopped="Local", costDetails=details)
    assert "idTokenInfo" not in answer or answer["idTokenInfo"]["status"] == "Accepted"
    assert (await csms.transaction(driver.station))["state"] == "closed"
    assert await csms.items("/quarantine", station_id=driver.station.id) == []


# -- I08: a driver's own tariff ---------------------------------------------------------------------------------------------


async def calculates(csms: Operator, station: Station, **more: str) -> None:
    """The station reports that it calculates by tariffs (TariffCostCtrlr, instance Tariff)."""
    told = [
        {
            "component": {"name": "TariffCostCtrlr"},
            "variable": {"name": name, "instance": "Tariff"},
            "variableAttribute": [{"value": value}],
        }
        for name, value in {"Available": "true", "Enabled": "true", **more}.items()
    ]
    report = {"requestId": 2, "generatedAt": moment(), "seqNo": 0, "reportData": told}
    assert await station.send("NotifyReport", report) == {}
    path = f"/charging-stations/{station.id}/variables"
    await csms.eventually(lambda: csms.items(path, component="TariffCostCtrlr"), lambda found: len(found) == len(told))


async def with_own_tariff(csms: Operator, **element: Any) -> tuple[IdToken, str]:
    """An id token whose agreement has a tariff."""
    token = await csms.id_token()
    begun = datetime.now(UTC) - timedelta(days=1)
    energy = {"type": "ENERGY", "price": 0.25, "vat": 20, "step_size": 1}
    tariff = await csms.post(
        "/tariffs",
        {
            "name": "Own",
            "currency": "EUR",
            "tax_included": "NO",
            "start_date_time": begun.isoformat(),
            "valid_from": begun.isoformat(),
            "elements": [{"price_components": [energy], **element}],
        },
    )
    terms = {
        "kind": "driver_plan",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [
            {"role": "provider", "kind": "house"},
            {"role": "consumer", "kind": "company", "id": f"c-{token.value}"},
        ],
        "scope": [{"kind": "id_token", "value": token.value}],
        "starts_at": begun.isoformat(),
        "items": [{"type": "tariff", "tariff_id": tariff["id"]}],
    }
    path = f"/service-agreements/{(await csms.post('/service-agreements', terms))['id']}"
    await csms.post(f"{path}/propose", {})
    await csms.post(f"{path}/accept", {})
    return token, tariff["id"]


async def authorized(station: Station, token: IdToken) -> dict[str, Any]:
    return await station.send("Authorize", idToken={"idToken": token.value, "type": "ISO14443"})


@requires("FR.01", "FR.08", "FR.09")
async def test_I08_the_answer_to_authorize_carries_the_drivers_tariff(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    await calculates(csms, station)
    token, tariff = await with_own_tariff(csms)
    answer = await authorized(station, token)
    assert answer["idTokenInfo"]["status"] == "Accepted"
    told = answer["tariff"]
    assert told["tariffId"] == f"{tariff}:1:driver"
    assert told["currency"] == "EUR"
    assert told["energy"]["prices"] == [{"priceKwh": 0.25}]
    assert "validFrom" not in told
    assert "tariff" not in await authorized(station, await csms.id_token()), "nobody's own tariff"
    assert "tariff" not in await authorized(station, await csms.id_token(status="Blocked"))


@requires("FR.01")
async def test_I08_a_station_that_does_not_calculate_or_cannot_take_it_is_told_none(csms: Operator) -> None:
    token, _ = await with_own_tariff(csms, restrictions={"min_kwh": 1})
    for more in (None, {"Enabled": "false"}, {"MaxElements": "0"}, {"ConditionsSupported": "false"}):
        station = await csms.booted(VERSION)
        if more is not None:
            await calculates(csms, station, **more)
        answer = await authorized(station, token)
        assert answer["idTokenInfo"]["status"] == "Accepted"
        assert "tariff" not in answer, more
    able = await csms.booted(VERSION)
    await calculates(csms, able, MaxElements="1", ConditionsSupported="true")
    (price,) = (await authorized(able, token))["tariff"]["energy"]["prices"]
    assert price["conditions"] == {"minEnergy": 1000}


@requires("FR.01")
async def test_I08_a_blocked_driver_is_told_no_tariff(csms: Operator) -> None:
    station = await csms.booted(VERSION)
    await calculates(csms, station)
    token, _ = await with_own_tariff(csms)
    assert "tariff" in await authorized(station, token)
    await csms.patch(f"/id-tokens/{token.id}", {"status": "Blocked"})
    answer = await authorized(station, token)
    assert answer["idTokenInfo"]["status"] == "Blocked"
    assert "tariff" not in answer


# -- M07: a car's chain ------------------------------------------------------------------------------------------------------


@requires("FR.01", "FR.02", "FR.03", "FR.08")
async def test_M07_each_certificate_is_looked_up_and_answered_for(csms: Operator, house: House) -> None:
    station = await csms.booted(VERSION)
    root = house.outside.certify("M07 root", ca=True)
    good, gone = house.outside.certify("M07 good", root), house.outside.certify("M07 gone", root)
    await csms.post("/trust-anchors", {"pem": root.pem, "note": "of the conformance tests"})
    house.outside.revoked.add(gone.certificate.serial_number)

    def asked(one: Any, url: str) -> dict[str, Any]:
        hashes = {name: value for name, value in one.named(url).items() if name != "responderURL"}
        return {"certificateHashData": hashes, "source": "OCSP", "urls": [url]}

    nobody = "http://127.0.0.1:9/ocsp"
    requests = [asked(good, house.outside.responder), asked(gone, house.outside.responder), asked(root, nobody)]
    answer = await station.send("GetCertificateChainStatus", certificateStatusRequests=requests)
    told = answer["certificateStatus"]
    assert [one["status"] for one in told] == ["Good", "Revoked", "Failed"]
    assert [one["certificateHashData"] for one in told] == [one["certificateHashData"] for one in requests]
    assert {one["source"] for one in told} == {"OCSP"}
