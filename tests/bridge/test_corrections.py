"""Known stations, each rule of the package with a message of that station."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from chargeplane.bridge import Rule, describe
from chargeplane.domain import metering
from chargeplane.domain.charging_dialects import Trait
from chargeplane.domain.corrections import Correction, correction
from chargeplane.domain.messages import (
    ConnectorStatus,
    Heartbeat,
    MeterReport,
    Sample,
    StationMessage,
    TransactionReport,
)
from chargeplane.domain.quirks import NOTHING, Known, Limit, Origin, Quirk, QuirkTable, built_in
from tests.bridge.wire import V16, take

T = "2023-07-01T21:45:30.000Z"


NOW = datetime(2023, 7, 1, 21, 45, 31, tzinfo=UTC)
TABLE = QuirkTable((Origin.BUILT_IN, built_in()))


def names(vendor: str | None, model: str | None, firmware: str | None) -> list[str]:
    return [quirk.name for quirk in TABLE.of(vendor, model, firmware).quirks]


def corrected_by(known: Known, message: StationMessage, now: datetime = NOW) -> StationMessage:
    correct = correction(known)
    assert correct is not None
    return correct(message, now)


def openevse_correction() -> Correction:
    correct = correction(TABLE.of("OpenEVSE", "Advanced Series", "4.2.2"))
    assert correct is not None
    return correct


def test_every_rule_has_a_sentence_and_a_source() -> None:
    for quirk in built_in():
        assert quirk.does.endswith(".")
        assert quirk.source
        assert quirk.vendor or quirk.model or quirk.station


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
        ("Growatt", "THOR_11AS", "THOR_11AS-V5.2.4-20230307-NOVO", ["growatt_thor_local_time"]),
        ("UnitedChargers", "Grizzl-E Smart Connect", "GWM-07.027-03", ["grizzl_e_no_subprotocol"]),
        (None, None, None, []),
        ("'; DROP", "\x00", "x" * 255, []),
    ],
)
def test_a_station_is_known_by_its_boot(vendor: str, model: str, firmware: str, expected: list[str]) -> None:
    assert names(vendor, model, firmware) == expected


def test_every_repair_that_is_counted_or_marked_can_be_described() -> None:
    marks = {value for name, value in vars(metering).items() if name.startswith("REPAIR_")}
    known = [*Rule, *marks]
    assert not {*known} & {quirk.name for quirk in built_in()}
    for name in known:
        sentence = describe(name)
        assert sentence is not None
        assert sentence.endswith(".")
    assert describe("no_such_rule") is None


def test_limits() -> None:
    abb = TABLE.of("ABB", "CDT_TACW22::NET_WIFI", "TAC3Z9119006710273::V1.8.21")
    assert abb.limits == {Limit.CONFIGURATION_NOT_READ: "abb_terra_ac_configuration"}
    assert correction(abb) is None
    pulsar = TABLE.of("Wall Box Chargers", "PLP1-M-2-4", "6.7.38")
    assert pulsar.limits == {Limit.NO_POWER_SAMPLES: "wallbox_pulsar_three_phase_power"}


def test_what_is_assumed_of_a_handshake_and_of_charging_profiles() -> None:
    """A handshake of TinyWebsockets without Sec-WebSocket-Protocol; ids as EVBox prints them, known before any boot."""
    grizzly = TABLE.of("UnitedChargers", "Grizzl-E Smart", "5.621")
    assert grizzly.assumed_version == ("1.6", "grizzl_e_no_subprotocol")
    elvi = TABLE.of(None, None, None, "EVB-P20482857")
    assert elvi.charging == {Trait.NO_STATION_MAX}
    assert TABLE.of(None, None, None, "CP-1") is NOTHING


def test_a_station_without_quirks_pays_nothing() -> None:
    assert TABLE.of("Acme", "One", "1") is NOTHING
    assert correction(NOTHING) is None


def openevse(energy: str) -> bytes:
    sampled = [
        {"value": "9451", "context": "Sample.Periodic", "measurand": "Power.Active.Import", "unit": "W"},
        {"value": energy, "context": "Sample.Periodic", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
    ]
    return json.dumps(
        {"connectorId": 1, "transactionId": 4, "meterValue": [{"timestamp": T, "sampledValue": sampled}]}
    ).encode()


def test_kwh_labelled_wh_is_corrected_and_marked() -> None:
    correct = openevse_correction()
    message = take(V16, "MeterValues", openevse("361"))
    assert isinstance(message, TransactionReport)
    corrected = correct(message, NOW)
    assert isinstance(corrected, TransactionReport)
    power, energy = corrected.readings[0].samples
    assert power == Sample("Power.Active.Import", Decimal(9451), "W", None, None, "Sample.Periodic")
    assert (energy.value, energy.repaired, energy.raw) == (Decimal(361000), "openevse_kwh_as_wh", "361")
    assert corrected.ocpp_transaction_id == "4"


def test_registers_of_start_and_stop_are_corrected_too() -> None:
    correct = openevse_correction()
    start = {"connectorId": 1, "idTag": "A", "meterStart": 361, "timestamp": T}
    message = take(V16, "StartTransaction", json.dumps(start).encode())
    assert message is not None
    corrected = correct(message, NOW)
    assert isinstance(corrected, TransactionReport)
    assert corrected.meter_start == 361000
    assert corrected.readings[0].samples[0].value == 361000


def test_what_has_no_fault_stays_the_same_object() -> None:
    correct = openevse_correction()
    for message in (Heartbeat(), MeterReport(evse_id=1, connector_id=1, readings=())):
        assert correct(message, NOW) is message


THOR = TABLE.of("Growatt", "THOR_22AS", "THOR_22AS-V5.2.4")


def thor_meter_values(at: str) -> StationMessage:
    sampled = [{"value": "999", "context": "Sample.Periodic", "format": "Raw", "unit": "Wh"}]
    told = {"connectorId": 1, "transactionId": 9, "meterValue": [{"timestamp": at, "sampledValue": sampled}]}
    message = take(V16, "MeterValues", json.dumps(told).encode())
    assert message is not None
    return message


def test_local_time_without_a_zone_is_turned_back_by_how_far_the_clock_is_ahead() -> None:
    correct = correction(THOR)
    assert correct is not None
    now = datetime(2025, 2, 16, 21, 33, 1, tzinfo=UTC)
    corrected = correct(thor_meter_values("2025-02-16T22:33:00"), now)
    assert isinstance(corrected, TransactionReport)
    assert corrected.readings[0].at == datetime(2025, 2, 16, 21, 33, tzinfo=UTC)
    assert correct.fired == ("growatt_thor_local_time",)
    # what it kept during an outage is turned back by the same hour
    corrected = correct(thor_meter_values("2025-02-16T20:10:00"), now)
    assert isinstance(corrected, TransactionReport)
    assert corrected.readings[0].at == datetime(2025, 2, 16, 19, 10, tzinfo=UTC)


@pytest.mark.parametrize("at", ["2025-02-16T21:32:58", "2025-02-16T18:33:00", "2025-02-16T21:50:00"])
def test_time_that_shows_no_zone_is_left_alone(at: str) -> None:
    message = thor_meter_values(at)
    assert corrected_by(THOR, message, datetime(2025, 2, 16, 21, 33, 1, tzinfo=UTC)) is message


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-01-10T08:00:00Z", datetime(2026, 1, 10, 13, 0, tzinfo=UTC)),
        ("2026-07-10T08:00:00Z", datetime(2026, 7, 10, 12, 0, tzinfo=UTC)),
    ],
)
def test_local_time_as_utc_of_a_zone_that_a_rule_names(local: str, utc: datetime) -> None:
    rule = Quirk(name="eastern_time", does="x.", station="NY-*", time_zone="America/New_York")
    known = QuirkTable((Origin.TENANT, (rule,))).of(None, None, None, "NY-0042")
    status = {"connectorId": 1, "status": "Charging", "errorCode": "NoError", "timestamp": local}
    message = take(V16, "StatusNotification", json.dumps(status).encode())
    assert message is not None
    corrected = corrected_by(known, message)
    assert isinstance(corrected, ConnectorStatus)
    assert corrected.at == utc


MADE_FROM_MESSAGES = {
    "openevse_kwh_as_wh": test_kwh_labelled_wh_is_corrected_and_marked,
    "abb_terra_ac_configuration": test_limits,
    "wallbox_pulsar_three_phase_power": test_limits,
    "evbox_elvi_no_station_max": test_what_is_assumed_of_a_handshake_and_of_charging_profiles,
    "grizzl_e_no_subprotocol": test_what_is_assumed_of_a_handshake_and_of_charging_profiles,
    "growatt_thor_local_time": test_local_time_without_a_zone_is_turned_back_by_how_far_the_clock_is_ahead,
}


def test_every_rule_of_the_package_has_a_test_made_from_its_station() -> None:
    assert {quirk.name for quirk in built_in()} == MADE_FROM_MESSAGES.keys()
