"""What partners do wrong costs them, and nobody else: bounded, told with a reason, and other partners go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import pytest

from chargeplane.app.roaming.errors import PulledError
from chargeplane.app.roaming.ports import Failure, Outcome, Route
from chargeplane.domain.roaming.connection import PartyId, Peer, Quirks, TokenForm
from chargeplane.edges.ocpi_client.caller import OcpiCaller
from chargeplane.edges.ocpi_client.handshake import Handshake
from chargeplane.edges.ocpi_client.http import PartnerHttp
from tests.roaming.nasty import Asked, enveloped, nasty

LOCATIONS, LOCATION, RESULT = 7, 8, 43


async def _token(_: Peer) -> str | None:
    return "a-token-of-the-partner"


@contextlib.asynccontextmanager
async def calling(
    *, private: bool = True, timeout_s: float = 2.0, first_pause_s: float = 60.0
) -> AsyncIterator[OcpiCaller]:
    http = PartnerHttp(private_networks=private, timeout_s=timeout_s)
    yield OcpiCaller(http, _token, first_pause_s=first_pause_s)
    await http.close()


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ((500, {}, b"oops"), Failure.HTTP_ERROR),
        ((302, {"Location": "http://127.0.0.1:1/elsewhere"}, b""), Failure.REDIRECT),
        ((200, {}, b"<html>hello</html>"), Failure.NOT_UNDERSTOOD),
        ((200, {}, b'{"status_code": "many"}'), Failure.NOT_UNDERSTOOD),
        ((200, {}, b"[" * 100_000), Failure.NOT_UNDERSTOOD),
        ((401, {}, b'{"status_code": 2000, "timestamp": "2026-01-01T00:00:00Z"}'), Failure.UNAUTHORIZED),
        ((422, {}, b'{"detail": []}'), Failure.REFUSED),
        (enveloped(status=2003), Failure.REFUSED),
        (enveloped({"id": 7}), Failure.NOT_UNDERSTOOD),
    ],
)
async def test_bad_answer_is_an_outcome_with_its_reason(
    answer: tuple[int, dict[str, str], bytes], failure: Failure
) -> None:
    async with nasty(lambda _: answer) as partner, calling() as caller:
        outcome = await caller.call(partner.peer(), LOCATION, {"location_id": "L1"})
    assert outcome.failure is failure
    assert outcome.sentence


async def test_object_wrapped_in_a_list_is_taken_and_an_empty_list_is_none() -> None:
    for data, wanted in (([{"result": "ACCEPTED", "timeout": 30}], b"ACCEPTED"), ([], None)):
        async with nasty(lambda _, data=data: enveloped(data)) as partner, calling() as caller:
            body = json.dumps({"response_url": "http://x/1", "session_id": "S1"}).encode()
            outcome = await caller.call(partner.peer(), 39, body=body)
        assert outcome.ok, outcome
        assert outcome.data is None if wanted is None else wanted in (outcome.data or b"")


async def test_redirect_is_not_followed() -> None:
    async with (
        nasty(lambda _: enveloped([])) as other,
        nasty(lambda _: (307, {"Location": f"{other.url}/x"}, b"")) as partner,
        calling() as caller,
    ):
        await caller.call(partner.peer(), LOCATION, {"location_id": "L1"})
        assert not other.asked


async def test_silent_partner_is_given_up_in_time_and_delays_nobody() -> None:
    async with (
        nasty(lambda _: None) as silent,
        nasty(lambda _: enveloped(status=2003)) as well,
        calling(timeout_s=3.0) as caller,
    ):
        waiting = [asyncio.create_task(caller.call(silent.peer(1), LOCATION, {"location_id": "L"})) for _ in range(30)]
        began = time.monotonic()
        outcomes = [await caller.call(well.peer(2), LOCATION, {"location_id": "L"}) for _ in range(20)]
        assert time.monotonic() - began < 2.5
        assert {one.failure for one in outcomes} == {Failure.REFUSED}
        assert {one.failure for one in await asyncio.gather(*waiting)} <= {Failure.TIMEOUT, Failure.PAUSED}


async def test_partner_that_fails_in_a_row_is_left_alone_and_probed_by_one_request() -> None:
    state = {"well": False}

    def answer(_: Asked) -> tuple[int, dict[str, str], bytes]:
        return enveloped(status=2003) if state["well"] else (503, {}, b"")

    async with nasty(answer) as partner, calling(first_pause_s=0.2) as caller:
        peer = partner.peer()
        for _ in range(5):
            await caller.call(peer, LOCATION, {"location_id": "L"})
        count = len(partner.asked)
        assert (await caller.call(peer, LOCATION, {"location_id": "L"})).failure is Failure.PAUSED
        assert len(partner.asked) == count
        state["well"] = True
        async with asyncio.timeout(20):
            while (await caller.call(peer, LOCATION, {"location_id": "L"})).failure is Failure.PAUSED:
                await asyncio.sleep(0.02)
        assert len(partner.asked) == count + 1
        assert (await caller.call(peer, LOCATION, {"location_id": "L"})).failure is Failure.REFUSED


async def test_pages_that_lead_in_a_circle_are_given_up() -> None:
    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        return enveloped([{"id": 1}], Link=f'<{partner.url}{asked.path}?offset=1&limit=1>; rel="next"')

    async with nasty(answer) as partner, calling() as caller:
        pages = []
        with pytest.raises(PulledError, match="circle"):
            async for page in caller.pages(partner.peer(), LOCATIONS):
                pages.append(page)  # noqa: PERF401
    assert len(pages) == 2
    assert all(page.refused for page in pages)


async def test_next_page_at_another_host_is_not_read() -> None:
    async with nasty(lambda _: enveloped([])) as other:

        def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
            return enveloped([{"id": 1}], Link=f'<{other.url}/steal>; rel="next"')

        async with nasty(answer) as partner, calling() as caller:
            with pytest.raises(PulledError, match="another host"):
                async for _ in caller.pages(partner.peer(), LOCATIONS):
                    pass
        assert not other.asked


async def test_response_url_within_our_networks_is_not_asked() -> None:
    async with nasty(lambda _: enveloped()) as partner, calling(private=False) as caller:
        for url in (f"http://127.0.0.1:{partner.port}/r", f"https://127.0.0.1:{partner.port}/r", "https://[::1]/r"):
            outcome = await caller.call(
                partner.peer(), RESULT, body=json.dumps({"result": "ACCEPTED"}).encode(), url=url
            )
            assert outcome.failure is Failure.FORBIDDEN_ADDRESS, url
        assert not partner.asked


async def test_response_url_that_is_not_asked_says_nothing_of_the_partner() -> None:
    """A partner that is away stays so, and one that is well too."""
    heard: list[tuple[Failure | None, int]] = []

    def hear(_: Peer, __: str, outcome: Outcome, failures: int, ___: float | None, *, reads: bool) -> None:
        heard.append((outcome.failure, failures))

    http = PartnerHttp(private_networks=False, timeout_s=2.0)
    caller = OcpiCaller(http, _token, on_result=hear)
    async with nasty(lambda _: enveloped()) as partner:
        peer = partner.peer()
        # Its own URLs are within our networks, where it is not asked: as if it were not there.
        for _ in range(5):
            await caller.call(peer, LOCATION, {"location_id": "L"})
        assert heard == [(Failure.FORBIDDEN_ADDRESS, number) for number in range(1, 6)]
        assert (await caller.call(peer, LOCATION, {"location_id": "L"})).failure is Failure.PAUSED
        other = partner.peer(2)
        for _ in range(9):
            outcome = await caller.call(other, RESULT, body=b'{"result":"ACCEPTED"}', url="https://127.0.0.1/r")
            assert outcome.failure is Failure.FORBIDDEN_ADDRESS
        assert len(heard) == 5
        assert caller.pause_of(2) == 0.0
    await http.close()


async def test_answer_without_end_is_cut() -> None:
    async with nasty(lambda _: (200, {}, b" " * (33 * 1024 * 1024))) as partner, calling(timeout_s=30) as caller:
        outcome = await caller.call(partner.peer(), LOCATION, {"location_id": "L"})
    assert outcome.failure is Failure.TOO_LARGE


async def test_token_form_is_found_out_by_trial() -> None:
    def raw_only(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.headers["authorization"] != "Token a-token":
            return enveloped(status=2000, http=401)
        return enveloped([{"version": "2.1.1", "url": "http://x/2.1.1"}])

    http = PartnerHttp(private_networks=True)
    async with nasty(raw_only) as partner:
        found, form = await Handshake(http).versions(f"{partner.url}/versions", "a-token", None)
    await http.close()
    assert form is TokenForm.RAW
    assert found == {"2.1.1": "http://x/2.1.1"}


async def test_routing_headers_ids_and_quirks_go_with_a_request() -> None:
    async with nasty(lambda _: enveloped(status=2003)) as partner, calling() as caller:
        await caller.call(
            partner.peer(quirks=Quirks(headers={"X-Extra": "1"})),
            LOCATION,
            {"location_id": "a/b"},
            route=Route(from_party=PartyId("NL", "OPE"), to_party=PartyId("DE", "NST")),
            correlation_id="c-1",
        )
        asked = partner.asked[0]
        assert asked.path == "/sender/locations/a%2Fb"
        assert asked.headers["ocpi-from-party-id"] == "OPE"
        assert asked.headers["ocpi-to-country-code"] == "DE"
        assert asked.headers["x-correlation-id"] == "c-1"
        assert asked.headers["x-request-id"]
        assert asked.headers["x-extra"] == "1"
        await caller.call(partner.peer(version="2.1.1"), LOCATION, {"location_id": "L"})
        assert not any(name.startswith("ocpi-") for name in partner.asked[1].headers)
