"""Who is believed for whom they connect, and how far."""

from __future__ import annotations

import pytest

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.kernel.proxies import ProxyHeader, TrustedProxies

OURS = ("10.0.0.0/8", "fd00::/8", "192.0.2.7")


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        ("10.1.1.1", ["203.0.113.9"], "203.0.113.9"),
        ("192.0.2.7", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["2001:db8::9"], "2001:db8::9"),
        ("::ffff:10.1.1.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.1.1.1", ["[2001:db8::9]:4711"], "2001:db8::9"),
        # two proxies, in one header or two
        ("10.1.1.1", ["203.0.113.9, 10.2.2.2"], "203.0.113.9"),
        ("10.1.1.1", ["203.0.113.9", "10.2.2.2"], "203.0.113.9"),
        # whatever the peer itself wrote stands further left
        ("10.1.1.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["10.9.9.9, 203.0.113.9, 10.2.2.2"], "203.0.113.9"),
        # nobody else is believed
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        ("", ["198.51.100.1"], ""),
        # nothing that can be read: the last address that somebody vouched for
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", ["unknown"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),
        ("10.1.1.1", ["<script>, 203.0.113.9"], "203.0.113.9"),
        ("10.1.1.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.1.1.1", [", ".join(["198.51.100.1", *["10.2.2.2"] * 100])], "10.2.2.2"),
    ],
)
def test_first_address_from_the_end_that_is_no_proxy_is_the_peer(peer: str, values: list[str], client: str) -> None:
    assert TrustedProxies(OURS).client(peer, values) == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=203.0.113.9"], "203.0.113.9"),
        (['For="[2001:db8::9]:4711";proto=https'], "2001:db8::9"),
        (["for=198.51.100.1, proto=http;for=203.0.113.9;by=10.1.1.1"], "203.0.113.9"),
        (["for=_hidden"], "10.1.1.1"),
        (["proto=https"], "10.1.1.1"),
    ],
)
def test_forwarded_of_rfc_7239(values: list[str], client: str) -> None:
    assert TrustedProxies(OURS, ProxyHeader.FORWARDED).client("10.1.1.1", values) == client


def test_nobody_is_trusted_by_default() -> None:
    nobody = TrustedProxies()
    assert not nobody
    assert nobody.client("10.1.1.1", ["203.0.113.9"]) == "10.1.1.1"


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"'10\.0\.0\.1/8'"):
        TrustedProxies(["10.0.0.1/8"])
