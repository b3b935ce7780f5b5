"""Logs of stations: asked for with an address of ours, followed up, found among the uploads."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Final

import structlog
from msgspec import Meta, Struct

from chargeplane.app.addresses import FileAddresses, Transfer
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.app.uploads import Slot, Uploads
from chargeplane.domain.commands import CommandOutcome, CommandState, GetDiagnostics, GetLog
from chargeplane.domain.commands.diagnostics import LogKind
from chargeplane.domain.firmware import IDLE, UPLOAD_FAILED, UPLOADED, LogStatus
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_stations, firmware, station_requests
from chargeplane.store.queries import uploads as queries
from chargeplane.store.queries.uploads import UploadView

KIND: Final = "log"
"""Requests of logs, among those of stations."""

_UNKNOWN_TO_IT: Final = frozenset({"NotImplemented", "NotSupported"})

_log = structlog.get_logger(__name__)


class LogOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log that is wanted.

    Args:
        kind: diagnostics, security, or data_collector (OCPP 2.1).
        oldest_at, latest_at: the time it is to cover.
        transfer: how the file travels; null: as suits the station.
        valid_s: how long the request waits for the station to be connected.
    """

    kind: LogKind = LogKind.DIAGNOSTICS
    oldest_at: datetime | None = None
    latest_at: datetime | None = None
    retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    retry_interval_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    transfer: Transfer | None = None
    valid_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


class Logs:
    """Use cases about stations' logs."""

    def __init__(
        self,
        database: Database,
        uploads: Uploads,
        addresses: FileAddresses,
        commands: Commands,
        requests: StationRequests,
    ) -> None:
        self._database = database
        self._uploads = uploads
        self._addresses = addresses
        self._commands = commands
        self._requests = requests
        self._asking: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Waits for nothing any more; commands that wait for their stations go on."""
        for task in list(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def order(self, caller: Caller, station_id: str, order: LogOrder, *, wait_s: float) -> UploadView:
        """Asks a station for a log, which comes to an address of ours.

        Args:
            wait_s: for the station's answer.
        Raises:
            NotFoundError: the tenant has no such station.
            InvalidInputError: there is no such way for the file.
        """
        async with self._database.read() as db:
            key = await charging_stations.required_key(db, caller.tenant_id, station_id)
            transfer = self._addresses.choose(await firmware.reachable(db, key), order.transfer)
        detail = {"kind": order.kind.value, "oldest_at": order.oldest_at, "latest_at": order.latest_at}
        number = await self._requests.open(caller.tenant_id, key, KIND, by=caller.actor, detail=detail)
        slot = await self._uploads.open(
            caller.tenant_id, key, purpose=order.kind.value, request_id=number, by=caller.actor
        )
        location = self._addresses.upload(transfer, slot.token)
        task = asyncio.create_task(self._ask(caller, key, order, number, slot, location), name=f"log {slot.id}")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        if wait_s > 0:
            await asyncio.wait({task}, timeout=wait_s)
        return await self._uploads.one(caller, slot.id)

    async def _ask(
        self, caller: Caller, key: StationKey, order: LogOrder, number: int, slot: Slot, location: str
    ) -> None:
        try:
            outcome = await self._commands.ask(
                caller.tenant_id, key, _command(order, number, location), by=caller.actor, valid_s=order.valid_s
            )
            if order.kind is LogKind.DIAGNOSTICS and _knows_no_logs(outcome):
                # a 1.6 station without the security extension
                older = GetDiagnostics(
                    location=location,
                    oldest_at=order.oldest_at,
                    latest_at=order.latest_at,
                    retries=order.retries,
                    retry_interval_s=order.retry_interval_s,
                    request_id=number,
                )
                await self._requests.open_again(key, KIND, number)
                outcome = await self._commands.ask(caller.tenant_id, key, older, by=caller.actor, valid_s=order.valid_s)
            await self._answered(caller.tenant_id, key, slot, outcome)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("log_request_failed", upload=slot.id)

    async def _answered(self, tenant_id: TenantId, key: StationKey, slot: Slot, outcome: CommandOutcome) -> None:
        if outcome.state is CommandState.ACCEPTED:
            if outcome.status == "AcceptedCanceled":  # N01.FR.12
                await self._uploads.cancel_earlier(key, slot.id)
        elif outcome.state is not CommandState.TIMED_OUT:  # it may upload all the same
            await self._uploads.close(tenant_id, slot.id)

    async def heard(self, place: Place, report: LogStatus) -> None:
        """A status of an upload. 1.6 diagnostics name no request: it is the one that goes on."""
        number = report.request_id or None
        if number is None:
            async with self._database.read() as db:
                number = await station_requests.goes_on(db, place.key, KIND, place.fact_id, place.received_at)
        if report.status == IDLE:
            return  # after a trigger: nothing goes on
        failed = report.status in UPLOAD_FAILED
        await self._requests.status(
            place,
            KIND,
            number,
            report.status,
            done=report.status == UPLOADED,
            failed=failed,
            detail={} if report.info is None else {"info": report.info},
        )
        if failed and number is not None:
            async with self._database.change() as db:
                idents = await queries.fail(db, place.key, number, report.status)
            for ident in idents:
                await self._uploads.show(place.tenant_id, ident)


def _command(order: LogOrder, number: int, location: str) -> GetLog:
    return GetLog(
        location=location,
        kind=order.kind,
        oldest_at=order.oldest_at,
        latest_at=order.latest_at,
        retries=order.retries,
        retry_interval_s=order.retry_interval_s,
        request_id=number,
    )


def _knows_no_logs(outcome: CommandOutcome) -> bool:
    return outcome.call is not None and outcome.call.error_code in _UNKNOWN_TO_IT
