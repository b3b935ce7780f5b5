"""What every request must obey before its handler sees it: whose object it is, and that URL and body mean the same one."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from chargeplane.domain.roaming.connection import PartyId
from chargeplane.edges.ocpi_server.call import Call
from chargeplane.kernel.errors import InvalidInputError, NotFoundError
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.table import Method
from chargeplane.ocpi.versions import Version

_IDS: Final[dict[Kind, tuple[tuple[str, str], ...]]] = {
    Kind.LOCATION: (("location_id", "id"),),
    Kind.EVSE: (("evse_uid", "uid"),),
    Kind.CONNECTOR: (("connector_id", "id"),),
    Kind.SESSION: (("session_id", "id"),),
    Kind.TARIFF: (("tariff_id", "id"),),
    Kind.TOKEN: (("token_uid", "uid"),),
    Kind.CLIENT_INFO: (),
    Kind.INVOICE_RECONCILIATION_RECORD: (("id", "id"),),
    Kind.TERMINAL: (("terminal_id", "terminal_id"),),
    Kind.BOOKING_LOCATION: (("booking_location_id", "id"),),
    Kind.CALENDAR: (("calendar_id", "id"),),
    Kind.BOOKING: (("booking_id", "id"),),
}
"""By which variable of the path and which field of the body an object is named."""

_ALSO: Final = {Kind.BOOKING: "request_id"}
"""Another field that the URL may name: the chapter says both of a Booking's PUT (OCPI 2.3.0 mod_bookings)."""

_DATED: Final = frozenset(
    {
        Kind.LOCATION,
        Kind.EVSE,
        Kind.CONNECTOR,
        Kind.SESSION,
        Kind.TOKEN,
        Kind.BOOKING_LOCATION,
        Kind.CALENDAR,
        Kind.BOOKING,
    }
)


def check_owner(call: Call) -> None:
    """Refuses a path below a party that is not the caller's (OCPI 2.3.0 transport_and_format, Client Owned Object Push, Errors).

    Raises:
        NotFoundError: reading.
        InvalidInputError: writing.
    """
    owner = call.owner
    peer = call.peer
    if owner is None or peer.is_hub or peer.has_party(owner) or call.row.configuration:
        return
    refuse_owner(call, owner)


def refuse_owner(call: Call, owner: PartyId) -> NoReturn:
    """Refuses a path below a party that is not the caller's.

    Raises:
        NotFoundError: reading.
        InvalidInputError: writing.
    """
    if call.row.method is Method.GET:
        raise NotFoundError("party of yours", str(owner))
    raise InvalidInputError(
        f"{owner} is none of the parties that you registered.", (("/party_id", f"{owner} is none of your parties"),)
    )


def check_ids(call: Call, version: Version) -> None:
    """Refuses a body that names another object than the URL, and a PATCH that does not say when.

    Strings are compared without case (OCPI 2.3.0 types, CiString).

    Raises:
        InvalidInputError: with the field (status 2001).
    """
    document = call.document
    if document is None or not isinstance(document.tree, dict):
        return
    tree: dict[str, Any] = document.tree
    kind = document.kind
    for variable, field in _IDS.get(kind, ()):
        other = tree.get(_ALSO.get(kind, ""))
        if other is None or str(other).casefold() != call.path.get(variable, "").casefold():
            _same(call, tree, variable, field)
    if kind in _OWNED:
        _same(call, tree, "country_code", "country_code")
        _same(call, tree, "party_id", "party_id")
    # OCPI 2.3.0 mod_locations and others: any PATCH contains last_updated. 2.1.1 does not ask for it, and its examples lack it.
    if call.row.partial and version is not Version.V2_1_1 and kind in _DATED and "last_updated" not in tree:
        raise InvalidInputError("A PATCH must contain last_updated.", (("/last_updated", "Required in a PATCH"),))


_OWNED: Final = frozenset(
    {Kind.LOCATION, Kind.SESSION, Kind.TARIFF, Kind.TOKEN, Kind.CLIENT_INFO, Kind.INVOICE_RECONCILIATION_RECORD}
)


def _same(call: Call, tree: dict[str, Any], variable: str, field: str) -> None:
    named, held = call.path.get(variable), tree.get(field)
    if named is None or held is None or str(held).casefold() == named.casefold():
        return
    sentence = f"The URL names '{named}', the body '{held}'"
    raise InvalidInputError(f"{sentence}.", ((f"/{field}", sentence),))
