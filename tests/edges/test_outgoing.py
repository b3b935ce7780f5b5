"""Addresses that came from others: what only this machine can reach is not asked."""

from __future__ import annotations

import pytest

from chargeplane.edges.outgoing import HttpFetcher
from chargeplane.kernel.errors import PeerError


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2002:a01:203::1]",
        "[fe80::1]",
        "224.0.0.1",
    ],
)
async def test_addresses_of_our_own_networks_are_refused_in_every_form(host: str) -> None:
    fetcher = HttpFetcher(timeout_s=30)
    try:
        with pytest.raises(PeerError, match="within our own networks"):
            await fetcher.get(f"http://{host}:9/", limit=100)
    finally:
        await fetcher.close()
