"""HTTP to partners: a pool of connections for each, so that none waits for another, and no way into our own networks.

Names are resolved here, and the connection goes to the very address that was looked at, so that what is checked is what is asked. TLS
and the Host header still have the name. Redirects are never followed; the answer is bounded in time and bytes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from typing import Final
from urllib.parse import SplitResult, urlsplit

from chargeplane.app.roaming.ports import Failure
from chargeplane.edges.ocpi_client.connection import BrokenError, Connection, Response, TooLargeError
from chargeplane.kernel.addresses import is_of_all
from chargeplane.kernel.errors import PeerError

__all__ = ["MOST_BYTES", "FailedError", "PartnerHttp", "Response"]

MOST_BYTES: Final = 32 * 1024 * 1024
_POOLS: Final = 2000
_CONNECTIONS: Final = 8
_KEEPALIVE_S: Final = 30.0
_Place = tuple[bool, str, int]
"""TLS, host, port."""


_HOW: Final = "Where partners are within your own networks, the setting roaming.private_networks allows it."


class FailedError(PeerError):
    """There was no answer that could be read."""

    def __init__(self, failure: Failure, sentence: str) -> None:
        super().__init__(sentence)
        self.failure = failure


class _ForbiddenError(Exception):
    pass


class _Pool:
    """Connections to one partner: so many at once, those that are free kept for a while."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(_CONNECTIONS)
        self._idle: dict[_Place, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._retired = False

    @property
    def busy(self) -> bool:
        """Whether anybody waits for an answer."""
        return any(one.open for one in self._all)

    def take(self, place: _Place) -> Connection | None:
        """A free connection, the one that was used last."""
        idle = self._idle.get(place, [])
        since = asyncio.get_running_loop().time() - _KEEPALIVE_S
        while idle:
            found = idle.pop()
            if found.open and found.used_at > since:
                return found
            self.drop(found)
        return None

    def add(self, connection: Connection) -> None:
        """A new one."""
        self._all = {one for one in self._all if one.open}
        self._all.add(connection)

    def give(self, place: _Place, connection: Connection) -> None:
        """It is free again."""
        if connection.open and connection in self._all and not self._retired:
            if place not in self._idle and len(self._idle) >= _CONNECTIONS:
                self._hang_up_idle()
            self._idle.setdefault(place, []).append(connection)
        else:
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """It is closed."""
        self._all.discard(connection)
        connection.close()

    def _hang_up_idle(self) -> None:
        for idle in self._idle.values():
            for one in idle:
                self.drop(one)
        self._idle.clear()

    def retire(self) -> None:
        """Hangs up what is free, and the rest once it has its answer."""
        self._retired = True
        self._hang_up_idle()

    def close(self) -> None:
        """Hangs up; who waits for an answer is told. Connections that are made meanwhile are not kept."""
        self._retired = True
        for one in self._all:
            one.close()
        self._all.clear()
        self._idle.clear()


class PartnerHttp:
    """Asks partners, each over connections of its own.

    Args:
        private_networks: whether addresses of private networks and of this machine may be asked, and without TLS.
        timeout_s: how long an answer may take, all of it.
    """

    def __init__(self, *, private_networks: bool = False, timeout_s: float = 30.0) -> None:
        self._private_networks = private_networks
        self.timeout_s = timeout_s
        self._context = ssl.create_default_context()
        self._pools: OrderedDict[object, _Pool] = OrderedDict()
        self._retired: list[_Pool] = []

    async def close(self) -> None:
        """Hangs up everywhere."""
        for pool in (*self._pools.values(), *self._retired):
            pool.close()
        self._pools.clear()
        self._retired.clear()
        await asyncio.sleep(0)  # in which the sockets are closed

    def forget(self, whose: object) -> None:
        """Hangs up with one: it is somebody else now, or has another token. Who waits for an answer still gets it."""
        pool = self._pools.pop(whose, None)
        if pool is not None:
            self._retire(pool)

    def _retire(self, pool: _Pool) -> None:
        pool.retire()
        self._retired = [one for one in (*self._retired, pool) if one.busy]

    async def ask(
        self,
        whose: object,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None = None,
        *,
        timeout_s: float | None = None,
        limit: int = MOST_BYTES,
    ) -> Response:
        """The answer, whatever its status.

        Args:
            whose: connections are shared with nobody else.
        Raises:
            FailedError: there was none.
        """
        place = url[:200]
        parts = self._checked(url)
        patience = timeout_s if timeout_s is not None else self.timeout_s
        try:
            request = _written(method, parts, headers, body)
            async with asyncio.timeout(patience):
                return await self._ask(self._pool(whose), _place(parts), request, limit)
        except TimeoutError:
            raise FailedError(Failure.TIMEOUT, f"{place} did not answer within {patience:g} s.") from None
        except TooLargeError:
            raise FailedError(Failure.TOO_LARGE, f"{place} answered with more than {limit} bytes.") from None
        except _ForbiddenError as error:
            raise FailedError(Failure.FORBIDDEN_ADDRESS, str(error)) from None
        except (BrokenError, OSError, UnicodeError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise FailedError(Failure.UNREACHABLE, f"{place} cannot be asked: {why}.") from None

    async def _ask(self, pool: _Pool, place: _Place, request: bytes, limit: int) -> Response:
        async with pool.slots:
            connection = pool.take(place)
            if connection is None:
                connection = await self._connect(place)
                pool.add(connection)
            try:
                return await connection.ask(request, limit)
            finally:
                pool.give(place, connection)

    async def _connect(self, place: _Place) -> Connection:
        tls, host, port = place
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed = [
            address
            for address in dict.fromkeys(str(one[0]) for *_, one in found)
            if self._private_networks or is_of_all(address.partition("%")[0])
        ]
        if not allowed:
            raise _ForbiddenError(
                f"{host} is within our own networks, where addresses from others are not asked. {_HOW}"
            )
        for number, address in enumerate(allowed):
            try:
                _, connection = await loop.create_connection(
                    Connection,
                    address,
                    port,
                    ssl=self._context if tls else None,
                    server_hostname=host if tls else None,
                )
                return connection
            except OSError:
                if number == len(allowed) - 1:
                    raise
        raise AssertionError("unreachable")

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
            _ = parts.port
        except ValueError:
            good = False
            parts = urlsplit("")
        if not good or not url.isascii() or any(character <= " " for character in url):
            raise FailedError(Failure.FORBIDDEN_ADDRESS, f"'{url[:200]}' is no address that can be asked by HTTP.")
        if parts.scheme == "http" and not self._private_networks:
            raise FailedError(
                Failure.FORBIDDEN_ADDRESS, f"'{url[:200]}' is without TLS, over which partners are not asked. {_HOW}"
            )
        return parts

    def _pool(self, whose: object) -> _Pool:
        pool = self._pools.get(whose)
        if pool is None:
            pool = self._pools[whose] = _Pool()
            if len(self._pools) > _POOLS:
                self._retire(self._pools.popitem(last=False)[1])
        else:
            self._pools.move_to_end(whose)
        return pool


def _place(parts: SplitResult) -> _Place:
    tls = parts.scheme == "https"
    assert parts.hostname is not None
    return tls, parts.hostname, parts.port or (443 if tls else 80)


def _written(method: str, parts: SplitResult, headers: dict[str, str], body: bytes | None) -> bytes:
    """The request as it goes over the wire.

    Raises:
        ValueError: a header holds what would end it.
    """
    every = {
        "Host": _host(parts),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "chargeplane",
    }
    every |= headers
    if body is not None:
        every["Content-Length"] = str(len(body))
        every.setdefault("Content-Type", "application/json")
    elif method in ("POST", "PUT", "PATCH"):
        every["Content-Length"] = "0"
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items())]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header has a line break in it")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (body or b"")


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return name if parts.port is None else f"{name}:{parts.port}"
