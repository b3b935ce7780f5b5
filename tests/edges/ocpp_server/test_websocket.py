"""Frames below OCPP over real sockets: assembly, limits, compression, pings, fairness, closing."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable

import pytest
from msgspec import json

from chargeplane.edges.ocpp_server import OcppServer
from chargeplane.edges.ocpp_server.deflate import deflate, inflate
from chargeplane.edges.ocpp_server.protocol import StationProtocol
from chargeplane.edges.ocpp_server.session import Session
from tests.support.raw_station import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawStation, frame
from tests.support.station_gateway import MemoryGateway

Door = Callable[..., Awaitable[OcppServer]]
Dial = Callable[[OcppServer], Awaitable[RawStation]]

HEARTBEAT = b'[2,"1","Heartbeat",{}]'


def status(message_id: str, info: str = "") -> bytes:
    payload = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "info": info}
    return json.encode([2, message_id, "StatusNotification", payload])


@pytest.fixture
async def station(door: Door, dial: Dial, gateway: MemoryGateway) -> RawStation:
    gateway.add("CS1")
    station = await dial(await door())
    assert (await station.upgrade("/ocpp/CS1")).status == 101
    return station


async def deflating(door: Door, dial: Dial, gateway: MemoryGateway, **settings: object) -> RawStation:
    gateway.add("CS1")
    station = await dial(await door(**settings))
    answer = await station.upgrade("/ocpp/CS1", extensions="permessage-deflate; client_max_window_bits")
    assert answer.headers["sec-websocket-extensions"] == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    )
    return station


async def test_fragments_make_one_message(station: RawStation) -> None:
    for cut in (1, 5, len(HEARTBEAT) - 1):
        station.send(HEARTBEAT[:cut], fin=False)
        station.send(b"", CONTINUATION, fin=False)
        station.send(HEARTBEAT[cut:], CONTINUATION)
        assert (await station.message())[:2] == [3, "1"]


async def test_control_frames_may_stand_between_fragments(station: RawStation) -> None:
    station.send(HEARTBEAT[:7], fin=False)
    station.send(b"alive?", PING)
    station.send(b"", PONG)
    station.send(HEARTBEAT[7:], CONTINUATION)
    assert await station.read() == (PONG, b"alive?", 0)
    assert (await station.message())[:2] == [3, "1"]


async def test_character_split_over_fragments_is_still_utf8(station: RawStation) -> None:
    data = status("1", "größe")
    cut = data.index("ö".encode()) + 1
    station.send(data[:cut], fin=False)
    station.send(data[cut:], CONTINUATION)
    assert await station.message() == [3, "1", {}]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(b"more", CONTINUATION, True, 0)], 1002),
        ([(b"[2,", TEXT, False, 0), (b"[2,", TEXT, True, 0)], 1002),
        ([(b"\x00\x01", BINARY, True, 0)], 1003),
        ([(b"\x00\x01", BINARY, False, 0)], 1003),
        ([(HEARTBEAT, TEXT, True, 1)], 1002),
        ([(HEARTBEAT, TEXT, True, 2)], 1002),
        ([(HEARTBEAT, TEXT, True, 4)], 1002),
        ([(b"", PING, True, 4)], 1002),
        ([(b"\xff\xfe", TEXT, True, 0)], 1007),
        ([(b'[2,"1","Heartbeat",{"x":"\xed\xa0\x80"}]', TEXT, True, 0)], 1007),
        ([(b"a" * 126, PING, True, 0)], 1002),
        ([(b"", 3, True, 0)], 1002),
        ([(b"", 11, True, 0)], 1002),
        ([(b"", PING, False, 0)], 1002),
    ],
)
async def test_broken_framing_closes_with_its_code(
    station: RawStation, frames: list[tuple[bytes, int, bool, int]], code: int
) -> None:
    for payload, opcode, fin, rsv in frames:
        station.send(payload, opcode, fin=fin, rsv=rsv)
    assert await station.close_code() == code


async def test_unmasked_frame_closes_with_1002(station: RawStation) -> None:
    station.writer.write(b"\x81\x02{}")
    assert await station.close_code() == 1002


async def test_message_of_the_limit_is_taken_and_one_byte_more_closes_with_1009(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("CS1")
    server = await door(max_message_bytes=70_000)
    first = await dial(server)
    await first.upgrade("/ocpp/CS1")
    padding = 70_000 - len(status("1"))
    first.send(status("1", "x" * padding))
    assert (await first.message())[1] == "1"
    first.send(status("1", "x" * (padding + 1)))
    assert await first.close_code() == 1009


@pytest.mark.parametrize("size", [70_001, 300_000, 1_000_000])
async def test_close_code_reaches_a_station_that_is_still_sending(
    door: Door, dial: Dial, gateway: MemoryGateway, size: int
) -> None:
    gateway.add("CS1")
    station = await dial(await door(max_message_bytes=70_000))
    await station.upgrade("/ocpp/CS1")
    data = frame(b"x" * size)
    station.writer.write(data[:1000])
    await gateway.until(lambda: len(gateway.gone) == 1)  # the server has done with it
    for start in range(1000, len(data), 50_000):
        station.writer.write(data[start : start + 50_000])
        await asyncio.wait_for(station.writer.drain(), 30)
    assert await station.close_code() == 1009


async def test_endless_message_is_cut_when_enough_of_it_was_thrown_away(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    gateway.add("CS1")
    server = await door(max_message_bytes=4096, close_timeout_s=30.0)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    station.writer.write(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
    sent = 0
    with pytest.raises(ConnectionError):
        while sent < 64 * 2**20:
            station.writer.write(b"x" * 65536)
            sent += 65536
            await asyncio.wait_for(station.writer.drain(), 30)
    assert sent < 64 * 2**20


async def test_fragments_above_the_limit_close_with_1009(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door(max_message_bytes=10_000))
    await station.upgrade("/ocpp/CS1")
    station.send(b"[" * 6000, fin=False)
    station.send(b"[" * 6000, CONTINUATION, fin=False)
    assert await station.close_code() == 1009


async def test_endless_empty_fragments_close_with_1009(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door(max_message_bytes=1600))
    await station.upgrade("/ocpp/CS1")
    station.send(b"", fin=False)
    for _ in range(102):
        station.send(b"", CONTINUATION, fin=False)
    assert await station.close_code() == 1009


async def test_compressed_messages_are_taken_and_long_answers_compressed(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    station = await deflating(door, dial, gateway, compression_threshold_bytes=150)
    station.send(deflate(HEARTBEAT), rsv=4)
    assert (await station.message())[:2] == [3, "1"]  # short: as it is
    long_id = "i" * 120
    refused = json.encode([2, long_id, "Nothing" + "x" * 200, {}])
    station.send(refused)
    opcode, payload, rsv = await station.read()
    assert (opcode, rsv) == (TEXT, 4)
    assert json.decode(inflate(payload, 10_000))[:3] == [4, long_id, "NotImplemented"]


async def test_compressed_message_in_fragments(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    station = await deflating(door, dial, gateway)
    data = deflate(status("9", "abc" * 100))
    station.send(data[:5], rsv=4, fin=False)
    station.send(data[5:], CONTINUATION)
    assert await station.message() == [3, "9", {}]


async def test_second_fragment_marked_compressed_closes_with_1002(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    station = await deflating(door, dial, gateway)
    data = deflate(HEARTBEAT)
    station.send(data[:5], rsv=4, fin=False)
    station.send(data[5:], CONTINUATION, rsv=4)
    assert await station.close_code() == 1002


@pytest.mark.parametrize("size", [256 * 1024 + 1, 100_000_000])
async def test_bomb_closes_with_1009(door: Door, dial: Dial, gateway: MemoryGateway, size: int) -> None:
    station = await deflating(door, dial, gateway)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (compressor.compress(b" " * size) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(bomb) < 256 * 1024
    station.send(bomb, rsv=4)
    assert await station.close_code() == 1009


async def test_garbage_marked_compressed_closes_with_1002(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    station = await deflating(door, dial, gateway)
    station.send(b"\xff\xff\xff\xff", rsv=4)
    assert await station.close_code() == 1002


async def test_bad_utf8_inside_a_compressed_message_closes_with_1007(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    station = await deflating(door, dial, gateway)
    station.send(deflate(b'["\xff"]'), rsv=4)
    assert await station.close_code() == 1007


async def test_compression_can_be_switched_off(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door(compression=False))
    answer = await station.upgrade("/ocpp/CS1", extensions="permessage-deflate")
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


async def test_close_of_the_station_is_echoed(station: RawStation, gateway: MemoryGateway) -> None:
    station.send((1001).to_bytes(2, "big") + b"bye", CLOSE)
    opcode, payload, _ = await station.read()
    assert (opcode, payload[:2]) == (CLOSE, (1001).to_bytes(2, "big"))
    assert await station.ended()
    await gateway.until(lambda: len(gateway.gone) == 1)


@pytest.mark.parametrize("payload", [b"", (4711).to_bytes(2, "big")])
async def test_close_without_or_with_a_private_code_is_answered(station: RawStation, payload: bytes) -> None:
    station.send(payload, CLOSE)
    opcode, echoed, _ = await station.read()
    assert (opcode, echoed[:2]) == (CLOSE, payload or (1000).to_bytes(2, "big"))
    assert await station.ended()


async def test_idle_station_is_pinged_and_kept_while_it_answers(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door(ping_interval_s=0.05, ping_timeout_s=30.0))
    await station.upgrade("/ocpp/CS1")
    for _ in range(3):
        assert (await station.read())[0] == PING
        station.send(b"", PONG)
    assert not gateway.gone


async def test_station_that_does_not_answer_a_ping_is_cut(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    key = gateway.add("CS1")
    station = await dial(await door(ping_interval_s=0.05, ping_timeout_s=0.1))
    await station.upgrade("/ocpp/CS1")
    assert (await station.read())[0] == PING
    assert await station.ended()
    await gateway.until(lambda: gateway.actors[key].link is None)


async def test_station_that_answers_late_but_talks_is_kept(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door(ping_interval_s=0.05, ping_timeout_s=30.0))
    await station.upgrade("/ocpp/CS1")
    pings = 0
    while pings < 4:
        opcode, _, _ = await station.read()
        if opcode == PING:
            pings += 1
            station.send(HEARTBEAT)  # no pong, but a sign of life
    assert not gateway.gone


async def test_station_that_does_not_answer_our_close_is_cut(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    station = await dial(await door(close_timeout_s=0.05))
    await station.upgrade("/ocpp/CS1")
    station.send(b"", BINARY)
    assert await station.ended()
    await gateway.until(lambda: len(gateway.gone) == 1)


async def test_station_that_does_not_read_is_cut_at_the_bound(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    key = gateway.add("CS1")
    station = await dial(await door(write_buffer_bytes=100_000))
    await station.upgrade("/ocpp/CS1")
    await gateway.until(lambda: key in gateway.actors)
    link = gateway.link(key)
    station.reader._transport.pause_reading()  # type: ignore[attr-defined]
    payload = json.encode({"vendorId": "v", "data": "x" * 200_000})
    calls = [asyncio.ensure_future(link.call("DataTransfer", payload, 0.01)) for _ in range(60)]
    await gateway.until(lambda: gateway.actors[key].link is None)
    outcomes = [call.outcome.value for call in await asyncio.gather(*calls)]
    assert outcomes[-1] == "disconnected"


async def test_flood_is_answered_in_order_and_the_neighbour_gets_its_turns(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    flooder, neighbour = gateway.add("FLOOD"), gateway.add("CALM")
    server = await door(frames_per_turn=4)
    flood, calm = await dial(server), await dial(server)
    await flood.upgrade("/ocpp/FLOOD")
    await calm.upgrade("/ocpp/CALM")
    order: list[str] = []
    await gateway.until(lambda: {flooder, neighbour} <= gateway.actors.keys())
    gateway.on_take = lambda key: order.append("flood" if key == flooder else "calm")
    for number in range(400):
        flood.send(json.encode([2, str(number), "Heartbeat", {}]))
    calm.send(HEARTBEAT)
    assert [(await flood.message())[1] for _ in range(400)] == [str(number) for number in range(400)]
    assert (await calm.message())[1] == "1"
    assert order.index("calm") < 200


async def test_loop_goes_round_while_many_stations_speak_at_once(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    server = await door(messages_per_round=3)
    stations = []
    for number in range(12):
        gateway.add(f"CS{number}")
        station = await dial(server)
        await station.upgrade(f"/ocpp/CS{number}")
        stations.append(station)
    loop = asyncio.get_running_loop()
    order: list[str] = []
    longest = 0

    def took(_: object) -> None:
        nonlocal longest
        if not order:
            loop.call_soon(went_round)
        order.append("message")
        longest = max(longest, len(order))

    def went_round() -> None:
        order.clear()

    gateway.on_take = took
    for _ in range(5):
        for station in stations:
            station.send(status("1") + b" ")
        for station in stations:
            assert await station.message() == [3, "1", {}]
    assert 0 < longest <= 3


async def test_station_that_waits_in_line_keeps_its_order(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    key = gateway.add("CS1")
    server = await door(messages_per_round=1, frames_per_turn=4)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    for number in range(200):
        station.send(status(str(number)))
    assert [(await station.message())[1] for _ in range(200)] == [str(number) for number in range(200)]
    assert [message.message_id for message in gateway.actors[key].messages] == [str(number) for number in range(200)]


async def test_station_is_not_read_while_a_turns_messages_of_it_wait_in_line(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1")
    server = await door(messages_per_round=1, frames_per_turn=4)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    await gateway.until(lambda: key in gateway.actors)
    (session,) = server._sessions
    paused = []
    for number in range(5):
        session._stand_in_line(status(str(number)))
        paused.append(session.paused)
    assert paused == [False, False, False, True, True]
    assert [(await station.message())[1] for _ in range(5)] == [str(number) for number in range(5)]
    assert not session.paused


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_what_waits_in_line_is_taken_before_the_station_leaves(
    door: Door, dial: Dial, gateway: MemoryGateway, says_goodbye: bool
) -> None:
    key = gateway.add("CS1")
    station = await dial(await door(messages_per_round=1))
    await station.upgrade("/ocpp/CS1")
    station.writer.write(b"".join([frame(status(str(number))) for number in range(5)]))
    if says_goodbye:
        station.send(b"\x03\xe8", CLOSE)
    else:
        station.writer.close()
    await gateway.until(lambda: len(gateway.gone) == 1)
    assert [message.message_id for message in gateway.actors[key].messages] == [str(number) for number in range(5)]


async def test_socket_is_not_read_above_its_backlog_and_read_again_below(
    door: Door, dial: Dial, gateway: MemoryGateway
) -> None:
    key = gateway.add("CS1")
    server = await door(max_backlog=4, ping_interval_s=0.05, ping_timeout_s=0.05, tick_s=60.0)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    gateway.held = True
    for number in range(200):
        station.send(status(str(number)))
    await gateway.heard(5)
    (session,) = server._sessions
    assert session.paused
    # Not read, so it cannot answer pings: many deadlines later it is still there and nothing more was taken.
    for later in range(1, 10):
        session.visit(time.monotonic() + later)
    assert not session.closing
    assert len(gateway.actors[key].messages) == 5
    assert not gateway.gone
    gateway.release()
    assert [(await station.message())[1] for _ in range(200)] == [str(number) for number in range(200)]
    assert not session.paused


async def test_station_is_slowed_only_while_the_loop_is_full(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door(rate_limit_per_s=0.001, rate_limit_burst=3, frames_per_turn=1000, loaded_lag_s=1e9)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    for number in range(10):
        await station.call(str(number), "Heartbeat", {})
    (session,) = server._sessions
    server.wheel.stop()
    server.wheel.loaded = True
    for number in range(10):
        station.send(json.encode([2, f"l{number}", "Heartbeat", {}]))
    answered = [(await station.message())[1] for _ in range(4)]
    assert answered == ["l0", "l1", "l2", "l3"]
    assert session.paused
    server.wheel.loaded = False
    server.wheel.start()
    assert [(await station.message())[1] for _ in range(6)] == [f"l{number}" for number in range(4, 10)]


def free_bytes(session: Session) -> int:
    """Room in the read buffer below a session."""
    assert session.transport is not None
    protocol = session.transport.underlying_transport.get_protocol()
    assert isinstance(protocol, StationProtocol)
    return len(protocol.get_buffer(-1))


async def test_buffer_that_a_long_message_needed_is_given_back(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    key = gateway.add("CS1")
    server = await door(ping_interval_s=0)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    await gateway.until(lambda: key in gateway.actors)
    (session,) = server._sessions
    small = free_bytes(session)
    server.wheel.stop()  # only this test visits
    for round_ in range(3):
        station.send(status(f"long{round_}", "x" * 200_000))
        assert (await station.message())[1] == f"long{round_}"
        assert free_bytes(session) > 200_000
        session.visit(time.monotonic())
        assert free_bytes(session) == small
        # The socket goes on as if nothing had happened: messages, fragments, pings, calls of ours.
        assert (await station.call(f"h{round_}", "Heartbeat", {}))[:2] == [3, f"h{round_}"]
        station.send(HEARTBEAT[:7], fin=False)
        station.send(b"!", PING)
        station.send(HEARTBEAT[7:], CONTINUATION)
        assert (await station.read())[:2] == (PONG, b"!")
        assert (await station.message())[:2] == [3, "1"]
        ours = asyncio.ensure_future(gateway.link(key).call("ClearCache", b"{}", 5))
        call = await station.message()
        station.send(json.encode([3, call[1], {"status": "Accepted"}]))
        assert (await ours).payload == b'{"status":"Accepted"}'
    server.wheel.start()
    assert not gateway.gone
    station.hang_up()
    await gateway.until(lambda: len(gateway.gone) == 1)
    assert not server._sessions
    assert server._occupancy.total == 0


async def test_buffer_is_kept_while_part_of_a_message_is_in_it(door: Door, dial: Dial, gateway: MemoryGateway) -> None:
    gateway.add("CS1")
    server = await door(ping_interval_s=0)
    station = await dial(server)
    await station.upgrade("/ocpp/CS1")
    station.send(status("1", "x" * 50_000))
    assert (await station.message())[1] == "1"
    (session,) = server._sessions
    grown = free_bytes(session)
    whole = frame(HEARTBEAT)
    station.writer.write(frame(b"", PING) + whole[:9])
    assert (await station.read())[0] == PONG
    assert free_bytes(session) == grown - 9
    session.visit(time.monotonic())
    assert free_bytes(session) == grown - 9
    station.writer.write(whole[9:])
    assert (await station.message())[:2] == [3, "1"]
