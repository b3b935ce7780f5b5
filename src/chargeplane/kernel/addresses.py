"""Which network addresses are everybody's, and which are only ours."""

from __future__ import annotations

import ipaddress
from typing import Final

_CARRIES_IPV4: Final = tuple(ipaddress.ip_network(text) for text in ("::/96", "64:ff9b::/96"))


def is_of_all(text: str) -> bool:
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
