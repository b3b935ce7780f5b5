"""Payment terminals: those of partners at our EVSEs, and ours at partners' (OCPI 2.3.0 mod_payments).

A terminal is its provider's. As operator we keep what the provider told and, beside it, what we say of it: where it stands, whom its
invoices name. Both together are the terminal; what we say is sent until the provider took it. Where a terminal stands, one can pay by
card: the EVSEs' ways to pay follow it, and lose again what it added when it leaves.

As provider we keep terminals as records: which there are, for which operator, and what the operator said of them. No hardware is touched.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.locations.locations import EvseWanted
from chargeplane.app.pulse import Pulse
from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.outgoing import Message
from chargeplane.app.roaming.ports import Caller as Partners
from chargeplane.domain.locations.model import EvseContent, PaymentMethod
from chargeplane.domain.roaming.connection import PartyRole, Peer
from chargeplane.domain.roaming.replicas import Outcome, fields_of, merged, stamped
from chargeplane.domain.roaming.terminals import (
    BEFORE,
    WAYS,
    TerminalStatus,
    only_assigns,
    put,
    terminal_said,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import EPOCH, as_utc, rfc3339
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import roaming_operator
from chargeplane.store.queries import terminals as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.locations import EvseView
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.terminals import TerminalFilter, TerminalRow

log = structlog.get_logger(__name__)

MODULE: Final = "payments"
"""Of what partners are told about terminals and captures."""
TERMINAL_KEY: Final = "terminal"
OWN_KEY: Final = "own-terminal"
CONFIRMATION_KEY: Final = "confirmation"

PUT_TERMINAL: Final = 59
PATCH_TERMINAL: Final = 60
ACTIVATE: Final = 61
DEACTIVATE: Final = 62
POST_TERMINAL: Final = 66
POST_CONFIRMATION: Final = 68
"""Rows of the table of endpoints."""

TOPICS: Final = ("evse.created", "evse.updated")
"""Facts that are heard."""


class _Changed(Struct):
    id: str


_changed = msgspec.json.Decoder(_Changed).decode
_KIND: Final = "payment terminal"
_MOST: Final = 50
_LOCATIONS: Final = frozenset({"locations:read", "locations:write"})


class Peers(Protocol):
    """Who the partners are."""

    async def get(self, ident: int) -> Peer | None:
        """A connection."""
        ...


class Evses(Protocol):
    """Our EVSEs."""

    async def evse(self, caller: Caller, uid: str) -> EvseView:
        """One."""
        ...

    async def replace_evse(
        self, caller: Caller, uid: str, wanted: EvseWanted, if_revision: int | None, location_id: str | None = None
    ) -> EvseView:
        """Another description of one."""
        ...


class TerminalChanges(Struct, frozen=True, kw_only=True):
    """What is said of a terminal.

    Args:
        fields: of an OCPI Terminal, by name; None takes one away.
        ways: how one can pay there; None leaves it.
    """

    fields: Mapping[str, Any]
    ways: tuple[PaymentMethod, ...] | None = None


class Activated(Struct, frozen=True, kw_only=True):
    """That a provider took an activation.

    Args:
        terminal: where it told it at once; else it comes by itself.
    """

    terminal: TerminalRow | None


def is_provider(peer: Peer) -> bool:
    """Whether a partner provides payment terminals: by its role, or (2.3.0's enumeration of roles has none for it) by its module."""
    roles = {one.role for one in peer.parties}
    return (
        PartyRole.PTP in roles
        or peer.is_hub
        or (PartyRole.OTHER in roles and peer.url_of(MODULE, "SENDER") is not None)
    )


class Terminals:
    """Use cases about them.

    Args:
        wake: called after something was noted for partners.
    """

    def __init__(
        self,
        database: Database,
        partners: Partners,
        peers: Peers,
        evses: Evses,
        events: EventFeed,
        *,
        wake: Callable[[], None] = lambda: None,
        every_s: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._partners = partners
        self._peers = peers
        self._evses = evses
        self._events = events
        self._wake = wake
        self._now = now
        self._pulse = Pulse("roaming terminals", every_s, self.follow)

    async def start(self) -> None:
        """Begins to bring EVSEs to their terminals."""
        self._pulse.start()

    async def stop(self) -> None:
        """Ends that."""
        await self._pulse.stop()

    # -- as operator: what providers tell ------------------------------------------------------------------------------

    async def receive(self, peer: Peer, document: bytes, *, posted: bool = False) -> Outcome:
        """A provider tells a terminal: a new one, or one that changed. The same again changes nothing.

        Args:
            posted: not read from its list: one that we let go of works for us again, if it is newer.
        Raises:
            InvalidInputError: the partner provides none, it is for somebody else, or at places that we don't have.
        """
        if not is_provider(peer):
            raise InvalidInputError("No party of yours has the role PTP: it has no terminals.", (("", "no provider"),))
        said = terminal_said(document)
        if said.terminal_id is None:
            raise InvalidInputError("'terminal_id' is missing.", (("/terminal_id", "Required and not there"),))
        self._for_us(peer, said.country_code, said.party_id)
        at = said.updated if said.updated > EPOCH else _truncated(self._now())
        async with self._database.change() as db:
            before = await queries.received(db, peer.id, said.terminal_id, lock=True)
            await self._places_of_ours(db, peer.tenant_id, said.location_ids, said.evse_uids)
            if before is None:
                told = stamped(document, at)
                key = await queries.insert(
                    db,
                    peer.tenant_id,
                    own=False,
                    connection_id=peer.id,
                    terminal_id=said.terminal_id,
                    status=TerminalStatus.ACTIVE,
                    told=told,
                    ways=WAYS,
                    at=at,
                )
                outcome = Outcome.UNCHANGED if key is None else Outcome.CREATED
            else:
                outcome = await self._told_again(db, before, document, said.updated, posted)
        if outcome in (Outcome.CREATED, Outcome.UPDATED):
            self._events.publish(
                "payment_terminal.updated",
                peer.tenant_id,
                None,
                {"terminal_id": said.terminal_id, "partner_id": str(peer.id), "status": TerminalStatus.ACTIVE.value},
            )
        return outcome

    async def _told_again(self, db: Db, before: TerminalRow, document: bytes, at: datetime, posted: bool) -> Outcome:
        told_at = terminal_said(before.told).updated
        if EPOCH < at < told_at:
            return Outcome.LATE
        told = stamped(document, at if at > EPOCH else told_at)
        again = posted and before.status is not TerminalStatus.ACTIVE and at > told_at
        if fields_of(told) == fields_of(before.told) and not again:
            return Outcome.UNCHANGED
        status = TerminalStatus.ACTIVE if again else before.status
        await queries.save(db, replace(before, told=told, status=status, last_updated=max(before.last_updated, at)))
        return Outcome.UPDATED

    def _for_us(self, peer: Peer, country_code: str | None, party_id: str | None) -> None:
        """That a terminal is for a party of ours, where it names one (OCPI 2.3.0: in place of the customer reference)."""
        if country_code is None or party_id is None:
            return
        key = f"{country_code}{party_id}".upper()
        if not any(one.id.key == key for one in peer.own):
            sentence = f"'{country_code}*{party_id}' is no party of ours"
            raise InvalidInputError(f"{sentence}.", (("/party_id", sentence),))

    async def _places_of_ours(
        self, db: Db, tenant_id: TenantId, location_ids: Sequence[str], evse_uids: Sequence[str]
    ) -> None:
        locations, evses = await queries.unknown_places(db, tenant_id, location_ids, evse_uids)
        wrong = [(f"/location_ids/{place}", f"There is no location '{location_ids[place]}'") for place in locations]
        wrong += [(f"/evse_uids/{place}", f"There is no EVSE '{evse_uids[place]}'") for place in evses]
        if wrong:
            raise InvalidInputError(f"{wrong[0][1]}.", tuple(sorted(wrong)[:20]))

    async def document(self, peer: Peer, terminal_id: str, *, own: bool) -> bytes | None:
        """A terminal as the partner may read it: one of its own, or one of ours that is for it."""
        async with self._database.read() as db:
            if not own:
                found = await queries.received(db, peer.id, terminal_id)
                return None if found is None else found.document
            row = await queries.own(db, peer.tenant_id, terminal_id)
        return row.document if row is not None and _theirs(row, peer) else None

    # -- as provider: what operators ask -------------------------------------------------------------------------------

    async def listed(
        self, peer: Peer, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
    ) -> tuple[int, list[bytes]]:
        """Our terminals that are for an operator: (how many match, documents)."""
        async with self._database.read() as db:
            return await queries.listed(db, peer.id, date_from, date_to, offset, limit)

    async def put(self, peer: Peer, terminal_id: str, document: bytes) -> None:
        """An operator says anew what it is to a terminal.

        Raises:
            NotFoundError: none such is for this operator.
        """
        await self._by_operator(peer, terminal_id, lambda row, at: put(row.told, document, at), document)

    async def patch(self, peer: Peer, terminal_id: str, document: bytes) -> None:
        """Fields of that. The rest is as at `put`."""
        await self._by_operator(
            peer, terminal_id, lambda row, at: put(row.told, merged(row.told, document), at), document
        )

    async def _by_operator(
        self, peer: Peer, terminal_id: str, change: Callable[[TerminalRow, datetime], bytes], document: bytes
    ) -> None:
        said_at = terminal_said(document).updated
        async with self._database.change() as db:
            row = await queries.own(db, peer.tenant_id, terminal_id, lock=True)
            if row is None or not _theirs(row, peer):
                raise NotFoundError(_KIND, terminal_id[:60])
            at = _truncated(self._now()) if said_at <= EPOCH else said_at
            if at < terminal_said(row.told).updated:
                return  # late: what we have is newer
            told = change(row, at)
            terminal_said(told)
            if fields_of(told) != fields_of(row.told):
                await queries.save(db, replace(row, told=told, last_updated=at))

    async def activate_for(self, peer: Peer, document: bytes) -> bytes:
        """An operator names a terminal of ours that is to work for it: by its id, or by what is printed on it. The operator is told the
        terminal (POST), again if it was told before.

        Raises:
            InvalidInputError: there is none such that is free.
        """
        said = terminal_said(document)
        async with self._database.change() as db:
            row = None
            if said.terminal_id is not None:
                row = await queries.own(db, peer.tenant_id, said.terminal_id, lock=True)
            if row is None and said.reference is not None:
                row = await queries.own_by_reference(db, peer.tenant_id, said.reference)
            if row is None or (row.connection_id is not None and row.connection_id != peer.id):
                field = "terminal_id" if said.reference is None else "reference"
                sentence = "There is no terminal of this id or reference that is yours to activate"
                raise InvalidInputError(f"{sentence}.", ((f"/{field}", sentence),))
            at = _truncated(self._now())
            told = put(row.told, merged(row.told, document), at)
            changed = replace(row, told=told, connection_id=peer.id, status=TerminalStatus.ACTIVE, last_updated=at)
            await queries.save(db, changed)
            await self._note(db, peer.tenant_id, f"{OWN_KEY}:{row.key}", peer.id)
        self._wake()
        return changed.document

    async def deactivate_for(self, peer: Peer, terminal_id: str) -> None:
        """An operator lets go of a terminal of ours; a repeat changes nothing.

        Raises:
            NotFoundError: none such is for this operator.
        """
        async with self._database.change() as db:
            row = await queries.own(db, peer.tenant_id, terminal_id, lock=True)
            if row is None or not _theirs(row, peer):
                raise NotFoundError(_KIND, terminal_id[:60])
            if row.status is not TerminalStatus.DEACTIVATED:
                at = _truncated(self._now())
                told = stamped(row.told, at)
                await queries.save(db, replace(row, status=TerminalStatus.DEACTIVATED, told=told, last_updated=at))

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, wanted: TerminalFilter, limit: int, after: Position | None
    ) -> list[TerminalRow]:
        """Terminals of ours and of partners, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, key: int) -> TerminalRow:
        """A terminal.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.terminal(db, caller.tenant_id, key)
        if found is None:
            raise NotFoundError(_KIND, str(key))
        return found

    async def add(
        self, caller: Caller, terminal_id: str | None, fields: Mapping[str, Any], connection_id: int | None
    ) -> TerminalRow:
        """A terminal of ours; with an operator, that one is told of it.

        Args:
            terminal_id: None: one is made.
            connection_id: the operator whom it is for; None: for none yet.
        Raises:
            ConflictError: no party of ours provides terminals, or there is one of this id.
            InvalidInputError: there is no such partner, or it is no operator.
        """
        ident = terminal_id or secrets.token_hex(16)
        at = _truncated(self._now())
        document = _written({"terminal_id": ident, **fields}, at)
        if connection_id is not None:
            await self._operator(caller.tenant_id, connection_id)
        async with self._database.change() as db:
            if not await roaming_operator.has_role(db, caller.tenant_id, PartyRole.PTP.value):
                raise ConflictError("No party of ours has the role PTP: terminals are of those that provide them.")
            key = await queries.insert(
                db,
                caller.tenant_id,
                own=True,
                connection_id=connection_id,
                terminal_id=ident,
                status=TerminalStatus.STORED if connection_id is None else TerminalStatus.ACTIVE,
                told=document,
                ways=(),
                at=at,
            )
            if key is None:
                raise ConflictError(f"There is a terminal '{ident}' already.")
            if connection_id is not None:
                await self._note(db, caller.tenant_id, f"{OWN_KEY}:{key}", connection_id)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind=_KIND,
                ident=str(key),
                after=dict(fields),
            )
        self._wake()
        return await self.one(caller, key)

    async def change(
        self,
        caller: Caller,
        key: int,
        changes: TerminalChanges,
        if_revision: int | None,
        *,
        connection_id: int | None = None,
    ) -> TerminalRow:
        """Says something of a terminal: of a partner's where it stands, of ours anything.

        Args:
            connection_id: of ours: the operator whom it is for from now on; None leaves it.
        Raises:
            NotFoundError: the tenant has none such.
            InvalidInputError: it is to stand at places that we don't have.
            ConflictError: it has another revision, or is another operator's.
        """
        if connection_id is not None:
            await self._operator(caller.tenant_id, connection_id)
        async with self._database.change() as db:
            row = await queries.terminal(db, caller.tenant_id, key, lock=True)
            if row is None:
                raise NotFoundError(_KIND, str(key))
            if if_revision is not None and if_revision != row.revision:
                raise StaleError(row.terminal_id, row.revision)
            at = max(_truncated(self._now()), row.last_updated + timedelta(milliseconds=1))
            if row.own:
                changed = self._own_changed(row, changes, at, connection_id)
                if changed.connection_id is not None and changed.connection_id != row.connection_id:
                    await self._note(db, caller.tenant_id, f"{OWN_KEY}:{key}", changed.connection_id)
            else:
                if connection_id is not None:
                    raise ConflictError("The terminal is a partner's: it is for us.")
                changed = await self._said(db, row, changes, at)
            await queries.save(db, changed)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="update",
                kind=_KIND,
                ident=str(key),
                before=msgspec.json.decode(row.document),
                after=msgspec.json.decode(changed.document),
            )
        self._wake()
        return await self.one(caller, key)

    def _own_changed(
        self, row: TerminalRow, changes: TerminalChanges, at: datetime, connection_id: int | None
    ) -> TerminalRow:
        other = connection_id is not None and row.connection_id not in (None, connection_id)
        if other and row.status is TerminalStatus.ACTIVE:
            raise ConflictError("The terminal works for another operator: deactivate it first.")
        told = stamped(merged(row.told, msgspec.json.encode(dict(changes.fields))), at)
        status = TerminalStatus.ACTIVE if connection_id is not None else row.status
        return replace(row, told=told, last_updated=at, status=status, connection_id=connection_id or row.connection_id)

    async def _said(self, db: Db, row: TerminalRow, changes: TerminalChanges, at: datetime) -> TerminalRow:
        if row.status is not TerminalStatus.ACTIVE:
            raise ConflictError("The terminal is deactivated: activate it first.")
        fields: dict[str, Any] = {
            **msgspec.json.decode(row.said),
            **{name: value for name, value in changes.fields.items() if value is not None},
        }
        for name, value in changes.fields.items():
            if value is None:
                fields.pop(name, None)
        await self._places_of_ours(db, row.tenant_id, fields.get("location_ids", ()), fields.get("evse_uids", ()))
        if changes.fields and row.connection_id is not None:
            await self._note(db, row.tenant_id, f"{TERMINAL_KEY}:{row.key}", row.connection_id)
        ways = row.ways if changes.ways is None else changes.ways
        return replace(row, said=msgspec.json.encode(fields), ways=ways, last_updated=at)

    async def activate(self, caller: Caller, connection_id: int, fields: Mapping[str, Any]) -> Activated:
        """Asks a provider to have a terminal work for us; it tells us the terminal then, now or later.

        Raises:
            InvalidInputError: there is no such partner, it provides none, or we don't have a place that is named.
            ConflictError: it refused, or gave no answer.
        """
        peer = await self._peers.get(connection_id)
        if peer is None or peer.tenant_id != caller.tenant_id or not is_provider(peer):
            sentence = "There is no partner of this id that provides payment terminals"
            raise InvalidInputError(f"{sentence}.", (("/partner_id", sentence),))
        async with self._database.read() as db:
            await self._places_of_ours(
                db, caller.tenant_id, fields.get("location_ids", ()), fields.get("evse_uids", ())
            )
        outcome = await self._partners.call(peer, ACTIVATE, body=_written(fields, _truncated(self._now())))
        if not outcome.ok:
            raise ConflictError(outcome.sentence or f"'{peer.name}' did not take the activation.")
        async with self._database.change() as db:
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="activate",
                kind=_KIND,
                ident=str(fields.get("terminal_id") or fields.get("reference") or ""),
                after={"partner_id": connection_id, **fields},
            )
        if outcome.data is None or terminal_said(outcome.data).terminal_id is None:
            return Activated(terminal=None)
        await self.receive(peer, outcome.data, posted=True)
        async with self._database.read() as db:
            found = await queries.received(db, peer.id, terminal_said(outcome.data).terminal_id or "")
        return Activated(terminal=found)

    async def deactivate(self, caller: Caller, key: int) -> TerminalRow:
        """Lets go of a terminal: a partner's provider is asked to; one of ours works for nobody then.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is deactivated, or its provider did not take it.
        """
        row = await self.one(caller, key)
        if row.status is TerminalStatus.DEACTIVATED:
            raise ConflictError("The terminal is deactivated already.")
        if not row.own:
            peer = None if row.connection_id is None else await self._peers.get(row.connection_id)
            if peer is None:
                raise ConflictError("Its provider is no partner any more.")
            outcome = await self._partners.call(peer, DEACTIVATE, {"terminal_id": row.terminal_id})
            if not outcome.ok:
                raise ConflictError(outcome.sentence or f"'{peer.name}' did not deactivate it.")
        async with self._database.change() as db:
            fresh = await queries.terminal(db, caller.tenant_id, key, lock=True)
            assert fresh is not None
            at = max(_truncated(self._now()), fresh.last_updated)
            told = stamped(fresh.told, at) if fresh.own else fresh.told
            await queries.save(db, replace(fresh, status=TerminalStatus.DEACTIVATED, told=told, last_updated=at))
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="deactivate",
                kind=_KIND,
                ident=str(key),
                before={"status": fresh.status.value},
                after={"status": TerminalStatus.DEACTIVATED.value},
            )
        return await self.one(caller, key)

    async def _operator(self, tenant_id: TenantId, connection_id: int) -> Peer:
        peer = await self._peers.get(connection_id)
        if peer is None or peer.tenant_id != tenant_id or not any(one.role is PartyRole.CPO for one in peer.parties):
            sentence = "There is no operator of this id among the partners"
            raise InvalidInputError(f"{sentence}.", (("/partner_id", sentence),))
        return peer

    async def _note(self, db: Db, tenant_id: TenantId, key: str, connection_id: int) -> None:
        await outgoing.note(db, tenant_id, MODULE, key, connections=[connection_id])

    # -- ways to pay ---------------------------------------------------------------------------------------------------

    async def changed(self, fact: Fact) -> None:
        """An EVSE came or changed (a fact of `TOPICS`): the terminals of its location hold there too."""
        uid = _changed(fact.payload).id
        async with self._database.change() as db:
            await queries.look_again(db, TenantId(fact.tenant_id), uid)

    async def follow(self) -> None:
        """Brings EVSEs to what their terminals say."""
        async with self._database.read() as db:
            due = await queries.ways_due(db, _MOST)
        for tenant_id, key, wanted in due:
            try:
                await self._bring(tenant_id, key, wanted)
            except ConflictError as error:  # somebody describes the EVSE now: later again
                log.info("terminal_ways_later", terminal=key, because=str(error))
            except Exception as error:  # one terminal holds up no other
                if is_unavailable(error):
                    raise
                log.exception("terminal_ways_failed", terminal=key)

    async def _bring(self, tenant_id: TenantId, key: int, tick: int) -> None:
        caller = Caller(key_id=0, tenant_id=tenant_id, name="roaming terminals", scopes=_LOCATIONS)
        async with self._database.read() as db:
            row = await queries.terminal(db, tenant_id, key)
            served = [] if row is None else await queries.served(db, row)
        if row is None:
            return
        wanted = served if row.status is TerminalStatus.ACTIVE else []
        added = dict(row.added)
        done: int | None = None
        try:
            for uid in sorted(added.keys() - set(wanted)):
                await self._take_away(caller, uid, added[uid])
                del added[uid]
            for uid in wanted:
                gone = [one for one in added.get(uid, ()) if one in WAYS and one not in row.ways]
                if gone:
                    await self._take_away(caller, uid, gone)
                    added[uid] = [one for one in added[uid] if one not in gone]
                new = await self._give(caller, uid, row.ways)
                if new:
                    added[uid] = [*added.get(uid, ()), *new]
            done = tick
        finally:
            async with self._database.change() as db:
                await queries.ways_told(db, key, added, done)

    async def _give(self, caller: Caller, uid: str, ways: Sequence[PaymentMethod]) -> list[PaymentMethod]:
        view = await self._evses.evse(caller, uid)
        new = [one for one in ways if one not in view.payment_methods]
        if new and not view.payment_methods:
            new = [*(one for one in BEFORE if one not in new), *new]
        if new:
            await self._describe(caller, view, (*view.payment_methods, *new))
        return new

    async def _take_away(self, caller: Caller, uid: str, ways: Sequence[PaymentMethod]) -> None:
        try:
            view = await self._evses.evse(caller, uid)
            left = tuple(one for one in view.payment_methods if one not in ways)
            if left != tuple(view.payment_methods):
                # Other terminals there say again what they give.
                await self._describe(caller, view, left)
        except NotFoundError:
            return  # it was removed

    async def _describe(self, caller: Caller, view: EvseView, methods: tuple[PaymentMethod, ...]) -> None:
        said = {name: getattr(view, name) for name in EvseContent.__struct_fields__}
        content = EvseContent(**{**said, "payment_methods": methods})
        wanted = EvseWanted(content=content, station_id=view.station_id, ocpp_evse_id=view.ocpp_evse_id)
        await self._evses.replace_evse(caller, view.uid, wanted, view.revision)

    # -- what partners are told ----------------------------------------------------------------------------------------

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        """The message that brings a partner to the newest state of a terminal or confirmation (a `Renderer` of outgoing)."""
        kind, _, number = key.partition(":")
        async with self._database.read() as db:
            if kind == CONFIRMATION_KEY:
                told = await queries.confirmation(db, peer.tenant_id, int(number))
                return None if told is None else Message(row=POST_CONFIRMATION, body=told.document)
            row = await queries.terminal(db, peer.tenant_id, int(number))
        if row is None or row.connection_id != peer.id:
            return None
        if kind == OWN_KEY:
            active = row.status is TerminalStatus.ACTIVE
            return Message(row=POST_TERMINAL, body=row.document) if active else None
        path = {"terminal_id": row.terminal_id}
        if row.status is not TerminalStatus.ACTIVE or row.said == b"{}":
            return None
        if only_assigns(row.said) and not peer.quirks.no_patch:
            return Message(row=PATCH_TERMINAL, path=path, body=stamped(row.said, row.last_updated))
        return Message(row=PUT_TERMINAL, path=path, body=row.document)


def _theirs(row: TerminalRow, peer: Peer) -> bool:
    return row.connection_id == peer.id and row.status is not TerminalStatus.STORED


def _written(fields: Mapping[str, Any], at: datetime) -> bytes:
    said = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({**said, "last_updated": rfc3339(at)})


def _truncated(at: datetime) -> datetime:
    return as_utc(at).replace(microsecond=at.microsecond // 1000 * 1000)
