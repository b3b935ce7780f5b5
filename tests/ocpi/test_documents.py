"""What is decoded, kept, repaired and refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from chargeplane.ocpi.documents import (
    DocumentError,
    MalformedError,
    decode,
    document_of,
    encode_tree,
    parse,
    problems,
    tree_of,
)
from chargeplane.ocpi.fields import instant, same, written
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.repairs import Mend
from chargeplane.ocpi.v2_3_0.cdrs import CDR
from chargeplane.ocpi.v2_3_0.enums import ConnectorType, Status, TaxIncluded
from chargeplane.ocpi.v2_3_0.locations import EVSE, Connector, GeoLocation, Location
from chargeplane.ocpi.v2_3_0.tariffs import Tariff
from chargeplane.ocpi.v2_3_0.types import Price, TaxAmount
from chargeplane.ocpi.versions import Version

V211, V221, V230 = Version.V2_1_1, Version.V2_2_1, Version.V2_3_0
AT = "2026-01-01T10:00:00Z"


def connector(**more: Any) -> dict[str, Any]:
    made = {"id": "1", "standard": "IEC_62196_T2", "format": "CABLE", "power_type": "AC_3_PHASE"}
    return {**made, "max_voltage": 230, "max_amperage": 16, "last_updated": AT, **more}


def evse(**more: Any) -> dict[str, Any]:
    return {"uid": "E1", "status": "AVAILABLE", "connectors": [connector()], "last_updated": AT, **more}


def location(**more: Any) -> dict[str, Any]:
    own = {"country_code": "BE", "party_id": "BEC", "id": "LOC1", "publish": True, "address": "A 1", "city": "Gent"}
    place = {"country": "BEL", "coordinates": {"latitude": "51.047599", "longitude": "3.729944"}}
    return {**own, **place, "time_zone": "Europe/Brussels", "evses": [evse()], "last_updated": AT, **more}


def tariff(price: str) -> bytes:
    return (
        b'{"country_code":"BE","party_id":"BEC","id":"T1","currency":"EUR","tax_included":"NO","last_updated":"%b",'
        b'"elements":[{"price_components":[{"type":"ENERGY","price":%b,"step_size":1}]}]}'
    ) % (AT.encode(), price.encode())


def read(kind: Kind, tree: Any, version: Version = V230, *, partial: bool = False) -> Any:
    return decode(kind, version, json.dumps(tree), partial=partial)


# What is kept


def test_unknown_fields_and_the_order_of_fields_are_kept() -> None:
    text = json.dumps({"nlabc_first": {"a": [1, None]}, **location(nlabc_last="x")}, separators=(",", ":"))
    document = decode(Kind.LOCATION, V230, text)
    assert document.encode().decode() == text
    assert document.unknown() == ("/nlabc_first", "/nlabc_last")
    assert document.repairs == ()


@pytest.mark.parametrize("price", ["0.20", "0.1", "1", "0.12345678901234567890", "-3.50", "0", "0.0", "12345678901234"])
def test_numbers_keep_their_digits(price: str) -> None:
    document = decode(Kind.TARIFF, V230, tariff(price))
    assert document.encode() == tariff(price)
    component = document.as_(Tariff).elements[0].price_components[0]
    assert str(component.price) == price
    assert isinstance(component.price, Decimal)


def test_numbers_never_pass_through_a_float() -> None:
    tree = parse(b'{"a":0.1000000000000000055511151231257827,"b":1E2}')
    assert encode_tree(tree) == b'{"a":0.1000000000000000055511151231257827,"b":1E+2}'


def test_open_enumerations_take_any_value_and_compare_with_members() -> None:
    document = read(Kind.CONNECTOR, connector(standard="NLABC_PLUG"))
    assert document.value.standard == "NLABC_PLUG"
    assert document.repairs == ()
    assert read(Kind.CONNECTOR, connector()).value.standard == ConnectorType.IEC_62196_T2


def test_values_of_a_newer_version_are_kept_in_an_older_one_and_told() -> None:
    document = read(Kind.CONNECTOR, connector(standard="MCS"), V221)
    assert document.value.standard == "MCS"
    assert [(repair.pointer, repair.mend) for repair in document.repairs] == [("/standard", Mend.UNKNOWN_VALUE)]


def test_closed_enumerations_refuse_what_no_version_knows() -> None:
    with pytest.raises(DocumentError) as caught:
        read(Kind.EVSE, evse(status="FAULTED"))
    assert caught.value.fields[0][0] == "/status"


@pytest.mark.parametrize("sent", ["2015-06-29T20:39:09", "2015-06-29T20:39:09.2", "2015-06-29T20:39:09.123"])
def test_times_without_a_zone_are_utc_and_stay_as_sent(sent: str) -> None:
    document = read(Kind.CONNECTOR, connector(last_updated=sent))
    assert document.tree["last_updated"] == sent
    assert document.value.last_updated == datetime.fromisoformat(sent).replace(tzinfo=UTC)
    assert document.repairs == ()


def test_times_without_a_zone_are_told_from_dates_with_one_behind() -> None:
    document = read(Kind.LOCATION, location(last_updated="2026-01-01T10:00:00", evses=[evse(last_updated=AT)]))
    assert document.repairs == ()
    assert document.value.last_updated == document.value.evses[0].last_updated
    behind = read(
        Kind.EVSE,
        evse(last_updated="2026-01-01T10:00:00", connectors=[connector(last_updated="2026-01-01T09:00:00-01:00")]),
    )
    assert [repair.pointer for repair in behind.repairs] == ["/connectors/0/last_updated"]
    assert behind.value.last_updated == behind.value.connectors[0].last_updated


def test_fractions_of_seconds_are_kept() -> None:
    document = read(Kind.CONNECTOR, connector(last_updated="2016-12-29T17:45:09.2Z"))
    assert document.tree["last_updated"] == "2016-12-29T17:45:09.2Z"
    assert document.value.last_updated.microsecond == 200_000


def test_ci_strings_stay_as_sent_and_compare_without_case() -> None:
    assert read(Kind.EVSE, evse(uid="aBc")).value.uid == "aBc"
    assert same("aBc", "AbC")
    assert not same("aBc", "aBd")


# What is repaired


@pytest.mark.parametrize(
    ("change", "pointer", "mend", "kept"),
    [
        ({"max_voltage": "230"}, "/max_voltage", Mend.TEXT_FOR_NUMBER, 230),
        ({"max_amperage": 16.5}, "/max_amperage", Mend.FRACTION, 16),
        ({"id": 1}, "/id", Mend.NUMBER_FOR_TEXT, "1"),
        ({"format": "cable"}, "/format", Mend.SPELLING, "CABLE"),
        ({"power_type": "AC-3 Phase"}, "/power_type", Mend.SPELLING, "AC_3_PHASE"),
        ({"last_updated": "2026-01-01 11:00:00+01:00"}, "/last_updated", Mend.TIME_FORMAT, AT),
        ({"last_updated": "2026-01-01T10:00Z"}, "/last_updated", Mend.TIME_FORMAT, AT),
        ({"last_updated": "2026-01-01T10:00:00+0000"}, "/last_updated", Mend.TIME_FORMAT, AT),
        ({"terms_and_conditions": "u" * 300}, "/terms_and_conditions", Mend.TOO_LONG, "u" * 300),
        ({"id": "1" * 40}, "/id", Mend.TOO_LONG, "1" * 40),
        ({"tariff_ids": "11"}, "/tariff_ids", Mend.ONE_FOR_LIST, ["11"]),
        ({"id": "a\x00b"}, "/id", Mend.NOT_STORABLE, "a�b"),
    ],
)
def test_repairs_of_fields(change: dict[str, Any], pointer: str, mend: Mend, kept: Any) -> None:
    document = read(Kind.CONNECTOR, connector(**change))
    assert [(repair.pointer, repair.mend) for repair in document.repairs] == [(pointer, mend)]
    assert document.tree[pointer[1:]] == kept
    assert isinstance(document.value, Connector)


def test_values_of_mixed_case_are_found_too() -> None:
    document = read(Kind.CONNECTOR, connector(standard="iec_60309_2_SINGLE_16"), V221)
    assert document.value.standard == ConnectorType.IEC_60309_2_SINGLE_16


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"max_electric_power": None}, Mend.NULL),
        ({"tariff_ids": None}, Mend.NULL),
        ({"max_electric_power": ""}, Mend.EMPTY_FOR_ABSENT),
        ({"max_electric_power": []}, Mend.EMPTY_FOR_ABSENT),
    ],
)
def test_what_stands_for_absent_is_absent(change: dict[str, Any], mend: Mend) -> None:
    document = read(Kind.CONNECTOR, connector(**change))
    (field,) = change
    assert field not in document.tree
    assert [repair.mend for repair in document.repairs] == [mend]


def test_an_empty_object_stands_for_absent() -> None:
    document = read(Kind.LOCATION, location(operator={}))
    assert document.value.operator is None
    assert [repair.mend for repair in document.repairs] == [Mend.EMPTY_FOR_ABSENT]


def test_a_missing_last_updated_inside_is_that_of_the_object_around() -> None:
    inner = connector()
    del inner["last_updated"]
    document = read(Kind.LOCATION, location(evses=[evse(connectors=[inner])]))
    assert document.tree["evses"][0]["connectors"][0]["last_updated"] == AT
    assert [repair.pointer for repair in document.repairs] == ["/evses/0/connectors/0/last_updated"]


def test_an_evse_without_connectors_is_taken_and_told() -> None:
    document = read(Kind.EVSE, evse(connectors=[]))
    assert document.value.connectors == ()
    assert [repair.mend for repair in document.repairs] == [Mend.EMPTY_LIST]


@pytest.mark.parametrize("text", ['"0.25"', '" 0.25 "'])
def test_prices_as_text_are_read_as_numbers(text: str) -> None:
    document = decode(Kind.TARIFF, V230, tariff(text))
    assert document.as_(Tariff).elements[0].price_components[0].price == Decimal("0.25")
    assert b'"price":0.25,' in document.encode()
    assert [repair.mend for repair in document.repairs] == [Mend.TEXT_FOR_NUMBER]


@pytest.mark.parametrize("sent", ["true", "TRUE", 1, "1"])
def test_true_as_text_or_number(sent: Any) -> None:
    assert read(Kind.LOCATION, location(publish=sent)).tree["publish"] is True


def test_a_price_of_the_version_before_is_read() -> None:
    cost = {"excl_vat": Decimal("4.00"), "incl_vat": Decimal("4.40")}
    tree = {"id": "1", "authorization_reference": "r", "total_costs": cost, "currency": "EUR", "eft_data": ["x"]}
    data = encode_tree({**tree, "capture_status_code": "SUCCESS", "last_updated": AT})
    document = decode(Kind.FINANCIAL_ADVICE_CONFIRMATION, V230, data)
    tax = TaxAmount(name="VAT", amount=Decimal("0.40"))
    assert document.value.total_costs == Price(before_taxes=Decimal("4.00"), taxes=(tax,))


# What is refused


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"max_voltage": "many"}, "/max_voltage"),
        ({"max_voltage": True}, "/max_voltage"),
        ({"max_voltage": {}}, "/max_voltage"),
        ({"max_voltage": 10**20}, "/max_voltage"),
        ({"id": None}, "/id"),
        ({"id": ["1"]}, "/id"),
        ({"last_updated": "yesterday"}, "/last_updated"),
        ({"last_updated": "2026-02-30T10:00:00Z"}, "/last_updated"),
        ({"last_updated": 1767261600}, "/last_updated"),
        ({"terms_and_conditions": "u" * 70_000}, "/terms_and_conditions"),
    ],
)
def test_other_values_are_refused_by_their_pointer(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(Kind.LOCATION, location(evses=[evse(connectors=[connector(**change)])]))
    assert [field for field, _ in caught.value.fields] == [f"/evses/0/connectors/0{pointer}"]


def test_every_wrong_field_is_named() -> None:
    with pytest.raises(DocumentError) as caught:
        read(Kind.LOCATION, {"id": "1", "evses": [{"status": 3}]})
    pointers = [pointer for pointer, _ in caught.value.fields]
    assert {"/country_code", "/address", "/evses/0/uid", "/evses/0/status", "/evses/0/connectors"} <= set(pointers)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a":1}x', b'{"a":NaN}', b"[" * 100_000, b'{"a":1E999999}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(Kind.LOCATION, V230, body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentError):
        decode(Kind.LOCATION, V230, body)


def test_an_answer_that_is_text_alone() -> None:
    document = decode(Kind.CHARGING_PREFERENCES_RESPONSE, V230, b'"ACCEPTED"')
    assert document.value == "ACCEPTED"
    assert document.encode() == b'"ACCEPTED"'
    with pytest.raises(DocumentError):
        decode(Kind.CHARGING_PREFERENCES_RESPONSE, V230, b'"MAYBE"')


# PATCH


def test_a_patch_may_lack_every_field_and_checks_those_it_has() -> None:
    document = read(Kind.EVSE, {"status": "CHARGING", "last_updated": AT}, partial=True)
    assert (document.tree, document.value, document.partial) == ({"status": "CHARGING", "last_updated": AT}, None, True)
    with pytest.raises(DocumentError):
        read(Kind.EVSE, {"status": "OPEN", "last_updated": AT}, partial=True)


def test_null_in_a_patch_stays() -> None:
    assert read(Kind.EVSE, {"evse_id": None, "last_updated": AT}, partial=True).tree["evse_id"] is None


# What we make


def test_a_struct_is_written_without_what_is_absent() -> None:
    made = Location(
        country_code="BE",
        party_id="BEC",
        id="1",
        publish=True,
        address="A",
        city="Gent",
        country="BEL",
        coordinates=GeoLocation(latitude="51.04759", longitude="3.72994"),
        time_zone="Europe/Brussels",
        evses=(EVSE(uid="E", status=Status.AVAILABLE, connectors=(), last_updated=datetime(2026, 1, 1, tzinfo=UTC)),),
        last_updated=datetime(2026, 1, 1, 11, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1))),
    )
    tree = document_of(Kind.LOCATION, made).tree
    assert tree["last_updated"] == "2026-01-01T10:00:00.123Z"
    assert tree["evses"] == [
        {"uid": "E", "status": "AVAILABLE", "connectors": [], "last_updated": "2026-01-01T00:00:00Z"}
    ]
    assert tree.keys().isdisjoint({"name", "images", "operator"})
    assert [pointer for pointer, _ in problems(Kind.LOCATION, V230, tree)] == ["/evses/0/connectors"]


def test_what_we_send_is_checked_without_leniency() -> None:
    assert problems(Kind.LOCATION, V230, location()) == ()
    assert [pointer for pointer, _ in problems(Kind.LOCATION, V230, location(name="n" * 256))] == ["/name"]
    assert [pointer for pointer, _ in problems(Kind.CONNECTOR, V221, connector(standard="MCS"))] == ["/standard"]


def test_decimals_of_structs_are_written_as_numbers() -> None:
    price = tree_of(Price(before_taxes=Decimal("1.50")))
    assert encode_tree(price) == b'{"before_taxes":1.50}'
    assert TaxIncluded.NOT_APPLICABLE == "N/A"


def test_the_value_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError):
        read(Kind.LOCATION, location()).as_(CDR)


def test_times_are_written_in_utc() -> None:
    assert written(instant("2026-01-01T11:00:00.5+01:00")) == "2026-01-01T10:00:00.500Z"
    assert instant("2026-01-01T10:00:00") == datetime(2026, 1, 1, 10, tzinfo=UTC)
