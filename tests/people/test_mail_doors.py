"""Mails out of the house: to a real SMTP server, its refusals, and the folder."""

from __future__ import annotations

import asyncio
import email
import email.policy
import secrets
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from chargeplane.domain.people.mails import Letter
from chargeplane.edges.mail import MailFolder, SmtpConfig, SmtpDoor, SmtpSecurity
from chargeplane.kernel.errors import RuleError, UnavailableError
from chargeplane.main.config import MailConfig
from tests.support.authority import Authority
from tests.support.postgres import TestServer
from tests.support.rest import Rest, running_rest

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
    return AuthResult(success=right, handled=right)  # what is not handled is answered with 535


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


# With certificates


class Tls:
    """Certificates by an authority that the door trusts, and servers that show them."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(authority.pem)
        issued = {
            "good": authority.issue("mail", dns="localhost"),
            "wrong_name": authority.issue("mail", dns="mail.example.org"),
            "expired": authority.issue("mail", dns="localhost", days=-1),
            "foreign": Authority("Another CA").issue("mail", dns="localhost"),
        }
        self.contexts: dict[str, ssl.SSLContext] = {}
        for name, one in issued.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*one.write(folder, name))
            self.contexts[name] = context


class Asked:
    """Checks logins and counts them."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.times += 1
        return check_login(server, session, envelope, mechanism, data)


class TriedServer:
    """A mail server and what came to it."""

    def __init__(self, controller: Controller, inbox: Inbox, asked: Asked, ca_file: Path) -> None:
        self.controller, self.inbox, self.asked, self.ca_file = controller, inbox, asked, ca_file

    def door(self, security: SmtpSecurity, **more: Any) -> SmtpDoor:
        values = {"host": "localhost", "user": "house", "password": "secret", "ca_file": str(self.ca_file), **more}
        return SmtpDoor(config(self.controller, security=security, **values))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("mail"))


@pytest.fixture
def serve(tls: Tls) -> Iterator[Callable[[SmtpSecurity, str], TriedServer]]:
    started: list[Controller] = []

    def start(security: SmtpSecurity, certificate: str) -> TriedServer:
        inbox, asked = Inbox(), Asked()
        more: dict[str, Any] = {}
        if security is SmtpSecurity.TLS:
            more = {"ssl_context": tls.contexts[certificate], "auth_require_tls": False}
        elif security is SmtpSecurity.STARTTLS:
            more = {"tls_context": tls.contexts[certificate], "require_starttls": True}
        else:
            more = {"auth_require_tls": False}
        controller = FreePort(inbox, hostname="127.0.0.1", port=0, authenticator=asked, auth_required=True, **more)
        controller.start()
        started.append(controller)
        return TriedServer(controller, inbox, asked, tls.ca_file)

    yield start
    for controller in started:
        controller.stop()


@pytest.mark.parametrize("security", [SmtpSecurity.TLS, SmtpSecurity.STARTTLS])
async def test_mail_goes_by_tls_to_a_server_that_proves_its_name(
    serve: Callable[[SmtpSecurity, str], TriedServer], security: SmtpSecurity
) -> None:
    tested = serve(security, "good")
    await tested.door(security).send(LETTER, "7")
    assert len(tested.inbox.taken) == 1
    assert tested.asked.times == 1
    with pytest.raises(UnavailableError, match="535"):
        await tested.door(security, password="wrong").send(LETTER, "8")
    assert len(tested.inbox.taken) == 1


@pytest.mark.parametrize("certificate", ["wrong_name", "expired", "foreign"])
@pytest.mark.parametrize("security", [SmtpSecurity.TLS, SmtpSecurity.STARTTLS])
async def test_server_that_does_not_prove_its_name_gets_neither_mail_nor_password(
    serve: Callable[[SmtpSecurity, str], TriedServer], security: SmtpSecurity, certificate: str
) -> None:
    tested = serve(security, certificate)
    words = {"wrong_name": "Hostname mismatch", "expired": "expired", "foreign": "unable to get local issuer"}
    with pytest.raises(UnavailableError, match=words[certificate]):
        await tested.door(security).send(LETTER, "7")
    assert tested.inbox.taken == []
    assert tested.asked.times == 0


async def test_server_without_starttls_gets_neither_mail_nor_password_where_it_is_wanted(
    serve: Callable[[SmtpSecurity, str], TriedServer],
) -> None:
    tested = serve(SmtpSecurity.NONE, "good")
    with pytest.raises(UnavailableError, match="STARTTLS"):
        await tested.door(SmtpSecurity.STARTTLS).send(LETTER, "7")
    assert tested.inbox.taken == []
    assert tested.asked.times == 0
    await tested.door(SmtpSecurity.NONE).send(LETTER, "7")
    assert len(tested.inbox.taken) == 1


async def test_address_that_the_server_cannot_take_is_given_up(inbox: Inbox) -> None:
    plain = FreePort(inbox, hostname="127.0.0.1", port=0, enable_SMTPUTF8=False)
    plain.start()
    try:
        abroad = Letter(to="åsa@example.org", subject="Hej", text="Hej\n", language="sv")
        with pytest.raises(RuleError, match="ASCII"):
            await SmtpDoor(config(plain)).send(abroad, "7")
    finally:
        plain.stop()


async def _fact(rest: Rest, topic: str) -> dict[str, Any] | None:
    listed = (await rest.client.get("/v1/outbox")).json()["items"]
    return next((one for one in listed if one["topic"] == topic and one["error"]), None)


async def test_mail_is_tried_again_until_the_server_takes_it_and_shown_where_it_never_will(
    postgres_server: TestServer, serve: Callable[[SmtpSecurity, str], TriedServer]
) -> None:
    tested = serve(SmtpSecurity.STARTTLS, "good")
    mail = MailConfig(
        smtp_host="localhost",
        smtp_port=tested.controller.port,
        smtp_user="house",
        smtp_password="secret",
        smtp_ca_file=str(tested.ca_file),
    )
    tested.inbox.answer = "451 greylisted"
    address = f"later-{secrets.token_hex(4)}@example.org"
    with postgres_server.database() as url:
        async with running_rest(url, mail=mail) as rest:
            body = {"email": address, "password": "correct horse battery"}
            assert (await rest.client.post("/v1/me/register", json=body)).status_code == 202
            waits = await until(lambda: _fact(rest, "mail.send"))
            assert "451" in waits["error"]
            assert waits["parked_at"] is None
            assert waits["next_at"] is not None
            tested.inbox.answer = "250 OK"
            await rest.execute("UPDATE outbox SET next_at = now()")
            await until(lambda: _taken(tested, 1))
            assert tested.inbox.taken[0].rcpt_tos == [address]
            await until(lambda: _sent(rest))
            tested.inbox.answer = "550 no such mailbox"
            assert (await rest.client.post("/v1/me/forgot-password", json={"email": address})).status_code == 202
            parked = await until(lambda: _fact(rest, "mail.send"))
            assert "550: no such mailbox" in parked["error"]
            assert parked["parked_at"] is not None
            tested.inbox.answer = "250 OK"
            assert (await rest.client.post(f"/v1/outbox/{parked['id']}/retry")).status_code == 204
            await until(lambda: _taken(tested, 2))


async def _sent(rest: Rest) -> bool:
    return bool(await rest.execute("SELECT count(*) = 0 FROM mail"))


async def _taken(tested: TriedServer, count: int) -> bool:
    return len(tested.inbox.taken) >= count


async def until(look: Callable[[], Any]) -> Any:
    """What is looked for, as soon as it is there."""
    end = asyncio.get_running_loop().time() + 30
    while not (found := await look()):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)
    return found
