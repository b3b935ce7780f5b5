"""Partners are pushed all that they may see.

Partners are told what changes; what stood before they registered they read from our lists. One that reads nothing is pushed it: when an
operator asks for it, or by itself once it is registered, where its quirks say so (`push_all`). Each object is noted in the queue of the
partner, and goes like any other change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from chargeplane.app.api_keys import Caller
from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming.connections import KIND
from chargeplane.domain.roaming.connection import ConnectionState, Peer
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_documents as documents
from chargeplane.store.queries import roaming_pushes as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.roaming_pushes import MODULES, PushView

_AT_ONCE: Final = 100
_BY_ITSELF: Final = "policy: push_all"

log = structlog.get_logger(__name__)


class Peers(Protocol):
    """The connections."""

    async def get(self, ident: int) -> Peer | None:
        """A connection, whatever its state."""
        ...


class Pushing:
    """Notes what is to be pushed.

    Args:
        told: called after a commit that noted something.
        every_s: how often it is looked for partners that are to be pushed all.
    """

    def __init__(self, database: Database, peers: Peers, told: Callable[[], None], *, every_s: float = 2.0) -> None:
        self._database = database
        self._peers = peers
        self._told = told
        self._pulse = Pulse("roaming pushes", every_s, self.look)

    async def start(self) -> None:
        """Looks for partners that are to be pushed all, from now on."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    async def push(self, caller: Caller, ident: int, modules: Sequence[str] | None) -> list[PushView]:
        """Has a partner pushed all that it may see.

        Args:
            modules: of `MODULES`; None: those that the partner takes.
        Raises:
            NotFoundError: the tenant has no such partner.
            ConflictError: it is not registered, or takes nothing.
            InvalidInputError: a module is none that is pushed, or the partner does not take it; names it.
        """
        peer = await self._peer(caller, ident)
        if peer.state not in (ConnectionState.REGISTERED, ConnectionState.SUSPENDED):
            raise ConflictError(f"'{peer.name}' is {peer.state.value}, not registered.")
        taken = _taken(peer)
        wrong = tuple(
            (f"/modules/{place}", _why_not(one)) for place, one in enumerate(modules or ()) if one not in taken
        )
        if wrong:
            raise InvalidInputError(f"'{peer.name}' cannot be pushed that: {wrong[0][1]}.", wrong)
        if not taken:
            raise ConflictError(f"'{peer.name}' takes nothing that is pushed.")
        async with self._database.change() as db:
            await self._note(db, peer, taken if modules is None else modules, caller.actor)
            found = await queries.of_partner(db, ident)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="push",
                kind=KIND,
                ident=str(ident),
                after={one.module: one.objects for one in found if modules is None or one.module in modules},
            )
        self._told()
        return found

    async def pushes(self, caller: Caller, ident: int) -> list[PushView]:
        """What a partner was pushed as a whole, and how far that is.

        Raises:
            NotFoundError: the tenant has no such partner.
        """
        await self._peer(caller, ident)
        async with self._database.read() as db:
            return await queries.of_partner(db, ident)

    async def look(self) -> None:
        """Pushes all to partners that are to be pushed all and were not yet."""
        async with self._database.read() as db:
            found = await queries.due(db, _AT_ONCE)
        for ident in found:
            peer = await self._peers.get(ident)
            if peer is None or not _taken(peer):
                continue
            async with self._database.change() as db:
                await self._note(db, peer, _taken(peer), _BY_ITSELF)
            log.info("roaming_partner_pushed_all", connection=ident, partner=peer.name)
            self._told()

    async def _note(self, db: Db, peer: Peer, modules: Sequence[str], by: str) -> None:
        rule = await documents.publication(db, peer.id)
        for module in modules:
            count = await queries.note_all(db, peer.tenant_id, peer.id, module, rule)
            await queries.keep(db, peer.id, module, count, by)

    async def _peer(self, caller: Caller, ident: int) -> Peer:
        peer = await self._peers.get(ident)
        if peer is None or peer.tenant_id != caller.tenant_id:
            raise NotFoundError(KIND, str(ident))
        return peer


def _taken(peer: Peer) -> list[str]:
    """The modules that a partner takes when they are pushed."""
    return [one for one in MODULES if one not in peer.quirks.no_push and peer.url_of(one, "RECEIVER") is not None]


def _why_not(module: str) -> str:
    if module not in MODULES:
        return f"Must be one of {', '.join(MODULES)}"
    return f"The partner does not take {module}"
