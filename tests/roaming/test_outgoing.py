"""What partners are told: the newest state, once, in order per object; kept while a partner is away, and nobody else waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
    await node.execute("DELETE FROM roaming_connection WHERE id = $1", ident)


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
