"""The local list as CALLs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from chargeplane.bridge import ocpp2x
from chargeplane.bridge.commands.checks import id_tag16, id_token2x, invalid
from chargeplane.bridge.commands.subject import Subject, ToCall, Understood
from chargeplane.bridge.ocpp16 import info16
from chargeplane.domain.commands import (
    CommandState,
    GetLocalListLimits,
    GetLocalListVersion,
    LocalListVersion,
    SendLocalList,
)
from chargeplane.domain.local_lists import ListEntry, ListLimits, ListUpdate
from chargeplane.domain.messages import IdToken, IdTokenInfo
from chargeplane.ocpp import v16, v21, v201
from chargeplane.ocpp.versions import OcppVersion

_REASONS: Final[Mapping[tuple[type, str], str]] = {
    (SendLocalList, "Failed"): "The station could not take the list; it may be full, or its list may be switched off.",
    (SendLocalList, "NotSupported"): "The station has no local list.",
    (SendLocalList, "VersionMismatch"): "The station has another version of the list; send the full one.",
}


def _info(entry: ListEntry) -> IdTokenInfo:
    return IdTokenInfo(
        status=entry.status,
        valid_until=entry.valid_until,
        group_id=entry.group_id,
        language=entry.language,
        personal_message=entry.personal_message,
    )


def _check(command: SendLocalList) -> None:
    if command.kind is ListUpdate.FULL and command.remove:
        raise invalid("A full list has nothing to remove.", "/remove", "empty")


# --- OCPP 1.6 ---------------------------------------------------------------------------------------------------------

_KEYS16: Final = ("LocalAuthListEnabled", "LocalAuthListMaxLength", "SendLocalListMaxLength")


def _version16(command: GetLocalListVersion) -> tuple[str, Struct]:
    return "GetLocalListVersion", v16.GetLocalListVersionRequest()


def _limits16(command: GetLocalListLimits) -> tuple[str, Struct]:
    return "GetConfiguration", v16.GetConfigurationRequest(key=_KEYS16)


def _send16(command: SendLocalList) -> tuple[str, Struct]:
    _check(command)
    entries = [
        v16.AuthorizationData(id_tag=id_tag16(token, f"/remove/{number}"))
        for number, token in enumerate(command.remove)
    ]
    entries += [
        v16.AuthorizationData(
            id_tag=id_tag16(entry.id_token, f"/put/{number}/id_token"), id_tag_info=info16(_info(entry))
        )
        for number, entry in enumerate(command.put)
    ]
    return "SendLocalList", v16.SendLocalListRequest(
        list_version=command.version,
        update_type=v16.UpdateType(command.kind.value),
        # an empty list of entries is what a full update that clears has (1.6, 5.15)
        local_authorization_list=tuple(entries) if entries or command.kind is ListUpdate.FULL else None,
    )


# --- OCPP 2.0.1 and 2.1 -----------------------------------------------------------------------------------------------


def _calls2x(v: Any) -> Mapping[type, ToCall]:
    def version(command: GetLocalListVersion) -> tuple[str, Struct]:
        return "GetLocalListVersion", v.GetLocalListVersionRequest()

    def limits(command: GetLocalListLimits) -> tuple[str, Struct]:
        def wanted(variable: str, attribute: str = "Actual") -> Any:
            return v.GetVariableDataType(
                component=v.ComponentType(name=_COMPONENT),
                variable=v.VariableType(name=variable),
                attribute_type=v.AttributeEnumType(attribute) if attribute != "Actual" else None,
            )

        asked = (wanted("Enabled"), wanted("ItemsPerMessage"), wanted("Entries", "MaxSet"))
        return "GetVariables", v.GetVariablesRequest(get_variable_data=asked)

    def token(one: IdToken, pointer: str) -> Any:
        return id_token2x(v, one, pointer)

    def send(command: SendLocalList) -> tuple[str, Struct]:
        _check(command)
        entries = [
            v.AuthorizationData(id_token=token(one, f"/remove/{number}")) for number, one in enumerate(command.remove)
        ]
        entries += [
            v.AuthorizationData(
                id_token=token(entry.id_token, f"/put/{number}/id_token"),
                id_token_info=ocpp2x.info2x(v, _info(entry)),
            )
            for number, entry in enumerate(command.put)
        ]
        return "SendLocalList", v.SendLocalListRequest(
            version_number=command.version,
            update_type=v.UpdateEnumType(command.kind.value),
            local_authorization_list=tuple(entries) or None,
        )

    return {GetLocalListVersion: version, GetLocalListLimits: limits, SendLocalList: send}


_COMPONENT: Final = "LocalAuthListCtrlr"


# --- answers ----------------------------------------------------------------------------------------------------------


class _Version(Struct, frozen=True):
    """Some 2.x stations answer with the field of 1.6, and the other way round."""

    listVersion: int | None = None  # noqa: N815
    versionNumber: int | None = None  # noqa: N815


_version: Final = msgspec.json.Decoder(_Version, strict=False)


def _told_version(payload: bytes) -> Understood:
    answer = _version.decode(payload)
    number = answer.versionNumber if answer.versionNumber is not None else answer.listVersion
    if number is None:
        return Understood(state=CommandState.FAILED, reason="The station told no version of its list.")
    if number < 0:
        return Understood(
            state=CommandState.REJECTED,
            status="NotSupported",
            reason="The station has no local list.",
            reply=LocalListVersion(version=-1),
        )
    return Understood(state=CommandState.ACCEPTED, reply=LocalListVersion(version=number))


class _Key(Struct, frozen=True):
    key: str
    value: str | None = None


class _Configuration(Struct, frozen=True):
    configurationKey: tuple[_Key, ...] = ()  # noqa: N815


_configuration: Final = msgspec.json.Decoder(_Configuration, strict=False)


def _told_limits16(payload: bytes) -> Understood:
    told = {one.key.casefold(): one.value for one in _configuration.decode(payload).configurationKey}
    enabled, entries, items = (told.get(key.casefold()) for key in _KEYS16)
    return _limits(enabled, entries, items)


class _Name(Struct, frozen=True):
    name: str


class _Variable(Struct, frozen=True):
    attributeStatus: str  # noqa: N815
    component: _Name
    variable: _Name
    attributeValue: str | None = None  # noqa: N815


class _Variables(Struct, frozen=True):
    getVariableResult: tuple[_Variable, ...]  # noqa: N815


_variables: Final = msgspec.json.Decoder(_Variables, strict=False)


def _told_limits2x(payload: bytes) -> Understood:
    told = {
        one.variable.name.casefold(): one.attributeValue
        for one in _variables.decode(payload).getVariableResult
        if one.attributeStatus == "Accepted" and one.component.name.casefold() == _COMPONENT.casefold()
    }
    return _limits(told.get("enabled"), told.get("entries"), told.get("itemspermessage"))


def _limits(enabled: str | None, entries: str | None, items: str | None) -> Understood:
    most = _count(entries)
    return Understood(
        state=CommandState.ACCEPTED,
        reply=ListLimits(
            enabled=None if enabled is None else enabled.strip().casefold() == "true",
            max_entries=most,
            items_per_message=_count(items) or None,  # nobody means a message without an entry
        ),
    )


def _count(text: str | None) -> int | None:
    """A count as a station writes it; None where it is no number that could be one."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


_BOTH2X: Final[Mapping[type, Callable[[bytes], Understood]]] = {
    GetLocalListVersion: _told_version,
    GetLocalListLimits: _told_limits2x,
}

SUBJECT: Final = Subject(
    calls={
        OcppVersion.V16: {GetLocalListVersion: _version16, GetLocalListLimits: _limits16, SendLocalList: _send16},
        OcppVersion.V201: _calls2x(v201),
        OcppVersion.V21: _calls2x(v21),
    },
    reasons=_REASONS,
    answers={
        OcppVersion.V16: {GetLocalListVersion: _told_version, GetLocalListLimits: _told_limits16},
        OcppVersion.V201: _BOTH2X,
        OcppVersion.V21: _BOTH2X,
    },
)
"""What stations can be asked about their local lists."""
