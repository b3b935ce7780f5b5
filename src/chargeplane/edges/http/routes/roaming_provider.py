"""/v1/roaming and /v1/me/roaming: partners' places, sessions and CDRs, and what is asked of partners."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Literal

from litestar import Request, Response, delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta, Struct
from msgspec.json import decode
from msgspec.structs import replace

from chargeplane.app.api_keys import Scope
from chargeplane.app.roaming.asking import At, TokenOf
from chargeplane.app.roaming.errors import PulledError
from chargeplane.app.roaming.places import PartnerLocationView
from chargeplane.app.roaming.pulling import Pulled
from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.roaming.asking import CommandRecord, CommandState, CommandType, Preferences, Profile
from chargeplane.domain.roaming.checking import Check, Verdict
from chargeplane.domain.roaming.disputes import Dispute, DisputeState
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    decode_cursor,
    encode_cursor,
    page_of,
)
from chargeplane.edges.http.problems import FieldProblem, ProblemError
from chargeplane.edges.http.routes.common import IfMatch, Text, etag, ident_of, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.money import Money, MoneyView
from chargeplane.store.queries.partner_commands import PARTNER_COMMAND_SORTS
from chargeplane.store.queries.partner_places import PlaceFilter
from chargeplane.store.queries.partner_records import (
    PARTNER_SESSION_SORTS,
    ROAMING_CDR_SORTS,
    PartnerCdr,
    PartnerCdrFilter,
    PartnerSession,
)
from chargeplane.store.queries.replicas import PullRow

PartnerText = Annotated[
    str, Meta(pattern=r"^[A-Za-z]{2}\*[A-Za-z0-9]{3}$", description="Country code and party, as `DE*ABC`.")
]
OcpiText = Annotated[str, Meta(min_length=1, max_length=36)]
Reason = Annotated[str, Meta(min_length=1, max_length=1000)]
WaitS = Annotated[float, QueryParameter(ge=0, le=60, description="Seconds to wait for the station's result.")]
Latitude = Annotated[float | None, QueryParameter(ge=-90, le=90, description="Degrees; with `longitude`.")]
Longitude = Annotated[float | None, QueryParameter(ge=-180, le=180, description="Degrees; with `latitude`.")]
Radius = Annotated[float, QueryParameter(ge=1, le=20_100_000, description="Metres around the point.")]
MinPower = Annotated[int | None, QueryParameter(ge=0, le=100_000_000, description="W, of a connector.")]
Energy = Annotated[float | None, QueryParameter(gt=0, le=1_000_000, description="Wh that the session is priced for.")]
PartnerQuery = Annotated[
    str | None,
    QueryParameter(pattern=r"^[A-Za-z]{2}\*[A-Za-z0-9]{3}$", description="Country code and party, as `DE*ABC`."),
]
_MINE = {"driver": True}
_MOST = 1_000_000


class RoamingStart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a driver wants to charge.

    Args:
        connector_id: with `evse_uid`, where the station must be told.
    """

    partner: PartnerText
    location_id: OcpiText
    evse_uid: OcpiText | None = None
    connector_id: OcpiText | None = None


class RoamingReservation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a driver wants held.

    Args:
        until: when it ends by itself.
        reservation_id: of one's own that this one replaces.
    """

    partner: PartnerText
    location_id: OcpiText
    until: Annotated[datetime, Meta(tz=True)]
    evse_uid: OcpiText | None = None
    reservation_id: OcpiText | None = None


class StartOrder(RoamingStart, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="start_session"):
    """Have a partner's station start with an id token of ours."""

    id_token: Annotated[str, Meta(min_length=1, max_length=255)]
    id_token_type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


class ReserveOrder(RoamingReservation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="reserve_now"):
    """Have a partner hold an EVSE for an id token of ours."""

    id_token: Annotated[str, Meta(min_length=1, max_length=255)]
    id_token_type: Annotated[str, Meta(min_length=1, max_length=20)] | None = None


class StopOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="stop_session"):
    """Have a partner end a session. `session_id` is ours, of /v1/roaming/sessions."""

    session_id: Annotated[str, Meta(pattern="^[0-9]{1,18}$")]


class CancelOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cancel_reservation"):
    """Have a partner give a reservation free."""

    partner: PartnerText
    reservation_id: OcpiText


class UnlockOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="unlock_connector"):
    """Have a partner unlock a connector whose plug is stuck: for help desks alone."""

    partner: PartnerText
    location_id: OcpiText
    evse_uid: OcpiText
    connector_id: OcpiText


Order = StartOrder | StopOrder | ReserveOrder | CancelOrder | UnlockOrder


class CommandView(Struct, frozen=True, kw_only=True):
    """A command to a partner.

    Args:
        state: sent, waiting, done, refused, failed, timed_out. A result that comes after the time was over still counts.
        response: what the operator said at once (OCPI CommandResponseType); result: what the station did (CommandResultType).
        session_id: the session that a start began, as soon as the partner told it; ours.
        reservation_id: of a reservation, to cancel or replace it; told once.
        told: the result as it came; of one command that is asked for.
    """

    id: str
    type: CommandType
    partner: str
    state: CommandState
    response: str | None
    result: str | None
    message: str | None
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    session_id: str | None = None
    reservation_id: str | None = None
    told: dict[str, Any] | None = None


class RoamingSessionView(Struct, frozen=True, kw_only=True):
    """A session of one of our drivers at a partner's station, as the partner told it last.

    Args:
        session_id: the partner's.
        status: OCPI SessionStatus.
        active_profile: OCPI ActiveChargingProfile as the partner told it by itself; null: it did not.
    """

    id: str
    partner: str
    session_id: str
    status: str
    driver_id: str | None
    location_id: str
    location_name: str | None
    city: str | None
    evse_uid: str
    connector_id: str | None
    started_at: datetime
    ended_at: datetime | None
    kwh: Decimal
    cost_excl: MoneyView | None
    cost_incl: MoneyView | None
    last_updated: datetime
    active_profile: dict[str, Any] | None


class RoamingCdrView(Struct, frozen=True, kw_only=True):
    """A partner's CDR, what we found when we rated it again, and what became of it.

    Args:
        cdr_id: the partner's; billed_by: ours, by which the driver is billed.
        credited_by: our id of the credit CDR that took it back.
        signed_data: what its signed meter values prove, by the key that came with it; null: it has none.
    """

    id: str
    partner: str
    cdr_id: str
    session_id: str | None
    credit: bool
    credits: str | None
    credited_by: str | None
    driver_id: str | None
    location_id: str
    evse_uid: str
    started_at: datetime
    ended_at: datetime
    kwh: Decimal
    total_excl: MoneyView
    total_incl: MoneyView | None
    verdict: Verdict
    check: Check | None
    dispute_state: DisputeState | None
    dispute: Dispute
    billed_by: str | None
    booked_at: datetime | None
    signed_data: SignedSummary | None
    received_at: datetime
    revision: int


class RoamingCdrDetails(Struct, frozen=True, kw_only=True):
    """A CDR with its document (OCPI 2.3.0)."""

    cdr: RoamingCdrView
    document: dict[str, Any]


class ProfileAsk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long a profile is asked for, in seconds."""

    duration_s: Annotated[int, Meta(ge=1, le=604_800)] = 86_400


class PreferencesAnswer(Struct, frozen=True, kw_only=True):
    """OCPI ChargingPreferencesResponse."""

    response: str


class DisputeStepBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A step of a dispute.

    Args:
        state: open; accepted, where the partner agrees and will credit; rejected, where the CDR stands.
        claimed: what the CDR should cost before taxes.
    """

    state: Literal["open", "accepted", "rejected"]
    reason: Reason
    claimed: Decimal | None = None


class PullBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be read.

    Args:
        module: locations, tariffs, sessions, cdrs or tokens; null: all that the partner has.
        full: everything; else what changed since the last time.
    """

    module: Annotated[str, Meta(max_length=40)] | None = None
    full: bool = False


def command_view(
    record: CommandRecord, session: PartnerSession | None = None, reservation_id: str | None = None
) -> CommandView:
    """As it is shown."""
    return CommandView(
        id=str(record.id),
        type=record.type,
        partner=record.partner,
        state=record.state,
        response=record.response,
        result=record.result,
        message=record.message,
        created_at=record.created_at,
        expires_at=record.expires_at,
        ended_at=record.ended_at,
        session_id=None if session is None else str(session.object_key),
        reservation_id=reservation_id,
    )


def _money(amount: Decimal | None, currency: str) -> MoneyView | None:
    return None if amount is None else Money(amount=amount, currency=currency).view()


def session_view(one: PartnerSession) -> RoamingSessionView:
    """As it is shown."""
    return RoamingSessionView(
        id=str(one.object_key),
        partner=one.partner,
        session_id=one.id,
        status=one.status,
        driver_id=None if one.driver_id is None else str(one.driver_id),
        location_id=one.location_id,
        location_name=one.location_name,
        city=one.city,
        evse_uid=one.evse_uid,
        connector_id=one.connector_id,
        started_at=one.started_at,
        ended_at=one.ended_at,
        kwh=one.kwh,
        cost_excl=_money(one.cost_excl, one.currency),
        cost_incl=_money(one.cost_incl, one.currency),
        last_updated=one.last_updated,
        active_profile=None if one.profile is None else decode(one.profile),
    )


def _cdr(one: PartnerCdr) -> RoamingCdrView:
    return RoamingCdrView(
        id=str(one.object_key),
        partner=f"{one.country_code}*{one.party_id}",
        cdr_id=one.id,
        session_id=one.session_id,
        credit=one.credit,
        credits=one.credits,
        credited_by=None if one.credited_by is None else str(one.credited_by),
        driver_id=None if one.driver_id is None else str(one.driver_id),
        location_id=one.location_id,
        evse_uid=one.evse_uid,
        started_at=one.started_at,
        ended_at=one.ended_at,
        kwh=one.kwh,
        total_excl=Money(amount=one.total_excl, currency=one.currency).view(),
        total_incl=_money(one.total_incl, one.currency),
        verdict=one.verdict,
        check=one.check,
        dispute_state=one.dispute_state,
        dispute=one.dispute,
        billed_by=None if one.cdr_id is None else str(one.cdr_id),
        booked_at=one.posted_at,
        signed_data=one.signed,
        received_at=one.received_at,
        revision=one.revision,
    )


def _at(where: RoamingStart | RoamingReservation) -> At:
    connector = where.connector_id if isinstance(where, RoamingStart) else None
    return At(partner=where.partner, location_id=where.location_id, evse_uid=where.evse_uid, connector_id=connector)


def filter_of(
    latitude: float | None,
    longitude: float | None,
    radius_m: float,
    q: str | None,
    standard: str | None,
    current: str | None,
    min_power_w: int | None,
    available: bool | None,
    partner: str | None,
) -> PlaceFilter:
    """As it is asked for by a query.

    Raises:
        ProblemError: the point is not whole.
    """
    near = None
    if (latitude is None) != (longitude is None):
        name, sentence = "latitude" if latitude is None else "longitude", "latitude and longitude belong together"
        raise ProblemError(
            400, "malformed-request", f"'{name}': {sentence}.", errors=[FieldProblem(detail=sentence, parameter=name)]
        )
    if latitude is not None and longitude is not None:
        if not (isfinite(latitude) and isfinite(longitude) and isfinite(radius_m)):
            sentence = "Must be finite numbers"
            raise ProblemError(
                400, "malformed-request", f"{sentence}.", errors=[FieldProblem(detail=sentence, parameter="latitude")]
            )
        near = (latitude, longitude, radius_m)
    party = None
    if partner is not None:
        country, _, ident = partner.upper().partition("*")
        party = (country, ident)
    return PlaceFilter(
        near=near,
        q=q,
        standard=standard,
        current=current,
        min_power_w=min_power_w,
        available=bool(available),
        party=party,
    )


def roaming_provider_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    business = services.business
    provider, tokens = business.roaming_provider, business.driver_tokens
    read, write, tags = {"scope": Scope.ROAMING_READ}, {"scope": Scope.ROAMING_WRITE}, ["roaming"]

    async def places(
        request: Request[Any, Any, Any], wanted: PlaceFilter, energy_wh: float | None, limit: int, cursor: str | None
    ) -> Page[PartnerLocationView]:
        after = decode_cursor("partner-locations", cursor, (float, int))
        energy = None if energy_wh is None else Decimal(str(energy_wh))
        found = await provider.places.search(caller_of(request), wanted, limit + 1, after, energy_wh=energy)
        more = encode_cursor("partner-locations", found[limit - 1][0]) if len(found) > limit else None
        return Page(items=[view for _, view in found[:limit]], next_cursor=more)

    @get("/v1/roaming/locations", tags=tags, opt=read)
    async def list_partner_locations(
        request: Request[Any, Any, Any],
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_m: Radius = 10_000,
        q: Text = None,
        standard: Text = None,
        current: FromQuery[Literal["AC", "DC"] | None] = None,
        min_power_w: MinPower = None,
        available: FromQuery[bool | None] = None,
        partner: PartnerQuery = None,
        energy_wh: Energy = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[PartnerLocationView]:
        """Locations of partners with what charging costs there by their tariffs; with a point, the nearest first. What is asked of
        EVSEs and connectors must be met by one EVSE together."""
        wanted = filter_of(latitude, longitude, radius_m, q, standard, current, min_power_w, available, partner)
        return await places(request, wanted, energy_wh, limit, cursor)

    @get("/v1/me/roaming/locations", tags=["me"], opt=_MINE)
    async def list_partner_locations_for_me(
        request: Request[Any, Any, Any],
        latitude: Latitude = None,
        longitude: Longitude = None,
        radius_m: Radius = 10_000,
        q: Text = None,
        standard: Text = None,
        current: FromQuery[Literal["AC", "DC"] | None] = None,
        min_power_w: MinPower = None,
        available: FromQuery[bool | None] = None,
        partner: PartnerQuery = None,
        energy_wh: Energy = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[PartnerLocationView]:
        """Where one may charge at partners' stations, and what it costs there."""
        wanted = filter_of(latitude, longitude, radius_m, q, standard, current, min_power_w, available, partner)
        return await places(request, wanted, energy_wh, limit, cursor)

    @get("/v1/roaming/locations/{partner:str}/{location_id:str}", tags=tags, opt=read)
    async def get_partner_location(
        request: Request[Any, Any, Any], partner: FromPath[str], location_id: FromPath[str]
    ) -> dict[str, Any]:
        """A partner's Location as it told it (OCPI 2.3.0)."""
        country, _, party = partner.partition("*")
        found: dict[str, Any] = decode(
            await provider.places.document(caller_of(request), (country, party), location_id)
        )
        return found

    # Sessions

    @get("/v1/roaming/sessions", tags=tags, opt={**read, "sorts": PARTNER_SESSION_SORTS})
    async def list_roaming_sessions(
        request: Request[Any, Any, Any],
        driver_id: FromQuery[str | None] = None,
        partner_id: FromQuery[str | None] = None,
        status: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[RoamingSessionView]:
        """Sessions of our drivers at partners' stations, the one that began last first."""
        after = begin(request, cursor, sort)
        found = await provider.records.sessions(
            caller_of(request),
            limit + 1,
            after,
            driver_id=None if driver_id is None else ident_of("driver", driver_id),
            connection_id=None if partner_id is None else ident_of("partner", partner_id),
            status=status,
        )
        return page_of(request, found, limit, after).of(session_view)

    @get("/v1/roaming/sessions/{id:str}", tags=tags, opt=read)
    async def get_roaming_session(request: Request[Any, Any, Any], id: FromPath[str]) -> RoamingSessionView:
        """A session at a partner's station."""
        return session_view(await provider.records.session(caller_of(request), ident_of("session", id)))

    @get("/v1/me/roaming/sessions", tags=["me"], opt={**_MINE, "sorts": PARTNER_SESSION_SORTS})
    async def list_my_roaming_sessions(
        request: Request[Any, Any, Any],
        status: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[RoamingSessionView]:
        """One's own sessions at partners' stations, the one that began last first."""
        caller = caller_of(request)
        after = begin(request, cursor, sort)
        found = await provider.records.sessions(caller, limit + 1, after, driver_id=caller.driver_id, status=status)
        return page_of(request, found, limit, after).of(session_view)

    @get("/v1/me/roaming/sessions/{id:str}", tags=["me"], opt=_MINE)
    async def get_my_roaming_session(request: Request[Any, Any, Any], id: FromPath[str]) -> RoamingSessionView:
        """A session of one's own at a partner's station."""
        caller = caller_of(request)
        return session_view(await provider.records.session(caller, ident_of("session", id), driver_id=caller.driver_id))

    # CDRs

    @get("/v1/roaming/cdrs", tags=tags, opt={**read, "sorts": ROAMING_CDR_SORTS})
    async def list_roaming_cdrs(
        request: Request[Any, Any, Any],
        driver_id: FromQuery[str | None] = None,
        partner_id: FromQuery[str | None] = None,
        verdict: FromQuery[Verdict | None] = None,
        dispute: FromQuery[DisputeState | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[RoamingCdrView]:
        """CDRs of partners, the one whose session ended last first."""
        after = begin(request, cursor, sort)
        wanted = PartnerCdrFilter(
            driver_id=None if driver_id is None else ident_of("driver", driver_id),
            connection_id=None if partner_id is None else ident_of("partner", partner_id),
            verdict=verdict,
            dispute=dispute,
        )
        found = await provider.records.cdrs(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(_cdr)

    @get("/v1/roaming/cdrs/{id:str}", tags=tags, opt=read)
    async def get_roaming_cdr(request: Request[Any, Any, Any], id: FromPath[str]) -> Response[RoamingCdrDetails]:
        """A partner's CDR with its document and what the check found."""
        found, document = await provider.records.cdr(caller_of(request), ident_of("CDR", id))
        return Response(RoamingCdrDetails(cdr=_cdr(found), document=decode(document)), headers=etag(found.revision))

    @post("/v1/roaming/cdrs/{id:str}/dispute", tags=tags, opt=write, status_code=200)
    async def dispute_roaming_cdr(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[DisputeStepBody], if_match: IfMatch = None
    ) -> Response[RoamingCdrView]:
        """Opens a dispute about a CDR, or says how it went on. The partner's credit CDR ends it as credited."""
        if data.claimed is not None and not (data.claimed.is_finite() and 0 <= data.claimed <= _MOST):
            sentence = "Must be 0 to 1000000"
            raise InvalidInputError(f"'claimed' is wrong: {sentence}.", (("/claimed", sentence),))
        found = await provider.records.dispute(
            caller_of(request),
            ident_of("CDR", id),
            DisputeState(data.state),
            data.reason,
            claimed=data.claimed,
            if_revision=revision_of(if_match),
        )
        return Response(_cdr(found), headers=etag(found.revision))

    # Commands

    @post("/v1/roaming/commands", tags=tags, opt=write, status_code=202)
    async def give_roaming_command(
        request: Request[Any, Any, Any], data: JSONBody[Order], wait_s: WaitS = 0
    ) -> CommandView:
        """Has a partner do something at its station; with `wait_s`, what came of it."""
        caller, asking = caller_of(request), provider.asking
        match data:
            case StartOrder():
                token = TokenOf(id_token=data.id_token, type=data.id_token_type)
                return command_view(await asking.start_session(caller, _at(data), token, wait_s=wait_s))
            case ReserveOrder():
                token = TokenOf(id_token=data.id_token, type=data.id_token_type)
                ident, record = await asking.reserve(
                    caller, _at(data), token, data.until, reservation_id=data.reservation_id, wait_s=wait_s
                )
                return command_view(record, reservation_id=ident)
            case StopOrder():
                return command_view(await asking.stop_session(caller, int(data.session_id), wait_s=wait_s))
            case CancelOrder():
                return command_view(await asking.cancel(caller, data.partner, data.reservation_id, wait_s=wait_s))
            case UnlockOrder():
                at = At(
                    partner=data.partner,
                    location_id=data.location_id,
                    evse_uid=data.evse_uid,
                    connector_id=data.connector_id,
                )
                return command_view(await asking.unlock(caller, at, wait_s=wait_s))

    @get("/v1/roaming/commands", tags=tags, opt={**read, "sorts": PARTNER_COMMAND_SORTS})
    async def list_roaming_commands(
        request: Request[Any, Any, Any],
        driver_id: FromQuery[str | None] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[CommandView]:
        """Commands to partners, the newest first."""
        after = begin(request, cursor, sort)
        found = await provider.asking.page(
            caller_of(request),
            limit + 1,
            after,
            driver_id=None if driver_id is None else ident_of("driver", driver_id),
        )
        return page_of(request, found, limit, after).of(command_view)

    @get("/v1/roaming/commands/{id:str}", tags=tags, opt=read)
    async def get_roaming_command(request: Request[Any, Any, Any], id: FromPath[str]) -> CommandView:
        """A command to a partner, and the session it began."""
        caller = caller_of(request)
        record = await provider.asking.one(caller, ident_of("command", id))
        view = command_view(record, await provider.asking.session_of(caller, record))
        told = await provider.asking.told(caller, record.id)
        return view if told is None else replace(view, told=decode(told))

    # Charging profiles and preferences

    profile_path = "/v1/roaming/sessions/{id:str}/charging-profile"

    @put(profile_path, tags=tags, opt=write, status_code=202)
    async def set_partners_profile(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Profile], wait_s: WaitS = 0
    ) -> CommandView:
        """Has a session at a partner's station charge by a profile."""
        ident = ident_of("session", id)
        return command_view(await provider.asking.set_profile(caller_of(request), ident, data, wait_s=wait_s))

    @delete(profile_path, tags=tags, opt=write, status_code=202)
    async def clear_partners_profile(
        request: Request[Any, Any, Any], id: FromPath[str], wait_s: WaitS = 0
    ) -> CommandView:
        """Takes our profile of a session at a partner's station back."""
        return command_view(
            await provider.asking.clear_profile(caller_of(request), ident_of("session", id), wait_s=wait_s)
        )

    @post(profile_path + "/read", tags=tags, opt=write, status_code=202)
    async def read_partners_profile(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[ProfileAsk], wait_s: WaitS = 0
    ) -> CommandView:
        """Asks for the profile by which a session at a partner's station charges; the command's `told` has it."""
        ident = ident_of("session", id)
        return command_view(
            await provider.asking.active_profile(caller_of(request), ident, data.duration_s, wait_s=wait_s)
        )

    @post("/v1/roaming/sessions/{id:str}/charging-preferences", tags=tags, opt=write, status_code=200)
    async def tell_preferences(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[Preferences]
    ) -> PreferencesAnswer:
        """Tells the operator what the driver needs: how soon, how much, how."""
        answer = await provider.asking.prefer(caller_of(request), ident_of("session", id), data)
        return PreferencesAnswer(response=answer)

    # Drivers

    @post("/v1/me/roaming/charges", tags=["me"], opt=_MINE, status_code=202)
    async def start_roaming_charge(
        request: Request[Any, Any, Any], data: JSONBody[RoamingStart], wait_s: WaitS = 0
    ) -> CommandView:
        """Has a partner's station start with one's own id token."""
        caller = caller_of(request)
        own = await tokens.app_token(caller.tenant_id, caller.driver_id)
        token = TokenOf(id_token=own.id_token, type=own.type)
        return command_view(await provider.asking.start_session(caller, _at(data), token, wait_s=wait_s))

    @get("/v1/me/roaming/charges/{id:str}", tags=["me"], opt=_MINE)
    async def get_roaming_charge(request: Request[Any, Any, Any], id: FromPath[str]) -> CommandView:
        """What became of an order of one's own to a partner, and the session it began."""
        caller = caller_of(request)
        record = await provider.asking.one(caller, ident_of("order", id), driver_id=caller.driver_id)
        return command_view(record, await provider.asking.session_of(caller, record))

    @post("/v1/me/roaming/sessions/{id:str}/stop", tags=["me"], opt=_MINE, status_code=202)
    async def stop_roaming_charge(request: Request[Any, Any, Any], id: FromPath[str], wait_s: WaitS = 0) -> CommandView:
        """Has the partner end a session of one's own."""
        caller = caller_of(request)
        return command_view(
            await provider.asking.stop_session(
                caller, ident_of("session", id), driver_id=caller.driver_id, wait_s=wait_s
            )
        )

    @post("/v1/me/roaming/reservations", tags=["me"], opt=_MINE, status_code=202)
    async def reserve_at_partner(
        request: Request[Any, Any, Any], data: JSONBody[RoamingReservation], wait_s: WaitS = 0
    ) -> CommandView:
        """Has a partner hold an EVSE for oneself. Keep `reservation_id`: it cancels."""
        caller = caller_of(request)
        own = await tokens.app_token(caller.tenant_id, caller.driver_id)
        if data.reservation_id is not None:
            sentence = "A reservation is replaced by cancelling it first"
            raise InvalidInputError(f"{sentence}.", (("/reservation_id", sentence),))
        ident, record = await provider.asking.reserve(
            caller, _at(data), TokenOf(id_token=own.id_token, type=own.type), data.until, wait_s=wait_s
        )
        return command_view(record, reservation_id=ident)

    @post(
        "/v1/me/roaming/reservations/{partner:str}/{reservation_id:str}/cancel", tags=["me"], opt=_MINE, status_code=202
    )
    async def cancel_at_partner(
        request: Request[Any, Any, Any], partner: FromPath[str], reservation_id: FromPath[str], wait_s: WaitS = 0
    ) -> CommandView:
        """Has a partner give one's own reservation free."""
        caller = caller_of(request)
        await provider.asking.reserved_by(caller, partner, reservation_id, caller.driver_id)
        return command_view(await provider.asking.cancel(caller, partner, reservation_id, wait_s=wait_s))

    # Reading what partners own

    @post("/v1/roaming/partners/{id:str}/pull", tags=tags, opt=write, status_code=200)
    async def pull_from_partner(
        request: Request[Any, Any, Any], id: FromPath[str], data: JSONBody[PullBody]
    ) -> list[Pulled]:
        """Reads what the partner owns, now."""
        caller = caller_of(request)
        try:
            return await provider.pulling.now(caller.tenant_id, ident_of("partner", id), data.module, full=data.full)
        except PulledError as error:
            raise ProblemError(502, "partner-failed", str(error)) from None

    @get("/v1/roaming/partners/{id:str}/pulls", tags=tags, opt=read)
    async def list_pulls(request: Request[Any, Any, Any], id: FromPath[str]) -> list[PullRow]:
        """How far what the partner owns is read."""
        return await provider.pulling.states(caller_of(request).tenant_id, ident_of("partner", id))

    return [
        list_partner_locations,
        list_partner_locations_for_me,
        get_partner_location,
        list_roaming_sessions,
        get_roaming_session,
        list_my_roaming_sessions,
        get_my_roaming_session,
        list_roaming_cdrs,
        get_roaming_cdr,
        dispute_roaming_cdr,
        give_roaming_command,
        list_roaming_commands,
        get_roaming_command,
        set_partners_profile,
        clear_partners_profile,
        read_partners_profile,
        tell_preferences,
        start_roaming_charge,
        get_roaming_charge,
        stop_roaming_charge,
        reserve_at_partner,
        cancel_at_partner,
        pull_from_partner,
        list_pulls,
    ]
