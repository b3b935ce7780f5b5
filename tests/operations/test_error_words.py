"""What stations report is told in words, completely and in every language."""

from __future__ import annotations

import pytest

from chargeplane.app import facts
from chargeplane.app.agreements import facts as agreements
from chargeplane.app.bookings import telling as bookings
from chargeplane.app.invoicing import telling as invoicing
from chargeplane.app.locations import facts as locations
from chargeplane.app.payments import carrying
from chargeplane.app.sessions import telling as sessions
from chargeplane.domain.error_words import _file, explain
from chargeplane.domain.webhooks import EVENT_TYPES, is_fact_told
from chargeplane.ocpp.v16 import enums as enums16
from tests.support.rest import Rest


def codes(name: str) -> set[str]:
    return {one.value for one in getattr(enums16, name)}


def test_every_word_of_ocpp_is_there() -> None:
    assert set(_file()["error"]) == codes("ChargePointErrorCode")
    assert set(_file()["status"]) >= codes("ChargePointStatus")
    assert set(_file()["status"]) >= {"Available", "Occupied", "Reserved", "Unavailable", "Faulted"}


def test_every_entry_says_what_it_is_and_what_to_do_in_every_language() -> None:
    for entry in [*_file()["error"].values(), *_file()["status"].values(), *_file()["vendor"]]:
        for language in ("en", "de", "sv"):
            text, todo = entry[language]
            assert text.endswith(".")
            assert todo.endswith(".")


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "The station is too hot."), ("de-AT", "Die Station ist zu heiß."), ("xx", "The station is too hot.")],
)
def test_a_code_is_told_in_the_language_asked_for(language: str, text: str) -> None:
    found = explain(error_code="HighTemperature", status="Faulted", language=language)
    assert found is not None
    assert found.text == text


def test_the_vendors_code_says_most_and_the_status_least() -> None:
    found = explain(error_code="OtherError", vendor_error_code="emergencystop", status="Faulted", vendor="Any")
    assert found is not None
    assert found.text == "The emergency stop was pressed."
    assert explain(error_code="NoError", vendor_error_code="?", status="Faulted") is not None
    assert explain(error_code="Unheard", vendor_error_code="?") is None


def test_every_code_that_is_not_of_ocpp_names_where_it_is_told_and_stands_there_once() -> None:
    entries = _file()["vendor"]
    for entry in entries:
        assert len(entry["source"]) > 20, entry["code"]
    places = [(entry["vendor"].casefold(), entry["model"].casefold(), entry["code"].casefold()) for entry in entries]
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    ("code", "beginning"),
    [("CX001", "The connector cannot be locked"), ("cx017", "A contactor"), ("CX026", "The charging cable was cut")],
)
def test_codes_of_the_chargex_consortium_are_told_of_any_maker(code: str, beginning: str) -> None:
    found = explain(error_code="OtherError", vendor_error_code=code, vendor="Anybody", model="M1")
    assert found is not None
    assert found.text.startswith(beginning)


async def test_words_are_given_by_rest(rest: Rest) -> None:
    asked = {"error_code": "GroundFailure", "language": "sv"}
    found = (await rest.client.get("/v1/error-words", params=asked)).json()["words"]
    assert found["text"] == "Jordfelsskyddet har löst ut."


def test_every_fact_of_the_house_is_a_type_of_events() -> None:
    for topic in (
        *facts.TOPICS,
        *agreements.TOPICS,
        *bookings.ANNOUNCED,
        *carrying.FACTS,
        *invoicing.TOPICS,
        *sessions.TOPICS,
    ):
        assert topic in EVENT_TYPES, topic
    assert all(is_fact_told(topic) for topic in locations.FACTS)
