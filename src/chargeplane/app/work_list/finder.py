"""Looks once a minute for what needs a person: new causes become items, items whose cause is gone are resolved."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import structlog

from chargeplane.app.events import EventFeed
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import webhooks
from chargeplane.store.queries import work_list as queries

_log = structlog.get_logger(__name__)


class Finder:
    """Looks until it is stopped."""

    def __init__(self, database: Database, feed: EventFeed, *, every_s: float = 60.0) -> None:
        self._database = database
        self._feed = feed
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks from now on."""
        self._task = asyncio.create_task(self._run(), name="work-list")

    async def stop(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.look()
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("work_list_failed")

    async def look(self) -> None:
        """One look."""
        async with self._database.change() as db:
            for ident, tenant_id, came in await queries.find(db):
                view = await queries.one(db, tenant_id, ident)
                if view is not None:
                    kind = "work_item.opened" if came else "work_item.resolved"
                    await webhooks.note(db, tenant_id, kind, f"work_item:{ident}", view)
                    tell = partial(self._feed.publish, kind, tenant_id, view.station_id, view)
                    self._database.after_commit(db, tell)
