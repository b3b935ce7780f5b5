"""What was captured at payment terminals: told by providers about our sessions, and by us about theirs (OCPI 2.3.0 mod_payments, Transaction).

A session that a provider's command began with an ad hoc token is paid at its terminal: it has a payment of the kind `terminal` from its
start, priced as for anybody. Its CDR says what is to be taken, the provider's confirmations together what was. Both are joined to the payment
in whichever order they come, so the ledger has the money once; where they differ, a person is told.

What a payment has only grows. So a confirmation that is corrected to less, or failed after all, counts as given back: what is left is what
the confirmations say now.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.payments.carrying import Carrying
from chargeplane.app.payments.providers import TERMINAL
from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.terminals import CONFIRMATION_KEY, MODULE, Peers, is_provider
from chargeplane.app.sessions.ports import AtTerminal
from chargeplane.domain.alerts import Severity
from chargeplane.domain.cdrs.session import CdrPlace, RoamingDriver
from chargeplane.domain.payments.states import NOTHING, Ended, Goal, Payment, Seen
from chargeplane.domain.roaming.connection import PartyRole, Peer
from chargeplane.domain.roaming.replicas import Outcome, same
from chargeplane.domain.roaming.terminals import (
    AD_HOC,
    CaptureStatus,
    ConfirmationSaid,
    InvoiceCreator,
    Verdict,
    confirmation_said,
    difference,
    verdict,
)
from chargeplane.domain.tariffs.model import Tariff
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from chargeplane.kernel.money import Money
from chargeplane.kernel.time import as_utc, rfc3339
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import payments as payment_queries
from chargeplane.store.queries import roaming_operator
from chargeplane.store.queries import terminals as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.paging import Db, Position
from chargeplane.store.queries.session_transactions import SessionTransaction
from chargeplane.store.queries.terminals import (
    ConfirmationFilter,
    ConfirmationRow,
    NewConfirmation,
    TerminalSession,
)

_KIND: Final = "financial advice confirmation"
_PROVIDING: Final = frozenset({PartyRole.PTP, PartyRole.OTHER})
_LONGEST: Final = 200
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class NewCapture(Struct, frozen=True, kw_only=True):
    """What was captured at a terminal of ours.

    Args:
        reference: of the session, as the command that began it had it.
        taxes: as OCPI's Price has them: (name, amount, percentage).
        eft_data: what invoices must show of the payment, line by line.
    """

    confirmation_id: str | None
    connection_id: int
    reference: str
    total_excl: Money
    taxes: tuple[tuple[str, Decimal, Decimal | None], ...]
    eft_data: tuple[str, ...]
    status: CaptureStatus
    message: str | None


class _CdrFact(Struct, frozen=True, kw_only=True):
    session_id: str


_cdr_fact = msgspec.json.Decoder(_CdrFact).decode


def judged(row: ConfirmationRow) -> tuple[Verdict, Decimal | None]:
    """How a confirmation stands to what its session costs, and how much more was captured of that in all."""
    failed = row.capture_status == CaptureStatus.FAILED
    amount = row.taken if row.currency == row.owed_currency else None
    if amount is None:
        amount = NOTHING if failed else row.total_incl
    captured = Money(amount=amount, currency=row.currency)
    owed = None
    if row.owed is not None and row.owed_currency is not None:
        owed = Money(amount=row.owed, currency=row.owed_currency)
    return verdict(row.capture_status, captured, owed), difference(captured, owed)


class Confirmations:
    """Use cases about them; implements `TerminalPayers` of the sessions.

    Args:
        wake: called after something was noted for partners.
    """

    def __init__(
        self,
        database: Database,
        peers: Peers,
        carrying: Carrying,
        alerts: Alerts,
        events: EventFeed,
        *,
        wake: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._peers = peers
        self._carrying = carrying
        self._alerts = alerts
        self._events = events
        self._wake = wake
        self._now = now

    # -- sessions ------------------------------------------------------------------------------------------------------

    async def at_terminal(self, driver: RoamingDriver, place: CdrPlace) -> AtTerminal | None:
        """Whether a partner's driver pays at the partner's terminal, and whether we make the invoice."""
        if driver.type.upper() != AD_HOC or driver.authorization_reference is None:
            return None
        peer = await self._peers.get(driver.connection_id)
        key = f"{driver.country_code}{driver.party_id}".upper()
        if (
            peer is None
            or not is_provider(peer)
            or not (peer.is_hub or any(one.role in _PROVIDING and one.id.key == key for one in peer.parties))
        ):
            return None
        async with self._database.read() as db:
            who = await queries.invoice_creator(db, peer.tenant_id, peer.id, place.evse_uid, place.id)
        return AtTerminal(ours_to_invoice=who == InvoiceCreator.CPO)

    async def begun(self, transaction: SessionTransaction, driver: RoamingDriver, tariff: Tariff) -> int:
        """The payment of a session that is paid at a terminal; the same at a repeat. What its provider told before is joined to it."""
        reference = driver.authorization_reference or ""
        session_id = int(transaction.id)
        async with self._database.change() as db:
            known = await queries.session(db, session_id)
            if known is not None:
                return known.payment_id
            hold = Money(amount=tariff.preauthorize_amount or NOTHING, currency=tariff.currency).rounded().amount
            ident = await payment_queries.insert(
                db,
                transaction.tenant_id,
                provider=TERMINAL,
                kind=TERMINAL,
                purpose=TERMINAL,
                key=f"{TERMINAL}-session-{session_id}",
                currency=tariff.currency,
                payment=Payment(hold=hold, ref=f"{driver.connection_id}:{reference}:{session_id}", authorized=hold),
                session_id=session_id,
                description=f"Terminal of {driver.country_code}*{driver.party_id}, {reference}"[:_LONGEST],
                method=TERMINAL,
                by=f"partner {driver.country_code}*{driver.party_id}",
            )
            if ident is None:
                raise ConflictError(f"Session {session_id} has another payment at a terminal.")
            made = TerminalSession(
                session_id=session_id,
                tenant_id=transaction.tenant_id,
                connection_id=driver.connection_id,
                reference=reference,
                payment_id=ident,
            )
            await queries.put_session(db, made)
            for row in await queries.confirmations(
                db,
                transaction.tenant_id,
                ConfirmationFilter(own=False, connection_id=driver.connection_id, reference=reference),
                20,
                None,
            ):
                if row.session_id is None:
                    await queries.bind_confirmation(db, row.key, session_id)
                    await self._join(db, ident, session_id, confirmation_said(row.document))
        return ident

    async def settled(self, fact: Fact) -> None:
        """A CDR was written or released: what the session's CDRs say together is what the terminal is to take."""
        session_id = int(_cdr_fact(fact.payload).session_id)
        async with self._database.change() as db:
            known = await queries.session(db, session_id)
            if known is None:
                return
            total = await payment_queries.billed(db, known.tenant_id, session_id)
            stored = await payment_queries.locked(db, known.payment_id)
            if total is None or stored is None:
                return
            wanted = max(Money(amount=total, currency=stored.currency).rounded().amount, NOTHING)
            if stored.payment.to_capture != wanted:
                payment = replace(stored.payment, goal=Goal.CAPTURE, to_capture=wanted)
                await self._carrying.write(db, stored, payment, next_at=None)
            for row in await queries.confirmations_of_session(db, session_id):
                await self._judge(db, row)
        self._carrying.on_fact()

    # -- as operator: what providers tell ------------------------------------------------------------------------------

    async def receive(self, peer: Peer, document: bytes) -> Outcome:
        """A provider tells what it captured. The same again changes nothing; a newer one takes its place.

        Raises:
            InvalidInputError: the partner provides no terminals, or another one of the same id and time was told.
        """
        if not is_provider(peer):
            raise InvalidInputError("No party of yours has the role PTP: it captures nothing.", (("", "no provider"),))
        said = confirmation_said(document)
        at = as_utc(said.last_updated)
        async with self._database.change() as db:
            await db.execute("SELECT pg_advisory_xact_lock(hashtextextended($2, $1))", peer.id, said.id.lower())
            before = await queries.confirmation_of(db, peer.id, said.id, own=False, lock=True)
            if before is not None:
                if same(before.document, document):
                    return Outcome.UNCHANGED
                if at < before.last_updated:
                    return Outcome.LATE
                if at == before.last_updated:
                    sentence = f"'{said.id}' is known with other contents of the same time"
                    raise InvalidInputError(f"{sentence}.", (("/last_updated", sentence),))
            found = await queries.session_by_reference(db, peer.id, said.authorization_reference)
            key = await queries.put_confirmation(
                db,
                peer.tenant_id,
                _new(said, document, peer.id, own=False, session_id=None if found is None else found.session_id),
                None if before is None else before.key,
            )
            if found is not None:
                await self._join(db, found.payment_id, found.session_id, said)
            if (
                before is not None
                and before.payment_id is not None
                and before.session_id is not None
                and (found is None or found.session_id != before.session_id)
            ):
                await self._join(db, before.payment_id, before.session_id, None)  # it is of another session now
            row = await queries.confirmation(db, peer.tenant_id, key)
            assert row is not None
            await self._judge(db, row)
            if row.session_id is not None:
                for other in await queries.confirmations_of_session(db, row.session_id):
                    if other.key != key and other.resolved_at is None:
                        await self._judge(db, other)
        self._carrying.on_fact()
        self._show(row)
        return Outcome.CREATED if before is None else Outcome.UPDATED

    async def _join(self, db: Db, payment_id: int, session_id: int, said: ConfirmationSaid | None) -> None:
        """Has a session's payment say what its confirmations say together.

        Args:
            said: the one that was written just now; None where one went to another session.
        """
        stored = await payment_queries.locked(db, payment_id)
        if stored is None:
            return
        known = stored.payment
        taken = await queries.taken(db, session_id, stored.currency)
        more = taken - (known.captured - known.refunded)
        told = Seen(
            authorized=taken,
            captured=known.captured + max(more, NOTHING),
            refunded=known.refunded + max(-more, NOTHING),
        )
        if (
            said is not None and said.currency == stored.currency
        ):  # else a person has to look: nothing of it can be counted
            failed = said.capture_status_code == CaptureStatus.FAILED
            told = replace(
                told,
                ended=None if taken > NOTHING else Ended.FAILED if failed else Ended.VOIDED,
                error=(said.capture_status_message or "capture_failed")[:_LONGEST] if failed else None,
                method=", ".join(said.eft_data)[:_LONGEST] or None,
            )
        elif not more:
            return
        await self._carrying.told(db, payment_id, told)

    async def _judge(self, db: Db, row: ConfirmationRow) -> None:
        """Raises an alert where a person has to look, and ends it where nobody has to any more."""
        found, more = judged(row)
        ident = f"confirmation {row.key}"
        if found in (Verdict.WAITING, Verdict.AGREES):
            await self._alerts.clear(db, row.tenant_id, None, kind="terminal_payment", because=found.value, ident=ident)
            return
        sentence = (
            f"The terminal's capture '{row.confirmation_id}' of session {row.session_id or 'unknown'} failed."
            if found is Verdict.FAILED
            else f"The terminal's capture '{row.confirmation_id}' of session {row.session_id} differs from its CDRs."
        )
        await self._alerts.raise_alert(
            db,
            row.tenant_id,
            None,
            kind="terminal_payment",
            severity=Severity.WARNING,
            title=sentence,
            ident=ident,
            details={
                "confirmation_id": str(row.key),
                "session_id": None if row.session_id is None else str(row.session_id),
                "captured": str(row.total_incl),
                "owed": None if row.owed is None else str(row.owed),
                "difference": None if more is None else str(more),
                "currency": row.currency,
            },
        )

    async def document(self, peer: Peer, confirmation_id: str, *, own: bool) -> bytes | None:
        """A confirmation as the partner may read it."""
        async with self._database.read() as db:
            found = await queries.confirmation_of(db, peer.id, confirmation_id, own=own)
        return None if found is None else found.document

    async def listed(
        self, peer: Peer, date_from: datetime | None, date_to: datetime | None, offset: int, limit: int
    ) -> tuple[int, list[bytes]]:
        """Our confirmations that are for an operator: (how many match, documents)."""
        async with self._database.read() as db:
            return await queries.confirmations_listed(db, peer.id, date_from, date_to, offset, limit)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def page(
        self, caller: Caller, wanted: ConfirmationFilter, limit: int, after: Position | None
    ) -> Sequence[ConfirmationRow]:
        """Confirmations of ours and of partners, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.confirmations(db, caller.tenant_id, wanted, limit, after)

    async def one(self, caller: Caller, key: int) -> ConfirmationRow:
        """A confirmation.

        Raises:
            NotFoundError: the tenant has none such.
        """
        async with self._database.read() as db:
            found = await queries.confirmation(db, caller.tenant_id, key)
        if found is None:
            raise NotFoundError(_KIND, str(key))
        return found

    async def tell(self, caller: Caller, new: NewCapture) -> ConfirmationRow:
        """Tells an operator what was captured at a terminal of ours; one of the same id takes its place (a capture that succeeded later).

        Raises:
            ConflictError: no party of ours provides terminals, or the id is of another operator's.
            InvalidInputError: there is no such partner.
        """
        peer = await self._peers.get(new.connection_id)
        if (
            peer is None
            or peer.tenant_id != caller.tenant_id
            or not any(one.role is PartyRole.CPO for one in peer.parties)
        ):
            sentence = "There is no operator of this id among the partners"
            raise InvalidInputError(f"{sentence}.", (("/partner_id", sentence),))
        ident = new.confirmation_id or secrets.token_hex(16)
        at = _truncated(self._now())
        document = _encode(_written(ident, new, at))
        said = confirmation_said(document)
        async with self._database.change() as db:
            if not await roaming_operator.has_role(db, caller.tenant_id, PartyRole.PTP.value):
                raise ConflictError("No party of ours has the role PTP: captures are told by who provides terminals.")
            await db.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($2, $1))",
                caller.tenant_id,
                f"confirmation {ident.lower()}",
            )
            before = await queries.own_confirmation(db, caller.tenant_id, ident)
            if before is not None and before.connection_id != new.connection_id:
                raise ConflictError(f"The confirmation '{ident}' was told to another operator.")
            key = await queries.put_confirmation(
                db,
                caller.tenant_id,
                _new(said, document, peer.id, own=True),
                None if before is None else before.key,
            )
            await outgoing.note(db, caller.tenant_id, MODULE, f"{CONFIRMATION_KEY}:{key}", connections=[peer.id])
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create" if before is None else "update",
                kind=_KIND,
                ident=str(key),
                before=None if before is None else msgspec.json.decode(before.document),
                after=msgspec.json.decode(document),
            )
        self._wake()
        return await self.one(caller, key)

    async def resolve(self, caller: Caller, key: int, resolution: str) -> ConfirmationRow:
        """A person has looked at what differs.

        Raises:
            NotFoundError: the tenant has none such.
            ConflictError: there is nothing to look at.
        """
        async with self._database.change() as db:
            row = await queries.confirmation(db, caller.tenant_id, key, lock=True)
            if row is None:
                raise NotFoundError(_KIND, str(key))
            if row.own or judged(row)[0] in (Verdict.AGREES, Verdict.WAITING) or row.resolved_at is not None:
                raise ConflictError(
                    "There is nothing to resolve: it agrees, waits for its session, or is resolved already."
                )
            await queries.resolve(db, key, self._now(), caller.actor, resolution)
            await self._alerts.clear(
                db, row.tenant_id, None, kind="terminal_payment", because=resolution[:200], ident=f"confirmation {key}"
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="resolve",
                kind=_KIND,
                ident=str(key),
                reason=resolution,
                before={"resolution": None, "verdict": judged(row)[0].value},
                after={"resolution": resolution, "verdict": judged(row)[0].value},
            )
        return await self.one(caller, key)

    def _show(self, row: ConfirmationRow) -> None:
        self._events.publish(
            "terminal_payment.told",
            row.tenant_id,
            None,
            {
                "id": str(row.key),
                "session_id": None if row.session_id is None else str(row.session_id),
                "capture_status": row.capture_status,
                "verdict": judged(row)[0].value,
            },
        )


def _new(
    said: ConfirmationSaid, document: bytes, connection_id: int, *, own: bool, session_id: int | None = None
) -> NewConfirmation:
    cost = said.total_costs.cost
    return NewConfirmation(
        own=own,
        connection_id=connection_id,
        confirmation_id=said.id,
        reference=said.authorization_reference,
        capture_status=said.capture_status_code,
        currency=said.currency,
        total_excl=Money(amount=cost.excl, currency=said.currency).rounded().amount,
        total_incl=Money(amount=cost.incl, currency=said.currency).rounded().amount,
        document=document,
        last_updated=as_utc(said.last_updated),
        session_id=session_id,
    )


def _written(ident: str, new: NewCapture, at: datetime) -> Mapping[str, Any]:
    taxes = [
        {"name": name, "amount": amount, **({} if percentage is None else {"percentage": percentage})}
        for name, amount, percentage in new.taxes
    ]
    price: dict[str, Any] = {"before_taxes": new.total_excl.amount}
    if taxes:
        price["taxes"] = taxes
    document: dict[str, Any] = {
        "id": ident,
        "authorization_reference": new.reference,
        "total_costs": price,
        "currency": new.total_excl.currency,
        "eft_data": list(new.eft_data),
        "capture_status_code": new.status.value,
        "last_updated": rfc3339(at),
    }
    if new.message is not None:
        document["capture_status_message"] = new.message
    return document


def _truncated(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
