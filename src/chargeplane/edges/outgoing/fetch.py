"""HTTP to addresses that came from others: in certificates, from stations.

Whoever can name an address must not be able to reach what only this machine can reach, so names are resolved here, addresses within
our own networks are refused, and the connection goes to the very address that was looked at. No redirects; bounded in time and size.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

import httpx

from chargeplane.app.webhooks import Answer
from chargeplane.kernel.addresses import is_of_all
from chargeplane.kernel.errors import PeerError

_TIMEOUT_S: Final = 8.0


class HttpFetcher:
    """Implements `revocation.Fetcher`, `webhooks.Sender` and what providers of identities are asked by.

    Args:
        private_networks: whether addresses of private networks and of this machine may be asked.
        connections: at most so many at once.
    """

    def __init__(self, *, private_networks: bool = False, timeout_s: float = _TIMEOUT_S, connections: int = 32) -> None:
        self._private_networks = private_networks
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=0),
        )

    async def get(self, url: str, *, limit: int, headers: dict[str, str] | None = None) -> bytes:
        """A body of at most `limit` bytes.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        return await self._ask("GET", url, None, headers or {}, limit)

    async def post(self, url: str, body: bytes, content_type: str, *, limit: int) -> bytes:
        """The answer's body, of at most `limit` bytes.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        return await self._ask("POST", url, body, {"Content-Type": content_type}, limit)

    async def deliver(self, url: str, body: bytes, headers: dict[str, str], *, keep: int) -> Answer:
        """The answer to a POST, whatever its status, with the first `keep` bytes of its body.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        async with self._in_time(url):
            response = await self._send("POST", url, body, headers)
            try:
                received = bytearray()
                async for part in response.aiter_raw():
                    received += part
                    if len(received) >= keep:
                        break
                asked = response.headers.get("Retry-After", "")
                return Answer(
                    status=response.status_code,
                    body=bytes(received[:keep]),
                    retry_after_s=float(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 10 else None,
                )
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Ends."""
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def _in_time(self, url: str) -> AsyncIterator[None]:
        place = url[:200]
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            raise PeerError(f"{place} did not answer within {self._timeout_s:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError) as error:
            raise PeerError(f"{place} cannot be asked: {str(error) or type(error).__name__}.") from None

    async def _ask(self, verb: str, url: str, body: bytes | None, headers: dict[str, str], limit: int) -> bytes:
        async with self._in_time(url):
            response = await self._send(verb, url, body, headers)
            try:
                if response.status_code != 200:
                    raise PeerError(f"{url[:200]} answered {response.status_code}.")
                received = bytearray()
                async for part in response.aiter_raw():
                    received += part
                    if len(received) > limit:
                        raise PeerError(f"{url[:200]} answered with more than {limit} bytes.")
                return bytes(received)
            finally:
                await response.aclose()

    async def _send(self, verb: str, url: str, body: bytes | None, headers: dict[str, str]) -> httpx.Response:
        """The answer, whose body is still to be read."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise PeerError(f"{url[:200]} is no address to be asked by HTTP.")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = await self._resolve(parts.hostname, port)
        literal = f"[{address}]" if ":" in address else address
        target = f"{parts.scheme}://{literal}:{port}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host = name if parts.port is None else f"{name}:{parts.port}"
        every = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "chargeplane", **headers}
        request = self._client.build_request(
            verb, target, headers=every, content=body, extensions={"sni_hostname": parts.hostname}
        )
        return await self._client.send(request, stream=True)

    async def _resolve(self, host: str, port: int) -> str:
        """The first address that may be asked."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, place in found:
            address = str(place[0])
            if self._private_networks or is_of_all(address.partition("%")[0]):
                return address
        raise PeerError(f"{host} is within our own networks, where addresses from others are not asked.")
