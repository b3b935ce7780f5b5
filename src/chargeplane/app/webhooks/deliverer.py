"""Sends events to endpoints: at least once, in order per resource, each endpoint on its own.

A process takes an endpoint under a lease and delivers to it alone, so that order is kept without locks: of each resource (the event's key)
only the first delivery that waits is tried, up to some resources at a time. What was answered is written with the attempt in one database
transaction. A process that dies leaves its lease behind; when that ends another one goes on, and what was sent but not written down is sent
again under the same `webhook-id`.

A delivery that fails is tried again later and later, for some four days; later ones of its resource wait behind it, those of others go on.
An endpoint that fails several times in a row is left alone for a while, longer each time, and then tried with one delivery; when it takes
that one, all that waits is due. 410 ends it at once, days of failing end it too; both raise an alert. Endpoints know nothing of each other:
each has its own task and its own connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog
from msgspec import Struct

from chargeplane.app.alerts import Alerts
from chargeplane.domain.alerts import Severity
from chargeplane.domain.webhooks import body_of, signed_headers, wait_after
from chargeplane.kernel.errors import PeerError, RuleError
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import webhooks as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.webhooks import Due, StoredEndpoint
from chargeplane.store.secrets import InstallationKeys

ANSWER_BYTES: Final = 1000
"""So much of an answer is kept."""

DISABLED: Final = "webhook_disabled"
FAILING: Final = "webhook_failing"

_AT_ONCE: Final = 8
_HEADS: Final = 64
_CHAIN: Final = 100
_ENDPOINTS: Final = 500
_BREAK_AFTER: Final = 5
_FIRST_PAUSE_S: Final = 30.0
_LAST_PAUSE_S: Final = 3600.0
_LAST_ASKED_WAIT_S: Final = 86_400.0
_GONE: Final = 410

_log = structlog.get_logger(__name__)


class Answer(Struct, frozen=True, kw_only=True):
    """What an endpoint answered.

    Args:
        status: HTTP.
        body: its beginning.
        retry_after_s: how long it asks to be left alone.
    """

    status: int
    body: bytes
    retry_after_s: float | None = None


class Sender(Protocol):
    """POST to addresses that came from others."""

    async def deliver(self, url: str, body: bytes, headers: dict[str, str], *, keep: int) -> Answer:
        """The answer, whatever its status, with at most `keep` bytes of its body.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        ...


class DelivererSettings(Struct, frozen=True, kw_only=True):
    """How it is done.

    Args:
        timeout_s: of one attempt, as the sender keeps it.
        disable_after: an endpoint that failed for so long is disabled.
        alert_after: and so long raises an alert.
        poll_s: how often the table is looked at without a hint.
        slice_s: how long an endpoint is served before another look at it is taken.
        first_pause_s: how long one that fails in a row is left alone at first.
    """

    timeout_s: float = 15.0
    disable_after: timedelta = timedelta(days=5)
    alert_after: timedelta = timedelta(hours=1)
    poll_s: float = 1.0
    slice_s: float = 30.0
    lease_s: float = 90.0
    first_pause_s: float = _FIRST_PAUSE_S


class Deliverer:
    """Delivers until it is stopped; several processes share the endpoints."""

    def __init__(
        self,
        database: Database,
        keys: InstallationKeys,
        sender: Sender,
        alerts: Alerts,
        settings: DelivererSettings | None = None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._sender = sender
        self._alerts = alerts
        self._settings = settings or DelivererSettings()
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._serving: dict[int, asyncio.Task[None]] = {}
        self.delivered = 0
        """Deliveries that arrived since the start."""
        self.failed = 0
        """Attempts that failed since the start."""

    def hint(self) -> None:
        """Something was written: look at once."""
        self._wake.set()

    async def start(self) -> None:
        """Delivers from now on."""
        self._task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        """Delivers no more; what is on its way is cut off, and sent again by whoever comes next."""
        tasks = [self._task, *self._serving.values()]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                async with self._database.read() as db:
                    waiting = await queries.waiting_endpoints(db, _ENDPOINTS)
                for ident in waiting:
                    if ident not in self._serving and len(self._serving) < _ENDPOINTS:
                        task = asyncio.create_task(self._serve(ident), name=f"webhook {ident}")
                        self._serving[ident] = task
                        task.add_done_callback(partial(self._served, ident))
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("webhooks_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll_s):
                    await self._wake.wait()

    def _served(self, ident: int, _task: asyncio.Task[None]) -> None:
        self._serving.pop(ident, None)

    async def _serve(self, ident: int) -> None:
        try:
            async with self._database.change() as db:
                if not await queries.lease(db, ident, self._name, self._settings.lease_s):
                    return
            try:
                while await self._slice(ident):
                    pass
            finally:
                async with self._database.change() as db:
                    await queries.release(db, ident, self._name)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not is_unavailable(error):
                _log.exception("webhook_failed", endpoint=ident)

    async def _slice(self, ident: int) -> bool:
        """Serves an endpoint for a while; whether there may be more to do."""
        # What is begun before the deadline ends before the lease does.
        deadline = time.monotonic() + min(
            self._settings.slice_s, self._settings.lease_s - self._settings.timeout_s - 5.0
        )
        async with self._database.change() as db:
            if not await queries.lease(db, ident, self._name, self._settings.lease_s):
                return False
            endpoint = await queries.stored_endpoint(db, ident)
            due = await queries.heads(db, ident, _HEADS)
        if endpoint is None or not due:
            return False
        try:
            signing = self._secrets(endpoint)
        except RuleError as error:
            await self._give_up(ident, str(error))
            return False
        if endpoint.failures >= _BREAK_AFTER:
            # The circuit was open: one delivery shows whether it can be closed.
            return await self._attempt(endpoint, signing, due[0])
        slots = asyncio.Semaphore(_AT_ONCE)
        going_on = True

        async def serve_key(first: Due) -> None:
            nonlocal going_on
            async with slots:
                one: Due | None = first
                for _ in range(_CHAIN):
                    if one is None or not going_on or time.monotonic() > deadline:
                        return
                    if not await self._attempt(endpoint, signing, one):
                        going_on = False
                        return
                    async with self._database.read() as db:
                        one = await queries.next_of_key(db, ident, first.key)

        async with asyncio.TaskGroup() as group:
            for one in due:
                group.create_task(serve_key(one))
        return going_on

    def _secrets(self, endpoint: StoredEndpoint) -> list[bytes]:
        purpose = secret_purpose(endpoint.id)
        found = [self._keys.decrypt(endpoint.secret, purpose)]
        until = endpoint.previous_until
        if endpoint.previous_secret is not None and until is not None and until > datetime.now(UTC):
            found.append(self._keys.decrypt(endpoint.previous_secret, purpose))
        return found

    async def _attempt(self, endpoint: StoredEndpoint, signing: list[bytes], due: Due) -> bool:
        """One try; whether the endpoint is to be tried with others now."""
        at = datetime.now(UTC)
        body = body_of(due.type, due.at, due.payload.encode())
        headers = signed_headers(queries.message_id(due.event_id), at, body, signing)
        headers["Content-Type"] = "application/json"
        began = time.perf_counter()
        answer: Answer | None = None
        error: str | None = None
        try:
            answer = await self._sender.deliver(endpoint.url, body, headers, keep=ANSWER_BYTES)
        except PeerError as refused:
            error = str(refused)
        latency_ms = round((time.perf_counter() - began) * 1000, 1)
        if answer is not None and not 200 <= answer.status < 300:
            error = f"The endpoint answered {answer.status}."
        async with self._database.change() as db:
            await queries.add_attempt(
                db,
                due.id,
                at,
                answer.status if answer else None,
                latency_ms,
                answer.body.decode("utf-8", "replace") if answer else None,
                error,
            )
            if answer is not None and error is None:
                await self._arrived(db, endpoint, due, answer)
                return True
            return await self._refused(db, endpoint, due, answer, error or "")

    async def _arrived(self, db: Db, endpoint: StoredEndpoint, due: Due, answer: Answer) -> None:
        await queries.delivered(db, due.id, answer.status)
        self.delivered += 1
        await queries.healthy(db, endpoint.id, _BREAK_AFTER)
        if endpoint.failing_since is not None:
            await self._alerts.clear(
                db, endpoint.tenant_id, None, kind=FAILING, ident=str(endpoint.id), because="It takes events again."
            )

    async def _refused(self, db: Db, endpoint: StoredEndpoint, due: Due, answer: Answer | None, error: str) -> bool:
        self.failed += 1
        status = answer.status if answer else None
        wait = wait_after(due.attempts + 1, random.random())
        wait_s = None if wait is None else wait.total_seconds()
        if wait_s is not None and answer is not None and answer.retry_after_s is not None:
            wait_s = max(wait_s, min(answer.retry_after_s, _LAST_ASKED_WAIT_S))
        await queries.not_delivered(db, due.id, status, error, None if status == _GONE else wait_s)
        counted = await queries.unhealthy(db, endpoint.id)
        if counted is None:
            return False
        failures, since = counted
        failing_for = datetime.now(UTC) - since
        if status == _GONE:
            await self._disable(db, endpoint.id, "The endpoint answered 410: it is gone.")
            return False
        if failing_for >= self._settings.disable_after:
            await self._disable(db, endpoint.id, f"It has failed for {_days(failing_for)}; the last time: {error}")
            return False
        if failing_for >= self._settings.alert_after:
            await self._alerts.raise_alert(
                db,
                endpoint.tenant_id,
                None,
                kind=FAILING,
                ident=str(endpoint.id),
                severity=Severity.WARNING,
                title=f"The webhook endpoint {endpoint.url[:200]} has taken no event since {since:%Y-%m-%d %H:%M} UTC.",
                details={"endpoint_id": str(endpoint.id), "error": error},
            )
        if failures >= _BREAK_AFTER:
            longer = min(failures - _BREAK_AFTER, 10)
            pause_s = min(self._settings.first_pause_s * 2**longer, _LAST_PAUSE_S)
            await queries.pause(db, endpoint.id, pause_s * random.uniform(0.8, 1.2))
            return False
        return True

    async def _give_up(self, ident: int, because: str) -> None:
        async with self._database.change() as db:
            await self._disable(db, ident, because)

    async def _disable(self, db: Db, ident: int, because: str) -> None:
        disabled = await queries.disable(db, ident, because)
        if disabled is None:
            return
        await audit(
            db,
            disabled.tenant_id,
            actor="policy: webhooks",
            action="disable",
            kind="webhook endpoint",
            ident=str(ident),
            reason=because,
        )
        await self._alerts.clear(
            db, disabled.tenant_id, None, kind=FAILING, ident=str(ident), because="The endpoint was disabled."
        )
        await self._alerts.raise_alert(
            db,
            disabled.tenant_id,
            None,
            kind=DISABLED,
            ident=str(ident),
            severity=Severity.CRITICAL,
            title=f"The webhook endpoint {disabled.url[:200]} was disabled.",
            details={"endpoint_id": str(ident), "because": because},
        )


def secret_purpose(endpoint_id: int) -> str:
    """What an endpoint's secrets are encrypted for."""
    return f"webhook {endpoint_id}"


def _days(value: timedelta) -> str:
    return f"{value.days} days" if value.days else f"{value.total_seconds():.0f} s"
