"""Frames that no proper station sends, at the real server, while neighbours charge: clear answers, log lines, no memory, no harm."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any, cast

import pytest
from msgspec import json

from tests.faults.test_bad_rows import dial, plug
from tests.faults.town import VERSIONS, database, town
from tests.ocpp.hostile import FORGIVEN, HOSTILE
from tests.support.raw_station import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawStation, frame
from tests.support.served import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

_START = b'[2,"m","StartTransaction",{"connectorId":%b,"idTag":"T","meterStart":%b,"timestamp":"2026-05-01T12:00:00Z"}]'
_METER = b'[2,"m","MeterValues",{"connectorId":1,"transactionId":%b,"meterValue":[{"timestamp":%b,"sampledValue":[{"value":%b}]}]}]'
MORE: dict[str, bytes] = {
    **{
        f"start at {number[:12]!r}": _START % (number, b"0")
        for number in (b"2147483648", b"-1", b"1e400000", b"1.5", b"9" * 4000, b"null", b'"1"', b"true", b"[1]")
    },
    **{
        f"meter of {number[:12]!r}": _START % (b"1", number)
        for number in (b"9223372036854775808", b"-9" + b"9" * 40, b"1e308", b"1e400000", b"NaN", b'"sNaN"')
    },
    **{
        f"value {text[:12]!r}": _METER % (b"1", b'"2026-05-01T12:00:00Z"', text)
        for text in (
            b'"sNaN"',
            b'"1E+999999"',
            b'"-Infinity"',
            b'"1e400000"',
            b'"' + b"9" * 5000 + b'"',
            b'"0x10"',
            b'"\\u0000"',
        )
    },
    **{
        f"time {text[:12]!r}": _METER % (b"1", text, b'"1"')
        for text in (
            b'"9999-12-31T23:59:59.999999999Z"',
            b'"0000-00-00T00:00:00Z"',
            b'"+275760-09-13"',
            b"1e400000",
            b'""',
        )
    },
    "duplicate keys": b'[2,"m","Authorize",{"idTag":"A","idTag":"B","idTag":5}]',
    "a thousand samples": _METER % (b"1", b'"2026-05-01T12:00:00Z"', b'"1"' + b'},{"value":"3"' * 1000),
    "id of 37 characters": b'[2,"' + b"x" * 37 + b'","Heartbeat",{}]',
    "depth in custom data": b'[2,"m","Heartbeat",{"customData":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}]",
    "surrogate pair in halves": b'[2,"m","Authorize",{"idTag":"\\ud83d","x":"\\ude00"}]',
    "overlong UTF-8": b'[2,"m","Authorize",{"idTag":"\xc0\x80"}]',
}

ON_THE_WIRE: dict[str, tuple[bytes, set[int]]] = {
    "binary message": (frame(b"\x00\x01\x02", BINARY), {1003}),
    "text that is no UTF-8": (frame(b"\xff\xfe\xfd", TEXT), {1007}),
    "message past the limit": (frame(b"x" * 300_000, TEXT), {1009}),
    "fragments past the limit": (
        frame(b"x" * 200_000, TEXT, fin=False) + frame(b"x" * 200_000, CONTINUATION, fin=True),
        {1009},
    ),
    "continuation of nothing": (frame(b"{}", CONTINUATION), {1002}),
    "reserved bit": (frame(b"[]", TEXT, rsv=2), {1002}),
    "unknown opcode": (frame(b"", 5), {1002}),
    "ping of 200 bytes": (frame(b"x" * 200, PING), {1002}),
    "ping in pieces": (frame(b"x", PING, fin=False), {1002}),
    "without a mask": (b"\x81\x02[]", {1002}),
    "length of 2^63": (b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"mask", {1002, 1009}),
}


def harmless(message_id: str) -> bytes:
    """A message that every version has and whose answer waits for its commit, so for the answers to all before it."""
    return json.encode([2, message_id, "DataTransfer", {"vendorId": "barrier", "data": message_id}])


async def outcome(station: RawStation, data: bytes, number: int) -> list[Any]:
    """What came back for a frame before a message behind it was answered: answers, or the close code as an int."""
    behind = f"behind-{number}"
    try:
        station.send(data)
        station.send(harmless(behind))
        found: list[Any] = []
        while True:
            opcode, payload, _ = await station.read()
            if opcode == CLOSE:
                return [int.from_bytes(payload[:2], "big")]
            if opcode in (PING, PONG):
                continue
            answer = cast(list[Any], json.decode(payload))
            if answer[1] == behind:
                return found
            found.append(answer)
    except (ConnectionError, asyncio.IncompleteReadError):
        return [1006]


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_hostile_frame_is_answered_or_closed_clearly_and_the_neighbours_charge_on(
    shared_server: Served, version: str
) -> None:
    server, name = shared_server, f"HOSTILE-{version}"
    async with town(server, 3, prefix=f"A-{version}-") as neighbours:
        neighbours.charge()
        station = await plug(server, name, version)
        refused = 0
        for number, (kind, data) in enumerate((HOSTILE | FORGIVEN | MORE).items()):
            if number % 15 == 14:  # a socket logs its first complaints only
                station.hang_up()
                station = await dial(server, name, version)
            found = await outcome(station, data, number)
            if found and isinstance(found[0], int):
                assert found[0] in ((1009,) if len(data) > 256 * 1024 else (1003, 1007)), (kind, found)
                refused += 1
                station.hang_up()
                station = await dial(server, name, version)
                continue
            for answer in found:
                assert answer[0] in (3, 4), (kind, answer)
                if answer[0] == 4:
                    assert answer[2], kind
                    assert answer[3], f"{kind}: an error says what is wrong"
                    refused += 1
            assert len(found) <= 1, (kind, found)
            # Answers and SENDs get none; everything else gets its one answer.
            silent = data.lstrip()[:2] in (b"[3", b"[4") or (version == "2.1" and data[:2] in (b"[5", b"[6"))
            assert found or silent, kind
        for kind, (data, codes) in ON_THE_WIRE.items():
            station.hang_up()
            station = await dial(server, name, version)
            station.writer.write(data)
            refused += 1
            while (read := await station.read())[0] != CLOSE:
                pass
            assert int.from_bytes(read[1][:2], "big") in codes, (kind, read)
        station.hang_up()
        lines = [line for line in server.log() if line.get("station") == name]
        told = [line for line in lines if line["event"] in ("ocpp_frame_refused", "ocpp_disconnected")]
        assert len(told) >= refused
        assert all(line["reason"] or line["code"] for line in told)
        assert {1003, 1007, 1009} <= {line.get("code") for line in told}
        assert [line for line in server.log() if line["level"] in ("error", "critical")] == []
        await neighbours.finish()
        assert [each.counters.connects for each in neighbours.stations] == [1, 1, 1]
        async with database(server.database_url()) as db:
            await neighbours.check_all(db)


def closes(data: bytes) -> bool:
    """Whether a message ends its socket: it is too large, or no text at all."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return len(data) > 256 * 1024


def rounds(frames: dict[str, bytes]) -> Iterator[list[bytes]]:
    """The corpus again and again; the dear frames (deep, near the limit) every tenth time."""
    known = [data for data in frames.values() if not closes(data)]
    small = [data for data in known if len(data) < 8192]
    number = 0
    while True:
        number += 1
        yield known if number % 10 == 0 else small


@pytest.mark.parametrize(("frames", "bound_mib"), [(6_000, 5.0), pytest.param(100_000, 5.0, marks=pytest.mark.soak)])
async def test_hostile_frames_leave_no_memory_behind(shared_server: Served, frames: int, bound_mib: float) -> None:
    server = shared_server
    async with town(server, 3, prefix="B-") as neighbours:
        neighbours.charge()
        stations = {version: await plug(server, f"EVIL-{version}", version) for version in VERSIONS}

        async def send(count: int) -> None:
            per_station = count // len(stations)

            async def one(version: str) -> None:
                sent = 0
                for number, corpus in enumerate(rounds(HOSTILE | MORE)):
                    if number % 50 == 49:
                        for data in filter(closes, (HOSTILE | MORE).values()):
                            stations[version].send(data)
                            assert await stations[version].ended()
                            stations[version] = await dial(server, f"EVIL-{version}", version)
                    for data in corpus:
                        stations[version].send(data)
                    await _barrier(stations[version], f"{number}-{sent}")
                    sent += len(corpus)
                    if sent >= per_station:
                        return

            await asyncio.gather(*(one(version) for version in stations))

        await send(max(3_000, frames // 5))
        before = server.rss()
        await send(frames)
        grown = server.rss() - before
        for station in stations.values():
            station.hang_up()
        assert grown < bound_mib * 2**20, f"{grown / 2**20:.1f} MiB more after {frames} frames"
        await neighbours.finish()
        async with database(server.database_url()) as db:
            await neighbours.check_all(db)


async def _barrier(station: RawStation, name: str) -> None:
    """Returns when everything sent before was answered."""
    station.send(harmless(name))
    async with asyncio.timeout(120):
        while True:
            try:
                answer = await station.message()
            except TimeoutError:
                continue
            if answer[1] == name:
                return
