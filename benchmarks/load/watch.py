"""CPU time and memory of groups of processes, and how busy the machine is besides."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psutil


def log(*words: object) -> None:
    """A line for the person who watches."""
    print(*words, file=sys.stderr, flush=True)


class Watch:
    """CPU time and memory of groups of processes (a pid and all of its children).

    Args:
        specs: `name=pid[,pid]`.
    """

    def __init__(self, specs: Iterable[str] | None) -> None:
        self.groups: dict[str, list[int]] = {}
        for spec in specs or []:
            name, _, pids = spec.partition("=")
            self.groups[name] = [int(pid) for pid in pids.split(",") if pid]
        self._me = psutil.Process()

    def _processes(self, group: str) -> Iterator[psutil.Process]:
        """A group's processes; one that is named in a group of its own is counted there alone."""
        elsewhere = {pid for name, pids in self.groups.items() if name != group for pid in pids}
        for pid in self.groups[group]:
            try:
                waiting = [psutil.Process(pid)]
                while waiting:
                    process = waiting.pop()
                    yield process
                    waiting += [child for child in process.children() if child.pid not in elsewhere]
            except psutil.NoSuchProcess:
                continue

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far of each group, of this process (`_generator`) and of the machine."""
        out: dict[str, float] = {}
        for name in self.groups:
            total = 0.0
            for process in self._processes(name):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                # children_*: what children that have ended used (closed database backends)
                total += times.user + times.system + times.children_user + times.children_system
            out[name] = total
        times = self._me.cpu_times()
        out["_generator"] = times.user + times.system
        with open("/proc/stat") as file:
            ticks = [int(word) for word in file.readline().split()[1:]]
        hertz = os.sysconf("SC_CLK_TCK")
        out["_idle"] = (ticks[3] + ticks[4]) / hertz
        out["_steal"] = ticks[7] / hertz
        out["_total"] = sum(ticks[:8]) / hertz
        out["_t"] = time.monotonic()
        return out

    def cpu_delta(self, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
        """CPU seconds between two readings; `others` is everybody who is watched by nobody."""
        seconds = {name: after[name] - before[name] for name in [*self.groups, "_generator"]}
        idle, steal, total = (after[name] - before[name] for name in ("_idle", "_steal", "_total"))
        others = max(0.0, total - idle - steal - sum(seconds.values()))
        return {
            "wall_s": round(after["_t"] - before["_t"], 3),
            "cpu_s": {name.lstrip("_"): round(value, 3) for name, value in seconds.items()}
            | {"others": round(others, 3), "idle": round(idle, 3), "steal": round(steal, 3)},
            "loadavg1": round(os.getloadavg()[0], 2),
        }

    def mem(self) -> dict[str, dict[str, int]]:
        """Resident and proportional memory of each group, in KiB."""
        out = {}
        for name in self.groups:
            rss = pss = count = 0
            for process in self._processes(name):
                try:
                    rss += process.memory_info().rss
                    count += 1
                    with open(f"/proc/{process.pid}/smaps_rollup") as file:
                        pss += next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
                except (psutil.NoSuchProcess, OSError):
                    continue
            out[name] = {"procs": count, "rss_kib": rss // 1024, "pss_kib": pss // 1024}
        return out


async def wait_quiet(watch: Watch, percent: float, at_most_s: float) -> float:
    """Waits until everybody else uses less than `percent` of one core; returns the seconds it took."""
    if not percent:
        return 0.0
    begin = time.monotonic()
    while True:
        before = watch.cpu()
        await asyncio.sleep(2.0)
        delta = watch.cpu_delta(before, watch.cpu())
        if 100 * delta["cpu_s"]["others"] / delta["wall_s"] < percent:
            break
        if time.monotonic() - begin > at_most_s:
            log("  (machine not quiet, going on)")
            break
    return round(time.monotonic() - begin, 1)
