"""Asks partners by OCPI: one request, or a whole list, in the partner's version; and what that says of the partner's health.

Nothing a partner does raises here: it becomes an outcome with a reason. Requests of each partner go over connections of its own, and a
partner that failed several times in a row is left alone for a while, so that a broken one costs nothing to others.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import quote, urljoin, urlsplit

import msgspec
import structlog
from msgspec.structs import replace

from chargeplane.app.roaming.errors import PulledError
from chargeplane.app.roaming.exchanges import Exchange, ExchangeLog
from chargeplane.app.roaming.ports import Failure, Outcome, PulledPage, Route
from chargeplane.bridge.ocpi import Context
from chargeplane.bridge.ocpi_wire import context_of, from_canonical, to_canonical, with_owners
from chargeplane.domain.roaming.connection import PartyId, Peer, TokenForm
from chargeplane.edges.ocpi_client.breaker import FIRST_PAUSE_S, Breaker
from chargeplane.edges.ocpi_client.http import FailedError, PartnerHttp, Response
from chargeplane.kernel.errors import PeerError, RuleError
from chargeplane.ocpi import envelope, headers, paging
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.status import is_success
from chargeplane.ocpi.table import TABLE, Endpoint, Interface, Method, Module
from chargeplane.ocpi.versions import CANONICAL, Version

MOST_PAGES: Final = 100_000
_PATH_SAFE: Final = "!$&'()*+,;=:@~"
_KNOWN: Final = 5000
_KEPT_S: Final = 1.0
"""How long a token is kept: another process may have exchanged it."""
_AT_A_STRETCH: Final = 25

_log = structlog.get_logger(__name__)

GetToken = Callable[[Peer], Awaitable[str | None]]


class OnResult(Protocol):
    """Hears how a request went."""

    def __call__(
        self, peer: Peer, module: str, outcome: Outcome, failures: int, pause_s: float | None, /, *, reads: bool
    ) -> None:
        """
        Args:
            failures: in a row.
            pause_s: for how long the partner is left alone.
            reads: it was a GET.
        """
        ...


OnForm = Callable[[Peer, TokenForm], Awaitable[None]]


Contexts = Callable[[Peer, Kind, bytes, Context], Awaitable[Context]]


class OcpiCaller:
    """Implements `app.roaming.ports.Caller`.

    Args:
        token_of: what we come to a partner with.
        on_result: for its health; never waits.
        on_form: keeps in which form a partner took its token.
    """

    def __init__(
        self,
        http: PartnerHttp,
        token_of: GetToken,
        log: ExchangeLog | None = None,
        on_result: OnResult | None = None,
        on_form: OnForm | None = None,
        *,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._http = http
        self._token_of = token_of
        self._log = log
        self._on_result = on_result
        self._on_form = on_form
        self._first_pause_s = first_pause_s
        self._breakers: dict[int, Breaker] = {}
        self._tokens: OrderedDict[int, tuple[float, str | None]] = OrderedDict()
        self.contexts: Contexts | None = None
        """Adds to what is known of a conversion: the location of a session, say."""

    def forget(self, connection_id: int) -> None:
        """A connection was changed: its token is read anew, and it is tried again at once."""
        if connection_id == 0:
            self._tokens.clear()
            return
        self._tokens.pop(connection_id, None)
        self._breakers.pop(connection_id, None)
        self._http.forget(connection_id)

    def pause_of(self, connection_id: int) -> float:
        """For how long a partner is left alone yet, in s."""
        breaker = self._breakers.get(connection_id)
        return 0.0 if breaker is None else breaker.pause_s

    async def call(
        self,
        peer: Peer,
        row: int,
        path: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        route: Route | None = None,
        correlation_id: str | None = None,
        url: str | None = None,
        kind: str | None = None,
        timeout_s: float | None = None,
        routed: bool = False,
        context: Context | None = None,
    ) -> Outcome:
        """Sends one request and reads the answer; never raises for what the partner does."""
        endpoint = TABLE[row]
        ids = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
        prepared = self._prepare(peer, endpoint, path or {}, url, ids)
        if isinstance(prepared, Outcome):
            return prepared
        target, version = prepared
        wire: bytes | None = None
        losses: tuple[str, ...] = ()
        body_kind = Kind(kind) if kind is not None else endpoint.body
        if body is not None and body_kind is not None and version is not CANONICAL:
            try:
                carried = from_canonical(
                    body_kind,
                    version,
                    body,
                    context or await self._context(peer, path or {}, body_kind, body),
                    partial=endpoint.partial,
                )
            except (PeerError, RuleError, ValueError) as error:
                return _failed(Failure.NOT_SENDABLE, str(error), ids)
            wire, losses = carried.document.encode(), carried.losses
            if routed and version is Version.V2_1_1:
                wire = with_owners(body_kind, wire, body)
            if peer.quirks.cdr_end_date_time and body_kind is Kind.CDR and version is Version.V2_1_1:
                wire = _with_end(wire)
        elif body is not None:
            wire = body
        asked = dict(query or {})
        if asked and not (url is not None and endpoint.response_url):
            target = paging.with_query(target, asked)
        response, outcome = await self._exchange(
            peer, endpoint, target, wire, route, ids, timeout_s, path or {}, asked, losses, routed
        )
        if response is None or not outcome.ok:
            return outcome
        if context is None:
            context = context_of(peer, _owner(path or {}))
            if endpoint.answer is Kind.AUTHORIZATION_INFO and self.contexts is not None:
                # The answer of 2.1.1 does not say which token was asked about; the path does.
                context = await self.contexts(peer, endpoint.answer, msgspec.json.encode(dict(path or {})), context)
        return self._understood(endpoint, version, outcome, context)

    async def repeat(
        self, peer: Peer, row: int, url: str, body: bytes | None, route: Route, correlation_id: str | None
    ) -> Outcome:
        """A request as it was sent before, in the partner's version already; with a request id of its own."""
        endpoint = TABLE[row]
        ids = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
        prepared = self._prepare(peer, endpoint, {}, url, ids)
        if isinstance(prepared, Outcome):
            return prepared
        _, outcome = await self._exchange(peer, endpoint, url, body, route, ids, None, {}, {}, (), False)
        return outcome

    async def part(
        self,
        peer: Peer,
        row: int,
        ask: paging.PageAsk,
        route: Route,
        correlation_id: str,
        *,
        timeout_s: float | None = None,
    ) -> Outcome | PulledPage:
        """Part of a list, as it is asked for; what could not be understood is left out."""
        endpoint = TABLE[row]
        ids = str(uuid.uuid4()), correlation_id
        prepared = self._prepare(peer, endpoint, {}, None, ids)
        if isinstance(prepared, Outcome):
            return prepared
        base, version = prepared
        if peer.quirks.trailing_slash and not base.endswith("/"):
            base += "/"
        url = paging.with_query(base, paging.ask_query(ask))
        response, outcome = await self._exchange(peer, endpoint, url, None, route, ids, timeout_s, {}, {}, (), True)
        if response is None or not outcome.ok:
            return outcome
        try:
            items = envelope.items_of(envelope.read(response.body))
        except PeerError as error:
            return _failed(Failure.NOT_UNDERSTOOD, str(error), ids)
        page = await self._page(peer, endpoint, version, items, response)
        return replace(page, total=ask.offset + len(items) if page.total is None else page.total)

    async def pages(
        self,
        peer: Peer,
        row: int,
        *,
        date_from: datetime | None = None,
        date_to: datetime | None = None,
        query: Mapping[str, str] | None = None,
        route: Route | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[PulledPage]:
        """A partner's whole list, page after page, each page once.

        A list whose pages lead back to one that was read, or that never ends, is given up.

        Raises:
            PulledError: it could not be read to the end; the outcome says why.
        """
        endpoint = TABLE[row]
        correlation = str(uuid.uuid4())
        dated = not peer.quirks.no_date_filters
        ask = paging.PageAsk(
            date_from=date_from if dated else None,
            date_to=date_to if dated else None,
            limit=limit or peer.quirks.page_limit,
            filters=tuple((query or {}).items()),
        )
        prepared = self._prepare(peer, endpoint, {}, None, ("", correlation))
        if isinstance(prepared, Outcome):
            raise PulledError(prepared)
        base, version = prepared
        if peer.quirks.trailing_slash and not base.endswith("/"):
            base += "/"
        url: str | None = paging.with_query(base, paging.ask_query(ask))
        seen: set[str] = set()
        origin = _origin(base)
        read = 0
        while url is not None:
            if url in seen or len(seen) >= MOST_PAGES:
                raise PulledError(
                    _failed(Failure.NOT_UNDERSTOOD, f"The pages of {base[:200]} lead in a circle.", ("", correlation))
                )
            seen.add(url)
            if _origin(url) != origin:
                raise PulledError(
                    _failed(Failure.REDIRECT, f"The next page of {base[:200]} is at another host.", ("", correlation))
                )
            ids = str(uuid.uuid4()), correlation
            response, outcome = await self._exchange(peer, endpoint, url, None, route, ids, None, {}, {}, (), False)
            if response is None or not outcome.ok:
                raise PulledError(outcome)
            try:
                items = envelope.items_of(envelope.read(response.body))
            except PeerError as error:
                raise PulledError(_failed(Failure.NOT_UNDERSTOOD, str(error), ids)) from None
            page = await self._page(peer, endpoint, version, items, response)
            read += len(items)
            yield page
            following = paging.read_link(response.headers.get("link"))
            if following is not None and not items:
                following = None  # pages without documents never lead anywhere
            if following is not None and "://" not in following:
                following = _joined(url, following)
            url = following

    async def _page(
        self, peer: Peer, endpoint: Endpoint, version: Version, items: list[bytes], response: Response
    ) -> PulledPage:
        assert endpoint.answer is not None
        documents, refused = [], []
        context = context_of(peer)
        for number, item in enumerate(items, 1):
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)  # stations share the loop
            try:
                carried = to_canonical(endpoint.answer, version, item, context)
            except (PeerError, RuleError) as error:
                refused.append(str(error))
            else:
                documents.append(carried.document.encode())
        told = response.headers.get(headers.TOTAL_COUNT.lower(), "").strip()
        total = int(told) if told.isascii() and told.isdecimal() and len(told) < 16 else None
        return PulledPage(documents=tuple(documents), refused=tuple(refused), total=total)

    async def _context(self, peer: Peer, path: Mapping[str, str], kind: Kind, body: bytes) -> Context:
        """What a conversion must know."""
        plain = context_of(peer, _owner(path))
        if self.contexts is None or peer.version == CANONICAL:
            return plain
        return await self.contexts(peer, kind, body, plain)

    # -- one request ---------------------------------------------------------------------------------------------------

    def _prepare(
        self, peer: Peer, endpoint: Endpoint, path: Mapping[str, str], url: str | None, ids: tuple[str, str]
    ) -> tuple[str, Version] | Outcome:
        """Where it goes and in which version; or why it cannot go at all."""
        if not peer.usable or peer.version is None:
            return _failed(Failure.NOT_REGISTERED, f"'{peer.name}' is {peer.state.value}.", ids)
        version = Version(peer.version)
        if not endpoint.is_in(version):
            what = f"{endpoint.method} of {endpoint.module}"
            return _failed(Failure.NO_ENDPOINT, f"OCPI {version} has no such {what}.", ids)
        if url is not None:
            return url, version
        base = _base(peer, endpoint)
        if base is None:
            side = endpoint.interface.value.lower()
            return _failed(Failure.NO_ENDPOINT, f"'{peer.name}' has no {side} interface of {endpoint.module}.", ids)
        try:
            return _target(base, endpoint, path, upper=peer.quirks.upper_case_parties), version
        except KeyError as error:
            return _failed(Failure.NOT_SENDABLE, f"The path needs {error}.", ids)

    async def _token(self, peer: Peer) -> str | None:
        known = self._tokens.get(peer.id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        token = await self._token_of(peer)
        self._tokens[peer.id] = time.monotonic() + _KEPT_S, token
        self._tokens.move_to_end(peer.id)
        if len(self._tokens) > _KNOWN:
            self._tokens.popitem(last=False)
        return token

    async def _exchange(
        self,
        peer: Peer,
        endpoint: Endpoint,
        url: str,
        body: bytes | None,
        route: Route | None,
        ids: tuple[str, str],
        timeout_s: float | None,
        path: Mapping[str, str],
        query: Mapping[str, str],
        losses: tuple[str, ...],
        routed: bool,
    ) -> tuple[Response | None, Outcome]:
        breaker = self._breakers.get(peer.id)
        if breaker is None:
            breaker = self._breakers[peer.id] = Breaker(self._first_pause_s)
        if not breaker.allows():
            sentence = (
                f"'{peer.name}' failed {breaker.failures} times in a row and is left alone for {breaker.pause_s:.0f} s."
            )
            return None, _failed(Failure.PAUSED, sentence, ids)
        began, at = time.perf_counter(), datetime.now(UTC)
        response: Response | None = None
        try:
            token = await self._token(peer)
            if token is None:
                breaker.gave_up()
                return None, _failed(Failure.NOT_REGISTERED, f"There is no token for '{peer.name}'.", ids)
            sent = self._route(peer, endpoint, route)
            form = peer.quirks.token_form or peer.token_form or TokenForm.BASE64
            given = self._headers(peer, token, form, sent, ids)
            response = await self._http.ask(
                peer.id, endpoint.method, url, given, body, timeout_s=timeout_s or peer.quirks.timeout_s
            )
            outcome = _judged(response, ids)
        except FailedError as error:
            outcome = _failed(error.failure, str(error), ids)
            sent = self._route(peer, endpoint, route)
        except BaseException:
            breaker.gave_up()
            raise
        latency_ms = round((time.perf_counter() - began) * 1000, 2)
        outcome = replace(outcome, latency_ms=latency_ms, losses=losses)
        self._judge(peer, endpoint, breaker, outcome)
        if self._log is not None:
            self._log.add(
                Exchange(
                    tenant_id=peer.tenant_id,
                    connection_id=peer.id,
                    at=at,
                    incoming=False,
                    row=endpoint.number,
                    module=endpoint.module.value,
                    method=endpoint.method.value,
                    url=url,
                    request_id=ids[0],
                    correlation_id=ids[1],
                    from_party=_key(sent.from_party),
                    to_party=_key(sent.to_party),
                    http_status=outcome.http_status,
                    status_code=outcome.status_code,
                    latency_ms=latency_ms,
                    request=body,
                    response=None if response is None or endpoint.is_list else response.body,
                    error=outcome.sentence,
                    losses=losses,
                    path_values=msgspec.json.encode(dict(path)).decode() if path else None,
                    query=msgspec.json.encode(dict(query)).decode() if query else None,
                    routed=routed,
                )
            )
        return response, outcome

    def _judge(self, peer: Peer, endpoint: Endpoint, breaker: Breaker, outcome: Outcome) -> None:
        """What the outcome says of the partner: one that answers sense, be it a refusal, is well."""
        if outcome.failure is Failure.FORBIDDEN_ADDRESS and endpoint.response_url:
            # It was not asked, and the address was for this once: nothing is known of it that was not known before.
            breaker.gave_up()
            return
        pause = None
        if outcome.failure in _SICK:
            pause = breaker.failed()
        else:
            breaker.succeeded()
        if self._on_result is not None:
            self._on_result(
                peer, endpoint.module.value, outcome, breaker.failures, pause, reads=endpoint.method is Method.GET
            )

    def _headers(self, peer: Peer, token: str, form: TokenForm, route: Route, ids: tuple[str, str]) -> dict[str, str]:
        given = {"Authorization": headers.write_authorization(token, headers.TokenForm(form.value))}
        # Harmless to peers of 2.1.1, which do not know them, and a help to whoever reads both logs.
        given[headers.REQUEST_ID], given[headers.CORRELATION_ID] = ids
        routing = headers.Routing(
            to_party=None if route.to_party is None else _wire(route.to_party),
            from_party=None if route.from_party is None else _wire(route.from_party),
        )
        return given | headers.write_routing(routing) | peer.quirks.headers

    def _route(self, peer: Peer, endpoint: Endpoint, route: Route | None) -> Route:
        """Who it is from and to; nobody in configuration modules and where there are no such headers."""
        if endpoint.configuration or peer.version == Version.V2_1_1 or peer.quirks.no_routing_headers:
            return Route()
        own = peer.own_party()
        given = route or Route(from_party=None if own is None else own.id)
        if given.to_party is not None:
            return given
        others = {party.id.key: party.id for party in peer.parties}
        to_party = next(iter(others.values())) if len(others) == 1 else None
        if peer.is_hub and peer.hub_party is not None:
            # To the hub itself: a push to everybody, or a list of everybody's. What is for one alone, and what one alone can answer, it
            # passes on by what that is about.
            alone = not endpoint.is_list and (
                endpoint.module in (Module.CDRS, Module.SESSIONS)
                or endpoint.method is Method.GET
                or endpoint.answer is not None
            )
            to_party = None if alone else peer.hub_party
        return Route(from_party=given.from_party, to_party=to_party)

    def _understood(self, endpoint: Endpoint, version: Version, outcome: Outcome, context: Context) -> Outcome:
        if outcome.data is None or endpoint.answer is None or endpoint.module is Module.VERSIONS:
            return outcome
        data = _single(outcome.data)
        if data is None:
            return replace(outcome, data=None)
        try:
            carried = to_canonical(endpoint.answer, version, data, context)
        except (PeerError, RuleError) as error:
            return replace(outcome, failure=Failure.NOT_UNDERSTOOD, sentence=str(error), data=None)
        return replace(outcome, data=carried.document.encode(), losses=outcome.losses + carried.losses)


_SICK: Final = frozenset(
    {
        Failure.UNREACHABLE,
        Failure.TIMEOUT,
        Failure.HTTP_ERROR,
        Failure.TOO_LARGE,
        Failure.REDIRECT,
        Failure.UNAUTHORIZED,
        Failure.FORBIDDEN_ADDRESS,
    }
)


def _judged(response: Response, ids: tuple[str, str]) -> Outcome:
    """What an answer says."""
    status = response.status
    unreadable = "The answer has no body."
    read = None
    if response.body:
        try:
            read = envelope.read(response.body)
        except PeerError as error:
            unreadable = str(error)
    message = None if read is None or read.status_message is None else read.status_message[:500]
    told = Outcome(
        http_status=status,
        status_code=None if read is None else read.status_code,
        message=message,
        location=response.headers.get("location"),
        request_id=ids[0],
        correlation_id=ids[1],
    )
    said = f": {message.rstrip('. ')}" if message else ""

    def bad(failure: Failure, sentence: str) -> Outcome:
        return replace(told, failure=failure, sentence=sentence[:500])

    if 300 <= status < 400:
        return bad(Failure.REDIRECT, f"The partner redirects to {(told.location or 'somewhere else')[:200]}.")
    if status in (401, 403):
        # 403 is no status of OCPI; who uses it means the token.
        return bad(Failure.UNAUTHORIZED, f"The partner does not take our token ({status}){said}.")
    if status >= 500:
        return bad(Failure.HTTP_ERROR, f"The partner answered {status}{said}.")
    if read is None:
        if status < 300 and not response.body:
            # Some answer PUT and PATCH with nothing at all.
            return told
        failure = Failure.REFUSED if status >= 400 else Failure.NOT_UNDERSTOOD
        return bad(failure, f"The partner answered {status}. {unreadable}")
    if status >= 400 or not is_success(read.status_code):
        return bad(Failure.REFUSED, f"The partner refused it with {status}/{read.status_code}{said}.")
    return replace(told, data=envelope.data_of(read))


def _single(data: bytes) -> bytes | None:
    """The object of an answer; some wrap it in a list, and say by an empty one that there is none."""
    if not data.lstrip().startswith(b"["):
        return data
    try:
        items = msgspec.json.decode(data, type=list[msgspec.Raw])
    except msgspec.MsgspecError:
        return data
    if len(items) > 1:
        return data
    return bytes(items[0]) if items else None


def _with_end(cdr: bytes) -> bytes:
    """A CDR of 2.1.1 that tells its end by the name of later versions too."""
    fields = msgspec.json.decode(cdr, type=dict[str, msgspec.Raw])
    if "stop_date_time" in fields:
        fields["end_date_time"] = fields["stop_date_time"]
    return msgspec.json.encode(fields)


def _failed(failure: Failure, sentence: str, ids: tuple[str, str]) -> Outcome:
    return Outcome(failure=failure, sentence=sentence, request_id=ids[0], correlation_id=ids[1])


def _base(peer: Peer, endpoint: Endpoint) -> str | None:
    if endpoint.module.value == "versions":
        return peer.versions_url
    side = Interface.SENDER if endpoint.interface is Interface.BOTH else endpoint.interface
    found = peer.url_of(endpoint.module.value, side.value)
    if found is None and endpoint.interface is Interface.BOTH:
        found = peer.url_of(endpoint.module.value, Interface.RECEIVER.value)
    return found


def _target(base: str, endpoint: Endpoint, path: Mapping[str, str], *, upper: bool) -> str:
    if not endpoint.path:
        return base
    segments = []
    for part in endpoint.path.split("/"):
        if part.startswith("{"):
            value = path[part[1:-1]]
            if upper and part in ("{country_code}", "{party_id}"):
                value = value.upper()
            segments.append(quote(value, safe=_PATH_SAFE))
        else:
            segments.append(part)
    root, question, query = base.partition("?")
    return f"{root.rstrip('/')}/{'/'.join(segments)}{question}{query}"


def _owner(path: Mapping[str, str]) -> PartyId | None:
    """Whose object it is, where the URL says it."""
    if "country_code" in path and "party_id" in path:
        return PartyId(path["country_code"], path["party_id"])
    return None


def _wire(party: PartyId) -> headers.RoutingParty:
    return headers.RoutingParty(party.country_code, party.party_id)


def _key(party: PartyId | None) -> str | None:
    return None if party is None else party.key


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _joined(base: str, following: str) -> str:
    return urljoin(base, following)
