"""The simulated partner's server.

It answers every row of `chargeplane.ocpi.table` that its version has. What it owns is in `owns`, in its own version; what it was sent is in `received`, in order, and is
given back where it is asked for. Registration: `token_in` is what callers must say; a POST or PUT of credentials answers with a new one, and keeps theirs in `peer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import httpx
import uvicorn
from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.ocpi.documents import Document, DocumentError, MalformedError, decode, encode_tree
from chargeplane.ocpi.envelope import write, write_list
from chargeplane.ocpi.fields import instant, same
from chargeplane.ocpi.headers import read_authorization
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.merge import connector_of, evse_of, merge
from chargeplane.ocpi.paging import next_link, read_ask
from chargeplane.ocpi.status import Status
from chargeplane.ocpi.table import TABLE, Endpoint, Interface, Module, modules_of
from chargeplane.ocpi.versions import Version
from chargeplane.simulator.roaming.faults import PartnerFault

Tree = dict[str, Any]

_MAX_BODY: Final = 4 * 1024 * 1024
_OF_CPO: Final = frozenset({Module.LOCATIONS, Module.SESSIONS, Module.CDRS, Module.TARIFFS})
_COMMANDS: Final = frozenset(
    {Kind.START_SESSION, Kind.STOP_SESSION, Kind.RESERVE_NOW, Kind.UNLOCK_CONNECTOR, Kind.CANCEL_RESERVATION}
)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]


class Received(Struct, frozen=True):
    """Something that the partner was sent.

    Args:
        number: of the row.
        values: of the path's variables.
        tree: the body, in the partner's version; None where there was none.
    """

    number: int
    values: dict[str, str]
    tree: Any


class _Answer(Struct, frozen=True):
    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Server(uvicorn.Server):
    ready: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.ready is not None:
            self.ready.set_result(None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to whoever runs us."""
        yield


class Partner:
    """The server.

    Args:
        version: the one it speaks.
        role: CPO or EMSP; 2.1.1 has one side of each module by it.
        country_code, party_id: the party it is.
        token_in: what callers must say first (token A).
    """

    def __init__(
        self,
        version: Version,
        *,
        role: str = "CPO",
        country_code: str = "NL",
        party_id: str = "SIM",
        token_in: str = "",
        host: str = "127.0.0.1",
    ) -> None:
        self.version = version
        self.role = role
        self.country_code = country_code
        self.party_id = party_id
        self.token_in = token_in or secrets.token_urlsafe(24)
        self.owns: dict[Kind, list[Tree]] = {}
        self.received: list[Received] = []
        self.peer: Tree | None = None
        self.faults: set[PartnerFault] = set()
        self.delay_s = 30.0
        self.allowed = "ALLOWED"
        """What it says of tokens."""
        self.result = "ACCEPTED"
        """What comes of commands."""
        self.port = 0
        self._host = host
        self._kept: dict[tuple[str, ...], Tree] = {}
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._results: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Below it are its modules."""
        return f"http://{self._host}:{self.port}/ocpi"

    @property
    def versions_url(self) -> str:
        """Where registration begins."""
        return f"{self.url}/versions"

    async def start(self) -> None:
        """Binds and serves."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # it may come back where it was
        bound.bind((self._host, self.port))
        self.port = bound.getsockname()[1]
        config = uvicorn.Config(
            self._app, http="httptools", interface="asgi3", ws="none", lifespan="off", loop="none", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        config.load()
        self._server = _Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._server.ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]), name="roaming partner")
        await self._server.ready

    async def stop(self) -> None:
        """Ends."""
        for result in self._results:
            result.cancel()
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task

    # -- HTTP

    async def _app(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if body is None:
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        answer = await self._answer(scope, headers, body)
        shown = [(b"content-type", b"application/json"), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": shown})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: _Scope, headers: dict[str, str], body: bytes) -> _Answer:
        tokens = [token for token, _ in read_authorization(headers.get("authorization"))]
        path = [unquote(part) for part in scope["path"].strip("/").split("/")]
        setup = path == ["ocpi", "versions"] or len(path) == 2 or path[2:] == ["credentials"]
        if self.token_in not in tokens or (PartnerFault.REFUSES_TOKEN in self.faults and not setup):
            return self._said(Status.CLIENT_ERROR, "Unknown token", 401)
        if not setup:
            wrong = await self._before()
            if wrong is not None:
                return wrong
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        try:
            answer = self._routed(scope["method"], path[1:], query, body)
        except MalformedError as error:
            return self._said(Status.CLIENT_ERROR, str(error), 400)
        except (DocumentError, InvalidInputError) as error:
            return self._said(Status.INVALID_PARAMETERS, str(error))
        return answer if setup else self._spoiled(answer)

    async def _before(self) -> _Answer | None:
        if PartnerFault.SLOW in self.faults:
            await asyncio.sleep(self.delay_s)
        if PartnerFault.FAILS in self.faults:
            return _Answer(b"<html>Internal Server Error</html>", 500, ((b"content-type", b"text/html"),))
        if PartnerFault.REDIRECTS in self.faults:
            return _Answer(b"", 302, ((b"location", b"http://169.254.169.254/latest/"),))
        if PartnerFault.SERVER_ERROR in self.faults:
            return self._said(Status.SERVER_ERROR, "Told to")
        return None

    def _spoiled(self, answer: _Answer) -> _Answer:
        if PartnerFault.BROKEN_JSON in self.faults:
            return _Answer(answer.body[: len(answer.body) // 2], answer.status)
        if PartnerFault.NO_ENVELOPE in self.faults:
            return _Answer(answer.body.partition(b'"data":')[2].partition(b',"status_code"')[0], answer.status)
        return answer

    def _said(self, status: Status, message: str, http: int = 200) -> _Answer:
        return _Answer(write(datetime.now(UTC), None, status, message), http)

    def _given(self, tree: Any = None, *headers: tuple[bytes, bytes], status: int = 200) -> _Answer:
        data = None if tree is None else encode_tree(tree)
        return _Answer(write(datetime.now(UTC), data), status, headers)

    # -- rows

    def _routed(self, method: str, path: list[str], query: dict[str, str], body: bytes) -> _Answer:
        if path == ["versions"]:
            return self._given([{"version": self.version.value, "url": f"{self.url}/{self.version}"}])
        if not path or path[0] != self.version.value:
            return self._said(Status.CLIENT_ERROR, "No such version", 404)
        if len(path) == 1:
            return self._given({"version": self.version.value, "endpoints": self._endpoints()})
        if path[1:] == ["credentials"]:
            return self._credentials(method, body)
        found = self._row(method, path[1:])
        if found is None:
            return self._said(Status.CLIENT_ERROR, "No such endpoint", 404)
        row, values = found
        document = decode(row.body, self.version, body, partial=row.partial) if row.body and body else None
        if row.method is not row.method.GET:
            self.received.append(Received(row.number, values, document.tree if document else None))
        return self._listed(row, path, query) if row.is_list else self._one(row, values, document)

    def _endpoints(self) -> list[Tree]:
        found = []
        for module, interface in modules_of(self.version):
            place = f"{self.url}/{self.version}/{interface.value.lower()}/{module.value}"
            if self.version is not Version.V2_1_1:
                found.append({"identifier": module.value, "role": interface.value, "url": place})
            elif interface is self._side(module):
                found.append({"identifier": module.value, "url": place})
        found.append({"identifier": "credentials", "url": f"{self.url}/{self.version}/credentials"})
        if self.version is not Version.V2_1_1:
            found[-1]["role"] = Interface.SENDER.value
        return found

    def _side(self, module: Module) -> Interface:
        return Interface.SENDER if (module in _OF_CPO) is (self.role == "CPO") else Interface.RECEIVER

    def _row(self, method: str, path: list[str]) -> tuple[Endpoint, dict[str, str]] | None:
        if len(path) < 2:
            return None
        side, module, *rest = path
        for row in TABLE.values():
            if (row.method, row.module, row.interface.value.lower()) != (method, module, side):
                continue
            parts = row.path.split("/") if row.path else []
            if not row.is_in(self.version) or len(parts) != len(rest):
                continue
            if all(part.startswith("{") or part == sent for part, sent in zip(parts, rest, strict=True)):
                pairs = zip(parts, rest, strict=True)
                return row, {part[1:-1]: sent for part, sent in pairs if part.startswith("{")}
        return None

    def _credentials(self, method: str, body: bytes) -> _Answer:
        if method in ("POST", "PUT"):
            self.peer = decode(Kind.CREDENTIALS, self.version, body).tree
            self.token_in = secrets.token_urlsafe(24)
        elif method == "DELETE":
            self.peer = None
            return self._given()
        return self._given(self.credentials())

    def credentials(self) -> Tree:
        """What it gives a peer: its token, its URL and who it is."""
        own = {
            "business_details": {"name": "Simulated partner"},
            "party_id": self.party_id,
            "country_code": self.country_code,
        }
        first = {"token": self.token_in, "url": self.versions_url}
        if self.version is Version.V2_1_1:
            return {**first, **own}
        return {**first, "roles": [{"role": self.role, **own}]}

    def _listed(self, row: Endpoint, path: list[str], query: dict[str, str]) -> _Answer:
        assert row.answer is not None
        ask = read_ask(query)
        documents = [tree for tree in self.owns.get(row.answer, []) if self._asked(tree, ask.date_from, ask.date_to)]
        page = [self._wrong(tree) for tree in documents[ask.offset : ask.offset + ask.limit]]
        url = f"{self.url}/{'/'.join(path)}"
        link = next_link(url, ask, len(documents), len(page))
        if PartnerFault.LOOPING_PAGES in self.faults:
            link = f'<{url}?offset={ask.offset}&limit={ask.limit}>; rel="next"'
        headers = [(b"x-total-count", b"%d" % len(documents)), (b"x-limit", b"%d" % ask.limit)]
        if link:
            headers.append((b"link", link.encode()))
        return _Answer(write_list(datetime.now(UTC), [encode_tree(tree) for tree in page]), 200, tuple(headers))

    def _asked(self, tree: Tree, since: datetime | None, until: datetime | None) -> bool:
        changed = instant(tree["last_updated"])
        return (since is None or changed >= since) and (until is None or changed < until)

    def _wrong(self, tree: Tree) -> Tree:
        if PartnerFault.WRONG_TYPES in self.faults:
            return {**tree, "id": [1], "uid": [1], "last_updated": 7}
        if PartnerFault.WRONG_IDS in self.faults:
            return {**tree, "country_code": "XX", "party_id": "EVL"}
        return tree

    def _one(self, row: Endpoint, values: dict[str, str], document: Document | None) -> _Answer:
        if row.answer is Kind.AUTHORIZATION_INFO:
            return self._authorized(values)
        if row.answer is Kind.COMMAND_RESPONSE and document is not None:
            self._result_later(document)
            timed = {} if self.version is Version.V2_1_1 else {"timeout": 30}
            return self._given({"result": "ACCEPTED", **timed})
        ids = tuple(value.lower() for value in values.values())
        if row.method is row.method.GET:
            tree = self._kept.get((row.module, *ids)) or self._owned(row, values)
            return self._given(self._wrong(tree)) if tree else self._said(Status.CLIENT_ERROR, "Unknown", 404)
        if row.method is row.method.DELETE:
            self._kept.pop((row.module, *ids), None)
        elif row.body is Kind.CDR and document is not None:
            self._kept[row.module, document.tree["id"].lower()] = document.tree
            place = f"{self.url}/{self.version}/receiver/cdrs/{document.tree['id']}"
            return self._given(None, (b"location", place.encode()), status=201)
        elif row.partial and document is not None and row.body is not None:
            kept = self._kept.get((row.module, *ids))
            if kept is None:
                return self._said(Status.CLIENT_ERROR, "Unknown", 404)
            received = datetime.now(UTC).isoformat() if self.version is Version.V2_1_1 else None
            self._kept[row.module, *ids] = merge(row.body, kept, document.tree, received=received, version=self.version)
        elif document is not None:
            self._kept[row.module, *ids] = document.tree
        return self._given()

    def _owned(self, row: Endpoint, values: dict[str, str]) -> Tree | None:
        kind = Kind.LOCATION if row.module is Module.LOCATIONS else row.answer
        names = [value for name, value in values.items() if name not in ("country_code", "party_id")]
        for tree in self.owns.get(kind, []) if kind and names else ():
            if same(str(tree.get("id", tree.get("uid"))), names[0]):
                evse = evse_of(tree, names[1]) if len(names) > 1 else tree
                return connector_of(evse, names[2]) if evse and len(names) > 2 else evse
        return None

    def _authorized(self, values: dict[str, str]) -> _Answer:
        uid = values["token_uid"]
        token = next((one for one in self.owns.get(Kind.TOKEN, []) if same(str(one["uid"]), uid)), None)
        if token is None:
            return self._said(Status.UNKNOWN_TOKEN, f"There is no token '{uid}'.", 404)
        told = {} if self.version is Version.V2_1_1 else {"token": token}
        return self._given({"allowed": self.allowed, **told})

    def _result_later(self, document: Document) -> None:
        assert document.kind in _COMMANDS
        task = asyncio.create_task(self._tell(document.tree["response_url"]), name="command result")
        self._results.add(task)
        task.add_done_callback(self._results.discard)

    async def _tell(self, url: str) -> None:
        token = (self.peer or {}).get("token", "")
        async with httpx.AsyncClient(timeout=10) as client:
            with contextlib.suppress(httpx.HTTPError):
                headers = {"Authorization": f"Token {token}"}
                await client.post(url, json={"result": self.result}, headers=headers)


async def _body(receive: _Receive) -> bytes | None:
    taken = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        taken += message.get("body", b"")
        if len(taken) > _MAX_BODY:
            return None
        if not message.get("more_body"):
            return bytes(taken)
