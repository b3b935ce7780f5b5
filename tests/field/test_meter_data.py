"""stations.md, "Meter data": what registers say and how it is written."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import json

from chargeplane.ocpp import v16, v21, v201
from tests.support.field import REGISTER, VERSIONS, VERSIONS_2X, World, at, sampled

WH = {"measurand": REGISTER, "unit": "Wh"}


async def test_kwh_as_float_text_beside_wh_registers(world: World) -> None:
    """Line 1: kWh in floats as text ("0.30005000000000004") beside Wh registers (1.6: numbers are text)."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(0, 0)
    await charge.update("0.30005000000000004", 10, unit="kWh")
    assert (await station.transaction())["energy_wh"] == 300.05
    await charge.end(500, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (500, [])


@pytest.mark.parametrize("version", VERSIONS)
async def test_wh_numbers_that_are_labelled_kwh(world: World, version: str) -> None:
    """Line 1: unit says kWh and the number is Wh."""
    station = await world.station(version)
    charge = station.charge()
    start = {} if version == "1.6" else {"meterValue": [sampled(version, 5000, at(0), unit="Wh")]}
    await charge.start(5000, 0, **start)
    await charge.update(5600, 10, unit="kWh")
    await charge.update(6100, 20, unit="kWh")
    end = {} if version == "1.6" else {"meterValue": [sampled(version, 6500, at(30), unit="Wh")]}
    await charge.end(6500, 30, **end)
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (1500, ["unit_repaired"])
    assert "unit_repaired" in await station.quirks("unit_repaired")


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_ended_in_kwh_where_updates_were_in_wh(world: World, version: str) -> None:
    """Line 1: Ended in kWh where Updated was in Wh, without saying so."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(120_000, 0)
    await charge.update(124_000, 20)
    await charge.end(0, 40, meterValue=[sampled(version, 127.5, at(40))])
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (7500, ["unit_repaired"])


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_value_as_json_number_keeps_its_digits(world: World, version: str) -> None:
    """Line 2: value as a JSON number, with decimals in Wh."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(0, 0)
    await station.text(_raw(charge.updated(0, 10), "1234.567"))
    assert (await station.transaction())["energy_wh"] == 1234.567
    await station.text(_raw(charge.updated(0, 11), "1.3e3"), "x")
    assert (await station.transaction())["energy_wh"] == 1300


def _raw(call: tuple[str, object], number: str) -> str:
    action, payload = call
    return json.encode([2, "x", action, payload]).decode().replace('"value":0', f'"value":{number}')


async def test_16_value_as_json_number_is_repaired_and_counted(world: World) -> None:
    """Line 2: value as a JSON number where 1.6 has text."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(1000, 0)
    await station.call(
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": int(charge.ocpp_id),
            "meterValue": [{"timestamp": at(5), "sampledValue": [{"value": 1500.25}]}],
        },
    )
    assert (await station.transaction())["energy_wh"] == 500.25
    assert await station.quirks("number_for_text") == {"number_for_text": 1}


@pytest.mark.parametrize("version", VERSIONS)
async def test_value_string_is_kept_as_text_and_books_nothing(world: World, version: str) -> None:
    """Line 2: value "string"."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update("string", 5)
    await charge.update(1400, 10)
    assert (await station.transaction())["energy_wh"] == 400
    # 1.6 numbers are text, so the sample keeps it; in 2.x the payload does
    unusable = [sample["raw"] for sample in await station.samples() if sample["value"] is None]
    assert unusable == (["string"] if version == "1.6" else [None])
    assert "string" in str((await station.events())[1]["payload"])
    assert await station.quirks("number_unusable" if version == "1.6" else "value_unusable")


@pytest.mark.parametrize("version", VERSIONS)
async def test_missing_measurand_phases_and_total_together(world: World, version: str) -> None:
    """Line 2: measurand missing, per-phase and total samples together; the total counts, without a measurand it is the
    register."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(9000, 0)
    number = str if version == "1.6" else int
    samples = [
        {"value": number(3200), "measurand": REGISTER, "phase": "L1"},
        {"value": number(3100), "measurand": REGISTER, "phase": "L2"},
        {"value": number(3100), "measurand": REGISTER, "phase": "L3"},
        {"value": number(9400)},
        {"value": number(16), "measurand": "Current.Import", "phase": "L1"},
    ]
    values = [{"timestamp": at(10), "sampledValue": samples}]
    await charge.update(0, 10, meterValue=values)
    await charge.end(9800, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (800, [])
    shown = {(s["measurand"], s["phase"]): s["value"] for s in await station.samples() if s["context"] is None}
    assert shown[(REGISTER, "L2")] == 3100
    assert shown[("Current.Import", "L1")] == 16


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_power_on_a_trigger(world: World, version: str) -> None:
    """Line 2: only power on a trigger; it is kept and changes no energy."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1200, 5)
    power = sampled(version, 11.04, at(6), measurand="Power.Active.Import", unit="kW", context="Trigger")
    await charge.update(0, 6, meterValue=[power])
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (200, [])
    (shown,) = [s for s in await station.samples() if s["measurand"] == "Power.Active.Import"]
    assert (shown["value"], shown["unit"], shown["context"]) == (11040, "W", "Trigger")


def words(version: str, name: str) -> list[str]:
    """All that the version's enumeration has."""
    types: Any = {"1.6": v16, "2.0.1": v201, "2.1": v21}[version]
    enum = getattr(types, name, None) or getattr(types, f"{name}EnumType")
    return [str(member.value) for member in enum]


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_measurand_phase_and_location_of_the_version_is_kept_and_shown(world: World, version: str) -> None:
    """ocpp.md, block J: all measurands, phases, locations, each with its unit; the energy is the register of the outlet alone."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    number = str if version == "1.6" else int
    measurands, phases, locations = (words(version, name) for name in ("Measurand", "Phase", "Location"))
    assert len(measurands) >= 22
    assert len(phases) == 10
    assert len(locations) >= 5
    samples: list[dict[str, Any]] = [
        *({"value": number(7 + n), "measurand": name} for n, name in enumerate(measurands) if name != REGISTER),
        *({"value": number(230), "measurand": "Voltage", "phase": name} for name in phases),
        *({"value": number(40), "measurand": "Temperature", "location": name} for name in locations),
    ]
    await charge.update(0, 10, meterValue=[{"timestamp": at(10), "sampledValue": samples}])
    await charge.end(1800, 20)
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (800, [])
    shown = await station.samples()
    plain = {s["measurand"]: s["value"] for s in shown if s["phase"] is None and s["location"] is None}
    assert {name for name in measurands if name not in plain and name != REGISTER} == set()
    assert all(s["value"] is not None and s["repaired"] is None for s in shown)
    unitless = {s["measurand"] for s in shown if s["unit"] is None}
    assert unitless <= {"Power.Factor", "Display.ChargingComplete", "Display.InletHot"}, unitless
    assert {s["phase"] for s in shown if s["measurand"] == "Voltage"} == {None, *phases}
    assert {s["location"] for s in shown if s["measurand"] == "Temperature"} >= set(locations)


OCMF = 'OCMF|{"FV":"1.0","GI":"ABL SBC-301","RD":[{"TM":"2026-01-31T12:30:00,000+0000 S","RV":1.5,"RU":"kWh"}]}|{"SD":"30"}'


async def test_16_ocmf_as_json_text_in_transaction_data(world: World) -> None:
    """Line 3: OCMF in 1.6 as a JSON string inside `value` with format SignedData, in transactionData."""
    station = await world.station("1.6")
    charge = station.charge()
    await charge.start(1000, 0)
    wrapped = json.encode(
        {"signedMeterData": OCMF, "signingMethod": "ECDSA", "encodingMethod": "OCMF", "publicKey": "MFYw"}
    ).decode()
    value = {"value": wrapped, "format": "SignedData", "context": "Transaction.End", "measurand": REGISTER}
    await charge.end(2500, 30, transactionData=[{"timestamp": at(30), "sampledValue": [value]}])
    one = await station.transaction()
    assert (one["energy_wh"], one["state"]) == (1500, "closed")
    (signed,) = [s["signed"] for s in await station.samples() if s["signed"]]
    assert signed["data"] == OCMF
    assert (signed["encoding_method"], signed["public_key"]) == ("OCMF", "MFYw")


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_2x_signed_meter_value_is_kept_exactly(world: World, version: str) -> None:
    """Line 3: in 2.x as signedMeterValue; Connection: frames of 5 to 30 KB are normal."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    data = OCMF + "x" * 2000
    signed = {"signedMeterData": data, "signingMethod": "", "encodingMethod": "OCMF", "publicKey": ""}
    value = sampled(version, 2500, at(30), signedMeterValue=signed, context="Transaction.End")
    await charge.end(0, 30, meterValue=[value])
    assert (await station.transaction())["energy_wh"] == 1500
    (kept,) = [s["signed"] for s in await station.samples() if s["signed"]]
    assert kept["data"] == data


@pytest.mark.parametrize("version", VERSIONS)
async def test_misspelt_unit_is_repaired_by_rule_with_a_mark(world: World, version: str) -> None:
    """Line 1: repair by rule, never by guess without a mark; counted and shown."""
    station = await world.station(version)
    charge = station.charge()
    await charge.start(1000, 0)
    await charge.update(1.4, 10, unit="KWH")
    assert (await station.transaction())["energy_wh"] == 400
    rule = "word_spelling" if version == "1.6" else "unit_misspelt"  # 1.6 has a list of units, 2.x has free text
    assert await station.quirks(rule) == {rule: 1}
    marks = [(s["value"], s["repaired"]) for s in await station.samples() if s["repaired"]]
    assert marks == ([] if version == "1.6" else [(1400, "unit_misspelt")])


@pytest.mark.parametrize("version", VERSIONS)
async def test_register_is_compared_with_power_and_time(world: World, version: str) -> None:
    """Line 1: compare with the station's own register, power and time: numbers a thousandth of what both say are kWh."""
    station = await world.station(version)
    charge = station.charge()
    power = {"measurand": "Power.Active.Import", "value": "11000" if version == "1.6" else 11000}
    start = {} if version == "1.6" else {"meterValue": []}
    await charge.start(0, 0, **start)
    for minute, kwh in ((10, "1.83"), (20, "3.67"), (30, "5.5")):
        value = sampled(version, kwh if version == "1.6" else float(kwh), at(minute), measurand=REGISTER, unit="Wh")
        value["sampledValue"].append(power)
        await charge.update(0, minute, meterValue=[value])
    one = await station.transaction()
    assert (one["energy_wh"], one["flags"]) == (5500 if version == "1.6" else 3670, ["unit_repaired"])
