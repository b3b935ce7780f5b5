"""Service agreements: made, read, changed, moved through their states, amended.

Whoever reads gets the agreement as of now, whether or not the job that writes what the clock does has come. Changes by which two
agreements could tie are made one after the other in a tenant, under a lock of the database, so that two at once cannot both pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from chargeplane.app.agreements.facts import tell, tell_clock
from chargeplane.app.agreements.views import AgreementView, VersionView, shown, version_shown
from chargeplane.app.api_keys import Caller
from chargeplane.app.charging_stations import StaleError
from chargeplane.app.house import utc_now
from chargeplane.domain.agreements.checks import Wrong, wrong_frame, wrong_proposal, wrong_terms
from chargeplane.domain.agreements.clock import Happened, advance, as_of, spans, start_of
from chargeplane.domain.agreements.items import Item
from chargeplane.domain.agreements.model import (
    Agreement,
    AgreementKind,
    AgreementState,
    Billing,
    Document,
    Limits,
    Party,
    Renewal,
    ScopeEntry,
    Terms,
    Version,
    VersionState,
    with_hashes,
)
from chargeplane.domain.agreements.resolve import ties
from chargeplane.domain.agreements.scope import keys_of
from chargeplane.domain.agreements.states import (
    TOPICS,
    Action,
    Wish,
    act,
    amend,
    answer_amendment,
    refusal,
    superseded,
)
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.time import as_utc
from chargeplane.store.database import Database
from chargeplane.store.queries import agreements as queries
from chargeplane.store.queries.agreements import AgreementFilter, Stored
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position

_KIND: Final = "service agreement"
_MAY_TIE: Final = (Action.ACCEPT, Action.ACTIVATE, Action.REINSTATE, Action.RENEW)
_AT_ONCE: Final = 10_000
"""Agreements that are looked at for ties with one."""


class TermsChanges(Struct, kw_only=True):
    """What of the terms is given; UNSET stays as it is."""

    scope: tuple[ScopeEntry, ...] | UnsetType = UNSET
    items: tuple[Item, ...] | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    billing: Billing | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    notice_days: int | UnsetType = UNSET
    renewal: Renewal | UnsetType = UNSET
    documents: tuple[Document, ...] | UnsetType = UNSET


class AgreementChanges(Struct, kw_only=True):
    """What a new agreement has, or a change changes; UNSET stays as it is."""

    terms: TermsChanges
    number: str | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    kind: AgreementKind | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    parties: tuple[Party, ...] | UnsetType = UNSET
    starts_at: datetime | UnsetType | None = UNSET
    ends_at: datetime | UnsetType | None = UNSET
    supersedes: int | UnsetType | None = UNSET
    external_ids: dict[str, str] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


_FRAME: Final = (
    "number",
    "name",
    "kind",
    "currency",
    "time_zone",
    "parties",
    "starts_at",
    "ends_at",
    "supersedes",
)
_ANY_TIME: Final = frozenset({"name"})
"""What is no part of what the parties agreed on."""


class Agreements:
    """Use cases about service agreements.

    Args:
        told: called after a commit that left facts to be handed on.
    """

    def __init__(
        self, database: Database, told: Callable[[], None] = lambda: None, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._told = told
        self._now = now

    # -- reading -------------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, wanted: AgreementFilter, limit: int, after: Position | None
    ) -> list[tuple[Stored, AgreementView]]:
        """Agreements as they are stored and as of now, the newest first; at most `limit`."""
        async with self._database.read() as db:
            found = await queries.page(db, caller.tenant_id, wanted, limit, after)
        return [(one, shown(one, wanted.now)) for one in found]

    async def one(self, caller: Caller, ident: int) -> AgreementView:
        """An agreement as of now.

        Raises:
            NotFoundError: the tenant has no such agreement.
        """
        async with self._database.read() as db:
            return shown(await _found(db, caller.tenant_id, ident), self._now())

    async def versions(self, caller: Caller, ident: int) -> list[VersionView]:
        """All versions of an agreement with their terms and documents, the newest first.

        Raises:
            NotFoundError: the tenant has no such agreement.
        """
        async with self._database.read() as db:
            stored = await _found(db, caller.tenant_id, ident)
        agreement = as_of(stored.agreement, self._now())
        return [version_shown(one, agreement.version) for one in reversed(agreement.versions)]

    # -- drafts --------------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, wanted: AgreementChanges) -> AgreementView:
        """A new draft.

        Raises:
            InvalidInputError: naming each wrong field.
            ConflictError: the number is taken.
        """
        draft = Agreement(
            id=0,
            number="",
            kind=AgreementKind.DRIVER_PLAN,
            state=AgreementState.DRAFT,
            currency="",
            time_zone="UTC",
            versions=(Version(version=1, state=VersionState.DRAFT, terms=Terms()),),
        )
        now = self._now()
        stored = Stored(
            agreement=_changed(draft, wanted),
            external_ids={} if isinstance(wanted.external_ids, UnsetType) else wanted.external_ids,
            metadata={} if isinstance(wanted.metadata, UnsetType) else wanted.metadata,
            revision=1,
            created_at=now,
            created_by=caller.actor,
            updated_at=now,
            updated_by=caller.actor,
        )
        _check(stored.agreement)
        try:
            async with self._database.change() as db:
                await _check_superseded(db, caller.tenant_id, stored.agreement)
                stored = await queries.insert(db, caller.tenant_id, stored)
                view = shown(stored, now)
                await tell(db, caller.tenant_id, stored.agreement, "created", now)
                await _audit(db, caller, "create", view, None)
        except asyncpg.UniqueViolationError:
            raise _taken(stored.agreement) from None
        self._told()
        return view

    async def change(
        self, caller: Caller, ident: int, wanted: AgreementChanges, if_revision: int | None
    ) -> AgreementView:
        """The agreement after the change. Drafts change in all; later only what was not agreed on: name, external ids, metadata.

        Raises:
            NotFoundError: the tenant has no such agreement.
            StaleError: it has another revision.
            InvalidInputError: naming each wrong field.
            ConflictError: what was proposed does not change any more, or the number is taken.
        """
        now = self._now()
        after: Agreement | None = None
        try:
            async with self._database.change() as db:
                stored = await _locked(db, caller.tenant_id, ident, if_revision)
                before = shown(stored, now)
                agreement = as_of(stored.agreement, now)
                touched = [name for name in _FRAME if getattr(wanted, name) is not UNSET and name not in _ANY_TIME]
                touched += [name for name in wanted.terms.__struct_fields__ if getattr(wanted.terms, name) is not UNSET]
                if touched and agreement.state is not AgreementState.DRAFT:
                    raise ConflictError(
                        f"Agreement '{agreement.number}' is {agreement.state.value}: {', '.join(touched)} cannot be changed any"
                        " more. Allowed: name, external_ids, metadata; other terms by an amendment (POST .../amendments)."
                    )
                after = _changed(stored.agreement, wanted)
                if agreement.state is AgreementState.DRAFT:
                    _check(after)
                    await _check_superseded(db, caller.tenant_id, after)
                stored = await queries.update(
                    db,
                    caller.tenant_id,
                    stored,
                    replace(
                        stored,
                        agreement=after,
                        external_ids=stored.external_ids
                        if isinstance(wanted.external_ids, UnsetType)
                        else wanted.external_ids,
                        metadata=stored.metadata if isinstance(wanted.metadata, UnsetType) else wanted.metadata,
                        updated_by=caller.actor,
                    ),
                )
                view = shown(stored, now)
                await tell(db, caller.tenant_id, as_of(stored.agreement, now), "updated", now)
                await _audit(db, caller, "update", view, before)
        except asyncpg.UniqueViolationError:
            assert after is not None  # it was the write that failed
            raise _taken(after) from None
        self._told()
        return view

    async def remove(self, caller: Caller, ident: int) -> None:
        """Removes a draft.

        Raises:
            NotFoundError: the tenant has no such agreement.
            ConflictError: it is no draft; the sentence says what is allowed.
        """
        now = self._now()
        async with self._database.change() as db:
            stored = await _locked(db, caller.tenant_id, ident, None)
            if stored.agreement.state is not AgreementState.DRAFT:
                raise refusal(as_of(stored.agreement, now), "be deleted, only drafts can")
            await queries.delete(db, caller.tenant_id, ident)
            await tell(db, caller.tenant_id, stored.agreement, "deleted", now)
            await _audit(db, caller, "delete", None, shown(stored, now))
        self._told()

    # -- actions -------------------------------------------------------------------------------------------------------

    async def act(
        self,
        caller: Caller,
        ident: int,
        wish: Wish,
        if_revision: int | None,
    ) -> AgreementView:
        """The agreement after an action.

        Raises:
            NotFoundError: the tenant has no such agreement.
            StaleError: it has another revision.
            ConflictError: its state forbids the action, or it would tie with another agreement.
            InvalidInputError: naming the wrong field.
        """
        tenant_id = caller.tenant_id
        async with self._database.change() as db:
            if wish.action in _MAY_TIE:
                await queries.serialise(db, tenant_id)
            stored = await _locked(db, tenant_id, ident, if_revision)
            now = self._now()
            current, past = advance(stored.agreement, now)
            if wish.action is Action.PROPOSE and current.state is AgreementState.DRAFT:
                _refuse(wrong_proposal(current.kind, current.parties, current.versions[0].terms), "The draft")
            after, happened = act(current, wish, now)
            if after.state is not AgreementState.PROPOSED:
                await self._give_way(db, caller, current, after, now)
            if wish.action in _MAY_TIE:
                await _refuse_ties(db, tenant_id, after, now)
            done = after.state is not current.state or wish.action is Action.RENEW
            told = TOPICS[wish.action] if done else "updated"
            view = await self._write(db, caller, stored, after, wish, told, (past, happened), now)
        self._told()
        return view

    async def _give_way(self, db: Db, caller: Caller, before: Agreement, after: Agreement, now: datetime) -> None:
        """The agreement that this one supersedes ends where this one begins."""
        begins = after.begun_at or start_of(after)
        if after.supersedes is None or begins is None or begins == (before.begun_at or start_of(before)):
            return
        old = await queries.one(db, caller.tenant_id, after.supersedes, lock=True)
        if old is None:
            return
        current, past = advance(old.agreement, now)
        gone, happened = superseded(current, begins, now)
        if gone == current:
            return
        written = replace(old, agreement=gone, updated_by=caller.actor)
        await queries.update(db, caller.tenant_id, old, written)
        await tell_clock(db, caller.tenant_id, current, past)
        noun = "canceled" if gone.state is AgreementState.CANCELED else "ending"
        await tell(db, caller.tenant_id, gone, noun, now)
        await tell_clock(db, caller.tenant_id, gone, happened)
        await _audit(db, caller, "supersede", shown(written, now), shown(old, now))

    async def _write(
        self,
        db: Db,
        caller: Caller,
        stored: Stored,
        after: Agreement,
        wish: Wish,
        told: str,
        clock: tuple[Sequence[Happened], Sequence[Happened]],
        now: datetime,
    ) -> AgreementView:
        tenant_id = caller.tenant_id
        before = shown(stored, now)
        written = await queries.update(db, tenant_id, stored, replace(stored, agreement=after, updated_by=caller.actor))
        view = shown(written, now)
        past, happened = clock
        await tell_clock(db, tenant_id, as_of(stored.agreement, now), past)
        await tell(db, tenant_id, after, told, now)
        await tell_clock(db, tenant_id, after, happened)
        await audit(
            db,
            tenant_id,
            actor=caller.actor,
            action=wish.action.value,
            kind=_KIND,
            ident=view.id,
            reason=wish.reason,
            before=before,
            after=view,
        )
        return view

    # -- amendments ----------------------------------------------------------------------------------------------------

    async def amend(
        self, caller: Caller, ident: int, wanted: TermsChanges, effective_at: datetime | None, wish: Wish
    ) -> VersionView:
        """A new version, proposed: the terms of the last accepted one with what is given.

        Raises:
            NotFoundError: the tenant has no such agreement.
            ConflictError: its state forbids it, or another amendment waits.
            InvalidInputError: naming each wrong field.
        """
        async with self._database.change() as db:
            stored = await _locked(db, caller.tenant_id, ident, None)
            now = self._now()
            current, past = advance(stored.agreement, now)
            newest = [one for one in current.versions if one.state is VersionState.ACCEPTED]
            terms = _merged((newest[-1] if newest else current.versions[0]).terms, wanted)
            wrong = wrong_terms(terms, current.currency, current.ends_at)
            wrong += wrong_proposal(current.kind, current.parties, terms)
            _refuse(wrong, "The amendment")
            at = None if effective_at is None else as_utc(effective_at)
            after = amend(current, terms, at, wish, now)
            await self._write(db, caller, stored, after, wish, "amendment_proposed", (past, ()), now)
        self._told()
        return version_shown(after.versions[-1], after.version)

    async def answer(self, caller: Caller, ident: int, number: int, wish: Wish) -> VersionView:
        """An amendment after it was accepted, rejected or withdrawn.

        Raises:
            NotFoundError: the tenant has no such agreement.
            ConflictError: the version does not wait, or it would make the agreement tie with another.
        """
        async with self._database.change() as db:
            await queries.serialise(db, caller.tenant_id)
            stored = await _locked(db, caller.tenant_id, ident, None)
            now = self._now()
            current, past = advance(stored.agreement, now)
            after, happened = answer_amendment(current, number, wish, now)
            await _refuse_ties(db, caller.tenant_id, after, now)
            version = after.numbered(number)
            noun = "updated" if version.state is VersionState.PROPOSED else f"amendment_{version.state.value}"
            await self._write(db, caller, stored, after, wish, noun, (past, happened), now)
        self._told()
        return version_shown(version, after.version)


async def _found(db: Db, tenant_id: TenantId, ident: int) -> Stored:
    stored = await queries.one(db, tenant_id, ident)
    if stored is None:
        raise NotFoundError(_KIND, str(ident))
    return stored


async def _locked(db: Db, tenant_id: TenantId, ident: int, if_revision: int | None) -> Stored:
    stored = await queries.one(db, tenant_id, ident, lock=True)
    if stored is None:
        raise NotFoundError(_KIND, str(ident))
    if if_revision is not None and if_revision != stored.revision:
        raise StaleError(stored.agreement.number, stored.revision)
    return stored


async def _refuse_ties(db: Db, tenant_id: TenantId, agreement: Agreement, now: datetime) -> None:
    keys = {key for span in spans(agreement, now) for key in keys_of(span.version.terms, agreement.parties)}
    if not keys:
        return
    others = await queries.candidates(db, tenant_id, sorted(keys), None, _AT_ONCE)
    found = ties(agreement, [as_of(one.agreement, now) for one in others], now)
    if found:
        tie = found[0]
        until = "" if tie.until is None else f" until {tie.until:%Y-%m-%dT%H:%M:%SZ}"
        raise ConflictError(
            f"Agreement '{agreement.number}' would tie with '{tie.number}' from {tie.since:%Y-%m-%dT%H:%M:%SZ}{until}: both cover the"
            " same people at the same places, as specifically and with the same priority. Give one of them another priority, scope or"
            " period, or let it supersede the other."
        )


async def _check_superseded(db: Db, tenant_id: TenantId, agreement: Agreement) -> None:
    ident = agreement.supersedes
    if ident is not None and (ident == agreement.id or await queries.one(db, tenant_id, ident) is None):
        sentence = "Must be the id of another agreement"
        raise InvalidInputError(f"'supersedes' is wrong: {sentence}.", (("/supersedes", sentence),))


def _merged(terms: Terms, wanted: TermsChanges) -> Terms:
    given = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not UNSET}
    merged = replace(terms, **given)
    return replace(merged, documents=with_hashes(merged.documents))


def _changed(agreement: Agreement, wanted: AgreementChanges) -> Agreement:
    given = {name: value for name in _FRAME if (value := getattr(wanted, name)) is not UNSET}
    for name in ("starts_at", "ends_at"):
        if isinstance(given.get(name), datetime):
            given[name] = as_utc(given[name])
    first = agreement.versions[0]
    terms = _merged(first.terms, wanted.terms)
    if terms != first.terms:
        given["versions"] = (replace(first, terms=terms), *agreement.versions[1:])
    return replace(agreement, **given)


def _check(agreement: Agreement) -> None:
    wrong = wrong_frame(
        currency=agreement.currency,
        time_zone=agreement.time_zone,
        starts_at=agreement.starts_at,
        ends_at=agreement.ends_at,
        parties=agreement.parties,
    )
    wrong += wrong_terms(agreement.versions[0].terms, agreement.currency, agreement.ends_at)
    _refuse(wrong, "The agreement")


def _refuse(wrong: Sequence[Wrong], what: str) -> None:
    if wrong:
        pointer, sentence = wrong[0]
        raise InvalidInputError(f"{what} is not complete or not allowed: '{pointer[1:]}': {sentence}.", tuple(wrong))


def _taken(agreement: Agreement) -> ConflictError:
    return ConflictError(f"There is an agreement with the number '{agreement.number}' already.")


async def _audit(db: Db, caller: Caller, action: str, view: AgreementView | None, before: AgreementView | None) -> None:
    about = view or before
    assert about is not None  # one of them is given
    await audit(
        db, caller.tenant_id, actor=caller.actor, action=action, kind=_KIND, ident=about.id, before=before, after=view
    )
