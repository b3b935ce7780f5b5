"""Partners are told as fast as the loop has time for, and never not at all."""

from __future__ import annotations

import asyncio
import time

import pytest

from chargeplane.app.roaming.pace import Pace


@pytest.mark.parametrize("busy_s", [0.0, 0.02], ids=["loop with time", "loop without"])
async def test_turns_follow_how_late_the_loop_is_and_all_come(busy_s: float) -> None:
    pace = Pace()
    pace.start()
    first = pace.per_tick
    ends = asyncio.Event()

    async def hog() -> None:
        while not ends.is_set():
            time.sleep(busy_s)
            await asyncio.sleep(0)

    hogging = asyncio.create_task(hog()) if busy_s else None
    async with asyncio.timeout(60):
        await asyncio.gather(*(pace.turn() for _ in range(100)))
    ends.set()
    if hogging is not None:
        await hogging
        assert pace.per_tick < first
    pace.stop()


async def test_nobody_waits_for_a_turn_once_it_has_stopped() -> None:
    pace = Pace()
    pace.start()
    waiting = [asyncio.create_task(pace.turn()) for _ in range(500)]
    await asyncio.sleep(0)
    pace.stop()
    await asyncio.gather(*waiting)
    await pace.turn()
