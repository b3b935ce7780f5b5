"""DER controls: set at stations of 2.1, reported by them, and the alarms they raise (OCPP 2.1 R)."""

from __future__ import annotations

import msgspec

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.reach import StationReach
from chargeplane.app.reports import Place, Reports
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.alerts import Severity
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.commands.smart_charging import (
    ClearDerControl,
    DerControlsSuperseded,
    GetDerControl,
    SetDerControl,
)
from chargeplane.domain.der_controls import DerControl, check
from chargeplane.domain.smart_charging import DerAlarmTold, DerControlsReported, DerControlSwitched
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, station_requests
from chargeplane.store.queries import der_controls as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.der_controls import DerControlView, DerEventView
from chargeplane.store.queries.paging import Position

KIND = "der_controls"
"""How reports are named among a station's requests."""


class DerControls:
    """Use cases about DER controls."""

    def __init__(
        self,
        database: Database,
        commands: Commands,
        reach: StationReach,
        requests: StationRequests,
        alerts: Alerts,
        events: EventFeed,
    ) -> None:
        self._database = database
        self._commands = commands
        self._reach = reach
        self._requests = requests
        self._alerts = alerts
        self._events = events

    def register(self, reports: Reports) -> None:
        """Takes what stations tell from now on."""
        reports.take(DerAlarmTold, self._alarm)
        reports.take(DerControlSwitched, self._switched)
        reports.take(DerControlsReported, self._reported)

    async def _key(self, caller: Caller, station_id: str) -> StationKey:
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key

    async def _reachable(self, caller: Caller, station_id: str) -> StationKey:
        key = await self._key(caller, station_id)
        if not await self._reach.ready(key):
            raise ConflictError(f"'{station_id}' is not connected.")
        return key

    async def page(
        self, caller: Caller, station_id: str, state: str | None, limit: int, after: Position | None
    ) -> list[DerControlView]:
        """A station's controls by id; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.page(db, key, state, limit, after)

    async def events(
        self, caller: Caller, station_id: str, kind: str | None, limit: int, after: Position | None
    ) -> list[DerEventView]:
        """What controls made a station do, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            return await queries.events(db, key, kind, limit, after)

    async def put(self, caller: Caller, station_id: str, control: DerControl) -> DerControlView:
        """Sets a control at a station that can be reached; what came of it.

        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: no station could follow it.
            ConflictError: the station is not connected.
        """
        check(control)
        key = await self._reachable(caller, station_id)
        outcome = await self._commands.ask(
            caller.tenant_id, key, SetDerControl(control=control), by="der control", valid_s=20
        )
        superseded = reply_of(outcome, DerControlsSuperseded)
        state = {CommandState.ACCEPTED: "installed", CommandState.REJECTED: "refused"}.get(outcome.state, "wanted")
        async with self._database.change() as db:
            before = await queries.one(db, key, control.id)
            await queries.put(db, caller.tenant_id, key, control, state, outcome.reason)
            if superseded is not None:
                await queries.supersede(db, key, superseded.ids)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="set",
                kind="der-control",
                ident=f"{station_id}/{control.id}",
                before=before,
                after=control,
            )
            found = await queries.one(db, key, control.id)
        assert found is not None
        return found

    async def clear(self, caller: Caller, station_id: str, ident: str) -> CommandOutcome:
        """Removes a control from a station that can be reached.

        Raises:
            NotFoundError: the tenant has no such station, or that no such control.
        """
        key = await self._key(caller, station_id)
        async with self._database.read() as db:
            held = await queries.one(db, key, ident)
        if held is None or held.state == "removed":
            raise NotFoundError("DER control", ident)
        await self._reachable(caller, station_id)
        outcome = await self._commands.ask(
            caller.tenant_id,
            key,
            ClearDerControl(is_default=held.is_default, control_id=ident),
            by="der control",
            valid_s=20,
        )
        if outcome.state is CommandState.ACCEPTED or outcome.status == "NotFound":
            async with self._database.change() as db:
                await queries.clear(db, key, ident)
        return outcome

    async def ask_report(self, caller: Caller, station_id: str) -> tuple[int, CommandOutcome]:
        """Asks a station for all of its controls; the report's number and how asking ended.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        key = await self._reachable(caller, station_id)
        number = await self._requests.open(caller.tenant_id, key, KIND, by=caller.actor)
        outcome = await self._commands.ask(
            caller.tenant_id, key, GetDerControl(request_id=number), by="der control", valid_s=20
        )
        if outcome.state is not CommandState.ACCEPTED:
            await self._requests.close(caller.tenant_id, key, KIND, number, outcome.status or outcome.state.value)
        return number, outcome

    async def _reported(self, place: Place, report: DerControlsReported) -> None:
        async with self._database.read() as db:
            number = await station_requests.parts_before(db, place.key, KIND, report.request_id, place.fact_id)
        await self._requests.part(
            place, KIND, report.request_id, number, report.more, msgspec.to_builtins(report, str_keys=True)
        )
        async with self._database.change() as db:
            for one in report.controls:
                await queries.report(
                    db,
                    place.tenant_id,
                    place.key,
                    one.id,
                    one.control_type,
                    one.is_default,
                    one.superseded,
                    one.settings,
                )

    async def _switched(self, place: Place, told: DerControlSwitched) -> None:
        kind = "started" if told.started else "stopped"
        async with self._database.change() as db:
            if await queries.add_event(
                db,
                place.tenant_id,
                place.key,
                place.fact_id,
                kind,
                told.control_id,
                None,
                None,
                told.at,
                place.received_at,
            ):
                await queries.switch(db, place.key, told.control_id, told.started)
                await queries.supersede(db, place.key, told.superseded)
        self._events.publish(
            "der_control.updated",
            place.tenant_id,
            place.station_id,
            {"control_id": told.control_id, "started": told.started},
        )

    async def _alarm(self, place: Place, told: DerAlarmTold) -> None:
        kind = "alarm_ended" if told.ended else "alarm"
        async with self._database.change() as db:
            if not await queries.add_event(
                db,
                place.tenant_id,
                place.key,
                place.fact_id,
                kind,
                told.control_type,
                told.fault,
                told.info,
                told.at,
                place.received_at,
            ):
                return
            if told.ended:
                # R05.FR.04: there are no levels of alarm; one that took over ends them all
                await self._alerts.clear(
                    db, place.tenant_id, place.key, kind="der_alarm", because="The station ended it.", ident=None
                )
            else:
                await self._alerts.raise_alert(
                    db,
                    place.tenant_id,
                    place.key,
                    kind="der_alarm",
                    ident=told.control_type,
                    severity=Severity.WARNING,
                    title=f"The grid makes the station deviate from its charging profiles: {told.control_type}.",
                    details={"fault": told.fault, "info": told.info},
                )
