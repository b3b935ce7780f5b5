"""Mails out of the house: to a real SMTP server, its refusals, and the folder."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from chargeplane.domain.people.mails import Letter
from chargeplane.edges.mail import MailFolder, SmtpConfig, SmtpDoor, SmtpSecurity
from chargeplane.kernel.errors import RuleError, UnavailableError

LETTER = Letter(to="anna@example.org", subject="Grüße", text="Hej Anna!\n", language="sv")


class Inbox:
    """Takes mails, or answers what it is told to."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.answer = "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            self.taken.append(envelope)
        return self.answer


def check_login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"house", b"secret")
    return AuthResult(success=right, handled=True)


class FreePort(Controller):
    """A controller that takes any free port."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def server(inbox: Inbox) -> Iterator[Controller]:
    controller = FreePort(
        inbox, hostname="127.0.0.1", port=0, authenticator=check_login, auth_require_tls=False, enable_SMTPUTF8=True
    )
    controller.start()
    yield controller
    controller.stop()


def config(server: Controller, **more: Any) -> SmtpConfig:
    assert server.server is not None
    port = server.server.sockets[0].getsockname()[1]
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "security": SmtpSecurity.NONE,
        "user": None,
        "password": None,
        "sender": "House <house@example.org>",
        **more,
    }
    return SmtpConfig(**values)


async def test_mail_is_handed_over_with_its_headers(server: Controller, inbox: Inbox) -> None:
    await SmtpDoor(config(server, user="house", password="secret")).send(LETTER, "7")
    envelope = inbox.taken[0]
    assert envelope.rcpt_tos == ["anna@example.org"]
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["Subject"] == "Grüße"
    assert message["Message-ID"] == "<chargeplane-7@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"


async def test_refusals_for_good_and_for_now_are_told_apart(server: Controller, inbox: Inbox) -> None:
    door = SmtpDoor(config(server))
    inbox.answer = "550 no such mailbox"
    with pytest.raises(RuleError, match="550"):
        await door.send(LETTER, "1")
    inbox.answer = "451 later"
    with pytest.raises(UnavailableError, match="451"):
        await door.send(LETTER, "1")


async def test_wrong_password_and_missing_starttls_are_tried_again(server: Controller) -> None:
    with pytest.raises(UnavailableError):
        await SmtpDoor(config(server, user="house", password="wrong")).send(LETTER, "1")
    with pytest.raises(UnavailableError):
        await SmtpDoor(config(server, security=SmtpSecurity.STARTTLS)).send(LETTER, "1")
    with pytest.raises(UnavailableError):
        await SmtpDoor(config(server, security=SmtpSecurity.TLS)).send(LETTER, "1")


async def test_folder_gets_one_file_a_mail_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = MailFolder(tmp_path / "mail", "house@example.org")
    await folder.send(LETTER, "7")
    await folder.send(LETTER, "7")
    files = list((tmp_path / "mail").iterdir())
    assert [file.name for file in files] == ["0000000007.eml"]
    assert files[0].stat().st_mode & 0o077 == 0
