"""Statements: what a site host gets of a period; how we stand with a roaming partner. Each in one transaction with its ledger entry.

A CDR is on one statement of an agreement, which the database sees to. What is written or released late is on the next one, as are credits: so all
statements together say what all CDRs together say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.app.ledger import post
from chargeplane.app.settlements.partner_cdrs import NewPartnerCdr, keep
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.model import Agreement, AgreementKind, Party, PartyKind, PartyRole, version_at
from chargeplane.domain.agreements.scope import ResolveAsk, covers_place
from chargeplane.domain.invoicing.parties import InvoicingSettings
from chargeplane.domain.invoicing.periods import cycle_end
from chargeplane.domain.roaming.disputes import WAITING
from chargeplane.domain.settlements.booking import payout_entry, share_entry
from chargeplane.domain.settlements.model import SIGN, SettlementKind, Statement, StatementLine, StatementLineKind
from chargeplane.domain.settlements.shares import earned_of, share_lines
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.store.database import Database
from chargeplane.store.queries import agreements as agreement_queries
from chargeplane.store.queries import facts
from chargeplane.store.queries import invoices as invoice_queries
from chargeplane.store.queries import settlements_of_partners as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.settlements_of_partners import PartnerCdr, StatedCdr, StoredStatement

_KIND: Final = "partner statement"
STATEMENT_MADE: Final = "partner_statement.created"
"""Topic of facts and type of the live event."""
_SERIES: Final = "partner statements"
"""Of the numbers; no series of invoices can be called so."""
_ROAMING: Final = (AgreementKind.ROAMING_BILATERAL, AgreementKind.HUB)
_NOTHING: Final = Decimal(0)


class StatementPainter(Protocol):
    """Draws statements."""

    def statement(self, stored: StoredStatement, settings: InvoicingSettings) -> bytes:
        """A PDF."""
        ...


class StatementDetails(Struct, frozen=True, kw_only=True):
    """A statement that would be made, or was.

    Args:
        stored: None of a preview.
    """

    statement: Statement
    stored: StoredStatement | None = None


class Settlements:
    """Use cases about settling with partners.

    Args:
        now: the clock.
    """

    def __init__(
        self,
        database: Database,
        painter: StatementPainter,
        told: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._painter = painter
        self._told = told
        self._now = now

    async def page(
        self,
        caller: Caller,
        *,
        agreement_id: int | None,
        kind: SettlementKind | None,
        paid: bool | None,
        limit: int,
        after: Position | None,
    ) -> list[StoredStatement]:
        """Statements, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(
                db, caller.tenant_id, agreement_id=agreement_id, kind=kind, paid=paid, limit=limit, after=after
            )

    async def one(self, caller: Caller, ident: int) -> StoredStatement:
        """A statement.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError(_KIND, str(ident))
        return found

    async def document(self, caller: Caller, ident: int) -> tuple[StoredStatement, bytes]:
        """A statement as a PDF; made in a thread.

        Raises:
            NotFoundError: the tenant has none such.
        """
        found = await self.one(caller, ident)
        async with self._database.read() as db:
            settings, _ = await invoice_queries.settings(db, caller.tenant_id)
        return found, await asyncio.to_thread(self._painter.statement, found, settings)

    async def settle(
        self, caller: Caller, agreement_id: int, until: datetime | None, *, dry: bool = False
    ) -> StatementDetails:
        """Makes the statement of an agreement for what ended since the last one.

        Args:
            until: what ended before; None: up to the end of the agreement's last whole billing cycle, or its own end.
            dry: writes nothing.
        Raises:
            NotFoundError: the tenant has no such agreement.
            ConflictError: it is none that is settled, has not begun, or has nothing new.
            InvalidInputError: `until` is not after the last statement's end, or in the future.
        """
        tenant_id, now = caller.tenant_id, self._now()
        async with self._database.change() as db:
            await queries.serialise(db, tenant_id, agreement_id)
            agreement = await self._agreement(db, tenant_id, agreement_id, now)
            assert agreement.begun_at is not None
            before = await queries.last_end(db, tenant_id, agreement_id)
            start, end = before or agreement.begun_at, _end(agreement, until, now)
            if end > now or end <= start:
                sentence = "Must not be in the future" if end > now else f"Must be after {start.isoformat()}"
                if until is None:
                    raise ConflictError(f"Agreement {agreement_id} is settled up to {start.isoformat()} already.")
                raise InvalidInputError(f"'until': {sentence}.", (("/until", sentence),))
            if agreement.kind in _ROAMING:
                statement, ours, theirs = await self._roaming(db, tenant_id, agreement, start, end)
            else:
                statement, ours = await self._shares(db, tenant_id, agreement, start, end)
                theirs = []
            if dry:
                return StatementDetails(statement=statement)
            if not ours and not theirs:
                raise ConflictError(f"There is nothing to settle of agreement {agreement_id} in that time.")
            settings, _ = await invoice_queries.settings(db, tenant_id)
            year = now.astimezone(settings.zone).year
            running = await invoice_queries.next_number(db, tenant_id, _SERIES, year)
            number = f"PS-{year}-{running:06d}"
            made = await queries.insert(db, tenant_id, agreement_id, number, statement, caller.actor)
            await queries.mark(db, tenant_id, agreement_id, [one.id for one in ours], made)
            await queries.mark_partner_cdrs(db, agreement_id, [one.id for one in theirs], made)
            if statement.kind is SettlementKind.SITE_HOST:
                # What roaming partners get is booked with each CDR they send.
                await post(db, tenant_id, share_entry(number, made, statement, now))
            told = {"statement_id": str(made), "number": number, "agreement_id": str(agreement_id)}
            await facts.tell(db, tenant_id, STATEMENT_MADE, f"partner statement {made}", told)
            await audit(
                db,
                tenant_id,
                actor=caller.actor,
                action="create",
                kind=_KIND,
                ident=str(made),
                after={"number": number, "agreement_id": agreement_id, "until": end, "payable": statement.payable},
            )
        self._told()
        return StatementDetails(statement=statement, stored=await self.one(caller, made))

    async def pay(self, caller: Caller, ident: int, reference: str | None, paid_at: datetime | None) -> StoredStatement:
        """Notes that a statement was paid, and books it; once.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: it is paid already, or nothing is owed by it.
        """
        now = self._now()
        async with self._database.change() as db:
            found = await queries.one(db, caller.tenant_id, ident, lock=True)
            if found is None:
                raise NotFoundError(_KIND, str(ident))
            if found.paid_at is not None:
                raise ConflictError(f"Statement {found.number} was paid on {found.paid_at.date()} already.")
            said = found.statement
            owed = sum((max(SIGN[line.kind], 0) * line.amount for line in said.lines), _NOTHING)
            if not owed:
                raise ConflictError(f"Nothing is owed by statement {found.number}.")
            at = paid_at or now
            money = Money(amount=owed, currency=said.currency)
            await post(db, caller.tenant_id, payout_entry(found.number, ident, said.party, money, at))
            await queries.put_paid(db, ident, at, reference)
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="pay",
                kind=_KIND,
                ident=str(ident),
                before={"reference": None, "paid_at": None},
                after={"reference": reference, "paid_at": at, "amount": owed},
            )
        return await self.one(caller, ident)

    # CDRs of partners

    async def partner_cdrs(
        self, caller: Caller, *, party: str | None, open: bool | None, limit: int, after: Position | None
    ) -> list[PartnerCdr]:
        """CDRs that partners sent, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.cdrs_page(
                db,
                caller.tenant_id,
                party=None if party is None else party.upper(),
                open=open,
                limit=limit,
                after=after,
            )

    async def receive(self, caller: Caller, new: NewPartnerCdr) -> PartnerCdr:
        """Keeps a partner's CDR and books what we owe for it, in one transaction; a repeat changes nothing.

        Raises:
            ConflictError: another CDR of the partner has the id, or no agreement with it had begun.
            InvalidInputError: amounts or times do not fit each other.
        """
        _check(new)
        new = replace(new, total_excl=_positive(new.total_excl), total_incl=_positive(new.total_incl))
        async with self._database.change() as db:
            found, is_new = await keep(db, caller.tenant_id, new, self._now())
            if found.agreement_id is None:
                party = new.party.upper()
                raise ConflictError(
                    f"There is no roaming agreement with {party} that had begun by then: make one first."
                )
            if is_new:
                await audit(
                    db,
                    caller.tenant_id,
                    actor=caller.actor,
                    action="create",
                    kind="partner CDR",
                    ident=str(found.id),
                    after=found,
                )
        return found

    # Within

    async def _agreement(self, db: Db, tenant_id: TenantId, ident: int, now: datetime) -> Agreement:
        stored = await agreement_queries.one(db, tenant_id, ident)
        if stored is None:
            raise NotFoundError("service agreement", str(ident))
        agreement = as_of(stored.agreement, now)
        if agreement.kind is not AgreementKind.SITE_HOST and agreement.kind not in _ROAMING:
            raise ConflictError(
                f"Agreement {ident} is a {agreement.kind.value}: site hosts and roaming partners are settled with, others invoiced."
            )
        if agreement.begun_at is None:
            raise ConflictError(f"Agreement {ident} has not begun: there is nothing to settle.")
        return agreement

    async def _shares(
        self, db: Db, tenant_id: TenantId, agreement: Agreement, start: datetime, end: datetime
    ) -> tuple[Statement, list[StatedCdr]]:
        assert agreement.begun_at is not None
        found = await queries.cdrs_at(db, tenant_id, agreement.id, agreement.currency, agreement.begun_at, end)
        by_version: dict[int, list[StatedCdr]] = {}
        for cdr in found:
            if agreement.ends_at is not None and cdr.ended_at >= agreement.ends_at:
                continue
            version = version_at(agreement, cdr.ended_at)
            ask = ResolveAsk(
                at=cdr.ended_at,
                evse_uid=cdr.evse_uid,
                station_id=cdr.station_id,
                location_id=cdr.location_id,
                country=cdr.country,
            )
            if covers_place(version.terms, ask):
                by_version.setdefault(version.version, []).append(cdr)
        lines: list[StatementLine] = []
        for numbered, cdrs in sorted(by_version.items()):
            earned = earned_of(numbered, ((one.credit, one.energy_wh, one.net) for one in cdrs))
            lines += share_lines(agreement.numbered(numbered).terms.items, earned, agreement.currency)
        ours = [cdr for cdrs in by_version.values() for cdr in cdrs]
        payable = sum((line.amount for line in lines), _NOTHING)
        return _statement(SettlementKind.SITE_HOST, agreement, start, end, lines, ours, payable), ours

    async def _roaming(
        self, db: Db, tenant_id: TenantId, agreement: Agreement, start: datetime, end: datetime
    ) -> tuple[Statement, list[StatedCdr], list[PartnerCdr]]:
        assert agreement.begun_at is not None
        party = _party(agreement)[0]
        await queries.serialise_party(db, tenant_id, party)
        ours = await queries.cdrs_under(db, tenant_id, agreement.id, agreement.currency, agreement.begun_at, end, party)
        parties = [one.id.upper() for one in agreement.parties if one.kind is PartyKind.OCPI_PARTY and one.id]
        came = await queries.open_cdrs(
            db, tenant_id, agreement.id, parties, agreement.currency, agreement.begun_at, end
        )
        # What is disputed waits until it is known whether it stands; then it is on the next statement, with its credit or without.
        theirs = [one for one in came if one.dispute not in WAITING]
        disputed = [one for one in came if one.dispute in WAITING]
        name = _party(agreement)[1]
        lines = []
        for kind, cdrs in ((StatementLineKind.OWED_TO_PARTNER, theirs), (StatementLineKind.DISPUTED, disputed)):
            if not cdrs:
                continue
            gross = sum((one.total_incl for one in cdrs), _NOTHING)
            net = sum((one.total_excl for one in cdrs), _NOTHING)
            lines.append(
                StatementLine(
                    kind=kind,
                    name=name,
                    version=agreement.version,
                    sessions=sum(-1 if one.credit else 1 for one in cdrs),
                    energy_kwh=sum((one.energy_wh for one in cdrs), _NOTHING) / 1000,
                    amount=gross,
                    revenue=net,
                    tax=gross - net,
                )
            )
        if ours:
            gross, net = sum((one.gross for one in ours), _NOTHING), sum((one.net for one in ours), _NOTHING)
            lines.append(
                StatementLine(
                    kind=StatementLineKind.OWED_BY_PARTNER,
                    name=name,
                    version=agreement.version,
                    sessions=sum(-1 if one.credit else 1 for one in ours),
                    energy_kwh=sum((one.energy_wh for one in ours), _NOTHING) / 1000,
                    amount=gross,
                    revenue=net,
                    tax=gross - net,
                )
            )
        payable = sum((SIGN[line.kind] * line.amount for line in lines), _NOTHING)
        return _statement(SettlementKind.ROAMING, agreement, start, end, lines, ours, payable), ours, theirs


def _statement(
    kind: SettlementKind,
    agreement: Agreement,
    start: datetime,
    end: datetime,
    lines: list[StatementLine],
    cdrs: list[StatedCdr],
    payable: Decimal,
) -> Statement:
    party, name = _party(agreement)
    return Statement(
        kind=kind,
        agreement=agreement.number,
        party=party,
        name=name,
        currency=agreement.currency,
        time_zone=agreement.time_zone,
        period_start=start,
        period_end=end,
        lines=tuple(lines),
        sessions=sum(-1 if one.credit else 1 for one in cdrs),
        energy_kwh=sum((one.energy_wh for one in cdrs), _NOTHING) / 1000,
        payable=payable,
        late=sum(1 for one in cdrs if one.ended_at < start),
    )


def _end(agreement: Agreement, until: datetime | None, now: datetime) -> datetime:
    if until is not None:
        return until
    if agreement.ends_at is not None and agreement.ends_at <= now:
        return now  # the last statement has everything
    cycle = version_at(agreement, now).terms.billing.cycle
    return cycle_end(cycle, now, ZoneInfo(agreement.time_zone))


def _party(agreement: Agreement) -> tuple[str, str]:
    """Whose account it is on, and what the party is called: an OCPI party by its id, others by kind and id."""
    roles: dict[PartyRole, Party] = {}
    for party in agreement.parties:
        if party.kind is not PartyKind.HOUSE:
            roles.setdefault(party.role, party)
    chosen = roles.get(PartyRole.SITE_OWNER) or roles.get(PartyRole.CONSUMER) or roles.get(PartyRole.PROVIDER)
    if chosen is None or chosen.id is None:
        return f"agreement:{agreement.id}", agreement.name or f"Agreement {agreement.number}"
    ident = chosen.id.upper() if chosen.kind is PartyKind.OCPI_PARTY else f"{chosen.kind.value}:{chosen.id}"
    return ident, chosen.name or chosen.id


def _positive(money: Money) -> Money:
    return Money(amount=abs(money.amount), currency=money.currency)


def _check(new: NewPartnerCdr) -> None:
    faults = []
    if new.ended_at < new.started_at:
        faults.append(("/ended_at", "Must not be before started_at"))
    if new.total_excl.currency != new.total_incl.currency:
        faults.append(("/total_incl/currency", "Must be the currency of total_excl"))
    elif abs(new.total_incl.amount) < abs(new.total_excl.amount):
        faults.append(("/total_incl/amount", "Must not be less than total_excl"))
    if faults:
        raise InvalidInputError(f"'{faults[0][0].strip('/')}': {faults[0][1]}.", tuple(faults))
