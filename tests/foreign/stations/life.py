"""What a foreign station of any version and any subject has: its credentials, its socket, its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection, connect

from tests.foreign.house import Address, Operator
from tests.foreign.stations.line import Line


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Life:
    """Mixed into the package's ChargePoint; `words` is the version's subpackage, with the messages."""

    words: ClassVar[Any]
    protocol: ClassVar[str]
    version: ClassVar[str]

    def __init__(self, address: Address, name: str, password: str, **options: Any) -> None:
        self.address = address
        self.password: str | bytes = password
        self.security_profile = 1
        self.roots: list[tuple[str, str]] = []
        """What is installed: use and PEM."""
        self.certificate: tuple[str, str] | None = None
        """Its own chain and key as PEM."""
        self.firmware = "1.0.0"
        self.boot_reasons: list[str] = []
        self.line = Line(self._dial)
        self._options = options
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: list[BaseException] = []
        super().__init__(name, self.line, response_timeout=25)  # type: ignore[call-arg]

    # -- its socket ----------------------------------------------------------------------------------------------------

    async def _dial(self) -> ClientConnection:
        return await self.try_to_connect(self.password)

    async def try_to_connect(self, password: str | bytes) -> ClientConnection:
        """A socket opened with this password, as the security profile says."""
        name: str = self.id  # type: ignore[attr-defined]
        options = dict(self._options)
        if self.security_profile < 3:
            secret = password if isinstance(password, bytes) else password.encode()
            login = b64encode(name.encode() + b":" + secret).decode()
            options["additional_headers"] = {"Authorization": f"Basic {login}"}
        url = self.address.ocpp
        if self.security_profile >= 2:
            url, options["ssl"] = self.address.secure, self.tls()
        socket = await connect(f"{url}/{name}", subprotocols=[self.protocol], proxy=None, **options)  # type: ignore[list-item]
        assert socket.subprotocol == self.protocol
        assert socket.response is not None
        compressed = "permessage-deflate" in socket.response.headers.get("Sec-WebSocket-Extensions", "")
        assert compressed is ("compression" not in self._options)
        return socket

    def tls(self) -> ssl.SSLContext:
        """By the roots that were installed, and with its own certificate in security profile 3."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for use, pem in self.roots:
            if use in ("CSMSRootCertificate", "CentralSystemRootCertificate"):
                context.load_verify_locations(cadata=pem)
        if self.security_profile == 3:
            assert self.certificate is not None
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "own.pem"
                file.write_text("".join(self.certificate), encoding="ascii")
                context.load_cert_chain(file)
        return context

    # -- its messages --------------------------------------------------------------------------------------------------

    async def tell(self, action: str, **fields: Any) -> Any:
        """Sends a CALL; the answer."""
        request = getattr(self.words.call, action)(**fields)
        return await self.call(request, suppress=False)  # type: ignore[attr-defined]

    def answer(self, action: str, **fields: Any) -> Any:
        """An answer to the server's call."""
        return getattr(self.words.call_result, action)(**fields)

    def told(self, *actions: str) -> list[tuple[str, Any]]:
        """The CALLs of these actions that went out."""
        return [one for one in self.line.sent if one[0] in actions]

    def asked(self, action: str) -> list[Any]:
        """The payloads of the server's calls of an action, as they came."""
        return [payload for name, payload in self.line.asked if name == action]

    async def boot(self, reason: str) -> None:
        raise NotImplementedError

    async def restart(self, reason: str) -> None:
        """Hangs up, comes back by what it knows then, and boots."""
        await self.line.close()
        await self.line.open()
        await self.boot(reason)

    # -- what it does beside answering ---------------------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Does something while the package goes on reading; what fails of it fails the test."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)

    async def settled(self) -> None:
        """Waits for all that it does, and raises what went wrong."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._failed:
            raise self._failed[0]

    @classmethod
    @contextlib.asynccontextmanager
    async def online(cls, who: Operator, address: Address, *, boots: bool = True, **options: Any) -> AsyncIterator[Any]:
        """The station, connected, with its inbox read, and booted where `boots`."""
        station = cls(address, who.name, who.password, **options)
        await station.line.open()
        reading = asyncio.create_task(station.start())  # type: ignore[attr-defined]
        try:
            if boots:
                await station.boot("PowerUp")
            yield station
            await station.settled()
            assert not reading.done(), reading.exception()
            # The package checks every message of ours by the official schemas, and answers with an error where it finds one wrong.
            assert station.line.errors == []
            assert station.line.unanswered == []
        finally:
            for task in [reading, *station._tasks]:
                task.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await station.line.close()
