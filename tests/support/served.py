"""The server as a process of its own: started, asked, killed and stopped by tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from chargeplane.store.embedded import Cluster

KEY = "an-admin-key-of-the-tests"
_READY = re.compile(
    r"OCPP at ws://\S+?:(\d+)/ocpp/STATION_ID, REST at http://\S+?:(\d+)/v1(?:.* wss://\S+?:(\d+)/ocpp/STATION_ID)?"
)
_SERVE = "from chargeplane.main.cli.root import main; main(['serve'])"


class Served:
    """`chargeplane serve` on a data folder; the ports stay the same over restarts.

    Args:
        data_dir: with room for the server's log beside the data.
        settings: `CHARGEPLANE_*` variables without the prefix.
    """

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = {
            "OCPP_PORT": "0",
            "OCPPS_PORT": "0",
            "HTTP_PORT": "0",
            "ADMIN_KEY": KEY,
            "BIND": "127.0.0.1",
            **settings,
        }
        self.log_file = data_dir / f"server-{id(self)}.log"
        self.process: asyncio.subprocess.Process
        self._client: httpx.AsyncClient | None = None

    @property
    def pid(self) -> int:
        """Of the server's process."""
        return self.process.pid

    @property
    def ocpp_port(self) -> int:
        """Where stations connect."""
        return int(self.settings["OCPP_PORT"])

    @property
    def url(self) -> str:
        """Where stations connect, without their ids."""
        return f"ws://127.0.0.1:{self.ocpp_port}/ocpp"

    @property
    def rest(self) -> str:
        """Base of the REST resources' addresses, without `/v1`."""
        return f"http://127.0.0.1:{self.settings['HTTP_PORT']}"

    async def launch(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the process."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("CHARGEPLANE_")}
        variables |= {f"CHARGEPLANE_{name}": value for name, value in self.settings.items()}
        variables |= {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "CHARGEPLANE_LOG_FORMAT": "json",
        }
        variables |= {"CHARGEPLANE_DATA_DIR": str(self.data_dir), **(environment or {})}
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SERVE, env=variables, stdout=asyncio.subprocess.PIPE, stderr=log
            )

    async def start(self, timeout_s: float = 120.0) -> None:
        """Starts the process and waits until stations can be taken."""
        await self.launch()
        assert self.process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async for raw in self.process.stdout:
                    found = _READY.search(raw.decode())
                    if found:
                        self.settings["OCPP_PORT"], self.settings["HTTP_PORT"] = found[1], found[2]
                        self.settings["OCPPS_PORT"] = found[3] or "0"
                        return
        raise AssertionError(f"The server did not start:\n{self.log_file.read_text()[-4000:]}")

    def kill(self) -> None:
        """`kill -9`, at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def kill_with_postgres(self) -> None:
        """`kill -9` of the server, of the postmaster and of all its children."""
        self.kill()
        self.kill_postgres()

    def kill_postgres(self) -> None:
        """`kill -9` of the postmaster and of all its children."""
        running = Cluster(self.data_dir).running()
        assert running is not None
        postmaster = psutil.Process(running.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    async def gone(self, timeout_s: float = 120.0) -> int:
        """Waits for the end of the process; its exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(timeout_s):
            await self.process.stdout.read()
            return await self.process.wait()

    async def stop(self, timeout_s: float = 120.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.gone(timeout_s)

    async def close(self) -> None:
        """Ends what still runs."""
        if hasattr(self, "process") and self.process.returncode is None:
            self.kill()
            await self.gone()
        if self._client is not None:
            await self._client.aclose()

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """The answer to a request; `path` begins with `/`."""
        if self._client is None:
            self._client = httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
        try:
            return await self._client.request(method, self.rest + path, json=body)
        except (httpx.RemoteProtocolError, httpx.ReadError):  # a connection kept from before a restart
            return await self._client.request(method, self.rest + path, json=body)

    async def items(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list, page after page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = await self.ask("GET", f"{path}{'&' if '?' in path else '?'}limit=200{cursor}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["items"]
            if not page.get("next_cursor"):
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def database_url(self) -> str:
        """Of the embedded PostgreSQL."""
        return Cluster(self.data_dir).url()

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The server's log lines, those of one event where it is given."""
        lines = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if event is None or found.get("event") == event:
                    lines.append(found)
        return lines

    def rss(self) -> int:
        """Resident bytes of the process."""
        return int(psutil.Process(self.pid).memory_info().rss)


@contextlib.asynccontextmanager
async def served(data_dir: Path, **settings: str) -> AsyncIterator[Served]:
    """A server that takes stations; whatever runs of it is killed afterwards."""
    server = Served(data_dir, **settings)
    try:
        await server.start()
        yield server
    finally:
        await server.close()
