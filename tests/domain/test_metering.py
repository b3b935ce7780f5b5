"""Sampled values in base units."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.metering import base_unit, normalise, sample
from chargeplane.kernel.units import MAX_MAGNITUDE

REGISTER = "Energy.Active.Import.Register"


@pytest.mark.parametrize(
    ("measurand", "value", "unit", "expected", "base"),
    [
        (REGISTER, "12345", "Wh", "12345", "Wh"),
        (REGISTER, "12.345", "kWh", "12345", "Wh"),
        (REGISTER, "0.012345", "MWh", "12345", "Wh"),
        (REGISTER, "12345", None, "12345", "Wh"),
        (None, "7", "", "7", "Wh"),
        ("Energy.Reactive.Import.Register", "1.5", "kvarh", "1500", "varh"),
        ("Energy.Reactive.Export.Interval", "3", "varh", "3", "varh"),
        ("Power.Active.Import", "7.2", "kW", "7200", "W"),
        ("Power.Active.Import", "7200", None, "7200", "W"),
        ("Power.Reactive.Import", "2", "kvar", "2000", "var"),
        ("Power.Offered", "11", "kW", "11000", "W"),
        ("Power.Factor", "0.98", None, "0.98", None),
        ("Energy.Apparent.Net", "1", "kVAh", "1000", "VAh"),
        ("Power.Apparent.Import", "1", "kVA", "1000", "VA"),
        ("Current.Import", "15.9", "A", "15.9", "A"),
        ("Current.Import", "15900", "mA", "15.9", "A"),
        ("Voltage", "0.2301", "kV", "230.1", "V"),
        ("Frequency", "50.01", "Hz", "50.01", "Hz"),
        ("Frequency", "50.01", None, "50.01", "Hz"),
        ("SoC", "55", "Percent", "55", "Percent"),
        ("Temperature", "21.5", "Celsius", "21.5", "Celsius"),
        ("Temperature", "21.5", "Celcius", "21.5", "Celsius"),
        ("Temperature", "212", "Fahrenheit", "100", "Celsius"),
        ("Temperature", "273.15", "K", "0", "Celsius"),
        ("RPM", "900", None, "900", "RPM"),
    ],
)
def test_a_value_comes_in_its_base_unit(
    measurand: str | None, value: str, unit: str | None, expected: str, base: str | None
) -> None:
    number, told, repaired, raw = normalise(measurand, value, unit)
    assert (number, told) == (Decimal(expected), base)
    assert repaired is None
    assert raw is None


@pytest.mark.parametrize(
    ("measurand", "unit", "base", "factor"),
    [
        (REGISTER, "KWH", "Wh", 1000),
        (REGISTER, "kwh", "Wh", 1000),
        (REGISTER, "wh", "Wh", 1),
        (REGISTER, "kW h", "Wh", 1000),
        (REGISTER, "kW/h", "Wh", 1000),
        ("Power.Active.Import", "KW", "W", 1000),
        ("Power.Active.Import", "Watt", "W", 1),
        ("Current.Import", "Amp", "A", 1),
        ("Voltage", "volt", "V", 1),
        ("SoC", "%", "Percent", 1),
        ("Temperature", "°C", "Celsius", 1),
        ("Temperature", "celcius", "Celsius", 1),
    ],
)
def test_a_misspelt_unit_is_understood_and_marked(measurand: str, unit: str, base: str, factor: int) -> None:
    assert normalise(measurand, "3", unit) == (Decimal(3 * factor), base, "unit_misspelt", None)


def test_floats_as_text_keep_what_they_mean() -> None:
    assert normalise(REGISTER, "0.30005000000000004", "kWh") == (Decimal("300.05"), "Wh", None, None)
    number, *_ = normalise(REGISTER, "0.1", "kWh")
    assert str(number) == "100.0"


def test_a_json_number_is_taken_by_its_digits() -> None:
    assert normalise(REGISTER, 0.1, "kWh")[0] == 100
    assert normalise(REGISTER, 12, None)[0] == 12
    assert normalise(REGISTER, Decimal("12.50"), None)[0] == Decimal("12.5")
    assert normalise(REGISTER, Decimal("1E+3"), None)[0] == 1000


def test_the_multiplier_of_2x_applies_beside_the_prefix() -> None:
    assert normalise(REGISTER, "12", "Wh", 3)[0] == 12_000
    assert normalise(REGISTER, "12", "kWh", -3)[0] == 12
    assert normalise("Current.Import", "16000", "A", -3)[0] == 16
    assert normalise(REGISTER, "1", "Wh", 10**9) == (None, "Wh", "number_unusable", "1")


@pytest.mark.parametrize(
    "text",
    ["NaN", "sNaN", "Infinity", "-inf", "1E+999999", "1e400000", "9" * 17, "value", "", "1,234.5", "0x10", "\x00"],
)
def test_what_is_no_usable_number_keeps_its_text(text: str) -> None:
    number, unit, repaired, raw = normalise(REGISTER, text, None)
    assert number is None
    assert unit == "Wh"
    assert repaired == "number_unusable"
    assert raw == text.replace("\x00", "\ufffd")


def test_a_long_text_is_cut() -> None:
    *_, raw = normalise(REGISTER, "7" * 100_000, None)
    assert raw is not None
    assert len(raw) == 128


def test_a_decimal_comma_is_repaired_with_its_raw_text() -> None:
    assert normalise(REGISTER, "12,5", "kWh") == (Decimal("12500.0"), "Wh", "decimal_comma", "12,5")


def test_an_unknown_unit_is_kept_with_a_mark() -> None:
    assert normalise(REGISTER, "5", "furlong") == (Decimal(5), "furlong", "unit_unknown", None)


def test_the_default_unit_wh_on_another_measurand_means_its_own_unit() -> None:
    assert normalise("Voltage", "230", "Wh") == (Decimal(230), "V", "unit_foreign", None)


def test_power_units_on_energy_and_the_reverse_are_taken_as_the_measurand_says() -> None:
    assert normalise(REGISTER, "5", "kW") == (Decimal(5000), "Wh", "unit_foreign", None)
    assert normalise("Power.Active.Import", "5", "kWh") == (Decimal(5000), "W", "unit_foreign", None)
    assert normalise("Energy.Reactive.Import.Register", "5", "kWh") == (Decimal(5000), "varh", "unit_foreign", None)


def test_a_unit_of_another_quantity_is_kept_as_written_with_a_mark() -> None:
    assert normalise(REGISTER, "5", "A") == (Decimal(5), "A", "unit_foreign", None)


def test_a_sample_carries_all_its_fields() -> None:
    told = sample(None, "1", "kWh", 0, "L1", "Inlet", "Transaction.Begin")
    assert (told.measurand, told.value, told.unit) == (REGISTER, 1000, "Wh")
    assert (told.phase, told.location, told.context) == ("L1", "Inlet", "Transaction.Begin")


def test_every_measurand_of_the_specification_has_a_unit_or_is_a_ratio() -> None:
    for measurand in ("Current.Offered", "Energy.Active.Net", "Power.Active.Setpoint", "EnergyRequest.Target", "SoC"):
        assert base_unit(measurand) is not None
    assert base_unit("Power.Factor") is None
    assert base_unit("Display.RemainingTimeToTargetSOC") == "s"
    assert base_unit("Display.MinimumSOC") == "Percent"
    assert normalise("Display.PresentSOC", "57", "Wh") == (Decimal(57), "Percent", "unit_foreign", None)


@given(
    st.one_of(st.text(max_size=30), st.decimals(), st.floats(), st.integers()),
    st.one_of(st.none(), st.text(max_size=8), st.sampled_from(["kWh", "K", "Fahrenheit", "mA"])),
    st.integers(-30, 30),
)
def test_any_input_gives_a_bounded_number_or_keeps_its_text(value: object, unit: str | None, multiplier: int) -> None:
    number, _, repaired, raw = normalise(REGISTER, value, unit, multiplier)  # type: ignore[arg-type]
    if number is None:
        assert repaired is not None
        assert raw is not None
    else:
        assert number.is_finite()
        assert abs(number) <= MAX_MAGNITUDE
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)
        assert -12 <= exponent <= 0


@given(st.decimals(0, 10**9, places=3))
def test_kwh_and_wh_agree(value: Decimal) -> None:
    assert normalise(REGISTER, str(value), "kWh")[0] == normalise(REGISTER, str(value * 1000), "Wh")[0]
