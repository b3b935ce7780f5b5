"""The server, the peer and the generator as processes of their own, and where they are reached."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.watch import log
from chargeplane.store.embedded import Cluster

ROOT = Path(__file__).resolve().parent.parent.parent
ADMIN_KEY = "benchmark-admin-key-0001"
STATION_PASSWORD = "benchmark-password-0001"
VERSIONS = ("1.6", "2.0.1", "2.1")


class Failed(Exception):
    """A process did not do what was asked; the sentence says which and shows its last words."""


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def end(process: subprocess.Popen[Any], name: str, patience_s: float = 60) -> None:
    """Asks a process to stop, and kills it where it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            log(f"  {name} did not stop within {patience_s} s and is killed")
            process.kill()
            process.wait()


class Server:
    """`chargeplane serve` with a data folder of its own and the default configuration.

    Args:
        data_dir: kept between starts.
        settings: further CHARGEPLANE_* variables, without the prefix.
    """

    name = "server"

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.ocpp_port, self.http_port, self.ocpps_port = free_ports(3)
        self.log_file = data_dir / "server.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHARGEPLANE_")}
        own = {
            "BIND": "127.0.0.1",
            "OCPP_PORT": str(self.ocpp_port),
            "OCPPS_PORT": str(self.ocpps_port),
            "HTTP_PORT": str(self.http_port),
            "DATA_DIR": str(data_dir),
            "ADMIN_KEY": ADMIN_KEY,
            **(settings or {}),
        }
        self._environment = kept | {f"CHARGEPLANE_{name}": value for name, value in own.items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def rest(self) -> str:
        """Base URL of REST."""
        return f"http://127.0.0.1:{self.http_port}"

    def url(self, _version: str) -> str:
        """WebSocket URL template for stations."""
        return f"ws://127.0.0.1:{self.ocpp_port}/ocpp/{{id}}"

    @property
    def database_url(self) -> str:
        """Of the embedded database."""
        return Cluster(self.data_dir).url()

    def start(self, patience_s: float = 120) -> None:
        """Returns when /readyz says so.

        Raises:
            Failed: it ended or did not become ready.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o711)
        with self.log_file.open("ab") as out:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("chargeplane")), "serve"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.data_dir,
            )
        until = time.monotonic() + patience_s
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                words = "\n".join(self.log_file.read_text(errors="replace").splitlines()[-15:])
                self.stop()
                raise Failed(f"The server did not become ready. Its last words:\n{words}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.rest}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def watch(self) -> list[str]:
        """Arguments that make the generator watch the server and its database."""
        assert self._process is not None
        out = ["--watch", f"server={self._process.pid}"]
        running = Cluster(self.data_dir).running()
        return out if running is None else [*out, "--watch", f"postgres={running.pid}"]

    def stop(self) -> None:
        """In order."""
        if self._process is not None:
            end(self._process, "the server")
            self._process = None


class Peer:
    """The in-memory peer, at its best: uvloop, no compression."""

    name = "peer"

    def __init__(self) -> None:
        self._ports = dict(zip(VERSIONS, free_ports(3), strict=True))
        self._rest = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, version: str) -> str:
        """WebSocket URL template for stations."""
        return f"ws://127.0.0.1:{self._ports[version]}/{{id}}"

    def start(self) -> None:
        """Returns when it listens.

        Raises:
            Failed: it ended.
        """
        names = {"1.6": "PORT16", "2.0.1": "PORT201", "2.1": "PORT21"}
        ports = {names[version]: str(port) for version, port in self._ports.items()}
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "inmemory_peer.py")],
            env=os.environ | ports | {"REST": str(self._rest), "UVLOOP": "1", "DEFLATE": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in self._ports.values():
            while True:
                with socket.socket() as one:
                    if one.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if self._process.poll() is not None:
                    raise Failed("The in-memory peer did not start.")
                time.sleep(0.05)

    def watch(self) -> list[str]:
        """Arguments that make the generator watch it."""
        assert self._process is not None
        return ["--watch", f"server={self._process.pid}"]

    def stop(self) -> None:
        """In order."""
        if self._process is not None:
            end(self._process, "the peer", 5)
            self._process = None


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, str(ROOT / "benchmarks" / "ocpp_load.py"), *arguments]


def target(version: str, on: Server | Peer) -> list[str]:
    """Arguments that point the generator at a server."""
    out = ["--url", on.url(version), "--subprotocol", f"ocpp{version}", *on.watch()]
    return [*out, "--basic-password", STATION_PASSWORD] if isinstance(on, Server) else out


def load(arguments: Sequence[str]) -> dict[str, Any]:
    """Runs the generator to its end; its result.

    Raises:
        Failed: it failed.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run(
            _command([*arguments, "--json", file.name]), stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"The generator failed:\n{done.stderr.strip()[-2000:]}")
        return dict(json.loads(Path(file.name).read_text()))


@contextlib.contextmanager
def connected(arguments: Sequence[str], count: int) -> Iterator[None]:
    """Keeps stations connected and silent for the `with` block; entered when all are there.

    Raises:
        Failed: not all could connect.
    """
    process = subprocess.Popen(
        _command([*arguments, "-n", str(count), "--scenario", "idle", "--duration", "86400", "--json", os.devnull]),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if not line.startswith(f"connected {count}/{count}"):
            raise Failed(f"{count} stations were to connect: {line.strip() or 'the generator failed'}")
        yield
    finally:
        process.kill()
        process.communicate()
