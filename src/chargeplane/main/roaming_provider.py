"""Roaming as a provider: copies of what partners own, our tokens at partners, their sessions and CDRs, commands to them: made and started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.alerts import Alerts
from chargeplane.app.locations import Locations
from chargeplane.app.roaming.asked_bookings import AskedBookings
from chargeplane.app.roaming.asking import Asking
from chargeplane.app.roaming.incoming import TOPIC, Incoming
from chargeplane.app.roaming.nearby import Nearby
from chargeplane.app.roaming.own_tokens import OwnTokens
from chargeplane.app.roaming.partner_records import PartnerRecords
from chargeplane.app.roaming.places import PartnerPlaces
from chargeplane.app.roaming.ports import Caller as Partners
from chargeplane.app.roaming.pulling import Pulling, PullSettings
from chargeplane.app.roaming.replicas import Replicas
from chargeplane.app.tariffs import Tariffs
from chargeplane.domain.roaming.checking import Tolerance
from chargeplane.domain.roaming.connection import PartyId, PartyRole, Peer
from chargeplane.domain.roaming.replicas import Module
from chargeplane.edges.http.services import RoamingProvider
from chargeplane.edges.ocpi_server.call import Handler
from chargeplane.edges.ocpi_server.handlers import cdrs_receiver, commands_sender, tokens_sender
from chargeplane.edges.ocpi_server.handlers import replicas as replica_rows
from chargeplane.kernel.ids import TenantId
from chargeplane.main.config import Role
from chargeplane.main.subjects import Parts
from chargeplane.store.outbox import Topic


class Peers(Protocol):
    """Who the partners are."""

    async def get(self, ident: int) -> Peer | None:
        """A connection."""
        ...

    async def every(self, tenant_id: TenantId | None) -> Sequence[Peer]:
        """All that are registered."""
        ...

    async def peer_of(self, tenant_id: TenantId, party: PartyId, role: PartyRole | None = None) -> Peer | None:
        """The connection by which a party is reached."""
        ...


@dataclass(frozen=True, kw_only=True)
class ProviderParts:
    """What REST and the OCPI server take of it.

    Args:
        handlers: by row of the table.
    """

    replicas: Replicas
    own_tokens: OwnTokens
    rest: RoamingProvider
    handlers: dict[int, Handler]


async def start_roaming_provider(
    parts: Parts,
    resolving: Resolving,
    tariffs: Tariffs,
    locations: Locations,
    partners: Partners,
    peers: Peers,
    own_url: Callable[[Peer, str, str], str],
    alerts: Alerts,
    *,
    outgoing: Callable[[], None] = lambda: None,
) -> ProviderParts:
    """Makes them; on nodes that do jobs, what is due is read from partners and tokens are published from now on.

    Args:
        own_url: our URL of a module and interface, as a partner knows it.
        outgoing: called after something was noted for partners.
    """
    database, told, config = parts.database, parts.outbox.hint, parts.config.roaming_provider
    tolerance = Tolerance(amount=Decimal(str(config.tolerance_amount)), percent=Decimal(str(config.tolerance_percent)))
    replicas = Replicas(database)
    incoming = Incoming(database, parts.events, resolving, tariffs, tolerance, alerts, told=told)
    asking = Asking(database, partners, peers, parts.events, own_url)
    places = PartnerPlaces(database)
    bookings = AskedBookings(database, partners, peers, asking, replicas, places, parts.events)
    replicas.hooks = {
        Module.SESSIONS: [incoming.sessions],
        Module.CDRS: [incoming.cdrs],
        Module.BOOKING_LOCATIONS: [bookings.places_came],
        Module.BOOKINGS: [bookings.came],
    }
    replicas.after = {
        Module.SESSIONS: [incoming.sessions_written],
        Module.CDRS: [incoming.cdrs_written],
        Module.BOOKINGS: [bookings.written],
    }
    await replicas.start()
    parts.on_stop.append(replicas.stop)
    parts.outbox.register(TOPIC, Topic(handler=incoming.came))
    own_tokens = OwnTokens(database, resolving, agreement_required=config.agreement_required, told=outgoing)
    pulling = Pulling(
        database,
        partners,
        peers,
        replicas,
        PullSettings(
            full_every_s=config.full_pull_every_s,
            delta_every_s=config.pull_every_s,
            lease_s=parts.config.roaming.lease_s,
        ),
    )
    if parts.config.role in (Role.ALL, Role.JOBS):
        for one in (own_tokens, asking, pulling, bookings):
            await one.start()
            parts.on_stop.append(one.stop)
    return ProviderParts(
        replicas=replicas,
        own_tokens=own_tokens,
        rest=RoamingProvider(
            places=places,
            nearby=Nearby(database, locations, places),
            records=PartnerRecords(database, parts.events),
            asking=asking,
            bookings=bookings,
            pulling=pulling,
        ),
        handlers={
            **replica_rows.handlers(replicas),
            **cdrs_receiver.handlers(replicas, incoming),
            **tokens_sender.handlers(own_tokens),
            **commands_sender.handlers(asking),
        },
    )
