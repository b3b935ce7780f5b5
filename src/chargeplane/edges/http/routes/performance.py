"""/v1/performance: uptime, success, utilisation, energy, revenue, repair."""

from __future__ import annotations

import csv
import enum
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct

from chargeplane.app.api_keys import Scope
from chargeplane.domain.performance.figures import ExclusionKind
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import Cursor, Limit, Page, Sort, begin, page_of
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.common import Text, ident_of
from chargeplane.edges.http.services import Services
from chargeplane.store.queries.performance import EXCLUSION_SORTS, ExclusionView, PerformanceRow

Instant = Annotated[datetime, Meta(tz=True)]
_MOST = 10_000

Day = Annotated[
    str | None, QueryParameter(description="A UTC day, as 2026-01-31.", schema_extra={"format": "date"}, max_length=40)
]


FromDay = Annotated[
    str | None,
    QueryParameter(
        name="from", description="A UTC day, as 2026-01-31.", schema_extra={"format": "date"}, max_length=40
    ),
]


class By(enum.StrEnum):
    """What figures are summed by."""

    DAY = "day"
    STATION = "station"
    EVSE = "evse"
    LOCATION = "location"
    MODEL = "model"
    FIRMWARE = "firmware"


class Format(enum.StrEnum):
    """How figures are given."""

    JSON = "json"
    CSV = "csv"


class Amount(Struct, kw_only=True):
    """Money."""

    amount: str
    currency: str


class PerformanceView(Struct, kw_only=True):
    """Figures of a group; ratios are null where nothing was to be measured.

    Args:
        group: a day, station, `station/evse`, location, model or firmware; null where that is unknown.
        evses: how many were looked at.
        uptime: 0 to 1: without the time down that was not excluded.
        success_rate: 0 to 1: attempts that ended as the driver wanted.
        utilisation: 0 to 1: of the time a vehicle was connected.
        mean_time_to_repair_s: from the first state that was not up until it was up again.
        energy_wh, sessions: of sessions that ended.
        revenue: of CDRs, without taxes, by currency.
    """

    group: str | None
    evses: int
    uptime: float | None
    success_rate: float | None
    utilisation: float | None
    mean_time_to_repair_s: float | None
    repairs: int
    attempts: int
    successes: int
    sessions: int
    energy_wh: Decimal
    revenue: list[Amount]
    observed_s: float
    down_s: float
    excluded_s: float
    occupied_s: float


class PerformanceList(Struct, kw_only=True):
    """Figures by group; 10,000 at most.

    Args:
        from_, to: UTC days; `to` is not included.
    """

    by: By
    from_: date
    to: date
    items: list[PerformanceView]


class Recomputation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Days to be computed again, `to` not included; a year at most."""

    from_: date
    to: date


class NewExclusion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time that does not count against uptime: at an EVSE, a station, a location, or everywhere."""

    kind: ExclusionKind
    starts_at: Instant
    ends_at: Instant
    station_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    evse_id: Annotated[int, Meta(ge=1, le=1000)] | None = None
    location_id: Annotated[str, Meta(min_length=1, max_length=36)] | None = None
    note: Annotated[str, Meta(max_length=500)] | None = None


def performance_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    performance = services.business.performance
    read, write = {"scope": Scope.PERFORMANCE_READ}, {"scope": Scope.PERFORMANCE_WRITE}
    tags = ["performance"]

    @get("/v1/performance", tags=tags, opt={**read, "also": ("text/csv",)})
    async def get_performance(
        request: Request[Any, Any, Any],
        by: FromQuery[By] = By.DAY,
        since: FromDay = None,
        to: Day = None,
        station_id: Text = None,
        location_id: Text = None,
        format: FromQuery[Format] = Format.JSON,
    ) -> Response[Any]:
        """Figures of the days from `from` (28 days ago) to `to` (tomorrow, not included), summed by what `by` says; as JSON or CSV."""
        today = datetime.now(UTC).date()
        until = _day("to", to) or today + timedelta(days=1)
        first = _day("from", since) or until - timedelta(days=28)
        rows = await performance.sums(caller_of(request), by.value, first, until, station_id, location_id, _MOST)
        items = [_view(row) for row in rows]
        if format is Format.CSV:
            return Response(_csv(items), media_type="text/csv")
        return Response(PerformanceList(by=by, from_=first, to=until, items=items))

    @post("/v1/performance/recompute", tags=tags, opt=write, status_code=202)
    async def recompute_performance(request: Request[Any, Any, Any], data: JSONBody[Recomputation]) -> None:
        """Has days computed again; it is done in the background."""
        await performance.recompute(caller_of(request), data.from_, data.to)

    @get("/v1/performance/exclusions", tags=tags, opt={**read, "sorts": EXCLUSION_SORTS})
    async def list_performance_exclusions(
        request: Request[Any, Any, Any],
        kind: FromQuery[ExclusionKind | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ExclusionView]:
        """Time that does not count, newest first."""
        after = begin(request, cursor, sort)
        found = await performance.exclusions(caller_of(request), kind and kind.value, limit + 1, after)
        return page_of(request, found, limit, after)

    @post("/v1/performance/exclusions", tags=tags, opt=write)
    async def create_performance_exclusion(
        request: Request[Any, Any, Any], data: JSONBody[NewExclusion]
    ) -> ExclusionView:
        """Declares that time does not count against uptime."""
        return await performance.exclude(
            caller_of(request),
            data.kind,
            data.starts_at,
            data.ends_at,
            data.station_id,
            data.evse_id,
            data.location_id,
            data.note,
        )

    @delete("/v1/performance/exclusions/{id:str}", tags=tags, opt=write)
    async def delete_performance_exclusion(request: Request[Any, Any, Any], id: FromPath[str]) -> None:
        """Takes it back."""
        await performance.include(caller_of(request), ident_of("exclusion", id))

    return [
        get_performance,
        recompute_performance,
        list_performance_exclusions,
        create_performance_exclusion,
        delete_performance_exclusion,
    ]


def _view(row: PerformanceRow) -> PerformanceView:
    return PerformanceView(
        group=row.group,
        evses=row.evses,
        uptime=_ratio(row.observed_s - (row.down_s - row.excluded_s), row.observed_s),
        success_rate=_ratio(row.successes, row.attempts),
        utilisation=_ratio(row.occupied_s, row.observed_s),
        mean_time_to_repair_s=None if not row.repairs else round(row.repair_s / row.repairs, 1),
        repairs=row.repairs,
        attempts=row.attempts,
        successes=row.successes,
        sessions=row.sessions,
        energy_wh=row.energy_wh,
        revenue=[Amount(amount=str(amount), currency=currency) for currency, amount in sorted(row.revenue.items())],
        observed_s=row.observed_s,
        down_s=row.down_s,
        excluded_s=row.excluded_s,
        occupied_s=row.occupied_s,
    )


def _ratio(part: float, whole: float) -> float | None:
    return None if not whole else round(min(part / whole, 1.0), 6)


def _csv(items: list[PerformanceView]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(PerformanceView.__struct_fields__)
    for one in items:
        values = [getattr(one, name) for name in PerformanceView.__struct_fields__]
        writer.writerow(
            [
                " ".join(f"{m.amount} {m.currency}" for m in value) if isinstance(value, list) else _cell(value)
                for value in values
            ]
        )
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula is told as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _day(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        sentence = "Not a day such as 2026-01-31"
        raise ProblemError(
            400, "malformed-request", f"'{name}': {sentence}.", errors=[FieldProblem(detail=sentence, parameter=name)]
        ) from None
