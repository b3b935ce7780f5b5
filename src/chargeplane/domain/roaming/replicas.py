"""Objects that partners own, as they are kept here: what a PUT or a PATCH makes of the copy we have.

A document is canonical JSON (OCPI 2.3.0) in bytes. It is taken apart only as far as a rule needs it; what we do not know stays as it was
sent. Locations are kept apart from their EVSEs, so that the status of one EVSE, which is most of what partners send, touches few bytes.

Where the chapters are silent:
- A document whose `last_updated` lies before that of our copy is late (a repeat, another way): it is answered as done and changes nothing.
  Levels are compared each with itself: a Location that is older than the last status of one of its EVSEs still brings its name.
- An EVSE or connector that a PATCH of its Location names is merged by its id; it never removes the others.
- A field that a PATCH sends as null is taken away.
- A repeated PATCH of a Session does not add its charging periods twice.

Source: OCPI 2.3.0 mod_locations (PUT, PATCH), mod_sessions (PATCH), transport_and_format (Client Owned Object Push).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.time import EPOCH, as_utc, rfc3339


class Module(enum.StrEnum):
    """Kinds of objects that are kept whole (OCPI's names of the modules)."""

    TARIFFS = "tariffs"
    TOKENS = "tokens"
    SESSIONS = "sessions"
    CDRS = "cdrs"
    CLIENT_INFO = "hubclientinfo"
    INVOICES = "invoicereconciliation"
    TERMINALS = "terminals"
    CONFIRMATIONS = "financial-advice-confirmations"
    BOOKING_LOCATIONS = "booking_locations"
    BOOKINGS = "bookings"


class Outcome(enum.StrEnum):
    """What became of a write."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    LATE = "late"
    """Ours is newer; nothing was changed."""
    UNKNOWN = "unknown"
    """There is nothing to patch, or nothing above it."""


Fields = dict[str, Raw]
"""The fields of a document, each as sent."""


class ConnectorKeys(Struct, frozen=True):
    """What is found by of a connector."""

    id: str
    standard: str = ""
    power_type: str = ""
    max_electric_power: int | None = None
    max_voltage: int = 0
    max_amperage: int = 0

    @property
    def power_w(self) -> int:
        """At most, in W; from voltage and current where it is not said (AC three phases: voltage is between line and neutral)."""
        if self.max_electric_power is not None:
            return max(0, min(self.max_electric_power, 2_000_000_000))
        phases = 3 if self.power_type == "AC_3_PHASE" else 2 if self.power_type.startswith("AC_2_PHASE") else 1
        return max(0, min(self.max_voltage * self.max_amperage * phases, 2_000_000_000))


class EvseKeys(Struct, frozen=True):
    """What is found by of an EVSE."""

    uid: str
    last_updated: datetime
    status: str = "UNKNOWN"
    evse_id: str | None = None
    connectors: tuple[ConnectorKeys, ...] = ()


class Coordinates(Struct, frozen=True):
    """Decimal degrees."""

    latitude: str
    longitude: str


class LocationKeys(Struct, frozen=True):
    """What is found by of a Location."""

    id: str
    last_updated: datetime
    country_code: str | None = None
    party_id: str | None = None
    name: str | None = None
    city: str | None = None
    postal_code: str | None = None
    country: str | None = None
    time_zone: str | None = None
    publish: bool = True
    coordinates: Coordinates | None = None
    evses: tuple[Raw, ...] | None = None


class ObjectKeys(Struct, frozen=True):
    """What is found by of any other object."""

    last_updated: datetime | None = None
    country_code: str | None = None
    party_id: str | None = None
    id: str | None = None
    uid: str | None = None
    type: str | None = None


class _Stamp(Struct, frozen=True):
    last_updated: datetime | None = None


fields_of: Final = msgspec.json.Decoder(Fields).decode
location_keys: Final = msgspec.json.Decoder(LocationKeys).decode
evse_keys: Final = msgspec.json.Decoder(EvseKeys).decode
connector_keys: Final = msgspec.json.Decoder(ConnectorKeys).decode
object_keys: Final = msgspec.json.Decoder(ObjectKeys).decode
_stamp: Final = msgspec.json.Decoder(_Stamp).decode
_list: Final = msgspec.json.Decoder(list[Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
_NULL: Final = b"null"


def folded(ident: str) -> str:
    """An id as it is compared: without case (OCPI types, CiString)."""
    return ident.lower()


def stamped(document: bytes, at: datetime) -> bytes:
    """The document with another `last_updated`."""
    fields = fields_of(document)
    fields["last_updated"] = Raw(_encode(rfc3339(at)))
    return _encode(fields)


def patch_stamp(patch: bytes) -> datetime:
    """The `last_updated` of a PATCH.

    Raises:
        InvalidInputError: it has none (OCPI: every PATCH shall).
    """
    try:
        at = _stamp(patch).last_updated
    except msgspec.ValidationError as error:
        raise wrong("last_updated", str(error)) from None
    if at is None:
        raise wrong("last_updated", "a PATCH must carry it")
    return as_utc(at)


def wrong(name: str, why: str) -> InvalidInputError:
    """A field that cannot be taken (OCPI status 2001)."""
    return InvalidInputError(f"'{name}' is wrong: {why}.", ((f"/{name}", why),))


def same_ids(pairs: Sequence[tuple[str, str | None, str]]) -> None:
    """That what the document says of itself is what the URL says.

    Args:
        pairs: (name, in the document or None where it says nothing, in the URL).
    Raises:
        InvalidInputError: they differ (OCPI transport_and_format, Errors: 2001).
    """
    for name, said, url in pairs:
        if said is not None and said.lower() != url.lower():
            raise wrong(name, f"it is '{said[:40]}' here and '{url[:40]}' in the URL")


def merged(document: bytes, patch: bytes) -> bytes:
    """A document with the fields of a PATCH in place of its own."""
    return _encode(_merge(fields_of(document), fields_of(patch)))


def _merge(fields: Fields, changes: Fields) -> Fields:
    for name, value in changes.items():
        if bytes(value) == _NULL:
            fields.pop(name, None)
        else:
            fields[name] = value
    return fields


def same(one: bytes, other: bytes) -> bool:
    """Whether two documents say the same, in whatever order."""
    return one == other or msgspec.json.decode(one) == msgspec.json.decode(other)


def same_record(one: bytes, other: bytes) -> bool:
    """Whether two CDRs say the same of what was charged. Who sends one again may make it anew: its time is another then, and so is,
    in OCPI 2.1.1, the state of the EVSEs in the Location that stands in it (kept as `location` beside the canonical fields)."""
    return one == other or _recorded(one) == _recorded(other)


def _recorded(document: bytes) -> Any:
    said = msgspec.json.decode(document)
    if isinstance(said, dict):
        for name in ("last_updated", "location"):
            said.pop(name, None)
    return said


def merged_session(document: bytes, patch: bytes) -> bytes:
    """A Session with a PATCH: its charging periods are added to those there are (OCPI 2.3.0 mod_sessions, PATCH)."""
    fields, changes = fields_of(document), fields_of(patch)
    added = changes.pop("charging_periods", None)
    _merge(fields, changes)
    if added is not None and bytes(added) != _NULL:
        had = fields.get("charging_periods")
        periods = [] if had is None or bytes(had) == _NULL else _list(had)
        known = {_plain(one) for one in periods}
        periods += [one for one in _list(added) if _plain(one) not in known]
        fields["charging_periods"] = Raw(_encode(periods))
    return _encode(fields)


def _plain(value: Raw) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(value), order="sorted")


class EvseCopy(Struct):
    """Our copy of an EVSE, while it is worked on.

    Attributes:
        told_at: `last_updated` of the document.
        dirty: it has to be written.
        gone: it has to be deleted.
    """

    uid: str
    told_at: datetime = EPOCH
    last_updated: datetime = EPOCH
    document: bytes = b""
    keys: EvseKeys | None = None
    dirty: bool = False
    gone: bool = False

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return bool(self.document) and not self.gone


class LocationCopy(Struct):
    """Our copy of a Location, while it is worked on.

    Attributes:
        evses: by folded uid; those that are looked at, or all where the whole Location is.
        touched: something below it was changed.
        dirty: the document has to be written.
        replaced: EVSEs that are not among `evses` have to be deleted.
    """

    id: str
    told_at: datetime = EPOCH
    last_updated: datetime = EPOCH
    document: bytes = b""
    keys: LocationKeys | None = None
    evses: dict[str, EvseCopy] = {}
    touched: bool = False
    dirty: bool = False
    replaced: bool = False

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return bool(self.document)

    def evse(self, uid: str) -> EvseCopy:
        """The copy of an EVSE; an empty one where there is none."""
        key = folded(uid)
        found = self.evses.get(key)
        if found is None:
            found = self.evses[key] = EvseCopy(uid)
        return found

    def _bump(self, at: datetime) -> None:
        self.touched = True
        self.last_updated = max(self.last_updated, at)


def _read_location(document: bytes) -> LocationKeys:
    try:
        return location_keys(document)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _read_evse(document: bytes | Raw) -> EvseKeys:
    try:
        return evse_keys(document)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _read_connector(document: bytes | Raw) -> ConnectorKeys:
    try:
        return connector_keys(document)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: msgspec.ValidationError) -> InvalidInputError:
    text = str(error)
    pointer = text.partition("`$")[2].partition("`")[0].replace(".", "/").replace("[", "/").replace("]", "")
    return InvalidInputError(f"The object cannot be taken: {text}.", ((pointer or "", text),))


def put_location(copy: LocationCopy, document: bytes, owner: tuple[str, str]) -> Outcome:
    """A Location takes the place of ours, with its EVSEs.

    Args:
        owner: country code and party of the URL.
    Raises:
        InvalidInputError: it is no Location, or another one.
    """
    keys = _read_location(document)
    same_ids(
        (("country_code", keys.country_code, owner[0]), ("party_id", keys.party_id, owner[1]), ("id", keys.id, copy.id))
    )
    at = as_utc(keys.last_updated)
    evses = [(_read_evse(one), bytes(one)) for one in keys.evses or ()]
    if copy.there and at < copy.told_at:
        return Outcome.LATE
    existed = copy.there
    named = set()
    for found, body in evses:
        named.add(folded(found.uid))
        _put_evse(copy.evse(found.uid), found, body)
    for key, evse in copy.evses.items():
        if key not in named and evse.there and evse.last_updated <= at:
            evse.gone = evse.dirty = True
    own = fields_of(document)
    own.pop("evses", None)
    body = _encode(own)
    changed = not existed or body != copy.document or any(one.dirty for one in copy.evses.values())
    if not changed:
        return Outcome.UNCHANGED
    copy.id, copy.document, copy.keys, copy.told_at = keys.id, body, keys, at
    copy.dirty = copy.replaced = True
    copy._bump(at)
    return Outcome.UPDATED if existed else Outcome.CREATED


def _put_evse(copy: EvseCopy, keys: EvseKeys, document: bytes) -> Outcome:
    at = as_utc(keys.last_updated)
    existed = copy.there
    if existed:
        if at < copy.told_at:
            return Outcome.LATE
        if document == copy.document:
            return Outcome.UNCHANGED
    copy.uid, copy.document, copy.keys, copy.told_at = keys.uid, document, keys, at
    copy.last_updated = max(copy.last_updated, at) if existed else at
    copy.dirty, copy.gone = True, False
    return Outcome.UPDATED if existed else Outcome.CREATED


def put_evse(location: LocationCopy, uid: str, document: bytes) -> Outcome:
    """An EVSE takes the place of ours; its Location gets its `last_updated`.

    Raises:
        InvalidInputError: it is no EVSE, or another one.
    """
    keys = _read_evse(document)
    same_ids((("uid", keys.uid, uid),))
    if not location.there:
        return Outcome.UNKNOWN
    outcome = _put_evse(location.evse(uid), keys, document)
    if outcome in (Outcome.CREATED, Outcome.UPDATED):
        location._bump(as_utc(keys.last_updated))
    return outcome


def put_connector(location: LocationCopy, evse_uid: str, ident: str, document: bytes) -> Outcome:
    """A connector takes the place of ours; its EVSE and its Location get its `last_updated`.

    Raises:
        InvalidInputError: it is no connector, or another one.
    """
    same_ids((("id", _read_connector(document).id, ident),))
    return _set_connector(location, evse_uid, ident, patch_stamp(document), document, whole=True)


def patch_connector(location: LocationCopy, evse_uid: str, ident: str, patch: bytes) -> Outcome:
    """Fields of a connector; the same above it.

    Raises:
        InvalidInputError: it has no `last_updated`, names another connector, or makes what is none.
    """
    _same_patched("id", patch, ident)
    return _set_connector(location, evse_uid, ident, patch_stamp(patch), patch, whole=False)


def _set_connector(
    location: LocationCopy, evse_uid: str, ident: str, at: datetime, document: bytes, *, whole: bool
) -> Outcome:
    if not location.there:
        return Outcome.UNKNOWN
    evse = location.evse(evse_uid)
    if not evse.there:
        return Outcome.UNKNOWN
    fields = fields_of(evse.document)
    connectors = _items(fields, "connectors")
    wanted = folded(ident)
    place = next((n for n, one in enumerate(connectors) if folded(_read_connector(one).id) == wanted), None)
    if place is None:
        if not whole:
            return Outcome.UNKNOWN
        connectors.append(Raw(document))
    else:
        told = _stamp(connectors[place]).last_updated
        if told is not None and at < as_utc(told):
            return Outcome.LATE
        new = document if whole else merged(bytes(connectors[place]), document)
        if new == bytes(connectors[place]):
            return Outcome.UNCHANGED
        connectors[place] = Raw(new)
    fields["connectors"] = Raw(_encode(connectors))
    shown = max(evse.last_updated, at)
    fields["last_updated"] = Raw(_encode(rfc3339(shown)))
    body = _encode(fields)
    evse.keys, evse.document, evse.dirty, evse.last_updated = _read_evse(body), body, True, shown
    location._bump(at)
    return Outcome.CREATED if place is None else Outcome.UPDATED


def _items(fields: Fields, name: str) -> list[Raw]:
    had = fields.get(name)
    return [] if had is None or bytes(had) == _NULL else _list(had)


def _same_patched(name: str, patch: bytes, ident: str) -> None:
    value = fields_of(patch).get(name)
    if value is not None and bytes(value) != _NULL:
        same_ids(((name, str(msgspec.json.decode(value)), ident),))


def patch_evse(location: LocationCopy, uid: str, patch: bytes) -> Outcome:
    """Fields of an EVSE; its Location gets its `last_updated`.

    Raises:
        InvalidInputError: it has no `last_updated`, names another EVSE, or makes what is none.
    """
    at = patch_stamp(patch)
    if not location.there:
        return Outcome.UNKNOWN
    evse = location.evse(uid)
    if not evse.there:
        return Outcome.UNKNOWN
    outcome = _patch_evse(evse, uid, fields_of(patch), at)
    if outcome is Outcome.UPDATED:
        location._bump(at)
    return outcome


def _patch_evse(evse: EvseCopy, uid: str, changes: Fields, at: datetime) -> Outcome:
    if at < evse.told_at:
        return Outcome.LATE
    said = changes.get("uid")
    if said is not None:
        same_ids((("uid", str(msgspec.json.decode(said)), uid),))
    fields = fields_of(evse.document)
    connectors = changes.pop("connectors", None)
    _merge(fields, changes)
    if connectors is not None and bytes(connectors) != _NULL:
        fields["connectors"] = Raw(_encode(_merged_items(_items(fields, "connectors"), _list(connectors), "id")))
    body = _encode(fields)
    if body == evse.document:
        return Outcome.UNCHANGED
    evse.keys = _read_evse(body)
    evse.document, evse.told_at, evse.dirty = body, at, True
    evse.last_updated = max(evse.last_updated, at)
    return Outcome.UPDATED


def _merged_items(had: list[Raw], changed: list[Raw], name: str) -> list[Raw]:
    places = {_id_in(one, name): n for n, one in enumerate(had)}
    for one in changed:
        place = places.get(_id_in(one, name))
        if place is None:
            had.append(one)
        else:
            had[place] = Raw(merged(bytes(had[place]), bytes(one)))
    return had


def _id_in(item: Raw, name: str) -> str:
    value: Any = msgspec.json.decode(item)
    said = value.get(name) if isinstance(value, dict) else None
    if not isinstance(said, str):
        raise wrong(name, "every item of the list must have it")
    return folded(said)


def patch_location(copy: LocationCopy, patch: bytes, owner: tuple[str, str]) -> Outcome:
    """Fields of a Location, and of EVSEs in it, by their uid.

    Raises:
        InvalidInputError: it has no `last_updated`, names another Location, or makes what is none.
    """
    at = patch_stamp(patch)
    if not copy.there:
        return Outcome.UNKNOWN
    for name, url in (("country_code", owner[0]), ("party_id", owner[1]), ("id", copy.id)):
        _same_patched(name, patch, url)
    if at < copy.told_at:
        return Outcome.LATE
    changes = fields_of(patch)
    evses = changes.pop("evses", None)
    body = _encode(_merge(fields_of(copy.document), changes))
    keys = _read_location(body)
    changed = body != copy.document
    tried = msgspec.structs.replace(copy, evses={key: msgspec.structs.replace(one) for key, one in copy.evses.items()})
    for one in [] if evses is None or bytes(evses) == _NULL else _list(evses):
        evse = tried.evse(_uid(one))
        if evse.there:
            changed |= _patch_evse(evse, evse.uid, fields_of(one), at) is Outcome.UPDATED
        else:
            changed |= _put_evse(evse, _read_evse(one), bytes(one)) is Outcome.CREATED
    if not changed:
        return Outcome.UNCHANGED
    copy.document, copy.keys, copy.told_at, copy.dirty, copy.evses = body, keys, at, True, tried.evses
    copy._bump(at)
    return Outcome.UPDATED


def _uid(item: Raw) -> str:
    value: Any = msgspec.json.decode(item)
    said = value.get("uid") if isinstance(value, dict) else None
    if not isinstance(said, str):
        raise wrong("evses/uid", "every EVSE must have it")
    return said


def whole_location(document: bytes, last_updated: datetime, evses: Sequence[bytes]) -> bytes:
    """A Location with its EVSEs and its shown `last_updated`, as its owner would send it."""
    fields = fields_of(document)
    fields.pop("last_updated", None)
    if evses:
        fields["evses"] = Raw(b"[" + b",".join(evses) + b"]")
    fields["last_updated"] = Raw(_encode(rfc3339(last_updated)))
    return _encode(fields)


def connector_in(evse: bytes, ident: str) -> bytes | None:
    """A connector of an EVSE; None where it has no such one."""
    wanted = folded(ident)
    for one in _items(fields_of(evse), "connectors"):
        if folded(_read_connector(one).id) == wanted:
            return bytes(one)
    return None


class ObjectCopy(Struct):
    """Our copy of another object, while it is worked on."""

    id: str
    last_updated: datetime = EPOCH
    document: bytes = b""
    gone: bool = False
    dirty: bool = False

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return bool(self.document) and not self.gone


_UID_MODULES: Final = frozenset({Module.TOKENS})
_WITHOUT_ID: Final = frozenset({Module.CLIENT_INFO})


def put_object(copy: ObjectCopy, module: Module, document: bytes, owner: tuple[str, str]) -> Outcome:
    """An object takes the place of ours.

    Raises:
        InvalidInputError: it names itself, or its owner, otherwise than the URL does.
    """
    try:
        keys = object_keys(document)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    name = "uid" if module in _UID_MODULES else "id"
    pairs = [("country_code", keys.country_code, owner[0]), ("party_id", keys.party_id, owner[1])]
    if module not in _WITHOUT_ID:
        pairs.append((name, keys.uid if name == "uid" else keys.id, copy.id))
    same_ids(pairs)
    at = EPOCH if keys.last_updated is None else as_utc(keys.last_updated)
    existed = copy.there
    if existed:
        if at < copy.last_updated:
            return Outcome.LATE
        if document == copy.document:
            return Outcome.UNCHANGED
    copy.document, copy.last_updated, copy.gone, copy.dirty = document, at, False, True
    return Outcome.UPDATED if existed else Outcome.CREATED


def patch_object(copy: ObjectCopy, module: Module, patch: bytes, owner: tuple[str, str]) -> Outcome:
    """Fields of an object.

    Raises:
        InvalidInputError: it has no `last_updated`, or names another object.
    """
    at = patch_stamp(patch)
    if not copy.there:
        return Outcome.UNKNOWN
    for name, url in (("country_code", owner[0]), ("party_id", owner[1])):
        _same_patched(name, patch, url)
    if module not in _WITHOUT_ID:
        _same_patched("uid" if module in _UID_MODULES else "id", patch, copy.id)
    if at < copy.last_updated:
        return Outcome.LATE
    body = merged_session(copy.document, patch) if module is Module.SESSIONS else merged(copy.document, patch)
    if body == copy.document:
        return Outcome.UNCHANGED
    copy.document, copy.last_updated, copy.dirty = body, at, True
    return Outcome.UPDATED


_CALENDARS: Final = "calendars"


def set_calendar(copy: ObjectCopy, ident: str, document: bytes, *, whole: bool) -> Outcome:
    """A calendar of a booking location takes the place of ours, or fields of it; the booking location gets its `last_updated`.

    Args:
        whole: a PUT.
    Raises:
        InvalidInputError: it has no `last_updated`, or names another calendar.
    Source: OCPI 2.3.0 mod_bookings, Receiver.
    """
    at = patch_stamp(document)
    _same_patched("id", document, ident)
    if not copy.there:
        return Outcome.UNKNOWN
    fields = fields_of(copy.document)
    calendars = _items(fields, _CALENDARS)
    wanted = folded(ident)
    place = next((n for n, one in enumerate(calendars) if _id_in(one, "id") == wanted), None)
    if place is None:
        if not whole:
            return Outcome.UNKNOWN
        calendars.append(Raw(document))
    else:
        told = _stamp(calendars[place]).last_updated
        if told is not None and at < as_utc(told):
            return Outcome.LATE
        new = document if whole else merged(bytes(calendars[place]), document)
        if new == bytes(calendars[place]):
            return Outcome.UNCHANGED
        calendars[place] = Raw(new)
    fields[_CALENDARS] = Raw(_encode(calendars))
    copy.last_updated = max(copy.last_updated, at)
    fields["last_updated"] = Raw(_encode(rfc3339(copy.last_updated)))
    copy.document, copy.dirty = _encode(fields), True
    return Outcome.CREATED if place is None else Outcome.UPDATED


def calendar_in(document: bytes, ident: str) -> bytes | None:
    """A calendar of a booking location; None where it has no such one."""
    wanted = folded(ident)
    return next((bytes(one) for one in _items(fields_of(document), _CALENDARS) if _id_in(one, "id") == wanted), None)
