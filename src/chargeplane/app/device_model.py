"""A station's variables: read, written and reported, in messages of the size it takes (OCPP 2.0.1 B05 to B08; 1.6, 5.3 and 5.8).

What a station answers and reports is kept; what it says it does not have is forgotten; a complete full report removes what it does not
name. Passwords are sent and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, Send, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.reach import StationReach
from chargeplane.app.reports import Place as Reporter
from chargeplane.app.reports import Reports
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.commands import (
    CommandOutcome,
    CommandState,
    GetBaseReport,
    GetReport,
    GetVariables,
    ReportBase,
    SetVariables,
    VariableAnswer,
    VariableAnswers,
)
from chargeplane.domain.configuration import Told
from chargeplane.domain.quirks import NOTHING, Known
from chargeplane.domain.splitting import MessageLimits, split_variables
from chargeplane.domain.variables import Place, VariableName, VariableReport, VariableSetting, is_secret
from chargeplane.kernel.errors import ConflictError, RuleError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, device_model_readings, variables
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.variables import VariableFilter, VariableView

KIND: Final = "variables"
"""Reports of variables among a station's requests."""

log = structlog.get_logger(__name__)

_UNKNOWN: Final = frozenset({"UnknownComponent", "UnknownVariable", "NotSupportedAttributeType"})
_V16: Final = "1.6"

Changed = Callable[[TenantId, StationKey], Awaitable[None]]
"""Told when more is known of a station's variables."""


class DeviceModel:
    """Use cases about variables; carries out the commands about them."""

    def __init__(
        self,
        database: Database,
        reach: StationReach,
        commands: Commands,
        requests: StationRequests,
        reports: Reports,
        events: EventFeed,
    ) -> None:
        self._database = database
        self._reach = reach
        self._commands = commands
        self._requests = requests
        self._events = events
        self.on_changed: list[Changed] = []
        self.known_of: Callable[[StationKey], Known] = lambda key: NOTHING
        """What models are known for, whatever they tell of themselves."""
        commands.wholes[GetVariables] = self._get
        commands.wholes[SetVariables] = self._set
        commands.wholes[GetBaseReport] = self._report
        commands.wholes[GetReport] = self._report
        reports.take(VariableReport, self._reported)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, station_id: str, wanted: VariableFilter, limit: int, after: Position | None
    ) -> list[VariableView]:
        """The station's variables as far as it told them, in the order of their names; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            return await variables.page(db, key, wanted, limit, after)

    # -- for other subjects --------------------------------------------------------------------------------------------

    async def read(
        self,
        tenant_id: TenantId,
        key: StationKey,
        names: Sequence[VariableName],
        *,
        by: str,
        valid_s: float = 60.0,
        timeout_s: float = 30.0,
    ) -> tuple[CommandOutcome, tuple[VariableAnswer, ...]]:
        """Asks a station for variables; what it told is kept. The answers are empty where it was not reached.

        Args:
            by: who asks, for the record.
            valid_s: how long the station is waited for.
        """
        command = GetVariables(variables=tuple(names))
        outcome = await self._commands.ask(tenant_id, key, command, by=by, timeout_s=timeout_s, valid_s=valid_s)
        return outcome, _results(outcome)

    async def write(
        self,
        tenant_id: TenantId,
        key: StationKey,
        settings: Sequence[VariableSetting],
        *,
        by: str,
        valid_s: float = 60.0,
        timeout_s: float = 30.0,
    ) -> tuple[CommandOutcome, tuple[VariableAnswer, ...]]:
        """Has a station set variables, as many in a message as it takes. Nothing is read back.

        Args:
            by: who asks, for the record.
            valid_s: how long the station is waited for.
        """
        command = SetVariables(variables=tuple(settings))
        outcome = await self._commands.ask(tenant_id, key, command, by=by, timeout_s=timeout_s, valid_s=valid_s)
        return outcome, _results(outcome)

    async def read_all(self, tenant_id: TenantId, key: StationKey, *, by: str, valid_s: float = 60.0) -> CommandOutcome:
        """Asks a station for everything: a full base report (2.x), or all keys (1.6). The report comes later."""
        return await self._commands.ask(tenant_id, key, GetBaseReport(), by=by, valid_s=valid_s)

    async def told(self, key: StationKey, names: Iterable[str]) -> dict[Place, Told]:
        """What is known of all attributes of variables with these names, by folded place."""
        async with self._database.read() as db:
            return await variables.told(db, key, names)

    # -- carrying out --------------------------------------------------------------------------------------------------

    async def _limits(self, key: StationKey, message: str) -> MessageLimits:
        async with self._database.read() as db:
            told = await variables.limits(db, key, message)
        known = self.known_of(key)
        if not known:
            return told
        # OCPP 1.6 reads keys by GetConfiguration
        most = known.max_items.get(message) or (
            known.max_items.get("GetConfiguration") if message == "GetVariables" else None
        )
        longest = known.max_message_bytes
        return MessageLimits(
            items=min((one for one in (told.items, most and most[0]) if one), default=None),
            bytes=min((one for one in (told.bytes, longest and longest[0]) if one), default=None),
        )

    async def _get(
        self, tenant_id: TenantId, key: StationKey, command: GetVariables, send: Send, by: str
    ) -> CommandOutcome:
        limits = await self._limits(key, "GetVariables")
        if await self._reach.version(key) == _V16:
            limits = MessageLimits(items=limits.items)
        return await self._in_parts(
            tenant_id,
            key,
            split_variables(command.variables, limits),
            lambda part: GetVariables(variables=tuple(part)),
            send,
        )

    async def _set(
        self, tenant_id: TenantId, key: StationKey, command: SetVariables, send: Send, by: str
    ) -> CommandOutcome:
        limits = await self._limits(key, "SetVariables")
        if await self._reach.version(key) == _V16:
            limits = MessageLimits(items=1)
        return await self._in_parts(
            tenant_id,
            key,
            split_variables(command.variables, limits),
            lambda part: SetVariables(variables=tuple(part)),
            send,
        )

    async def _in_parts(
        self,
        tenant_id: TenantId,
        key: StationKey,
        parts: list[list[Any]],
        make: Callable[[list[Any]], GetVariables | SetVariables],
        send: Send,
    ) -> CommandOutcome:
        """Sends one part after the other. One that gets no answer ends it: what follows is not sent."""
        results: list[VariableAnswer] = []
        first_refused: CommandOutcome | None = None
        outcome = CommandOutcome(state=CommandState.FAILED)
        rebooting = False
        for number, part in enumerate(parts):
            command = make(part)
            try:
                outcome = await send(command)
            except ConflictError as error:
                if not number:
                    raise
                outcome = CommandOutcome(state=CommandState.FAILED, reason=str(error))
            except RuleError as error:
                outcome = CommandOutcome(state=CommandState.REJECTED, reason=str(error))
                if number == 0 and len(parts) == 1:
                    raise
            answers = _results(outcome)
            results += answers
            await self._keep(tenant_id, key, command, answers)
            rebooting = rebooting or outcome.status == "RebootRequired"
            if outcome.state is CommandState.REJECTED and first_refused is None:
                first_refused = outcome
            if outcome.state not in (CommandState.ACCEPTED, CommandState.REJECTED):
                break
        if len(parts) == 1:
            return outcome
        reply = msgspec.json.encode(VariableAnswers(results=tuple(results)))
        if outcome.state in (CommandState.ACCEPTED, CommandState.REJECTED):
            if first_refused is not None:
                outcome = first_refused
            elif rebooting:
                outcome = msgspec.structs.replace(outcome, status="RebootRequired")
        return msgspec.structs.replace(outcome, reply=reply)

    async def _keep(
        self,
        tenant_id: TenantId,
        key: StationKey,
        command: GetVariables | SetVariables,
        answers: tuple[VariableAnswer, ...],
    ) -> None:
        if not answers:
            return
        async with self._database.change() as db:
            if isinstance(command, SetVariables):
                written = [
                    msgspec.structs.replace(answer.reported, value=setting.value)
                    for answer, setting in zip(answers, command.variables, strict=False)
                    if answer.status == "Accepted" and not is_secret(answer.component or "", answer.variable)
                ]
                await variables.store(db, key, written)
            else:
                await variables.store(db, key, [one.reported for one in answers if one.status == "Accepted"])
                await variables.forget(db, key, [one.place for one in answers if one.status in _UNKNOWN])
        await self._tell(tenant_id, key)

    async def _report(
        self, tenant_id: TenantId, key: StationKey, command: GetBaseReport | GetReport, send: Send, by: str
    ) -> CommandOutcome:
        if await self._reach.version(key) == _V16:
            return await self._all_keys(tenant_id, key, command, send)
        if isinstance(command, GetReport) and command.targets:
            most = (await self._limits(key, "GetReport")).items
            if most is not None and len(command.targets) > most:
                # OCPP 2.0.1 B08.FR.06
                raise RuleError(f"The station takes at most {most} targets in one report; ask for them in several.")
        full = isinstance(command, GetBaseReport) and command.report is ReportBase.FULL_INVENTORY
        if command.request_id is None:
            detail = msgspec.to_builtins(command)
            number = await self._requests.open(tenant_id, key, KIND, by=by, detail=detail)
            command = msgspec.structs.replace(command, request_id=number)
        if full:
            async with self._database.change() as db:
                await device_model_readings.asked(db, key)
        try:
            outcome = await send(command)
        except BaseException:
            await self._requests.close(tenant_id, key, KIND, command.request_id, "NotSent")
            raise
        if outcome.state is not CommandState.ACCEPTED:
            word = outcome.status or outcome.state.value
            await self._requests.close(tenant_id, key, KIND, command.request_id, word)
        return outcome

    async def _all_keys(
        self, tenant_id: TenantId, key: StationKey, command: GetBaseReport | GetReport, send: Send
    ) -> CommandOutcome:
        """1.6 answers with all keys at once."""
        outcome = await send(command)
        answers = _results(outcome)
        if outcome.state is CommandState.ACCEPTED:
            places = [one.place for one in answers]
            async with self._database.change() as db:
                await device_model_readings.asked(db, key)
                await variables.store(db, key, [one.reported for one in answers])
                if places:
                    before = await device_model_readings.complete(db, key)
                    await variables.keep_only(db, key, places, before)
            await self._tell(tenant_id, key)
        return outcome

    # -- what stations report ------------------------------------------------------------------------------------------

    async def _reported(self, place: Reporter, report: VariableReport) -> None:
        """One part of a report. The values were stored with the message; here it is put together."""
        ended = await self._requests.part(
            place, KIND, report.request_id, report.seq_no, report.more, list(report.places)
        )
        if ended is not None:
            async with self._database.change() as db:
                found = await device_model_readings.full_report(db, place.key, report.request_id)
                if found is not None:
                    named = [
                        _as_place(one) for part in ended for one in msgspec.json.decode(msgspec.json.encode(part.items))
                    ]
                    gone = await variables.keep_only(db, place.key, named, found)
                    await device_model_readings.complete(db, place.key)
                    if gone:
                        log.info("variables_gone", station=place.station_id, count=gone)
        await self._tell(place.tenant_id, place.key)

    async def _tell(self, tenant_id: TenantId, key: StationKey) -> None:
        for changed in self.on_changed:
            await changed(tenant_id, key)


def _as_place(item: Any) -> Place:
    component, component_instance, evse_id, connector_id, variable, variable_instance, attribute = item
    return (component, component_instance, evse_id, connector_id, variable, variable_instance, attribute)


def _results(outcome: CommandOutcome) -> tuple[VariableAnswer, ...]:
    reply = reply_of(outcome, VariableAnswers)
    return () if reply is None else reply.results
