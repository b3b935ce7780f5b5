"""Our hub: passes on what partners send for each other (OCPI 2.3.0 transport_and_format, Message Routing).

    to another party        direct: the request goes to its connection, the answer comes back
    to the hub, a push      broadcast to every partner with an opposite role, from the hub; never CDRs or sessions
    to the hub, GET a list  the lists of all partners with an opposite role, as one, in pages
    to nobody               open routing: by the driver's token, the owner, or the only one it can be for; pushes else go to all

Documents are canonical in between, so partners of different versions understand each other, and what a version cannot say is in the log
of the exchange. `last_updated` is never touched. Each request that leaves has an id of its own and the correlation id it came with. URLs
that one partner names for another (where results go, where a CDR is) are put behind URLs of ours: nobody else's token would open them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.ports import Failure, Outcome, PulledPage, Route
from chargeplane.domain.roaming.connection import OwnParty, PartyId, PartyRole, Peer
from chargeplane.domain.roaming.roles import MODULES, OPPOSITE
from chargeplane.edges.ocpi_server.call import Call, Page, Reply, refused
from chargeplane.edges.ocpi_server.routing import url_of
from chargeplane.ocpi.documents import encode_tree
from chargeplane.ocpi.paging import PageAsk
from chargeplane.ocpi.status import Status
from chargeplane.ocpi.table import RESULTS, Interface, Method, Module
from chargeplane.ocpi.versions import CANONICAL, Version
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_hub as queries

_CDR, _CDR_AT, _COMMAND_RESULT, _PROFILE_RESULT = 26, 27, 43, 47
_NEVER_TO_ALL: Final = frozenset({Module.CDRS, Module.SESSIONS})
_BROADCASTS: Final = 500
_AT_ONCE: Final = 32

_log = structlog.get_logger(__name__)


class HubCaller(Protocol):
    """What the hub asks partners by. Implemented by edges/ocpi_client."""

    @property
    def call(self) -> Callable[..., Awaitable[Outcome]]:
        """One request; as `app.roaming.ports.Caller`."""
        ...

    async def part(self, peer: Peer, row: int, ask: PageAsk, route: Route, correlation_id: str) -> Outcome | PulledPage:
        """Part of a list."""
        ...


class HubRouter:
    """Implements `app.Hub`."""

    def __init__(self, database: Database, connections: Connections, caller: HubCaller) -> None:
        self._database = database
        self._connections = connections
        self._caller = caller
        self._going: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def stop(self) -> None:
        """Lets what is on its way go."""
        for task in list(self._going):
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)

    async def take(self, call: Call) -> Reply | None:
        """The answer of whom the request is for; None where it is for us."""
        hub = hub_of(call.peer)
        if hub is None:
            return None
        behind = await self._behind_url(call)
        if behind is not None:
            return behind
        to_party = call.route.to_party
        if to_party is None:
            return await self._open(call, hub)
        if to_party.key == hub.id.key:
            return await self._to_all(call, hub)
        if any(to_party.key == own.id.key for own in call.peer.own):
            return None
        return await self._direct(call, to_party)

    # -- direct --------------------------------------------------------------------------------------------------------

    async def _direct(self, call: Call, to_party: PartyId) -> Reply:
        peer = await self._connections.peer_of(call.peer.tenant_id, to_party)
        if peer is None or peer.id == call.peer.id or not await self._allowed(call, to_party):
            # Who may not be written to is not told apart from who is not there.
            return refused(Status.UNKNOWN_RECEIVER, f"{to_party} is not known here.")
        outcome = await self._pass_on(call, peer, Route(from_party=_sender(call), to_party=to_party))
        if isinstance(outcome, Page):
            return Reply(page=outcome)
        return await self._answer(call, peer, outcome)

    async def _pass_on(self, call: Call, peer: Peer, route: Route) -> Outcome | Page:
        if call.row.is_list and call.page is not None:
            part = await self._caller.part(peer, call.row.number, call.page, route, call.correlation_id)
            return part if isinstance(part, Outcome) else Page(documents=part.documents, total=part.total or 0)
        query, body = await self._behind_us(call, peer)
        return await self._caller.call(
            peer,
            call.row.number,
            call.path,
            body=body,
            query=query,
            route=route,
            correlation_id=call.correlation_id,
            routed=True,
        )

    async def _answer(self, call: Call, peer: Peer, outcome: Outcome) -> Reply:
        if outcome.ok:
            location = outcome.location
            if call.row.number == _CDR and location is not None:
                location = await self._url(
                    call, peer, location, Module.CDRS, Interface.RECEIVER, "", "cdr", call.version
                )
            status = outcome.status_code or Status.SUCCESS
            created = outcome.http_status == 201
            return Reply(
                document=outcome.data, status=status, message=outcome.message, location=location, created=created
            )
        if outcome.failure is Failure.REFUSED and outcome.status_code is not None:
            missing = outcome.http_status == 404
            return Reply(status=outcome.status_code, message=outcome.message, not_found=missing)
        status = _BY_FAILURE.get(outcome.failure or Failure.REFUSED, Status.HUB_ERROR)
        return refused(status, outcome.sentence or "The receiver did not take it.")

    # -- to all --------------------------------------------------------------------------------------------------------

    async def _to_all(self, call: Call, hub: OwnParty) -> Reply:
        if call.row.method is Method.GET:
            if call.row.is_list:
                return await self._list_of_all(call, hub)
            return refused(
                Status.INVALID_PARAMETERS, "A GET of one object is for one party, or for none (open routing)."
            )
        if call.row.module in _NEVER_TO_ALL:
            return refused(Status.INVALID_PARAMETERS, f"{call.row.module} are for one party alone and never broadcast.")
        return await self._broadcast(call, hub)

    async def _broadcast(self, call: Call, hub: OwnParty) -> Reply:
        if len(self._going) >= _BROADCASTS:
            return refused(Status.HUB_ERROR, "Too much is being broadcast; try again later.")
        targets = await self._opposite(call, call.row.interface)

        async def send(peer: Peer, to_party: PartyId) -> None:
            async with self._slots:
                outcome = await self._caller.call(
                    peer,
                    call.row.number,
                    call.path,
                    body=call.body or None,
                    query=dict(call.query),
                    # The hub's own ids, as the specification asks of a broadcast.
                    route=Route(from_party=hub.id, to_party=to_party),
                    correlation_id=call.correlation_id,
                    routed=True,
                )
            if not outcome.ok:
                _log.info("hub_broadcast_failed", to=str(to_party), why=outcome.sentence)

        for peer, to_party in targets:
            task = asyncio.create_task(send(peer, to_party), name="hub broadcast")
            self._going.add(task)
            task.add_done_callback(self._going.discard)
        return Reply()

    async def _list_of_all(self, call: Call, hub: OwnParty) -> Reply:
        """Lists one behind the other, in the order of connections: pages stay where they are while one of them is read."""
        ask = call.page
        assert ask is not None
        documents: list[bytes] = []
        total, offset, full = 0, ask.offset, False
        for peer, to_party in await self._opposite(call, Interface.SENDER):
            wanted = 0 if full else ask.limit - len(documents)
            part = PageAsk(
                date_from=ask.date_from,
                date_to=ask.date_to,
                offset=max(offset - total, 0),
                limit=max(wanted, 1),
                filters=ask.filters,
            )
            found = await self._caller.part(
                peer, call.row.number, part, Route(from_party=hub.id, to_party=to_party), call.correlation_id
            )
            if isinstance(found, Outcome):
                _log.info("hub_list_failed", of=str(to_party), why=found.sentence)
                continue
            given = list(found.documents)[:wanted] if part.offset < (found.total or 0) else []
            documents += given
            if not full and part.offset + len(given) < (found.total or 0):
                full = True  # there is more of this one: those behind it are for later pages
            total += found.total or 0
        return Reply(page=Page(documents=documents, total=total))

    async def _opposite(self, call: Call, interface: Interface) -> list[tuple[Peer, PartyId]]:
        """Partners that a message to all is for, each with its party."""
        roles = {party.role for party in call.peer.parties} or {PartyRole.CPO}
        sender = call.route.from_party
        if sender is not None:
            roles = {party.role for party in call.peer.parties if party.id.key == sender.key} or roles
        # Whose object it is tells the role, where a platform has several: only a CPO pushes locations.
        roles = {role for role in roles if _has_side(role, call.row.module.value, interface.other.value)} or roles
        wanted = frozenset().union(*(OPPOSITE[role] for role in roles))
        found = []
        for peer in await self._connections.every(call.peer.tenant_id):
            if peer.id == call.peer.id or peer.url_of(call.row.module.value, interface.value) is None:
                continue
            party = next((one.id for one in peer.parties if one.role in wanted), None)
            if (
                party is not None
                and call.row.is_in(Version(peer.version or CANONICAL))
                and await self._allowed(call, party)
            ):
                found.append((peer, party))
        return found

    # -- to nobody -----------------------------------------------------------------------------------------------------

    async def _open(self, call: Call, hub: OwnParty) -> Reply | None:
        party = _meant(call)
        if party is not None and not call.peer.has_party(party) and party.key != hub.id.key:
            if any(party.key == own.id.key for own in call.peer.own):
                return None
            return await self._direct(call, party)
        if call.row.is_list:
            return await self._list_of_all(call, hub)
        targets = await self._opposite(call, call.row.interface)
        if len(targets) == 1:
            return await self._direct(call, targets[0][1])
        if call.row.method is Method.GET or call.row.module in _NEVER_TO_ALL or call.row.answer is not None:
            return await self._first(call, targets)
        return await self._broadcast(call, hub)

    async def _first(self, call: Call, targets: Sequence[tuple[Peer, PartyId]]) -> Reply:
        """The first that knows what is asked about."""
        if call.row.module in _NEVER_TO_ALL and call.row.method is not Method.GET:
            return refused(Status.UNKNOWN_RECEIVER, "Whom this is for cannot be told; name the receiver.")
        for peer, party in targets:
            outcome = await self._pass_on(call, peer, Route(from_party=_sender(call), to_party=party))
            if isinstance(outcome, Page):
                return Reply(page=outcome)
            if outcome.ok:
                return await self._answer(call, peer, outcome)
        return Reply(status=Status.UNKNOWN_RECEIVER, message="Nobody here knows what this is about.", not_found=True)

    # -- URLs ----------------------------------------------------------------------------------------------------------

    async def _behind_us(self, call: Call, peer: Peer) -> tuple[dict[str, str], bytes | None]:
        """Query and body with the URL for results put behind one of ours."""
        query = dict(call.query)
        version = Version(peer.version or CANONICAL)
        word = _RESULT_OF.get(call.row.method, call.path.get("command", "")) if call.row.number in (44, 45, 46) else ""
        if call.row.module is Module.COMMANDS:
            word = call.row.path
        module = call.row.module
        if "response_url" in query:
            query["response_url"] = await self._url(
                call, call.peer, query["response_url"], module, Interface.SENDER, word, "result", version
            )
        body = call.body or None
        tree = None if call.document is None else call.document.tree
        if isinstance(tree, dict) and isinstance(tree.get("response_url"), str):
            url = await self._url(
                call, call.peer, tree["response_url"], module, Interface.SENDER, word, "result", version
            )
            body = encode_tree({**tree, "response_url": url})
        return query, body

    async def _url(
        self,
        call: Call,
        peer: Peer,
        url: str,
        module: Module,
        interface: Interface,
        word: str,
        kind: str,
        version: Version,
    ) -> str:
        reference = secrets.token_urlsafe(18)
        async with self._database.change() as db:
            await queries.keep_url(db, reference, peer.tenant_id, peer.id, url, kind)
        base = url_of(call.base_url, version, module.value, interface.value)
        return "/".join(part for part in (base, word, reference) if part)

    async def _behind_url(self, call: Call) -> Reply | None:
        """What comes to a URL of ours that stands for somebody else's."""
        number = call.row.number
        if number not in (_CDR_AT, _COMMAND_RESULT, _PROFILE_RESULT):
            return None
        reference = call.path.get("reference") or call.path.get("cdr_ref") or ""
        kind = "cdr" if number == _CDR_AT else "result"
        async with self._database.read() as db:
            kept = await queries.kept_url(db, reference, call.peer.tenant_id, kind)
        peer = None if kept is None else await self._connections.get(kept[0])
        if kept is None or peer is None:
            return None
        outcome = await self._caller.call(
            peer,
            number,
            call.path,
            body=call.body or None,
            route=Route(from_party=_sender(call), to_party=peer.parties[0].id if peer.parties else None),
            correlation_id=call.correlation_id,
            url=kept[1],
            kind=RESULTS[call.path["result"]].value if number == _PROFILE_RESULT else None,
            routed=True,
        )
        return await self._answer(call, peer, outcome)

    async def _allowed(self, call: Call, to_party: PartyId) -> bool:
        """Whether a message may pass: the most particular rule holds; without any, it may."""
        sender = _sender(call)
        source = "" if sender is None else sender.key
        async with self._database.read() as db:
            rules = {(rule.from_party, rule.to_party): rule for rule in await queries.routes(db, call.peer.tenant_id)}
        for pair in ((source, to_party.key), (source, "*"), ("*", to_party.key), ("*", "*")):
            rule = rules.get(pair)
            if rule is not None and (rule.modules is None or call.row.module.value in rule.modules):
                return rule.allowed
        return True


_RESULT_OF: Final = {Method.GET: "active", Method.PUT: "set", Method.DELETE: "clear"}
_BY_FAILURE: Final = {
    Failure.TIMEOUT: Status.TIMEOUT_ON_FORWARD,
    Failure.UNREACHABLE: Status.CONNECTION_PROBLEM,
    Failure.PAUSED: Status.CONNECTION_PROBLEM,
    Failure.NOT_REGISTERED: Status.CONNECTION_PROBLEM,
    Failure.UNAUTHORIZED: Status.CONNECTION_PROBLEM,
    Failure.FORBIDDEN_ADDRESS: Status.CONNECTION_PROBLEM,
    Failure.NO_ENDPOINT: Status.UNKNOWN_RECEIVER,
}


def hub_of(peer: Peer) -> OwnParty | None:
    """Our hub's party, where a partner is connected to one."""
    return next((own for own in peer.own if PartyRole.HUB in own.roles), None)


def _sender(call: Call) -> PartyId | None:
    """Who sends: as the headers say, else the caller's party that has the module's other side (2.1.1 has no headers)."""
    if call.route.from_party is not None:
        return call.route.from_party
    side = call.row.interface.other.value
    for party in call.peer.parties:
        if _has_side(party.role, call.row.module.value, side):
            return party.id
    return call.peer.parties[0].id if call.peer.parties else None


def _has_side(role: PartyRole, module: str, side: str) -> bool:
    return (module, side) in MODULES[role]


def _meant(call: Call) -> PartyId | None:
    """Whom a request without a receiver is for, as far as it says: the issuer of the driver's token, or who owns the object."""
    tree = None if call.document is None else call.document.tree
    if isinstance(tree, dict):
        token = tree.get("cdr_token") if call.row.module in _NEVER_TO_ALL else None
        if isinstance(token, dict) and token.get("country_code") and token.get("party_id"):
            return PartyId(str(token["country_code"]), str(token["party_id"]))
    return call.owner
