"""A hub with partners that are slow, down or wrong, and with those that say what is not so; three installations and a simulated partner."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.roaming.hub_memory import HubMemory, session_seen, token_seen
from chargeplane.app.roaming.ports import Failure, Outcome, Route
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.edges.ocpi_server.call import Call, Page, Reply, not_found
from chargeplane.main.config import RoamingConfig
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version
from chargeplane.simulator.roaming.faults import PartnerFault
from chargeplane.simulator.roaming.partner import Partner
from tests.support.postgres import TestServer
from tests.support.roaming import Node, register, running_node, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUB, CPO, EMSP, SIM = PartyId("NL", "HUB"), PartyId("NL", "CPO"), PartyId("DE", "MSP"), PartyId("FR", "SIM")
GET_LOCATION_THERE, PUT_LOCATION, PATCH_LOCATION, PUT_SESSION, POST_CDR, CLIENTS, CLIENT = 11, 14, 17, 23, 26, 49, 50
SESSIONS, TOKENS, AUTHORIZE, PUT_TOKEN, STOP = 20, 33, 34, 36, 39
AT = "2026-01-02T03:04:05Z"


def location(ident: str, **more: Any) -> dict[str, Any]:
    """A canonical location."""
    return {
        "country_code": "NL", "party_id": "CPO", "id": ident, "publish": True, "address": "Street 1", "city": "Town",
        "country": "NLD", "coordinates": {"latitude": "52.1", "longitude": "5.1"}, "time_zone": "Europe/Amsterdam",
        "last_updated": AT, **more,
    }  # fmt: skip


def session(ident: str, of: PartyId) -> dict[str, Any]:
    """A canonical session of a provider's driver."""
    return {
        "country_code": "NL", "party_id": "CPO", "id": ident, "start_date_time": AT, "kwh": 1, "auth_method": "WHITELIST",
        "cdr_token": {"country_code": of.country_code, "party_id": of.party_id, "uid": "U1", "type": "RFID", "contract_id": "C1"},
        "location_id": "L1", "evse_uid": "E1", "connector_id": "1", "currency": "EUR", "status": "ACTIVE", "last_updated": AT,
    }  # fmt: skip


class Town:
    """A CPO, an eMSP and a simulated eMSP behind a hub; what reaches the eMSP's door is noted."""

    def __init__(self, hub: Node, cpo: Node, emsp: Node, sim: Partner) -> None:
        self.hub, self.cpo, self.emsp, self.sim = hub, cpo, emsp, sim
        self.got: list[Call] = []

    async def noted(self, call: Call) -> Reply:
        self.got.append(call)
        return Reply(created=True)

    async def push(
        self,
        ident: str,
        to_party: PartyId | None,
        *,
        sender: PartyId = CPO,
        correlation_id: str | None = None,
        **more: Any,
    ) -> Outcome:
        """PUT of a location by the CPO."""
        return await self.cpo.roaming.caller.call(
            await self.cpo.peer("hub"),
            PUT_LOCATION,
            {"country_code": "NL", "party_id": "CPO", "location_id": ident},
            body=json.dumps(location(ident, **more)).encode(),
            route=Route(from_party=sender, to_party=to_party),
            correlation_id=correlation_id,
        )

    async def came(self, ident: str) -> Call:
        """What the eMSP got about an object."""

        async def found() -> Call | None:
            return next((one for one in self.got if ident in one.path.values()), None)

        call = await until(found, 30)
        assert isinstance(call, Call)
        return call

    def simulated(self, ident: str) -> list[Any]:
        """What the simulated eMSP got about an object."""
        return [one for one in self.sim.received if ident in one.values.values()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(postgres_server: TestServer) -> AsyncIterator[Town]:
    async with contextlib.AsyncExitStack() as stack:
        quick = RoamingConfig(
            private_networks=True, timeout_s=5.0, first_pause_s=0.1, hub_timeout_s=0.5, alive_after_s=1.0
        )
        hub = await stack.enter_async_context(
            running_node(postgres_server, "hub", ("NL", "HUB"), ("HUB",), roaming=quick)
        )
        cpo = await stack.enter_async_context(running_node(postgres_server, "cpo", ("NL", "CPO"), ("CPO",)))
        emsp = await stack.enter_async_context(running_node(postgres_server, "emsp", ("DE", "MSP"), ("EMSP",)))
        sim = Partner(Version.V2_2_1, role="EMSP", country_code="FR", party_id="SIM")
        await sim.start()
        stack.push_async_callback(sim.stop)
        await register(hub, cpo, "2.3.0", host_is_hub=True)
        await register(hub, emsp, "2.2.1", host_is_hub=True)
        registered = await hub.post(
            "/v1/roaming/partners/register", {"name": "sim", "versions_url": sim.versions_url, "token": sim.token_in}
        )
        hub.peers["sim"] = int(registered["id"])
        made = Town(hub, cpo, emsp, sim)
        emsp.roaming.door.handlers.update(
            {PUT_LOCATION: made.noted, PATCH_LOCATION: made.noted, PUT_SESSION: made.noted}
        )
        yield made


@pytest.fixture(autouse=True)
def well(town: Town) -> Any:
    """Afterwards the simulated partner does nothing wrong, and nobody remembers that it did."""
    yield
    town.sim.faults.clear()
    town.hub.roaming.caller.forget(town.hub.peers["sim"])


async def exchanges(node: Node, **query: Any) -> list[Any]:
    """What its log has."""
    return list((await node.rest.get("/v1/roaming/exchanges", params=query)).json()["items"])


async def test_contract_of_one_provider_is_not_taken_by_tokens_of_another(town: Town) -> None:
    memory, tenant = HubMemory(town.hub.server.database), (await town.hub.peer("emsp")).tenant_id

    async def saw(owner: PartyId, peer: str, uid: str, contract: str) -> None:
        token = {"uid": uid, "type": "RFID", "contract_id": contract}
        await memory.saw(tenant, [token_seen(token, uid, owner, town.hub.peers[peer])])

    for contract in ("DE-MSP-C77-1", "PLAIN77"):
        await saw(EMSP, "emsp", f"Z-{contract}", contract)
    assert (await memory.tokens_of(tenant, ["PLAIN77"]))["plain77"]["party_id"] == "MSP"
    for contract in ("DE-MSP-C77-1", "PLAIN77"):
        await saw(SIM, "sim", f"A-{contract}", contract)
    found = await memory.tokens_of(tenant, ["DE-MSP-C77-1", "PLAIN77"])
    assert {contract: token["party_id"] for contract, token in found.items()} == {"de-msp-c77-1": "MSP"}


async def test_push_to_all_comes_from_the_hub_with_a_new_request_id_and_the_same_correlation_id(town: Town) -> None:
    outcome = await town.push("ALL1", HUB, correlation_id="all-1")
    assert outcome.ok, outcome
    call = await town.came("ALL1")
    assert (call.route.from_party, call.route.to_party) == (HUB, EMSP)
    assert call.correlation_id == "all-1"
    assert call.request_id != outcome.request_id
    assert call.document is not None
    assert call.document.tree["last_updated"] == AT
    await until(lambda: _true(town.simulated("ALL1")), 30)

    async def logged() -> Any:
        found = await exchanges(town.hub, correlation_id="all-1")
        return found if len(found) == 3 else None

    found = await until(logged, 30)
    assert sorted(one["direction"] for one in found) == ["in", "out", "out"]
    assert all(one["routed"] for one in found)


async def _true(value: Any) -> Any:
    return value


async def test_sessions_and_cdrs_to_all_and_gets_of_one_are_refused(town: Town) -> None:
    peer = await town.cpo.peer("hub")
    to_all = Route(from_party=CPO, to_party=HUB)
    path = {"country_code": "NL", "party_id": "CPO", "session_id": "S0"}
    body = json.dumps(session("S0", EMSP)).encode()
    outcome = await town.cpo.roaming.caller.call(peer, PUT_SESSION, path, body=body, route=to_all)
    assert (outcome.failure, outcome.status_code) == (Failure.REFUSED, 2001)
    path = {"country_code": "NL", "party_id": "CPO", "location_id": "L0"}
    outcome = await town.cpo.roaming.caller.call(peer, GET_LOCATION_THERE, path, route=to_all)
    assert (outcome.failure, outcome.status_code) == (Failure.REFUSED, 2001)


async def test_session_to_nobody_finds_the_driver_s_provider(town: Town) -> None:
    peer = await town.cpo.peer("hub")
    for ident, provider in (("S1", EMSP), ("S2", SIM)):
        path = {"country_code": "NL", "party_id": "CPO", "session_id": ident}
        body = json.dumps(session(ident, provider)).encode()
        outcome = await town.cpo.roaming.caller.call(peer, PUT_SESSION, path, body=body, route=Route(from_party=CPO))
        assert outcome.ok, outcome
    call = await town.came("S1")
    assert (call.route.from_party, call.route.to_party) == (CPO, EMSP)
    assert town.simulated("S2")
    assert not town.simulated("S1")
    assert not [one for one in town.got if "S2" in one.path.values()]


async def test_nobody_speaks_for_another_party_or_pushes_its_objects(town: Town) -> None:
    outcome = await town.push("FOREIGN1", EMSP, sender=SIM)
    assert (outcome.failure, outcome.status_code) == (Failure.REFUSED, 2001)
    outcome = await town.cpo.roaming.caller.call(
        await town.cpo.peer("hub"),
        PUT_LOCATION,
        {"country_code": "DE", "party_id": "XYZ", "location_id": "FOREIGN2"},
        body=json.dumps(location("FOREIGN2", country_code="DE", party_id="XYZ")).encode(),
        route=Route(from_party=CPO, to_party=EMSP),
    )
    assert (outcome.failure, outcome.status_code) == (Failure.REFUSED, 2001)
    assert not [one for one in town.got if {"FOREIGN1", "FOREIGN2"} & set(one.path.values())]


async def test_receiver_that_is_slow_is_4002_and_never_success(town: Town) -> None:
    town.sim.faults.add(PartnerFault.SLOW)
    outcome = await town.push("SLOW1", SIM)
    assert (outcome.failure, outcome.status_code) == (Failure.REFUSED, 4002)
    assert (await town.push("SLOW2", EMSP)).ok  # others are none the worse


@pytest.mark.parametrize("fault", [PartnerFault.FAILS, PartnerFault.BROKEN_JSON], ids=str)
async def test_receiver_that_answers_nonsense_is_4000(town: Town, fault: PartnerFault) -> None:
    town.sim.faults.add(fault)
    outcome = await town.push(f"NONSENSE-{fault}", SIM)
    assert outcome.failure is Failure.REFUSED
    assert outcome.status_code == 4000


async def test_receiver_that_is_down_is_4003_and_gets_what_was_for_all_when_it_is_back(town: Town) -> None:
    await town.sim.stop()
    try:
        assert (await town.push("DOWN1", SIM)).status_code == 4003
        assert (await town.push("DOWN2", HUB, name="first")).ok
        assert (await town.push("DOWN2", HUB, name="second", last_updated="2026-01-02T03:04:06Z")).ok
        await town.came("DOWN2")
        waiting = (await town.hub.rest.get(f"/v1/roaming/partners/{town.hub.peers['sim']}/outgoing")).json()["items"]
        assert [one["module"] for one in waiting if "down2" in one["key"]] == ["hub"]
    finally:
        await town.sim.start()
    await town.hub.post(f"/v1/roaming/partners/{town.hub.peers['sim']}/retry", status=202)
    await until(lambda: _true(town.simulated("DOWN2")), 30)
    # What it lacked is its newest state, once; what was for it alone was never said to be taken.
    assert [one.tree["name"] for one in town.simulated("DOWN2")] == ["second"]
    assert not town.simulated("DOWN1")


async def test_changes_that_were_not_taken_yet_are_laid_over_each_other(town: Town) -> None:
    await town.sim.stop()
    try:
        assert (await town.push("PATCHED", HUB)).ok
        for number, change in ((1, {"name": "Changed"}), (2, {"city": "Moved"})):
            outcome = await town.cpo.roaming.caller.call(
                await town.cpo.peer("hub"),
                PATCH_LOCATION,
                {"country_code": "NL", "party_id": "CPO", "location_id": "PATCHED"},
                body=json.dumps({**change, "last_updated": f"2026-01-02T03:04:1{number}Z"}).encode(),
                route=Route(from_party=CPO, to_party=HUB),
            )
            assert outcome.ok, outcome
    finally:
        await town.sim.start()
    await town.hub.post(f"/v1/roaming/partners/{town.hub.peers['sim']}/retry", status=202)

    async def came() -> Any:
        # Whole, with both changes in it.
        found = [one.tree for one in town.simulated("PATCHED") if one.number == PUT_LOCATION]
        last = found[-1] if found else {}
        whole = (last.get("name"), last.get("city"), last.get("address")) == ("Changed", "Moved", "Street 1")
        return last if whole else None

    assert (await until(came, 30))["last_updated"] == "2026-01-02T03:04:12Z"


async def test_forwarded_message_is_found_by_its_correlation_id_and_replayed(town: Town) -> None:
    assert (await town.push("REPLAY1", EMSP, correlation_id="again-1")).ok
    found = await exchanges(town.hub, correlation_id="again-1", direction="out")
    assert [(one["from_party"], one["to_party"]) for one in found] == [("NLCPO", "DEMSP")]
    answer = await town.hub.rest.post(f"/v1/roaming/exchanges/{found[0]['id']}/replay")
    assert answer.status_code in (200, 201), answer.text
    first, second = [one for one in town.got if "REPLAY1" in one.path.values()]
    assert first.correlation_id == second.correlation_id == "again-1"
    assert first.request_id != second.request_id
    assert (second.route.from_party, second.route.to_party) == (CPO, EMSP)
    theirs = (await exchanges(town.hub, correlation_id="again-1", direction="in"))[0]
    assert (await town.hub.rest.post(f"/v1/roaming/exchanges/{theirs['id']}/replay")).status_code == 409


async def test_what_a_version_cannot_say_stands_in_the_log_of_the_hub(town: Town) -> None:
    parking = [
        {"id": "P1", "vehicle_types": ["PERSONAL_VEHICLE"], "restricted_to_type": False, "reservation_required": False}
    ]
    assert (await town.push("LOSSY", EMSP, correlation_id="lossy-1", parking_places=parking)).ok
    (found,) = await exchanges(town.hub, correlation_id="lossy-1", direction="out")
    assert any("parking_places" in loss for loss in found["losses"]), found["losses"]


async def test_partners_are_told_who_is_connected_offline_and_suspended(town: Town) -> None:
    peer = await town.cpo.peer("hub")

    async def told(node: Node, party: PartyId) -> str | None:
        return str(
            await node.execute(
                "SELECT status FROM roaming_client_info WHERE connection_id IS NOT NULL AND country_code = $1 AND party_id = $2",
                party.country_code,
                party.party_id,
            )
        )

    async def tells(status: str) -> bool:
        return (await told(town.cpo, SIM), await told(town.emsp, CPO)) == (status, "CONNECTED")

    await until(lambda: tells("CONNECTED"), 30)
    listed = []
    async for page in town.cpo.roaming.caller.pages(peer, CLIENTS):
        listed += [json.loads(one) for one in page.documents]
    assert {(one["party_id"], one["role"], one["status"]) for one in listed} == {
        ("MSP", "EMSP", "CONNECTED"), ("SIM", "EMSP", "CONNECTED"),
    }  # fmt: skip
    of_cpo = await town.hub.peer("cpo")
    outcome = await town.hub.roaming.caller.call(of_cpo, CLIENT, {"country_code": "FR", "party_id": "SIM"})
    assert outcome.data is not None
    assert json.loads(outcome.data)["status"] == "CONNECTED"
    # Nothing was heard of it for a while, and it does not answer whether it is alive.
    await town.sim.stop()
    try:
        await until(lambda: tells("OFFLINE"), 30)
    finally:
        await town.sim.start()
    await until(lambda: tells("CONNECTED"), 30)
    await town.hub.post(f"/v1/roaming/partners/{town.hub.peers['sim']}/suspend", {"because": "a test"}, status=200)
    await until(lambda: tells("SUSPENDED"), 30)

    async def refused() -> bool:
        return (await town.push("SUSPENDED1", SIM)).status_code in (4001, 4003)

    await until(refused, 30)
    assert not town.simulated("SUSPENDED1")
    await town.hub.post(f"/v1/roaming/partners/{town.hub.peers['sim']}/resume", status=200)
    await until(lambda: tells("CONNECTED"), 30)


async def test_partners_of_2_3_0_are_told_who_is_behind_the_hub_as_roles_of_its_credentials(town: Town) -> None:
    async def roles() -> set[tuple[str, str]]:
        return {(party.id.key, party.role.value) for party in (await town.cpo.peer("hub")).parties}

    async def has_all() -> bool:
        return await roles() >= {("DEMSP", "EMSP"), ("FRSIM", "EMSP")}

    await until(has_all, 30)
    peer = await town.cpo.peer("hub")
    assert (peer.is_hub, peer.hub_party) == (True, HUB)
    assert all(role != "HUB" for _, role in await roles())
    await town.hub.post(f"/v1/roaming/partners/{town.hub.peers['sim']}/suspend", {"because": "a test"}, status=200)

    async def lacks_one() -> bool:
        found = await roles()
        return ("FRSIM", "EMSP") not in found and ("DEMSP", "EMSP") in found

    await until(lacks_one, 30)
    await town.hub.post(f"/v1/roaming/partners/{town.hub.peers['sim']}/resume", status=200)
    await until(has_all, 30)

    async def passes() -> bool:
        return (await town.push("AFTER-PUT", EMSP)).ok  # by the tokens that came with it

    await until(passes, 30)


@contextlib.asynccontextmanager
async def another_hub(town: Town) -> AsyncIterator[None]:
    """While it lasts the eMSP is a hub itself."""
    path = f"/v1/roaming/partners/{town.hub.peers['emsp']}"
    for is_hub in (True, False):
        answer = await town.hub.rest.patch(path, json={"is_hub": is_hub})
        assert answer.status_code == 200, answer.text
        if is_hub:
            try:
                yield
            except BaseException:
                await town.hub.rest.patch(path, json={"is_hub": False})
                raise


async def test_another_hub_speaks_for_who_is_behind_it_and_not_for_who_is_connected_directly(town: Town) -> None:
    peer, behind = await town.emsp.peer("hub"), PartyId("BE", "BHD")
    got: list[str] = []

    async def token_came(call: Call) -> Reply:
        got.append(call.path["token_uid"])
        return Reply(created=True)

    async def push(owner: PartyId, sender: PartyId, uid: str) -> Outcome:
        body = {
            "country_code": owner.country_code, "party_id": owner.party_id, "uid": uid, "type": "RFID", "contract_id": uid,
            "issuer": "I", "valid": True, "whitelist": "NEVER", "last_updated": AT,
        }  # fmt: skip
        path = {"country_code": owner.country_code, "party_id": owner.party_id, "token_uid": uid}
        route = Route(from_party=sender, to_party=CPO)
        return await town.emsp.roaming.caller.call(
            peer, PUT_TOKEN, path, body=json.dumps(body).encode(), route=route, routed=True
        )

    town.cpo.roaming.door.handlers[PUT_TOKEN] = token_came
    async with another_hub(town):
        assert (await push(behind, behind, "BHD1")).ok
        for owner, sender in ((SIM, EMSP), (EMSP, SIM), (SIM, SIM)):
            outcome = await push(owner, sender, "TAKEN1")
            assert (outcome.failure, outcome.status_code) == (Failure.REFUSED, 2001), outcome
    assert got == ["BHD1"]


async def test_another_hub_reads_and_stops_no_sessions_of_directly_connected_providers_drivers(town: Town) -> None:
    peer, behind = await town.emsp.peer("hub"), PartyId("BE", "BHD")
    tenant = (await town.hub.peer("emsp")).tenant_id
    memory = HubMemory(town.hub.server.database)
    stopped: list[Call] = []

    async def listed(call: Call) -> Reply:
        held = [session(f"HUB-{of.party_id}", of) for of in (EMSP, SIM, behind)]
        return Reply(page=Page(documents=[json.dumps(one).encode() for one in held], total=3))

    async def stop(call: Call) -> Reply:
        stopped.append(call)
        return Reply(document=json.dumps({"result": "ACCEPTED", "timeout": 1}).encode())

    handlers = town.cpo.roaming.door.handlers
    before = {row: handlers.get(row) for row in (SESSIONS, STOP)}
    handlers.update({SESSIONS: listed, STOP: stop})
    try:
        async with another_hub(town):
            for of in (SIM, behind):
                await memory.saw(tenant, [session_seen(f"HUB-{of.party_id}", CPO, town.hub.peers["cpo"], of)])
            route = Route(from_party=EMSP, to_party=CPO)
            read = [
                json.loads(one)["id"]
                async for page in town.emsp.roaming.caller.pages(peer, SESSIONS, route=route)
                for one in page.documents
            ]
            assert read == ["HUB-MSP", "HUB-BHD"]
            results = []
            for of in (SIM, behind):
                body = {"session_id": f"HUB-{of.party_id}", "response_url": "http://127.0.0.1:9/result"}
                outcome = await town.emsp.roaming.caller.call(
                    peer, STOP, {}, body=json.dumps(body).encode(), route=route
                )
                assert outcome.data is not None, outcome
                results.append(json.loads(outcome.data)["result"])
            assert results == ["UNKNOWN_SESSION", "ACCEPTED"]
            assert len(stopped) == 1
    finally:
        handlers.update({row: handler for row, handler in before.items() if handler is not None})


async def test_lists_of_a_partner_claim_no_objects_of_other_parties(town: Town) -> None:
    tenant = (await town.hub.peer("emsp")).tenant_id
    memory = HubMemory(town.hub.server.database)

    def token(owner: PartyId, uid: str, contract: str) -> dict[str, Any]:
        return {
            "country_code": owner.country_code, "party_id": owner.party_id, "uid": uid, "type": "RFID", "contract_id": contract,
            "issuer": "I", "valid": True, "whitelist": "NEVER", "last_updated": AT,
        }  # fmt: skip

    await memory.saw(tenant, [token_seen(token(EMSP, "LISTED1", "KEPT"), "LISTED1", EMSP, town.hub.peers["emsp"])])
    town.sim.owns[Kind.TOKEN] = [
        token(EMSP, "LISTED1", "TAKEN"), token(EMSP, "LISTED2", "TAKEN"), token(SIM, "LISTED3", "OWN"),
    ]  # fmt: skip
    try:
        route = Route(from_party=CPO, to_party=SIM)
        async for _ in town.cpo.roaming.caller.pages(await town.cpo.peer("hub"), TOKENS, route=route):
            pass
    finally:
        del town.sim.owns[Kind.TOKEN]
    known = {uid: await memory.named(tenant, "tokens", uid) for uid in ("LISTED1", "LISTED2", "LISTED3")}
    assert {uid: [(one.owner, one.contract_key) for one in found] for uid, found in known.items()} == {
        "LISTED1": [("DEMSP", "kept")], "LISTED2": [], "LISTED3": [("FRSIM", "own")],
    }  # fmt: skip
    assert known["LISTED1"][0].connection_id == town.hub.peers["emsp"]


async def test_answer_about_a_token_claims_none_of_another_party(town: Town) -> None:
    tenant = (await town.hub.peer("emsp")).tenant_id
    memory = HubMemory(town.hub.server.database)
    for owner, uid in ((EMSP, "ANSWERED1"), (SIM, "ANSWERED2")):
        town.sim.owns[Kind.TOKEN] = [
            {
                "country_code": owner.country_code, "party_id": owner.party_id, "uid": uid, "type": "RFID", "contract_id": uid,
                "issuer": "I", "valid": True, "whitelist": "NEVER", "last_updated": AT,
            }
        ]  # fmt: skip
        try:
            outcome = await town.cpo.roaming.caller.call(
                await town.cpo.peer("hub"), AUTHORIZE, {"token_uid": uid}, route=Route(from_party=CPO, to_party=SIM)
            )
        finally:
            del town.sim.owns[Kind.TOKEN]
        assert outcome.ok, outcome
    assert await memory.named(tenant, "tokens", "ANSWERED1") == []
    assert [one.owner for one in await memory.named(tenant, "tokens", "ANSWERED2")] == ["FRSIM"]


async def test_contract_that_begins_with_another_party_is_nobody_s_who_claims_it_alone(town: Town) -> None:
    memory, tenant = HubMemory(town.hub.server.database), (await town.hub.peer("emsp")).tenant_id

    async def saw(owner: PartyId, peer: str, uid: str, contract: str) -> None:
        token = {"uid": uid, "type": "RFID", "contract_id": contract}
        await memory.saw(tenant, [token_seen(token, uid, owner, town.hub.peers[peer])])

    for contract in ("DE-MSP-C88-1", "NL-HUB-C88-1", "FR-SIM-C88-1", "XX-ABC-C88-1"):
        await saw(SIM, "sim", f"A-{contract}", contract)
    found = await memory.tokens_of(tenant, ["DE-MSP-C88-1", "NL-HUB-C88-1", "FR-SIM-C88-1", "XX-ABC-C88-1"])
    assert set(found) == {"fr-sim-c88-1", "xx-abc-c88-1"}


async def test_uid_in_a_contract_s_place_names_a_driver_only_where_one_party_has_such_a_token(town: Town) -> None:
    memory, tenant = HubMemory(town.hub.server.database), (await town.hub.peer("emsp")).tenant_id

    async def saw(owner: PartyId, peer: str, uid: str) -> None:
        token = {"uid": uid, "type": "RFID", "contract_id": f"{owner.party_id}-{uid}"}
        await memory.saw(tenant, [token_seen(token, uid, owner, town.hub.peers[peer])])

    await saw(EMSP, "emsp", "UID99")
    assert (await memory.tokens_named(tenant, ["UID99"]))["uid99"]["party_id"] == "MSP"
    await saw(SIM, "sim", "UID99")
    await saw(SIM, "sim", "DE-MSP-UID99")
    assert await memory.tokens_named(tenant, ["UID99", "DE-MSP-UID99", "UNKNOWN99"]) == {}


async def test_no_of_one_who_is_asked_waits_for_who_says_otherwise(town: Town) -> None:
    tenant = (await town.hub.peer("emsp")).tenant_id
    memory = HubMemory(town.hub.server.database)

    def token(owner: PartyId, uid: str) -> dict[str, Any]:
        return {
            "country_code": owner.country_code, "party_id": owner.party_id, "uid": uid, "type": "RFID", "contract_id": uid,
            "issuer": "I", "valid": True, "whitelist": "NEVER", "last_updated": AT,
        }  # fmt: skip

    async def allowed(call: Call) -> Reply:
        async def said_no() -> bool:
            return any(uid in one.values.values() for one in town.sim.received)

        uid = call.path["token_uid"]
        await until(said_no, 30)
        if uid == "ASKED2":
            return not_found("token")
        return Reply(document=json.dumps({"allowed": "ALLOWED", "token": token(EMSP, uid)}).encode())

    handlers = town.emsp.roaming.door.handlers
    before = handlers.get(AUTHORIZE)
    handlers[AUTHORIZE] = allowed
    town.sim.allowed = "NOT_ALLOWED"
    town.sim.owns[Kind.TOKEN] = [token(SIM, "ASKED1"), token(SIM, "ASKED2")]
    said = {}
    try:
        for uid in ("ASKED1", "ASKED2"):
            outcome = await town.cpo.roaming.caller.call(
                await town.cpo.peer("hub"), AUTHORIZE, {"token_uid": uid}, route=Route(from_party=CPO)
            )
            assert outcome.data is not None, outcome
            said[uid] = json.loads(outcome.data)["allowed"]
    finally:
        town.sim.allowed = "ALLOWED"
        del town.sim.owns[Kind.TOKEN]
        if before is not None:
            handlers[AUTHORIZE] = before
    assert said == {"ASKED1": "ALLOWED", "ASKED2": "NOT_ALLOWED"}
    # Who says no may never have had the token.
    assert [one.owner for one in await memory.named(tenant, "tokens", "ASKED1")] == ["DEMSP"]
    assert await memory.named(tenant, "tokens", "ASKED2") == []


@pytest.mark.parametrize(("column", "value"), [("modules", "[]"), ("quirks", '{"no_push": ["hub"]}')])
async def test_push_to_all_that_a_partner_has_no_place_for_is_not_kept_for_it(
    town: Town, column: str, value: str
) -> None:
    ident, key = f"NOPLACE-{column}", town.hub.peers["sim"]
    sql = f"UPDATE roaming_connection SET {column} = $2 WHERE id = $1"
    held = await town.hub.execute(f"SELECT {column} FROM roaming_connection WHERE id = $1", key)
    await town.sim.stop()
    try:
        for name in ("first", "second"):
            assert (await town.push(ident, HUB, name=name)).ok
        kept = "SELECT count(*) FROM roaming_hub_message WHERE connection_id = $1 AND key LIKE '%/' || $2 || '/%'"
        assert await town.hub.execute(kept, key, ident.lower()) == 1
        await town.hub.execute(sql, key, value)
        town.hub.roaming.caller.forget(key)
        await town.hub.post(f"/v1/roaming/partners/{key}/retry", status=202)

        async def settled() -> bool:
            owed = "SELECT count(*) FROM roaming_outgoing WHERE connection_id = $1 AND module = 'hub' AND key LIKE '%/' || $2 || '/%'"
            return bool(await town.hub.execute(owed, key, ident.lower()) == 0)

        await until(settled, 30)
        assert await town.hub.execute(kept, key, ident.lower()) == 0
    finally:
        await town.hub.execute(sql, key, held)
        await town.sim.start()
