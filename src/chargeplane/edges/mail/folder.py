"""Mails into a folder, one `.eml` file each: for trying out, and for who fetches them from there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from chargeplane.domain.people.mails import Letter
from chargeplane.edges.mail.message import domain_of, message_of


class MailFolder:
    """Writes mails to a folder that only its owner reads.

    Args:
        folder: made at the first mail.
        sender: in the From header.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, letter: Letter, ident: str) -> None:
        """Writes the mail; a repeat writes the same file again."""
        content = message_of(letter, self._sender, ident, domain_of(self._sender)).as_bytes()
        await asyncio.to_thread(self._write, f"{ident.zfill(10)}.eml", content)

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / f".{name}.{os.getpid()}.new"
        with open(fresh, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(content)
        fresh.replace(self._folder / name)
