"""/v1/roaming/terminals and /v1/roaming/financial-advice-confirmations: payment terminals and what was captured there."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Caller, Scope
from chargeplane.app.roaming.asking import At
from chargeplane.app.roaming.confirmations import NewCapture, judged
from chargeplane.app.roaming.terminals import TerminalChanges
from chargeplane.domain.locations.model import PaymentMethod
from chargeplane.domain.roaming.asking import CommandState
from chargeplane.domain.roaming.terminals import (
    WAYS,
    CaptureStatus,
    InvoiceCreator,
    TerminalStatus,
    Verdict,
    confirmation_said,
)
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import ConflictError, InvalidInputError
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.queries.terminals import (
    CONFIRMATION_SORTS,
    TERMINAL_SORTS,
    ConfirmationFilter,
    ConfirmationRow,
    TerminalFilter,
    TerminalRow,
)

_TERMINAL = "payment terminal"
_CONFIRMATION = "financial advice confirmation"
_PARTNER = "roaming partner"

Ident36 = Annotated[str, Meta(min_length=1, max_length=36)]
PartnerId = Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
Places = Annotated[list[Ident36], Meta(max_length=1000)]
_MOST = Decimal(1_000_000)
CurrencyCode = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Url = Annotated[str, Meta(min_length=1, max_length=255, pattern="^https?://")]
Degrees = Annotated[str, Meta(pattern=r"^-?[0-9]{1,3}\.[0-9]{5,7}$")]
Resolution = Annotated[str, Meta(min_length=1, max_length=500)]
WaitS = Annotated[float, QueryParameter(ge=0, le=60, description="Seconds to wait for the station's result.")]


class Coordinates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Decimal degrees."""

    latitude: Degrees
    longitude: Degrees


class TerminalFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said of a terminal (OCPI 2.3.0 Terminal); what is left out is not said, or stays.

    Args:
        customer_reference: links it to who operates the stations; or `country_code` and `party_id` do.
        state: of the country, where that matters.
        country: ISO 3166-1 alpha-3.
        invoice_base_url: with the session's authorization reference behind it, where drivers find the invoice.
        invoice_creator: CPO: the operator makes it; PTP: the terminal's provider does.
        reference: how its provider knows the thing itself, as by its serial number.
        location_ids, evse_uids: where it stands; with both, at all of them.
    """

    customer_reference: Ident36 | UnsetType | None = UNSET
    country_code: Annotated[str, Meta(pattern="^[A-Za-z]{2}$")] | UnsetType | None = UNSET
    party_id: Annotated[str, Meta(pattern="^[A-Za-z0-9]{3}$")] | UnsetType | None = UNSET
    address: Annotated[str, Meta(min_length=1, max_length=45)] | UnsetType | None = UNSET
    city: Annotated[str, Meta(min_length=1, max_length=45)] | UnsetType | None = UNSET
    postal_code: Annotated[str, Meta(min_length=1, max_length=10)] | UnsetType | None = UNSET
    state: Annotated[str, Meta(min_length=1, max_length=20)] | UnsetType | None = UNSET
    country: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | UnsetType | None = UNSET
    coordinates: Coordinates | UnsetType | None = UNSET
    invoice_base_url: Url | UnsetType | None = UNSET
    invoice_creator: InvoiceCreator | UnsetType | None = UNSET
    reference: Ident36 | UnsetType | None = UNSET
    location_ids: Places | UnsetType = UNSET
    evse_uids: Places | UnsetType = UNSET


class NewTerminal(TerminalFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A terminal of ours.

    Args:
        terminal_id: null: one is made.
        partner_id: the operator whom it is for; null: for none yet.
    """

    terminal_id: Ident36 | None = None
    partner_id: PartnerId | None = None


class TerminalPatch(TerminalFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be otherwise.

    Args:
        ways_to_pay: of a partner's: how one can pay there, which its EVSEs say from then on.
        partner_id: of ours: the operator whom it is for.
    """

    ways_to_pay: Annotated[list[PaymentMethod], Meta(min_length=1, max_length=3)] | None = None
    partner_id: PartnerId | None = None


class Activation(TerminalFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A terminal that is to work for us: its provider finds it by its id or reference.

    Args:
        partner_id: its provider.
    """

    partner_id: PartnerId
    terminal_id: Ident36 | None = None


class TerminalView(Struct, frozen=True, kw_only=True):
    """A payment terminal.

    Args:
        own: we are its provider; else the partner is.
        status: stored (for no operator yet), active, deactivated.
        ways_to_pay: that its EVSEs have by it; of a partner's.
    """

    id: str
    own: bool
    partner_id: str | None
    terminal_id: str
    status: TerminalStatus
    customer_reference: str | None
    country_code: str | None
    party_id: str | None
    address: str | None
    city: str | None
    postal_code: str | None
    state: str | None
    country: str | None
    coordinates: Coordinates | None
    invoice_base_url: str | None
    invoice_creator: str | None
    reference: str | None
    location_ids: list[str]
    evse_uids: list[str]
    ways_to_pay: list[PaymentMethod]
    revision: int
    created_at: datetime
    last_updated: datetime


class ActivatedView(Struct, frozen=True, kw_only=True):
    """That a provider took an activation.

    Args:
        terminal: null where the provider tells it later.
    """

    terminal: TerminalView | None


class TerminalCharge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody paid at a terminal of ours and wants to charge.

    Args:
        authorization_reference: under which the capture is told later; null: one is made.
    """

    location_id: Ident36
    evse_uid: Ident36
    connector_id: Ident36 | None = None
    authorization_reference: Ident36 | None = None


class TerminalChargeView(Struct, frozen=True, kw_only=True):
    """What became of the command; it is shown under `/v1/roaming/commands` too."""

    command_id: str
    authorization_reference: str
    state: CommandState
    response: str | None
    result: str | None
    message: str | None


class Tax(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tax of what was captured."""

    name: Annotated[str, Meta(min_length=1, max_length=36)]
    amount: Decimal
    percentage: Decimal | None = None


class Capture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was captured at a terminal of ours.

    Args:
        confirmation_id: null: one is made; that of one that was told before: this takes its place.
        total_excl: before taxes.
        eft_data: what an invoice must show of the payment, line by line.
    """

    partner_id: PartnerId
    authorization_reference: Ident36
    currency: CurrencyCode
    total_excl: Decimal
    taxes: Annotated[list[Tax], Meta(max_length=20)] = []
    eft_data: Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(min_length=1, max_length=50)]
    capture_status: CaptureStatus
    message: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    confirmation_id: Ident36 | None = None


class ResolutionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was done about a capture that differs."""

    resolution: Resolution


class ConfirmationView(Struct, frozen=True, kw_only=True):
    """What was captured at a terminal.

    Args:
        own: we told it to the partner; else the partner told it to us.
        session_id, payment_id: ours that it pays; null where the session is not known.
        owed: what the session's CDRs say together, taxes included; null where there are none.
        verdict: of a partner's: waiting, agrees, differs, failed.
        difference: how much more was captured than is owed.
        resolution: what a person did about it.
    """

    id: str
    own: bool
    partner_id: str
    confirmation_id: str
    authorization_reference: str
    capture_status: str
    message: str | None
    total_excl: MoneyView
    total_incl: MoneyView
    eft_data: list[str]
    session_id: str | None
    payment_id: str | None
    owed: MoneyView | None
    verdict: Verdict | None
    difference: MoneyView | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    last_updated: datetime
    created_at: datetime


def _fields(given: TerminalFields) -> dict[str, Any]:
    """What was given, as an OCPI Terminal has it."""
    found: dict[str, Any] = {}
    for name in TerminalFields.__struct_fields__:
        value = getattr(given, name)
        if value is not UNSET:
            found[name] = value
    return found


def _check(data: Capture) -> None:
    """That amounts are such as can be captured."""
    amounts = [("/total_excl", data.total_excl, _MOST)]
    for place, tax in enumerate(data.taxes):
        amounts.append((f"/taxes/{place}/amount", tax.amount, _MOST))
        if tax.percentage is not None:
            amounts.append((f"/taxes/{place}/percentage", tax.percentage, Decimal(100)))
    wrong = tuple(
        (pointer, f"Must be from 0 to {most}, with at most 4 decimals")
        for pointer, value, most in amounts
        if not value.is_finite() or not 0 <= value <= most or value != round(value, 4)
    )
    if wrong:
        raise InvalidInputError(f"'{wrong[0][0].strip('/')}': {wrong[0][1]}.", wrong)


def _view(row: TerminalRow) -> TerminalView:
    said = row.now
    geo = said.coordinates
    return TerminalView(
        id=str(row.key),
        own=row.own,
        partner_id=None if row.connection_id is None else str(row.connection_id),
        terminal_id=row.terminal_id,
        status=row.status,
        customer_reference=said.customer_reference,
        country_code=said.country_code,
        party_id=said.party_id,
        address=said.address,
        city=said.city,
        postal_code=said.postal_code,
        state=said.state,
        country=said.country,
        coordinates=None if geo is None else Coordinates(latitude=geo.latitude, longitude=geo.longitude),
        invoice_base_url=said.invoice_base_url,
        invoice_creator=said.invoice_creator,
        reference=said.reference,
        location_ids=list(said.location_ids),
        evse_uids=list(said.evse_uids),
        ways_to_pay=list(row.ways),
        revision=row.revision,
        created_at=row.created_at,
        last_updated=row.last_updated,
    )


def _confirmation(row: ConfirmationRow) -> ConfirmationView:
    said = confirmation_said(row.document)
    found, more = judged(row)

    def money(amount: Decimal) -> MoneyView:
        return Money(amount=amount, currency=row.currency).view()

    owed = None
    if row.owed is not None and row.owed_currency is not None:
        owed = Money(amount=row.owed, currency=row.owed_currency).view()
    return ConfirmationView(
        id=str(row.key),
        own=row.own,
        partner_id=str(row.connection_id),
        confirmation_id=row.confirmation_id,
        authorization_reference=row.reference,
        capture_status=row.capture_status,
        message=said.capture_status_message,
        total_excl=money(row.total_excl),
        total_incl=money(row.total_incl),
        eft_data=list(said.eft_data),
        session_id=None if row.session_id is None else str(row.session_id),
        payment_id=None if row.payment_id is None else str(row.payment_id),
        owed=owed,
        verdict=None if row.own else found,
        difference=None if row.own or more is None else money(more),
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
        resolution=row.resolution,
        last_updated=row.last_updated,
        created_at=row.created_at,
    )


def terminal_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    terminals, confirmations = business.roaming_money.terminals, business.roaming_money.confirmations
    connections, asking = business.roaming.connections, business.roaming_provider.asking
    read, write, tags = {"scope": Scope.ROAMING_READ}, {"scope": Scope.ROAMING_WRITE}, ["roaming"]

    @get("/v1/roaming/terminals", tags=tags, opt={**read, "sorts": TERMINAL_SORTS})
    async def list_terminals(
        request: Request[Any, Any, Any],
        own: FromQuery[bool | None] = None,
        partner_id: Text = None,
        status: FromQuery[TerminalStatus | None] = None,
        location_id: Text = None,
        evse_uid: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[TerminalView]:
        """Payment terminals, newest first: partners' at our EVSEs, and ours at partners'."""
        after = begin(request, cursor, sort)
        wanted = TerminalFilter(
            own=own,
            connection_id=None if partner_id is None else ident_of(_PARTNER, partner_id),
            status=status,
            location_id=location_id,
            evse_uid=evse_uid,
        )
        found = await terminals.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(_view)

    @post("/v1/roaming/terminals", tags=tags, opt=write)
    async def add_terminal(request: Request[Any, Any, Any], data: JSONBody[NewTerminal]) -> Response[TerminalView]:
        """A terminal of ours, as its provider. The operator whom it is for is told of it."""
        partner = None if data.partner_id is None else int(data.partner_id)
        row = await terminals.add(caller_of(request), data.terminal_id, _fields(data), partner)
        return Response(_view(row), headers=etag(row.revision))

    @post("/v1/roaming/terminals/activate", tags=tags, opt=write, status_code=200)
    async def activate_terminal(request: Request[Any, Any, Any], data: JSONBody[Activation]) -> ActivatedView:
        """Asks a partner to have a terminal of its work for us."""
        if data.terminal_id is None and not data.reference:
            sentence = "The terminal's reference or terminal_id must be given"
            raise InvalidInputError(f"{sentence}.", (("/reference", sentence),))
        fields = {**_fields(data), **({} if data.terminal_id is None else {"terminal_id": data.terminal_id})}
        made = await terminals.activate(caller_of(request), int(data.partner_id), fields)
        return ActivatedView(terminal=None if made.terminal is None else _view(made.terminal))

    @get("/v1/roaming/terminals/{id:str}", tags=tags, opt=read)
    async def get_terminal(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[TerminalView]:
        """A payment terminal."""
        row = await terminals.one(caller_of(request), ident_of(_TERMINAL, id))
        return Response(_view(row), headers=etag(row.revision))

    @patch("/v1/roaming/terminals/{id:str}", tags=tags, opt=write)
    async def change_terminal(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[TerminalPatch], if_match: IfMatch = None
    ) -> Response[TerminalView]:
        """Says where a terminal stands, and what else is to be said of it. A partner is told of its own."""
        ways = None if data.ways_to_pay is None else tuple(dict.fromkeys(data.ways_to_pay))
        if ways is not None and any(one not in WAYS for one in ways):
            sentence = f"Must be of {', '.join(one.value for one in WAYS)}"
            raise InvalidInputError(f"{sentence}.", (("/ways_to_pay", sentence),))
        row = await terminals.change(
            caller_of(request),
            ident_of(_TERMINAL, id),
            TerminalChanges(fields=_fields(data), ways=ways),
            revision_of(if_match),
            connection_id=None if data.partner_id is None else int(data.partner_id),
        )
        return Response(_view(row), headers=etag(row.revision))

    @post("/v1/roaming/terminals/{id:str}/deactivate", tags=tags, opt=write, status_code=200)
    async def deactivate_terminal(request: Request[Any, Any, Any], id: FromPath[str]) -> TerminalView:
        """Lets go of a terminal: its provider is asked to, and one can no longer pay at its EVSEs by it."""
        return _view(await terminals.deactivate(caller_of(request), ident_of(_TERMINAL, id)))

    @post("/v1/roaming/terminals/{id:str}/charges", tags=tags, opt=write, status_code=202)
    async def charge_at_terminal(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[TerminalCharge], wait_s: WaitS = 0.0
    ) -> TerminalChargeView:
        """Has the operator start for somebody who paid at a terminal of ours; what it costs comes with the CDR."""
        caller = caller_of(request)
        row = await terminals.one(caller, ident_of(_TERMINAL, id))
        at = await _place(caller, row, data)
        record = await asking.start_at_terminal(caller, at, data.authorization_reference, wait_s=wait_s)
        return TerminalChargeView(
            command_id=str(record.id),
            authorization_reference=record.reference or "",
            state=record.state,
            response=record.response,
            result=record.result,
            message=record.message,
        )

    async def _place(caller: Caller, row: TerminalRow, data: TerminalCharge) -> At:
        if not row.own or row.status is not TerminalStatus.ACTIVE or row.connection_id is None:
            raise ConflictError("The terminal is none of ours that works for an operator.")
        said = row.now
        here = data.evse_uid.lower() in [one.lower() for one in said.evse_uids]
        if not here and data.location_id.lower() not in [one.lower() for one in said.location_ids]:
            sentence = "The terminal does not stand there"
            raise InvalidInputError(f"{sentence}.", (("/evse_uid", sentence),))
        peer = (await connections.one(caller, row.connection_id)).peer
        party = next(one.id for one in peer.parties if one.role.value == "CPO")
        return At(
            partner=str(party),
            location_id=data.location_id,
            evse_uid=data.evse_uid,
            connector_id=data.connector_id,
        )

    @get("/v1/roaming/financial-advice-confirmations", tags=tags, opt={**read, "sorts": CONFIRMATION_SORTS})
    async def list_confirmations(
        request: Request[Any, Any, Any],
        own: FromQuery[bool | None] = None,
        partner_id: Text = None,
        authorization_reference: Text = None,
        session_id: Text = None,
        open: FromQuery[bool | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ConfirmationView]:
        """What was captured at terminals, newest first; `open=true`: what a person has to look at."""
        after = begin(request, cursor, sort)
        wanted = ConfirmationFilter(
            own=own,
            connection_id=None if partner_id is None else ident_of(_PARTNER, partner_id),
            reference=authorization_reference,
            session_id=None if session_id is None else ident_of("session", session_id),
            open=open,
        )
        found = await confirmations.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(_confirmation)

    @post("/v1/roaming/financial-advice-confirmations", tags=tags, opt=write)
    async def tell_confirmation(request: Request[Any, Any, Any], data: JSONBody[Capture]) -> ConfirmationView:
        """Tells an operator what was captured at a terminal of ours."""
        _check(data)
        new = NewCapture(
            confirmation_id=data.confirmation_id,
            connection_id=int(data.partner_id),
            reference=data.authorization_reference,
            total_excl=Money(amount=data.total_excl, currency=data.currency),
            taxes=tuple((one.name, one.amount, one.percentage) for one in data.taxes),
            eft_data=tuple(data.eft_data),
            status=data.capture_status,
            message=data.message,
        )
        return _confirmation(await confirmations.tell(caller_of(request), new))

    @get("/v1/roaming/financial-advice-confirmations/{id:str}", tags=tags, opt=read)
    async def get_confirmation(request: Request[Any, Any, Any], id: FromPath[str]) -> ConfirmationView:
        """What was captured at a terminal."""
        return _confirmation(await confirmations.one(caller_of(request), ident_of(_CONFIRMATION, id)))

    @post("/v1/roaming/financial-advice-confirmations/{id:str}/resolve", tags=tags, opt=write, status_code=200)
    async def resolve_confirmation(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[ResolutionBody]
    ) -> ConfirmationView:
        """Says what was done about a capture that failed or differs from what the session costs."""
        row = await confirmations.resolve(caller_of(request), ident_of(_CONFIRMATION, id), data.resolution)
        return _confirmation(row)

    return [
        list_terminals,
        add_terminal,
        activate_terminal,
        get_terminal,
        change_terminal,
        deactivate_terminal,
        charge_at_terminal,
        list_confirmations,
        tell_confirmation,
        get_confirmation,
        resolve_confirmation,
    ]
