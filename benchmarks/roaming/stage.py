"""What has to stand before something can be measured: processes, partners that are registered, rows."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.bench.processes import ADMIN_KEY, ROOT, Failed, Server, end, free_ports
from benchmarks.roaming import documents
from chargeplane.store.embedded import Cluster

PARTY = ("DE", "CPG")
PEER_TOKEN = "a-token-of-the-benchmark"
_PATIENCE_S = 60
_COPIED = 5000


def ask(method: str, url: str, authorization: str, body: Any = None) -> Any:
    """One request that has to go well; the decoded answer.

    Raises:
        Failed: it did not.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise Failed(f"{method} {url}: {error.code} {error.read()[:500]!r}") from None
    return json.loads(text) if text else None


class Node:
    """Our server, with a party that is an operator and a provider.

    Args:
        data_dir: of its own.
    """

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self.server = Server(data_dir, {"ROAMING_PRIVATE_NETWORKS": "true", **(settings or {})})

    def start(self, roles: Sequence[str]) -> None:
        """Returns when it is ready and has its party."""
        self.server.start()
        path = f"/v1/roaming/parties/{PARTY[0]}/{PARTY[1]}"
        self.rest("PUT", path, {"roles": list(roles), "business_details": {"name": "Chargeplane"}})

    def stop(self) -> None:
        """In order."""
        self.server.stop()

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """REST, as the admin."""
        return ask(method, f"{self.server.rest}{path}", f"Bearer {ADMIN_KEY}", body)

    def watch(self) -> list[str]:
        """Arguments that make a generator watch it."""
        return self.server.watch()

    def join(self, name: str, url: str, version: str, role: str, party: tuple[str, str]) -> tuple[str, str]:
        """Registers a fake partner by the handshake of its version.

        Args:
            url: of its versions.
            role: the partner's.
        Returns:
            id of the connection, and the token with which the partner comes, as it stands in the header.
        """
        own_role = "EMSP" if role == "CPO" else "CPO"
        invited = self.rest("POST", "/v1/roaming/partners", {"name": name, "own_role": own_role})
        details = {"name": name}
        one = {"party_id": party[1], "country_code": party[0], "business_details": details}
        body = {"token": f"token-of-{name}", "url": url}
        body |= one if version == "2.1.1" else {"roles": [one | {"role": role}]}  # type: ignore[dict-item]
        answer = ask(
            "POST",
            f"{self.server.rest}/ocpi/{version}/credentials",
            f"Token {in_header(invited['token'], version)}",
            body,
        )
        if answer["status_code"] != 1000:
            raise Failed(f"{name} could not register: {answer}")
        token = in_header(answer["data"]["token"], version)
        return str(invited["partner"]["id"]), token

    def path(self, version: str, side: str, module: str) -> str:
        """Of a module at our door; 2.1.1 has the same paths here."""
        return f"/ocpi/{version}/{side}/{module}"

    def sql(self, query: str, *values: Any) -> Any:
        """The first value of a query."""

        async def run() -> Any:
            connection = await asyncpg.connect(self.server.database_url)
            try:
                return await connection.fetchval(query, *values, timeout=120)
            finally:
                await connection.close()

        return asyncio.run(run())

    def fill_documents(self, count: int) -> None:
        """Locations as they are published, so many of them, written as rows."""
        asyncio.run(self._fill_documents(count))

    async def _fill_documents(self, count: int) -> None:
        connection = await asyncpg.connect(self.server.database_url)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        columns = ["tenant_id", "module", "id", "country_code", "party_id", "country", "body", "shape", "shaped_at", "last_updated"]  # fmt: skip
        try:
            for first in range(0, count, _COPIED):
                records = [
                    (1, "locations", f"LOC{n}", *PARTY, "DEU", documents.encoded(n, *PARTY).decode(), b"", at, at)
                    for n in range(first, min(first + _COPIED, count))
                ]
                await connection.copy_records_to_table("roaming_document", records=records, columns=columns)
            await connection.execute("VACUUM ANALYZE roaming_document", timeout=120)
        finally:
            await connection.close()

    def fill_tokens(self, count: int) -> None:
        """Id tokens card1 and on; returns when partners could read them."""
        self.sql(
            "INSERT INTO id_token (tenant_id, type, id_token, token_key, status) SELECT 1, 'ISO14443', 'CARD' || n, 'card' || n,"
            " 'Accepted' FROM generate_series(1, $1::int) n",
            count,
        )
        self.sql("ANALYZE id_token")
        until = time.monotonic() + _PATIENCE_S
        while self.sql("SELECT count(*) FROM provider_token") < count:
            if time.monotonic() > until:
                raise Failed("The id tokens were not published.")
            time.sleep(0.2)

    def tidy(self) -> None:
        """Does what the database would do in the background after many writes, so that it is not measured with what comes next."""

        async def run() -> None:
            connection = await asyncpg.connect(self.server.database_url)
            try:
                for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
                    await connection.execute(statement, timeout=120)
            finally:
                await connection.close()

        asyncio.run(run())

    @property
    def postgres_pid(self) -> int | None:
        """Of the embedded database."""
        running = Cluster(self.server.data_dir).running()
        return None if running is None else running.pid


def in_header(token: str, version: str) -> str:
    """A credentials token as OCPI writes it: Base64 but in 2.1.1."""
    return token if version == "2.1.1" else base64.b64encode(token.encode()).decode()


class Process:
    """A process of the benchmark that serves on a port."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._name = name
        (self.port,) = free_ports(1)
        self._command = [word.replace("{port}", str(self.port)) for word in command]
        self._environment = os.environ | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._words = tempfile.TemporaryFile()  # noqa: SIM115

    @property
    def base(self) -> str:
        """URL of its root."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers.

        Raises:
            Failed: it ended, or does not answer.
        """
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
        )
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f"{self.base}/control", timeout=5).close()
                return
            except urllib.error.HTTPError:
                return
            except (OSError, urllib.error.URLError):
                if self._process.poll() is not None or time.monotonic() > until:
                    self._process.kill()
                    self._words.seek(0)
                    words = self._words.read().decode(errors="replace")[-1500:]
                    raise Failed(f"{self._name} did not start: {words}") from None
                time.sleep(0.1)

    def watch(self) -> list[str]:
        """Arguments that make a generator watch it as the server."""
        assert self._process is not None
        return ["--watch", f"server={self._process.pid}"]

    def control(self) -> Any:
        """What it was sent."""
        with urllib.request.urlopen(f"{self.base}/control", timeout=30) as answer:
            return json.loads(answer.read())

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            end(self._process, self._name, 5)
            self._process = None


def partners(role: str, locations: int = 0) -> Process:
    """Fake partners."""
    command = [sys.executable, "-m", "benchmarks.roaming.partner", "{port}", "--role", role]
    return Process("the fake partners", [*command, "--locations", str(locations)])


def peer(packages: Path, locations: int) -> Process:
    """`extrawest-ocpi`."""
    command = [sys.executable, str(ROOT / "benchmarks" / "roaming" / "peer.py"), "{port}", PEER_TOKEN, str(locations)]
    return Process("extrawest-ocpi", command, {"PYTHONPATH": str(packages)})


def generate(act: str, base: str, path: str, token: str, watch: Sequence[str], **options: Any) -> dict[str, Any]:
    """Runs a generator to its end; its result.

    Raises:
        Failed: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.roaming.generator", act, "--base", base, "--path", path]
    command += ["--token", token, *watch]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise Failed(f"The generator failed: {done.stderr.strip()[-1500:]}")
    return dict(json.loads(done.stdout))
