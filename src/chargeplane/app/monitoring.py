"""What stations watch of themselves: monitors as they have them, events as they tell them, alerts of those that weigh."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
import structlog

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands, reply_of
from chargeplane.app.events import EventFeed
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.alerts import Severity
from chargeplane.domain.commands import (
    ClearVariableMonitoring,
    Command,
    CommandOutcome,
    CommandState,
    GetMonitoringReport,
    SetMonitoringBase,
    SetVariableMonitoring,
)
from chargeplane.domain.commands.monitoring import MonitorSetting
from chargeplane.domain.monitoring import (
    AlertWeight,
    EventRule,
    Monitor,
    MonitoringReportPart,
    MonitorsCleared,
    MonitorsSet,
    StationEvent,
    StationEvents,
    alert_name,
    weight_of,
)
from chargeplane.kernel.errors import NotFoundError, RuleError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, station_requests
from chargeplane.store.queries import monitoring as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.monitoring import EventFilter, EventRuleView, EventView, MonitorView
from chargeplane.store.queries.paging import Db, Mark, Position

REPORT: Final = "monitoring_report"
"""Requests of reports on monitors, among those of stations."""

ALERT: Final = "station_event"
MAX_RULES: Final = 200

_USUALLY: Final = 100
"""Monitors in one message for a station that does not say how many it takes."""

T = TypeVar("T")

_SEVERITIES: Final = {
    AlertWeight.INFO: Severity.INFO,
    AlertWeight.WARNING: Severity.WARNING,
    AlertWeight.CRITICAL: Severity.CRITICAL,
}

_log = structlog.get_logger(__name__)


class Monitoring:
    """Use cases about monitors and events."""

    def __init__(
        self, database: Database, alerts: Alerts, commands: Commands, requests: StationRequests, events: EventFeed
    ) -> None:
        self._database = database
        self._alerts = alerts
        self._commands = commands
        self._requests = requests
        self._events = events
        self._asking: set[asyncio.Task[None]] = set()

    def register(self) -> None:
        """Hears from now on how commands about monitors end."""
        for kind in (SetVariableMonitoring, ClearVariableMonitoring, SetMonitoringBase):
            self._commands.followers.setdefault(kind, []).append(self.ended)

    async def stop(self) -> None:
        """Waits for nothing any more."""
        for task in list(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    # -- what stations tell ----------------------------------------------------------------------------------------------

    async def heard(self, place: Place, report: StationEvents) -> None:
        """Events (N07, N08): kept, and what weighs is an alert; one that is over ends its alert."""
        async with self._database.change() as db:
            idents = [one.monitor_id for one in report.events if one.monitor_id is not None]
            known = await queries.severities(db, place.key, idents) if idents else {}
            rules = tuple(_rule(one) for one in await queries.rules(db, place.tenant_id))
            for ordinal, event in enumerate(report.events):
                severity = event.severity if event.severity is not None else known.get(event.monitor_id or -1)
                new = await queries.add_event(
                    db, place.tenant_id, place.key, place.received_at, place.fact_id, ordinal, event, severity
                )
                if new:
                    await self._weigh(db, place, event, severity, rules)
        if self._events.active:
            for event in report.events:
                self._events.publish("station.event", place.tenant_id, place.station_id, event)

    async def _weigh(
        self, db: Db, place: Place, event: StationEvent, severity: int | None, rules: tuple[EventRule, ...]
    ) -> None:
        name = alert_name(event)
        if event.cleared:
            told = f"The station says that {event.variable.name} is {event.actual_value} and within its limits again."
            await self._alerts.clear(db, place.tenant_id, place.key, kind=ALERT, ident=name, because=told)
            return
        weight = weight_of(event, severity, rules)
        if weight is AlertWeight.NONE:
            return
        what = f" ({event.tech_code}{': ' + event.tech_info if event.tech_info else ''})" if event.tech_code else ""
        await self._alerts.raise_alert(
            db,
            place.tenant_id,
            place.key,
            kind=ALERT,
            ident=name,
            severity=_SEVERITIES[weight],
            title=f"{place.station_id}: {event.variable.name} is {event.actual_value[:200]}{what}",
            details={"event": event, "severity": severity, "received_at": place.received_at},
        )

    async def reported(self, place: Place, report: MonitoringReportPart) -> None:
        """A part of a report on monitors (N02). A complete report of all monitors says also which there are no more."""
        async with self._database.change() as db:
            await queries.put_monitors(db, place.key, report.monitors, place.received_at)
        items = list(report.monitors)
        ended = await self._requests.part(place, REPORT, report.request_id, report.seq_no, report.more, items)
        if ended is None:
            return
        async with self._database.change() as db:
            request = await station_requests.newest(db, place.key, REPORT, report.request_id)
            if request is None or request.state != "complete" or not _of_all(request.detail):
                return
            idents = [one["id"] for part in ended for one in _decoded(part.items)]
            await queries.keep_only(db, place.key, idents)

    # -- how commands end ------------------------------------------------------------------------------------------------

    async def ended(self, tenant_id: TenantId, key: StationKey, command: Command, outcome: CommandOutcome) -> None:
        """Keeps what a command changed; after a new base the station is asked what it has now."""
        now = datetime.now(UTC)
        if isinstance(command, SetVariableMonitoring):
            told = reply_of(outcome, MonitorsSet)
            if told is not None:
                async with self._database.change() as db:
                    await queries.put_monitors(db, key, _set(command, told), now)
        elif isinstance(command, ClearVariableMonitoring):
            cleared = reply_of(outcome, MonitorsCleared)
            gone = [one.id for one in cleared.results if one.status in ("Accepted", "NotFound")] if cleared else []
            async with self._database.change() as db:
                await queries.forget(db, key, gone)
        elif isinstance(command, SetMonitoringBase) and outcome.state is CommandState.ACCEPTED:
            task = asyncio.create_task(self._ask_again(tenant_id, key), name=f"monitors of station {key}")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask_again(self, tenant_id: TenantId, key: StationKey) -> None:
        outcome = await self._commands.ask(tenant_id, key, GetMonitoringReport(), by="monitoring")
        if outcome.status == "EmptyResultSet":
            async with self._database.change() as db:
                await queries.keep_only(db, key, [])

    # -- for people ----------------------------------------------------------------------------------------------------

    async def monitors(self, caller: Caller, station_id: str) -> list[MonitorView]:
        """A station's monitors, as it last told.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            return await queries.monitors(db, await self._key(db, caller, station_id))

    async def put(self, caller: Caller, station_id: str, wanted: Sequence[MonitorSetting]) -> list[CommandOutcome]:
        """Sets monitors, in as many messages as the station demands (N04.FR.09); how each ended. The first that is not even answered is
        the last.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        parts = await self._parts(caller, station_id, "SetVariableMonitoring", wanted)
        return await self._one_by_one(caller, parts, lambda part: SetVariableMonitoring(monitors=tuple(part)))

    async def clear(self, caller: Caller, station_id: str, idents: Sequence[int]) -> list[CommandOutcome]:
        """Clears monitors, in as many messages as the station demands (N06.FR.04); how each ended. The first that is not even answered
        is the last.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        parts = await self._parts(caller, station_id, "ClearVariableMonitoring", idents)
        return await self._one_by_one(caller, parts, lambda part: ClearVariableMonitoring(ids=tuple(part)))

    async def _parts(
        self, caller: Caller, station_id: str, action: str, items: Sequence[T]
    ) -> tuple[StationKey, list[Sequence[T]]]:
        async with self._database.read() as db:
            key = await self._key(db, caller, station_id)
            size = await queries.items_per_message(db, key, action) or _USUALLY
        return key, [items[start : start + size] for start in range(0, len(items), size)]

    async def _one_by_one(
        self,
        caller: Caller,
        parts: tuple[StationKey, list[Sequence[T]]],
        make: Callable[[Sequence[T]], Command],
    ) -> list[CommandOutcome]:
        key, pieces = parts
        ended: list[CommandOutcome] = []
        for piece in pieces:
            ended.append(await self._commands.ask(caller.tenant_id, key, make(piece), by=caller.actor, valid_s=10))
            if ended[-1].reply is None:
                break
        return ended

    async def page(
        self, caller: Caller, station_id: str, wanted: EventFilter, limit: int, after: Position | None
    ) -> list[tuple[EventView, Mark]]:
        """A station's events with their places in the list, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self._database.read() as db:
            return await queries.events(db, await self._key(db, caller, station_id), wanted, limit, after)

    async def rules(self, caller: Caller) -> list[EventRuleView]:
        """The tenant's rules in their order."""
        async with self._database.read() as db:
            return await queries.rules(db, caller.tenant_id)

    async def add_rule(self, caller: Caller, rule: EventRule, position: int) -> EventRuleView:
        """A new rule.

        Raises:
            RuleError: there are too many.
        """
        async with self._database.change() as db:
            if len(await queries.rules(db, caller.tenant_id)) >= MAX_RULES:
                raise RuleError(f"There are {MAX_RULES} rules already; delete one first.")
            view = await queries.add_rule(db, caller.tenant_id, rule, position)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="event-rule",
                ident=view.id,
                after=view,
            )
        return view

    async def delete_rule(self, caller: Caller, ident: int) -> None:
        """Deletes a rule.

        Raises:
            NotFoundError: the tenant has no such rule.
        """
        async with self._database.change() as db:
            before = [one for one in await queries.rules(db, caller.tenant_id) if one.id == str(ident)]
            if not await queries.delete_rule(db, caller.tenant_id, ident):
                raise NotFoundError("event rule", str(ident))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="event-rule",
                ident=str(ident),
                before=before[0],
            )

    async def _key(self, db: Db, caller: Caller, station_id: str) -> StationKey:
        key = await charging_stations.required_key(db, caller.tenant_id, station_id)
        return key


def _rule(view: EventRuleView) -> EventRule:
    return EventRule(
        component=view.component,
        variable=view.variable,
        tech_code=view.tech_code,
        max_severity=view.max_severity,
        weight=view.weight,
    )


def _of_all(detail: object) -> bool:
    kept = msgspec.json.decode(bytes(detail)) if isinstance(detail, msgspec.Raw) else detail
    return isinstance(kept, dict) and not kept.get("criteria") and not kept.get("variables") and bool(kept)


def _decoded(items: object) -> list[dict[str, int]]:
    kept = msgspec.json.decode(bytes(items)) if isinstance(items, msgspec.Raw) else items
    return kept if isinstance(kept, list) else []


def _set(command: SetVariableMonitoring, told: MonitorsSet) -> list[Monitor]:
    """The monitors that a station took. Answers stand in the order of what was asked, or name variable and kind."""
    found = []
    for number, result in enumerate(told.results):
        if result.status != "Accepted" or result.id is None:
            continue
        asked = command.monitors[number] if number < len(command.monitors) else None
        if asked is None or asked.variable.name.casefold() != result.variable.name.casefold():
            asked = next(
                (
                    one
                    for one in command.monitors
                    if one.variable.name.casefold() == result.variable.name.casefold()
                    and one.kind.value == result.kind
                    and one.severity == result.severity
                ),
                None,
            )
        if asked is not None:
            found.append(
                Monitor(
                    variable=asked.variable,
                    id=result.id,
                    kind=asked.kind.value,
                    value=asked.value,
                    severity=asked.severity,
                    during_transactions=asked.during_transactions,
                    origin="CustomMonitor",  # N04.FR.15
                )
            )
    return found
