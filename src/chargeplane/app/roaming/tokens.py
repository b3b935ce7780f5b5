"""Credentials tokens that we issue: made, and recognised when somebody comes with one.

Recognising is on the way of every request of every partner, so connections are kept in memory for a second; what this process changes
is forgotten at once, what another one changes holds a second later.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from typing import Final

from msgspec import Struct

from chargeplane.domain.roaming.connection import ConnectionState, Peer
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_connections as queries

_KEPT_S: Final = 1.0
_REMEMBERED: Final = 10_000
_TOKEN_BYTES: Final = 36
"""48 characters: few enough for every peer (OCPI 2.3.0 credentials: 64 at most)."""


class Recognised(Struct, frozen=True, kw_only=True):
    """Somebody who came with a token of ours.

    Args:
        kind: `invite`, which opens versions and credentials alone, `offered` or `current`.
        token: what they came with.
    """

    peer: Peer
    kind: str
    token: str

    @property
    def invited(self) -> bool:
        """Whether the token opens versions and credentials alone."""
        return self.kind == queries.INVITE


def make_token() -> str:
    """A new token: printable, without anything that some peer would quote, and no valid Base64 of another text by its look."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of(token: str) -> bytes:
    """What is stored of a token: SHA-256. The token is random, so nothing slower is needed."""
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """Recognises tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[float, Recognised | None, int]] = {}
        self._asking: dict[bytes, asyncio.Task[Recognised | None]] = {}
        self._heard: dict[int, float] = {}

    def forget(self) -> None:
        """Something was changed: look anew."""
        self._known.clear()

    async def recognise(self, candidates: list[str], *, functional: bool) -> Recognised | None:
        """Whose token it is; None where it is nobody's.

        Args:
            candidates: the texts that a header can mean.
            functional: it opens more than versions and credentials: the first such use of a token ends those before it.
        """
        now = time.monotonic()
        for text in candidates:
            hashed = hash_of(text)
            kept = self._known.get(hashed)
            if kept is None or kept[0] < now:
                found = await self._ask(hashed, text)
            else:
                found = kept[1]
            if found is not None:
                await self._used(hashed, found, functional)
                return found
        return None

    async def _ask(self, hashed: bytes, text: str) -> Recognised | None:
        task = self._asking.get(hashed)
        if task is None:
            task = asyncio.create_task(self._look(hashed, text), name="roaming token")
            self._asking[hashed] = task
            task.add_done_callback(lambda _: self._asking.pop(hashed, None))
        return await asyncio.shield(task)

    async def _look(self, hashed: bytes, text: str) -> Recognised | None:
        async with self._database.read() as db:
            token = (await queries.presented(db, [hashed])).get(hashed)
            peer = None if token is None else await queries.peer(db, token.connection_id)
        found = None
        if token is not None and peer is not None and peer.state is not ConnectionState.ENDED:
            found = Recognised(peer=peer, kind=token.kind, token=text)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        unused = 0 if token is None or (token.used and token.kind != queries.OFFERED) else token.id
        self._known[hashed] = (time.monotonic() + _KEPT_S, found, unused)
        return found

    async def _used(self, hashed: bytes, found: Recognised, functional: bool) -> None:
        kept = self._known.get(hashed)
        unused = 0 if kept is None else kept[2]
        if unused and (functional or found.kind == queries.INVITE):
            assert kept is not None
            self._known[hashed] = (kept[0], found, 0)
            async with self._database.change() as db:
                await queries.note_use(db, found.peer.id, unused, found.kind)
            if found.kind != queries.INVITE:
                self.forget()
        now = time.monotonic()
        if now - self._heard.get(found.peer.id, -1e9) > _HEARD_EVERY_S:
            self._heard[found.peer.id] = now
            async with self._database.change() as db:
                await queries.heard(db, [found.peer.id])


_HEARD_EVERY_S: Final = 10.0
