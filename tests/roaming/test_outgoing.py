"""What partners are told: the newest state, once, in order per object; kept while a partner is away, and nobody else waits for it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from chargeplane.app.roaming import outgoing
from chargeplane.app.roaming.connections import purpose_of
from chargeplane.app.roaming.outgoing import Message
from chargeplane.domain.roaming.connection import Peer
from chargeplane.kernel.ids import TenantId
from chargeplane.store.queries import roaming_connections as queries
from tests.roaming.nasty import Asked, NastyPartner, enveloped, nasty
from tests.support.roaming import Node, until

MODULE = "tariffs"
TENANT = TenantId(1)


class Renderer:
    """Sends a DELETE that names the object and its newest state: a message of every version without a body."""

    def __init__(self) -> None:
        self.states: dict[str, int] = {}
        self.made = 0

    async def render(self, peer: Peer, module: str, key: str, hint: str | None) -> Message | None:
        self.made += 1
        path = {"country_code": "NL", "party_id": "OPE", "tariff_id": f"{key}-{self.states[key]}"}
        return Message(row=31, path=path)


@asynccontextmanager
async def rendered(node: Node) -> AsyncIterator[Renderer]:
    """The renderer stands in for the module's own."""
    renderers = node.roaming.outgoing._renderers
    before = renderers.get(MODULE)
    renderer = renderers[MODULE] = Renderer()
    yield renderer
    if before is not None:
        renderers[MODULE] = before


@asynccontextmanager
async def partner_of(node: Node, partner: NastyPartner, name: str) -> AsyncIterator[int]:
    """A registered connection with it, in the node's database."""
    peer = partner.peer()
    async with node.server.database.change() as db:
        ident = await queries.insert(
            db,
            TENANT,
            {
                "name": name,
                "state": "registered",
                "version": "2.2.1",
                **queries.columns_of(modules=peer.modules, parties=peer.parties),
            },
        )
        sealed = node.roaming.connections._keys.encrypt(b"token", purpose_of(ident))
        await queries.update(db, ident, {"token": sealed})
    yield ident
    while True:
        try:
            async with node.server.database.change() as db:
                await queries.delete(db, ident)
            return
        except asyncpg.DeadlockDetectedError:  # with what is being sent
            continue


async def note(node: Node, key: str, idents: list[int]) -> None:
    async with node.server.database.change() as db:
        await outgoing.note(db, TENANT, MODULE, key, connections=idents)
    node.roaming.outgoing.hint()


async def waiting(node: Node, ident: int) -> Any:
    return await node.execute("SELECT count(*) FROM roaming_outgoing WHERE connection_id = $1", ident)


async def test_newest_state_is_kept_for_a_partner_that_is_away_and_others_do_not_wait(operator: Node) -> None:
    renderer = Renderer()
    renderers = operator.roaming.outgoing._renderers
    before = renderers.get(MODULE)
    renderers[MODULE] = renderer
    state = {"well": False}

    def of_weak(_: Asked) -> tuple[int, dict[str, str], bytes]:
        return enveloped() if state["well"] else (503, {}, b"")

    async with (
        nasty(of_weak) as weak,
        nasty(lambda _: enveloped()) as well,
        partner_of(operator, weak, "weak") as one,
        partner_of(operator, well, "well") as other,
    ):
        for number in range(40):
            renderer.states["T"] = number
            await note(operator, "T", [one, other])

        async def told() -> bool:
            return not await waiting(operator, other)

        await until(told)
        assert well.asked[-1].path.endswith("/T-39")
        assert await waiting(operator, one) == 1
        renderer.states["T"] = 40
        state["well"] = True
        await note(operator, "T", [one])

        async def caught_up() -> bool:
            return not await waiting(operator, one)

        await until(caught_up, 40)
        assert weak.asked[-1].path.endswith("/T-40")
    if before is not None:
        renderers[MODULE] = before


async def test_what_a_partner_refuses_is_parked_and_shown_and_does_not_keep_others_back(operator: Node) -> None:
    renderer = Renderer()
    renderers = operator.roaming.outgoing._renderers
    before = renderers.get(MODULE)
    renderers[MODULE] = renderer

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        return enveloped(status=2001) if "/BAD-" in asked.path else enveloped()

    async with nasty(answer) as picky, partner_of(operator, picky, "picky") as ident:
        renderer.states = {"BAD": 1, "GOOD": 1}
        await note(operator, "BAD", [ident])
        # As if it had been refused before: the last try is now.
        await operator.execute(
            "UPDATE roaming_outgoing SET attempts = 4 WHERE connection_id = $1 AND key = 'BAD'", ident
        )
        await note(operator, "GOOD", [ident])

        async def parked() -> Any:
            answer = await operator.rest.get(f"/v1/roaming/partners/{ident}/outgoing", params={"parked": "true"})
            return answer.json()["items"]

        (found,) = await until(parked, 40)
        assert found["key"] == "BAD"
        assert "2001" in found["error"]

        async def sent() -> bool:
            return any("/GOOD-" in asked.path for asked in picky.asked)

        assert await until(sent, 40)
    if before is not None:
        renderers[MODULE] = before


async def test_partners_that_hang_keep_nobody_waiting(operator: Node) -> None:
    """Twenty partners, three of which take requests and don't answer: the others have every state while the three are still waited for."""
    async with rendered(operator) as renderer, AsyncExitStack() as stack:
        hanging = [await stack.enter_async_context(nasty(lambda _: None)) for _ in range(3)]
        well = [await stack.enter_async_context(nasty(lambda _: enveloped())) for _ in range(17)]
        # Those that hang are the first in every list.
        weak = [await stack.enter_async_context(partner_of(operator, one, f"hangs {one.port}")) for one in hanging]
        others = [await stack.enter_async_context(partner_of(operator, one, f"well {one.port}")) for one in well]
        patient = "UPDATE roaming_connection SET quirks = $2 WHERE id = $1"
        for ident in weak:
            await operator.execute(patient, ident, '{"timeout_s": 110}')
        for number in range(5):
            renderer.states["T"] = number
            await note(operator, "T", [*weak, *others])

            async def told(number: int = number) -> bool:
                return all(one.asked and one.asked[-1].path.endswith(f"/T-{number}") for one in well)

            await until(told, 60)
        assert [len(one.asked) for one in hanging] == [1, 1, 1]
        for ident in weak:
            assert await operator.execute("SELECT attempts FROM roaming_outgoing WHERE connection_id = $1", ident) == 0


async def test_partner_that_hangs_is_given_up_logged_and_shown_and_loses_nothing(operator: Node) -> None:
    async with (
        rendered(operator) as renderer,
        nasty(lambda _: None) as hanging,
        partner_of(operator, hanging, "hangs") as ident,
    ):
        await operator.execute("UPDATE roaming_connection SET quirks = $2 WHERE id = $1", ident, '{"timeout_s": 0.2}')
        renderer.states["T"] = 1
        await note(operator, "T", [ident])

        async def shown() -> Any:
            health = (await operator.rest.get(f"/v1/roaming/partners/{ident}/health")).json()
            return next((one for one in health["modules"] if one["module"] == MODULE and one["error"]), None)

        module = await until(shown, 40)
        assert (module["waiting"], module["pushed_at"]) == (1, None)
        assert "did not answer within 0.2 s" in module["error"]

        async def logged() -> bool:
            answer = await operator.rest.get("/v1/roaming/exchanges", params={"partner_id": str(ident)})
            return any("did not answer" in (one["error"] or "") for one in answer.json()["items"])

        await until(logged, 40)


@pytest.mark.parametrize(
    "answer",
    [(503, {}, b""), (302, {"Location": "https://mending.example/"}, b""), (401, {}, b"")],
    ids=["503", "redirect", "401"],
)
async def test_partner_that_was_away_for_days_gets_all_when_it_is_back(
    operator: Node, answer: tuple[int, dict[str, str], bytes]
) -> None:
    state = {"well": False}
    async with (
        rendered(operator) as renderer,
        nasty(lambda _: enveloped() if state["well"] else answer) as away,
        partner_of(operator, away, "away") as ident,
    ):
        renderer.states["T"] = 1
        await note(operator, "T", [ident])
        # As if it had been tried for days, with the last answer as long ago.
        await operator.execute(
            "UPDATE roaming_connection SET answered_at = now() - interval '3 days' WHERE id = $1", ident
        )
        await operator.execute(
            "UPDATE roaming_outgoing SET attempts = 100, next_at = now() WHERE connection_id = $1", ident
        )
        before = len(away.asked)
        operator.roaming.outgoing.hint()

        async def tried() -> bool:
            attempts = await operator.execute("SELECT attempts FROM roaming_outgoing WHERE connection_id = $1", ident)
            return len(away.asked) > before and attempts > 100

        await until(tried, 40)
        parked = await operator.execute("SELECT parked_at FROM roaming_outgoing WHERE connection_id = $1", ident)
        assert parked is None
        state["well"] = True
        await operator.execute("UPDATE roaming_outgoing SET next_at = now() WHERE connection_id = $1", ident)

        async def caught_up() -> bool:
            return not await waiting(operator, ident)

        await until(caught_up, 40)


async def test_what_a_dead_process_was_telling_another_one_tells(operator: Node) -> None:
    async with (
        rendered(operator) as renderer,
        nasty(lambda _: enveloped()) as partner,
        partner_of(operator, partner, "leased") as ident,
    ):
        await operator.execute(
            "UPDATE roaming_connection SET leased_by = 'dead', leased_until = now() + interval '0.5 seconds' WHERE id = $1",
            ident,
        )
        renderer.states["T"] = 1
        await note(operator, "T", [ident])

        async def told() -> bool:
            return not await waiting(operator, ident)

        await until(told, 40)
        assert len(partner.asked) == 1


async def test_token_that_another_process_exchanged_is_used_soon(operator: Node) -> None:
    async with nasty(lambda _: enveloped(status=2003)) as partner, partner_of(operator, partner, "rotated") as ident:
        peer = await operator.peer(ident)
        await operator.roaming.caller.call(peer, 8, {"location_id": "L"})
        sealed = operator.roaming.connections._keys.encrypt(b"another", purpose_of(ident))
        await operator.execute("UPDATE roaming_connection SET token = $2 WHERE id = $1", ident, sealed)
        wanted = f"Token {base64.b64encode(b'another').decode()}"

        async def used() -> bool:
            await operator.roaming.caller.call(peer, 8, {"location_id": "L"})
            return partner.asked[-1].headers["authorization"] == wanted

        await until(used)
