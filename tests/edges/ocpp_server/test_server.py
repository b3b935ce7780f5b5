"""The opening request over real sockets."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable

import pytest

from chargeplane.app.ports import CloseReason
from chargeplane.domain.quirks import Limit, Origin, Quirk, QuirkTable
from chargeplane.edges.ocpp_server import Listener, OcppServer
from chargeplane.kernel.errors import UnavailableError
from chargeplane.kernel.proxies import ProxyHeader, TrustedProxies
from tests.support.raw_station import KEY, RawStation
from tests.support.station_gateway import MemoryGateway

Door = Callable[..., Awaitable[OcppServer]]
Dial = Callable[[OcppServer], Awaitable[RawStation]]


def outcomes(server: OcppServer) -> dict[str, int]:
    return {labels[0]: cell[0] for labels, cell in server.measures._handshakes.cells.items()}


async def test_registered_station_is_let_in_with_the_newest_common_version(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1", profile=1, password=b"secret")
    server = await door()
    answer = await (await dial(server)).upgrade("/ocpp/CS1", protocols="ocpp1.6, ocpp2.0.1", auth=b"CS1:secret")
    assert answer.status == 101
    assert answer.headers["sec-websocket-protocol"] == "ocpp2.0.1"
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    await gateway.until(lambda: key in gateway.actors)
    assert gateway.link(key).ocpp_version == "2.0.1"
    assert gateway.link(key).remote_address == "127.0.0.1"


async def test_unknown_station_gets_404_and_is_noted(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    server = await door()
    assert (await (await dial(server)).upgrade("/ocpp/CS%2F9")).status == 404
    assert (await (await dial(server)).upgrade("/ocpp/acme/CS9/")).status == 404
    assert gateway.unknown == [(None, "CS/9", "127.0.0.1"), ("acme", "CS9", "127.0.0.1")]


@pytest.mark.parametrize("auth", [b"CS1:wrong", b"CS1:", b"CS2:secret", b":secret", b"CS1:secret ", b"CS1:secre"])
async def test_wrong_password_gets_401_with_the_scheme(
    door: Door, dial: Dial, gateway: MemoryGateway, auth: bytes
) -> None:
    gateway.add("CS1", profile=1, password=b"secret")
    answer = await (await dial(await door())).upgrade("/ocpp/CS1", auth=auth)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert not gateway.actors


async def test_missing_password_gets_401(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1", profile=1, password=b"secret")
    assert (await (await dial(await door())).upgrade("/ocpp/CS1")).status == 401


async def test_station_without_password_is_let_in_where_registered_so(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("CS1", profile=0)
    assert (await (await dial(await door())).upgrade("/ocpp/CS1")).status == 101


@pytest.mark.parametrize("password", [b"a:b:c", b"\x00\xff\x80 binary", "pässwörd".encode()])
async def test_password_may_hold_any_bytes(door: Door, dial: Dial, gateway: MemoryGateway, password: bytes) -> None:
    gateway.add("CS1", profile=1, password=password)
    assert (await (await dial(await door())).upgrade("/ocpp/CS1", auth=b"CS1:" + password)).status == 101


@pytest.mark.parametrize(
    ("path", "auth"),
    [
        ("/ocpp/CS1", b"CS1:pw"),
        ("/ocpp/cs1", b"cs1:pw"),
        ("/ocpp/CS1/", b"cS1:pw"),
        ("//ocpp//CS1", b"CS1:pw"),
        ("/ocpp/%43%53%31?x=y", b"CS1:pw"),
    ],
)
async def test_case_slashes_and_encoding_of_the_id_are_forgiven(
    door: Door, dial: Dial, gateway: MemoryGateway, path: str, auth: bytes
) -> None:
    gateway.add("CS1", profile=1, password=b"pw")
    assert (await (await dial(await door())).upgrade(path, auth=auth)).status == 101


async def test_first_segment_is_a_tenant_only_if_one_has_that_slug(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    theirs = gateway.add("CS1", tenant="acme")
    slashed = gateway.add("site/CS1")
    server = await door()
    assert (await (await dial(server)).upgrade("/ocpp/acme/CS1")).status == 101
    await gateway.until(lambda: theirs in gateway.actors)
    assert (await (await dial(server)).upgrade("/ocpp/site/CS1")).status == 101
    assert (await (await dial(server)).upgrade("/ocpp/site%2FCS1")).status == 101
    await gateway.until(lambda: slashed in gateway.actors)
    assert (await (await dial(server)).upgrade("/ocpp/CS1")).status == 404


@pytest.mark.parametrize("profile", [2, 3])
async def test_tls_station_on_the_plain_port_is_refused_without_asking_for_its_password(
    door: Door, dial: Dial, gateway: MemoryGateway, profile: int
) -> None:
    gateway.add("CS1", profile=profile, password=b"pw")
    answer = await (await dial(await door())).upgrade("/ocpp/CS1", auth=b"CS1:pw")
    assert answer.status == 403
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("protocols", ["ocpp1.5", "ocpp2.0, soap", None])
async def test_no_common_subprotocol_finishes_the_handshake_without_one_and_closes(
    door: Door, dial: Dial, gateway: MemoryGateway, protocols: str | None
) -> None:
    gateway.add("CS1")
    station = await dial(await door())
    answer = await station.upgrade("/ocpp/CS1", protocols=protocols)
    assert answer.status == 101
    assert "sec-websocket-protocol" not in answer.headers
    assert await station.close_code() == 1002
    assert not gateway.actors


async def test_refused_station_that_does_not_end_the_connection_is_cut(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("CS1")
    station = await dial(await door(close_timeout_s=0.05))
    await station.upgrade("/ocpp/CS1", protocols="ocpp1.5")
    assert await station.ended()


async def test_station_without_subprotocol_is_taken_in_the_version_it_is_assumed_to_speak(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1")
    server = await door(assumed_version="1.6")
    answer = await (await dial(server)).upgrade("/ocpp/CS1", protocols=None)
    assert answer.status == 101
    assert "sec-websocket-protocol" not in answer.headers
    await gateway.until(lambda: key in gateway.actors)
    assert gateway.link(key).ocpp_version == "1.6"


async def test_station_registered_without_subprotocols_is_let_in_and_its_neighbour_is_not(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    quirky = gateway.add("OLD", assumed_version="1.6")
    gateway.add("NEW")
    server = await door()
    assert (await (await dial(server)).upgrade("/ocpp/OLD", protocols=None)).status == 101
    await gateway.until(lambda: quirky in gateway.actors)
    assert gateway.link(quirky).ocpp_version == "1.6"
    station = await dial(server)
    await station.upgrade("/ocpp/NEW", protocols=None)
    assert await station.close_code() == 1002


@pytest.mark.parametrize("headers", [{"Connection": "keep-alive, Upgrade"}, {"Upgrade": "WebSocket"}])
async def test_odd_upgrade_headers_are_understood(
    door: Door, dial: Dial, gateway: MemoryGateway, headers: dict[str, str]
) -> None:
    gateway.add("CS1")
    answer = await (await dial(await door())).upgrade("/ocpp/CS1", headers=headers)
    assert answer.status == 101


@pytest.mark.parametrize(("headers", "drop"), [({}, ("Connection",)), ({"Connection": "keep-alive"}, ())])
async def test_handshake_without_connection_upgrade_is_forgiven_to_those_known_for_it(
    door: Door, dial: Dial, gateway: MemoryGateway, headers: dict[str, str], drop: tuple[str, ...]
) -> None:
    known = gateway.add("OLD-7")
    gateway.add("CS1")
    rule = Quirk(name="old_boxes", does="x.", station="old-*", limits=frozenset({Limit.LOOSE_UPGRADE}))
    gateway.table = QuirkTable((Origin.TENANT, (rule,)))
    server = await door()
    assert (await (await dial(server)).upgrade("/ocpp/OLD-7", headers=headers, drop=drop)).status == 101
    await gateway.until(lambda: known in gateway.actors and gateway.actors[known].repairs == ["old_boxes"])
    assert (await (await dial(server)).upgrade("/ocpp/CS1", headers=headers, drop=drop)).status == 426


async def test_model_without_subprotocols_is_let_in_by_its_last_boot(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1")
    rule = Quirk(name="no_protocol", does="x.", vendor="Acme", model="Old*", assumed_version="1.6")
    gateway.table = QuirkTable((Origin.FILE, (rule,)))
    server = await door()
    station = await dial(server)
    await station.upgrade("/ocpp/CS1", protocols=None)
    assert await station.close_code() == 1002
    gateway.told[key] = ("ACME", "Old Faithful", None)
    assert (await (await dial(server)).upgrade("/ocpp/CS1", protocols=None)).status == 101
    await gateway.until(lambda: key in gateway.actors and gateway.actors[key].repairs == ["no_protocol"])
    assert gateway.link(key).ocpp_version == "1.6"


async def test_plain_http_request_is_told_what_the_door_is_for(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door()
    elsewhere = await (await dial(server)).ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert elsewhere.status == 404
    assert b"/ocpp/{station_id}" in elsewhere.body
    for path in (b"/ocpp/CS1", b"/ocpp/nobody"):
        here = await (await dial(server)).ask(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert here.status == 426
        assert here.headers["upgrade"] == "websocket"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-WebSocket-Version": "12"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": "\udcff"}, 400),
        ({"Authorization": "Basic !!!"}, 400),
        ({"Authorization": "Basic " + b64encode(b"nocolon").decode()}, 400),
        ({"Authorization": "Bearer abc"}, 401),
    ],
)
async def test_malformed_request_gets_400(
    door: Door, dial: Dial, gateway: MemoryGateway, headers: dict[str, str], status: int
) -> None:
    gateway.add("CS1", profile=1, password=b"pw")
    assert (await (await dial(await door())).upgrade("/ocpp/CS1", headers=headers)).status == status


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /ocpp/CS1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ocpp/CS1 HTTP/1.0\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        b"GET /ocpp/%00 HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        b"GET /ocpp/CS1 HTTP/1.1\r\nbad header\r\n\r\n",
    ],
)
async def test_request_that_is_no_http_get_gets_400(door: Door, dial: Dial, gateway: MemoryGateway, raw: bytes) -> None:
    gateway.add("CS1")
    answer = await (await dial(await door())).ask(raw)
    assert answer.status == 400


async def test_endless_request_is_cut(door: Door, dial: Dial) -> None:
    station = await dial(await door())
    station.writer.write(b"GET /ocpp/CS1 HTTP/1.1\r\n" + b"X: y\r\n" * 10_000)
    assert await station.ended()


async def test_silent_connection_is_cut_at_the_handshake_deadline(door: Door, dial: Dial) -> None:
    server = await door(handshake_timeout_s=0.1)
    station = await dial(server)
    station.writer.write(b"GET /ocpp/CS1 HT")
    assert await station.ended()
    assert outcomes(server) == {"silent": 1}


async def test_failure_of_the_gateway_is_not_shown_to_the_peer(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    server = await door()

    def fail() -> None:
        raise RuntimeError("secret detail")

    def unavailable() -> None:
        raise UnavailableError("loading")

    gateway.on_find = fail
    answer = await (await dial(server)).upgrade("/ocpp/CS1")
    assert answer.status == 500
    assert b"secret" not in answer.body
    gateway.on_find = unavailable
    answer = await (await dial(server)).upgrade("/ocpp/CS1")
    assert answer.status == 503
    assert answer.headers["retry-after"]


async def test_only_failures_count_against_an_address(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("GOOD", profile=1, password=b"pw")
    server = await door(failed_attempts_burst=3, failed_attempts_per_s=0.0)
    for _ in range(10):
        assert (await (await dial(server)).upgrade("/ocpp/GOOD", auth=b"GOOD:pw")).status == 101
    for _ in range(3):
        assert (await (await dial(server)).upgrade("/ocpp/NOBODY")).status == 404
    answer = await (await dial(server)).upgrade("/ocpp/NOBODY")
    assert answer.status == 429
    assert answer.headers["retry-after"]
    assert len(gateway.unknown) == 3
    assert (await (await dial(server)).upgrade("/ocpp/GOOD", auth=b"GOOD:pw")).status == 101


async def test_guesses_at_one_password_are_stopped_without_harm_to_the_neighbours(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("A", profile=1, password=b"pw")
    gateway.add("B", profile=1, password=b"pw")
    server = await door(failed_passwords_burst=2, failed_passwords_per_s=0.0)
    for guess in (b"A:1", b"A:2"):
        assert (await (await dial(server)).upgrade("/ocpp/A", auth=guess)).status == 401
    assert (await (await dial(server)).upgrade("/ocpp/A", auth=b"A:pw")).status == 429
    assert (await (await dial(server)).upgrade("/ocpp/B", auth=b"B:pw")).status == 101


async def test_connection_above_the_limit_gets_503_and_room_comes_back(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("CS1")
    gateway.add("CS2")
    server = await door(max_connections=1)
    first = await dial(server)
    assert (await first.upgrade("/ocpp/CS1")).status == 101
    second = await dial(server)
    answer = await second.upgrade("/ocpp/CS2")
    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert await second.ended()
    first.hang_up()
    await gateway.until(lambda: len(gateway.gone) == 1)
    third = await dial(server)
    assert (await third.upgrade("/ocpp/CS2")).status == 101


async def test_connections_of_one_address_are_limited(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door(max_connections_per_address=1)
    assert (await (await dial(server)).upgrade("/ocpp/CS1")).status == 101
    assert (await (await dial(server)).upgrade("/ocpp/CS1")).status == 503


async def test_messages_right_behind_the_request_are_not_lost(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door())
    request = (
        "GET /ocpp/CS1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
    ).encode()
    station.writer.write(request)
    station.send('[2,"1","Heartbeat",{}]')
    await station.reader.readuntil(b"\r\n\r\n")
    assert (await station.message())[:2] == [3, "1"]


async def test_every_listener_gets_its_port(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door(listeners=(Listener(host="127.0.0.1", port=0), Listener(host="127.0.0.1", port=0)))
    assert len(set(server.ports)) == 2
    second = await RawStation.dial(server.ports[1])
    assert (await second.upgrade("/ocpp/CS1")).status == 101
    second.hang_up()


async def test_stopping_answers_what_was_begun_and_closes_with_1001(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("BUSY")
    gateway.add("IDLE")
    server = await door()
    busy, idle = await dial(server), await dial(server)
    await busy.upgrade("/ocpp/BUSY")
    await idle.upgrade("/ocpp/IDLE")
    gateway.held = True
    busy.send('[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]')
    await gateway.heard(1)
    stopping = asyncio.ensure_future(server.stop(10))
    assert await idle.close_code() == 1001
    busy.send('[2,"2","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Faulted"}]')
    gateway.release()
    assert await busy.message() == [3, "1", {}]
    assert await busy.close_code() == 1001
    await stopping
    with pytest.raises(ConnectionError):
        await RawStation.dial(server.ports[0])


async def test_stopping_does_not_wait_longer_than_its_grace(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("BUSY")
    server = await door()
    station = await dial(server)
    await station.upgrade("/ocpp/BUSY")
    gateway.held = True
    station.send('[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Available"}]')
    await gateway.heard(1)
    await asyncio.wait_for(server.stop(0.05), 30)
    assert await station.ended()


async def test_two_workers_share_one_port(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    first = await door(reuse_port=True)
    port = first.ports[0]
    second = await door(reuse_port=True, listeners=(Listener(host="127.0.0.1", port=port),))
    assert second.ports == (port,)
    served = set()
    for number in range(200):
        gateway.add(f"CS{number}")
        assert (await (await dial(first)).upgrade(f"/ocpp/CS{number}")).status == 101
        served |= {server for server in (first, second) if outcomes(server)}
        if len(served) == 2:
            break
    assert len(served) == 2


async def test_port_that_is_taken_is_an_error_at_the_start(door: Door) -> None:
    first = await door()
    with pytest.raises(OSError, match="address already in use"):
        await door(listeners=(Listener(host="127.0.0.1", port=first.ports[0]),))


BEHIND = {"proxies": TrustedProxies(["127.0.0.0/8"])}


def through(address: str) -> dict[str, str]:
    """What a proxy adds for a peer."""
    return {"X-Forwarded-For": address}


async def test_station_behind_a_trusted_proxy_has_its_own_address(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1")
    server = await door(**BEHIND)
    assert (await (await dial(server)).upgrade("/ocpp/CS1", headers=through("198.51.100.1, 203.0.113.9"))).status == 101
    await gateway.until(lambda: key in gateway.actors)
    assert gateway.link(key).remote_address == "203.0.113.9"
    assert (await (await dial(server)).upgrade("/ocpp/NEW", headers=through("203.0.113.10"))).status == 404
    assert gateway.unknown == [(None, "NEW", "203.0.113.10")]


async def test_limits_for_one_address_hit_the_peers_of_a_proxy_one_by_one(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    for number in range(4):
        gateway.add(f"CS{number}", profile=1, password=b"pw")
    server = await door(**BEHIND, max_connections_per_address=1, failed_attempts_burst=2, failed_attempts_per_s=0.001)

    async def knock(name: str, address: str | None, password: bytes = b"pw") -> int:
        headers = through(address) if address is not None else {}
        auth = name.encode() + b":" + password
        return (await (await dial(server)).upgrade(f"/ocpp/{name}", auth=auth, headers=headers)).status

    assert await knock("CS0", "203.0.113.1") == 101
    assert await knock("CS1", "203.0.113.2") == 101
    assert await knock("CS2", "203.0.113.2") == 503  # the second of that address
    assert [await knock("CS2", "203.0.113.3", b"no") for _ in range(3)] == [401, 401, 429]
    assert await knock("CS2", "203.0.113.4", b"no") == 401
    assert await knock("CS2", "203.0.113.3") == 101
    # what left is counted out of the address that it was counted against
    links = [gateway.link(key) for key in gateway.actors]
    for link in links:
        link.close(CloseReason.SHUTDOWN)
    await gateway.until(lambda: len(gateway.gone) == len(links))
    assert await knock("CS3", "203.0.113.2") == 101


async def test_whoever_is_no_trusted_proxy_cannot_give_itself_another_address(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1")
    for proxies in (TrustedProxies(), TrustedProxies(["10.0.0.0/8"])):
        server = await door(proxies=proxies)
        headers = {**through("203.0.113.9"), "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
        assert (await (await dial(server)).upgrade("/ocpp/CS1", headers=headers)).status == 101
        await gateway.until(lambda: key in gateway.actors and gateway.actors[key].link is not None)
        assert gateway.link(key).remote_address == "127.0.0.1"


async def test_header_that_the_proxies_do_not_write_is_not_read(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door(proxies=TrustedProxies(["127.0.0.1"], ProxyHeader.FORWARDED))
    headers = {**through("198.51.100.1"), "Forwarded": 'for="[2001:db8::9]:4711"'}
    assert (await (await dial(server)).upgrade("/ocpp/NEW", headers=headers)).status == 404
    assert gateway.unknown == [(None, "NEW", "2001:db8::9")]
