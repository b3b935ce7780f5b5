"""The ASGI application: authenticates, routes by the table, and puts every answer into the envelope.

There is no framework between socket and handler: partners push every change of every EVSE. Nothing but the envelope ever leaves, with
HTTP 200 or 201 once a request was authenticated, was JSON and named something that exists (OCPI 2.3.0 status_codes). A slash at the end
of a URL means nothing.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import structlog
from msgspec import Struct

from chargeplane.app.roaming.exchanges import Exchange, ExchangeLog
from chargeplane.app.roaming.ports import Route
from chargeplane.app.roaming.tokens import Recognised, Tokens
from chargeplane.bridge.ocpi import Context
from chargeplane.bridge.ocpi_wire import context_of, from_canonical, to_canonical, with_owners
from chargeplane.domain.roaming.connection import ConnectionState, PartyId, Peer
from chargeplane.edges.ocpi_server.call import Call, Handler, Page, Reply
from chargeplane.edges.ocpi_server.checks import check_ids, check_owner
from chargeplane.edges.ocpi_server.routing import Routes
from chargeplane.kernel.errors import InvalidInputError, NotFoundError, PeerError, RuleError, UnavailableError
from chargeplane.ocpi import envelope, headers, paging
from chargeplane.ocpi.documents import DocumentError, MalformedError
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.status import Status
from chargeplane.ocpi.table import RESULTS, Endpoint, Method, Module
from chargeplane.ocpi.versions import Version

ROOT: Final = "/ocpi"
"""Where our paths begin."""

_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]

_log = structlog.get_logger(__name__)


class DoorSettings(Struct, frozen=True, kw_only=True):
    """How the door behaves.

    Args:
        max_body: bytes that a request may have.
        page_limit: documents in a page at most.
        public_url: where partners reach us, without `/ocpi`; None: as each asks.
    """

    max_body: int = 4 * 1024 * 1024
    page_limit: int = 1000
    public_url: str | None = None


class Hub(Protocol):
    """Takes what is for somebody behind us. Implemented by the hub."""

    async def take(self, call: Call) -> Reply | None:
        """The answer of whom the request is for; None where it is for us."""
        ...


class _RefusedError(Exception):
    """Ends a request with an envelope."""

    def __init__(self, http_status: int, status: int, message: str, extra: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status = status
        self.extra = dict(extra or {})


class _Exchanged:
    """What is known of a request so far."""

    __slots__ = (
        "began",
        "body",
        "correlation_id",
        "http_status",
        "losses",
        "method",
        "path",
        "peer",
        "request_id",
        "route",
        "routed",
        "row",
        "status",
    )

    def __init__(self, method: str, path: str, request_id: str, correlation_id: str, route: Route) -> None:
        self.began = time.perf_counter()
        self.method = method
        self.path = path
        self.request_id = request_id
        self.correlation_id = correlation_id
        self.route = route
        self.peer: Peer | None = None
        self.row: Endpoint | None = None
        self.body: bytes | None = None
        self.http_status = 200
        self.status: int = Status.SUCCESS
        self.losses: tuple[str, ...] = ()
        self.routed = False


Contexts = Callable[[Peer, Kind, bytes, Context], Awaitable[Context]]


class OcpiServer:
    """The door for partners.

    Args:
        handlers: by row numbers; rows without one are not offered.
    """

    def __init__(
        self,
        tokens: Tokens,
        handlers: Mapping[int, Handler],
        log: ExchangeLog | None = None,
        settings: DoorSettings | None = None,
        hub: Hub | None = None,
    ) -> None:
        self._tokens = tokens
        self.handlers = dict(handlers)
        self._log = log
        self._settings = settings or DoorSettings()
        self.hub = hub
        self._routes = Routes(self.handlers)
        self.contexts: Contexts | None = None
        """Adds to what is known of a conversion: the location of a session, say."""

    def offer(self, handlers: Mapping[int, Handler]) -> None:
        """Adds handlers."""
        self.handlers.update(handlers)
        self._routes = Routes(self.handlers)

    def modules(self, version: Version) -> list[tuple[str, str]]:
        """Modules and interfaces that are answered here."""
        return self._routes.modules(version)

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        """ASGI."""
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        request_id = headers.read_id(given.get("x-request-id")) or str(uuid.uuid4())
        correlation_id = headers.read_id(given.get("x-correlation-id")) or str(uuid.uuid4())
        routing = headers.read_routing(given)
        exchanged = _Exchanged(method, path, request_id, correlation_id, _route(routing))
        extra: dict[str, str] = {}
        try:
            body, extra = await self._answer(scope, given, exchanged, receive)
        except _RefusedError as error:
            exchanged.http_status, exchanged.status, extra = error.http_status, error.status, error.extra
            body = envelope.write(datetime.now(UTC), None, error.status, str(error))
        except Exception as error:
            _log.exception("ocpi_failed", path=path, error=str(error))
            exchanged.status = Status.SERVER_ERROR
            body = envelope.write(
                datetime.now(UTC), None, Status.SERVER_ERROR, "Something went wrong here; it was noted."
            )
        await self._send(send, exchanged, body, extra)

    async def _answer(
        self, scope: MutableMapping[str, Any], given: Mapping[str, str], exchanged: _Exchanged, receive: _Receive
    ) -> tuple[bytes, dict[str, str]]:
        found = self._routes.find(exchanged.path.removeprefix(ROOT))
        candidates = headers.read_authorization(given.get("authorization"))
        functional = found is not None and not found.configuration
        who = await self._tokens.recognise([text for text, _ in candidates], functional=functional)
        if who is None:
            raise _RefusedError(401, Status.CLIENT_ERROR, "The credentials token is missing or unknown.", _CHALLENGE)
        exchanged.peer = peer = who.peer
        if found is None:
            raise _RefusedError(404, Status.CLIENT_ERROR, "There is nothing at this URL.")
        if who.invited and not found.open_to_invited:
            # OCPI 2.3.0, Authorization header: CREDENTIALS_TOKEN_A opens versions and credentials alone.
            raise _RefusedError(
                401, Status.CLIENT_ERROR, "This token opens versions and credentials alone; register first.", _CHALLENGE
            )
        row, values = found.row_of(exchanged.method)
        if row is None:
            allowed = ", ".join(found.methods)
            raise _RefusedError(405, Status.CLIENT_ERROR, f"This URL knows {allowed}.", {"Allow": allowed})
        exchanged.row = row
        if peer.state is ConnectionState.SUSPENDED and not row.configuration:
            raise _RefusedError(200, Status.CLIENT_ERROR, "The connection is suspended.")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)[:100])
        version = found.version
        base_url = self._base_url(scope, given)
        body = await self._body(receive)
        exchanged.body = body or None
        handler = self.handlers[row.number]
        try:
            page = paging.read_ask(query, self._settings.page_limit) if row.is_list else None
            call = self._understood(exchanged, who, row, version, values, query, page, body, base_url)
            reply = await self.hub.take(call) if self.hub is not None and not row.configuration else None
            if reply is None:
                check_owner(call)
                reply = await handler(call)
            else:
                exchanged.routed = True
        except MalformedError as error:
            raise _RefusedError(400, Status.INVALID_PARAMETERS, f"The body is no JSON: {error}") from None
        except DocumentError as error:
            raise _RefusedError(200, Status.INVALID_PARAMETERS, _fields(str(error), error.fields)) from None
        except InvalidInputError as error:
            raise _RefusedError(200, Status.INVALID_PARAMETERS, _fields(str(error), error.fields)) from None
        except NotFoundError as error:
            status = 404 if row.method is Method.GET else 200
            raise _RefusedError(status, Status.CLIENT_ERROR, str(error)) from None
        except RuleError as error:
            raise _RefusedError(200, Status.CLIENT_ERROR, str(error)) from None
        except (UnavailableError, OSError, TimeoutError) as error:
            _log.warning("ocpi_unavailable", path=exchanged.path, error=str(error))
            raise _RefusedError(503, Status.SERVER_ERROR, "This cannot be done now; try again later.") from None
        return await self._written(exchanged, reply, call)

    # -- in ------------------------------------------------------------------------------------------------------------

    async def _body(self, receive: _Receive) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            return body
        received = bytearray(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _RefusedError(400, Status.CLIENT_ERROR, "The body ended early.")
            received += message.get("body", b"")
            if len(received) > self._settings.max_body:
                raise _too_large(self._settings.max_body)
        return bytes(received)

    def _understood(
        self,
        exchanged: _Exchanged,
        who: Recognised,
        row: Endpoint,
        version: Version,
        values: Mapping[str, str],
        query: Mapping[str, str],
        page: paging.PageAsk | None,
        body: bytes,
        base_url: str,
    ) -> Call:
        peer = who.peer
        document = None
        kind = RESULTS.get(values.get("result", "")) if row.number == _PROFILE_RESULT else row.body
        if kind is not None and row.module is not Module.CREDENTIALS:
            if body.strip() or kind is not Kind.LOCATION_REFERENCES:
                owner = PartyId(values["country_code"], values["party_id"]) if row.owned else None
                carried = to_canonical(kind, version, body, context_of(peer, owner), partial=row.partial)
                document, exchanged.losses = carried.document, carried.losses
        elif row.number == _PROFILE_RESULT:
            raise _RefusedError(404, Status.CLIENT_ERROR, "There is nothing at this URL.")
        call = Call(
            peer=peer,
            row=row,
            version=version,
            path=values,
            query=query,
            request_id=exchanged.request_id,
            correlation_id=exchanged.correlation_id,
            page=page,
            document=document,
            route=Route() if row.configuration else exchanged.route,
            base_url=base_url,
            token_used=who.token,
            invited=who.invited,
            wire=body,
        )
        if document is not None:
            check_ids(call, version)
        return call

    def _base_url(self, scope: MutableMapping[str, Any], given: Mapping[str, str]) -> str:
        if self._settings.public_url is not None:
            return f"{self._settings.public_url.rstrip('/')}{ROOT}"
        host = given.get("host") or "localhost"
        scheme = given.get("x-forwarded-proto", scope.get("scheme", "http")).split(",")[0].strip()
        return f"{scheme if scheme in ('http', 'https') else 'http'}://{host}{ROOT}"

    # -- out -----------------------------------------------------------------------------------------------------------

    async def _written(self, exchanged: _Exchanged, reply: Reply, call: Call) -> tuple[bytes, dict[str, str]]:
        now = datetime.now(UTC)
        exchanged.status = reply.status
        if reply.http_status is not None:
            exchanged.http_status = reply.http_status
        elif reply.not_found:
            exchanged.http_status = 404 if call.row.method is Method.GET or _is_authorize(call.row) else 200
        elif reply.created:
            exchanged.http_status = 201
        extra: dict[str, str] = {}
        if reply.location is not None:
            extra["Location"] = reply.location
        if reply.page is not None and call.page is not None:
            return await self._list(exchanged, reply, reply.page, call, now, extra), extra
        data = reply.document
        if data is not None and not reply.raw and call.version is not Version.V2_3_0 and call.row.answer is not None:
            carried = from_canonical(
                call.row.answer, call.version, data, await self._context(call, call.row.answer, data)
            )
            data, exchanged.losses = carried.document.encode(), exchanged.losses + carried.losses
        return envelope.write(now, data, reply.status, reply.message), extra

    async def _list(
        self, exchanged: _Exchanged, reply: Reply, page: Page, call: Call, now: datetime, extra: dict[str, str]
    ) -> bytes:
        assert call.page is not None
        documents = page.documents
        if call.version is not Version.V2_3_0 and call.row.answer is not None:
            converted, losses = [], list(exchanged.losses)
            plain = self._plain(call)
            for number, document in enumerate(documents, 1):
                if number % _AT_A_STRETCH == 0:
                    await asyncio.sleep(0)  # stations share the loop
                try:
                    context = await self._context(call, call.row.answer, document, plain)
                    carried = from_canonical(call.row.answer, call.version, document, context)
                except (PeerError, RuleError) as error:
                    # One that the version cannot hold must not keep the others back.
                    losses.append(f"left out: {error}")
                    continue
                wire = carried.document.encode()
                if exchanged.routed and call.version is Version.V2_1_1:
                    wire = with_owners(call.row.answer, wire, document)
                converted.append(wire)
                losses.extend(carried.losses)
            documents, exchanged.losses = converted, tuple(losses)
        extra[headers.TOTAL_COUNT] = str(page.total)
        extra[headers.LIMIT] = str(self._settings.page_limit)
        url = call.base_url + exchanged.path.removeprefix(ROOT)
        given = len(page.documents) if page.taken is None else page.taken
        link = paging.next_link(url, call.page, page.total, given)
        if link is not None:
            extra["Link"] = link
        return envelope.write_list(now, documents, reply.message)

    def _plain(self, call: Call) -> Context:
        """What the connection tells of a conversion down; what is ours has an owner of ours."""
        own = call.peer.own_party()
        return context_of(call.peer, call.owner or (None if own is None else own.id))

    async def _context(self, call: Call, kind: Kind, document: bytes, plain: Context | None = None) -> Context:
        """What a conversion down must know."""
        plain = plain or self._plain(call)
        return plain if self.contexts is None else await self.contexts(call.peer, kind, document, plain)

    async def _send(self, send: _Send, exchanged: _Exchanged, body: bytes, extra: Mapping[str, str]) -> None:
        given = {
            "content-type": "application/json; charset=utf-8",
            "content-length": str(len(body)),
            "x-request-id": exchanged.request_id,
            "x-correlation-id": exchanged.correlation_id,
            **extra,
        }
        row = exchanged.row
        if row is not None and not row.configuration:
            back = exchanged.route
            given |= headers.write_routing(
                headers.Routing(to_party=_wire(back.from_party), from_party=_wire(back.to_party))
            )
        await send(
            {
                "type": "http.response.start",
                "status": exchanged.http_status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()],
            }
        )
        await send({"type": "http.response.body", "body": body if exchanged.method != "HEAD" else b""})
        if self._log is not None and exchanged.peer is not None:
            self._note(exchanged, exchanged.peer, body)

    def _note(self, exchanged: _Exchanged, peer: Peer, body: bytes) -> None:
        assert self._log is not None
        row = exchanged.row
        route = exchanged.route
        good = 1000 <= exchanged.status < 2000
        self._log.add(
            Exchange(
                tenant_id=peer.tenant_id,
                connection_id=peer.id,
                at=datetime.now(UTC),
                incoming=True,
                row=None if row is None else row.number,
                module=None if row is None else row.module.value,
                method=exchanged.method,
                url=exchanged.path,
                request_id=exchanged.request_id,
                correlation_id=exchanged.correlation_id,
                from_party=None if route.from_party is None else route.from_party.key,
                to_party=None if route.to_party is None else route.to_party.key,
                http_status=exchanged.http_status,
                status_code=exchanged.status,
                latency_ms=round((time.perf_counter() - exchanged.began) * 1000, 2),
                # Credentials are nobody's to read again.
                request=None if row is None or row.module is Module.CREDENTIALS else exchanged.body,
                response=None if row is None or row.is_list or (row.module is Module.CREDENTIALS and good) else body,
                error=None if good else body[:500].decode("utf-8", "replace"),
                losses=exchanged.losses,
                routed=exchanged.routed,
            )
        )


_AT_A_STRETCH: Final = 25
"""Documents that are converted, about a ms, before others have their turn."""
_CHALLENGE: Final = {"WWW-Authenticate": "Token"}
_PROFILE_RESULT: Final = 47
_AUTHORIZE: Final = 34


def _is_authorize(row: Endpoint) -> bool:
    # OCPI 2.3.0 mod_tokens: an unknown token is 404 with 2004, the one POST for which this is said.
    return row.number == _AUTHORIZE


def _too_large(limit: int) -> _RefusedError:
    return _RefusedError(413, Status.CLIENT_ERROR, f"The body has more than {limit} bytes.", {"Connection": "close"})


def _fields(sentence: str, fields: tuple[tuple[str, str], ...]) -> str:
    """The sentence, with the fields that it does not name itself."""
    more = "; ".join(
        pointer if text in sentence else f"{pointer}: {text}"
        for pointer, text in fields[:10]
        if text not in sentence or pointer.strip("/") not in sentence
    )
    return (f"{sentence} ({more})" if more else sentence)[:1000]


def _route(routing: headers.Routing) -> Route:
    return Route(from_party=_domain(routing.from_party), to_party=_domain(routing.to_party))


def _domain(party: headers.RoutingParty | None) -> PartyId | None:
    return None if party is None else PartyId(party.country_code, party.party_id)


def _wire(party: PartyId | None) -> headers.RoutingParty | None:
    return None if party is None else headers.RoutingParty(party.country_code, party.party_id)
