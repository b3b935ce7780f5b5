"""Our hub: passes on what partners send for each other (OCPI 2.3.0 transport_and_format, Message Routing).

    to another party        direct: the request goes to its connection, the answer comes back
    to the hub, a push      kept, answered, and brought to every partner with an opposite role, from the hub; never CDRs or sessions
    to the hub, GET a list  the lists of all partners with an opposite role, as one, in pages
    to nobody               open routing: to whom it can be for (`hub_finding`); pushes else go to all

Documents are canonical in between, so partners of different versions understand each other, and what a version cannot say is in the log
of the exchange. `last_updated` is never touched. Each request that leaves has an id of its own and the correlation id it came with. URLs
that one partner names for another (where results go, where a CDR is) are put behind URLs of ours: nobody else's token would open them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, Final

import structlog
from msgspec.structs import replace

from chargeplane.app.roaming.broadcasts import Broadcasts, Push
from chargeplane.app.roaming.connections import Connections
from chargeplane.app.roaming.hub_memory import HubMemory, driver_of
from chargeplane.app.roaming.ports import Failure, Outcome, PulledPage, Route
from chargeplane.domain.roaming.connection import OwnParty, PartyId, PartyRole, Peer
from chargeplane.domain.roaming.roles import OPPOSITE
from chargeplane.edges.ocpi_server.call import Call, Page, Reply, not_found, refused
from chargeplane.edges.ocpi_server.checks import check_owner, refuse_owner
from chargeplane.edges.ocpi_server.hub_finding import (
    COMMANDS_AT,
    Finding,
    HubCaller,
    has_side,
    is_denial,
    seen_in,
    sender_of,
    with_driver,
)
from chargeplane.edges.ocpi_server.routing import url_of
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.ocpi.documents import encode_tree, parse
from chargeplane.ocpi.paging import PageAsk
from chargeplane.ocpi.status import Status
from chargeplane.ocpi.table import RESULTS, TABLE, Interface, Method, Module
from chargeplane.ocpi.versions import CANONICAL, Version
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_hub as queries
from chargeplane.store.queries.roaming_hub import RouteView

_CDR, _CDR_AT, _STOP, _COMMAND_RESULT, _PROFILE_RESULT, _AUTHORIZE = 26, 27, 39, 43, 47, 34
_NEVER_TO_ALL: Final = frozenset({Module.CDRS, Module.SESSIONS})
PARTIAL_ROWS: Final = frozenset(row.number for row in TABLE.values() if row.partial)

_log = structlog.get_logger(__name__)


class HubRouter:
    """Implements `app.Hub`.

    Args:
        timeout_s: how long a receiver may take: less than senders wait, so that they hear what went wrong.
    """

    def __init__(
        self,
        database: Database,
        connections: Connections,
        caller: HubCaller,
        memory: HubMemory,
        broadcasts: Broadcasts,
        *,
        timeout_s: float = 20.0,
    ) -> None:
        self._database = database
        self._connections = connections
        self._caller = caller
        self._memory = memory
        self._broadcasts = broadcasts
        self._timeout_s = timeout_s
        self._finding = Finding(memory, caller, connections)

    async def take(self, call: Call) -> Reply | None:
        """The answer of whom the request is for; None where it is for us."""
        hub = hub_of(call.peer)
        if hub is None:
            return None
        await self._check_sender(call)
        behind = await self._behind_url(call)
        if behind is not None:
            return behind
        call = await with_driver(call, self._memory)
        if not call.peer.is_hub and call.row.method is not Method.GET:
            await self._memory.saw(call.peer.tenant_id, seen_in(call))
        to_party = call.route.to_party
        if to_party is not None and any(to_party.key == own.id.key for own in call.peer.own if own.id != hub.id):
            return None
        if await self._finding.is_of_another(call):
            # Only whose driver charges may stop it.
            unknown = encode_tree({"result": "UNKNOWN_SESSION", "timeout": 0})
            return Reply(document=unknown) if call.row.number == _STOP else not_found("session of yours")
        if to_party is None:
            return await self._open(call, hub)
        if to_party.key == hub.id.key:
            return await self._to_all(call, hub)
        return await self._direct(call, to_party)

    # -- direct --------------------------------------------------------------------------------------------------------

    async def _direct(self, call: Call, to_party: PartyId) -> Reply:
        peer = await self._connections.peer_of(call.peer.tenant_id, to_party)
        rules = await self._rules(call)
        if peer is None or peer.id == call.peer.id or not _allowed(rules, call, to_party):
            # Who may not be written to is not told apart from who is not there.
            return refused(Status.UNKNOWN_RECEIVER, f"{to_party} is not known here.")
        outcome = await self._pass_on(call, peer, Route(from_party=sender_of(call), to_party=to_party))
        if isinstance(outcome, Page):
            return Reply(page=outcome)
        return await self._answer(call, peer, outcome)

    async def _pass_on(self, call: Call, peer: Peer, route: Route) -> Outcome | Page:
        timeout_s = peer.quirks.timeout_s or self._timeout_s
        if call.row.is_list and call.page is not None:
            found = await self._part(call, peer, call.page, route)
            return found if isinstance(found, Outcome) else await self._page_of(call, [found], found.total or 0)
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
            timeout_s=timeout_s,
        )

    async def _answer(self, call: Call, peer: Peer, outcome: Outcome) -> Reply:
        if outcome.ok:
            await self._finding.passed(call, peer, outcome.data)
            location = outcome.location
            if call.row.number == _CDR and location is not None:
                location = await self._url(
                    call, peer, location, Module.CDRS, Interface.RECEIVER, "", "cdr", call.version, call.peer
                )
            status = outcome.status_code or Status.SUCCESS
            created = outcome.http_status == 201
            return Reply(
                document=outcome.data, status=status, message=outcome.message, location=location, created=created
            )
        if outcome.failure is Failure.REFUSED and outcome.status_code is not None:
            missing = outcome.http_status == 404
            return Reply(status=outcome.status_code, message=outcome.message, not_found=missing)
        return refused(_status_of(outcome), outcome.sentence or "The receiver did not take it.")

    # -- to all --------------------------------------------------------------------------------------------------------

    async def _to_all(self, call: Call, hub: OwnParty) -> Reply | None:
        if call.row.method is Method.GET:
            if call.row.is_list:
                return await self._list_of_all(call, hub)
            return refused(
                Status.INVALID_PARAMETERS, "A GET of one object is for one party, or for none (open routing)."
            )
        if call.row.answer is not None:
            # A question, not a push: only one can answer it.
            return await self._open(call, hub)
        if call.row.module in _NEVER_TO_ALL:
            return refused(Status.INVALID_PARAMETERS, f"{call.row.module} are for one party alone and never broadcast.")
        return await self._broadcast(call, hub)

    async def _broadcast(self, call: Call, hub: OwnParty) -> Reply:
        """Kept for every partner before it is answered. The hub's own ids go with it, as the specification asks of a broadcast."""
        row, path = call.row, call.path
        ident = next((path[name] for name in row.names if name not in ("country_code", "party_id")), None)
        owner = "" if call.owner is None else call.owner.key
        kind = call.query.get("type", "")
        about = (
            f"{row.module}/{owner}/{ident}/{kind}".lower()
            if ident is not None
            else f"{row.module}/{secrets.token_hex(8)}"
        )
        push = Push(
            key=about,
            row=row.number,
            path=path,
            query=call.query,
            body=call.body or None,
            whole=row.method in (Method.PUT, Method.DELETE) and len(row.names) <= 3,
            partial=row.partial,
        )
        targets = await self._opposite(call, row.interface)
        await self._broadcasts.take(call.peer.tenant_id, push, hub.id, targets, call.correlation_id)
        return Reply()

    async def _list_of_all(self, call: Call, hub: OwnParty) -> Reply:
        """Lists one behind the other, in the order of connections: pages stay where they are while one of them is read.

        A partner that does not answer is left out, and said to be: others must not wait for it.
        """
        ask = call.page
        assert ask is not None
        targets = await self._opposite(call, Interface.SENDER)
        # Of drivers' sessions and CDRs an operator tells whoever asks its own; in the name of the hub it would tell all.
        sender = sender_of(call) if call.row.module in _NEVER_TO_ALL else hub.id

        async def part(index: int, offset: int, limit: int) -> PulledPage | Outcome:
            peer, to_party = targets[index]
            route = Route(from_party=sender, to_party=to_party)
            return await self._part(call, peer, _part_of(ask, offset, limit), route)

        # How many each has; where there is but one, the part itself says it.
        single = len(targets) == 1
        heads = await asyncio.gather(
            *(part(index, ask.offset if single else 0, ask.limit if single else 1) for index in range(len(targets)))
        )
        silent = [str(targets[index][1]) for index, head in enumerate(heads) if isinstance(head, Outcome)]
        for index, head in enumerate(heads):
            if isinstance(head, Outcome):
                _log.info("hub_list_failed", of=str(targets[index][1]), why=head.sentence)
        totals = [0 if isinstance(head, Outcome) else head.total or 0 for head in heads]
        message = f"Without {', '.join(silent)}: no answer." if silent else None
        if single:
            found = heads[0]
            parts = [] if isinstance(found, Outcome) else [found]
            return Reply(page=await self._page_of(call, parts, totals[0]), message=message)
        windows, before = [], 0
        for index, total in enumerate(totals):
            first, last = max(ask.offset - before, 0), min(ask.offset + ask.limit - before, total)
            if first < last:
                windows.append((index, first, last - first))
            before += total
        read = await asyncio.gather(*(part(*window) for window in windows))
        parts = []
        for (_, _, wanted), found in zip(windows, read, strict=True):
            if isinstance(found, Outcome):
                # Its place in the list stays, or what is behind it would be read twice.
                parts.append(PulledPage(documents=(), refused=("no answer",) * wanted))
                continue
            parts.append(replace(found, documents=found.documents[:wanted]))
            if len(found.documents) + len(found.refused) < wanted:
                break  # its pages are smaller than ours: what is behind is for the next one
        return Reply(page=await self._page_of(call, parts, sum(totals)), message=message)

    async def _part(self, call: Call, peer: Peer, ask: PageAsk, route: Route) -> PulledPage | Outcome:
        timeout_s = peer.quirks.timeout_s or self._timeout_s
        found = await self._caller.part(peer, call.row.number, ask, route, call.correlation_id, timeout_s=timeout_s)
        if isinstance(found, Outcome):
            return found
        return await self._finding.listed(call, peer, found)

    async def _opposite(self, call: Call, interface: Interface) -> list[tuple[Peer, PartyId]]:
        """Partners that a message to all is for, each with its party."""
        roles = {party.role for party in call.peer.parties} or {PartyRole.CPO}
        sender = call.route.from_party
        if sender is not None:
            roles = {party.role for party in call.peer.parties if party.id.key == sender.key} or roles
        # Whose object it is tells the role, where a platform has several: only a CPO pushes locations.
        roles = {role for role in roles if has_side(role, call.row.module.value, interface.other.value)} or roles
        wanted = frozenset().union(*(OPPOSITE[role] for role in roles))
        rules = await self._rules(call)
        found = []
        for peer in await self._connections.every(call.peer.tenant_id):
            if peer.id == call.peer.id or peer.url_of(call.row.module.value, interface.value) is None:
                continue
            party = next(
                (
                    one.id
                    for one in peer.parties
                    if one.role in wanted and has_side(one.role, call.row.module.value, interface.value)
                ),
                None,
            )
            if (
                party is not None
                and call.row.is_in(Version(peer.version or CANONICAL))
                and _allowed(rules, call, party)
            ):
                found.append((peer, party))
        return found

    # -- to nobody -----------------------------------------------------------------------------------------------------

    async def _open(self, call: Call, hub: OwnParty) -> Reply | None:
        if call.row.is_list:
            return await self._list_of_all(call, hub)
        party = await self._finding.meant(call, hub.id)
        if party is not None:
            if any(party.key == own.id.key for own in call.peer.own if own.id != hub.id):
                return None
            return await self._direct(call, party)
        push = call.row.answer is None and call.row.method is not Method.GET
        if push and call.row.module not in _NEVER_TO_ALL:
            return await self._broadcast(call, hub)
        targets = await self._opposite(call, call.row.interface)
        if len(targets) == 1:
            return await self._direct(call, targets[0][1])
        if call.row.number in COMMANDS_AT:
            found = await self._finding.who_has_place(call, hub.id, targets, self._timeout_s)
            if len(found) == 1:
                return await self._direct(call, found[0])
            if not found:
                return Reply(
                    document=encode_tree({"result": "REJECTED", "timeout": 0}),
                    status=Status.UNKNOWN_LOCATION,
                    message="Nobody here has this location.",
                )
        if call.row.method is Method.GET or call.row.number == _AUTHORIZE:
            return await self._first(call, targets)
        return refused(Status.UNKNOWN_RECEIVER, "Whom this is for cannot be told; name the receiver.")

    async def _first(self, call: Call, targets: Sequence[tuple[Peer, PartyId]]) -> Reply:
        """The first that knows what is asked about; all are asked at once, so that a slow one keeps nobody waiting.

        That a token may not charge also says who does not know it: it is the answer where nobody says otherwise.
        """

        async def ask(peer: Peer, party: PartyId) -> tuple[Peer, Outcome]:
            outcome = await self._pass_on(call, peer, Route(from_party=sender_of(call), to_party=party))
            assert isinstance(outcome, Outcome)
            return peer, outcome

        tasks = [asyncio.create_task(ask(peer, party), name="hub question") for peer, party in targets]
        silent: Outcome | None = None
        denied: tuple[Peer, Outcome] | None = None
        try:
            for done in asyncio.as_completed(tasks):
                peer, outcome = await done
                if outcome.ok and call.row.number == _AUTHORIZE and is_denial(outcome.data):
                    denied = denied or (peer, outcome)
                    continue
                if outcome.ok:
                    return await self._answer(call, peer, outcome)
                if outcome.failure is not Failure.REFUSED:
                    silent = outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if denied is not None:
            return await self._answer(call, *denied)
        if silent is not None:
            # Who did not answer may have been the one who knows.
            return refused(_status_of(silent), silent.sentence or "Somebody who may know did not answer.")
        status = Status.UNKNOWN_TOKEN if call.row.number == _AUTHORIZE else Status.UNKNOWN_RECEIVER
        return Reply(status=status, message="Nobody here knows what this is about.", not_found=True)

    # -- URLs ----------------------------------------------------------------------------------------------------------

    async def _behind_us(self, call: Call, peer: Peer) -> tuple[dict[str, str], bytes | None]:
        """Query and body with the URL for results put behind one of ours."""
        query = dict(call.query)
        version = Version(peer.version or CANONICAL)
        word = _RESULT_OF.get(call.row.method, "") if call.row.number in (44, 45, 46) else ""
        if call.row.module is Module.COMMANDS:
            word = call.row.path
        module = call.row.module

        async def ours(url: str) -> str:
            return await self._url(call, call.peer, url, module, Interface.SENDER, word, "result", version, peer)

        if "response_url" in query:
            query["response_url"] = await ours(query["response_url"])
        body = call.body or None
        tree = None if call.document is None else call.document.tree
        if isinstance(tree, dict) and isinstance(tree.get("response_url"), str):
            body = encode_tree({**tree, "response_url": await ours(tree["response_url"])})
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
        told: Peer,
    ) -> str:
        """A URL of ours for one of a partner's; only `told`, to whom it is told, may come to it."""
        reference = secrets.token_urlsafe(18)
        async with self._database.change() as db:
            await queries.keep_url(db, reference, peer.tenant_id, peer.id, url, kind, told.id)
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
            kept = await queries.kept_url(db, reference, call.peer.tenant_id, kind, call.peer.id)
        peer = None if kept is None else await self._connections.get(kept[0])
        if kept is None or peer is None:
            return None
        outcome = await self._caller.call(
            peer,
            number,
            call.path,
            body=call.body or None,
            route=Route(from_party=sender_of(call), to_party=peer.parties[0].id if peer.parties else None),
            correlation_id=call.correlation_id,
            url=kept[1],
            kind=RESULTS[call.path["result"]].value if number == _PROFILE_RESULT else None,
            routed=True,
            timeout_s=peer.quirks.timeout_s or self._timeout_s,
        )
        return await self._answer(call, peer, outcome)

    # -- who may ------------------------------------------------------------------------------------------------------

    async def _check_sender(self, call: Call) -> None:
        """Nobody speaks for another, and nobody brings what is another's; another hub speaks for those who are behind it alone.

        Raises:
            NotFoundError: reading.
            InvalidInputError: writing.
        """
        peer, sender, owner = call.peer, call.route.from_party, call.owner
        tree: Any = None if call.document is None else call.document.tree
        issuer = None
        if call.row.number == _CDR and isinstance(tree, dict):
            issuer = PartyId(str(tree.get("country_code")), str(tree.get("party_id")))
        named = [party for party in (sender, owner, issuer) if party is not None]
        others = await self._connections.of_others(peer, named) if named else frozenset()
        if sender is not None and sender.key in others and (peer.is_hub or peer.parties):
            sentence = f"{sender} is none of your parties"
            raise InvalidInputError(f"{sentence}.", (("/OCPI-from-party-id", sentence),))
        check_owner(call)
        if owner is not None and owner.key in others:
            refuse_owner(call, owner)
        if issuer is not None and issuer.key in others:
            sentence = f"{issuer} is none of your parties"
            raise InvalidInputError(f"{sentence}.", (("/party_id", sentence),))

    async def _page_of(self, call: Call, parts: Sequence[PulledPage], total: int) -> Page:
        """A page of what partners gave; of sessions and CDRs the caller's drivers' alone."""
        documents = [document for part in parts for document in part.documents]
        taken = sum(len(part.documents) + len(part.refused) for part in parts)
        if call.row.module in _NEVER_TO_ALL:
            drivers = [driver_of(parse(one)) for one in documents]
            others = await self._connections.of_others(call.peer, {one for one in drivers if one is not None})
            documents = [
                document
                for document, driver in zip(documents, drivers, strict=True)
                if driver is not None and driver.key not in others
            ]
        return Page(documents=documents, total=total, taken=taken)

    async def _rules(self, call: Call) -> dict[tuple[str, str], RouteView]:
        async with self._database.read() as db:
            return {(rule.from_party, rule.to_party): rule for rule in await queries.routes(db, call.peer.tenant_id)}


def _allowed(rules: dict[tuple[str, str], RouteView], call: Call, to_party: PartyId) -> bool:
    """Whether a message may pass: the most particular rule holds; without any, it may."""
    sender = sender_of(call)
    source = "" if sender is None else sender.key
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


def _status_of(outcome: Outcome) -> int:
    return _BY_FAILURE.get(outcome.failure or Failure.REFUSED, Status.HUB_ERROR)


def _part_of(ask: PageAsk, offset: int, limit: int) -> PageAsk:
    return PageAsk(date_from=ask.date_from, date_to=ask.date_to, offset=offset, limit=limit, filters=ask.filters)
