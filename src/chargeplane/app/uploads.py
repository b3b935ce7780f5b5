"""Files that stations upload: one-time addresses, what came, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.kernel.errors import ConflictError, NotFoundError, UnavailableError
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.kernel.text import made_storable
from chargeplane.store.database import Database
from chargeplane.store.files import Files, Incoming
from chargeplane.store.queries import charging_stations
from chargeplane.store.queries import uploads as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Position
from chargeplane.store.queries.uploads import KeptUpload, OpenUpload, UploadView

_SWEEP_S: Final = 600.0
_FORGET_S: Final = 24 * 3600.0
_DELETED_AT_ONCE: Final = 200

_log = structlog.get_logger(__name__)


class GoneError(ConflictError):
    """An address that was used, or whose time is over."""


class Slot(Struct, frozen=True, kw_only=True):
    """A new address.

    Args:
        token: the secret part of it, shown only here.
    """

    id: int
    token: str


class Receiving:
    """An upload that goes on. `write` the pieces, then `finish`."""

    def __init__(self, uploads: Uploads, slot: OpenUpload, file: Incoming) -> None:
        self._uploads = uploads
        self._file = file
        self.slot = slot
        self.finished = False
        self.write = file.write

    async def finish(self, name: str | None, content_type: str | None) -> None:
        """The file is complete.

        Raises:
            GoneError: it is wanted no more.
        """
        stored = await self._file.finish()
        try:
            async with self._uploads.database.change() as db:
                taken = await queries.finish(
                    db,
                    self.slot.id,
                    stored,
                    None if not name else made_storable(name.replace("\\", "/").rpartition("/")[2], 255) or None,
                    None if not content_type else made_storable(content_type, 255),
                )
        except UnavailableError:
            raise  # it may be committed all the same; if not, `forget_files` finds the file
        except Exception:
            await self._uploads.files.remove(stored.path)
            raise
        self.finished = True
        if not taken:
            await self._uploads.files.remove(stored.path)
            raise GoneError("The file is wanted no more.")
        await self._uploads.show(self.slot.tenant_id, self.slot.id)


class Uploads:
    """Use cases about uploads.

    Args:
        max_bytes: of one file.
        valid_for: how long an address holds.
        keep: how long a file is kept.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        files: Files,
        *,
        max_bytes: int,
        valid_for: timedelta,
        keep: timedelta | None,
    ) -> None:
        self.database = database
        self.files = files
        self._events = events
        self._max_bytes = max_bytes
        self._valid_for = valid_for
        self._keep = keep
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to clear away what is too old."""
        self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="uploads sweep")

    async def stop(self) -> None:
        """Ends that."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping

    async def open(
        self, tenant_id: TenantId, key: StationKey, *, purpose: str, request_id: int | None, by: str
    ) -> Slot:
        """A new one-time address for a station's file."""
        token = secrets.token_urlsafe(24)
        async with self.database.change() as db:
            ident = await queries.insert(
                db,
                tenant_id,
                key,
                purpose=purpose,
                request_id=request_id,
                token_hash=_hash(token),
                max_bytes=self._max_bytes,
                valid_for=self._valid_for,
                asked_by=by,
            )
        await self.show(tenant_id, ident)
        return Slot(id=ident, token=token)

    async def close(self, tenant_id: TenantId, ident: int) -> None:
        """The station does not upload anything."""
        async with self.database.change() as db:
            await queries.close(db, ident, "canceled")
        await self.show(tenant_id, ident)

    async def cancel_earlier(self, key: StationKey, ident: int) -> None:
        """The station gave up earlier uploads for this one."""
        async with self.database.change() as db:
            await queries.cancel(db, key, ident)

    # -- the doors -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def receive(self, token: str, remote_address: str | None) -> AsyncIterator[Receiving]:
        """An upload to an address; what does not come to its end leaves the address open for another try.

        Raises:
            NotFoundError: there never was such an address.
            GoneError: it was used, or its time is over.
        """
        hashed = _hash(token)
        async with self.database.change() as db:
            slot = await queries.begin(db, hashed, remote_address)
            state = None if slot is not None else await queries.state_of(db, hashed)
        if slot is None:
            if state is None:
                raise NotFoundError("upload", "of this address")
            raise GoneError(f"This address takes no file: {_WHY.get(state, state)}.")
        receiving: Receiving | None = None
        try:
            async with self.files.incoming("uploads", slot.max_bytes) as file:
                receiving = Receiving(self, slot, file)
                yield receiving
        except BaseException as error:
            if receiving is None or not receiving.finished:
                await asyncio.shield(self._broken_off(slot, str(error) or type(error).__name__))
            raise
        if not receiving.finished:
            await self._broken_off(slot, "It was not complete.")

    async def _broken_off(self, slot: OpenUpload, why: str) -> None:
        _log.info("upload_broken_off", upload=slot.id, error=why)
        with contextlib.suppress(Exception):
            async with self.database.change() as db:
                await queries.reopen(db, slot.id, made_storable(why, 500))

    async def stands_open(self, token: str) -> bool:
        """Whether an upload may begin."""
        async with self.database.read() as db:
            return await queries.state_of(db, _hash(token)) == "open"

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, station_id: str | None, state: str | None, limit: int, after: Position | None
    ) -> list[UploadView]:
        """Uploads, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such station.
        """
        async with self.database.read() as db:
            if station_id is not None and await charging_stations.key_of(db, caller.tenant_id, station_id) is None:
                raise NotFoundError("charging station", station_id)
            return await queries.page(db, caller.tenant_id, station_id, state, limit, after)

    async def one(self, caller: Caller, ident: int) -> UploadView:
        """An upload by our id.

        Raises:
            NotFoundError: the tenant has no such upload.
        """
        async with self.database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("upload", str(ident))
        return found

    async def file(self, caller: Caller, ident: int) -> tuple[KeptUpload, AsyncIterator[bytes]]:
        """A file that came, and its bytes.

        Raises:
            NotFoundError: none came, or it is deleted.
        """
        async with self.database.read() as db:
            found = await queries.kept(db, caller.tenant_id, ident)
        if found is None or await self.files.size(found.file) is None:
            raise NotFoundError("file of the upload", str(ident))
        return found, self.files.read(found.file)

    async def delete(self, caller: Caller, ident: int) -> None:
        """Deletes a file that came.

        Raises:
            NotFoundError: there is none.
        """
        async with self.database.change() as db:
            view = await queries.one(db, caller.tenant_id, ident)
            path = await queries.delete(db, caller.tenant_id, ident)
            if path is None or view is None:
                raise NotFoundError("file of the upload", str(ident))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="delete",
                kind="upload",
                ident=str(ident),
                before={"name": view.name, "sha256": view.sha256, "purpose": view.purpose},
            )
        await self.files.remove(path)

    async def show(self, tenant_id: TenantId, ident: int) -> None:
        """Tells who watches what became of an upload."""
        if self._events.active:
            async with self.database.read() as db:
                view = await queries.one(db, tenant_id, ident)
            if view is not None:
                self._events.publish("upload.updated", tenant_id, view.station_id, view)

    # -- clearing away -------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Closes addresses whose time is over and deletes files that are too old."""
        async with self.database.change() as db:
            await queries.expire(db)
        if self._keep is not None:
            while True:
                async with self.database.change() as db:
                    old = await queries.delete_older(db, self._keep, _DELETED_AT_ONCE)
                for path in old:
                    await self.files.remove(path)
                if len(old) < _DELETED_AT_ONCE:
                    break
        await self.files.sweep()

    async def forget_files(self) -> None:
        """Deletes files that came whole and that no upload has: the database failed when they were to be written down."""
        async for some in self.files.left("uploads"):
            async with self.database.read() as db:
                unknown = await queries.unknown(db, some)
            for path in unknown:
                await self.files.remove(path)
                _log.info("upload_without_row_deleted", file=path)

    async def _sweep_for_ever(self) -> None:
        forgotten: float | None = None
        while True:
            try:
                if forgotten is None or time.monotonic() - forgotten > _FORGET_S:
                    await self.forget_files()
                    forgotten = time.monotonic()
                await asyncio.sleep(_SWEEP_S)
                await self.sweep()
            except Exception as error:
                _log.warning("uploads_sweep_failed", error=str(error))
                await asyncio.sleep(_SWEEP_S)


_WHY: Final = {
    "received": "a file came already",
    "receiving": "a file is coming just now",
    "canceled": "the request was given up",
    "expired": "its time is over",
    "deleted": "a file came already",
}


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
