"""/v1/cdrs: what sessions came to; written once, taken back by credits, told again by corrections."""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.app.cdrs.views import CdrView
from chargeplane.domain.cdrs.cdr import CdrContent, CdrKind, ChargingPeriod, SignedSummary
from chargeplane.domain.cdrs.session import CdrPlace, CdrToken, FrozenAgreement, PricedBy
from chargeplane.domain.languages import known
from chargeplane.domain.rating.result import Cost
from chargeplane.domain.tariffs.model import OcpiId, Tariff
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.money import CostView, cost_view
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.routes.common import From, Text, To, ident_of, time_of
from chargeplane.edges.http.routes.sessions import Ident, Language, number_of
from chargeplane.edges.http.routes.tariffs import RatingView, rating_view
from chargeplane.edges.http.services import Services
from chargeplane.edges.http.wire import ENCODER
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.queries.cdrs import CDR_SORTS, CdrFilter

Reason = Annotated[str, Meta(min_length=1, max_length=1000)]
Currency = Annotated[str | None, QueryParameter(pattern="^[A-Z]{3}$", description="ISO 4217.")]
Held = Annotated[bool | None, QueryParameter(description="True: those that wait for a person.")]
_MOST_WH = Decimal(10**9)


class ExportFormat(enum.StrEnum):
    """How CDRs are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Because(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason


class Correction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a session is told again; what is left out stays.

    Args:
        tariff_id: in place of the one it was rated by.
        tariff_version: null: the one that held when the session began.
        energy_wh: in place of the measured one.
    """

    reason: Reason
    tariff_id: OcpiId | None = None
    tariff_version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    energy_wh: Decimal | None = None


class CdrWhole(CdrView, frozen=True, kw_only=True):
    """A CDR with all it says, in OCPI's fields as far as they apply.

    Args:
        total_energy: kWh. total_time, total_parking_time, total_reservation_time: hours; the parking belongs to the whole time.
        total_cost: what is to be paid; its parts are unrounded. Costs of a credit are negative.
        rating: line by line; of a credit as it was before. Null where no tariff held.
        signed_data: what signed meter values prove.
        reason: of a credit or a correction.
    """

    station_id: str
    ocpp_transaction_id: str | None
    cdr_location: CdrPlace
    cdr_token: CdrToken | None
    agreement: FrozenAgreement | None
    priced_by: PricedBy
    stop_reason: str | None
    tariffs: list[Tariff]
    charging_periods: tuple[ChargingPeriod, ...]
    total_energy: Decimal
    total_time: Decimal
    total_parking_time: Decimal
    total_reservation_time: Decimal
    total_cost: CostView | None
    total_fixed_cost: CostView | None
    total_energy_cost: CostView | None
    total_time_cost: CostView | None
    total_parking_cost: CostView | None
    total_reservation_cost: CostView | None
    total_adjustment: CostView | None
    rating: RatingView | None
    flags: tuple[str, ...]
    signed_data: SignedSummary | None
    reason: str | None
    credit: bool


def whole_cdr(view: CdrView, said: CdrContent, language: str) -> CdrWhole:
    """A CDR as the API shows it."""
    totals, tariff = said.totals, said.tariff

    def cost(value: Cost | None, *, exact: bool = True) -> CostView | None:
        return None if value is None or tariff is None else cost_view(value, tariff.currency, exact=exact)

    return CdrWhole(
        **{name: getattr(view, name) for name in CdrView.__struct_fields__},
        station_id=said.station_id,
        ocpp_transaction_id=said.ocpp_transaction_id,
        cdr_location=said.place,
        cdr_token=said.token,
        agreement=said.agreement,
        priced_by=said.priced_by,
        stop_reason=said.stop_reason,
        tariffs=[] if tariff is None else [tariff],
        charging_periods=said.charging_periods,
        total_energy=totals.energy_kwh,
        total_time=totals.time_h,
        total_parking_time=totals.parking_time_h,
        total_reservation_time=totals.reservation_time_h,
        total_cost=cost(totals.cost, exact=False),
        total_fixed_cost=cost(totals.fixed_cost),
        total_energy_cost=cost(totals.energy_cost),
        total_time_cost=cost(totals.time_cost),
        total_parking_cost=cost(totals.parking_cost),
        total_reservation_cost=cost(totals.reservation_cost),
        total_adjustment=cost(totals.adjustment),
        rating=None if said.rating is None else rating_view(said.rating, language),
        flags=said.flags,
        signed_data=said.signed,
        reason=said.reason,
        credit=said.credit,
    )


_COLUMNS = (
    "id",
    "session_id",
    "kind",
    "credits",
    "created_at",
    "started_at",
    "ended_at",
    "station_id",
    "location_id",
    "location_name",
    "evse_uid",
    "evse_id",
    "id_token",
    "contract",
    "driver_id",
    "agreement_id",
    "payment_id",
    "tariff_id",
    "energy_kwh",
    "time_h",
    "parking_time_h",
    "currency",
    "total_excl",
    "total_incl",
    "held",
    "holds",
)


def _cells(view: CdrView, said: CdrContent) -> list[object]:
    token, excl, incl = said.token, view.total_excl, view.total_incl
    return [
        view.id,
        view.session_id,
        view.kind.value,
        view.credits,
        view.created_at.isoformat(),
        view.started_at.isoformat(),
        view.ended_at.isoformat(),
        said.station_id,
        view.location_id,
        said.place.name,
        view.evse_uid,
        said.place.evse_id,
        None if token is None else token.uid,
        None if token is None else token.contract_id,
        view.driver_id,
        view.agreement_id,
        view.payment_id,
        view.tariff_id,
        f"{view.energy_wh / 1000:f}",
        f"{said.totals.time_h:f}",
        f"{said.totals.parking_time_h:f}",
        None if incl is None else incl.currency,
        None if excl is None else excl.amount,
        None if incl is None else incl.amount,
        "true" if view.held else "false",
        " ".join(one.hold.value for one in view.holds),
    ]


def _safe(cell: object) -> object:
    """A text that a spreadsheet would take for a formula is made a text again (a name or a token may be anything)."""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "@", "\t", "\r"):
        return "'" + cell
    if isinstance(cell, str) and cell[:1] == "-" and not cell[1:].replace(".", "", 1).isdigit():
        return "'" + cell
    return cell


async def _csv(parts: AsyncIterator[Sequence[tuple[CdrView, CdrContent]]]) -> AsyncIterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    yield text.getvalue().encode()
    async for part in parts:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows([[_safe(cell) for cell in _cells(view, said)] for view, said in part])
        yield text.getvalue().encode()


async def _json_lines(
    parts: AsyncIterator[Sequence[tuple[CdrView, CdrContent]]], language: str
) -> AsyncIterator[bytes]:
    async for part in parts:
        for view, said in part:
            yield ENCODER.encode(whole_cdr(view, said, language)) + b"\n"


def cdr_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    cdrs = services.business.cdrs

    @get("/v1/cdrs", tags=["cdrs"], opt={"scope": Scope.CDRS_READ, "sorts": CDR_SORTS})
    async def list_cdrs(
        request: Request[Any, Any, Any],
        session_id: Ident = None,
        kind: FromQuery[CdrKind | None] = None,
        location_id: Text = None,
        evse_uid: Text = None,
        id_token: Text = None,
        driver_id: Ident = None,
        agreement_id: Ident = None,
        payment_id: Ident = None,
        tariff_id: Text = None,
        currency: Currency = None,
        held: Held = None,
        ended_from: From = None,
        ended_to: To = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CdrView]:
        """CDRs, the one whose session ended last first."""
        after = begin(request, cursor, sort)
        wanted = CdrFilter(
            session_id=number_of(session_id),
            kind=kind,
            location_id=location_id,
            evse_uid=evse_uid,
            id_token=id_token,
            driver_id=number_of(driver_id),
            agreement_id=number_of(agreement_id),
            payment_id=number_of(payment_id),
            tariff_id=tariff_id,
            currency=currency,
            held=held,
            ended_from=time_of("ended_from", ended_from),
            ended_to=time_of("ended_to", ended_to),
        )
        found = await cdrs.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: pair[1])

    @get(
        "/v1/cdrs/export",
        tags=["cdrs"],
        opt={"scope": Scope.CDRS_READ, "files": ("text/csv", "application/jsonl")},
    )
    async def export_cdrs(
        request: Request[Any, Any, Any],
        wanted_format: Annotated[ExportFormat, QueryParameter(name="format")] = ExportFormat.CSV,
        location_id: Text = None,
        driver_id: Ident = None,
        agreement_id: Ident = None,
        tariff_id: Text = None,
        held: Held = None,
        ended_from: From = None,
        ended_to: To = None,
        language: Language = None,
    ) -> Stream:
        """All CDRs that the filters let through, streamed: a row each as CSV, or whole as JSON lines."""
        wanted = CdrFilter(
            location_id=location_id,
            driver_id=number_of(driver_id),
            agreement_id=number_of(agreement_id),
            tariff_id=tariff_id,
            held=held,
            ended_from=time_of("ended_from", ended_from),
            ended_to=time_of("ended_to", ended_to),
        )
        parts = cdrs.export(caller_of(request), wanted)
        if wanted_format is ExportFormat.CSV:
            content, media_type = _csv(parts), "text/csv; charset=utf-8"
        else:
            content, media_type = _json_lines(parts, known(language)), "application/jsonl"
        return Stream(
            content,
            media_type=media_type,
            headers={"Content-Disposition": f'attachment; filename="cdrs.{wanted_format.value}"'},
        )

    @get("/v1/cdrs/{cdr_id:str}", tags=["cdrs"], opt={"scope": Scope.CDRS_READ})
    async def show_cdr(request: Request[Any, Any, Any], cdr_id: FromPath[str], language: Language = None) -> CdrWhole:
        """A CDR with all it says."""
        view, said = await cdrs.one(caller_of(request), ident_of("CDR", cdr_id))
        return whole_cdr(view, said, known(language))

    @post("/v1/cdrs/{cdr_id:str}/credit", tags=["cdrs"], opt={"scope": Scope.CDRS_WRITE})
    async def credit_cdr(request: Request[Any, Any, Any], cdr_id: FromPath[str], data: JSONBody[Because]) -> CdrView:
        """Takes a CDR back; the answer is the credit. Nothing stands in its place until it is corrected."""
        return await cdrs.credit(caller_of(request), ident_of("CDR", cdr_id), data.reason)

    @post("/v1/cdrs/{cdr_id:str}/correct", tags=["cdrs"], opt={"scope": Scope.CDRS_WRITE})
    async def correct_cdr(
        request: Request[Any, Any, Any], cdr_id: FromPath[str], data: JSONBody[Correction]
    ) -> Page[CdrView]:
        """Takes the CDR that stands back and tells the session again, with another tariff or energy; the answer is what was written."""
        energy = data.energy_wh
        if data.tariff_version is not None and data.tariff_id is None:
            sentence = "Is of a tariff; name it in 'tariff_id'"
            raise InvalidInputError(f"'tariff_version': {sentence}.", (("/tariff_version", sentence),))
        if energy is not None and (not energy.is_finite() or not 0 <= energy <= _MOST_WH):
            sentence = "Must be a number of Wh from 0 to 1,000,000,000"
            raise InvalidInputError(f"'energy_wh': {sentence}.", (("/energy_wh", sentence),))
        written = await cdrs.correct(
            caller_of(request),
            ident_of("CDR", cdr_id),
            data.reason,
            tariff_id=data.tariff_id,
            tariff_version=data.tariff_version,
            energy_wh=energy,
        )
        return Page(items=written, next_cursor=None)

    @post("/v1/cdrs/{cdr_id:str}/release", tags=["cdrs"], opt={"scope": Scope.CDRS_WRITE}, status_code=200)
    async def release_cdr(request: Request[Any, Any, Any], cdr_id: FromPath[str], data: JSONBody[Because]) -> CdrView:
        """Says that a held CDR may be billed after all."""
        return await cdrs.release(caller_of(request), ident_of("CDR", cdr_id), data.reason)

    return [list_cdrs, export_cdrs, show_cdr, credit_cdr, correct_cdr, release_cdr]
