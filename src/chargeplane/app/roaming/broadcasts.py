"""Pushes that our hub takes for everybody (OCPI 2.3.0 transport_and_format, Broadcast Push): kept, then brought to each partner.

Whoever pushes has its answer when the push is committed with a row for each partner that it is for; a partner that is slow or away gets it
later, and the others do not wait. What is kept is what a partner lacks of an object, not a queue of messages: a later whole object takes
the place of all before it, and a change is laid over a change that was not taken yet. Messages about one object go in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.outgoing import Message
from chargeplane.app.roaming.ports import Route
from chargeplane.domain.roaming.connection import PartyId, Peer
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_hub_messages as queries
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_hub_messages import Kept, NewMessage

MODULE: Final = "hub"
"""Of the rows in the queue of what partners are to be told."""

_log = structlog.get_logger(__name__)
_encode = msgspec.json.encode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Push(Struct, frozen=True, kw_only=True):
    """A push for everybody.

    Args:
        key: of the object that it is about; messages with one key go in their order.
        row: of the table of endpoints.
        path, query: of the request.
        body: canonical; None: a DELETE.
        whole: it says all of the object: what was before need not be told.
        partial: it says what changes.
    """

    key: str
    row: int
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes | None
    whole: bool = False
    partial: bool = False


class Broadcasts:
    """Keeps pushes for partners, and makes the messages (a `Renderer` of outgoing).

    Args:
        wake: called after what was kept is committed.
        partial_rows: rows of the table that say what changes of an object.
    """

    def __init__(self, database: Database, wake: Callable[[], None], partial_rows: frozenset[int]) -> None:
        self._database = database
        self._wake = wake
        self._partial_rows = partial_rows

    async def take(
        self,
        tenant_id: TenantId,
        push: Push,
        hub: PartyId,
        targets: Sequence[tuple[Peer, PartyId]],
        correlation_id: str,
    ) -> None:
        """Keeps a push for these partners; it is theirs once this returns.

        Args:
            hub: from whom it comes on the way out.
        """
        if not targets:
            return
        path, query = _encode(dict(push.path)).decode(), _encode(dict(push.query)).decode()
        connections = [peer.id for peer, _ in targets]
        async with self._database.change() as db:
            before: dict[int, list[Kept]] = {}
            for kept in await queries.pending(db, connections, push.key):
                before.setdefault(kept.connection_id, []).append(kept)
            gone: list[int] = []
            new: list[NewMessage] = []
            for peer, to_party in targets:
                owed = before.get(peer.id, [])
                if push.whole:
                    gone += [one.id for one in owed]
                elif push.partial and await self._laid_over(db, owed, push, path, query):
                    continue
                elif len(owed) >= queries.MOST:
                    _log.warning("hub_push_forgotten", connection=peer.id, key=push.key)
                    gone.append(owed[0].id)
                new.append(
                    NewMessage(
                        connection_id=peer.id,
                        row=push.row,
                        path_values=path,
                        query=query,
                        body=push.body,
                        from_party=hub.key,
                        to_party=to_party.key,
                    )
                )
            if gone:
                await queries.forget(db, gone)
            if new:
                await queries.add(db, push.key, new)
            await outgoing.note(
                db, tenant_id, MODULE, push.key, connections=sorted(connections), correlation_id=correlation_id
            )
        self._wake()

    async def _laid_over(self, db: Db, owed: Sequence[Kept], push: Push, path: str, query: str) -> bool:
        """Whether a change could be laid over the last message that is owed."""
        last = owed[-1] if owed else None
        if last is None or last.body is None or push.body is None or (last.path_values, last.query) != (path, query):
            return False
        over = _fields(push.body)
        if "evses" in over:
            return False  # merged by uid by whoever has the Location
        await queries.lay_over(db, last.id, _encode({**_fields(last.body), **over}))
        return True

    async def forget(self, db: Db, connection_id: int, key: str) -> None:
        """A partner has no place for an object: what was kept of it would come late, and in front of what is newer."""
        await queries.forget_all(db, connection_id, key)

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The next message about an object."""
        async with self._database.read() as db:
            kept = await queries.first(db, peer.id, key)
        if kept is None:
            return None

        async def taken(db: Db) -> bool:
            return await queries.taken(db, kept)

        values: dict[str, Any] = msgspec.json.decode(kept.path_values)
        return Message(
            row=kept.row,
            path=values,
            body=kept.body,
            query=msgspec.json.decode(kept.query),
            route=Route(from_party=_party(kept.from_party), to_party=_party(kept.to_party)),
            routed=True,
            taken=taken,
            unless_unknown=kept.row in self._partial_rows,
        )


def _party(key: str) -> PartyId:
    return PartyId(key[:2], key[2:])
