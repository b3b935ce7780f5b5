"""What partners are to be told: the newest state of objects, sent to each partner in order, until it took it.

Whoever changes an object calls `note` in the transaction of the change, or from a fact that followed from it. That writes one row for
each partner that is to hear of the module: rows of the same object become one, since what is sent is made when it is sent.

A process takes a partner under a lease, which it renews while it lives, and sends to it alone: several objects at once, one message of
each at a time. What a partner
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
import math
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, runtime_checkable

import structlog
from msgspec import Struct

from chargeplane.app.roaming.pace import Pace
from chargeplane.app.roaming.ports import Caller, Failure, Outcome, Route
from chargeplane.domain.roaming.connection import Peer
from chargeplane.kernel.errors import RuleError, UnavailableError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import roaming_connections
from chargeplane.store.queries import roaming_outgoing as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_outgoing import Due, Taken


class Message(Struct, frozen=True, kw_only=True):
    """A request that tells a partner of an object.

    Args:
        row: of the table of endpoints.
        path: values of the path's variables.
        body: canonical JSON.
        route: None: from the party of ours that owns the module's role to the partner's only party, if it has but one.
        keep_location: the answer's Location is kept (`roaming_sent`): the partner has the object for good, and it is not sent again.
        routed: it passes through our hub.
        taken: called in the transaction that notes that the partner has it; whether there is more to be told of the object.
        unless_unknown: a partner that does not know the object need not be told of it (404 settles it).
    """

    row: int
    path: Mapping[str, str] = {}
    body: bytes | None = None
    query: Mapping[str, str] = {}
    route: Route | None = None
    keep_location: bool = False
    routed: bool = False
    taken: Callable[[Db], Awaitable[bool]] | None = None
    unless_unknown: bool = False


Forget = Callable[[Db, int, str], Awaitable[None]]
"""Drops what is kept for a connection of an object: by its id and the object's key."""


class Wanted(Struct, frozen=True, kw_only=True):
    """An object that a partner is to be told of.

    Args:
        hint: as it was noted; of several changes the last, None where they differ.
    """

    peer: Peer
    key: str
    hint: str | None


class Renderer(Protocol):
    """Makes what is sent of a module's objects."""

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state of an object; None where there is nothing to tell it.

        Args:
            hint: as it was noted; of several changes the last, None where they differ.
        """
        ...


@runtime_checkable
class RendererOfMany(Renderer, Protocol):
    """Makes many at once: fifty partners that are told of the same object cost one look at it."""

    async def render_many(self, module: str, wanted: Sequence[Wanted]) -> Sequence[Message | None]:
        """A message for each, as `render` makes it."""
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
    await queries.note(db, tenant_id, module, [key], connections, [hint], correlation_id, delay_s)


async def note_many(db: Db, tenant_id: TenantId, module: str, hints: Mapping[str, str | None]) -> None:
    """The same of many objects, each with its hint, for every partner that has the module's other side."""
    await queries.note(db, tenant_id, module, list(hints), None, list(hints.values()), None, 0.0)


_AT_ONCE: Final = 8
_TAKEN: Final = 16
_PARTNERS: Final = 1000
LEASE_S: Final = 10.0
_SLICE_S: Final = 15.0
_GATHER_S: Final = 0.01
_LAST_WAIT_S: Final = 3600.0
_REFUSALS: Final = {Failure.REFUSED: 5, Failure.TOO_LARGE: 5, Failure.NOT_UNDERSTOOD: 12}
"""Attempts, by what came of them, after which it is given up. What is not understood may be the page of a platform that is being mended."""
_ATTEMPTS: Final = 60

_log = structlog.get_logger(__name__)


class _Settling:
    """Notes what partners took: what came during one commit goes with the next, of all partners."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Taken, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, taken: Taken) -> asyncio.Future[None]:
        """Done when it is committed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((taken, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="roaming settling")
        return future

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)
            batch, self._waiting = self._waiting, []
            try:
                async with self._database.change() as db:
                    await queries.took(db, [taken for taken, _ in batch])
            except BaseException as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error if isinstance(error, Exception) else UnavailableError("It ends."))
                if not isinstance(error, Exception):
                    raise
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_result(None)

    async def stop(self) -> None:
        """Writes what waits, for a moment."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=5)


class Outgoing:
    """Sends until it is stopped; several processes share the partners.

    Args:
        poll_s: how often the table is looked at without a hint.
        lease_s: what a process that died was telling a partner another one tells after so long.
    """

    def __init__(self, database: Database, caller: Caller, *, poll_s: float = 0.25, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._caller = caller
        self._poll_s = poll_s
        self._lease_s = lease_s
        self._renderers: dict[str, Renderer] = {}
        self._forgets: dict[str, Forget] = {}
        self._name = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._holding: asyncio.Task[None] | None = None
        self._serving: dict[int, asyncio.Task[None]] = {}
        self._held: dict[int, float] = {}
        self._settling = _Settling(database)
        self._pace = Pace()
        self.sent = 0
        """Messages that were taken since the start."""
        self.failed = 0
        """Attempts that failed since the start."""

    def register(self, module: str, renderer: Renderer, forget: Forget | None = None) -> None:
        """Names who makes the messages of a module.

        Args:
            forget: called in the transaction that notes that a partner is not told of an object: it has no place for it.
        """
        self._renderers[module] = renderer
        if forget is not None:
            self._forgets[module] = forget

    def hint(self) -> None:
        """Something was noted: look at once."""
        self._wake.set()

    async def start(self) -> None:
        """Sends from now on."""
        self._pace.start()
        self._task = asyncio.create_task(self._run(), name="roaming outgoing")
        self._holding = asyncio.create_task(self._hold(), name="roaming leases")

    async def stop(self) -> None:
        """Sends no more; what is on its way is cut off, and sent again by whoever comes next."""
        tasks = [task for task in (self._task, self._holding, *self._serving.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._holding = None
        self._pace.stop()
        await self._settling.stop()
        with contextlib.suppress(Exception):
            await self._release()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._round()
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("roaming_outgoing_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
                await asyncio.sleep(_GATHER_S)  # partners that are done together are served together

    async def _round(self) -> None:
        """Takes what is due, of all partners that are not being served, and has it sent."""
        async with self._database.read() as db:
            found = await queries.waiting(db, self._name, list(self._serving), _PARTNERS)
        found = found[: _PARTNERS - len(self._serving)]
        for ident in found:
            self._held.setdefault(ident, -math.inf)
        if len(self._held) > len(found) + len(self._serving):
            await self._release(set(found) | set(self._serving))
        now = time.monotonic()
        fresh = [ident for ident in found if now - self._held[ident] > self._lease_s / 3]
        if fresh:
            async with self._database.change() as db:
                taken = set(await queries.lease(db, fresh, self._name, self._lease_s))
            for ident in fresh:
                if ident in taken:
                    self._held[ident] = now
                else:
                    del self._held[ident]
        mine = [ident for ident in found if ident in self._held]
        if not mine:
            return
        async with self._database.read() as db:
            peers = await roaming_connections.peers(db, None, idents=mine)
            due = await queries.due(db, mine, _TAKEN)
        made = await self._made(peers, due)
        for peer in peers:
            if due.get(peer.id):
                await asyncio.sleep(0)  # stations share the loop
                task = asyncio.create_task(
                    self._serve(peer, due[peer.id], made, now + _SLICE_S), name=f"roaming partner {peer.id}"
                )
                self._serving[peer.id] = task
                task.add_done_callback(partial(self._served, peer.id))

    async def _hold(self) -> None:
        """Keeps the partners for us that are being told something, however long they take to answer."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if not self._serving:
                continue
            now = time.monotonic()
            try:
                async with self._database.change() as db:
                    kept = await queries.lease(db, list(self._serving), self._name, self._lease_s)
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("roaming_leases_failed")
            else:
                self._held |= {ident: now for ident in kept if ident in self._held}

    async def _release(self, but: Collection[int] = ()) -> None:
        """Gives back the partners to which nothing is due."""
        idle = [ident for ident in self._held if ident not in but]
        if idle:
            async with self._database.change() as db:
                await queries.release(db, idle, self._name)
            for ident in idle:
                self._held.pop(ident, None)

    def _served(self, ident: int, _task: asyncio.Task[None]) -> None:
        self._serving.pop(ident, None)
        self._wake.set()

    async def _made(self, peers: Sequence[Peer], due: Mapping[int, Sequence[Due]]) -> dict[int, Message | None]:
        """Messages of modules that are made many at once, by the ids of what is due."""
        wanted: dict[str, list[tuple[int, Wanted]]] = {}
        for peer in peers:
            for one in due.get(peer.id, ()):
                if isinstance(self._renderers.get(one.module), RendererOfMany):
                    wanted.setdefault(one.module, []).append((one.id, Wanted(peer=peer, key=one.key, hint=one.hint)))
        made: dict[int, Message | None] = {}
        for module, some in wanted.items():
            renderer = self._renderers[module]
            assert isinstance(renderer, RendererOfMany)
            try:
                messages = await renderer.render_many(module, [one for _, one in some])
            except Exception as error:
                if is_unavailable(error):
                    raise
                continue  # each by itself then, which tells whose fault it is
            made |= {ident: message for (ident, _), message in zip(some, messages, strict=True)}
        return made

    async def _serve(self, peer: Peer, due: Sequence[Due], made: Mapping[int, Message | None], deadline: float) -> None:
        """Sends what is due to one partner."""
        paused = False
        settled: list[asyncio.Future[None]] = []
        left = iter(due)

        async def send() -> None:
            nonlocal paused
            for one in left:
                await self._pace.turn()
                if paused or time.monotonic() >= deadline:
                    return
                if not await self._send(peer, one, made, settled):
                    paused = True

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(due))):
                    group.create_task(send())
            for future in settled:
                await future
        except BaseExceptionGroup as group_error:
            if not all(is_unavailable(error) for error in group_error.exceptions):
                _log.exception("roaming_partner_failed", connection=peer.id)
        except Exception as error:
            if not is_unavailable(error):
                _log.exception("roaming_partner_failed", connection=peer.id)
        finally:
            for future in settled:
                if future.done() and not future.cancelled():
                    future.exception()  # looked at: nobody else does

    async def _send(
        self, peer: Peer, one: Due, made: Mapping[int, Message | None], settled: list[asyncio.Future[None]]
    ) -> bool:
        """Sends one message; whether the partner is to be tried with others now."""
        renderer = self._renderers.get(one.module)
        if renderer is None or one.module in peer.quirks.no_push:
            await self._leave_out(peer, one, settled)
            return True
        try:
            if one.id in made:
                message = made[one.id]
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
            settled.append(self._settling.add(_taken(peer, one, was_sent=False)))
            return True
        outcome = await self._caller.call(
            peer,
            message.row,
            message.path,
            body=message.body,
            query=message.query,
            route=message.route,
            correlation_id=one.correlation_id,
            routed=message.routed,
        )
        unknown = message.unless_unknown and outcome.failure is Failure.REFUSED and outcome.http_status == 404
        if message.taken is not None and (outcome.ok or unknown):
            self.sent += 1
            async with self._database.change() as db:
                if await message.taken(db):
                    await queries.more(db, one.id)
                else:
                    await queries.took(db, [_taken(peer, one, was_sent=False)])
            return True
        if outcome.ok:
            self.sent += 1
            digest = None if message.body is None else hashlib.sha256(message.body).digest()
            location = outcome.location if message.keep_location else None
            settled.append(self._settling.add(_taken(peer, one, location=location, digest=digest)))
            return True
        return await self._refused(peer, one, outcome, settled)

    async def _refused(self, peer: Peer, one: Due, outcome: Outcome, settled: list[asyncio.Future[None]]) -> bool:
        sentence = outcome.sentence or str(outcome.failure)
        if outcome.failure is Failure.PAUSED:
            # One request at a time shows whether it is back; until then nothing of it is due.
            async with self._database.change() as db:
                await queries.postpone(db, peer.id, random.uniform(0.5, 1.0))
            return False
        if outcome.failure is Failure.NO_ENDPOINT:
            await self._leave_out(peer, one, settled)
            return True
        self.failed += 1
        attempts = one.attempts + 1
        if outcome.failure in (Failure.NOT_SENDABLE, Failure.FORBIDDEN_ADDRESS):
            await self._settle_failure(one, sentence, None)
            return True
        most = None if outcome.failure is None else _REFUSALS.get(outcome.failure)
        if most is not None:
            # The partner is well and does not want this one; a few more tries, should it be a fault of the moment. A part of what
            # it lost, or never had, it cannot take: the next attempt brings the whole.
            again = None if attempts >= most else self._later(one)
            await self._settle_failure(one, sentence, again, whole=one.hint is not None)
            return True
        # Who is away, for however long, is to have all of it when it is back; who answers all else cannot take this one.
        given_up = attempts >= _ATTEMPTS and await self._answers(peer)
        await self._settle_failure(one, sentence, None if given_up else self._later(one))
        return False

    async def _leave_out(self, peer: Peer, one: Due, settled: list[asyncio.Future[None]]) -> None:
        """A partner has no place for an object."""
        taken, forget = _taken(peer, one, was_sent=False), self._forgets.get(one.module)
        if forget is None:
            settled.append(self._settling.add(taken))
            return
        async with self._database.change() as db:
            await forget(db, peer.id, one.key)
            await queries.took(db, [taken])

    async def _answers(self, peer: Peer) -> bool:
        async with self._database.read() as db:
            return await roaming_connections.answered_within(db, peer.id, 2 * _LAST_WAIT_S)

    def _later(self, one: Due) -> float:
        wait: float = min(1.0 * 2 ** min(one.attempts, 12), _LAST_WAIT_S) * random.uniform(0.8, 1.2)
        return wait

    async def _settle_failure(self, one: Due, sentence: str, again_in_s: float | None, *, whole: bool = False) -> None:
        async with self._database.change() as db:
            await queries.failed(db, one.id, sentence, again_in_s, whole=whole)


def _taken(
    peer: Peer, one: Due, *, location: str | None = None, digest: bytes | None = None, was_sent: bool = True
) -> Taken:
    return Taken(
        id=one.id,
        ticks=one.ticks,
        connection_id=peer.id,
        module=one.module,
        key=one.key,
        location=location,
        digest=digest,
        was_sent=was_sent,
    )
