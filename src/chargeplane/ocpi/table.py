"""Every endpoint of OCPI as data: what servers route by and clients call by.

The numbers are those of the project's list of endpoints and never change; a number is a module, an interface, a method and a path.
Paths stand below the URL that the version details name for the module and interface. `{country_code}/{party_id}` in a path are the
owner of the object (OCPI 2.3.0 transport_and_format, Client Owned Object Push).
"""

from __future__ import annotations

import enum
from functools import partial
from typing import Final

from msgspec import Struct

from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version


class Interface(enum.StrEnum):
    """Which side of a module: the sender owns the data, the receiver gets it pushed (OCPI 2.3.0 version_information_endpoint)."""

    SENDER = "SENDER"
    RECEIVER = "RECEIVER"
    BOTH = "BOTH"

    @property
    def other(self) -> Interface:
        """The interface on the other side."""
        return _OTHER[self]


_OTHER: Final = {
    Interface.SENDER: Interface.RECEIVER,
    Interface.RECEIVER: Interface.SENDER,
    Interface.BOTH: Interface.BOTH,
}


class Module(enum.StrEnum):
    """A module, by its identifier (OCPI 2.3.0 version_information_endpoint, ModuleID)."""

    VERSIONS = "versions"
    CREDENTIALS = "credentials"
    LOCATIONS = "locations"
    SESSIONS = "sessions"
    CDRS = "cdrs"
    TARIFFS = "tariffs"
    TOKENS = "tokens"
    COMMANDS = "commands"
    CHARGING_PROFILES = "chargingprofiles"
    HUB_CLIENT_INFO = "hubclientinfo"
    INVOICE_RECONCILIATION = "invoicereconciliation"
    PAYMENTS = "payments"
    BOOKINGS = "bookings"


class Method(enum.StrEnum):
    """An HTTP method."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


class Endpoint(Struct, frozen=True, kw_only=True):
    """One row.

    Args:
        number: in the project's list, 1 to 82.
        path: below the module's URL, without a leading slash; empty for the URL itself. `{name}` is one segment.
        body, answer: what a request and a successful answer hold; None where there is nothing.
        is_list: answered in pages (offset, limit, and mostly date_from and date_to).
        first, last: versions that have it.
        configuration: of a configuration module, whose requests are never routed (OCPI 2.3.0 transport_and_format, Message Routing).
        response_url: the peer names the URL in a request of its own; `path` is how ours look.
        filters: query parameters beside those of pages.
    """

    number: int
    module: Module
    interface: Interface
    method: Method
    path: str = ""
    body: Kind | None = None
    answer: Kind | None = None
    is_list: bool = False
    first: Version = Version.V2_1_1
    last: Version = Version.V2_3_0
    configuration: bool = False
    response_url: bool = False
    filters: tuple[str, ...] = ()

    def is_in(self, version: Version) -> bool:
        """Whether a version has it."""
        return self.first.rank <= version.rank <= self.last.rank

    @property
    def names(self) -> tuple[str, ...]:
        """The path's variables, in order."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def owned(self) -> bool:
        """Whether the path names the object's owner."""
        return self.path.startswith(_OWN)

    @property
    def partial(self) -> bool:
        """Whether the body holds only what changes."""
        return self.method is Method.PATCH


_OWN: Final = "{country_code}/{party_id}"
_LOCATION: Final = "/{location_id}"
_EVSE: Final = _LOCATION + "/{evse_uid}"
_CONNECTOR: Final = _EVSE + "/{connector_id}"
_LEVELS: Final = ((_LOCATION, Kind.LOCATION), (_EVSE, Kind.EVSE), (_CONNECTOR, Kind.CONNECTOR))
_GET, _POST, _PUT, _PATCH, _DELETE = Method
_S, _R, _B = Interface.SENDER, Interface.RECEIVER, Interface.BOTH
_21, _22, _23 = Version


def _locations() -> list[Endpoint]:
    module = Module.LOCATIONS
    rows = [
        Endpoint(number=7, module=module, interface=_S, method=_GET, answer=Kind.LOCATION, is_list=True),
        *(
            Endpoint(number=8 + place, module=module, interface=_S, method=_GET, path=path[1:], answer=kind)
            for place, (path, kind) in enumerate(_LEVELS)
        ),
    ]
    for first, method in ((11, _GET), (14, _PUT), (17, _PATCH)):
        for place, (path, kind) in enumerate(_LEVELS):
            body, answer = (None, kind) if method is _GET else (kind, None)
            rows.append(
                Endpoint(
                    number=first + place,
                    module=module,
                    interface=_R,
                    method=method,
                    path=_OWN + path,
                    body=body,
                    answer=answer,
                )
            )
    return rows


def _commands() -> list[Endpoint]:
    module = Module.COMMANDS
    kinds = (Kind.START_SESSION, Kind.STOP_SESSION, Kind.RESERVE_NOW, Kind.UNLOCK_CONNECTOR, Kind.CANCEL_RESERVATION)
    rows = [
        Endpoint(
            number=38 + place,
            module=module,
            interface=_R,
            method=_POST,
            path=kind.name,
            body=kind,
            answer=Kind.COMMAND_RESPONSE,
            first=_22 if kind is Kind.CANCEL_RESERVATION else _21,
        )
        for place, kind in enumerate(kinds)
    ]
    rows.append(
        Endpoint(
            number=43,
            module=module,
            interface=_S,
            method=_POST,
            path="{command}/{reference}",
            body=Kind.COMMAND_RESULT,
            response_url=True,
        )
    )
    return rows


def _new(
    module: Module,
    number: int,
    interface: Interface,
    method: Method,
    path: str,
    *,
    body: Kind | None = None,
    answer: Kind | None = None,
    is_list: bool = False,
    filters: tuple[str, ...] = (),
) -> Endpoint:
    """A row of the modules that came with 2.3.0."""
    return Endpoint(
        number=number,
        module=module,
        interface=interface,
        method=method,
        path=path,
        body=body,
        answer=answer,
        is_list=is_list,
        first=_23,
        filters=filters,
    )


def _payments() -> list[Endpoint]:
    module = Module.PAYMENTS
    terminal, advice = Kind.TERMINAL, Kind.FINANCIAL_ADVICE_CONFIRMATION
    one, one_advice = "terminals/{terminal_id}", "financial-advice-confirmations/{financial_advice_confirmation_id}"

    row = partial(_new, module)

    return [
        row(57, _S, _GET, "terminals", answer=terminal, is_list=True),
        row(58, _S, _GET, one, answer=terminal),
        row(59, _S, _PUT, one, body=terminal),
        row(60, _S, _PATCH, one, body=terminal),
        row(61, _S, _POST, "terminals/activate", body=Kind.TERMINAL_ACTIVATION, answer=terminal),
        row(62, _S, _POST, one + "/deactivate"),
        row(63, _S, _GET, "financial-advice-confirmations", answer=advice, is_list=True),
        row(64, _S, _GET, one_advice, answer=advice),
        row(65, _R, _GET, one, answer=terminal),
        row(66, _R, _POST, "terminals", body=terminal),
        row(67, _R, _GET, one_advice, answer=advice),
        row(68, _R, _POST, "financial-advice-confirmations", body=advice),
    ]


def _bookings() -> list[Endpoint]:
    module = Module.BOOKINGS
    place, calendar = "booking_locations/{booking_location_id}", "booking_locations/{booking_location_id}/{calendar_id}"

    row = partial(_new, module)

    rows = [
        row(
            69,
            _S,
            _GET,
            "booking_locations",
            answer=Kind.BOOKING_LOCATION,
            is_list=True,
            filters=("timeslot_from", "timeslot_to"),
        ),
        row(70, _S, _GET, place, answer=Kind.BOOKING_LOCATION),
        row(71, _S, _GET, calendar, answer=Kind.CALENDAR),
        row(72, _S, _GET, "", answer=Kind.BOOKING, is_list=True),
        row(73, _S, _POST, "", body=Kind.BOOKING_REQUEST, answer=Kind.BOOKING),
    ]
    number = 74
    for path, kind in ((place, Kind.BOOKING_LOCATION), (calendar, Kind.CALENDAR), ("{booking_id}", Kind.BOOKING)):
        for method in (_GET, _PUT, _PATCH):
            body, answer = (None, kind) if method is _GET else (kind, None)
            rows.append(row(number, _R, method, f"{_OWN}/{path}", body=body, answer=answer))
            number += 1
    return rows


def _rows() -> list[Endpoint]:
    versions, credentials = Module.VERSIONS, Module.CREDENTIALS

    def setup(
        number: int,
        module: Module,
        method: Method,
        path: str = "",
        *,
        body: Kind | None = None,
        answer: Kind | None = None,
    ) -> Endpoint:
        return Endpoint(
            number=number,
            module=module,
            interface=_B,
            method=method,
            path=path,
            configuration=True,
            body=body,
            answer=answer,
        )

    rows = [
        setup(1, versions, _GET, answer=Kind.VERSION),
        setup(2, versions, _GET, "{version}", answer=Kind.VERSION_DETAILS),
    ]
    for number, method in enumerate((_GET, _POST, _PUT, _DELETE), 3):
        body = Kind.CREDENTIALS if method in (_POST, _PUT) else None
        answer = None if method is _DELETE else Kind.CREDENTIALS
        rows.append(setup(number, credentials, method, body=body, answer=answer))
    rows += _locations()
    session, tariff, token = f"{_OWN}/{{session_id}}", f"{_OWN}/{{tariff_id}}", f"{_OWN}/{{token_uid}}"
    module = Module.SESSIONS
    rows += [
        Endpoint(number=20, module=module, interface=_S, method=_GET, answer=Kind.SESSION, is_list=True),
        Endpoint(
            number=21,
            module=module,
            interface=_S,
            method=_PUT,
            path="{session_id}/charging_preferences",
            body=Kind.CHARGING_PREFERENCES,
            answer=Kind.CHARGING_PREFERENCES_RESPONSE,
            first=_22,
        ),
        Endpoint(number=22, module=module, interface=_R, method=_GET, path=session, answer=Kind.SESSION),
        Endpoint(number=23, module=module, interface=_R, method=_PUT, path=session, body=Kind.SESSION),
        Endpoint(number=24, module=module, interface=_R, method=_PATCH, path=session, body=Kind.SESSION),
    ]
    module = Module.CDRS
    rows += [
        Endpoint(number=25, module=module, interface=_S, method=_GET, answer=Kind.CDR, is_list=True),
        Endpoint(number=26, module=module, interface=_R, method=_POST, body=Kind.CDR),
        # The receiver chooses this URL and tells it in Location; ours look so.
        Endpoint(number=27, module=module, interface=_R, method=_GET, path="{cdr_ref}", answer=Kind.CDR),
    ]
    module = Module.TARIFFS
    rows += [
        Endpoint(number=28, module=module, interface=_S, method=_GET, answer=Kind.TARIFF, is_list=True),
        Endpoint(number=29, module=module, interface=_R, method=_GET, path=tariff, answer=Kind.TARIFF),
        Endpoint(number=30, module=module, interface=_R, method=_PUT, path=tariff, body=Kind.TARIFF),
        Endpoint(number=31, module=module, interface=_R, method=_DELETE, path=tariff),
        Endpoint(number=32, module=module, interface=_R, method=_PATCH, path=tariff, body=Kind.TARIFF, last=_21),
    ]
    module = Module.TOKENS
    kind = ("type",)
    rows += [
        Endpoint(number=33, module=module, interface=_S, method=_GET, answer=Kind.TOKEN, is_list=True),
        Endpoint(
            number=34,
            module=module,
            interface=_S,
            method=_POST,
            path="{token_uid}/authorize",
            body=Kind.LOCATION_REFERENCES,
            answer=Kind.AUTHORIZATION_INFO,
            filters=kind,
        ),
        Endpoint(number=35, module=module, interface=_R, method=_GET, path=token, answer=Kind.TOKEN, filters=kind),
        Endpoint(number=36, module=module, interface=_R, method=_PUT, path=token, body=Kind.TOKEN, filters=kind),
        Endpoint(number=37, module=module, interface=_R, method=_PATCH, path=token, body=Kind.TOKEN, filters=kind),
    ]
    rows += _commands()
    module = Module.CHARGING_PROFILES
    response = Kind.CHARGING_PROFILE_RESPONSE
    one = "{session_id}"
    rows += [
        Endpoint(
            number=44,
            module=module,
            interface=_R,
            method=_GET,
            path=one,
            answer=response,
            first=_22,
            filters=("duration", "response_url"),
        ),
        Endpoint(
            number=45,
            module=module,
            interface=_R,
            method=_PUT,
            path=one,
            body=Kind.SET_CHARGING_PROFILE,
            answer=response,
            first=_22,
        ),
        Endpoint(
            number=46,
            module=module,
            interface=_R,
            method=_DELETE,
            path=one,
            answer=response,
            first=_22,
            filters=("response_url",),
        ),
        # Three results, two of which look alike: which one it is stands in the URL that we gave (`RESULTS`).
        Endpoint(
            number=47,
            module=module,
            interface=_S,
            method=_POST,
            path="{result}/{reference}",
            body=Kind.CHARGING_PROFILE_RESULT,
            first=_22,
            response_url=True,
        ),
        Endpoint(
            number=48,
            module=module,
            interface=_S,
            method=_PUT,
            path=one,
            body=Kind.ACTIVE_CHARGING_PROFILE,
            first=_22,
        ),
    ]

    def info(
        number: int,
        interface: Interface,
        method: Method,
        path: str = "",
        *,
        body: Kind | None = None,
        answer: Kind | None = None,
    ) -> Endpoint:
        return Endpoint(
            number=number,
            module=Module.HUB_CLIENT_INFO,
            interface=interface,
            method=method,
            path=path,
            first=_22,
            configuration=True,
            is_list=interface is _S,
            body=body,
            answer=answer,
        )

    rows += [
        info(49, _S, _GET, answer=Kind.CLIENT_INFO),
        info(50, _R, _GET, _OWN, answer=Kind.CLIENT_INFO),
        info(51, _R, _PUT, _OWN, body=Kind.CLIENT_INFO),
    ]
    module = Module.INVOICE_RECONCILIATION
    record, one = Kind.INVOICE_RECONCILIATION_RECORD, f"{_OWN}/{{id}}"
    rows += [
        Endpoint(number=52, module=module, interface=_S, method=_GET, answer=record, is_list=True, first=_23),
        Endpoint(number=53, module=module, interface=_R, method=_POST, body=record, first=_23),
        Endpoint(number=54, module=module, interface=_R, method=_GET, path=one, answer=record, first=_23),
        Endpoint(number=55, module=module, interface=_R, method=_PUT, path=one, body=record, first=_23),
        Endpoint(number=56, module=module, interface=_R, method=_DELETE, path=one, first=_23),
    ]
    return [*rows, *_payments(), *_bookings()]


RESULTS: Final = {
    "active": Kind.ACTIVE_CHARGING_PROFILE_RESULT,
    "set": Kind.CHARGING_PROFILE_RESULT,
    "clear": Kind.CLEAR_PROFILE_RESULT,
}
"""What comes to our response_url of charging profiles (row 47), by its `{result}`."""

TABLE: Final[dict[int, Endpoint]] = {row.number: row for row in _rows()}
"""All rows, by number."""


def modules_of(version: Version) -> list[tuple[Module, Interface]]:
    """What a version can have besides versions and credentials: modules with their interfaces."""
    found = {
        (row.module, row.interface): None for row in TABLE.values() if row.interface is not _B and row.is_in(version)
    }
    return list(found)
