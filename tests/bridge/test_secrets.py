"""What is kept of messages that give a station a password."""

from __future__ import annotations

import json

import pytest

from chargeplane.bridge.secrets import answer_without_secrets, without_secrets
from chargeplane.domain.commands import ApnAccess, SetNetworkProfile, SetVariables, VpnAccess
from chargeplane.domain.commands.hidden import hidden
from chargeplane.domain.variables import HIDDEN, VariableSetting

PASSWORD = "a-password-nobody-knows"


def test_calls_that_set_a_password_are_kept_without_it() -> None:
    calls = {
        "ChangeConfiguration": {"key": "authorizationkey", "value": PASSWORD},
        "SetVariables": {
            "setVariableData": [
                {
                    "component": {"name": "SecurityCtrlr"},
                    "variable": {"name": "BasicAuthPassword"},
                    "attributeValue": PASSWORD,
                },
                {"component": {"name": "ClockCtrlr"}, "variable": {"name": "TimeZone"}, "attributeValue": "UTC"},
            ]
        },
        "SetNetworkProfile": {
            "configurationSlot": 1,
            "connectionData": {"basicAuthPassword": PASSWORD, "vpn": {"key": PASSWORD, "password": PASSWORD}},
        },
        "NotifyReport": {
            "reportData": [
                {
                    "component": {"name": "SecurityCtrlr"},
                    "variable": {"name": "BasicAuthPassword"},
                    "variableAttribute": [{"value": PASSWORD, "mutability": "WriteOnly"}],
                }
            ]
        },
    }
    for action, payload in calls.items():
        kept = without_secrets(action, json.dumps(payload).encode())
        assert PASSWORD.encode() not in kept
        assert HIDDEN.encode() in kept
    assert b'"UTC"' in without_secrets("SetVariables", json.dumps(calls["SetVariables"]).encode())


def test_answers_that_show_a_password_are_kept_without_it() -> None:
    answer = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": PASSWORD}]}
    assert PASSWORD.encode() not in answer_without_secrets("GetConfiguration", json.dumps(answer).encode())


def test_what_has_no_secret_or_is_no_message_stays_as_it_is() -> None:
    plain = b'{"key":"HeartbeatInterval", "value":"60"}'
    assert without_secrets("ChangeConfiguration", plain) is plain
    for odd in (b"[]", b"null", b"{", b"\xff", b'{"setVariableData":3}', b'{"setVariableData":[1,{"component":7}]}'):
        assert without_secrets("SetVariables", odd) is odd
    assert without_secrets("Reset", b'{"type":"Hard"}') == b'{"type":"Hard"}'


def test_commands_are_kept_without_their_secrets() -> None:
    setting = VariableSetting(variable="AuthorizationKey", value=PASSWORD)
    other = VariableSetting(component="ClockCtrlr", variable="TimeZone", value="UTC")
    kept = hidden(SetVariables(variables=(setting, other)))
    assert [one.value for one in kept.variables] == [HIDDEN, "UTC"]
    plain = SetVariables(variables=(other,))
    assert hidden(plain) is plain
    profile = SetNetworkProfile(
        slot=1,
        url="wss://csms.example/ocpp",
        security_profile=2,
        password=PASSWORD,
        apn=ApnAccess(apn="internet", password=PASSWORD, sim_pin=1234),
        vpn=VpnAccess(server="s", type="IPSec", user="u", password=PASSWORD, key=PASSWORD),
    )
    text = repr(hidden(profile))
    assert PASSWORD not in text
    assert "1234" not in text


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("GetDiagnostics", {"location": "LOCATION"}),
        ("UpdateFirmware", {"location": "LOCATION", "retrieveDate": "2026-01-31T12:00:00Z"}),
        ("UpdateFirmware", {"requestId": 1, "firmware": {"location": "LOCATION"}}),
        ("SignedUpdateFirmware", {"requestId": 1, "firmware": {"location": "LOCATION"}}),
        ("PublishFirmware", {"location": "LOCATION", "checksum": "x"}),
        ("GetLog", {"logType": "SecurityLog", "log": {"remoteLocation": "LOCATION"}}),
    ],
)
def test_addresses_of_files_are_kept_without_what_lets_one_in(action: str, payload: object) -> None:
    for address, kept in (
        (f"ftp://upload:{PASSWORD}@host:21/a", "ftp://upload:hidden@host:21/a"),
        (f"https://host/files/uploads/{PASSWORD}/", "https://host/files/uploads/hidden/"),
        (f"https://host/log?X-Signature={PASSWORD}", "https://host/log?hidden"),
        ("https://host/files/firmware/abc/x.bin", "https://host/files/firmware/abc/x.bin"),
    ):
        text = json.dumps(payload).replace("LOCATION", address)
        assert json.loads(without_secrets(action, text.encode())) == json.loads(text.replace(address, kept))
    for odd in (b'{"firmware":3}', b'{"location":3}', b'{"log":[]}', b"{}"):
        assert without_secrets(action, odd) is odd
