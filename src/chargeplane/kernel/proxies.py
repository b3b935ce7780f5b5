"""Whose connection it is when reverse proxies stand in between.

A proxy that is trusted tells in a header for whom it connects. What it got in that header from the peer it appends to, so
the list is read from its end: each trusted proxy vouches for the address before its own, and the first address that is no
trusted proxy is the peer; whatever stands before it, anybody may have written. Only the one header that the proxies are
known to write is read: another passes them as the peer sent it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from chargeplane.kernel.errors import InvalidInputError

_HOPS: Final = 16
"""Addresses looked at, from the end."""

Address = IPv4Address | IPv6Address


class ProxyHeader(enum.StrEnum):
    """The header in which proxies tell for whom they connect."""

    X_FORWARDED_FOR = "X-Forwarded-For"
    FORWARDED = "Forwarded"
    """RFC 7239."""


class TrustedProxies:
    """The proxies whose word is taken.

    Args:
        networks: addresses and networks of theirs (`10.0.0.0/8`, `192.0.2.7`, `fd00::/8`); none trusts nobody.
        header: the one they write.
    Raises:
        InvalidInputError: one of them is no network.
    """

    __slots__ = ("_networks", "header")

    def __init__(self, networks: Iterable[str] = (), header: ProxyHeader = ProxyHeader.X_FORWARDED_FOR) -> None:
        found: list[IPv4Network | IPv6Network] = []
        for text in networks:
            try:
                found.append(ip_network(text))
            except ValueError as error:
                raise InvalidInputError(f"'{text}' is no address or network of a trusted proxy: {error}.") from None
        self._networks = tuple(found)
        self.header = header

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether the peer at this address is one of them."""
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and self._is_one(parsed)

    def client(self, peer: str, values: Iterable[str]) -> str:
        """The address for which a connection was made.

        Args:
            peer: who connected to us.
            values: of the header, one for each time it stands in the request, in their order.
        Returns:
            `peer` itself where it is not trusted or tells nothing that can be read.
        """
        if not self.trusts(peer):
            return peer
        found = peer
        for element in reversed(",".join(values).split(",")[-_HOPS:]):
            address = _parsed(_for(element) if self.header is ProxyHeader.FORWARDED else element)
            if address is None:  # `unknown`, `_hidden`, or nonsense: nobody vouches for what stands before it
                return found
            found = str(address)
            if not self._is_one(address):
                return found
        return found

    def _is_one(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _for(element: str) -> str:
    """The `for` of one element of a Forwarded header (RFC 7239, 4); empty where it has none."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


def _parsed(text: str) -> Address | None:
    """The address in `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
