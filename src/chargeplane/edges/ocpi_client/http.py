"""HTTP to partners: a pool of connections for each, so that none waits for another, and no way into our own networks.

Names are resolved here, and the connection goes to the very address that was looked at, so that what is checked is what is asked. TLS
and the Host header still have the name. Redirects are never followed; the answer is bounded in time and bytes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpcore
from msgspec import Struct

from chargeplane.app.roaming.ports import Failure
from chargeplane.kernel.addresses import is_of_all
from chargeplane.kernel.errors import PeerError

MOST_BYTES: Final = 32 * 1024 * 1024
_POOLS: Final = 2000
_CONNECTIONS: Final = 8
_KEEPALIVE_S: Final = 30.0


class Response(Struct, frozen=True, kw_only=True):
    """An answer.

    Args:
        headers: with names in lower case; of a name that came twice, both values joined.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class FailedError(PeerError):
    """There was no answer that could be read."""

    def __init__(self, failure: Failure, sentence: str) -> None:
        super().__init__(sentence)
        self.failure = failure


class _ForbiddenError(Exception):
    pass


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be asked."""

    def __init__(self, *, private_networks: bool) -> None:
        self._inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
        self._private_networks = private_networks

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed = [
            address
            for address in dict.fromkeys(str(place[0]) for *_, place in found)
            if self._private_networks or is_of_all(address.partition("%")[0])
        ]
        if not allowed:
            raise _ForbiddenError(f"{host} is within our own networks, where addresses from others are not asked.")
        for place, address in enumerate(allowed):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if place == len(allowed) - 1:
                    raise
        raise AssertionError("unreachable")

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise _ForbiddenError("Sockets of this machine are not asked.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class PartnerHttp:
    """Asks partners, each over connections of its own.

    Args:
        private_networks: whether addresses of private networks and of this machine may be asked, and without TLS.
        timeout_s: how long an answer may take, all of it.
    """

    def __init__(self, *, private_networks: bool = False, timeout_s: float = 30.0) -> None:
        self._private_networks = private_networks
        self.timeout_s = timeout_s
        self._backend = _Guarded(private_networks=private_networks)
        self._context = ssl.create_default_context()
        self._pools: OrderedDict[object, httpcore.AsyncConnectionPool] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Hangs up everywhere."""
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            await pool.aclose()

    def forget(self, whose: object) -> None:
        """Hangs up with one."""
        pool = self._pools.pop(whose, None)
        if pool is not None:
            self._drop(pool)

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
        self._check(url)
        patience = timeout_s if timeout_s is not None else self.timeout_s
        try:
            async with asyncio.timeout(patience):
                return await self._ask(self._pool(whose), method, url, headers, body, limit)
        except (TimeoutError, httpcore.TimeoutException):
            raise FailedError(Failure.TIMEOUT, f"{place} did not answer within {patience:g} s.") from None
        except _ForbiddenError as error:
            raise FailedError(Failure.FORBIDDEN_ADDRESS, str(error)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ssl.SSLError) as error:
            why = str(error) or type(error).__name__
            raise FailedError(Failure.UNREACHABLE, f"{place} cannot be asked: {why}.") from None
        except (httpcore.UnsupportedProtocol, UnicodeError, ValueError, RuntimeError) as error:
            raise FailedError(Failure.UNREACHABLE, f"{place} cannot be asked: {error}.") from None

    async def _ask(
        self,
        pool: httpcore.AsyncConnectionPool,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        limit: int,
    ) -> Response:
        every = {
            "Host": _host(url),
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
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every.items()]
        async with pool.stream(method, url, headers=pairs, content=body) as response:
            received = bytearray()
            async for part in response.aiter_stream():
                received += part
                if len(received) > limit:
                    raise FailedError(Failure.TOO_LARGE, f"{url[:200]} answered with more than {limit} bytes.")
            found: dict[str, str] = {}
            for raw_name, raw_value in response.headers:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                found[name] = f"{found[name]}, {value}" if name in found else value
            return Response(status=response.status, headers=found, body=bytes(received))

    def _check(self, url: str) -> None:
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
                Failure.FORBIDDEN_ADDRESS, f"'{url[:200]}' is without TLS, over which partners are not asked."
            )

    def _pool(self, whose: object) -> httpcore.AsyncConnectionPool:
        pool = self._pools.get(whose)
        if pool is None:
            pool = self._pools[whose] = httpcore.AsyncConnectionPool(
                ssl_context=self._context,
                max_connections=_CONNECTIONS,
                max_keepalive_connections=_CONNECTIONS,
                keepalive_expiry=_KEEPALIVE_S,
                network_backend=self._backend,
            )
            if len(self._pools) > _POOLS:
                self._drop(self._pools.popitem(last=False)[1])
        else:
            self._pools.move_to_end(whose)
        return pool

    def _drop(self, pool: httpcore.AsyncConnectionPool) -> None:
        task = asyncio.create_task(pool.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    return name if parts.port is None else f"{name}:{parts.port}"
