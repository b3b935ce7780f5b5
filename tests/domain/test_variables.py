"""One name space for 1.6 keys and the 2.x device model, and when two values are the same."""

from __future__ import annotations

import pytest

from chargeplane.domain.standard_keys import STANDARD_KEYS, by_key, by_variable
from chargeplane.domain.variables import (
    Attribute,
    VariableName,
    canonical,
    canonical_place,
    folded,
    from_common,
    is_secret,
    name_of,
    same_value,
    shown,
    standard_key,
    to_common,
)


def test_a_key_and_its_variable_find_each_other_without_case() -> None:
    for one in STANDARD_KEYS:
        assert by_key(one.key.upper()) is one
        assert by_variable(one.component.lower(), one.variable.upper(), one.instance.lower()) is one


def test_a_standard_key_without_component_means_its_variable() -> None:
    name = canonical(VariableName(variable="meterValueSampleInterval"))
    assert (name.component, name.variable) == ("SampledDataCtrlr", "TxUpdatedInterval")
    assert canonical_place("meterValueSampleInterval") == name.place


def test_an_unknown_key_keeps_its_name() -> None:
    name = VariableName(variable="AcmeLedColour")
    assert canonical(name) == name
    assert canonical_place("AcmeLedColour") == ("", "", 0, 0, "AcmeLedColour", "", "Actual")


def test_a_variable_of_an_evse_is_no_standard_key() -> None:
    assert standard_key(VariableName(component="TxCtrlr", variable="EVConnectionTimeOut")) is not None
    assert standard_key(VariableName(component="TxCtrlr", variable="EVConnectionTimeOut", evse_id=1)) is None


def test_rate_units_have_other_words_in_1_6() -> None:
    row = by_key("ChargingScheduleAllowedChargingRateUnit")
    assert to_common(row, "Current, Power") == "A,W"
    assert from_common(row, "W,A") == "Power,Current"
    assert to_common(None, "Current") == "Current"


def test_a_place_is_written_as_people_read_it() -> None:
    place = ("Connector", "left", 2, 1, "Power", "L1", "MaxSet")
    assert shown(place) == "Connector[left]#2.1/Power[L1]:MaxSet"
    assert name_of(place).place == place
    assert shown(VariableName(variable="AcmeLedColour").place) == "AcmeLedColour"
    assert folded(place) == ("connector", "left", 2, 1, "power", "l1", "maxset")
    assert name_of(place).attribute is Attribute.MAX_SET


@pytest.mark.parametrize(
    ("wanted", "has", "data_type", "same"),
    [
        ("true", "True", None, True),
        ("true", "1", None, False),
        ("60", "60.0", "decimal", True),
        ("60", "60", None, True),
        ("60", "61", None, False),
        ("007", "7", "string", False),
        ("Voltage,SoC", "SoC, Voltage", "MemberList", True),
        ("Voltage,SoC", "SoC, Voltage", None, True),
        ("1,0", "0,1", "SequenceList", False),
        ("1,0", "1, 0", "SequenceList", True),
        ("Heartbeat", "heartbeat", None, False),
        ("", "", None, True),
        ("NaN", "nan", None, False),
        ("1e3", "1000", "decimal", True),
    ],
)
def test_when_a_value_that_was_read_back_is_the_one_wanted(
    wanted: str, has: str, data_type: str | None, same: bool
) -> None:
    assert same_value(wanted, has, data_type) is same


def test_what_is_never_shown() -> None:
    assert is_secret("SecurityCtrlr", "BasicAuthPassword")
    assert is_secret("", "AuthorizationKey")
    assert is_secret("NetworkConfiguration", "VpnKey")
    assert is_secret("AcmeCtrlr", "WifiPassphrase")
    assert not is_secret("SecurityCtrlr", "OrganizationName")
    assert not is_secret("", "KeyLedColour")
