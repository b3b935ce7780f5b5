"""What partners are to be told: the newest state of objects, sent to each partner in order, until it took it.

Whoever changes an object calls `note` in the transaction of the change, or from a fact that followed from it. That writes one row for
each partner that is to hear of the module: rows of the same object become one, since what is sent is made when it is sent.

A process takes a partner under a lease and sends to it alone: several objects at once, one message of each at a time. What a partner
took is deleted, unless the object changed meanwhile. What failed is tried again later and later; what the partner refuses for good is
parked where the operator sees it, and does not keep others back. A partner that fails altogether is left alone by the caller's breaker,
and all that waits for it with it; the first answer wakes everything. Partners know nothing of each other: each has its own task and its
own connections. OCPI says that messages should not be queued (2.3.0 transport_and_format, Offline behaviour), and none is: what is kept
is that a partner lacks the newest state, and it gets that one alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import secrets
import time
from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

import structlog
from msgspec import Struct

from chargeplane.app.roaming.ports import Caller, Failure, Outcome, Route
from chargeplane.domain.roaming.connection import Peer
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import roaming_connections
from chargeplane.store.queries import roaming_outgoing as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_outgoing import Due


class Message(Struct, frozen=True, kw_only=True):
    """A request that tells a partner of an object.

    Args:
        row: of the table of endpoints.
        path: values of the path's variables.
        body: canonical JSON.
        route: None: from the party of ours that owns the module's role to the partner's only party, if it has but one.
        keep_location: the answer's Location is kept (`roaming_sent`): the partner has the object for good, and it is not sent again.
    """

    row: int
    path: Mapping[str, str] = {}
    body: bytes | None = None
    query: Mapping[str, str] = {}
    route: Route | None = None
    keep_location: bool = False


class Renderer(Protocol):
    """Makes what is sent of a module's objects."""

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state of an object; None where there is nothing to tell it.

        Args:
            hint: as it was noted; of several changes the last, None where they differ.
        """
        ...


async def note(
    db: Db,
    tenant_id: TenantId,
    module: str,
    key: str,
    *,
    connections: list[int] | None = None,
    hint: str | None = None,
    correlation_id: str | None = None,
    delay_s: float = 0.0,
) -> None:
    """Has partners told of the newest state of an object.

    Args:
        db: in the transaction of the change.
        module: an OCPI module's identifier.
        key: the object's, whatever its renderer understands; messages of one are in order.
        connections: only these; None: every registered partner that has the module's other side.
        hint: what changed, for the renderer.
        delay_s: not before that: further changes in between go with it.
    """
    await queries.note(db, tenant_id, module, key, connections, hint, correlation_id, delay_s)


_AT_ONCE: Final = 8
_TAKEN: Final = 64
_PARTNERS: Final = 1000
_LEASE_S: Final = 60.0
_SLICE_S: Final = 15.0
_LAST_WAIT_S: Final = 3600.0
_REFUSALS: Final = 5
_ATTEMPTS: Final = 60

_log = structlog.get_logger(__name__)


class Outgoing:
    """Sends until it is stopped; several processes share the partners.

    Args:
        poll_s: how often the table is looked at without a hint.
    """

    def __init__(self, database: Database, caller: Caller, *, poll_s: float = 0.25) -> None:
        self._database = database
        self._caller = caller
        self._poll_s = poll_s
        self._renderers: dict[str, Renderer] = {}
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._serving: dict[int, asyncio.Task[None]] = {}
        self.sent = 0
        """Messages that were taken since the start."""
        self.failed = 0
        """Attempts that failed since the start."""

    def register(self, module: str, renderer: Renderer) -> None:
        """Names who makes the messages of a module."""
        self._renderers[module] = renderer

    def hint(self) -> None:
        """Something was noted: look at once."""
        self._wake.set()

    async def start(self) -> None:
        """Sends from now on."""
        self._task = asyncio.create_task(self._run(), name="roaming outgoing")

    async def stop(self) -> None:
        """Sends no more; what is on its way is cut off, and sent again by whoever comes next."""
        tasks = [task for task in (self._task, *self._serving.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                async with self._database.read() as db:
                    found = await queries.waiting(db, _PARTNERS)
                for ident in found:
                    if ident not in self._serving and len(self._serving) < _PARTNERS:
                        task = asyncio.create_task(self._serve(ident), name=f"roaming partner {ident}")
                        self._serving[ident] = task
                        task.add_done_callback(partial(self._served, ident))
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("roaming_outgoing_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()

    def _served(self, ident: int, _task: asyncio.Task[None]) -> None:
        self._serving.pop(ident, None)

    async def _serve(self, ident: int) -> None:
        try:
            while await self._slice(ident):
                pass
            async with self._database.change() as db:
                await queries.release(db, ident, self._name)
        except Exception as error:
            if not is_unavailable(error):
                _log.exception("roaming_partner_failed", connection=ident)

    async def _slice(self, ident: int) -> bool:
        """Sends for a while; whether there may be more to send."""
        deadline = time.monotonic() + _SLICE_S
        async with self._database.change() as db:
            if not await queries.lease(db, ident, self._name, _LEASE_S):
                return False
            peer = await roaming_connections.peer(db, ident)
            due = await queries.due(db, ident, _TAKEN)
        if peer is None or not due:
            return False
        slots = asyncio.Semaphore(_AT_ONCE)
        paused = False

        async def send(one: Due) -> None:
            nonlocal paused
            async with slots:
                if not paused and time.monotonic() < deadline and not await self._send(peer, one):
                    paused = True

        async with asyncio.TaskGroup() as group:
            for one in due:
                group.create_task(send(one))
        return not paused

    async def _send(self, peer: Peer, one: Due) -> bool:
        """Sends one message; whether the partner is to be tried with others now."""
        renderer = self._renderers.get(one.module)
        try:
            if renderer is None or one.module in peer.quirks.no_push:
                message = None
            else:
                message = await renderer.render(peer, one.module, one.key, one.hint)
        except RuleError as error:
            await self._settle_failure(one, str(error), None)
            return True
        except Exception as error:
            if is_unavailable(error):
                raise
            _log.exception("roaming_render_failed", module=one.module, key=one.key)
            await self._settle_failure(one, str(error) or type(error).__name__, self._later(one))
            return True
        if message is None:
            async with self._database.change() as db:
                await queries.done(db, one.id, one.ticks)
            return True
        outcome = await self._caller.call(
            peer,
            message.row,
            message.path,
            body=message.body,
            query=message.query,
            route=message.route,
            correlation_id=one.correlation_id,
        )
        if outcome.ok:
            await self._took(peer, one, message, outcome)
            return True
        return await self._refused(peer, one, outcome)

    async def _took(self, peer: Peer, one: Due, message: Message, outcome: Outcome) -> None:
        self.sent += 1
        async with self._database.change() as db:
            await queries.done(db, one.id, one.ticks)
            digest = None if message.body is None else hashlib.sha256(message.body).digest()
            location = outcome.location if message.keep_location else None
            await queries.sent(db, peer.id, one.module, one.key, location, digest)

    async def _refused(self, peer: Peer, one: Due, outcome: Outcome) -> bool:
        sentence = outcome.sentence or str(outcome.failure)
        if outcome.failure is Failure.PAUSED:
            # One request at a time shows whether it is back; until then nothing of it is due.
            async with self._database.change() as db:
                await queries.postpone(db, peer.id, random.uniform(0.5, 1.0))
            return False
        if outcome.failure is Failure.NO_ENDPOINT:
            async with self._database.change() as db:
                await queries.done(db, one.id, one.ticks)
            return True
        self.failed += 1
        if outcome.failure in (Failure.REFUSED, Failure.NOT_UNDERSTOOD, Failure.REDIRECT, Failure.TOO_LARGE):
            # The partner is well and does not want this one; a few more tries, should it be a fault of the moment. A part of what
            # it lost, or never had, it cannot take: the next attempt brings the whole.
            again = None if one.attempts + 1 >= _REFUSALS else self._later(one)
            await self._settle_failure(one, sentence, again, whole=one.hint is not None)
            return True
        for_good = outcome.failure in (Failure.NOT_SENDABLE, Failure.FORBIDDEN_ADDRESS)
        await self._settle_failure(one, sentence, None if for_good or one.attempts >= _ATTEMPTS else self._later(one))
        return for_good

    def _later(self, one: Due) -> float:
        wait: float = min(1.0 * 2 ** min(one.attempts, 12), _LAST_WAIT_S) * random.uniform(0.8, 1.2)
        return wait

    async def _settle_failure(self, one: Due, sentence: str, again_in_s: float | None, *, whole: bool = False) -> None:
        async with self._database.change() as db:
            await queries.failed(db, one.id, sentence, again_in_s, whole=whole)
