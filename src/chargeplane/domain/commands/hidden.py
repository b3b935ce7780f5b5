"""Commands as they may be stored and shown: a password in them is kept nowhere."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec

from chargeplane.domain.commands.variables import SetNetworkProfile, SetVariables
from chargeplane.domain.variables import HIDDEN, canonical, is_secret

C = TypeVar("C", bound=msgspec.Struct)


def hidden(command: C) -> C:
    """The command without its secrets; the same object where it has none."""
    if isinstance(command, SetVariables):
        return cast("C", _variables(command))
    if isinstance(command, SetNetworkProfile):
        return cast("C", _profile(command))
    return command


def _variables(command: SetVariables) -> SetVariables:
    shown = tuple(
        msgspec.structs.replace(one, value=HIDDEN) if is_secret(name.component or "", name.variable) else one
        for one in command.variables
        for name in (canonical(one.name),)
    )
    return command if shown == command.variables else SetVariables(variables=shown)


def _profile(command: SetNetworkProfile) -> SetNetworkProfile:
    replace = msgspec.structs.replace
    apn, vpn = command.apn, command.vpn
    if apn is not None and apn.password is not None:
        apn = replace(apn, password=HIDDEN)
    if apn is not None and apn.sim_pin is not None:
        apn = replace(apn, sim_pin=0)
    if vpn is not None:
        vpn = replace(vpn, password=HIDDEN, key=HIDDEN)
    if apn is command.apn and vpn is command.vpn and command.password is None:
        return command
    password = None if command.password is None else HIDDEN
    return replace(command, apn=apn, vpn=vpn, password=password)


def holds_hidden(command: msgspec.Struct) -> bool:
    """Whether a command was read back from where its secrets were not kept."""
    if isinstance(command, SetVariables):
        return any(
            one.value == HIDDEN and is_secret(name.component or "", name.variable)
            for one in command.variables
            for name in (canonical(one.name),)
        )
    if isinstance(command, SetNetworkProfile):
        apn, vpn = command.apn, command.vpn
        return HIDDEN in (
            command.password,
            None if apn is None else apn.password,
            None if vpn is None else vpn.password,
            None if vpn is None else vpn.key,
        )
    return False
