"""The conformance check against our own door, which must pass, and against a platform that gets things wrong, which must not."""

from __future__ import annotations

import pytest

from chargeplane.edges.ocpi_client.check import Checker, Finding, Verdict
from chargeplane.edges.ocpi_client.http import PartnerHttp
from chargeplane.ocpi.versions import Version
from tests.roaming.nasty import Asked, enveloped, nasty
from tests.support.roaming import VERSIONS, Node, register


async def checked(url: str, token: str, version: str | None = None) -> list[Finding]:
    http = PartnerHttp(private_networks=True, timeout_s=20)
    try:
        return await Checker(http, url, token, version=None if version is None else Version(version)).run()
    finally:
        await http.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_our_own_door_conforms(operator: Node, provider: Node, version: str) -> None:
    name = f"check{version}"
    await register(operator, provider, version, host_role="CPO", guest_role="EMSP", name=name)
    token = await provider.roaming.connections.token_of(await provider.peer(name + "operator"))
    assert token is not None
    findings = await checked(f"{operator.base_url}/versions", token, version)
    assert [one for one in findings if one.verdict is Verdict.FAILED] == []
    passed = {one.name for one in findings if one.verdict is Verdict.PASSED}
    assert {"an unknown token is refused with 401", "locations: X-Total-Count and X-Limit"} <= passed


async def test_platform_that_gets_it_wrong_fails_the_checks() -> None:
    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.path == "/versions":
            return enveloped([{"version": "2.2.1", "url": f"{partner.url}/2.2.1"}])
        if asked.path == "/2.2.1":
            where = [("credentials", "SENDER", "c"), ("locations", "SENDER", "l")]
            endpoints = [{"identifier": name, "role": side, "url": f"{partner.url}/{at}"} for name, side, at in where]
            return enveloped({"version": "2.2.1", "endpoints": endpoints})
        if asked.path == "/l":
            return enveloped([{"id": "L1"}])
        return 422, {}, b'{"detail": []}'

    async with nasty(answer) as partner:
        findings = await checked(f"{partner.url}/versions", "token")
    failed = {one.name for one in findings if one.verdict is Verdict.FAILED}
    assert {
        "an unknown token is refused with 401",
        "broken JSON is answered with 400",
        "request and correlation ids come back",
        "locations: X-Total-Count and X-Limit",
        "locations: date_from is heeded",
        "locations: objects fit the version",
    } <= failed
