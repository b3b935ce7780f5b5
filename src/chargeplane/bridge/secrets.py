"""Payloads as they may be stored and logged: passwords and keys that stations are given have no value in them, and addresses of files
no secret part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from chargeplane.domain.addresses import hide_secrets
from chargeplane.domain.variables import HIDDEN, is_secret

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode

Holder = tuple[dict[str, Any], str]


def _name(one: Any) -> str:
    found = one.get("name") if isinstance(one, dict) else None
    return found if isinstance(found, str) else ""


def _list(payload: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    found = payload.get(name)
    if isinstance(found, list):
        yield from (one for one in found if isinstance(one, dict))


def _of_items(list_name: str) -> Callable[[dict[str, Any]], Iterator[Holder]]:
    def find(payload: dict[str, Any]) -> Iterator[Holder]:
        for one in _list(payload, list_name):
            if is_secret(_name(one.get("component")), _name(one.get("variable"))):
                yield one, "attributeValue"

    return find


def _of_key(payload: dict[str, Any]) -> Iterator[Holder]:
    key = payload.get("key")
    if isinstance(key, str) and is_secret("", key.strip()):
        yield payload, "value"


def _of_keys(payload: dict[str, Any]) -> Iterator[Holder]:
    for one in _list(payload, "configurationKey"):
        yield from _of_key(one)


def _of_report(payload: dict[str, Any]) -> Iterator[Holder]:
    for one in _list(payload, "reportData"):
        if is_secret(_name(one.get("component")), _name(one.get("variable"))):
            for attribute in _list(one, "variableAttribute"):
                yield attribute, "value"


def _of_profile(payload: dict[str, Any]) -> Iterator[Holder]:
    profile = payload.get("connectionData")
    if isinstance(profile, dict):
        yield profile, "basicAuthPassword"
        for group, names in (("apn", ("apnPassword", "simPin")), ("vpn", ("password", "key"))):
            found = profile.get(group)
            if isinstance(found, dict):
                for name in names:
                    yield found, name


def _of_address(*inside: str, name: str = "location") -> Callable[[dict[str, Any]], Iterator[Holder]]:
    def find(payload: dict[str, Any]) -> Iterator[Holder]:
        found: Any = payload
        for step in inside:
            found = found.get(step)
            if not isinstance(found, dict):
                return
        yield found, name

    return find


_ADDRESSES: Final = frozenset({"location", "remoteLocation"})
"""Fields of which only a part is secret."""

_of_location: Final = _of_address()
_of_firmware: Final = _of_address("firmware")


def _of_update(payload: dict[str, Any]) -> Iterator[Holder]:
    yield from _of_location(payload)  # 1.6
    yield from _of_firmware(payload)


_CALLS: Final = {
    "GetDiagnostics": _of_location,
    "UpdateFirmware": _of_update,
    "SignedUpdateFirmware": _of_firmware,
    "PublishFirmware": _of_location,
    "GetLog": _of_address("log", name="remoteLocation"),
    "ChangeConfiguration": _of_key,
    "SetVariables": _of_items("setVariableData"),
    "SetNetworkProfile": _of_profile,
    "NotifyReport": _of_report,
}
_ANSWERS: Final = {
    "GetConfiguration": _of_keys,
    "GetVariables": _of_items("getVariableResult"),
}

HIDING: Final = frozenset(_CALLS) | frozenset(_ANSWERS)
"""Actions whose payloads may hold secrets."""


def without_secrets(action: str, payload: bytes) -> bytes:
    """The payload of a CALL as it may be kept.

    Args:
        payload: JSON text; what is no JSON object comes back as it is.
    """
    find = _CALLS.get(action)
    return payload if find is None else _hidden(find, payload)


def answer_without_secrets(action: str, payload: bytes) -> bytes:
    """The payload of the CALLRESULT to a CALL of ours as it may be kept."""
    find = _ANSWERS.get(action)
    return payload if find is None else _hidden(find, payload)


def _hidden(find: Callable[[dict[str, Any]], Iterator[Holder]], payload: bytes) -> bytes:
    try:
        decoded = _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return payload
    if not isinstance(decoded, dict):
        return payload
    changed = False
    for holder, name in find(decoded):
        value = holder.get(name)
        if value in (None, ""):
            continue
        if name in _ADDRESSES:
            hidden = hide_secrets(value) if isinstance(value, str) else value
        else:
            hidden = HIDDEN if isinstance(value, str) else 0
        changed = changed or hidden != value or name not in _ADDRESSES
        holder[name] = hidden
    return _encode(decoded) if changed else payload
