"""Results that partners are owed: written down with what they asked, sent when they are known, or when the time is over.

A partner is answered at once, with a timeout; the result goes to the address that it named, once, when the station has answered, and as
TIMEOUT where it has not (OCPI 2.3.0 mod_commands, Flow). What was asked outlives a restart: whichever process looks next sends what is
due. Where whoever waited for a station died, and the station's answer is written down, the result is made of that. An address that cannot be reached is tried again a few times, later and later; OCPI requires no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from chargeplane.app.house import utc_now
from chargeplane.domain.commands import CommandOutcome
from chargeplane.domain.roaming.commands import Asked, Result, profile_result, result_of
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import commands as command_queries
from chargeplane.store.queries import roaming_authorizations
from chargeplane.store.queries import roaming_requests as queries
from chargeplane.store.queries.roaming_requests import Owed

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 64
LEASE_S: Final = 10.0
_GRACE_S: Final = 2.0
"""After a station's answer, for whoever waits for it."""
_WAITS_S: Final = (2.0, 10.0, 60.0, 300.0, 900.0)
_KEPT: Final = timedelta(days=90)


class ResultSender(Protocol):
    """POST to an address that a partner named."""

    async def send(self, connection_id: int, kind: Asked, url: str, body: bytes, routing: str | None) -> None:
        """Sends a result, in the partner's version, through the guarded client.

        Raises:
            ChargeplaneError: the partner did not take it.
        """
        ...


Told = Callable[[Asked, Owed, CommandOutcome], Awaitable[tuple[Result, dict[str, object] | None]]]
"""What of a station's answer a partner is told: how it ended, and fields beside that."""


async def plainly(asked: Asked, _owed: Owed, outcome: CommandOutcome) -> tuple[Result, dict[str, object] | None]:
    """That it was accepted, or why not."""
    return result_of(asked, outcome), None


def result_body(asked: Asked, result: Result, more: dict[str, object] | None = None) -> str:
    """A result as it is kept and sent.

    Args:
        more: fields beside `result`.
    """
    word = profile_result(asked, result) if asked.is_profile else result.value
    return msgspec.json.encode({"result": word, **(more or {})}).decode()


class Results:
    """Sends them.

    Args:
        poll_s: how often it is looked without a hint.
        lease_s: what a process that died was sending another one sends after so long.
    """

    def __init__(
        self,
        database: Database,
        sender: ResultSender,
        *,
        poll_s: float = 1.0,
        lease_s: float = LEASE_S,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._sender = sender
        self._poll_s = poll_s
        self._lease_s = lease_s
        self._now = now
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._holding: asyncio.Task[None] | None = None
        self._sending: dict[int, asyncio.Task[None]] = {}
        self.told: dict[Asked, Told] = {}
        """What partners are told of a station's answer to what they asked; `plainly` where nothing is said."""
        self.found: dict[Asked, Callable[[Owed], Awaitable[tuple[Result, dict[str, object] | None]]]] = {}
        """How requests ended that are no commands, where their time is over and nobody wrote it; TIMEOUT where nothing is said."""

    def hint(self) -> None:
        """A result was written."""
        self._wake.set()

    async def start(self) -> None:
        """Sends from now on."""
        self._task = asyncio.create_task(self._run(), name="roaming-results")
        self._holding = asyncio.create_task(self._hold(), name="roaming-results-lease")

    async def stop(self) -> None:
        """Ends; what is on its way is sent again by whoever comes next."""
        tasks = [task for task in (self._task, self._holding, *self._sending.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._holding = None

    async def finish(self, ident: int, asked: Asked, result: Result, more: dict[str, object] | None = None) -> None:
        """How a request ended; sent at once."""
        async with self._database.change() as db:
            await queries.finish(db, ident, result_body(asked, result, more))
        self.hint()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                async with self._database.change() as db:
                    owed = await queries.take(db, _AT_ONCE, self._lease_s, _GRACE_S)
                for one in owed:
                    task = self._sending[one.id] = asyncio.create_task(self._handle(one))
                    task.add_done_callback(partial(self._handled, one.id))
                if len(owed) == _AT_ONCE:
                    continue
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("roaming_results_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()

    def _handled(self, ident: int, task: asyncio.Task[None]) -> None:
        if self._sending.get(ident) is task:
            del self._sending[ident]

    async def _hold(self) -> None:
        """Keeps for us what we are sending, however long partners take to answer."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if not self._sending:
                continue
            try:
                async with self._database.change() as db:
                    await queries.hold(db, list(self._sending), self._lease_s)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("roaming_results_lease_failed")

    async def _made(self, one: Owed) -> tuple[Result, dict[str, object] | None]:
        """The result of a request that whoever waited for it did not write: its time is over, or its process died."""
        if one.command_id is not None:
            async with self._database.read() as db:
                outcome = await command_queries.outcome(db, one.command_id)
            if outcome is not None:
                asked = Asked(one.kind)
                return await self.told.get(asked, plainly)(asked, one, outcome)
        elif Asked(one.kind) in self.found:
            return await self.found[Asked(one.kind)](one)
        return Result.TIMEOUT, None

    async def _handle(self, one: Owed) -> None:
        asked = Asked(one.kind)
        try:
            if one.result is None:
                await self.finish(one.id, asked, *(await self._made(one)))
                return
            try:
                await self._sender.send(one.connection_id, asked, one.response_url, one.result.encode(), one.routing)
            except ChargeplaneError as error:
                wait = _WAITS_S[one.attempts - 1] if one.attempts <= len(_WAITS_S) else None
                again = None if wait is None else self._now() + timedelta(seconds=wait)
                log.warning("roaming_result_not_taken", request=one.id, because=str(error), again=wait)
                self._sending.pop(one.id, None)
                async with self._database.change() as db:
                    await queries.not_sent(db, one.id, str(error), again)
                return
            async with self._database.change() as db:
                await queries.sent(db, one.id)
        except Exception as error:
            if not is_unavailable(error):
                log.exception("roaming_result_failed", request=one.id)

    async def forget(self) -> None:
        """Removes what was settled, and who was let in, long ago."""
        async with self._database.change() as db:
            await queries.forget(db, self._now() - _KEPT)
            await roaming_authorizations.forget(db, self._now())
