"""Rows by which partners bring what they own: locations, sessions, CDRs, tariffs, tokens, and the modules of 2.3.0.

The owner named in the URL must be a party on the other side of the connection, or anybody's where that is a hub; what is not known is told
with HTTP 404 and OCPI 2003 (locations) or 2000 (OCPI 2.3.0 status_codes; transport_and_format, Errors).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chargeplane.app.roaming.replicas import Owner, Replicas, Written
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.domain.roaming.replicas import Module, Outcome, calendar_in, object_keys
from chargeplane.edges.ocpi_server.call import OK, Call, Handler, Reply, not_found, refused
from chargeplane.ocpi.status import Status

CREATED = Reply(created=True)
_RFID = "RFID"


def owner_of(call: Call, party: PartyId | None = None) -> Owner | None:
    """Whose object a request is about; None where it is none of the partner's."""
    named = party or call.owner
    if named is None:
        return None
    peer = call.peer
    if not (peer.is_hub or peer.has_party(named)):
        return None
    return Owner(peer.tenant_id, peer.id, named.country_code, named.party_id)


class _Rows:
    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    # Locations: rows 11 to 19

    async def get_location(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        found = None if owner is None else await self._replicas.location(owner, path["location_id"])
        return _got(found, f"Location '{path['location_id']}'", Status.UNKNOWN_LOCATION)

    async def get_evse(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        found = None if owner is None else await self._replicas.evse(owner, path["location_id"], path["evse_uid"])
        return _got(found, f"EVSE '{path['evse_uid']}'", Status.UNKNOWN_LOCATION)

    async def get_connector(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        found = None
        if owner is not None:
            found = await self._replicas.connector(owner, path["location_id"], path["evse_uid"], path["connector_id"])
        return _got(found, f"Connector '{path['connector_id']}'", Status.UNKNOWN_LOCATION)

    async def put_location(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        return _wrote(
            await self._replicas.put_location(owner, path["location_id"], call.body),
            f"Location '{path['location_id']}'",
            Status.UNKNOWN_LOCATION,
        )

    async def put_evse(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        return _wrote(
            await self._replicas.put_evse(owner, path["location_id"], path["evse_uid"], call.body),
            f"Location '{path['location_id']}'",
            Status.UNKNOWN_LOCATION,
        )

    async def put_connector(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        return _wrote(
            await self._replicas.put_connector(
                owner, path["location_id"], path["evse_uid"], path["connector_id"], call.body
            ),
            f"EVSE '{path['evse_uid']}' at Location '{path['location_id']}'",
            Status.UNKNOWN_LOCATION,
        )

    async def patch_location(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        return _wrote(
            await self._replicas.patch_location(owner, path["location_id"], call.body),
            f"Location '{path['location_id']}'",
            Status.UNKNOWN_LOCATION,
        )

    async def patch_evse(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        return _wrote(
            await self._replicas.patch_evse(owner, path["location_id"], path["evse_uid"], call.body),
            f"EVSE '{path['evse_uid']}' at Location '{path['location_id']}'",
            Status.UNKNOWN_LOCATION,
        )

    async def patch_connector(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        return _wrote(
            await self._replicas.patch_connector(
                owner, path["location_id"], path["evse_uid"], path["connector_id"], call.body
            ),
            f"Connector '{path['connector_id']}' of EVSE '{path['evse_uid']}' at Location '{path['location_id']}'",
            Status.UNKNOWN_LOCATION,
        )

    # Whole objects

    def get(self, module: Module, name: str) -> Handler:
        async def handler(call: Call) -> Reply:
            owner = owner_of(call)
            ident, variant = _named(call, module, name)
            found = None if owner is None else await self._replicas.object(owner, module, ident, variant)
            return _got(found, f"object '{ident}'", _unknown(module))

        return handler

    def put(self, module: Module, name: str) -> Handler:
        async def handler(call: Call) -> Reply:
            owner = owner_of(call)
            if owner is None:
                return _nobody(call)
            ident, variant = _named(call, module, name)
            return _wrote(
                await self._replicas.put(owner, module, ident, call.body, variant),
                f"object '{ident}'",
                _unknown(module),
            )

        return handler

    def patch(self, module: Module, name: str) -> Handler:
        async def handler(call: Call) -> Reply:
            owner = owner_of(call)
            if owner is None:
                return _nobody(call)
            ident, variant = _named(call, module, name)
            return _wrote(
                await self._replicas.patch(owner, module, ident, call.body, variant),
                f"object '{ident}'",
                _unknown(module),
            )

        return handler

    def delete(self, module: Module, name: str) -> Handler:
        async def handler(call: Call) -> Reply:
            owner = owner_of(call)
            if owner is None:
                return _nobody(call)
            return _wrote(
                await self._replicas.delete(owner, module, call.path[name]),
                f"object '{call.path[name]}'",
                Status.CLIENT_ERROR,
            )

        return handler

    # Calendars of booking locations: rows 77 to 79

    async def get_calendar(self, call: Call) -> Reply:
        owner, path = owner_of(call), call.path
        place = None
        if owner is not None:
            place = await self._replicas.object(owner, Module.BOOKING_LOCATIONS, path["booking_location_id"])
        found = None if place is None else calendar_in(place, path["calendar_id"])
        return _got(found, f"Calendar '{path['calendar_id']}'", Status.CLIENT_ERROR)

    async def put_calendar(self, call: Call) -> Reply:
        return await self._set_calendar(call, whole=True)

    async def patch_calendar(self, call: Call) -> Reply:
        return await self._set_calendar(call, whole=False)

    async def _set_calendar(self, call: Call, *, whole: bool) -> Reply:
        owner, path = owner_of(call), call.path
        if owner is None:
            return _nobody(call)
        written = await self._replicas.set_calendar(
            owner, path["booking_location_id"], path["calendar_id"], call.body, whole=whole
        )
        return _wrote(
            written,
            f"Calendar '{path['calendar_id']}' of booking location '{path['booking_location_id']}'",
            Status.CLIENT_ERROR,
        )

    # Invoice reconciliation: row 53

    async def post_record(self, call: Call) -> Reply:
        keys = object_keys(call.body)
        if not keys.id or not keys.country_code or not keys.party_id:
            return refused(Status.INVALID_PARAMETERS, "'id', 'country_code' and 'party_id' must be given.")
        owner = owner_of(call, PartyId(keys.country_code, keys.party_id))
        if owner is None:
            return refused(
                Status.INVALID_PARAMETERS,
                f"There is no party '{keys.country_code}*{keys.party_id}' behind this connection.",
            )
        return _wrote(
            await self._replicas.put(owner, Module.INVOICES, keys.id, call.body), "record", Status.CLIENT_ERROR
        )


def _named(call: Call, module: Module, name: str) -> tuple[str, str]:
    """The object's id, and of tokens their type (OCPI 2.3.0 mod_tokens: RFID where it is left out)."""
    if module is Module.TOKENS:
        return call.path[name], (call.query.get("type") or _RFID).upper()
    if module is Module.BOOKINGS and call.document is not None:
        # Some name a Booking by its request_id in the URL; it is kept by its id.
        return str(call.document.tree.get("id") or call.path[name]), ""
    return call.path[name], ""


def _unknown(module: Module) -> int:
    return Status.UNKNOWN_TOKEN if module is Module.TOKENS else Status.CLIENT_ERROR


def _got(document: bytes | None, what: str, status: int) -> Reply:
    return not_found(what, status) if document is None else Reply(document=document)


def _wrote(written: Written, what: str, status: int) -> Reply:
    if written.outcome is Outcome.UNKNOWN:
        return not_found(what, status)
    return CREATED if written.outcome is Outcome.CREATED else OK


def _nobody(call: Call) -> Reply:
    return not_found(f"party '{call.owner}' behind this connection")


def handlers(replicas: Replicas) -> dict[int, Handler]:
    """By row of the table. CDRs, whose POST has a Location, have a file of their own."""
    rows = _Rows(replicas)
    locations: tuple[Callable[[Call], Awaitable[Reply]], ...] = (
        rows.get_location,
        rows.get_evse,
        rows.get_connector,
        rows.put_location,
        rows.put_evse,
        rows.put_connector,
        rows.patch_location,
        rows.patch_evse,
        rows.patch_connector,
    )
    made = dict(enumerate(locations, 11))
    for module, name, get, put, patch in (
        (Module.SESSIONS, "session_id", 22, 23, 24),
        (Module.TARIFFS, "tariff_id", 29, 30, 32),
        (Module.TOKENS, "token_uid", 35, 36, 37),
        (Module.BOOKING_LOCATIONS, "booking_location_id", 74, 75, 76),
        (Module.BOOKINGS, "booking_id", 80, 81, 82),
    ):
        made |= {get: rows.get(module, name), put: rows.put(module, name), patch: rows.patch(module, name)}
    made |= {77: rows.get_calendar, 78: rows.put_calendar, 79: rows.patch_calendar}
    made |= {
        53: rows.post_record,
        54: rows.get(Module.INVOICES, "id"),
        55: rows.put(Module.INVOICES, "id"),
        56: rows.delete(Module.INVOICES, "id"),
    }
    made[31] = rows.delete(Module.TARIFFS, "tariff_id")
    return made
