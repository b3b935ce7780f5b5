"""PATCH, and changes of an EVSE, a connector or a calendar inside the object that holds it.

Trees are never changed in place: what comes back shares with what came in whatever did not change.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from chargeplane.ocpi.documents import DocumentError
from chargeplane.ocpi.fields import instant, same
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import model_of
from chargeplane.ocpi.schema import fields_of
from chargeplane.ocpi.versions import CANONICAL, Version

Tree = dict[str, Any]

_IDS: Final = {
    Kind.LOCATION: ("country_code", "party_id", "id"),
    Kind.EVSE: ("uid",),
    Kind.CONNECTOR: ("id",),
    Kind.SESSION: ("country_code", "party_id", "id"),
    Kind.TARIFF: ("country_code", "party_id", "id"),
    Kind.TOKEN: ("country_code", "party_id", "uid", "type"),
    Kind.TERMINAL: ("terminal_id",),
    Kind.BOOKING_LOCATION: ("country_code", "party_id", "id"),
    Kind.CALENDAR: ("id",),
    Kind.BOOKING: ("country_code", "party_id", "id"),
}
"""What tells an object from others; a PATCH may repeat it and not change it."""

_APPENDED: Final = {Kind.SESSION: ("charging_periods",)}
"""Lists to which a PATCH adds (OCPI 2.3.0 mod_sessions, PATCH); any other list is replaced."""


def merge(kind: Kind, tree: Tree, patch: Tree, *, received: str | None = None, version: Version = CANONICAL) -> Tree:
    """The object after a PATCH.

    Fields that the patch lacks stay; null removes an optional one (some partners say so; the specification has no way).
    Objects and lists are replaced as a whole, but a Session's charging periods are added; one that is there
    already, to the letter, came with a PATCH that was repeated and is not added again.

    Args:
        tree: the object as it stands.
        patch: what was sent, decoded with `partial=True`.
        received: last_updated for a patch without it, as OCPI 2.1.1 allows; None where it is required.
        version: of both trees.
    Raises:
        DocumentError: last_updated is missing, an id would change, or a required field would go.
    """
    if patch.get("last_updated") is None:
        if received is None:
            raise _wrong(kind, version, "last_updated", "Required in a PATCH and not there")
        patch = {**patch, "last_updated": received}
    model = model_of(kind, version)
    assert issubclass(model, Struct)
    known = fields_of(model)
    for name in _IDS.get(kind, ()):
        if name in patch and name in tree and not same(str(patch[name]), str(tree[name])):
            raise _wrong(kind, version, name, f"A PATCH cannot change '{tree[name]}' to '{patch[name]}'")
    merged = dict(tree)
    appended = _APPENDED.get(kind, ())
    for name, value in patch.items():
        if value is None:
            if name in known and known[name].required:
                raise _wrong(kind, version, name, "Required; it cannot be removed")
            merged.pop(name, None)
        elif name in appended:
            there = merged.get(name) or []
            merged[name] = [*there, *(item for item in value if item not in there)]
        elif name not in _IDS.get(kind, ()) or name not in tree:
            merged[name] = value
    return merged


def evse_of(location: Tree, evse_uid: str) -> Tree | None:
    """The EVSE of a Location's tree, if it has it."""
    return next((evse for evse in location.get("evses") or () if same(str(evse["uid"]), evse_uid)), None)


def connector_of(evse: Tree, connector_id: str) -> Tree | None:
    """The connector of an EVSE's tree, if it has it."""
    return next((one for one in evse.get("connectors") or () if same(str(one["id"]), connector_id)), None)


def with_evse(location: Tree, evse: Tree) -> Tree:
    """The Location with an EVSE added or replaced, its last_updated raised (OCPI 2.3.0 mod_locations, PUT and PATCH)."""
    return _within(location, "evses", "uid", evse)


def with_connector(location: Tree, evse_uid: str, connector: Tree) -> Tree:
    """The Location with a connector added or replaced, last_updated raised on the EVSE and the Location.

    Raises:
        KeyError: the Location does not have the EVSE.
    """
    evse = evse_of(location, evse_uid)
    if evse is None:
        raise KeyError(evse_uid)
    return with_evse(location, _within(evse, "connectors", "id", connector))


def with_calendar(booking_location: Tree, calendar: Tree) -> Tree:
    """The BookingLocation with a calendar added or replaced, its last_updated raised (OCPI 2.3.0 mod_bookings, PATCH)."""
    return _within(booking_location, "calendars", "id", calendar)


def _within(outer: Tree, items: str, ident: str, item: Tree) -> Tree:
    there = outer.get(items) or []
    place = next((at for at, one in enumerate(there) if same(str(one[ident]), str(item[ident]))), None)
    changed = [*there, item] if place is None else [*there[:place], item, *there[place + 1 :]]
    return {**outer, items: changed, "last_updated": _later(outer.get("last_updated"), item.get("last_updated"))}


def _later(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one or other
    return other if instant(other) > instant(one) else one


def _wrong(kind: Kind, version: Version, field: str, sentence: str) -> DocumentError:
    return DocumentError(kind, version, ((f"/{field}", sentence),))
