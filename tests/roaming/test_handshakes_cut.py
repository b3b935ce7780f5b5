"""One side dies in the middle of a registration, a rotation, a version upgrade or an end: what holds afterwards is something both can go
on from, without anybody looking into a database.

Who dies does nothing more from that moment on, and nothing that is on the wire arrives; then it is back, and remembers what it had
committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.api_keys import Caller
from chargeplane.app.roaming.connections import Connections, PartnerWanted
from chargeplane.domain.roaming.connection import Peer
from chargeplane.kernel.ids import TenantId
from chargeplane.main.config import RoamingConfig
from tests.support.ocpi_wire import Seen, Wire, onwards
from tests.support.postgres import TestServer
from tests.support.roaming import Node, register, running_node

pytestmark = pytest.mark.asyncio(loop_scope="module")
CALLER = Caller(key_id=0, tenant_id=TenantId(1), name="test", scopes=frozenset())
NAMES = itertools.count(1)
LOCATIONS, TOKENS = 7, 33
"""Rows of lists that the guest, and the host, ask for with their tokens."""


@dataclass(frozen=True)
class Moment:
    """When somebody dies.

    Args:
        wire: in front of whom the message passes: `host` or `guest`.
        message: `METHOD path`.
        answered: on its way back.
    """

    wire: str
    message: str
    answered: bool


OUR_POST, OUR_PUT, OUR_DELETE = (rf"{method} .*/credentials" for method in ("POST", "PUT", "DELETE"))
ASKED_BACK, DETAILS = r"GET .*/versions$", r"GET /ocpi/[0-9.]+$"
MOMENTS = {
    "before it is taken": Moment("host", "{}", False),
    "while the platform is asked": Moment("guest", ASKED_BACK, False),
    "after the platform was asked": Moment("guest", DETAILS, True),
    "after it was taken": Moment("host", "{}", True),
}


@dataclass
class Two:
    """A host that was asked to take a guest."""

    host: Node
    guest: Node
    wires: dict[str, Wire]

    async def dying(self, dies: str, moment: Moment, message: str, work: Coroutine[Any, Any, Any]) -> None:
        """Has the guest do something in which one of both dies; then it is back."""
        struck = asyncio.Event()
        pattern = moment.message.format(message) if "{}" in moment.message else moment.message
        task = asyncio.ensure_future(work)

        def look_at(name: str) -> Any:
            async def look(seen: Seen) -> bool:
                if struck.is_set():
                    return False
                here = name == moment.wire and seen.answered is moment.answered
                if here and re.search(pattern, f"{seen.method} {seen.path}"):
                    struck.set()
                    if dies == "guest":
                        task.cancel()
                    return False
                return True

            return look

        for name, wire in self.wires.items():
            wire.look = look_at(name)
        async with asyncio.timeout(30):
            await struck.wait()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
        # The other one notices in its own time: what it was doing for the dead one comes to its end.
        async with asyncio.timeout(30):
            while any(
                lock.locked() for node in (self.host, self.guest) for lock in node.roaming.connections._busy.values()
            ):
                await asyncio.sleep(0.01)
        for wire in self.wires.values():
            wire.look = onwards
        for node in (self.host, self.guest):
            node.roaming.connections._tokens.forget()
            node.roaming.caller.forget(0)

    @property
    def connections(self) -> Connections:
        """The guest's."""
        return self.guest.roaming.connections

    async def talk(self, name: str) -> None:
        """Each takes the token that the other comes with, whatever version each thinks is spoken."""
        ours, theirs = await self.peers(name)
        for node, peer, row in ((self.guest, theirs, LOCATIONS), (self.host, ours, TOKENS)):
            outcome = await node.roaming.caller.call(peer, row)
            assert outcome.ok, (node.name, outcome)

    async def peers(self, name: str) -> tuple[Peer, Peer]:
        """The guest as the host has it, and the host as the guest has it."""
        return await self.host.peer(name), await self.guest.peer(name)

    async def invited(self, name: str) -> dict[str, Any]:
        made = await self.host.post("/v1/roaming/partners", {"name": name})
        self.host.peers[name] = int(made["partner"]["id"])
        return {"name": name, "versions_url": made["versions_url"], "token": made["token"]}

    async def of_guest(self, name: str) -> int:
        """The guest's connection of this name."""
        ident: int = await self.guest.execute("SELECT id FROM roaming_connection WHERE name = $1", name)
        self.guest.peers[name] = ident
        return ident

    async def registered(self, version: str) -> str:
        name = f"pair {next(NAMES)}"
        await register(self.host, self.guest, version)
        self.host.peers[name], self.guest.peers[name] = self.host.peers["guest"], self.guest.peers["host"]
        return name

    async def end(self) -> None:
        """Nothing of a test is left for the next one: a party is registered once."""
        for node in (self.host, self.guest):
            await node.execute("DELETE FROM roaming_connection")
            node.roaming.connections._tokens.forget()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes(postgres_server: TestServer) -> AsyncIterator[tuple[Node, Node, dict[str, Wire]]]:
    made: dict[str, Node] = {}
    wires = {name: Wire(lambda name=name: made[name].port) for name in ("host", "guest")}  # type: ignore[misc]
    async with contextlib.AsyncExitStack() as stack:
        for name, party, role in (("host", ("NL", "HST"), "CPO"), ("guest", ("DE", "GST"), "EMSP")):
            await wires[name].start()
            stack.push_async_callback(wires[name].stop)
            config = RoamingConfig(private_networks=True, timeout_s=20.0, first_pause_s=0.1, public_url=wires[name].url)
            made[name] = await stack.enter_async_context(
                running_node(postgres_server, name, party, (role,), roaming=config)
            )
        yield made["host"], made["guest"], wires


@pytest_asyncio.fixture(loop_scope="module")
async def two(nodes: tuple[Node, Node, dict[str, Wire]]) -> AsyncIterator[Two]:
    made = Two(*nodes)
    yield made
    await made.end()


@pytest.mark.parametrize("dies", ["guest", "host"])
@pytest.mark.parametrize("when", MOMENTS)
async def test_registration_is_simply_tried_again(two: Two, when: str, dies: str) -> None:
    given = await two.invited(f"pair {next(NAMES)}")
    name = given["name"]
    wanted = PartnerWanted(name=name)
    work = two.connections.register(CALLER, wanted, given["versions_url"], given["token"])
    await two.dying(dies, MOMENTS[when], OUR_POST, work)
    ident = await two.of_guest(name)
    assert (await two.guest.peer(name)).state == "registering"
    await two.guest.post(f"/v1/roaming/partners/{ident}/register", {}, status=200)
    ours, theirs = await two.peers(name)
    assert (ours.state, theirs.state) == ("registered", "registered")
    await two.talk(name)


@pytest.mark.parametrize("version", ["2.2.1", "2.3.0"])
@pytest.mark.parametrize("dies", ["guest", "host"])
@pytest.mark.parametrize("when", MOMENTS)
async def test_rotation_and_upgrade_leave_both_talking_and_are_simply_tried_again(
    two: Two, when: str, dies: str, version: str
) -> None:
    name = await two.registered("2.2.1")
    await two.talk(name)
    path = f"/v1/roaming/partners/{two.guest.peers[name]}/rotate"
    work = two.connections.rotate(CALLER, two.guest.peers[name], version)
    await two.dying(dies, MOMENTS[when], OUR_PUT, work)
    await two.talk(name)
    await two.guest.post(path, {"version": version}, status=200)
    await two.talk(name)
    ours, theirs = await two.peers(name)
    assert ours.version == theirs.version == version


async def test_refused_rotation_leaves_the_token_that_a_lost_one_gave(two: Two) -> None:
    name = await two.registered("2.2.1")
    await two.talk(name)
    path = f"/v1/roaming/partners/{two.guest.peers[name]}/rotate"
    work = two.connections.rotate(CALLER, two.guest.peers[name])
    await two.dying("host", MOMENTS["after it was taken"], OUR_PUT, work)

    async def unreachable(_: Seen) -> bool:
        return False

    two.wires["guest"].look = unreachable
    refused = await two.guest.rest.post(path, json={})
    assert refused.status_code >= 400, refused.text
    two.wires["guest"].look = onwards
    await two.talk(name)


@pytest.mark.parametrize("dies", ["guest", "host"])
@pytest.mark.parametrize("when", ["before it is taken", "after it was taken"])
async def test_half_ended_connection_is_ended_and_registered_again(two: Two, when: str, dies: str) -> None:
    name = await two.registered("2.2.1")
    await two.talk(name)
    path = f"/v1/roaming/partners/{two.guest.peers[name]}"
    await two.dying(dies, MOMENTS[when], OUR_DELETE, two.connections.remove(CALLER, two.guest.peers[name]))
    for node in (two.guest, two.host):
        peer = await node.peer(name)
        if peer.state != "ended":
            answer = await node.rest.delete(f"/v1/roaming/partners/{peer.id}")
            assert answer.status_code == 200, answer.text
    assert {one.state for one in await two.peers(name)} == {"ended"}
    again = await two.host.post(f"/v1/roaming/partners/{two.host.peers[name]}/invite", {}, status=200)
    body = {"versions_url": again["versions_url"], "token": again["token"]}
    await two.guest.post(f"{path}/register", body, status=200)
    await two.talk(name)
