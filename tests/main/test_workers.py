"""Several processes are one server: whoever REST asks reaches every station, and nobody outlives the parent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

KEY = "an-admin-key-of-the-test"


class Parent:
    """`chargeplane serve --workers 2` as a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.process: asyncio.subprocess.Process
        self.ocpp = self.rest = ""

    async def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHARGEPLANE_")}
        environment |= {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "CHARGEPLANE_DATA_DIR": str(self.data_dir),
            "CHARGEPLANE_BIND": "127.0.0.1",
            "CHARGEPLANE_HTTP_PORT": "0",
            "CHARGEPLANE_OCPP_PORT": "0",
            "CHARGEPLANE_ADMIN_KEY": KEY,
            "CHARGEPLANE_WORKERS": "2",
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from chargeplane.main.cli.root import main; main(['serve'])",
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            async for raw in self.process.stdout:
                found = re.search(r"OCPP at (ws://\S+)/STATION_ID, REST at (http://\S+)/v1", raw.decode())
                if found:
                    self.ocpp, self.rest = found[1], found[2]
                    return
        raise AssertionError(f"The server ended with status {await self.process.wait()}.")

    def workers(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # one that has just died
                if "chargeplane.main.workers" in child.cmdline():
                    found.append(child)
        return found

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        # A connection each: any worker may get it.
        async with httpx.AsyncClient(
            base_url=self.rest, headers={"Authorization": f"Bearer {KEY}"}, timeout=60
        ) as client:
            return await client.request(method, f"/v1{path}", json=body, timeout=30)

    async def station(self, name: str) -> ClientConnection:
        made = await self.ask("POST", "/charging-stations", {"station_id": name, "security_profile": 0})
        assert made.status_code == 201, made.text
        # Known to all workers, whichever gets the socket.
        return await websockets.connect(f"{self.ocpp}/{name}", subprotocols=[websockets.Subprotocol("ocpp1.6")])


@pytest.fixture
async def parent(data_dir: Path) -> AsyncIterator[Parent]:
    one = Parent(data_dir)
    await one.start()
    yield one
    if one.process.returncode is None:
        one.process.terminate()
        await asyncio.wait_for(one.process.wait(), 60)


async def _boot(socket: ClientConnection) -> None:
    await socket.send('[2,"1","BootNotification",{"chargePointVendor":"v","chargePointModel":"m"}]')
    while json.loads(await asyncio.wait_for(socket.recv(), 30))[0] != 3:
        pass


async def _answer(socket: ClientConnection, name: str) -> None:
    async for frame in socket:
        message = json.loads(frame)
        if message[0] == 2:
            answer: dict[str, object] = {"status": "Accepted"}
            if message[2] == "GetConfiguration":
                answer = {"configurationKey": [{"key": "Name", "readonly": True, "value": name}]}
            await socket.send(json.dumps([3, message[1], answer]))


async def test_every_station_is_reached_through_every_worker(parent: Parent) -> None:
    answering = []
    for number in range(6):
        socket = await parent.station(f"CS-{number}")
        await _boot(socket)
        answering.append(asyncio.create_task(_answer(socket, f"CS-{number}")))
    for number in range(6):
        for _ in range(3):
            told = await parent.ask(
                "POST", f"/charging-stations/CS-{number}/calls", {"action": "GetConfiguration", "payload": {}}
            )
            assert told.status_code == 200, told.text
            assert told.json()["payload"]["configurationKey"][0]["value"] == f"CS-{number}"
    for task in answering:
        task.cancel()


async def test_events_of_all_workers_reach_a_watcher_of_one(parent: Parent) -> None:
    sockets = [await parent.station(f"CS-{number}") for number in range(6)]
    for socket in sockets:
        await _boot(socket)
    told: dict[str, list[str]] = {}
    async with (
        httpx.AsyncClient(base_url=parent.rest, headers={"Authorization": f"Bearer {KEY}"}, timeout=60) as client,
        client.stream("GET", "/v1/events?type=transaction,id_token", timeout=60) as stream,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        changed = 6
        for number, socket in enumerate(sockets):
            await socket.send(
                json.dumps([2, "s", "StartTransaction", {"connectorId": 1, "idTag": f"T{number}", "meterStart": 0,
                            "timestamp": "2026-01-31T12:00:00Z"}])
            )  # fmt: skip
            answer: list[Any] = []
            while answer[:2] != [3, "s"]:
                answer = json.loads(await asyncio.wait_for(socket.recv(), 30))
            await socket.send(
                json.dumps([2, "e", "StopTransaction", {"transactionId": answer[2]["transactionId"], "meterStop": 5,
                            "timestamp": "2026-01-31T12:05:00Z"}])
            )  # fmt: skip
        for number in range(changed):  # by now the other worker knows that somebody watches
            made = await parent.ask("POST", "/id-tokens", {"id_token": f"CARD-{number}"})
            assert made.status_code == 201, made.text
        seen = 0
        async with asyncio.timeout(30):
            async for line in lines:
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    if event["type"].startswith("id_token"):
                        seen += 1
                    elif event["type"] != "transaction.updated":
                        told.setdefault(event["station_id"], []).append(event["type"])
                if seen == changed and sum(map(len, told.values())) >= 12:
                    break
    assert told == {f"CS-{number}": ["transaction.started", "transaction.ended"] for number in range(6)}


async def test_metrics_of_all_workers_are_on_one_page_whichever_answers(parent: Parent) -> None:
    for number in range(6):
        await _boot(await parent.station(f"CS-{number}"))

    def figures(page: str, name: str) -> dict[str, float]:
        found = re.findall(rf'^{name}{{[^}}]*worker="(\d+)"[^}}]*}} (\S+)$', page, re.MULTILINE)
        sums: dict[str, float] = {}
        for worker, value in found:
            sums[worker] = sums.get(worker, 0) + float(value)
        return sums

    for _ in range(6):  # a connection each: any worker may answer
        async with httpx.AsyncClient(base_url=parent.rest, timeout=60) as client:
            page = (await client.get("/metrics")).text
        assert figures(page, "chargeplane_worker_up") == {"0": 1.0, "1": 1.0}
        assert sum(figures(page, "chargeplane_ocpp_connections").values()) == 6
        assert sum(figures(page, "chargeplane_ocpp_call_seconds_count").values()) >= 6
        assert set(figures(page, "process_resident_memory_bytes")) == {"0", "1"}
        assert page.count("# TYPE chargeplane_ocpp_connections gauge") == 1


async def test_worker_that_dies_is_started_again(parent: Parent) -> None:
    victim, other = parent.workers()
    victim.send_signal(signal.SIGKILL)
    async with asyncio.timeout(60):
        while {one.pid for one in parent.workers()} in ({other.pid}, {victim.pid, other.pid}):
            await asyncio.sleep(0.05)
    socket = await parent.station("CS-1")
    await _boot(socket)
    await socket.close()


async def test_no_worker_outlives_a_killed_parent_and_the_next_one_goes_on(parent: Parent) -> None:
    await (await parent.station("CS-1")).close()
    workers = parent.workers()
    parent.process.kill()
    await parent.process.wait()
    gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, 30)
    assert (len(gone), alive) == (2, [])
    await parent.start()
    found = await parent.ask("GET", "/charging-stations/CS-1")
    assert found.status_code == 200


async def test_sigterm_ends_everything(parent: Parent) -> None:
    processes = psutil.Process(parent.process.pid).children(recursive=True)
    parent.process.terminate()
    assert await asyncio.wait_for(parent.process.wait(), 60) == 0
    with contextlib.suppress(psutil.NoSuchProcess):
        _gone, alive = await asyncio.to_thread(psutil.wait_procs, processes, 10)
        assert alive == []
