"""What partners read of ours: locations, tariffs, sessions, CDRs (Sender interfaces of operators)."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.app.roaming.commands import Partner, PartnerCommands
from chargeplane.app.roaming.operator import route_text
from chargeplane.app.roaming.own_documents import OwnDocuments, Part
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.edges.ocpi_server.call import Call, Handler, Page, Reply, not_found
from chargeplane.ocpi.paging import PageAsk
from chargeplane.ocpi.status import Status

_LISTS: Final = {7: "locations", 20: "sessions", 25: "cdrs", 28: "tariffs"}


_GRANTED: Final = frozenset({"REGULAR", "FAST"})


class _Preferences(Struct):
    profile_type: str


_preferences = msgspec.json.Decoder(_Preferences).decode


def own_lists(documents: OwnDocuments, commands: PartnerCommands) -> dict[int, Handler]:
    """Handlers by row."""

    def listed(module: str) -> Handler:
        async def handle(call: Call) -> Reply:
            ask = call.page or PageAsk()
            total, found = await documents.page(
                call.peer.tenant_id,
                call.peer.id,
                module,
                Part(date_from=ask.date_from, date_to=ask.date_to, offset=ask.offset, limit=ask.limit),
                ours(call),
                _whose(call),
            )
            return Reply(page=Page(documents=found, total=total))

        return handle

    async def location(call: Call) -> Reply:
        body = await documents.location(call.peer.tenant_id, call.peer.id, call.path["location_id"])
        return _answer(body, "location")

    async def evse(call: Call) -> Reply:
        body = await documents.evse(call.peer.tenant_id, call.peer.id, call.path["location_id"], call.path["evse_uid"])
        return _answer(body, "EVSE")

    async def connector(call: Call) -> Reply:
        path = call.path
        body = await documents.connector(
            call.peer.tenant_id, call.peer.id, path["location_id"], path["evse_uid"], path["connector_id"]
        )
        return _answer(body, "connector")

    async def preferences(call: Call) -> Reply:
        partner = partner_of(call)
        session = await commands.session(partner, call.path["session_id"])
        if session is None:
            return not_found("session", Status.INVALID_PARAMETERS)
        place = session.frozen.place
        if not await documents.takes_preferences(partner.tenant_id, partner.connection_id, place.id, place.evse_uid):
            # OCPI 2.3.0 mod_sessions, ChargingPreferencesResponse: 404 with 2001.
            return not_found("EVSE that takes charging preferences", Status.INVALID_PARAMETERS)
        # Nothing is held back or planned by price here: every session charges as fast as the limits of its place allow.
        granted = _preferences(call.body).profile_type in _GRANTED
        return Reply(document=b'"ACCEPTED"' if granted else b'"PROFILE_TYPE_NOT_SUPPORTED"')

    found: dict[int, Handler] = {row: listed(module) for row, module in _LISTS.items()}
    return {**found, 8: location, 9: evse, 10: connector, 21: preferences}


def partner_of(call: Call) -> Partner:
    """Who asks."""
    peer = call.peer
    return Partner(
        connection_id=peer.id,
        tenant_id=peer.tenant_id,
        name=peer.name,
        parties=_speakers(call),
        routing=route_text(call.route),
    )


def _speakers(call: Call) -> frozenset[str]:
    """Whom a request speaks for: behind a hub whoever it says that it is from; a hub of OCPI 2.1.1 does not say it."""
    peer = call.peer
    if not peer.is_hub:
        return frozenset(one.id.key for one in peer.parties)
    whose = _whose(call)
    return frozenset() if whose is None else frozenset({whose.key})


def _whose(call: Call) -> PartyId | None:
    """The provider behind a hub that asks: it is shown what is its drivers' alone."""
    sender, hub = call.route.from_party, call.peer.hub_party
    if not call.peer.is_hub or sender is None or (hub is not None and sender.key == hub.key):
        return None
    return sender


def ours(call: Call) -> PartyId | None:
    """The party of ours that is asked, where the partner names one of several."""
    to_party = call.route.to_party
    if to_party is None or len(call.peer.own) < 2:
        return None
    return to_party if any(one.id.key == to_party.key for one in call.peer.own) else None


def _answer(body: bytes | None, what: str) -> Reply:
    return not_found(what, Status.UNKNOWN_LOCATION) if body is None else Reply(document=body)
