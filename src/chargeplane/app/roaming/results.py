"""Results that partners are owed: written down with what they asked, sent when they are known, or when the time is over.

A partner is answered at once, with a timeout; the result goes to the address that it named, once, when the station has answered, and as
TIMEOUT where it has not (OCPI 2.3.0 mod_commands, Flow). What was asked outlives a restart: whichever process looks next sends what is
due. An address that cannot be reached is tried again a few times, later and later; OCPI requires no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import msgspec
import structlog

from chargeplane.app.house import utc_now
from chargeplane.domain.roaming.commands import Asked, Result, profile_result
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import roaming_authorizations
from chargeplane.store.queries import roaming_requests as queries
from chargeplane.store.queries.roaming_requests import Owed

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 64
_LEASE_S: Final = 60.0
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
    """

    def __init__(
        self,
        database: Database,
        sender: ResultSender,
        *,
        poll_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._sender = sender
        self._poll_s = poll_s
        self._now = now
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def hint(self) -> None:
        """A result was written."""
        self._wake.set()

    async def start(self) -> None:
        """Sends from now on."""
        self._task = asyncio.create_task(self._run(), name="roaming-results")

    async def stop(self) -> None:
        """Ends; what is on its way is sent again by whoever comes next."""
        tasks = [task for task in (self._task, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

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
                    owed = await queries.take(db, _AT_ONCE, _LEASE_S)
                for one in owed:
                    task = asyncio.create_task(self._handle(one))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)
                if len(owed) == _AT_ONCE:
                    continue
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("roaming_results_failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()

    async def _handle(self, one: Owed) -> None:
        asked = Asked(one.kind)
        try:
            if one.result is None:
                # Its time is over, or whoever waited for the station is gone.
                await self.finish(one.id, asked, Result.TIMEOUT)
                return
            try:
                await self._sender.send(one.connection_id, asked, one.response_url, one.result.encode(), one.routing)
            except ChargeplaneError as error:
                wait = _WAITS_S[one.attempts - 1] if one.attempts <= len(_WAITS_S) else None
                again = None if wait is None else self._now() + timedelta(seconds=wait)
                log.warning("roaming_result_not_taken", request=one.id, because=str(error), again=wait)
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
