"""Registration between two installations in every version: handshake, rotation, upgrade, end; and what may go wrong in between."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.support.roaming import VERSIONS, Node, register


def token_header(token: str, *, raw: bool = False) -> dict[str, str]:
    text = token if raw else base64.b64encode(token.encode()).decode()
    return {"Authorization": f"Token {text}"}


async def asked(node: Node, method: str, path: str, token: str | None, **more: Any) -> httpx.Response:
    """A request at a node's door for partners."""
    headers = {} if token is None else token_header(token)
    headers |= more.pop("headers", {})
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.request(method, f"{node.base_url}{path}", headers=headers, **more)


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_sides_hold_the_others_token_after_the_handshake(
    operator: Node, provider: Node, version: str
) -> None:
    await register(operator, provider, version, host_role="CPO", guest_role="EMSP", name=version)
    ours, theirs = await operator.peer(version + "provider"), await provider.peer(version + "operator")
    assert (ours.state, theirs.state) == ("registered", "registered")
    assert ours.version == theirs.version == version
    assert [str(one.id) for one in ours.parties if one.role == "EMSP"] == ["DE*PRO"]
    assert [str(one.id) for one in theirs.parties if one.role == "CPO"] == ["NL*OPE"]
    for one, peer in ((operator, ours), (provider, theirs)):
        outcome = await one.roaming.caller.call(peer, 3)
        assert outcome.ok, outcome


async def test_newest_version_of_both_is_chosen(operator: Node, provider: Node) -> None:
    await register(operator, provider, name="newest")
    assert (await operator.peer("newestprovider")).version == "2.3.0"
