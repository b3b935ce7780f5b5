"""Partners by OCPI: connections, both doors and what is sent, made and started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from chargeplane.app.addresses import own_host
from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.bookings import Bookings
from chargeplane.app.roaming.active_profiles import MODULE as ACTIVE_PROFILES
from chargeplane.app.roaming.broadcasts import MODULE as BROADCASTS
from chargeplane.app.roaming.broadcasts import Broadcasts
from chargeplane.app.roaming.client_info import ClientInfos
from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.exchanges import ExchangeLog
from chargeplane.app.roaming.health import Health
from chargeplane.app.roaming.hub_keeping import MODULE as HUB_MODULE
from chargeplane.app.roaming.hub_keeping import HubKeeping
from chargeplane.app.roaming.hub_memory import HubMemory
from chargeplane.app.roaming.outgoing import Outgoing
from chargeplane.app.roaming.own_tokens import MODULE as TOKENS
from chargeplane.app.roaming.partners import Partners
from chargeplane.app.roaming.pushing import Pushing
from chargeplane.app.roaming.tokens import Tokens
from chargeplane.domain.roaming.connection import Peer
from chargeplane.edges.http.services import Subjects
from chargeplane.edges.ocpi_client.caller import OcpiCaller
from chargeplane.edges.ocpi_client.handshake import Handshake
from chargeplane.edges.ocpi_client.http import PartnerHttp
from chargeplane.edges.ocpi_server.app import ROOT, DoorSettings, OcpiServer
from chargeplane.edges.ocpi_server.handlers import hub_client_info, versions
from chargeplane.edges.ocpi_server.hub import PARTIAL_ROWS, HubRouter
from chargeplane.edges.ocpi_server.hub_places import HubPlaces
from chargeplane.edges.ocpi_server.routing import url_of
from chargeplane.main.config import Role
from chargeplane.main.rating import RatingParts
from chargeplane.main.roaming_contexts import Contexts
from chargeplane.main.roaming_operator import MODULES, OperatorParts, follow, start_operator
from chargeplane.main.roaming_provider import ProviderParts, start_roaming_provider
from chargeplane.main.subjects import Parts
from chargeplane.ocpi.versions import CANONICAL, Version
from chargeplane.store.queries.roaming_documents import BOOKINGS


@dataclass(frozen=True, kw_only=True)
class Roaming:
    """What the routes call, and what other parts of roaming hang on.

    Args:
        door: for partners; `door.offer({row: handler})` answers rows.
        caller: asks partners.
        outgoing: `outgoing.register(module, renderer)` has a module's objects sent.
    """

    connections: Connections
    exchanges: ExchangeLog
    health: Health
    caller: OcpiCaller
    outgoing: Outgoing
    door: OcpiServer
    http: PartnerHttp
    partners: Partners
    pushing: Pushing
    operator: OperatorParts
    provider: ProviderParts


async def start_roaming(
    parts: Parts, subjects: Subjects, rating: RatingParts, resolving: Resolving, bookings: Bookings
) -> Roaming:
    """Makes the use cases and both doors; nodes that do jobs send from now on."""
    config = parts.config.roaming
    public = config.public_url or parts.config.public_url

    def base_url() -> str:
        if public is not None:
            return f"{public.rstrip('/')}{ROOT}"
        return f"http://{own_host(parts.config.bind)}:{parts.addresses.http_port}{ROOT}"

    http = PartnerHttp(private_networks=config.private_networks, timeout_s=config.timeout_s)
    parts.on_stop.append(http.close)
    tokens = Tokens(parts.database)
    exchanges = ExchangeLog(parts.database)
    await exchanges.start()
    parts.on_stop.append(exchanges.stop)
    connections = Connections(parts.database, parts.secrets, tokens, Handshake(http), base_url, parts.events)
    health = Health(parts.database, subjects.alerts)
    await health.start()
    parts.on_stop.append(health.stop)
    caller = OcpiCaller(http, connections.token_of, exchanges, health.heard, first_pause_s=config.first_pause_s)
    connections.on_change.append(caller.forget)
    outgoing = Outgoing(parts.database, caller, lease_s=config.lease_s)
    health.on_back = outgoing.hint
    if parts.config.role in (Role.ALL, Role.JOBS):
        await outgoing.start()
        parts.on_stop.append(outgoing.stop)
    door = OcpiServer(
        tokens,
        {},
        exchanges,
        DoorSettings(max_body=config.max_body_kib * 1024, page_limit=config.page_limit, public_url=public),
    )
    door.offer(versions.handlers(connections, door.modules))
    door.offer(hub_client_info.handlers(ClientInfos(parts.database)))
    memory = HubMemory(parts.database)
    contexts = caller.contexts = door.contexts = Contexts(parts.database, memory)
    operator = await start_operator(
        parts,
        rating.locations,
        subjects.reservations,
        subjects,
        bookings,
        peers=connections,
        caller=caller,
        wake=outgoing.hint,
    )
    follow(operator, parts)
    door.offer(operator.handlers)
    outgoing.register(ACTIVE_PROFILES, operator.active)
    for module in MODULES:
        outgoing.register(module, operator.rendering)
    outgoing.register(BOOKINGS, operator.booking_rendering)

    broadcasts = Broadcasts(parts.database, outgoing.hint, PARTIAL_ROWS)
    outgoing.register(BROADCASTS, broadcasts, broadcasts.forget)
    door.hub = HubRouter(
        parts.database, connections, caller, memory, broadcasts, timeout_s=min(config.hub_timeout_s, config.timeout_s)
    )
    contexts.places = HubPlaces(connections, caller).find

    keeping = HubKeeping(parts.database, connections, caller, outgoing, timedelta(seconds=config.alive_after_s))
    connections.reachable = keeping.reachable
    outgoing.register(HUB_MODULE, keeping)
    if parts.config.role in (Role.ALL, Role.JOBS):
        keeping.start()
        parts.on_stop.append(keeping.stop)

    def own_url(peer: Peer, module: str, side: str) -> str:
        return url_of(base_url(), Version(peer.version or CANONICAL), module, side)

    provider = await start_roaming_provider(
        parts,
        resolving,
        rating.tariffs,
        rating.locations,
        caller,
        connections,
        own_url,
        subjects.alerts,
        outgoing=outgoing.hint,
    )
    door.offer(provider.handlers)
    outgoing.register(TOKENS, provider.own_tokens)
    pushing = Pushing(parts.database, connections, outgoing.hint)
    if parts.config.role in (Role.ALL, Role.JOBS):
        await pushing.start()
        parts.on_stop.append(pushing.stop)
    return Roaming(
        operator=operator,
        provider=provider,
        connections=connections,
        exchanges=exchanges,
        health=health,
        caller=caller,
        outgoing=outgoing,
        door=door,
        http=http,
        pushing=pushing,
        partners=Partners(parts.database, exchanges, outgoing, caller),
    )
