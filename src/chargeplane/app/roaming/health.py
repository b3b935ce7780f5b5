"""How partners do: what each request says of them, written down now and then, and an alert where one does not answer.

The caller tells of every request; what is written is the state: at once where it changes, else every few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from chargeplane.app.alerts import Alerts
from chargeplane.app.roaming.ports import Failure, Outcome
from chargeplane.domain.alerts import Severity
from chargeplane.domain.roaming.connection import Peer
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import roaming_connections, roaming_outgoing
from chargeplane.store.queries.paging import Db

FAILING: Final = "roaming_partner_failing"
"""Kind of the alert."""

_EVERY_S: Final = 5.0
_LOOK_S: Final = 0.2
_log = structlog.get_logger(__name__)


class Health:
    """Keeps how partners do.

    Args:
        alert_after: a partner that answered nothing for so long raises an alert, which the work list shows.
    """

    def __init__(self, database: Database, alerts: Alerts, *, alert_after: timedelta = timedelta(minutes=10)) -> None:
        self._database = database
        self._alerts = alerts
        self._alert_after = alert_after
        self._told: dict[tuple[int, str, bool], tuple[Peer, Outcome, int, float | None]] = {}
        self._written: dict[int, tuple[float, bool]] = {}
        self._pushed: dict[tuple[int, str], tuple[float, bool]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_back: Callable[[], None] = _nothing
        """Hears that a partner answers again."""

    def heard(
        self, peer: Peer, module: str, outcome: Outcome, failures: int, pause_s: float | None, *, reads: bool = False
    ) -> None:
        """How a request went.

        Args:
            reads: the partner was told nothing by it.
        """
        self._told[(peer.id, module, reads)] = (peer, outcome, failures, pause_s)
        self._wake.set()

    async def start(self) -> None:
        """Writes from now on."""
        self._task = asyncio.create_task(self._run(), name="roaming health")

    async def stop(self) -> None:
        """Writes what is known and ends."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await self.flush()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.flush()
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("roaming_health_failed")
                await asyncio.sleep(1.0)
            await asyncio.sleep(_LOOK_S)

    async def flush(self) -> None:
        """Writes what was heard."""
        told, self._told = self._told, {}
        for (ident, module, reads), (peer, outcome, failures, pause_s) in told.items():
            now = time.monotonic()
            well = failures == 0
            key = (ident, module)
            before = self._written.get(ident)
            if before is None or before[1] is not well or not well or now - before[0] > _EVERY_S:
                self._written[ident] = (now, well)
                async with self._database.change() as db:
                    await self._write(db, peer, outcome, failures, pause_s, returned=before is None or not before[1])
            if reads and outcome.ok:
                continue
            known = self._pushed.get(key)
            if known is None or known[1] is not outcome.ok or not outcome.ok or now - known[0] > _EVERY_S:
                self._pushed[key] = (now, outcome.ok)
                async with self._database.change() as db:
                    if outcome.ok:
                        await roaming_connections.pushed(db, ident, module)
                    else:
                        await roaming_connections.module_failed(db, ident, module, outcome.sentence or "")

    async def _write(
        self, db: Db, peer: Peer, outcome: Outcome, failures: int, pause_s: float | None, *, returned: bool
    ) -> None:
        if failures == 0:
            await roaming_connections.answering(db, peer.id)
            if returned:
                await roaming_outgoing.wake(db, peer.id)
                await self._alerts.clear(
                    db, peer.tenant_id, None, kind=FAILING, ident=str(peer.id), because="It answers again."
                )
                self.on_back()
            return
        since = await roaming_connections.failing(db, peer.id, failures, pause_s)
        refused = outcome.failure is Failure.UNAUTHORIZED
        if since is not None and (refused or datetime.now(UTC) - since >= self._alert_after):
            await self._alerts.raise_alert(
                db,
                peer.tenant_id,
                None,
                kind=FAILING,
                ident=str(peer.id),
                severity=Severity.CRITICAL if refused else Severity.WARNING,
                title=f"The roaming partner {peer.name[:100]} has not answered since {since:%Y-%m-%d %H:%M} UTC."
                if not refused
                else f"The roaming partner {peer.name[:100]} does not take our token.",
                details={"partner_id": str(peer.id), "error": outcome.sentence, "failures": failures},
            )


def _nothing() -> None:
    pass
