"""/v1/charging-stations: registration, state, credentials, device model."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from chargeplane.app.api_keys import Caller, Scope
from chargeplane.app.charging_stations import StationChanges
from chargeplane.app.quirks import Quirks
from chargeplane.bridge import describe
from chargeplane.domain.local_lists import ListPolicy
from chargeplane.domain.messages import Registration
from chargeplane.domain.opening_hours import OpeningHours
from chargeplane.domain.token_rules import EvseType, zone_exists
from chargeplane.edges.http.auth import caller_of
from chargeplane.edges.http.paging import (
    Cursor,
    Limit,
    Page,
    Sort,
    begin,
    page_of,
)
from chargeplane.edges.http.routes.common import IfMatch, StationIdPath, Text, etag, revision_of
from chargeplane.edges.http.services import Services
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.queries.charging_stations import (
    STATION_SORTS,
    UNKNOWN_SORTS,
    ChargingStationView,
    QuirkView,
    StationFilter,
    UnknownStationView,
)

Name = Annotated[str, Meta(min_length=1, max_length=255)]
LocationId = Annotated[str, Meta(min_length=1, max_length=255)]
SecurityProfile = Annotated[int, Meta(ge=0, le=3, description="0 none, 1 Basic, 2 TLS with Basic, 3 mutual TLS.")]
Password = Annotated[str, Meta(description="16 to 40 characters; null makes a new one, shown once in the answer.")]


class RegistrationWord(enum.StrEnum):
    """Whether a station may take part: its BootNotification is answered so."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


class StationStatusWord(enum.StrEnum):
    """A station's status as a whole."""

    AVAILABLE = "Available"
    OCCUPIED = "Occupied"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"
    UNKNOWN = "Unknown"


class StationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the server treats this station; what is absent follows the installation.

    Args:
        heartbeat_interval_s: given in the answer to an accepted boot.
        permanently_connected: it should be connected at all times: an alert is raised when it is not heard.
        assumed_version: OCPP version of a station that offers no subprotocol in its handshake.
        certificate_name: common name of its certificate where that is not the station id (profile 3).
        certificate_serial_number: hexadecimal; takes only the certificate with this serial number (profile 3).
        trigger_boot: whether a station that connects and sends no BootNotification is asked for one.
        ask_for_transactions: whether a station whose EVSE turned Available is asked about the transaction open there.
        evse_types: AC or DC by EVSE, for id tokens that may use one kind only.
        local_list: which id tokens belong on its local list; goes before the tenant's.
        opening_hours: when it is open; at other times it is out of service for new transactions.
        show_costs: whether it is told what a session costs so far; absent: as the tenant says.
        read_variables: whether it is asked for its variables after a boot, where they are not known or templates need them.
    """

    heartbeat_interval_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None
    permanently_connected: bool | None = None
    assumed_version: Literal["1.6", "2.0.1", "2.1"] | None = None
    certificate_name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    certificate_serial_number: Annotated[str, Meta(min_length=1, max_length=40, pattern="^[0-9A-Fa-f]+$")] | None = None
    trigger_boot: bool = True
    ask_for_transactions: bool = True
    evse_types: Annotated[dict[Annotated[int, Meta(ge=1, le=2**31 - 1)], EvseType], Meta(max_length=1000)] | None = None
    local_list: ListPolicy | None = None
    opening_hours: OpeningHours | None = None
    show_costs: bool | None = None
    read_variables: bool = True


def _kept(settings: StationSettings) -> Any:
    """The settings as they are kept.

    Raises:
        InvalidInputError: there is no such time zone.
    """
    hours = settings.opening_hours
    if hours is not None and not zone_exists(hours.time_zone):
        sentence = "Must be the name of a time zone, such as Europe/Berlin"
        raise InvalidInputError(
            f"'{hours.time_zone}' is no time zone: {sentence}.", (("/settings/opening_hours/time_zone", sentence),)
        )
    return msgspec.to_builtins(settings)


class NewStation(Struct, kw_only=True, forbid_unknown_fields=True):
    """A charging station to be registered."""

    station_id: str
    name: Name | None = None
    location_id: LocationId | None = None
    security_profile: SecurityProfile = 1
    password: Password | None = None
    registration: RegistrationWord = RegistrationWord.ACCEPTED
    settings: StationSettings = StationSettings()
    metadata: dict[str, Any] = {}


class StationPatch(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to change of a charging station; what is left out stays."""

    name: Name | UnsetType | None = UNSET
    location_id: LocationId | UnsetType | None = UNSET
    security_profile: SecurityProfile | UnsetType = UNSET
    password: Password | UnsetType | None = UNSET
    registration: RegistrationWord | UnsetType = UNSET
    settings: StationSettings | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class StationQuirk(QuirkView, frozen=True, kw_only=True):
    """A repair that the station's messages needed, or a rule about its vendor, model or firmware.

    Args:
        description: what it does, one sentence.
        origin: repair: forgiven to any station; built_in: a rule of the package; file: of the operator's file; tenant: of the tenant.
        source: where such stations were seen; null for repairs.
        applies: whether it holds for the station now.
    """

    description: str
    origin: Literal["repair", "built_in", "file", "tenant"]
    source: str | None
    applies: bool


class ChargingStation(ChargingStationView, frozen=True, kw_only=True):
    """A charging station. `password` is there only in the answer to the request that had it made."""

    quirks: Sequence[StationQuirk]
    password: str | UnsetType = UNSET


def _shown(rules: Quirks, caller: Caller, view: ChargingStationView, password: str | None) -> ChargingStation:
    known = rules.of(caller, view.vendor, view.model, view.firmware, view.station_id)
    names = {rule.name for rule in known}
    counted = {quirk.rule for quirk in view.quirks}
    unneeded = [QuirkView(rule=rule.name, hits=0, last_at=None) for rule in known if rule.name not in counted]
    quirks = [_quirk(rules, caller, quirk, names) for quirk in (*view.quirks, *unneeded)]
    return ChargingStation(
        **{**msgspec.structs.asdict(view), "quirks": quirks}, password=UNSET if password is None else password
    )


def _quirk(rules: Quirks, caller: Caller, quirk: QuirkView, known: set[str]) -> StationQuirk:
    shown = msgspec.structs.asdict(quirk)
    found = rules.rule(caller, quirk.rule)
    if found is not None:
        rule, origin = found
        return StationQuirk(
            **shown,
            description=rule.does or "It is switched off.",
            origin=origin.value,
            source=rule.source or None,
            applies=rule.name in known,
        )
    sentence = describe(quirk.rule)
    return StationQuirk(
        **shown,
        description=sentence or "A rule that is no more.",
        origin="repair",
        source=None,
        applies=sentence is not None,
    )


def charging_station_routes(services: Services) -> list[HTTPRouteHandler]:
    """The routes."""
    stations, rules = services.charging_stations, services.quirks

    @post("/v1/charging-stations", tags=["charging-stations"], opt={"scope": Scope.STATIONS_WRITE, "secret": True})
    async def register_charging_station(
        request: Request[Any, Any, Any], data: JSONBody[NewStation]
    ) -> Response[ChargingStation]:
        """Registers a charging station. Without a given password one is made where the profile needs it, and is in
        this answer only."""
        caller = caller_of(request)
        view, password = await stations.register(
            caller,
            data.station_id,
            StationChanges(
                name=data.name,
                location_id=data.location_id,
                security_profile=data.security_profile,
                password=UNSET if data.password is None else data.password,
                registration=Registration(data.registration.value.capitalize()),
                settings=_kept(data.settings),
                metadata=data.metadata,
            ),
        )
        location = f"/v1/charging-stations/{quote(view.station_id, safe='')}"
        return Response(
            _shown(rules, caller_of(request), view, password), headers={"Location": location, **etag(view.revision)}
        )

    @get(
        "/v1/charging-stations", tags=["charging-stations"], opt={"scope": Scope.STATIONS_READ, "sorts": STATION_SORTS}
    )
    async def list_charging_stations(
        request: Request[Any, Any, Any],
        connected: FromQuery[bool | None] = None,
        status: FromQuery[StationStatusWord | None] = None,
        registration: FromQuery[RegistrationWord | None] = None,
        location_id: Text = None,
        model: Text = None,
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[ChargingStation]:
        """Charging stations, newest first. `q` is looked for in id, name, vendor, model and serial number."""
        after = begin(request, cursor, sort)
        wanted = StationFilter(
            connected=connected,
            status=status and status.value,
            registration=registration and registration.value.capitalize(),
            location_id=location_id,
            model=model,
            q=q,
        )
        found = await stations.page(caller_of(request), wanted, limit + 1, after)
        return page_of(request, found, limit, after).of(lambda pair: _shown(rules, caller_of(request), pair[1], None))

    @get("/v1/charging-stations/{station_id:str}", tags=["charging-stations"], opt={"scope": Scope.STATIONS_READ})
    async def get_charging_station(
        request: Request[Any, Any, Any], station_id: StationIdPath
    ) -> Response[ChargingStation]:
        """A charging station with its connection, EVSEs and connectors."""
        view = await stations.one(caller_of(request), station_id)
        return Response(_shown(rules, caller_of(request), view, None), headers=etag(view.revision))

    @patch("/v1/charging-stations/{station_id:str}", tags=["charging-stations"], opt={"scope": Scope.STATIONS_WRITE})
    async def update_charging_station(
        request: Request[Any, Any, Any],
        station_id: StationIdPath,
        data: JSONBody[StationPatch],
        if_match: IfMatch = None,
    ) -> Response[ChargingStation]:
        """Changes a charging station. New credentials hold at once: a socket opened with the old ones is closed."""
        registration = data.registration
        view, password = await stations.change(
            caller_of(request),
            station_id,
            StationChanges(
                name=data.name,
                location_id=data.location_id,
                security_profile=data.security_profile,
                password=data.password,
                registration=UNSET
                if isinstance(registration, UnsetType)
                else Registration(registration.value.capitalize()),
                settings=UNSET if isinstance(data.settings, UnsetType) else _kept(data.settings),
                metadata=data.metadata,
            ),
            revision_of(if_match),
        )
        return Response(_shown(rules, caller_of(request), view, password), headers=etag(view.revision))

    @delete("/v1/charging-stations/{station_id:str}", tags=["charging-stations"], opt={"scope": Scope.STATIONS_WRITE})
    async def delete_charging_station(request: Request[Any, Any, Any], station_id: StationIdPath) -> None:
        """Removes a charging station: its socket is closed and it may not connect again; its history stays."""
        await stations.remove(caller_of(request), station_id)

    @get("/v1/unknown-stations", tags=["charging-stations"], opt={"scope": Scope.STATIONS_READ, "sorts": UNKNOWN_SORTS})
    async def list_unknown_stations(
        request: Request[Any, Any, Any],
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
        sort: Sort = None,
    ) -> Page[UnknownStationView]:
        """Stations that tried to connect and are not registered, the newest attempt first. `q` is looked for in identity and address."""
        after = begin(request, cursor, sort)
        found = await stations.unknown(caller_of(request), q, limit + 1, after)
        return page_of(request, found, limit, after)

    return [
        list_unknown_stations,
        register_charging_station,
        list_charging_stations,
        get_charging_station,
        update_charging_station,
        delete_charging_station,
    ]
