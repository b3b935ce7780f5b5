"""HTTP to addresses that came from others: in certificates, from stations.

Whoever can name an address must not be able to reach what only this machine can reach, so names are resolved here, addresses within
our own networks are refused, and the connection goes to the very address that was looked at. No redirects; bounded in time and size.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

import httpx

from chargeplane.kernel.errors import PeerError

_TIMEOUT_S: Final = 8.0
_CARRIES_IPV4: Final = tuple(ipaddress.ip_network(text) for text in ("::/96", "64:ff9b::/96"))


class HttpFetcher:
    """Implements `revocation.Fetcher`.

    Args:
        private_networks: whether addresses of private networks and of this machine may be asked.
    """

    def __init__(self, *, private_networks: bool = False, timeout_s: float = _TIMEOUT_S) -> None:
        self._private_networks = private_networks
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
        )

    async def get(self, url: str, *, limit: int) -> bytes:
        """A body of at most `limit` bytes.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        return await self._ask("GET", url, None, None, limit)

    async def post(self, url: str, body: bytes, content_type: str, *, limit: int) -> bytes:
        """The answer's body, of at most `limit` bytes.

        Raises:
            PeerError: there was none; the sentence says why.
        """
        return await self._ask("POST", url, body, content_type, limit)

    async def close(self) -> None:
        """Ends."""
        await self._client.aclose()

    async def _ask(self, verb: str, url: str, body: bytes | None, content_type: str | None, limit: int) -> bytes:
        place = url[:200]
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._within_time(verb, url, body, content_type, limit)
        except TimeoutError:
            raise PeerError(f"{place} did not answer within {self._timeout_s:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError) as error:
            raise PeerError(f"{place} cannot be asked: {str(error) or type(error).__name__}.") from None

    async def _within_time(
        self, verb: str, url: str, body: bytes | None, content_type: str | None, limit: int
    ) -> bytes:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise PeerError(f"{url[:200]} is no address to be asked by HTTP.")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = await self._resolve(parts.hostname, port)
        literal = f"[{address}]" if ":" in address else address
        target = f"{parts.scheme}://{literal}:{port}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        headers = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "chargeplane"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        request = self._client.build_request(
            verb, target, headers=headers, content=body, extensions={"sni_hostname": parts.hostname}
        )
        response = await self._client.send(request, stream=True)
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

    async def _resolve(self, host: str, port: int) -> str:
        """The first address that may be asked."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, place in found:
            address = str(place[0])
            if self._private_networks or _is_of_all(address.partition("%")[0]):
                return address
        raise PeerError(f"{host} is within our own networks, where addresses from others are not asked.")


def _is_of_all(text: str) -> bool:
    """Whether an address is one of the whole Internet's. IPv6 addresses that stand for an IPv4 address (6to4, translation, the old
    compatible form) are what that one is."""
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.sixtofour
        if inner is None and any(address in network for network in _CARRIES_IPV4):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return inner is None or (inner.is_global and not inner.is_multicast)
    return True
