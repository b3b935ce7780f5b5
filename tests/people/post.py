"""The mails that went out, as people read them."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import time
from email.message import EmailMessage

from tests.support.rest import Rest

LIMIT_S = 30.0


def mails_to(rest: Rest, address: str) -> list[EmailMessage]:
    """What an address got, the first mail first."""
    found = []
    for file in sorted(rest.mails.glob("*.eml")):
        message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        if str(message["To"]).lower() == address.lower():
            found.append(message)
    return found


async def mail_to(rest: Rest, address: str, number: int = 1) -> EmailMessage:
    """The mail with a number to an address, as soon as it went out."""
    end = time.monotonic() + LIMIT_S
    while len(mails_to(rest, address)) < number:
        assert time.monotonic() < end, f"{address} got {len(mails_to(rest, address))} mails, not {number}"
        await asyncio.sleep(0.05)
    return mails_to(rest, address)[number - 1]


def text_of(message: EmailMessage) -> str:
    """The plain text."""
    return str(message.get_content())


def code_of(message: EmailMessage) -> str:
    """The secret in a mail's link."""
    found = re.search(r"/account/[a-z-]+\?code=([A-Za-z0-9_-]{20,})", text_of(message))
    assert found is not None, text_of(message)
    return found.group(1)
