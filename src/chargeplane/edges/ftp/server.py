"""As much of FTP (RFC 959, RFC 2428, RFC 3659) as stations need: STOR of a log, RETR of a firmware, in passive mode.

Who logs in is a file, not a person: user `upload` or `firmware`, with the secret part of the file's address as password. There are no
folders; every name is taken. Data come only from the address of the control connection. Nothing is encrypted: the address of a log is
good for one file, a firmware is no secret, and its signature is checked by the station.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct

from chargeplane.app.firmware import Firmware
from chargeplane.app.uploads import Uploads
from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.store.queries.firmware import Offered

IDLE_S: Final = 60.0
_DATA_S: Final = 20.0
_LINE: Final = 2048
_CHUNK: Final = 64 * 1024
_MAX_SESSIONS: Final = 200
_MAX_LINES: Final = 500
_TRIES: Final = 3

_log = structlog.get_logger(__name__)


class FtpConfig(Struct, frozen=True, kw_only=True):
    """Where FTP is served.

    Args:
        passive_ports: first and last port for data; None takes free ones.
        public_host: IPv4 address given to stations for data; None: that of the control connection.
    """

    host: str
    port: int
    passive_ports: tuple[int, int] | None = None
    public_host: str | None = None


class FtpServer:
    """The door."""

    def __init__(self, config: FtpConfig, firmware: Firmware, uploads: Uploads) -> None:
        self.config = config
        self.firmware = firmware
        self.uploads = uploads
        self.port = config.port
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Binds and serves.

        Raises:
            OSError: the address cannot be bound; the sentence names it.
        """
        try:
            self._server = await asyncio.start_server(self._connected, self.config.host, self.config.port, limit=_LINE)
        except OSError as error:
            where = f"{self.config.host}:{self.config.port}"
            raise OSError(error.errno, f"FTP cannot listen on {where}: {error.strerror}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        _log.info("ftp.started", host=self.config.host, port=self.port)

    async def stop(self) -> None:
        """Takes no more connections and ends those that stand."""
        if self._server is not None:
            self._server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._sessions) >= _MAX_SESSIONS:
            writer.write(b"421 Too many connections.\r\n")
            writer.close()
            return
        self._sessions.add(task)
        session = _Session(self, reader, writer)
        try:
            await session.run()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self._sessions.discard(task)
            session.close()

    async def listen(
        self,
        accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        family: socket.AddressFamily,
    ) -> asyncio.Server:
        """A port for one data connection.

        Raises:
            OSError: none of the range is free.
        """
        ports = self.config.passive_ports
        for port in (0,) if ports is None else range(ports[0], ports[1] + 1):
            with contextlib.suppress(OSError):
                return await asyncio.start_server(accept, self.config.host, port, family=family)
        raise OSError("No port for data is free.")


class _Session:
    """One control connection."""

    def __init__(self, server: FtpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._peer = writer.get_extra_info("peername")[0]
        self._own = writer.get_extra_info("sockname")[0]
        self._user = ""
        self._token = ""
        self._offered: Offered | None = None
        self._tries = 0
        self._start = 0
        self._listener: asyncio.Server | None = None
        self._data: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] | None = None

    async def run(self) -> None:
        await self._say(220, "Ready.")
        for _ in range(_MAX_LINES):
            async with asyncio.timeout(IDLE_S):
                line = (await self._reader.readline()).decode("utf-8", "replace")
            if not line:
                return
            verb, _, rest = line.strip().partition(" ")
            verb = verb.upper()
            if verb == "QUIT":
                await self._say(221, "Bye.")
                return
            if not await self._do(verb, rest.strip()):
                return

    def close(self) -> None:
        self._close_listener()
        self._writer.close()

    async def _say(self, code: int, sentence: str) -> None:
        self._writer.write(f"{code} {sentence}\r\n".encode())
        async with asyncio.timeout(IDLE_S):
            await self._writer.drain()

    async def _do(self, verb: str, rest: str) -> bool:
        """Whether the session goes on."""
        if verb == "USER":
            self._user, self._token, self._offered = rest.lower(), "", None
            await self._say(331, "The password, please.")
        elif verb == "PASS":
            return await self._log_in(rest)
        elif verb in _ALWAYS:
            await self._say(*_ALWAYS[verb])
        elif verb == "FEAT":
            self._writer.write(b"211-Features\r\n EPSV\r\n PASV\r\n REST STREAM\r\n SIZE\r\n UTF8\r\n")
            await self._say(211, "End")
        elif not self._token:
            await self._say(530, "Log in first.")
        elif verb in ("PASV", "EPSV"):
            await self._passive(verb)
        elif verb in ("PORT", "EPRT"):
            await self._say(502, "Use passive mode.")
        elif verb == "SIZE":
            size = None if self._offered is None else self._offered.size_bytes
            await (self._say(550, "There is no such file.") if size is None else self._say(213, str(size)))
        elif verb == "REST":
            self._start = int(rest) if rest.isdecimal() and len(rest) < 16 else 0
            await self._say(350, f"From {self._start} on.")
        elif verb in ("STOR", "STOU"):
            await self._store(rest)
        elif verb == "RETR":
            await self._retrieve()
        elif verb in ("LIST", "NLST", "MLSD"):
            await self._list(names_only=verb == "NLST")
        elif verb in _GRANTED:
            await self._say(*_GRANTED[verb])
        else:
            await self._say(502, "Not here.")
        return True

    async def _log_in(self, password: str) -> bool:
        good = False
        if self._user == "upload":
            good = await self._server.uploads.stands_open(password)
        elif self._user == "firmware":
            self._offered = await self._server.firmware.offered(password)
            good = self._offered is not None
        if good:
            self._token = password
            await self._say(230, "Welcome.")
            return True
        self._tries += 1
        await asyncio.sleep(0.5 * self._tries)
        await self._say(530, "Not these.")
        return self._tries < _TRIES

    async def _passive(self, verb: str) -> None:
        self._close_listener()
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = loop.create_future()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if writer.get_extra_info("peername")[0] != self._peer or waiting.done():
                writer.close()
                return
            waiting.set_result((reader, writer))

        family = socket.AF_INET6 if ":" in self._own else socket.AF_INET
        try:
            self._listener = await self._server.listen(accept, family)
        except OSError as error:
            await self._say(425, str(error))
            return
        self._data = waiting
        port = self._listener.sockets[0].getsockname()[1]
        if verb == "EPSV":
            await self._say(229, f"Extended passive mode (|||{port}|)")
            return
        if family is socket.AF_INET6:
            await self._say(522, "Use EPSV.")
            return
        host = (self._server.config.public_host or self._own).replace(".", ",")
        await self._say(227, f"Passive mode ({host},{port >> 8},{port & 255})")

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        waiting, self._data = self._data, None
        if waiting is None:
            raise ConnectionError("no passive mode")
        try:
            async with asyncio.timeout(_DATA_S):
                reader, writer = await waiting
        finally:
            self._close_listener()
        try:
            yield reader, writer
        finally:
            writer.close()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    async def _store(self, name: str) -> None:
        if self._user != "upload":
            await self._say(550, "This login fetches a firmware.")
            return
        if self._data is None:
            await self._say(425, "Use passive mode first.")
            return
        await self._say(150, "Send it.")
        try:
            async with (
                self._connection() as (reader, _),
                self._server.uploads.receive(self._token, self._peer) as receiving,
            ):
                while True:
                    async with asyncio.timeout(IDLE_S):
                        piece = await reader.read(_CHUNK)
                    if not piece:
                        break
                    await receiving.write(piece)
                await receiving.finish(name, None)
        except ChargeplaneError as error:
            await self._say(552, str(error))
        except (OSError, TimeoutError):
            await self._say(426, "The transfer broke off.")
        else:
            await self._say(226, "The file is here.")

    async def _retrieve(self) -> None:
        found, start = self._offered, self._start
        self._start = 0
        if found is None:
            await self._say(550, "This login uploads a file.")
            return
        if self._data is None:
            await self._say(425, "Use passive mode first.")
            return
        await self._say(150, f"{max(0, found.size_bytes - start)} bytes.")
        try:
            async with self._connection() as (_, writer):
                async for piece in self._server.firmware.read(found, start):
                    writer.write(piece)
                    async with asyncio.timeout(IDLE_S):
                        await writer.drain()
                writer.write_eof()
        except (OSError, TimeoutError):
            await self._say(426, "The transfer broke off.")
        else:
            await self._say(226, "That was it.")

    async def _list(self, *, names_only: bool) -> None:
        if self._data is None:
            await self._say(425, "Use passive mode first.")
            return
        await self._say(150, "Here it comes.")
        found = self._offered
        try:
            async with self._connection() as (_, writer):
                if found is not None:
                    row = (
                        found.name
                        if names_only
                        else f"-r--r--r-- 1 ftp ftp {found.size_bytes} Jan 1 00:00 {found.name}"
                    )
                    writer.write(f"{row}\r\n".encode())
                    await writer.drain()
        except (OSError, TimeoutError):
            await self._say(426, "The transfer broke off.")
        else:
            await self._say(226, "That was it.")


_ALWAYS: Final = {
    "SYST": (215, "UNIX Type: L8"),
    "NOOP": (200, "Yes."),
    "OPTS": (200, "Yes."),
    "AUTH": (502, "No encryption here; use HTTPS."),
    "HELP": (214, "RFC 959."),
}
_GRANTED: Final = {
    "TYPE": (200, "Bytes as they are."),
    "MODE": (200, "Stream."),
    "STRU": (200, "File."),
    "ALLO": (202, "Not needed."),
    "PWD": (257, '"/" is all there is.'),
    "XPWD": (257, '"/" is all there is.'),
    "CWD": (250, "Here."),
    "CDUP": (250, "Here."),
    "MKD": (257, '"/" is all there is.'),
    "RNFR": (350, "To what?"),
    "RNTO": (250, "So be it."),
    "ABOR": (226, "Nothing goes on."),
    "SITE": (200, "Yes."),
}
"""What costs nothing to grant: there are no folders, and a file has any name."""
