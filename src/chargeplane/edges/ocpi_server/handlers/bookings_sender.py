"""Rows 69 to 73: what partners' drivers can book at our EVSEs, and their bookings (OCPI 2.3.0 mod_bookings, Sender)."""

from __future__ import annotations

from datetime import datetime

from chargeplane.app.roaming.own_documents import OwnDocuments, Part
from chargeplane.app.roaming.partner_bookings import PartnerBookings
from chargeplane.domain.roaming.bookings import wrong
from chargeplane.domain.roaming.replicas import calendar_in
from chargeplane.edges.ocpi_server.call import Call, Handler, Page, Reply, not_found, refused
from chargeplane.edges.ocpi_server.handlers.own_lists import ours, partner_of
from chargeplane.ocpi.paging import PageAsk, read_time
from chargeplane.ocpi.status import Status


def bookings_sender(documents: OwnDocuments, bookings: PartnerBookings) -> dict[int, Handler]:
    """Handlers by row."""

    def listed(module: str) -> Handler:
        async def handle(call: Call) -> Reply:
            ask = call.page or PageAsk()
            part = Part(
                date_from=ask.date_from,
                date_to=ask.date_to,
                offset=ask.offset,
                limit=ask.limit,
                free_from=_time(call, "timeslot_from"),
                free_to=_time(call, "timeslot_to"),
            )
            if part.free_from is not None and part.free_to is not None and part.free_from > part.free_to:
                raise wrong("/timeslot_to", "Must not be before timeslot_from")
            total, found = await documents.page(call.peer.tenant_id, call.peer.id, module, part, ours(call))
            return Reply(page=Page(documents=found, total=total))

        return handle

    async def place_of(call: Call) -> bytes | None:
        ident = call.path["booking_location_id"]
        return await documents.booking_location(call.peer.tenant_id, call.peer.id, ident)

    async def place(call: Call) -> Reply:
        body = await place_of(call)
        return not_found("booking location", Status.UNKNOWN_LOCATION) if body is None else Reply(document=body)

    async def calendar(call: Call) -> Reply:
        body = await place_of(call)
        found = None if body is None else calendar_in(body, call.path["calendar_id"])
        return not_found("calendar", Status.UNKNOWN_LOCATION) if found is None else Reply(document=found)

    async def request(call: Call) -> Reply:
        said = await bookings.take(partner_of(call), call.body)
        if said.document is None:
            return refused(Status.UNKNOWN_LOCATION, said.message or "There is no such booking location.")
        return Reply(document=said.document, message=said.message)

    return {69: listed("booking_locations"), 70: place, 71: calendar, 72: listed("bookings"), 73: request}


def _time(call: Call, name: str) -> datetime | None:
    text = call.query.get(name) if name in call.row.filters else None
    return read_time(name, text) if text else None
