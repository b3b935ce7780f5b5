"""Known stations, each rule with a message of that station."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from chargeplane.bridge import Rule, describe
from chargeplane.bridge.quirks import QUIRKS, Limit, correction, limits_of, quirks_of
from chargeplane.domain import metering
from chargeplane.domain.messages import Heartbeat, MeterReport, Sample, TransactionReport
from tests.bridge.wire import V16, take

T = "2023-07-01T21:45:30.000Z"


def names(vendor: str | None, model: str | None, firmware: str | None) -> list[str]:
    return [quirk.name for quirk in quirks_of(vendor, model, firmware)]


def test_every_quirk_has_a_name_a_sentence_and_a_source() -> None:
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)
    for quirk in QUIRKS:
        assert quirk.does.endswith(".")
        assert quirk.source
        assert quirk.vendor or quirk.model
        assert quirk.scales or quirk.limits


@pytest.mark.parametrize(
    ("vendor", "model", "firmware", "expected"),
    [
        ("OpenEVSE", "Advanced Series", "4.2.2", ["openevse_kwh_as_wh"]),
        ("openevse", "Advanced Series", "v4.2.2", ["openevse_kwh_as_wh"]),
        ("OpenEVSE", "Advanced Series", "5.1.5", []),
        ("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.8.21", ["abb_terra_ac_configuration"]),
        ("ABB", "CDT_TACW11::NET_WIFI", "TAC3Z9119006710273::V1.6.9", ["abb_terra_ac_configuration"]),
        ("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.8.32", []),
        ("ABB", "Terra 54", "4.1", []),
        ("Wall Box Chargers", "PLP1-M-2-4", "6.7.38", ["wallbox_pulsar_three_phase_power"]),
        ("Wall Box Chargers", "PLP1-0-2-4", "6.7.38", []),
        (None, None, None, []),
        ("'; DROP", "\x00", "x" * 255, []),
    ],
)
def test_a_station_is_known_by_its_boot(vendor: str, model: str, firmware: str, expected: list[str]) -> None:
    assert names(vendor, model, firmware) == expected


def test_every_repair_that_is_counted_or_marked_can_be_described() -> None:
    marks = {value for name, value in vars(metering).items() if name.startswith("REPAIR_")}
    known = [*Rule, *marks, *(quirk.name for quirk in QUIRKS)]
    assert len(set(known)) == len(known)
    for name in known:
        sentence = describe(name)
        assert sentence is not None
        assert sentence.endswith(".")
    assert describe("no_such_rule") is None


def test_limits() -> None:
    abb = quirks_of("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.8.21")
    assert limits_of(abb) == {Limit.CONFIGURATION_NOT_READ}
    assert correction(abb) is None
    assert limits_of(()) == frozenset()


def test_a_station_without_quirks_pays_nothing() -> None:
    assert correction(()) is None


def openevse(energy: str) -> bytes:
    sampled = [
        {"value": "9451", "context": "Sample.Periodic", "measurand": "Power.Active.Import", "unit": "W"},
        {"value": energy, "context": "Sample.Periodic", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
    ]
    return json.dumps(
        {"connectorId": 1, "transactionId": 4, "meterValue": [{"timestamp": T, "sampledValue": sampled}]}
    ).encode()


def test_kwh_labelled_wh_is_corrected_and_marked() -> None:
    correct = correction(quirks_of("OpenEVSE", "Advanced Series", "4.2.2"))
    assert correct is not None
    message = take(V16, "MeterValues", openevse("361"))
    assert isinstance(message, TransactionReport)
    corrected = correct(message)
    assert isinstance(corrected, TransactionReport)
    power, energy = corrected.readings[0].samples
    assert power == Sample("Power.Active.Import", Decimal(9451), "W", None, None, "Sample.Periodic")
    assert (energy.value, energy.repaired, energy.raw) == (Decimal(361000), "openevse_kwh_as_wh", "361")
    assert corrected.ocpp_transaction_id == "4"


def test_registers_of_start_and_stop_are_corrected_too() -> None:
    correct = correction(quirks_of("OpenEVSE", "Advanced Series", "4.2.2"))
    assert correct is not None
    start = {"connectorId": 1, "idTag": "A", "meterStart": 361, "timestamp": T}
    message = take(V16, "StartTransaction", json.dumps(start).encode())
    assert message is not None
    corrected = correct(message)
    assert isinstance(corrected, TransactionReport)
    assert corrected.meter_start == 361000
    assert corrected.readings[0].samples[0].value == 361000


def test_what_has_no_fault_stays_the_same_object() -> None:
    correct = correction(quirks_of("OpenEVSE", "Advanced Series", "4.2.2"))
    assert correct is not None
    for message in (Heartbeat(), MeterReport(evse_id=1, connector_id=1, readings=())):
        assert correct(message) is message
