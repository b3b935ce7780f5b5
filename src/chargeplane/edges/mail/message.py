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
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
    message.set_content(letter.text)
    if letter.html is not None:
        message.add_alternative(letter.html, subtype="html")
    for one in letter.attachments:
        main, _, sub = one.media_type.partition("/")
        message.add_attachment(one.content, maintype=main, subtype=sub or "octet-stream", filename=one.name)
    # At the end: parts would take it with them, as every header that begins with Content.
    message["Content-Language"] = letter.language
    return message


def domain_of(sender: str) -> str:
    """The part behind the @ of the sender's address."""
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"
