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

from chargeplane.app.api_keys import Caller
from chargeplane.app.house import utc_now
from chargeplane.app.ledger import post
from chargeplane.domain.agreements.clock import as_of
from chargeplane.domain.agreements.model import Agreement, AgreementKind, Party, PartyKind, PartyRole, version_at
from chargeplane.domain.agreements.scope import ResolveAsk, covers_place
from chargeplane.domain.invoicing.parties import InvoicingSettings
from chargeplane.domain.invoicing.periods import cycle_end
from chargeplane.domain.settlements.booking import partner_cdr_entry, payout_entry, share_entry
from chargeplane.domain.settlements.model import SettlementKind, Statement, StatementLine, StatementLineKind
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


class NewPartnerCdr(Struct, frozen=True, kw_only=True):
    """A CDR as a partner sent it.

    Args:
        party: `DE*ABC`.
        credit: it takes another one back; amounts are given as the partner gives them, and count below nothing.
        country: where it was charged, ISO 3166-1 alpha-2.
    """

    party: str
    cdr_id: str
    started_at: datetime
    ended_at: datetime
    energy_wh: Decimal
    total_excl: Money
    total_incl: Money
    country: str
    credit: bool = False
    id_token: str | None = None


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
            await queries.mark_partner_cdrs(db, [one.id for one in theirs], made)
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
            owed = sum(
                (line.amount for line in said.lines if line.kind is not StatementLineKind.OWED_BY_PARTNER), _NOTHING
            )
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
        async with self._database.change() as db:
            found, is_new = await self.receive_within(db, caller.tenant_id, new)
            if is_new:
                await audit(
                    db, caller.tenant_id, actor=caller.actor, action="create", kind="partner CDR", ident=str(found.id)
                )
        return found

    async def receive_within(self, db: Db, tenant_id: TenantId, new: NewPartnerCdr) -> tuple[PartnerCdr, bool]:
        """The same within the caller's change; whether it is new."""
        _check(new)
        party = new.party.upper()
        sign = -1 if new.credit else 1
        chosen = None
        for ident in await queries.roaming_agreement(db, tenant_id, party):
            stored = await agreement_queries.one(db, tenant_id, ident)
            began = None if stored is None else stored.agreement.begun_at
            if stored is not None and began is not None and began <= new.ended_at:
                chosen = ident
                break
        if chosen is None:
            raise ConflictError(f"There is no roaming agreement with {party} that had begun by then: make one first.")
        net = Money(amount=sign * abs(new.total_excl.amount), currency=new.total_excl.currency).rounded()
        gross = Money(amount=sign * abs(new.total_incl.amount), currency=new.total_incl.currency).rounded()
        row = PartnerCdr(
            id=0,
            agreement_id=chosen,
            party=party,
            cdr_id=new.cdr_id,
            credit=new.credit,
            id_token=new.id_token,
            started_at=new.started_at,
            ended_at=new.ended_at,
            energy_wh=sign * abs(new.energy_wh),
            currency=gross.currency,
            total_excl=net.amount,
            total_incl=gross.amount,
            country=new.country.upper(),
            statement_id=None,
            received_at=self._now(),
        )
        made = await queries.insert_cdr(db, tenant_id, row)
        if made is not None:
            entry = partner_cdr_entry(made, party, new.cdr_id, row.country, net, gross, self._now())
            await post(db, tenant_id, entry)
        found = await queries.cdr_by_ref(db, tenant_id, party, new.cdr_id)
        assert found is not None
        if made is None and (found.total_excl, found.total_incl, found.currency, found.credit) != (
            row.total_excl,
            row.total_incl,
            row.currency,
            row.credit,
        ):
            raise ConflictError(
                f"{party} sent CDR '{new.cdr_id}' before, with other amounts; it has to credit that one."
            )
        return found, made is not None

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
        ours = await queries.cdrs_under(db, tenant_id, agreement.id, agreement.currency, agreement.begun_at, end)
        theirs = await queries.open_cdrs(db, tenant_id, agreement.id, agreement.currency, end)
        name = _party(agreement)[1]
        lines = []
        if theirs:
            gross = sum((one.total_incl for one in theirs), _NOTHING)
            net = sum((one.total_excl for one in theirs), _NOTHING)
            lines.append(
                StatementLine(
                    kind=StatementLineKind.OWED_TO_PARTNER,
                    name=name,
                    version=agreement.version,
                    sessions=sum(-1 if one.credit else 1 for one in theirs),
                    energy_kwh=sum((one.energy_wh for one in theirs), _NOTHING) / 1000,
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
        payable = sum(
            (line.amount if line.kind is StatementLineKind.OWED_TO_PARTNER else -line.amount for line in lines),
            _NOTHING,
        )
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
