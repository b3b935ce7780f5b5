"""Mails to a mail server (RFC 5321), in clear on the way to a neighbour, with STARTTLS (RFC 3207) or TLS from the start (RFC 8314)."""

from __future__ import annotations

import asyncio
import enum
import smtplib
import ssl
from email.message import EmailMessage
from typing import Final

from msgspec import Struct

from chargeplane.domain.people.mails import Letter
from chargeplane.edges.mail.message import domain_of, message_of
from chargeplane.kernel.errors import RuleError, UnavailableError

_TIMEOUT_S: Final = 20.0
_AT_ONCE: Final = 4


class SmtpSecurity(enum.StrEnum):
    """How the way to the mail server is secured."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class SmtpConfig(Struct, frozen=True, kw_only=True):
    """A mail server.

    Args:
        ca_file: authorities its certificate may lead to; None: the system's.
    """

    host: str
    port: int
    security: SmtpSecurity
    user: str | None
    password: str | None
    sender: str
    ca_file: str | None = None


class SmtpDoor:
    """Sends mails, each over a connection of its own, a few at once."""

    def __init__(self, config: SmtpConfig) -> None:
        self._config = config
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def send(self, letter: Letter, ident: str) -> None:
        """Hands the mail over.

        Raises:
            RuleError: the server refuses it for good (a 5xx answer to the address or the text).
            UnavailableError: it cannot be reached, refuses us, or asks to try again.
        """
        async with self._slots:
            await asyncio.to_thread(self._send, letter, ident)

    def _send(self, letter: Letter, ident: str) -> None:
        config = self._config
        message = message_of(letter, config.sender, ident, domain_of(config.sender))
        context = ssl.create_default_context(cafile=config.ca_file)
        try:
            if config.security is SmtpSecurity.TLS:
                server: smtplib.SMTP = smtplib.SMTP_SSL(config.host, config.port, timeout=_TIMEOUT_S, context=context)
            else:
                server = smtplib.SMTP(config.host, config.port, timeout=_TIMEOUT_S)
            with server:
                if config.security is SmtpSecurity.STARTTLS:
                    server.starttls(context=context)
                if config.user is not None:
                    server.login(config.user, config.password or "")
                self._hand_over(server, message)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            raise self._refused(code, text) from None
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise self._refused(error.smtp_code, error.smtp_error) from None
        except (smtplib.SMTPException, OSError) as error:
            raise UnavailableError(f"The mail server {config.host}:{config.port} took nothing: {error}.") from error

    def _hand_over(self, server: smtplib.SMTP, message: EmailMessage) -> None:
        try:
            server.send_message(message)
        except smtplib.SMTPNotSupportedError:
            # RFC 6531: an address beyond ASCII goes only to servers that say they take one; waiting changes nothing.
            raise RuleError(
                f"The mail server {self._config.host} takes no address beyond ASCII, as one of this mail is."
            ) from None

    def _refused(self, code: int, text: bytes | str) -> Exception:
        words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        sentence = f"The mail server {self._config.host} answered {code}: {words[:200]}"
        return RuleError(sentence) if 500 <= code < 600 else UnavailableError(sentence)
