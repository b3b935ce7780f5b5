"""The security log: what stations report of themselves and what this server sees at its doors (OCPP 2.0.1 A04).

A station's report is a row each; more than `_OWN_ROWS` of one station in an hour are counted in one row a type. What the doors see is
gathered in memory, written every two seconds at most, in one row a station and type an hour, and for a bounded number of stations:
whoever tries ids and passwords fills no table. What was not written is counted.

Critical events raise alerts. They stand until somebody clears them; the same again counts hits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.ports import StationCredentials
from chargeplane.app.reports import Place
from chargeplane.domain.alerts import Severity
from chargeplane.domain.security_events import (
    EventSeverity,
    EventSource,
    SecurityEventReport,
    ServerEvent,
    severity_of,
)
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.database import Database
from chargeplane.store.queries import security_events as queries
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.security_events import SecurityEvent, SecurityEventFilter, SecurityEventView

log = structlog.get_logger(__name__)

_OWN_ROWS: Final = 60
_KEPT_MOST: Final = 200
"""Different things seen that one round writes."""

_PERIOD_S: Final = 2.0
_ROWS_BURST: Final = 2_000.0
_ROWS_PER_S: Final = 2.0
"""Rows that the doors' events may add in the long run, whatever is tried."""

_MANY_PASSWORDS: Final = 5
"""Wrong passwords of one station within an hour that are worth an alert."""

_HOUSE: Final = TenantId(1)
"""Who sees what concerns no tenant: the installation's own."""

_SENTENCES: Final[Mapping[str, str]] = {
    ServerEvent.FAILED_PASSWORD: "Somebody tries passwords of this station",
    ServerEvent.KEY_CODES_GUESSED: "Somebody tries key codes at this station",
    ServerEvent.SECOND_CONNECTION: "A second connection came in under this station's identity from another address",
    ServerEvent.INVALID_CERTIFICATE: "A certificate was refused that was shown for this station",
    ServerEvent.WRONG_SECURITY_PROFILE: "The station, or somebody in its name, tried another security profile",
    ServerEvent.CERTIFICATE_EXPIRES: "A certificate is about to expire",
    ServerEvent.CERTIFICATE_NOT_MADE: "A certificate that the station asked for was not made",
    ServerEvent.CREDENTIALS_NOT_CHANGED: "A change of the station's credentials did not succeed",
    "InvalidFirmwareSignature": "The station found the signature of a firmware invalid",
    "TamperDetectionActivated": "The station was opened or moved",
    "SecurityLogWasCleared": "The station's security log was cleared",
    "MemoryExhaustion": "The station is running out of memory",
    "MaintenanceLoginFailed": "A login at the station's maintenance interface failed",
}


_WARNINGS: Final = (ServerEvent.FAILED_PASSWORD, ServerEvent.KEY_CODES_GUESSED, ServerEvent.SECOND_CONNECTION)


class _Seen:
    """What came again and again since the last round."""

    __slots__ = ("address", "details", "hits")

    def __init__(self) -> None:
        self.hits = 0
        self.address = ""
        self.details: dict[str, Any] = {}


_Kind = tuple[TenantId, StationKey | None, ServerEvent]


class SecurityEvents:
    """Use cases about security events."""

    def __init__(self, database: Database, alerts: Alerts, events: EventFeed) -> None:
        self._database = database
        self._alerts = alerts
        self._events = events
        self._seen: dict[_Kind, _Seen] = {}
        self._task: asyncio.Task[None] | None = None
        self._allowed = _ROWS_BURST
        self._allowed_at = time.monotonic()
        self._known: set[tuple[_Kind, datetime]] = set()
        self.not_written = 0
        """What was seen at the doors since the start and written nowhere, because there was too much of it."""

    async def stop(self) -> None:
        """Writes what is gathered."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._flush()

    # -- what stations report ------------------------------------------------------------------------------------------

    async def take(self, place: Place, report: SecurityEventReport) -> None:
        """Writes a station's report, once however often it is handed over."""
        severity = severity_of(EventSource.STATION, report.name)
        hour = place.received_at.replace(minute=0, second=0, microsecond=0)
        async with self._database.change() as db:
            if await queries.was_written(db, place.fact_id):
                return
            many = await queries.count_since(db, place.key, place.received_at - timedelta(hours=1)) >= _OWN_ROWS
            written = await queries.add(
                db,
                SecurityEvent(
                    tenant_id=place.tenant_id,
                    station_key=place.key,
                    source=EventSource.STATION,
                    type=report.name,
                    severity=severity,
                    at=report.at,
                    info=report.info,
                    bucket=hour if many else None,
                    fact_id=None if many else place.fact_id,
                ),
            )
            if written is None:
                return
            await self._alert(db, place.tenant_id, place.key, report.name, severity, written[0], report.info)
        await self._show(place.tenant_id, written[0])

    # -- what this server sees -----------------------------------------------------------------------------------------

    def note(
        self, event: ServerEvent, credentials: StationCredentials | None, remote_address: str, details: dict[str, str]
    ) -> None:
        """Notes what somebody tried at a door; written a moment later. Never waits."""
        tenant = _HOUSE if credentials is None else credentials.tenant_id
        self.note_for(tenant, None if credentials is None else credentials.key, event, remote_address, details)

    def note_for(
        self,
        tenant_id: TenantId,
        key: StationKey | None,
        event: ServerEvent,
        remote_address: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """The same by the key of a station, or none."""
        kind = (tenant_id, key, event)
        seen = self._seen.get(kind)
        if seen is None:
            if len(self._seen) >= _KEPT_MOST:
                self.not_written += 1
                return
            seen = self._seen[kind] = _Seen()
        seen.hits += 1
        seen.address = remote_address
        seen.details = dict(details or {})
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write(), name="security-events")

    async def write(
        self, db: Db, tenant_id: TenantId, key: StationKey | None, event: ServerEvent, details: Mapping[str, Any]
    ) -> int:
        """Writes an event of ours within the caller's change, with its alert; its id. `show` it after the commit."""
        severity = severity_of(EventSource.SERVER, event)
        written = await queries.add(
            db,
            SecurityEvent(
                tenant_id=tenant_id,
                station_key=key,
                source=EventSource.SERVER,
                type=event,
                severity=severity,
                details=dict(details),
            ),
        )
        assert written is not None
        await self._alert(db, tenant_id, key, event, severity, written[0], str(details.get("reason") or "") or None)
        return written[0]

    async def show(self, tenant_id: TenantId, ident: int) -> None:
        """Shows a written event live."""
        await self._show(tenant_id, ident)

    async def _write(self) -> None:
        await asyncio.sleep(_PERIOD_S)
        self._task = None
        await self._flush()

    async def _flush(self) -> None:
        seen, self._seen = self._seen, {}
        if not seen:
            return
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        written: list[tuple[TenantId, int]] = []
        try:
            async with self._database.change() as db:
                for kind, one in seen.items():
                    if not self._may_add(kind, hour):
                        self.not_written += one.hits
                        continue
                    tenant_id, key, event = kind
                    severity = severity_of(EventSource.SERVER, event)
                    if event is ServerEvent.SECOND_CONNECTION and not _from_elsewhere(one.details):
                        severity = EventSeverity.INFO  # the station itself, back before its old socket was missed
                    added = await queries.add(
                        db,
                        SecurityEvent(
                            tenant_id=tenant_id,
                            station_key=key,
                            source=EventSource.SERVER,
                            type=event,
                            severity=severity,
                            remote_address=one.address or None,
                            details={name: made_storable(str(text), 255) for name, text in one.details.items()},
                            hits=one.hits,
                            bucket=hour,
                        ),
                    )
                    assert added is not None
                    ident, hits = added
                    written.append((tenant_id, ident))
                    if event is not ServerEvent.FAILED_PASSWORD or hits >= _MANY_PASSWORDS:
                        await self._alert(
                            db, tenant_id, key, event, severity, ident, str(one.details.get("reason") or "") or None
                        )
        except Exception as error:
            self.not_written += sum(one.hits for one in seen.values())
            log.warning("security_events_not_written", events=len(seen), error=str(error) or type(error).__name__)
            return
        if self._events.active:
            for tenant_id, ident in written:
                await self._show(tenant_id, ident)

    def _may_add(self, kind: _Kind, hour: datetime) -> bool:
        """Whether there may be a row more. Counting in one that is there costs nothing."""
        if (kind, hour) in self._known:
            return True
        now = time.monotonic()
        self._allowed = min(_ROWS_BURST, self._allowed + (now - self._allowed_at) * _ROWS_PER_S)
        self._allowed_at = now
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        if len(self._known) > 20_000:
            self._known.clear()
        self._known.add((kind, hour))
        return True

    # -- alerts and live events ----------------------------------------------------------------------------------------

    async def _alert(
        self,
        db: Db,
        tenant_id: TenantId,
        key: StationKey | None,
        name: str,
        severity: EventSeverity,
        ident: int,
        info: str | None,
    ) -> None:
        if severity is EventSeverity.INFO:
            return
        loud = severity is EventSeverity.CRITICAL
        quiet = Severity.WARNING if name in _WARNINGS else Severity.INFO
        sentence = _SENTENCES.get(name, f"Security event {name}")
        await self._alerts.raise_alert(
            db,
            tenant_id,
            key,
            kind="security_event",
            ident=name,
            severity=Severity.CRITICAL if loud else quiet,
            title=f"{sentence}{f': {info}' if info else ''}"[:500],
            details={"security_event_id": str(ident), "type": name, "info": info},
        )

    async def _show(self, tenant_id: TenantId, ident: int) -> None:
        if not self._events.active:
            return
        async with self._database.read() as db:
            view = await queries.one(db, tenant_id, ident)
        if view is not None:
            self._events.publish("security.event", tenant_id, view.station_id, view)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, wanted: SecurityEventFilter, limit: int, after: Position | None
    ) -> list[SecurityEventView]:
        """Events, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, ident: int) -> SecurityEventView:
        """An event by our id.

        Raises:
            NotFoundError: the tenant has no such event.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("security event", str(ident))
        return found


def _from_elsewhere(details: Mapping[str, Any]) -> bool:
    return details.get("old_address") != details.get("new_address")
