"""Drivers who signed in at their own door."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import secrets
import time

import httpx

from tests.support.rest import Rest

PASSWORD = "correct horse battery"
LIMIT_S = 30.0


async def driver_of(rest: Rest, name: str = "driver") -> httpx.AsyncClient:
    """A client of a driver who opened an account, verified the address, and signed in."""
    mail = f"{name}-{secrets.token_hex(6)}@example.org"
    async with httpx.AsyncClient(base_url=rest.base_url, timeout=60) as door:
        opened = await door.post("/v1/me/register", json={"email": mail, "password": PASSWORD})
        assert opened.status_code == 202, opened.text
        verified = await door.post("/v1/me/verify-email", json={"code": await _code(rest, mail)})
        assert verified.status_code == 204, verified.text
        answer = await door.post("/v1/me/login", json={"email": mail, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
    return rest.as_key(answer.json()["token"])


async def _code(rest: Rest, mail: str) -> str:
    end = time.monotonic() + LIMIT_S
    while True:
        for file in sorted(rest.mails.glob("*.eml")):
            message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            if str(message["To"]).lower() == mail.lower():
                found = re.search(r"\?code=([A-Za-z0-9_-]{20,})", str(message.get_content()))  # type: ignore[attr-defined]
                assert found is not None
                return found[1]
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
