"""Invoices by mail: what is issued goes out once, with its document, in the customer's language; a mail server that is away is waited for."""

from __future__ import annotations

import asyncio
import secrets
from email.message import EmailMessage
from typing import Any

import pytest

from chargeplane.kernel.errors import UnavailableError
from tests.invoicing.making import Tenant, billing_tenant, cdr
from tests.people.post import mail_to, mails_to
from tests.support.rest import Rest, assert_problem

SUBJECTS = {
    "en": ("Invoice", "To be paid: 11.90 EUR"),
    "de": ("Rechnung", "Zu zahlen: 11,90 EUR"),
    "sv": ("Faktura", "Att betala: 11,90 EUR"),
}


async def driver(one: Tenant, language: str) -> tuple[int, str]:
    """A driver who is invoiced; id and address."""
    address = f"d{secrets.token_hex(6)}@example.org"
    made = await one.client.post(
        "/v1/drivers", json={"email": address, "first_name": "Åsa", "last_name": "Öberg", "language": language}
    )
    assert made.status_code == 201, made.text
    return int(made.json()["id"]), address


async def issued(rest: Rest, one: Tenant, **whose: int) -> dict[str, Any]:
    """A run's only invoice."""
    await cdr(rest, one, **whose)
    made = await one.client.post("/v1/billing-runs", json={"guests": True})
    assert made.status_code == 202, made.text
    async with asyncio.timeout(30):
        while True:
            items = (await one.client.get("/v1/invoices")).json()["items"]
            if items:
                return dict(items[0])
            await asyncio.sleep(0.05)


def documents(message: EmailMessage) -> list[tuple[str | None, bytes]]:
    return [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()]  # type: ignore[misc]


@pytest.mark.parametrize("language", ["en", "de", "sv"])
async def test_what_is_issued_is_mailed_once_with_its_document_in_the_drivers_language(
    rest: Rest, language: str
) -> None:
    one = await billing_tenant(rest)
    ident, address = await driver(one, language)
    invoice = await issued(rest, one, driver_id=ident)
    message = await mail_to(rest, address)
    word, amount = SUBJECTS[language]
    body = message.get_body(("plain",))
    assert body is not None
    assert message["Subject"] == " ".join(
        (word, invoice["number"], {"en": "of", "de": "von", "sv": "från"}[language], "Ladewerk GmbH")
    )
    assert amount.replace("\xa0", " ") in body.get_content().replace("\xa0", " ")
    ((name, content),) = documents(message)
    assert name == f"{invoice['number']}.pdf"
    assert content.startswith(b"%PDF-")
    assert b"factur-x.xml" in content
    async with asyncio.timeout(30):
        while (await one.client.get(f"/v1/invoices/{invoice['id']}")).json()["sent_at"] is None:
            await asyncio.sleep(0.05)
    assert len(mails_to(rest, address)) == 1
    # Once more by hand.
    sent = await one.client.post(f"/v1/invoices/{invoice['id']}/send")
    assert sent.status_code == 200, sent.text
    await mail_to(rest, address, 2)


async def test_a_credit_note_and_a_paid_invoice_do_not_ask_for_money(rest: Rest) -> None:
    one = await billing_tenant(rest)
    ident, address = await driver(one, "en")
    invoice = await issued(rest, one, driver_id=ident)
    await mail_to(rest, address)
    made = await one.client.post(f"/v1/invoices/{invoice['id']}/credit", json={"reason": "Wrong station"})
    assert made.status_code < 300, made.text
    note = await mail_to(rest, address, 2)
    body = note.get_body(("plain",))
    assert body is not None
    assert str(note["Subject"]).startswith("Credit note ")
    assert "Nothing is left to be paid" in body.get_content()


async def test_a_tenant_that_mails_itself_has_nothing_mailed_and_may_still_send(rest: Rest) -> None:
    one = await billing_tenant(rest, mail=False)
    ident, address = await driver(one, "en")
    invoice = await issued(rest, one, driver_id=ident)
    sent = await one.client.post(f"/v1/invoices/{invoice['id']}/send")
    assert sent.status_code == 200, sent.text
    await mail_to(rest, address)
    assert len(mails_to(rest, address)) == 1


async def test_a_customer_without_an_address_is_a_conflict_that_says_what_to_do(rest: Rest) -> None:
    one = await billing_tenant(rest)
    invoice = await issued(rest, one, payment_id=910_001)
    refused = await one.client.post(f"/v1/invoices/{invoice['id']}/send")
    assert_problem(refused, 409)
    assert "fetch the PDF" in refused.json()["detail"]


async def test_a_mail_waits_for_a_mail_server_that_is_away(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rest.business is not None
    post: Any = rest.business.invoices.mailer
    inner, away = post._door, [0]

    class Door:
        async def send(self, letter: Any, ident: str) -> None:
            if letter.to == address and away[0] < 1:
                away[0] += 1
                raise UnavailableError("The mail server is away.")
            await inner.send(letter, ident)

    one = await billing_tenant(rest)
    ident, address = await driver(one, "en")
    monkeypatch.setattr(post, "_door", Door())
    await issued(rest, one, driver_id=ident)
    assert text_of_first(await mail_to(rest, address)).startswith("Hello")
    assert away == [1]


def text_of_first(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())
