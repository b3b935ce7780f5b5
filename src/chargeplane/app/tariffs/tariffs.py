"""Tariffs with versions that never change, and which of them holds where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.locations.binding import make_id
from chargeplane.app.locations.facts import tell
from chargeplane.domain.tariffs.checks import check
from chargeplane.domain.tariffs.model import Tariff, TariffContent, TariffType
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import locations as location_queries
from chargeplane.store.queries import tariffs as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.tariffs import StoredTariff, TariffFilter, TariffView

PUBLIC: Final = (TariffType.AD_HOC_PAYMENT, None, TariffType.REGULAR)
"""Which tariff whoever pays without a contract gets, the best first."""

CONTRACT: Final = (TariffType.REGULAR, None)
"""Which tariff of the connector somebody with an id token gets, where the agreement names none."""

_NAMED: Final = 10


def _now() -> datetime:
    return datetime.now(UTC)


class Tariffs:
    """Use cases about tariffs.

    Args:
        now: the clock.
    """

    def __init__(self, database: Database, events: EventFeed, now: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._events = events
        self._now = now

    # Looked up by others

    async def version_of(self, tenant_id: TenantId, tariff_id: str, at: datetime) -> Tariff | None:
        """The version of a tariff with which a session begins at a time.

        None where there is no such tariff, it is retired or has no version yet by then, or its own dates do not hold.
        """
        async with self._database.read() as db:
            found = await queries.valid(db, tenant_id, [tariff_id], at)
        return found[0] if found and found[0].holds(at) else None

    async def frozen(self, tenant_id: TenantId, tariff_id: str, version: int) -> Tariff | None:
        """A version that a session froze, whatever became of the tariff since."""
        async with self._database.read() as db:
            return await queries.version(db, tenant_id, tariff_id, version)

    async def at_connector(
        self,
        tenant_id: TenantId,
        tariff_ids: Sequence[str],
        at: datetime,
        types: Sequence[TariffType | None] = CONTRACT,
    ) -> Tariff | None:
        """Which tariff of a connector holds at a time.

        Args:
            tariff_ids: as `EvsePlace.tariff_ids`.
            types: which may be taken, the best first; of one type the first of the connector's.
        """
        if not tariff_ids:
            return None
        async with self._database.read() as db:
            found = {tariff.id: tariff for tariff in await queries.valid(db, tenant_id, list(tariff_ids), at)}
        holding = [found[ident] for ident in tariff_ids if ident in found and found[ident].holds(at)]
        for kind in types:
            for tariff in holding:
                if tariff.type is kind:
                    return tariff
        return None

    async def public_for(
        self, tenant_id: TenantId, evse_uid: str, at: datetime, connector_id: str | None = None
    ) -> Tariff | None:
        """What charging at an EVSE costs whoever has no contract; None where no tariff says.

        Args:
            connector_id: OCPI's id; None: the first connector that has a tariff for them.
        """
        async with self._database.read() as db:
            place = await location_queries.place_by_uid(db, tenant_id, evse_uid)
        if place is None:
            return None
        for connector in place.connectors:
            if connector_id is None or connector.id.casefold() == connector_id.casefold():
                found = await self.at_connector(tenant_id, connector.tariff_ids, at, PUBLIC)
                if found is not None:
                    return found
        return None

    # Administered

    async def page(
        self, caller: Caller, wanted: TariffFilter, limit: int, after: Position | None
    ) -> list[tuple[int, TariffView]]:
        """Tariffs in their newest version with our keys of them, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, tariff_id: str, version: int | None = None) -> TariffView:
        """A tariff.

        Args:
            version: None: the newest.
        Raises:
            NotFoundError: the tenant has no such tariff or version.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, tariff_id, version)
        if found is None:
            raise NotFoundError("tariff", tariff_id if version is None else f"{tariff_id}, version {version}")
        return found

    async def versions(self, caller: Caller, tariff_id: str, limit: int, after: Position | None) -> list[TariffView]:
        """The versions of a tariff, newest first; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such tariff.
        """
        await self.one(caller, tariff_id)
        async with self._database.read() as db:
            return await queries.versions(db, caller.tenant_id, tariff_id, limit, after)

    async def create(
        self,
        caller: Caller,
        tariff_id: str | None,
        name: str | None,
        content: TariffContent,
        valid_from: datetime | None,
    ) -> TariffView:
        """A new tariff.

        Args:
            tariff_id: None: one is made.
            valid_from: None: from now on.
        Raises:
            InvalidInputError: it cannot be meant.
            ConflictError: the tenant has a tariff with this id.
        """
        check(content)
        tariff_id = tariff_id or make_id()
        async with self._database.change() as db:
            since = valid_from or self._now()
            if not await queries.insert(db, caller.tenant_id, tariff_id, name, content, since, caller.actor):
                raise ConflictError(f"There is a tariff '{tariff_id}' already; put a new version of it instead.")
            await self._audit(db, caller, "create", tariff_id, None, content)
        return await self._told(caller, "tariff.created", tariff_id)

    async def put(
        self,
        caller: Caller,
        tariff_id: str,
        name: str | None,
        content: TariffContent,
        valid_from: datetime | None,
        if_revision: int | None,
    ) -> TariffView:
        """A new version of a tariff; what sessions froze stays what it was. A retired tariff is taken up again.

        Args:
            valid_from: when sessions begin with it; None: from now on.
        Raises:
            NotFoundError: the tenant has no such tariff.
            InvalidInputError: it cannot be meant, has another currency, or would have been valid before now.
            StaleError: the tariff has another revision.
        """
        check(content)
        now = self._now()
        if valid_from is not None and valid_from < now:
            sentence = "Must not be in the past: sessions have begun with the version before"
            raise InvalidInputError(f"'valid_from': {sentence}.", (("/valid_from", sentence),))
        async with self._database.change() as db:
            stored = await self._stored(db, caller, tariff_id, if_revision)
            if content.currency != stored.currency:
                sentence = f"Must stay {stored.currency}; make another tariff for another currency"
                raise InvalidInputError(f"'currency': {sentence}.", (("/currency", sentence),))
            before = await queries.one(db, caller.tenant_id, stored.id)
            await queries.add_version(db, stored, name, content, valid_from or now, caller.actor)
            await self._audit(db, caller, "update", stored.id, before, content)
        return await self._told(caller, "tariff.updated", stored.id)

    async def retire(self, caller: Caller, tariff_id: str, at: datetime | None, if_revision: int | None) -> TariffView:
        """No session begins with the tariff from a time on; those that have go on under it.

        Args:
            at: None: from now on.
        Raises:
            NotFoundError: the tenant has no such tariff.
            StaleError: it has another revision.
        """
        async with self._database.change() as db:
            stored = await self._stored(db, caller, tariff_id, if_revision)
            since = at or self._now()
            await queries.retire(db, stored.key, since)
            await self._audit(db, caller, "retire", stored.id, {"retired_at": stored.retired_at}, {"retired_at": since})
        return await self._told(caller, "tariff.retired", stored.id)

    async def delete(self, caller: Caller, tariff_id: str, if_revision: int | None) -> None:
        """Deletes a tariff that nothing rests on.

        Raises:
            NotFoundError: the tenant has no such tariff.
            ConflictError: connectors have it, or it has been valid; it may be retired.
            StaleError: it has another revision.
        """
        async with self._database.change() as db:
            stored = await self._stored(db, caller, tariff_id, if_revision)
            connectors = await queries.connectors_with(db, caller.tenant_id, stored.id, _NAMED)
            if connectors:
                named = ", ".join(f"{uid}/{ident}" for uid, ident in connectors)
                raise ConflictError(
                    f"The tariff '{stored.id}' is on connectors ({named}); take it off them, or retire it."
                )
            first = await queries.one(db, caller.tenant_id, stored.id, 1)
            if first is not None and first.valid_from <= self._now():
                raise ConflictError(
                    f"The tariff '{stored.id}' has been valid, so sessions may rest on it; retire it instead of deleting it."
                )
            await queries.delete(db, stored.key)
            await self._audit(db, caller, "delete", stored.id, first, None)
        self._events.publish("tariff.deleted", caller.tenant_id, None, {"tariff_id": stored.id})

    async def assign(
        self, caller: Caller, tariff_id: str, connectors: Sequence[tuple[str, str | None]], *, off: bool = False
    ) -> int:
        """Puts a tariff on connectors, or takes it off them; on how many that changed something.

        Args:
            connectors: (EVSE uid, connector id); None: all of the EVSE.
        Raises:
            NotFoundError: the tenant has no such tariff.
            InvalidInputError: there is no such EVSE or connector.
        """
        changed: list[tuple[str, str]] = []
        async with self._database.change() as db:
            stored = await self._stored(db, caller, tariff_id, None)
            for number, (uid, connector_id) in enumerate(connectors):
                evse = await location_queries.evse_locked(db, caller.tenant_id, uid)
                if evse is None:
                    raise _unknown(f"/connectors/{number}/evse_uid", f"There is no EVSE '{uid}'")
                there = [one for one, _ in await location_queries.connectors(db, evse.key)]
                chosen = [c for c in there if connector_id is None or c.id.casefold() == connector_id.casefold()]
                if not chosen:
                    raise _unknown(f"/connectors/{number}/connector_id", f"'{uid}' has no connector '{connector_id}'")
                for connector in chosen:
                    if (stored.id in connector.tariff_ids) is not off:
                        continue
                    without = [ident for ident in connector.tariff_ids if ident != stored.id]
                    wanted = without if off else [*connector.tariff_ids, stored.id]
                    await location_queries.set_tariffs(db, evse.key, connector, wanted)
                    changed.append((evse.uid, evse.location_id))
                if (evse.uid, evse.location_id) in changed:
                    await location_queries.touch(db, evse.location_key)
                    await tell(db, caller.tenant_id, "evse.updated", evse.uid)
            if changed:
                action = "unassign" if off else "assign"
                await self._audit(db, caller, action, stored.id, None, [uid for uid, _ in changed])
        for location_id in dict.fromkeys(location for _, location in changed):
            self._events.publish("location.updated", caller.tenant_id, None, {"location_id": location_id})
        return len(changed)

    async def _stored(self, db: Db, caller: Caller, tariff_id: str, if_revision: int | None) -> StoredTariff:
        stored = await queries.locked(db, caller.tenant_id, tariff_id)
        if stored is None:
            raise NotFoundError("tariff", tariff_id)
        if if_revision is not None and if_revision != stored.revision:
            raise StaleError(stored.id, stored.revision)
        return stored

    async def _audit(self, db: Db, caller: Caller, action: str, ident: str, before: Any, after: Any) -> None:
        await audit(
            db,
            caller.tenant_id,
            actor=caller.actor,
            action=action,
            kind="tariff",
            ident=ident,
            before=before,
            after=after,
        )
        done = {"create": "created", "update": "updated", "retire": "retired", "delete": "deleted"}.get(action)
        if done is not None:
            await tell(db, caller.tenant_id, f"tariff.{done}", ident)

    async def _told(self, caller: Caller, event: str, tariff_id: str) -> TariffView:
        view = await self.one(caller, tariff_id)
        self._events.publish(event, caller.tenant_id, None, view)
        return view


def _unknown(pointer: str, sentence: str) -> InvalidInputError:
    return InvalidInputError(f"{sentence}.", ((pointer, sentence),))
