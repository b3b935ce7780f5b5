"""ocpp.md, item 9, and floods: what one station does costs it time, never its neighbours their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from msgspec import json

from tests.support.field import Station, World, at, now, sampled

_FOR_S = 1.5


def heartbeat(number: int) -> bytes:
    return json.encode([2, f"h{number}", "Heartbeat", {}])


def meter_values(number: int) -> bytes:
    values = [sampled("1.6", number, at(number / 60)) for _ in range(5)]
    return json.encode([2, f"v{number}", "MeterValues", {"connectorId": 1, "meterValue": values}])


def invalid(number: int) -> bytes:
    return (b'[2,"i%d","MeterValues",{"connectorId":"one","meterValue":7}]', b"[2,,,", b'{"a":1}')[number % 3] % (
        (number,) if number % 3 == 0 else ()
    )


async def _flood(station: Station, frame: Callable[[int], bytes], sent: list[int]) -> None:
    """Sends as fast as the server reads."""
    for number in range(1_000_000):
        station.raw.send(frame(number))
        sent[0] += 1
        if number % 50 == 0:
            await station.raw.writer.drain()
            await asyncio.sleep(0)


@pytest.mark.parametrize("frame", [heartbeat, meter_values, invalid])
async def test_flood_of_one_station_slows_it_and_not_its_neighbours(
    world: World, frame: Callable[[int], bytes]
) -> None:
    flooder = await world.station("1.6")
    neighbours = [await world.station(version) for version in ("1.6", "2.0.1", "2.1")]
    sent = [0]
    flood = asyncio.create_task(_flood(flooder, frame, sent))
    waits: list[float] = []
    until = time.monotonic() + _FOR_S
    try:
        while time.monotonic() < until or len(waits) < 9:
            for neighbour in neighbours:
                began = time.monotonic()
                await neighbour.status("Available", now())
                waits.append(time.monotonic() - began)
    finally:
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)
    assert sent[0] > 50
    # every neighbour went on being answered, commit and all, and none waited for the flood to end
    assert max(waits) < 20.0, sorted(waits)[-5:]
    assert all(neighbour.close_code is None for neighbour in neighbours)
