"""Files that are too large for the database: firmware, and what stations upload. A folder on a disk, or one that all nodes share.

A file comes in piece by piece, is counted and hashed on its way, and gets its name when it is complete and on the disk: what has a
name is whole. The disk is touched in threads; in memory there are at most some hundred kilobytes of a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from msgspec import Struct

from chargeplane.kernel.errors import RuleError, UnavailableError

_CHUNK: Final = 256 * 1024
_STALE_S: Final = 24 * 3600


class TooLargeError(RuleError):
    """A file is larger than it may be.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"The file is larger than the {limit} bytes that are taken.")
        self.limit = limit


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file that is complete.

    Args:
        path: within the folder.
        md5, sha256: over the whole file, as hex.
    """

    path: str
    size: int
    md5: str
    sha256: str


class Incoming:
    """A file on its way in. Use it as a context: what was not finished leaves nothing behind."""

    def __init__(self, folder: Path, kind: str, limit: int, spare_bytes: int) -> None:
        self._folder = folder
        self._kind = kind
        self._limit = limit
        self._spare_bytes = spare_bytes
        self._waiting = bytearray()
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._temporary: Path | None = None
        self._file: BinaryIO | None = None

    async def __aenter__(self) -> Incoming:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self._abandon))

    async def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Takes a piece.

        Raises:
            TooLargeError: the file is larger than its limit.
        """
        self._size += len(piece)
        if self._size > self._limit:
            raise TooLargeError(self._limit)
        self._waiting += piece
        if len(self._waiting) >= _CHUNK:
            await self._flush()

    async def finish(self) -> StoredFile:
        """The file is complete: it is on the disk when this returns."""
        await self._flush()
        return await asyncio.to_thread(self._finish)

    async def _flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if data:
            await asyncio.to_thread(self._write, data)

    def _open(self) -> None:
        now = datetime.now(UTC)
        folder = self._folder / self._kind / f"{now:%Y%m}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(folder).free < self._spare_bytes:
            raise UnavailableError("The disk for files is nearly full.")
        self._temporary = folder / f".{now:%d}-{secrets.token_hex(16)}.part"
        self._file = open(self._temporary, "xb", buffering=0)  # noqa: SIM115 -- closed by _finish or _abandon

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._md5.update(data)
        self._sha256.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _finish(self) -> StoredFile:
        assert self._file is not None and self._temporary is not None  # noqa: PT018
        os.fsync(self._file.fileno())
        self._file.close()
        final = self._temporary.with_name(self._temporary.name[1:].removesuffix(".part"))
        self._temporary.rename(final)
        self._temporary = None
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return StoredFile(
            path=str(final.relative_to(self._folder)),
            size=self._size,
            md5=self._md5.hexdigest(),
            sha256=self._sha256.hexdigest(),
        )

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)


class Files:
    """The folder.

    Args:
        folder: made when the first file comes.
        spare_bytes: of the disk that are never filled.
    """

    def __init__(self, folder: Path, *, spare_bytes: int = 256 * 1024 * 1024) -> None:
        self._folder = folder
        self._spare_bytes = spare_bytes

    def incoming(self, kind: str, limit: int) -> Incoming:
        """A file that is about to come in.

        Args:
            kind: a word for a folder of its own: `firmware`, `uploads`.
            limit: bytes.
        """
        return Incoming(self._folder, kind, limit, self._spare_bytes)

    async def size(self, path: str) -> int | None:
        """Bytes of a file; None where there is none."""

        def look() -> int | None:
            with contextlib.suppress(OSError):
                return self._at(path).stat().st_size
            return None

        return await asyncio.to_thread(look)

    async def read(self, path: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """A file in pieces.

        Args:
            start, length: bytes; None: to the end.
        Raises:
            OSError: it is not there.
        """
        file = await asyncio.to_thread(open, self._at(path), "rb")
        try:
            if start:
                await asyncio.to_thread(file.seek, start)
            left = length
            while left is None or left > 0:
                piece = await asyncio.to_thread(file.read, _CHUNK if left is None else min(_CHUNK, left))
                if not piece:
                    return
                if left is not None:
                    left -= len(piece)
                yield piece
        finally:
            file.close()

    async def remove(self, path: str) -> None:
        """Deletes a file; nothing happens where there is none."""
        await asyncio.to_thread(lambda: self._at(path).unlink(missing_ok=True))

    async def sweep(self) -> None:
        """Deletes what was left unfinished by a process that was killed."""
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        now = datetime.now(UTC).timestamp()
        for left in self._folder.glob("*/*/.*.part"):
            with contextlib.suppress(OSError):
                if now - left.stat().st_mtime > _STALE_S:
                    left.unlink()

    async def left(self, kind: str, batch: int = 500) -> AsyncIterator[list[str]]:
        """Files of a kind that have been complete for a day, some at a time: somebody knows of them by now, or nobody ever will."""
        found = iter(await asyncio.to_thread(self._left, kind))
        while some := list(islice(found, batch)):
            yield some

    def _left(self, kind: str) -> list[str]:
        now, old = datetime.now(UTC).timestamp(), []
        for one in self._folder.glob(f"{kind}/*/[!.]*"):
            with contextlib.suppress(OSError):
                if now - one.stat().st_mtime > _STALE_S:
                    old.append(str(one.relative_to(self._folder)))
        return old

    def _at(self, path: str) -> Path:
        found = (self._folder / path).resolve()
        if not found.is_relative_to(self._folder.resolve()):
            raise FileNotFoundError(path)
        return found
