"""Our id tokens at partners: published, told when they change, and answered about in real time.

What partners get of a token is kept as they get it (`provider_token`): a look a second at what changed makes the documents anew and notes
those that became others for every partner that takes tokens, in the same transaction. So whatever changes a token (an operator, a driver,
an agreement that is suspended, the clock) is told, and a token that is removed is told as invalid.

Real-time authorisation reads the token itself, not its document: what a partner is told is what our own stations are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.house import utc_now
from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming.outgoing import Message, note
from chargeplane.app.roaming.ports import Route
from chargeplane.domain.agreements.scope import ResolveAsk
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.own_tokens import (
    Allowed,
    AuthorizationInfo,
    LocationReferences,
    OwnToken,
    Provider,
    TokenType,
    answered,
    encoded,
    is_of,
    token_of,
)
from chargeplane.domain.roaming.records import qualified
from chargeplane.kernel.errors import NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import rfc3339
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import own_tokens as queries
from chargeplane.store.queries.own_tokens import Given, Published, TokenRow
from chargeplane.store.queries.paging import Db

log = structlog.get_logger(__name__)

MODULE: Final = "tokens"
PUT_TOKEN: Final = 36
"""Row of the table."""
_BATCH: Final = 1000
_OVERLAP: Final = timedelta(seconds=60)
_CLOCK_EVERY: Final = timedelta(seconds=60)
_MOST_WAITING: Final = 10_000
_PROVIDER_S: Final = 1.0
_MOST_PROVIDERS: Final = 10_000
_PUSHED: Final = (TokenType.RFID,)
_decode: Final = msgspec.json.Decoder(OwnToken).decode


class OwnTokens:
    """Publishes and answers.

    Args:
        agreement_required: a driver whom no agreement covers at the place is not allowed.
        told: that something is to be sent.
    """

    def __init__(
        self,
        database: Database,
        resolving: Resolving,
        *,
        agreement_required: bool = False,
        every_s: float = 1.0,
        told: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._resolving = resolving
        self._agreement_required = agreement_required
        self._told = told
        self._now = now
        self._pulse = Pulse("roaming-tokens", every_s, self.sweep)
        self._seen: dict[TenantId, tuple[int, Provider, datetime]] = {}
        self._given: list[Given] = []
        self._writing: asyncio.Task[None] | None = None
        self._providers: dict[TenantId, tuple[float, Provider | None]] = {}

    async def start(self) -> None:
        """Begins to look for changes."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that, and writes what is still to be written."""
        await self._pulse.stop()
        if self._writing is not None:
            with contextlib.suppress(Exception):
                await self._writing

    # Publishing

    async def sweep(self) -> None:
        """Looks for what changed, in all tenants that are providers."""
        async with self._database.read() as db:
            found = await queries.providers(db)
        now = self._now()
        for tenant_id, (provider, ticks) in found.items():
            seen = self._seen.get(tenant_id)
            if seen is not None and seen[:2] == (ticks, provider) and now - seen[2] < _CLOCK_EVERY:
                continue
            whole = seen is None or seen[1] != provider
            await self._look(tenant_id, provider, None if whole or seen is None else seen[2] - _OVERLAP, now)
            self._seen[tenant_id] = (ticks, provider, now)

    async def _look(self, tenant_id: TenantId, provider: Provider, since: datetime | None, now: datetime) -> None:
        after, told = 0, False
        while True:
            async with self._database.change() as db:
                rows = await queries.changed(db, tenant_id, since, now, after, _BATCH)
                new = [one for one in (self._published(provider, row, now) for row in rows) if one is not None]
                if new:
                    await queries.publish(db, tenant_id, new)
                    for one in new:
                        if one.type in _PUSHED:
                            await note(db, tenant_id, MODULE, str(one.id_token_id))
                            told = True
            if len(rows) < _BATCH:
                break
            after = rows[-1].id
        async with self._database.change() as db:
            for gone in await queries.lost(db, tenant_id, _BATCH):
                token = replace(_token(gone.document), valid=False, last_updated=rfc3339(now))
                await queries.publish(
                    db,
                    tenant_id,
                    [
                        Published(
                            gone.id_token_id, token.uid, token.contract_id, token.type.value, False, now, encoded(token)
                        )
                    ],
                )
                if token.type in _PUSHED:
                    await note(db, tenant_id, MODULE, str(gone.id_token_id))
                    told = True
        if told:
            self._told()

    def _published(self, provider: Provider, row: TokenRow, now: datetime) -> Published | None:
        token = token_of(provider, row.record, id_token_id=row.id, driver_id=row.driver_id, at=row.updated_at, now=now)
        if token is None:
            return None
        if row.known is not None:
            before = _token(row.known)
            if replace(token, last_updated=before.last_updated) == before:
                return None
            # Later than what partners have, or they would take it for an old one.
            token = replace(token, last_updated=rfc3339(now))
        at = now if row.known is not None else row.updated_at
        return Published(row.id, token.uid, token.contract_id, token.type.value, token.valid, at, encoded(token))

    async def page(
        self, peer: Peer, *, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
    ) -> tuple[int, list[bytes]]:
        """Our tokens for a partner: how many match, and a page of them."""
        if peer.own_party(PartyRole.EMSP) is None:
            return 0, []
        types = [TokenType.RFID.value, TokenType.EMAID.value] if peer.version == "2.3.0" else [TokenType.RFID.value]
        async with self._database.read() as db:
            return await queries.page(
                db, peer.tenant_id, types, date_from=date_from, date_to=date_to, offset=offset, limit=limit
            )

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The PUT that brings a partner to the newest state of a token (a `Renderer`); EMAIDs are never pushed."""
        if peer.own_party(PartyRole.EMSP) is None:
            return None
        async with self._database.read() as db:
            found = await queries.published(db, peer.tenant_id, int(key))
        if found is None or found.type not in _PUSHED:
            return None
        token = _token(found.document)
        return Message(
            row=PUT_TOKEN,
            path={"country_code": token.country_code, "party_id": token.party_id, "token_uid": token.uid},
            body=found.document,
            query={} if found.type == TokenType.RFID else {"type": found.type},
            route=Route(from_party=PartyId(token.country_code, token.party_id)),
        )

    # Real-time authorisation

    async def authorize(
        self,
        peer: Peer,
        uid: str,
        kind: str,
        references: LocationReferences | None,
        operator: PartyId | None,
    ) -> AuthorizationInfo:
        """What a partner is told about a token.

        Args:
            kind: OCPI TokenType.
            operator: who asks, where it is told; else the partner's only operator.
        Raises:
            NotFoundError: it is no token of ours.
        """
        tenant_id, now = peer.tenant_id, self._now()
        party = operator or _operator(peer)
        async with self._database.read() as db:
            found = await queries.asked_about(db, tenant_id, uid)
            fitting = [(row, count) for row, count in found if is_of(row.record.type, kind)]
            provider = await self._provider(db, tenant_id) if fitting else None
            if not fitting or provider is None:
                raise NotFoundError("token", uid)
            types = (
                await queries.evse_types(
                    db,
                    tenant_id,
                    (party.country_code.upper(), party.party_id.upper()),
                    references.location_id,
                    references.evse_uids,
                )
                # Nothing but such a rule asks what kinds of EVSE there are.
                if references is not None
                and party is not None
                and any(row.record.rules is not None and row.record.rules.allowed_evse_types for row, _ in fitting)
                else {}
            )
        # Where a value is registered under several types, an accepted one counts before others.
        row, count = min(fitting, key=lambda one: one[0].record.status.value != "Accepted")
        place = (
            None
            if references is None or party is None
            else qualified(party.country_code, party.party_id, references.location_id)
        )
        token = token_of(provider, row.record, id_token_id=row.id, driver_id=row.driver_id, at=row.updated_at, now=now)
        if token is None:
            raise NotFoundError("token", uid)
        asked = () if references is None else references.evse_uids
        allowed, evses = answered(row.record, now=now, open_count=count, place=place, asked=asked, evse_types=types)
        if allowed is Allowed.ALLOWED and self._agreement_required:
            agreed = await self._resolving.resolve(
                tenant_id,
                ResolveAsk(
                    at=now,
                    id_token=row.record.value,
                    id_token_type=row.record.type,
                    driver_id=None if row.driver_id is None else str(row.driver_id),
                    location_id=place,
                    country=None if party is None else party.country_code.upper(),
                ),
            )
            if agreed is None:
                allowed, evses = Allowed.NOT_ALLOWED, ()
        if allowed is not Allowed.ALLOWED:
            return AuthorizationInfo(allowed=allowed, token=token)
        reference = secrets.token_urlsafe(18)
        self._note(
            Given(
                reference=reference,
                tenant_id=tenant_id,
                connection_id=peer.id,
                id_token_id=row.id,
                driver_id=row.driver_id,
                location_id=place,
                allowed=allowed.value,
            )
        )
        location = None
        if references is not None:
            location = LocationReferences(location_id=references.location_id, evse_uids=evses)
        return AuthorizationInfo(allowed=allowed, token=token, location=location, authorization_reference=reference)

    async def _provider(self, db: Db, tenant_id: TenantId) -> Provider | None:
        """Who we are, as it was within the last second."""
        now = time.monotonic()
        known = self._providers.get(tenant_id)
        if known is None or known[0] < now:
            if len(self._providers) >= _MOST_PROVIDERS:
                self._providers.clear()
            known = self._providers[tenant_id] = (now + _PROVIDER_S, await queries.provider_of(db, tenant_id))
        return known[1]

    def _note(self, given: Given) -> None:
        """Written beside the answer, many at once: the reference is in the Session and the CDR with the token's uid, so that nothing
        hangs on it but the log."""
        if len(self._given) < _MOST_WAITING:
            self._given.append(given)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="roaming-given")

    async def _write(self) -> None:
        while self._given:
            some, self._given = self._given[:_BATCH], self._given[_BATCH:]
            try:
                async with self._database.change() as db:
                    await queries.note_given(db, some)
            except Exception as error:
                log.warning("authorizations_not_noted", count=len(some), error=str(error))
                if is_unavailable(error):
                    await self._database.wait_available()


def _operator(peer: Peer) -> PartyId | None:
    operators = [one.id for one in peer.parties if one.role is PartyRole.CPO]
    return operators[0] if len(operators) == 1 else None


def _token(document: bytes) -> OwnToken:
    return _decode(document)
