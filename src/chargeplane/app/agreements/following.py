"""What follows from agreements: the clock is written, and id tokens are held to what their agreements allow.

A hold is written to the row of the id token, beside what the operator set (`store/held.py`): so stations are answered as ever, from memory,
and the batch that writes a decision proves that the row is unchanged. Nothing is asked of agreements when a station asks.

Holds follow from facts: of an agreement, when its change was committed; of a transaction, when one began or ended with a token of a tenant
that has limits. Both are heard a moment later, so a limit of sessions over several id tokens may be passed by those that begin in that
moment; with one id token it is the row's own limit, which is exact. Agreements with limits are also looked at in turn, for
what nobody told: a month that began, energy that flows.

Who decides holds a lock of the tenant, so that an older decision never overwrites a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.agreements.covering import covered_by, people_by_token
from chargeplane.app.agreements.facts import tell_clock
from chargeplane.app.agreements.ports import Drivers, NoDrivers
from chargeplane.app.events import EventFeed
from chargeplane.app.facts import announced_in
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.domain.agreements.clock import advance, as_of, month_of
from chargeplane.domain.agreements.holds import Room, hold_of
from chargeplane.domain.agreements.model import Agreement, AgreementState
from chargeplane.domain.agreements.scope import Who as WhoLevel
from chargeplane.domain.agreements.scope import covers_person, who_key
from chargeplane.kernel.ids import TenantId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import agreement_holds as holds
from chargeplane.store.queries import agreement_limits, id_tokens
from chargeplane.store.queries import agreements as queries
from chargeplane.store.queries.agreement_holds import CoveredToken
from chargeplane.store.queries.authorization import note_change
from chargeplane.store.queries.paging import Db

_TOKENS: Final = 500
"""Id tokens in one transaction of the database."""
_DUE: Final = 200
_LOOKED_AT: Final = 100
"""Agreements with limits that a beat looks at."""
_GOVERNING: Final = 5_000
_SESSIONS: Final = ("transaction.started", "transaction.ended", "transaction.reopened", "transaction.amended")

log = structlog.get_logger(__name__)


class _Session(Struct, frozen=True):
    id: str


_session: Final = msgspec.json.Decoder(_Session).decode


class Following:
    """Writes what the clock does, and keeps id tokens to their agreements.

    Args:
        jobs: whether this process runs the clock and hears of transactions.
        told: called after a commit that left facts to be handed on.
        every_s: between two looks at the clock.
    """

    def __init__(
        self,
        database: Database,
        events: EventFeed,
        *,
        jobs: bool = True,
        drivers: Drivers | None = None,
        told: Callable[[], None] = lambda: None,
        every_s: float = 5.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._events = events
        self._jobs = jobs
        self.drivers: Drivers = drivers or NoDrivers()
        self._told = told
        self._now = now
        self._pulse = Pulse("agreements", every_s, self.beat)
        self._limited_tenants: set[TenantId] = set()
        self._looked_at = 0
        self._heard: set[int] = set()
        self._busy = False

    async def start(self) -> None:
        """Begins."""
        if not self._jobs:
            return
        async with self._database.read() as db:
            self._limited_tenants = await holds.tenants_with_limits(db)
        self._events.listeners.append(self._hear)
        self._pulse.start()

    async def stop(self) -> None:
        """Ends."""
        if self._hear in self._events.listeners:
            self._events.listeners.remove(self._hear)
        await self._pulse.stop()

    # -- the clock -----------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Writes what the clock did since, and looks at some of the agreements with limits."""
        now = self._now()
        async with self._database.read() as db:
            due = await queries.due(db, now, _DUE)
            self._limited_tenants = await holds.tenants_with_limits(db)
            limited = await holds.limited(db, self._looked_at, _LOOKED_AT)
        for tenant_id, ident in due:
            await self._tick(tenant_id, ident, now)
        if due:
            self._told()
        self._looked_at = limited[-1][1] if len(limited) == _LOOKED_AT else 0
        for tenant_id, ident in limited:
            await self.settle(tenant_id, ident)

    async def _tick(self, tenant_id: TenantId, ident: int, now: datetime) -> None:
        async with self._database.change() as db:
            stored = await queries.locked_if_free(db, tenant_id, ident)
            if stored is None:
                return
            after, happened = advance(stored.agreement, now)
            await queries.update(db, tenant_id, stored, replace(stored, agreement=after), revision=False)
            await tell_clock(db, tenant_id, after, happened)
        log.info(
            "agreement_clock", agreement=ident, state=after.state.value, happened=[one.what.value for one in happened]
        )

    # -- facts ---------------------------------------------------------------------------------------------------------

    async def follow(self, fact: Fact) -> None:
        """Something happened to an agreement: its id tokens are looked at, then it is shown to whoever watches."""
        tenant_id = TenantId(fact.tenant_id)
        await self.settle(tenant_id, int(fact.key.partition(":")[2]))
        self._events.show_fact(fact)

    def _hear(self, tenant_id: TenantId, publication: bytes) -> None:
        """Transactions began or ended somewhere."""
        if tenant_id not in self._limited_tenants:
            return
        self._heard.update(int(_session(one.payload).id) for one in announced_in(publication) if one.topic in _SESSIONS)
        if self._heard and not self._busy:
            self._busy = True
            self._pulse.spawn(self._settle_heard())

    async def _settle_heard(self) -> None:
        try:
            while self._heard:
                heard, self._heard = self._heard, set()
                async with self._database.read() as db:
                    tokens = await holds.tokens_of_transactions(db, heard)
                for tenant_id, key in tokens:
                    await self._settle_limited(tenant_id, key)
        finally:
            self._busy = False

    async def _settle_limited(self, tenant_id: TenantId, token_key: str) -> None:
        """A token was used: the agreements with limits that cover it are looked at, with all their tokens."""
        async with self._database.read() as db:
            tokens = await holds.covered(
                db, tenant_id, token_keys=[token_key], groups=[], ids=[], held_by=None, after=0, most=_TOKENS
            )
            keys = {
                key
                for people in (await people_by_token(db, tenant_id, tokens, self.drivers)).values()
                for key in people
            }
            keys.add(who_key(WhoLevel.ID_TOKEN, token_key))
            found = await queries.candidates(db, tenant_id, sorted(keys), None, _GOVERNING)
        for one in found:
            agreement = as_of(one.agreement, self._now())
            if _limited(agreement) and agreement.state in (AgreementState.ACTIVE, AgreementState.ENDING):
                await self.settle(tenant_id, agreement.id)

    # -- holds ---------------------------------------------------------------------------------------------------------

    async def settle(self, tenant_id: TenantId, ident: int) -> None:
        """Decides anew what the id tokens of an agreement are held to: those it covers, and those it holds."""
        after = 0
        while True:
            async with self._database.change() as db:
                await holds.serialise(db, tenant_id)
                stored = await queries.one(db, tenant_id, ident)
                agreement = None if stored is None else as_of(stored.agreement, self._now())
                covered = None if agreement is None else await covered_by(db, tenant_id, agreement, self.drivers)
                tokens = await holds.covered(
                    db,
                    tenant_id,
                    token_keys=() if covered is None else covered.token_keys,
                    groups=() if covered is None else covered.groups,
                    ids=() if covered is None else covered.ids,
                    held_by=ident,
                    after=after,
                    most=_TOKENS,
                )
                changed = await self._hold(db, tenant_id, tokens)
            if changed:
                self._told()
            if len(tokens) < _TOKENS:
                return
            after = tokens[-1].id

    async def begin(self, db: Db, tenant_id: TenantId) -> bool:
        """To be called first in a change of an id token: whether agreements have a say in it; then nobody else decides until the
        transaction ends."""
        if not await holds.uses_agreements(db, tenant_id):
            return False
        await holds.serialise(db, tenant_id)
        return True

    async def settle_token(self, db: Db, tenant_id: TenantId, ident: int) -> None:
        """Decides what a changed id token is held to, after `begin`."""
        tokens = await holds.covered(
            db, tenant_id, token_keys=(), groups=(), ids=(ident,), held_by=None, after=0, most=1
        )
        await self._hold(db, tenant_id, tokens)

    async def settle_tokens(self, tenant_id: TenantId, idents: Sequence[int]) -> None:
        """Decides what id tokens are held to: for whoever made them, or gave them to a driver, in a transaction that is committed."""
        for first in range(0, len(idents), _TOKENS):
            async with self._database.change() as db:
                if not await self.begin(db, tenant_id):
                    return
                tokens = await holds.covered(
                    db,
                    tenant_id,
                    token_keys=(),
                    groups=(),
                    ids=idents[first : first + _TOKENS],
                    held_by=None,
                    after=0,
                    most=_TOKENS,
                )
                changed = await self._hold(db, tenant_id, tokens)
            if changed:
                self._told()

    async def _hold(self, db: Db, tenant_id: TenantId, tokens: Sequence[CoveredToken]) -> bool:
        if not tokens:
            return False
        now = self._now()
        people = await people_by_token(db, tenant_id, tokens, self.drivers)
        keys = sorted({key for one in people.values() for key in one})
        found = await queries.candidates(db, tenant_id, keys, None, _GOVERNING)
        agreements = [as_of(one.agreement, now) for one in found]
        rooms = {one.id: await self._room(db, tenant_id, one, now) for one in agreements}
        changes = []
        for token in tokens:
            standing = [
                (one, rooms[one.id])
                for one in agreements
                if covers_person(one.numbered(one.version).terms, one.parties, people[token.id])
            ]
            hold = hold_of(standing, open_count=token.open_count)
            if hold != token.held:
                changes.append((token, hold))
        if not changes:
            return False
        lost = [token for token, hold in changes if hold is not None and hold.status is not None]
        before = [await id_tokens.one(db, tenant_id, token.id) for token in lost]
        await holds.hold(db, tenant_id, [(token.id, hold) for token, hold in changes])
        for view in before:
            if view is not None:
                await note_change(db, tenant_id, view)
        return True

    async def _room(self, db: Db, tenant_id: TenantId, agreement: Agreement, now: datetime) -> Room:
        limits = agreement.numbered(agreement.version).terms.limits
        if not _limited(agreement) or agreement.state not in (AgreementState.ACTIVE, AgreementState.ENDING):
            return Room()
        covered = await covered_by(db, tenant_id, agreement, self.drivers)
        month, _ = month_of(now, agreement.time_zone)
        used = await holds.used(
            db,
            tenant_id,
            token_keys=covered.token_keys,
            groups=covered.groups,
            ids=covered.ids,
            since=max(month, agreement.begun_at or month),
        )
        sessions, kwh, credit = limits.concurrent_sessions, limits.kwh_per_month, limits.credit
        left = None
        if credit is not None:
            left = credit.amount - await agreement_limits.owed(db, tenant_id, agreement.id, credit.currency, None)
        return Room(
            credit=left,
            sessions=None if sessions is None else sessions - used.open_count,
            wh=None if kwh is None else kwh * 1000 - used.energy_wh,
        )


def _limited(agreement: Agreement) -> bool:
    limits = agreement.numbered(agreement.version).terms.limits
    return any(one is not None for one in (limits.kwh_per_month, limits.concurrent_sessions, limits.credit))
