"""What is a driver's own among sessions, CDRs, invoices, payments, agreements and bookings: looked at, and changed, through the same use cases as
an operator's, never beyond what is the driver's. What is another's is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.app.agreements.agreements import Agreements
from chargeplane.app.agreements.views import AgreementView, DocumentView, VersionView
from chargeplane.app.api_keys import Caller
from chargeplane.app.bookings import Bookings, Change, Search, Wish
from chargeplane.app.bookings.offers import Offer
from chargeplane.app.bookings.views import BookingView
from chargeplane.app.cdrs.cdrs import Cdrs
from chargeplane.app.cdrs.explaining import Explanation
from chargeplane.app.cdrs.views import CdrView
from chargeplane.app.invoicing.invoices import InvoiceDetails, Invoices
from chargeplane.app.payments.accounts import Accounts
from chargeplane.app.payments.payments import PaymentDetails, Payments
from chargeplane.app.people.driver_tokens import DriverTokens
from chargeplane.app.people.drivers import Drivers
from chargeplane.app.sessions.sessions import Sessions
from chargeplane.app.sessions.views import SessionView
from chargeplane.domain.agreements.items import Item
from chargeplane.domain.agreements.model import (
    SIGNING,
    Acceptance,
    AgreementState,
    Billing,
    Limits,
    Notice,
    Party,
    PartyKind,
    PartyRole,
    Renewal,
)
from chargeplane.domain.agreements.states import Action
from chargeplane.domain.agreements.states import Wish as AgreementWish
from chargeplane.domain.cdrs.cdr import CdrContent
from chargeplane.domain.people.drivers import name_of
from chargeplane.kernel.errors import ForbiddenError, InvalidInputError, NotFoundError
from chargeplane.kernel.money import Money
from chargeplane.store.queries.agreements import AGREEMENT_SORTS, AgreementFilter, Stored
from chargeplane.store.queries.bookings import BookingFilter
from chargeplane.store.queries.cdrs import CdrFilter
from chargeplane.store.queries.invoices import INVOICE_SORTS, Invoice, InvoiceFilter
from chargeplane.store.queries.paging import Mark, Position
from chargeplane.store.queries.payment_accounts import AccountView, EntryView
from chargeplane.store.queries.payments import PaymentFilter, PaymentView
from chargeplane.store.queries.sessions import SessionFilter

ANSWERS: Final = (Action.ACCEPT, Action.REJECT, Action.END)
"""What a driver may do to an agreement."""

_PAGE: Final = 100


class MyAgreement(Struct, frozen=True, kw_only=True):
    """An agreement as its driver sees it.

    Args:
        role: the driver's in it.
        allowed_actions: what the driver can do to it now: accept or reject a proposal, end it with notice.
        open_amendment: the version that waits for an answer.
        hash: SHA-256 of what the parties accept.
    """

    id: str
    number: str
    name: str | None
    kind: str
    status: str
    status_reason: str | None
    currency: str
    time_zone: str
    version: int
    open_amendment: int | None
    role: PartyRole
    parties: Sequence[Party]
    items: Sequence[Item]
    starts_at: datetime | None
    ends_at: datetime | None
    accepted_at: datetime | None
    notice_days: int
    notice: Notice | None
    renewal: Renewal
    billing: Billing
    limits: Limits
    documents: Sequence[DocumentView]
    hash: str | None
    acceptances: Sequence[Acceptance]
    allowed_actions: list[Action]
    revision: int


class OwnThings:
    """Use cases of drivers about their own. Every one takes the driver as caller."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        cdrs: Cdrs,
        invoices: Invoices,
        payments: Payments,
        accounts: Accounts,
        agreements: Agreements,
        bookings: Bookings,
        drivers: Drivers,
        tokens: DriverTokens,
    ) -> None:
        self._sessions = sessions
        self._cdrs = cdrs
        self._invoices = invoices
        self._payments = payments
        self._accounts = accounts
        self._agreements = agreements
        self._bookings = bookings
        self._drivers = drivers
        self._tokens = tokens

    # Sessions and CDRs

    async def sessions(
        self, caller: Caller, wanted: SessionFilter, limit: int, after: Position | None
    ) -> list[tuple[Mark, SessionView]]:
        """The caller's sessions with their positions, the one that started last first; at most `limit`."""
        return await self._sessions.page(caller, replace(wanted, driver_id=_own(caller)), limit, after)

    async def session(self, caller: Caller, ident: int) -> SessionView:
        """A session of the caller.

        Raises:
            NotFoundError: the caller has no such session.
        """
        found = await self._sessions.one(caller, ident)
        _require(caller, found.driver_id, "session", ident)
        return found

    async def explain(self, caller: Caller, ident: int, language: str | None) -> Explanation:
        """Every line of what a session of the caller costs.

        Raises:
            NotFoundError: the caller has no such session.
        """
        await self.session(caller, ident)
        return await self._sessions.explain(caller, ident, language)

    async def cdrs(
        self, caller: Caller, wanted: CdrFilter, limit: int, after: Position | None
    ) -> list[tuple[Mark, CdrView]]:
        """The caller's CDRs with their positions, the one whose session ended last first; at most `limit`."""
        return await self._cdrs.page(caller, replace(wanted, driver_id=_own(caller)), limit, after)

    async def cdr(self, caller: Caller, ident: int) -> tuple[CdrView, CdrContent]:
        """A CDR of the caller with what it says.

        Raises:
            NotFoundError: the caller has no such CDR.
        """
        view, said = await self._cdrs.one(caller, ident)
        _require(caller, view.driver_id, "CDR", ident)
        return view, said

    # Invoices

    async def invoices(
        self, caller: Caller, wanted: InvoiceFilter, limit: int, after: Position | None
    ) -> list[Invoice]:
        """The caller's invoices that were issued, newest first; at most `limit`."""
        found: list[Invoice] = []
        sort = after.sort if after is not None else None
        while len(found) < limit:
            page = await self._invoices.page(caller, replace(wanted, driver_id=_own(caller)), _PAGE, after)
            found += [one for one in page if one.number is not None]
            if len(page) < _PAGE:
                break
            after = Position(INVOICE_SORTS.place_of(page[-1], sort), sort)
        return found[:limit]

    async def invoice(self, caller: Caller, ident: int) -> InvoiceDetails:
        """An issued invoice of the caller.

        Raises:
            NotFoundError: the caller has no such invoice.
        """
        found = await self._invoices.one(caller, ident)
        if found.invoice.driver_id != _own(caller) or found.invoice.number is None:
            raise NotFoundError("invoice", str(ident))
        return found

    async def invoice_file(self, caller: Caller, ident: int, form: str) -> tuple[Invoice, bytes]:
        """An issued invoice of the caller as a file.

        Args:
            form: `pdf`, `cii` or `ubl`.
        Raises:
            NotFoundError: the caller has no such invoice.
        """
        await self.invoice(caller, ident)
        return await self._invoices.document(caller, ident, form)

    # Payments

    async def payments(
        self, caller: Caller, wanted: PaymentFilter, limit: int, after: Position | None
    ) -> Sequence[PaymentView]:
        """The caller's payments, newest first; at most `limit`."""
        return await self._payments.page(caller, replace(wanted, driver_id=str(_own(caller))), limit, after)

    async def payment(self, caller: Caller, ident: int) -> PaymentDetails:
        """A payment of the caller.

        Raises:
            NotFoundError: the caller has no such payment.
        """
        found = await self._payments.one(caller, ident)
        _require(caller, found.payment.driver_id, "payment", ident)
        return found

    async def accounts(self, caller: Caller) -> list[AccountView]:
        """The caller's wallets and credit accounts."""
        owner = str(_own(caller))
        return [
            one for kind in ("wallet", "credit") for one in await self._accounts.page(caller, kind, owner, _PAGE, None)
        ]

    async def entries(
        self, caller: Caller, ident: int, moved: str | None, limit: int, after: Position | None
    ) -> Sequence[EntryView]:
        """What moved on a wallet or credit account of the caller, newest first; at most `limit`.

        Raises:
            NotFoundError: the caller has no such account.
        """
        account = await self._account(caller, ident)
        return await self._accounts.entries(caller, account.kind, ident, moved, limit, after)

    async def top_up(
        self, caller: Caller, ident: int, amount: Money, provider: str, return_url: str | None
    ) -> PaymentView:
        """A payment after which its amount is on the caller's wallet.

        Raises:
            NotFoundError: the caller has no such wallet, or there is no such provider.
            InvalidInputError: the amount, or a provider that brings no money.
        """
        account = await self._account(caller, ident)
        if account.kind != "wallet":
            raise NotFoundError("wallet", str(ident))
        return await self._accounts.top_up(caller, ident, amount, provider, return_url)

    async def _account(self, caller: Caller, ident: int) -> AccountView:
        for one in await self.accounts(caller):
            if one.id == str(ident):
                return one
        raise NotFoundError("account", str(ident))

    # Agreements

    async def agreements(
        self, caller: Caller, wanted: AgreementFilter, limit: int, after: Position | None
    ) -> list[tuple[Stored, MyAgreement]]:
        """Agreements that the caller is a party of, but for drafts, as they are stored and shown; at most `limit`."""
        found: list[tuple[Stored, MyAgreement]] = []
        sort = after.sort if after is not None else None
        wanted = replace(wanted, party=str(_own(caller)))
        while len(found) < limit:
            page = await self._agreements.page(caller, wanted, _PAGE, after)
            # Parties of other kinds may have the same id.
            found += [(stored, mine) for stored, one in page if (mine := _mine(caller, one)) is not None]
            if len(page) < _PAGE:
                break
            after = Position(AGREEMENT_SORTS.place_of(page[-1], sort), sort)
        return found[:limit]

    async def agreement(self, caller: Caller, ident: int) -> MyAgreement:
        """An agreement that the caller is a party of.

        Raises:
            NotFoundError: there is none such.
        """
        mine = _mine(caller, await self._agreements.one(caller, ident))
        if mine is None:
            raise NotFoundError("service agreement", str(ident))
        return mine

    async def agreement_versions(self, caller: Caller, ident: int) -> list[VersionView]:
        """The versions of an agreement that the caller is a party of, with terms and documents.

        Raises:
            NotFoundError: there is none such.
        """
        await self.agreement(caller, ident)
        return await self._agreements.versions(caller, ident)

    async def act_on_agreement(
        self,
        caller: Caller,
        ident: int,
        action: Action,
        *,
        version: int | None = None,
        reason: str | None = None,
        ends_at: datetime | None = None,
        if_revision: int | None = None,
    ) -> MyAgreement:
        """Accepts or rejects what was proposed to the caller, or gives notice.

        Args:
            version: of an amendment; None: the agreement itself.
        Raises:
            NotFoundError: the caller is a party of none such, or it has no such version.
            ForbiddenError: the caller is a party that does not sign.
            ConflictError: its state forbids it.
            StaleError: it has another revision.
        """
        mine = await self.agreement(caller, ident)
        if mine.role not in SIGNING:
            raise ForbiddenError("You are named in this agreement, but others sign it.")
        driver = await self._drivers.one(caller, caller.driver_id)
        wish = AgreementWish(
            action=action,
            by=caller.actor,
            role=mine.role,
            signed_by=name_of(driver) or driver.email,
            reason=reason,
            ends_at=ends_at,
        )
        if version is None:
            await self._agreements.act(caller, ident, wish, if_revision)
        else:
            await self._agreements.answer(caller, ident, version, wish)
        return await self.agreement(caller, ident)

    # Bookings

    async def offers(
        self, caller: Caller, search: Search, limit: int, after: Position | None
    ) -> Sequence[tuple[Mark, Offer]]:
        """EVSEs that are free for an interval, priced by the caller's agreement."""
        token = await self._tokens.app_token(caller.tenant_id, _own(caller))
        search = replace(search, id_token=token.id_token, id_token_type=token.type, driver_id=str(_own(caller)))
        return await self._bookings.offers(caller, search, limit, after)

    async def bookings(
        self, caller: Caller, wanted: BookingFilter, limit: int, after: Position | None
    ) -> list[BookingView]:
        """The caller's bookings, newest first; at most `limit`."""
        return await self._bookings.page(caller, replace(wanted, driver_id=str(_own(caller))), limit, after)

    async def booking(self, caller: Caller, ident: int) -> BookingView:
        """A booking of the caller.

        Raises:
            NotFoundError: the caller has no such booking.
        """
        found = await self._bookings.one(caller, ident)
        _require(caller, found.driver_id, "booking", ident)
        return found

    async def book(self, caller: Caller, wish: Wish, id_token_id: int | None) -> BookingView:
        """Books an EVSE for an interval.

        Args:
            id_token_id: which of the caller's id tokens comes; None: the app's.
        Raises:
            InvalidInputError: something cannot be meant, or the caller has no such id token.
            ConflictError: it is booked, or the caller has as many bookings as may be.
        """
        driver_id = _own(caller)
        if id_token_id is None:
            token = await self._tokens.app_token(caller.tenant_id, driver_id)
        else:
            own = {one.id: one for one in await self._tokens.all(caller, driver_id)}
            if str(id_token_id) not in own:
                sentence = f"You have no id token '{id_token_id}'"
                raise InvalidInputError(f"{sentence}.", (("/id_token_id", sentence),))
            token = own[str(id_token_id)]
        wish = replace(wish, id_token=token.id_token, id_token_type=token.type, driver_id=str(driver_id))
        return await self._bookings.create(caller, wish)

    async def confirm_booking(self, caller: Caller, ident: int, if_revision: int | None) -> BookingView:
        """Makes a booking of the caller that is only held one that counts.

        Raises:
            NotFoundError: the caller has no such booking.
            ConflictError: it is over.
            StaleError: it has another revision.
        """
        await self.booking(caller, ident)
        return await self._bookings.confirm(caller, ident, if_revision)

    async def change_booking(self, caller: Caller, ident: int, wanted: Change, if_revision: int | None) -> BookingView:
        """Another interval or EVSE for a booking of the caller.

        Raises:
            NotFoundError: the caller has no such booking.
            InvalidInputError: it cannot be meant.
            ConflictError: the EVSE is booked then, or the booking's state forbids it.
            StaleError: it has another revision.
        """
        await self.booking(caller, ident)
        return await self._bookings.change(caller, ident, wanted, if_revision)

    async def cancel_booking(
        self, caller: Caller, ident: int, reason: str | None, if_revision: int | None
    ) -> BookingView:
        """Gives the EVSE free, at the fee of the terms where it is later than they say.

        Raises:
            NotFoundError: the caller has no such booking.
            ConflictError: it is in use, or over.
            StaleError: it has another revision.
        """
        await self.booking(caller, ident)
        return await self._bookings.cancel(caller, ident, reason, if_revision)


def _own(caller: Caller) -> int:
    if not caller.driver_id:
        raise ForbiddenError("This is a driver's own door; an operator has others.")
    return caller.driver_id


def _require(caller: Caller, driver_id: str | None, kind: str, ident: int) -> None:
    if driver_id != str(_own(caller)):
        raise NotFoundError(kind, str(ident))


def _mine(caller: Caller, view: AgreementView) -> MyAgreement | None:
    """An agreement as its driver sees it; None where the driver is no party of it, or it is a draft."""
    own = str(_own(caller))
    role = next((one.role for one in view.parties if one.kind is PartyKind.DRIVER and one.id == own), None)
    if role is None or view.status is AgreementState.DRAFT:
        return None
    said = {
        name: getattr(view, name)
        for name in MyAgreement.__struct_fields__
        if name not in ("role", "allowed_actions", "kind", "status")
    }
    return MyAgreement(
        kind=view.kind.value,
        status=view.status.value,
        role=role,
        allowed_actions=[action for action in view.allowed_actions if action in ANSWERS],
        **said,
    )
