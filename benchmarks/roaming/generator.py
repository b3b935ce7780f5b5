"""The process that asks: pulls pages, sends PATCHes of EVSE status, asks about id tokens. Writes what it saw as JSON.

python -m benchmarks.roaming.generator pull --base URL --path /ocpi/... --token T --pages 100 --limit 1000
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import gc
import json
import sys
import time
from array import array
from datetime import UTC, datetime
from typing import Any

import uvloop

from benchmarks.load.summary import spread
from benchmarks.load.watch import Watch
from benchmarks.roaming import documents
from benchmarks.roaming.wire import Connection, connect, request

_STATUSES = (b"CHARGING", b"AVAILABLE", b"BLOCKED")
_MARK = b'"coordinates":'


async def pull(args: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """Reads pages one after the other, as a partner does."""
    connection = await connect(args.base)
    waited = array("q")
    count = total = received = 0
    offset = args.offset
    memory = watch.mem()
    before = watch.cpu()
    for _ in range(args.pages):
        began = time.perf_counter_ns()
        asked = request("GET", f"{args.path}?offset={offset}&limit={args.limit}", args.token)
        status, headers, body = await connection.ask(asked)
        if status != 200:
            raise SystemExit(f"{args.path} answered {status}: {body[:300]!r}")
        waited.append(time.perf_counter_ns() - began)
        found = body.count(_MARK)
        count += found
        received += len(body)
        offset += found
        total = int(headers.get("x-total-count", "0"))
        if not found or offset >= total:
            break
    cpu = watch.cpu_delta(before, watch.cpu())
    connection.close()
    return {
        "locations": count,
        "total": total,
        "bytes": received,
        "page": spread(waited),
        "cpu": cpu,
        "memory_before": memory,
        "memory_after": watch.mem(),
    }


class Pushes:
    """Partners that send the statuses of their EVSEs: each waits for its answer before it sends the next one."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._turn = 0
        self._began = time.time()
        self.counting = False
        self.stopping = False
        self.waited = array("q")
        self.bad: collections.Counter[str] = collections.Counter()
        self.last: dict[str, tuple[str, str]] = {}
        """What was acknowledged last: status and time, by the path."""
        self.open = 0

    def start(self, connection: Connection) -> None:
        """One partner."""
        self.open += 1
        self._next(connection)

    def _next(self, connection: Connection) -> None:
        args = self._args
        if self.stopping:
            self.open -= 1
            return
        turn = self._turn
        self._turn += 1
        number = turn * 7919 % args.locations
        at = turn // args.locations % 2
        stamp = datetime.fromtimestamp(self._began + turn / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        status = _STATUSES[turn // args.locations % len(_STATUSES)].decode()
        path = f"{args.path}/LOC{number}/{documents.uid(number, at)}"
        if args.method == "PUT":
            evse = documents.location(number)["evses"][at] | {"status": status, "last_updated": stamp}
            body = json.dumps(evse).encode()
        else:
            body = b'{"status":"%b","last_updated":"%b"}' % (status.encode(), stamp.encode())
        began = time.perf_counter_ns()

        def answered(http_status: int, _: dict[str, str], answer: bytes) -> None:
            if http_status not in (200, 201) or b'"status_code":1000' not in answer.replace(b" ", b""):
                self.bad[f"{http_status} {answer[:120]!r}"] += 1
                if http_status == 0:
                    self.open -= 1
                    return
            else:
                self.last[path] = (status, stamp)
                if self.counting:
                    self.waited.append(time.perf_counter_ns() - began)
            self._next(connection)

        connection.send(request(args.method, path, args.token, body), answered)


async def push(args: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """So many partners at once, closed loop."""
    pushes = Pushes(args)
    connections = [await connect(args.base) for _ in range(args.connections)]
    for connection in connections:
        pushes.start(connection)
    await asyncio.sleep(args.warmup)
    pushes.counting = True
    before = watch.cpu()
    await asyncio.sleep(args.duration)
    pushes.counting = False
    cpu = watch.cpu_delta(before, watch.cpu())
    pushes.stopping = True
    while pushes.open:
        await asyncio.sleep(0.01)
    lacking = await _lacking(args, connections[0], pushes.last)
    for connection in connections:
        connection.close()
    return {
        "answered": len(pushes.waited),
        "per_s": round(len(pushes.waited) / cpu["wall_s"], 1),
        "latency": spread(pushes.waited),
        "bad": dict(pushes.bad.most_common(5)),
        "looked_at": min(args.look, len(pushes.last)),
        "lacking": lacking,
        "cpu": cpu,
    }


async def _lacking(args: argparse.Namespace, connection: Connection, last: dict[str, tuple[str, str]]) -> int:
    """How many of some EVSEs do not stand as it was acknowledged last."""
    lacking = 0
    for path in list(last)[-args.look :]:
        _, _, body = await connection.ask(request("GET", path, args.token))
        data = json.loads(body).get("data") or {}
        evse = data[0] if isinstance(data, list) and data else data
        lacking += not isinstance(evse, dict) or evse.get("status") != last[path][0]
    return lacking


class Questions:
    """Questions that fall due evenly; each goes over a connection that is free, or waits for one; its latency counts from when it was due."""

    def __init__(self, args: argparse.Namespace, connections: list[Connection]) -> None:
        self._args = args
        self._free = list(connections)
        self._due: collections.deque[tuple[int, int]] = collections.deque()
        self._asked = 0
        self.waited = array("q")
        self.late = array("q")
        self.open = 0
        self.counting_from = 0
        self.verdicts: collections.Counter[str] = collections.Counter()

    def due(self, at: int) -> None:
        """Another one is due."""
        self._due.append((at, self._asked))
        self._asked += 1
        self._go()

    def _go(self) -> None:
        while self._due and self._free:
            at, number = self._due.popleft()
            self._send(self._free.pop(), at, number)

    def _send(self, connection: Connection, at: int, number: int) -> None:
        args = self._args
        self.open += 1
        place = number * 7919 % args.locations
        body = b'{"location_id":"LOC%d","evse_uids":["%d-0"]}' % (place, place)
        path = f"{args.path}/card{1 + number * 37 % args.tokens}/authorize?type=RFID"
        if at >= self.counting_from:
            self.late.append(time.perf_counter_ns() - at)

        def answered(status: int, _: dict[str, str], answer: bytes) -> None:
            self.open -= 1
            verdict = "ALLOWED" if b'"allowed":"ALLOWED"' in answer else f"{status} {answer[:100]!r}"
            self.verdicts[verdict] += 1
            if at >= self.counting_from:
                self.waited.append(time.perf_counter_ns() - at)
            self._free.append(connection)
            self._go()

        connection.send(request("POST", path, args.token, body), answered)


async def authorize(args: argparse.Namespace, watch: Watch) -> dict[str, Any]:
    """Open loop at a rate."""
    connections = [await connect(args.base) for _ in range(args.connections)]
    questions = Questions(args, connections)
    begin = time.perf_counter_ns()
    questions.counting_from = begin + int(args.warmup * 1e9)
    end = questions.counting_from + int(args.duration * 1e9)
    step = 1e9 / args.rate
    number = 0
    before: dict[str, float] | None = None
    while True:
        now = time.perf_counter_ns()
        if before is None and now >= questions.counting_from:
            before = watch.cpu()
        due = int(begin + number * step)
        if due >= end:
            break
        if due > now:
            await asyncio.sleep((due - now) / 1e9)
            continue
        questions.due(due)
        number += 1
    assert before is not None
    cpu = watch.cpu_delta(before, watch.cpu())
    until = time.monotonic() + 10
    while questions.open and time.monotonic() < until:
        await asyncio.sleep(0.01)
    for connection in connections:
        connection.close()
    return {
        "rate": args.rate,
        "answered": len(questions.waited),
        "unanswered": questions.open,
        "latency": spread(questions.waited),
        "generator_late": spread(questions.late),
        "verdicts": dict(questions.verdicts.most_common(5)),
        "cpu": cpu,
    }


ACTS = {"pull": pull, "push": push, "authorize": authorize}


def main() -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("act", choices=ACTS)
    p.add_argument("--base", required=True)
    p.add_argument("--path", required=True)
    p.add_argument("--token", required=True, help="as it stands in the header")
    p.add_argument("--method", default="PATCH")
    p.add_argument("--watch", action="append", help="see ocpp_load.py")
    p.add_argument("--pages", type=int, default=1_000_000)
    p.add_argument("--limit", type=int, default=1000)
    p.add_argument("--offset", type=int, default=0)
    p.add_argument("--locations", type=int, default=100_000)
    p.add_argument("--tokens", type=int, default=10_000)
    p.add_argument("--connections", type=int, default=50)
    p.add_argument("--rate", type=float, default=500)
    p.add_argument("--warmup", type=float, default=1)
    p.add_argument("--duration", type=float, default=5)
    p.add_argument("--look", type=int, default=200, help="EVSEs that are read back")
    args = p.parse_args()
    gc.disable()

    async def run() -> dict[str, Any]:
        return await ACTS[args.act](args, Watch(args.watch))

    json.dump(uvloop.run(run()), sys.stdout)


if __name__ == "__main__":
    main()
