"""Writes to our copies of what partners own: many requests, one database transaction, each answered after its commit.

A batch is what came in during the last commit. Its rows are read and locked, the writes are done in memory in the order of their
arrival, what they changed is written in a few statements, and the commit answers them all. A write that is refused (wrong ids, no such
Location) refuses itself and nobody else; where the database refuses a batch, it is split until the culprit stands alone.

What follows from a write (a session of our driver, a CDR to be checked) is written by a hook in the same transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import asyncpg
import structlog
from msgspec import Struct

from chargeplane.domain.roaming import replicas as rules
from chargeplane.domain.roaming.replicas import (
    LocationCopy,
    Module,
    ObjectCopy,
    Outcome,
    folded,
    wrong,
)
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Connection, Database, is_unavailable
from chargeplane.store.queries import replicas as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.replicas import LocationId, ObjectId, StoredLocation, StoredObject

log = structlog.get_logger(__name__)

_MOST: Final = 1000
_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_WAITING: Final = 20_000
_LONGEST_ID: Final = 255
_RETRY_S: Final = 0.2
_DATA_CLASSES: Final = frozenset({"21", "22", "23", "54"})


class Owner(Struct, frozen=True):
    """Who owns an object, and by which connection it came.

    Args:
        country_code, party_id: of the URL, or of the object in a list; any case.
    """

    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str

    @property
    def party(self) -> tuple[str, str]:
        """As stored."""
        return self.country_code.upper(), self.party_id.upper()


class Written(Struct, frozen=True):
    """What became of a write.

    Args:
        key: of the object's row; 0 where there is none, and of Locations.
    """

    outcome: Outcome
    key: int = 0


class ChangedObject(Struct, frozen=True):
    """An object that a transaction wrote, as a hook gets it."""

    tenant_id: TenantId
    connection_id: int
    country_code: str
    party_id: str
    id: str
    variant: str
    key: int
    outcome: Outcome
    document: bytes


Hook = Callable[[Db, Sequence[ChangedObject]], Awaitable[None]]
Refusing = Callable[[bytes, bytes], None]


class _Write:
    """A write that waits for its batch."""

    __slots__ = ("answer", "error", "future", "owner", "size")

    def __init__(self, owner: Owner, size: int) -> None:
        self.owner = owner
        self.size = size
        self.future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self.answer = Written(Outcome.UNKNOWN)
        self.error: Exception | None = None

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.answer)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _LocationWrite(_Write):
    __slots__ = ("apply", "evse", "ident", "location_id", "whole")

    def __init__(
        self,
        owner: Owner,
        location_id: str,
        evse: str | None,
        whole: bool,
        size: int,
        apply: Callable[[LocationCopy], Outcome],
    ) -> None:
        super().__init__(owner, size)
        self.location_id = location_id
        self.evse = None if evse is None else folded(evse)
        self.whole = whole
        self.apply = apply
        self.ident: LocationId = (owner.tenant_id, *owner.party, folded(location_id))


class _ObjectWrite(_Write):
    __slots__ = ("apply", "ident", "object_id", "variant")

    def __init__(
        self,
        owner: Owner,
        module: Module,
        object_id: str,
        variant: str,
        size: int,
        apply: Callable[[ObjectCopy], Outcome],
    ) -> None:
        super().__init__(owner, size)
        self.object_id = object_id
        self.variant = variant
        self.apply = apply
        country, party = owner.party
        self.ident: ObjectId = (owner.tenant_id, module.value, folded(object_id), country, party, variant)


class Replicas:
    """Our copies of what partners own.

    Args:
        most_waiting: writes that may wait; beyond that they are refused at once (UnavailableError).
    """

    def __init__(self, database: Database, *, most_waiting: int = _MOST_WAITING) -> None:
        self._database = database
        self._most_waiting = most_waiting
        self._queue: deque[_Write] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._db: Connection | None = None
        self._closing = False
        self.hooks: dict[Module, list[Hook]] = {}
        """Called within the transaction, with the objects of a module that it writes."""
        self.after: dict[Module, list[Callable[[Sequence[ChangedObject]], None]]] = {}
        """Called after the commit."""
        self.commits = 0

    async def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._run(), name="roaming-replicas")

    async def stop(self) -> None:
        """Writes what waits, and ends."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=10)
            if not done:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
            self._task = None
        for write in self._queue:
            write.fail(UnavailableError("The server ends."))
        self._queue.clear()
        if self._db is not None:
            self._db.terminate()
            self._db = None

    # Locations

    async def put_location(self, owner: Owner, ident: str, document: bytes) -> Written:
        """A Location takes the place of our copy.

        Raises:
            InvalidInputError: it is no Location, or another one than the URL names.
            UnavailableError: too much waits, or the server ends.
        """
        return await self._location(
            owner, ident, None, True, document, lambda copy: rules.put_location(copy, document, owner.party)
        )

    async def patch_location(self, owner: Owner, ident: str, patch: bytes) -> Written:
        """Fields of a Location. The rest is as at `put_location`."""
        return await self._location(
            owner, ident, None, True, patch, lambda copy: rules.patch_location(copy, patch, owner.party)
        )

    async def put_evse(self, owner: Owner, location_id: str, uid: str, document: bytes) -> Written:
        """An EVSE takes the place of our copy; UNKNOWN where we have no such Location."""
        _bounded(uid)
        return await self._location(
            owner, location_id, uid, False, document, lambda copy: rules.put_evse(copy, uid, document)
        )

    async def patch_evse(self, owner: Owner, location_id: str, uid: str, patch: bytes) -> Written:
        """Fields of an EVSE; UNKNOWN where we have no such one."""
        _bounded(uid)
        return await self._location(
            owner, location_id, uid, False, patch, lambda copy: rules.patch_evse(copy, uid, patch)
        )

    async def put_connector(self, owner: Owner, location_id: str, uid: str, ident: str, document: bytes) -> Written:
        """A connector takes the place of our copy; UNKNOWN where we have no such EVSE."""
        _bounded(uid)
        return await self._location(
            owner, location_id, uid, False, document, lambda copy: rules.put_connector(copy, uid, ident, document)
        )

    async def patch_connector(self, owner: Owner, location_id: str, uid: str, ident: str, patch: bytes) -> Written:
        """Fields of a connector; UNKNOWN where we have no such one."""
        _bounded(uid)
        return await self._location(
            owner, location_id, uid, False, patch, lambda copy: rules.patch_connector(copy, uid, ident, patch)
        )

    async def location(self, owner: Owner, ident: str) -> bytes | None:
        """A Location with its EVSEs, as its owner would send it; None where we have none."""
        async with self._database.read() as db:
            found = await queries.location(db, (owner.tenant_id, *owner.party, folded(ident)))
        return None if found is None else rules.whole_location(found.document, found.last_updated, found.evses)

    async def evse(self, owner: Owner, location_id: str, uid: str) -> bytes | None:
        """An EVSE; None where we have none."""
        async with self._database.read() as db:
            return await queries.evse(db, (owner.tenant_id, *owner.party, folded(location_id)), uid)

    async def connector(self, owner: Owner, location_id: str, uid: str, ident: str) -> bytes | None:
        """A connector; None where we have none."""
        evse = await self.evse(owner, location_id, uid)
        return None if evse is None else rules.connector_in(evse, ident)

    # Other objects

    async def put(self, owner: Owner, module: Module, ident: str, document: bytes, variant: str = "") -> Written:
        """An object takes the place of our copy.

        Args:
            variant: of tokens: their type.
        Raises:
            InvalidInputError: it names itself otherwise than the URL.
        """
        return await self._object(
            owner,
            module,
            ident,
            variant,
            len(document),
            lambda copy: rules.put_object(copy, module, document, owner.party),
        )

    async def keep(self, owner: Owner, module: Module, ident: str, document: bytes) -> Written:
        """An object that never changes (a CDR) is kept, if there is none with its id: a repeat is UNCHANGED, and another one LATE."""

        def once(copy: ObjectCopy) -> Outcome:
            if copy.there:
                return Outcome.UNCHANGED if rules.same_record(copy.document, document) else Outcome.LATE
            return rules.put_object(copy, module, document, owner.party)

        return await self._object(owner, module, ident, "", len(document), once)

    async def patch(self, owner: Owner, module: Module, ident: str, patch: bytes, variant: str = "") -> Written:
        """Fields of an object; UNKNOWN where we have none."""
        return await self._object(
            owner, module, ident, variant, len(patch), lambda copy: rules.patch_object(copy, module, patch, owner.party)
        )

    async def set_calendar(self, owner: Owner, place: str, ident: str, document: bytes, *, whole: bool) -> Written:
        """A calendar of a booking location, or (not `whole`) fields of it; UNKNOWN where we have no such one."""
        _bounded(ident)
        return await self._object(
            owner,
            Module.BOOKING_LOCATIONS,
            place,
            "",
            len(document),
            lambda copy: rules.set_calendar(copy, ident, document, whole=whole),
        )

    async def delete(self, owner: Owner, module: Module, ident: str) -> Written:
        """An object is no more; UNKNOWN where we have none."""

        def gone(copy: ObjectCopy) -> Outcome:
            if not copy.there:
                return Outcome.UNKNOWN
            copy.gone = copy.dirty = True
            return Outcome.UPDATED

        return await self._object(owner, module, ident, "", 0, gone)

    async def object(self, owner: Owner, module: Module, ident: str, variant: str = "") -> bytes | None:
        """An object of a party; None where we have none."""
        country, party = owner.party
        async with self._database.read() as db:
            found = await queries.one_object(
                db, (owner.tenant_id, module.value, folded(ident), country, party, variant)
            )
        return None if found is None else found.document

    # The writer

    async def _location(
        self,
        owner: Owner,
        location_id: str,
        evse: str | None,
        whole: bool,
        document: bytes,
        apply: Callable[[LocationCopy], Outcome],
    ) -> Written:
        _bounded(location_id)
        return await self._submit(_LocationWrite(owner, location_id, evse, whole, len(document), apply))

    async def _object(
        self,
        owner: Owner,
        module: Module,
        ident: str,
        variant: str,
        size: int,
        apply: Callable[[ObjectCopy], Outcome],
    ) -> Written:
        _bounded(ident)
        return await self._submit(_ObjectWrite(owner, module, ident, variant, size, apply))

    async def _submit(self, write: _Write) -> Written:
        if self._closing:
            raise UnavailableError("The server ends.")
        if len(self._queue) >= self._most_waiting:
            raise UnavailableError("Too many writes of partners wait for the database.")
        self._queue.append(write)
        self._wake.set()
        return await write.future

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            await asyncio.sleep(0)  # what was answered together speaks together
            await self._commit(self._take())

    def _take(self) -> list[_Write]:
        batch: list[_Write] = []
        size = 0
        while self._queue and len(batch) < _MOST and size < _MOST_BYTES:
            write = self._queue.popleft()
            if not write.future.done():
                batch.append(write)
                size += write.size
        return batch

    async def _commit(self, batch: Sequence[_Write]) -> None:
        while batch:
            try:
                changed = await self._write(batch)
            except asyncio.CancelledError:
                for write in batch:
                    write.fail(UnavailableError("The server ends."))
                raise
            except Exception as error:
                if self._db is not None:
                    self._db.terminate()
                    self._db = None
                if is_unavailable(error):
                    if self._closing:
                        for write in batch:
                            write.fail(UnavailableError("The server ends."))
                        return
                    self._database.lost(error)
                    await asyncio.sleep(_RETRY_S)
                    await self._database.wait_available()
                    batch = [write for write in batch if not write.future.done()]
                    continue
                if isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError):
                    continue
                if len(batch) > 1:
                    middle = len(batch) // 2
                    await self._commit(batch[:middle])
                    batch = batch[middle:]
                    continue
                log.warning("partner_write_refused", error=str(error))
                data = isinstance(error, asyncpg.PostgresError) and str(error.sqlstate)[:2] in _DATA_CLASSES
                batch[0].fail(wrong("body", "the database cannot hold it") if data else error)
                return
            self.commits += 1
            for write in batch:
                write.settle()
            for module, objects in changed.items():
                for listener in self.after.get(module, ()):
                    listener(objects)
            return

    async def _write(self, batch: Sequence[_Write]) -> dict[Module, list[ChangedObject]]:
        if self._db is None:
            self._db = await self._database.connect_writer("roaming")
        db = self._db
        locations: dict[LocationId, StoredLocation] = {}
        objects: dict[ObjectId, StoredObject] = {}
        evses: set[tuple[LocationId, str]] = set()
        for write in batch:
            if isinstance(write, _LocationWrite):
                stored = locations.get(write.ident)
                if stored is None:
                    stored = locations[write.ident] = StoredLocation(
                        LocationCopy(write.location_id), write.owner.connection_id
                    )
                stored.whole |= write.whole
                if write.evse is not None:
                    evses.add((write.ident, write.evse))
            elif isinstance(write, _ObjectWrite) and write.ident not in objects:
                objects[write.ident] = StoredObject(ObjectCopy(write.object_id), write.owner.connection_id)
        async with db.transaction():
            await queries.lock_locations(db, locations, evses)
            await queries.lock_objects(db, objects)
            changed = _apply(batch, locations, objects)
            await queries.write_locations(db, locations)
            await queries.write_objects(db, objects)
            told: dict[Module, list[ChangedObject]] = {}
            for write in batch:
                if isinstance(write, _ObjectWrite) and write.error is None:
                    write.answer = Written(write.answer.outcome, objects[write.ident].key)
            for ident, outcome in changed.items():
                told.setdefault(Module(ident[1]), []).append(_changed(ident, objects[ident], outcome))
            for module, some in told.items():
                for hook in self.hooks.get(module, ()):
                    await hook(db, some)
        return told


def _apply(
    batch: Sequence[_Write], locations: dict[LocationId, StoredLocation], objects: dict[ObjectId, StoredObject]
) -> dict[ObjectId, Outcome]:
    changed: dict[ObjectId, Outcome] = {}
    for write in batch:
        write.error = None
        try:
            if isinstance(write, _LocationWrite):
                stored = locations[write.ident]
                stored.connection_id = write.owner.connection_id
                write.answer = Written(write.apply(stored.copy))
            elif isinstance(write, _ObjectWrite):
                thing = objects[write.ident]
                thing.connection_id = write.owner.connection_id
                outcome = write.apply(thing.copy)
                write.answer = Written(outcome)
                if outcome in (Outcome.CREATED, Outcome.UPDATED):
                    changed.setdefault(write.ident, outcome)
        except Exception as error:  # its own fault, and nobody else's
            write.error = error
    return changed


def _changed(ident: ObjectId, stored: StoredObject, outcome: Outcome) -> ChangedObject:
    return ChangedObject(
        tenant_id=TenantId(ident[0]),
        connection_id=stored.connection_id,
        country_code=ident[3],
        party_id=ident[4],
        id=stored.copy.id,
        variant=ident[5],
        key=stored.key,
        outcome=outcome,
        document=b"" if stored.copy.gone else stored.copy.document,
    )


def _bounded(ident: str) -> None:
    if not 0 < len(ident) <= _LONGEST_ID or "\x00" in ident:
        raise wrong("id", "it must have 1 to 255 characters")
