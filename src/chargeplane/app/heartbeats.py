"""The heartbeat interval that an operator set at a station is what its boots are answered with.

A station takes the interval of the answer to its boot as its own (OCPP 1.6, 4.2; 2.0.1 B01.FR.05). So one that was set as a variable, by hand
or by a template, would be set back by the next boot, and the template would drift for ever. What a station took becomes its own setting
`heartbeat_interval_s` here.
"""

from __future__ import annotations

from typing import Final, Protocol

from chargeplane.app.commands import Commands, reply_of
from chargeplane.domain.commands import CommandOutcome
from chargeplane.domain.commands.variables import SetVariables, VariableAnswers
from chargeplane.domain.variables import Attribute, standard_key
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries.audit import audit

_KEY: Final = "HeartbeatInterval"
_TAKEN: Final = frozenset({"Accepted", "RebootRequired"})
_LEAST_S: Final = 1
_MOST_S: Final = 604_800


class Directory(Protocol):
    """What nodes know of stations."""

    async def refresh(self, key: StationKey) -> None:
        """Returns when every living node has what the database says of the station."""
        ...


class Heartbeats:
    """Hears which intervals stations took."""

    def __init__(self, database: Database, commands: Commands, directory: Directory) -> None:
        self._database = database
        self._directory = directory
        commands.followers.setdefault(SetVariables, []).append(self._set)

    async def _set(self, tenant_id: TenantId, key: StationKey, command: SetVariables, outcome: CommandOutcome) -> None:
        interval = _taken(command, reply_of(outcome, VariableAnswers))
        if interval is None:
            return
        async with self._database.change() as db:
            changed = await charging_stations.put_heartbeat_interval(db, key, interval)
            if changed is None:
                return
            station_id, before = changed
            await audit(
                db,
                tenant_id,
                actor="device-model",
                action="update",
                kind="charging-station",
                ident=station_id,
                before={"settings": {"heartbeat_interval_s": before}},
                after={"settings": {"heartbeat_interval_s": interval}},
                reason="The station took it as a variable.",
            )
        await self._directory.refresh(key)


def _taken(command: SetVariables, answers: VariableAnswers | None) -> int | None:
    """The interval that the station took; None where it was not set, refused, or is none for our answers."""
    if answers is None:
        return None
    for setting, answer in zip(command.variables, answers.results, strict=False):
        standard = standard_key(setting.name)
        if standard is None or standard.key != _KEY or setting.attribute is not Attribute.ACTUAL:
            continue
        text = setting.value.strip()
        if answer.status in _TAKEN and text.isdecimal() and _LEAST_S <= int(text) <= _MOST_S:
            return int(text)
    return None
