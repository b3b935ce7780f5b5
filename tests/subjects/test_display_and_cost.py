"""Display messages, costs, tariffs, vendors' data, batteries, streams and payments, with virtual stations over sockets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import json

from chargeplane.app.reports import Place
from chargeplane.domain.station_exchanges import (
    DataTransferAnswer,
    DataTransferAsk,
    DataTransferStatus,
    Receipt,
    Settlement,
    VatNumberAnswer,
)
from chargeplane.ocpp import v16, v21
from chargeplane.simulator import VirtualStation
from chargeplane.simulator.dialect import Draft
from chargeplane.simulator.subjects import display_and_cost as at_station
from chargeplane.simulator.subjects.display_and_cost import Showing
from tests.subjects.conftest import Town

VERSIONS = ("1.6", "2.0.1", "2.1")
VERSIONS_2X = ("2.0.1", "2.1")
HELLO = {"texts": [{"content": "Bitte Kabel einstecken", "language": "de"}], "priority": "InFront"}
TARIFF: dict[str, Any] = {
    "tariff_id": "night",
    "currency": "EUR",
    "description": [{"content": "0.25 EUR/kWh", "language": "en"}],
    "energy": {
        "prices": [
            {"price_kwh": 0.40, "conditions": {"start_time_of_day": "08:00", "end_time_of_day": "18:00"}},
            {"price_kwh": 0.25},
        ],
        "tax_rates": [{"type": "vat", "tax": 19}],
    },
    "idle_time": {"prices": [{"price_minute": 0.1, "conditions": {"min_idle_time": 300, "day_of_week": ["Saturday"]}}]},
    "fixed_fee": {"prices": [{"price_fixed": 1, "conditions": {"payment_recognition": "CC"}}]},
    "max_cost": {"excl_tax": 50},
}


def path(station: VirtualStation, rest: str) -> str:
    return f"/charging-stations/{station.station_id}/{rest}"


# -- O: display messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_O01_a_message_is_shown_replaced_and_cleared(town: Town, version: str) -> None:
    station = await town.station(version)
    made = await town.ask("POST", path(station, "display-messages"), HELLO, status=201)
    assert (made["state"], made["by_us"]) == ("shown", True)
    shown = station.state_of(Showing).messages
    assert shown[made["id"]].message.content == "Bitte Kabel einstecken"
    # O06: the same number again is another text in its place
    other = {**HELLO, "texts": [{"content": "Danke"}], "state": "Charging"}
    await town.ask("PUT", path(station, f"display-messages/{made['id']}"), other)
    assert [one.message.content for one in shown.values()] == ["Danke"]
    await town.ask("DELETE", path(station, f"display-messages/{made['id']}"), status=204)
    assert shown == {}
    assert await town.ask("GET", path(station, "display-messages")) == []


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_O02_a_message_for_a_transaction_the_station_does_not_know_is_refused_with_its_reason(
    town: Town, version: str
) -> None:
    station = await town.station(version)
    body = {**HELLO, "ocpp_transaction_id": "no-such-transaction"}
    made = await town.ask("PUT", path(station, "display-messages/7"), body)
    assert made["state"] == "refused"
    assert "no running transaction" in made["reason"]


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_O03_messages_the_station_tells_of_in_parts_are_known_and_those_it_lost_are_marked(
    town: Town, version: str
) -> None:
    station = await town.station(version)
    for number in range(1, 13):
        await town.ask("PUT", path(station, f"display-messages/{number}"), HELLO)
    shown = station.state_of(Showing).messages
    del shown[3]
    shown[99] = v21.MessageInfoType(
        id=99,
        priority=v21.MessagePriorityEnumType.ALWAYS_FRONT,
        message=v21.MessageContentType(format=v21.MessageFormatEnumType.UTF8, content="made on site"),
    )
    asked = await town.ask("POST", path(station, "display-messages/refresh"))

    async def look() -> Any:
        return (await town.ask("GET", path(station, "requests?kind=display_messages")))["items"][0]

    request = await town.eventually(look, lambda found: found["state"] == "complete")
    assert request["request_id"] == asked["request_id"]

    async def messages() -> Any:
        return {one["id"]: one for one in await town.ask("GET", path(station, "display-messages"))}

    known = await town.eventually(messages, lambda found: found[3]["state"] == "gone")
    assert known[99]["by_us"] is False
    assert known[99]["message"]["content"] == "made on site"
    assert known[12]["seen_at"] is not None


async def test_O05_a_message_the_station_lost_is_cleared_all_the_same(town: Town) -> None:
    station = await town.station("2.0.1")
    await town.ask("PUT", path(station, "display-messages/1"), HELLO)
    station.state_of(Showing).messages.clear()
    await town.ask("DELETE", path(station, "display-messages/1"), status=204)


async def test_what_a_version_cannot_show_is_refused_with_the_way_out(town: Town) -> None:
    station = await town.station("1.6")
    made = await town.command(station, {"type": "set_display_message", "id": 1, "message": HELLO})
    assert made["state"] == "rejected"
    assert "transfer_data" in made["reason"]
    older = await town.station("2.0.1")
    body = {"texts": [{"content": "a", "language": "en"}, {"content": "b", "language": "de"}]}
    shown = await town.ask("PUT", path(older, "display-messages/1"), body)
    assert shown["state"] == "refused"
    assert "2.1" in shown["reason"] or "one language" in shown["reason"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"texts": []}, "#/texts"),
        ({"texts": [{"content": ""}]}, "#/texts/0/content"),
        ({"texts": [{"content": "a"}], "priority": "Loud"}, "#/priority"),
        ({"texts": [{"content": "a"}], "colour": "red"}, "#/colour"),
    ],
)
async def test_a_bad_message_is_a_problem_that_names_the_field(town: Town, body: Any, pointer: str) -> None:
    station = await town.station("2.1")
    problem = await town.ask("PUT", path(station, "display-messages/1"), body, status=422)
    assert problem["errors"][0].get("pointer", pointer) == pointer


# -- I: costs and tariffs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_I02_the_running_cost_is_told(town: Town, version: str) -> None:
    station = await town.station(version)
    body = {"type": "update_cost", "ocpp_transaction_id": "tx-1", "total_cost": 12.34}
    assert (await town.command(station, body))["state"] == "accepted"
    assert station.state_of(Showing).costs == {"tx-1": Decimal("12.34")}


async def test_I07_I09_I10_a_default_tariff_is_set_told_and_cleared(town: Town) -> None:
    station = await town.station("2.1", evses=2)
    told = await town.ask("PUT", path(station, "tariffs/0"), TARIFF)
    assert [(one["evse_id"], one["state"]) for one in told["wanted"]] == [(0, "set")]
    there = station.state_of(Showing).default_tariffs
    assert set(there) == {1, 2}
    energy = there[1].energy
    assert energy is not None
    assert [price.price_kwh for price in energy.prices] == [Decimal("0.4"), Decimal("0.25")]
    told = await town.ask("GET", path(station, "tariffs?ask=true"))
    (assignment,) = told["at_station"]
    assert (assignment["tariff_id"], assignment["evse_ids"], assignment["kind"]) == ("night", [1, 2], "DefaultTariff")
    cleared = await town.ask("DELETE", path(station, "tariffs?tariff_id=night"))
    assert cleared["results"] == [{"tariff_id": "night", "status": "Accepted"}]
    told = await town.ask("GET", path(station, "tariffs?ask=true"))
    assert (told["wanted"], told["at_station"]) == ([], [])


async def test_I11_the_tariff_of_a_running_transaction_is_changed(town: Town) -> None:
    station = await town.station("2.1")
    station.plug_in()
    session = await station.start_transaction("TAG1")
    body = {"type": "change_transaction_tariff", "ocpp_transaction_id": session.transaction_id, "tariff": TARIFF}
    made = await town.command(station, body)
    assert (made["state"], made["status"]) == ("accepted", "Accepted")
    there = station.state_of(Showing).transaction_tariffs
    assert session.transaction_id is not None
    assert there[session.transaction_id].tariff_id == "night"
    # I11.FR: the currency of a transaction stays
    other = await town.command(station, {**body, "tariff": {**TARIFF, "currency": "CHF"}})
    assert (other["state"], other["status"]) == ("rejected", "NoCurrencyChange")
    await station.stop_transaction(session)


async def test_I11_the_tariff_of_a_transaction_nobody_runs_is_not_changed(town: Town) -> None:
    station = await town.station("2.1")
    body = {"type": "change_transaction_tariff", "ocpp_transaction_id": "nobody", "tariff": TARIFF}
    made = await town.command(station, body)
    assert (made["state"], made["status"]) == ("rejected", "TxNotFound")


async def test_a_tariff_that_is_none_is_a_problem_that_names_the_field(town: Town) -> None:
    station = await town.station("2.1")
    bad = {**TARIFF, "energy": {"prices": [{"price_kwh": -1}]}}
    problem = await town.ask("PUT", path(station, "tariffs/0"), bad, status=422)
    assert problem["errors"][0]["pointer"] == "#/energy/prices/0"


async def test_stations_before_21_take_no_tariffs_and_the_sentence_says_what_they_take(town: Town) -> None:
    station = await town.station("2.0.1")
    told = await town.ask("PUT", path(station, "tariffs/0"), TARIFF)
    assert told["wanted"][0]["state"] == "refused"
    assert "update_cost" in told["wanted"][0]["reason"]


# -- P: data transfer --------------------------------------------------------------------------------------------------


async def echo(place: Place, ask: DataTransferAsk) -> DataTransferAnswer:
    if ask.message_id == "fail":
        raise ValueError("a bug of the plug-in")
    return DataTransferAnswer(
        status=DataTransferStatus.ACCEPTED, data={"from": place.station_id, "sent": json.decode(ask.data or b"null")}
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_P02_a_plug_in_answers_its_vendors_messages_and_nobody_those_of_others(town: Town, version: str) -> None:
    assert town.server.subjects is not None
    town.server.subjects.data_transfer.add("com.example", echo)
    station = await town.station(version)
    types: Any = v16 if version == "1.6" else v21
    answers: list[dict[str, Any]] = []

    async def say(vendor: str, message: str | None, data: Any) -> dict[str, Any]:
        request = types.DataTransferRequest(vendor_id=vendor, message_id=message, data=data)
        station.send(Draft("DataTransfer", lambda: request), lambda answer: answers.append(json.decode(answer.payload)))
        await station.drain(everything=True)
        return answers.pop()

    told = await say("COM.Example", "hello", "text")
    assert told["status"] == "Accepted"
    data = json.decode(told["data"]) if version == "1.6" else told["data"]
    assert data == {"from": station.station_id, "sent": "text"}
    assert (await say("org.stranger", None, None))["status"] == "UnknownVendorId"
    assert (await say("com.example", "fail", None))["status"] == "Rejected"


@pytest.mark.parametrize("version", VERSIONS)
async def test_P01_data_is_sent_to_a_station_and_its_answer_kept(town: Town, version: str) -> None:
    station = await town.station(version)
    body = {"type": "transfer_data", "vendor_id": station.options.model.vendor, "message_id": "m", "data": {"a": [1]}}
    made = await town.command(station, body)
    assert made["state"] == "accepted", made
    sent = made["answer"].get("data")
    assert (json.decode(sent) if isinstance(sent, str) else sent) == {"a": [1]}
    other = await town.command(station, {"type": "transfer_data", "vendor_id": "org.stranger"})
    assert (other["state"], other["status"]) == ("rejected", "UnknownVendorId")
    assert "does not know that vendor" in other["reason"]


# -- S: battery swap ---------------------------------------------------------------------------------------------------


async def test_S02_S03_a_swap_that_was_asked_for_is_one_record_with_both_batteries(town: Town) -> None:
    station = await town.station("2.1", evses=4)
    body = {"type": "request_battery_swap", "request_id": 77, "id_token": {"value": "TAG1", "type": "ISO14443"}}
    assert (await town.command(station, body))["state"] == "accepted"

    async def look() -> Any:
        return (await town.ask("GET", f"/battery-swaps?station_id={station.station_id}"))["items"]

    (swap,) = await town.eventually(look, lambda found: bool(found) and found[0]["state"] == "complete")
    assert (swap["request_id"], swap["id_token"]) == (77, "TAG1")
    assert swap["batteries_in"][0]["soc"] == 12
    assert swap["batteries_out"][0]["soc"] == 95


async def test_S03_a_number_used_again_is_another_swap(town: Town) -> None:
    station = await town.station("2.1", evses=2)
    for _ in range(2):
        at_station.swap_batteries(station, "TAG1", 5)
        await station.drain(everything=True)

    async def look() -> Any:
        return (await town.ask("GET", f"/battery-swaps?station_id={station.station_id}"))["items"]

    swaps = await town.eventually(look, lambda found: len(found) == 2 and found[0]["state"] == "complete")
    assert [one["state"] for one in swaps] == ["complete", "complete"]


# -- N11 to N15: streams -----------------------------------------------------------------------------------------------


async def test_N11_to_N15_a_stream_is_opened_kept_adjusted_and_closed(town: Town) -> None:
    station = await town.station("2.1")
    at_station.open_stream(station, 3, 42)
    await station.drain(everything=True)
    (stream,) = await town.ask("GET", path(station, "event-streams"))
    assert (stream["id"], stream["monitor_id"], stream["closed_at"]) == (3, 42, None)
    await town.ask("PUT", path(station, "event-streams/3"), {"interval_s": 5})
    params = station.state_of(Showing).streams[3].params
    assert (params.interval, params.values) == (5, None)
    (stream,) = await town.ask("POST", path(station, "event-streams/refresh"))
    assert stream["interval_s"] == 5
    at_station.close_stream(station, 3)

    async def look() -> Any:
        return (await town.ask("GET", path(station, "event-streams")))[0]

    await town.eventually(look, lambda found: found["closed_at"] is not None)
    problem = await town.ask("PUT", path(station, "event-streams/3"), {"interval_s": 5}, status=409)
    assert "no such stream" in problem["detail"]


# -- C18 to C25: payments at the station -------------------------------------------------------------------------------


async def test_C21_a_settlement_is_kept_once_and_answered_with_its_receipt(town: Town) -> None:
    class Printer:
        async def receipt(self, place: Place, settlement: Settlement) -> Receipt | None:
            return Receipt(id=f"R-{settlement.psp_ref}", url="https://pay.example.com/r/1")

    assert town.server.subjects is not None
    payments = town.server.subjects.station_payments
    payments.receipts = Printer()
    station = await town.station("2.1")
    for _ in range(2):
        at_station.settle_payment(station, "psp-1", Decimal("3.30"), "tx-9")
    await station.drain(everything=True)
    (row,) = (await town.ask("GET", f"/settlements?station_id={station.station_id}"))["items"]
    assert (row["psp_ref"], row["status"], row["amount"]) == ("psp-1", "Settled", 3.3)
    assert (row["receipt_id"], row["receipt_url"]) == ("R-psp-1", "https://pay.example.com/r/1")
    payments.receipts = None


async def test_C25_a_web_payment_is_told_and_a_vat_number_is_confirmed_by_the_register_alone(town: Town) -> None:
    station = await town.station("2.1")
    body = {"type": "tell_web_payment", "evse_id": 1, "hold_s": 90}
    assert (await town.command(station, body))["state"] == "accepted"
    assert station.state_of(Showing).web_payments == {1: 90}

    class Register:
        async def look_up(self, vat_number: str) -> VatNumberAnswer | None:
            return VatNumberAnswer(valid=vat_number == "DE123456789")

    assert town.server.subjects is not None
    payments = town.server.subjects.station_payments

    async def ask(number: str) -> str:
        told: list[Any] = []
        request = v21.VatNumberValidationRequest(vat_number=number)
        station.send(
            Draft("VatNumberValidation", lambda: request), lambda answer: told.append(json.decode(answer.payload))
        )
        await station.drain(everything=True)
        return str(told[0]["status"])

    assert await ask("DE 123 456 789") == "Rejected"  # nobody to ask
    payments.register_of_companies = Register()
    assert await ask("DE 123 456 789") == "Accepted"
    assert await ask("DE1") == "Rejected"
    payments.register_of_companies = None
