from __future__ import annotations

import asyncio

from chargeplane.simulator.timers import Timers


async def test_timers_run_in_order_of_their_time() -> None:
    timers = Timers(asyncio.get_running_loop())
    seen: list[int] = []
    done = asyncio.Event()
    timers.after(0.05, lambda: (seen.append(3), done.set()))  # type: ignore[func-returns-value]
    timers.after(0.001, lambda: seen.append(1))
    timers.after(0.02, lambda: seen.append(2))
    await asyncio.wait_for(done.wait(), 30)
    assert seen == [1, 2, 3]


async def test_later_timer_set_by_a_callback_does_not_delay_earlier_ones() -> None:
    timers = Timers(asyncio.get_running_loop())
    done = asyncio.Event()
    timers.after(0.001, lambda: timers.after(60, lambda: None))
    timers.after(0.02, done.set)
    await asyncio.wait_for(done.wait(), 30)


async def test_cancelled_timer_does_not_run() -> None:
    timers = Timers(asyncio.get_running_loop())
    seen: list[int] = []
    done = asyncio.Event()
    first = timers.after(0.005, lambda: seen.append(1))
    timers.after(0.02, done.set)
    first.cancel()
    await asyncio.wait_for(done.wait(), 30)
    assert seen == []
    first.cancel()
