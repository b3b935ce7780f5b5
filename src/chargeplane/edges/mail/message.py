"""A mail as it travels (RFC 5322)."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr

from chargeplane.domain.people.mails import Letter


def message_of(letter: Letter, sender: str, ident: str, domain: str) -> EmailMessage:
    """The mail with its headers.

    Args:
        sender: `Name <address>` or an address.
        ident: makes the Message-ID, which is the same at a repeat.
        domain: behind the @ of the Message-ID.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = formatdate()
    message["Message-ID"] = f"<chargeplane-{ident}@{domain}>"
    message["Content-Language"] = letter.language
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
    message.set_content(letter.text)
    return message


def domain_of(sender: str) -> str:
    """The part behind the @ of the sender's address."""
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"
