"""From a guest's payment to mail, invoice, ledger and webhooks: the whole server, virtual stations, the simulated provider."""

from __future__ import annotations

import asyncio
import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan
from chargeplane.simulator.payments import PaymentSimulator
from tests.invoicing.making import ISSUER
from tests.payments.test_guests import LIMIT_S, Site, house, server, simulator, site
from tests.support.charging_house import ChargingHouse

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["house", "server", "simulator"]


async def mails_to(server: Server, address: str) -> list[EmailMessage]:
    """What went out to an address."""
    found = []
    for file in sorted(Path(server.config.data_path / "mail").glob("*.eml")):
        message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        if isinstance(message, EmailMessage) and message["To"] == address:
            found.append(message)
    return found


async def charged(at: Site, language: str, address: str = "", *, energy_wh: int | None = None) -> Any:
    """A guest who charged (so much, where it is waited for); the visit when it is done."""
    sent = await at.browser.post(f"/pay/{at.code}?lang={language}", data={"email": address})
    assert sent.status_code == 303, sent.text
    page = sent.headers["location"]
    paid = await at.browser.post(page, data={"do": "pay", "number": "4242424242424242", "cvc": "123"})
    visit = httpx.URL(paid.headers["location"]).path
    await at.browser.get(visit)
    await at.until(visit, "charging")
    if energy_wh is not None:
        await at.tenant.until(lambda: at.visit(visit), lambda seen: seen["energy_wh"] == energy_wh, timeout_s=LIMIT_S)
    await at.browser.post(f"{visit}/stop")
    return await at.until(visit, "done")


async def balances(at: Site) -> dict[str, str]:
    items = (await at.tenant.get("/ledger/accounts"))["items"]
    return {item["code"]: item["balance"]["amount"] for item in items if float(item["balance"]["amount"])}


async def sound(at: Site) -> None:
    report = await at.tenant.get("/ledger/check")
    assert report["sound"], report["flaws"]


@pytest.mark.parametrize(("language", "subject", "energy"), [("de", "Beleg", "5,00 kWh"), ("sv", "kvitto", "5,00 kWh")])
async def test_a_guests_receipt_is_mailed_once_in_the_guests_language_with_the_document(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator, language: str, subject: str, energy: str
) -> None:
    at = await site(house, server, simulator, "2.1")
    await at.tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
    address = f"{language}-{at.code}@example.org"
    await charged(at, language, address)

    async def sent() -> list[EmailMessage]:
        return await mails_to(server, address)

    (message,) = await at.tenant.until(sent, bool, timeout_s=LIMIT_S)
    assert subject.lower() in str(message["Subject"]).lower()
    assert message["Content-Language"] == language
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert energy in plain.get_content()
    assert "<a href=" in html.get_content()
    (receipt,) = (await at.tenant.get("/invoices"))["items"]
    ((name, content),) = [(one.get_filename(), one.get_payload(decode=True)) for one in message.iter_attachments()]
    assert name == f"{receipt['number']}.pdf"
    assert isinstance(content, bytes)
    assert content.startswith(b"%PDF-")
    # The address was given for this mail.
    async with server.database.read() as db:
        assert await db.fetchval("SELECT count(*) FROM guest_visit WHERE email = $1", address) == 0


async def test_webhooks_tell_of_sessions_and_invoices_in_order_and_their_facts_leave_the_outbox(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1")
    await at.tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
    hook = {"url": "https://hooks.example.com/", "event_types": ["session.*", "invoice.*"], "enabled": True}
    await at.tenant.send("POST", "/webhook-endpoints", hook)
    await charged(at, "en")
    session = (await at.tenant.get("/sessions"))["items"][0]["id"]

    async def told() -> list[tuple[str, str, str]]:
        async with server.database.read() as db:
            rows = await db.fetch(
                "SELECT e.type, e.key, e.payload FROM webhook_event e JOIN webhook_delivery d ON d.event_id = e.id"
                " JOIN tenant t ON t.id = e.tenant_id WHERE t.slug = $1 ORDER BY e.id",
                at.tenant.slug,
            )
        return [(row["type"], row["key"], row["payload"]) for row in rows]

    def holds(found: list[tuple[str, str, str]]) -> bool:
        return {"session.settled", "invoice.issued", "invoice.paid"} <= {kind for kind, _, _ in found}

    found = await at.tenant.until(told, holds, timeout_s=LIMIT_S)
    of_session = [kind for kind, key, _ in found if key == f"session:{session}" and kind.startswith("session.")]
    assert of_session[0] == "session.created"
    assert of_session[-1] == "session.settled"
    assert of_session.count("session.created") == 1
    assert [kind for kind, _, _ in found if kind.startswith("invoice.")] == ["invoice.issued", "invoice.paid"]

    async def waiting() -> int:
        async with server.database.read() as db:
            count: int = await db.fetchval(
                "SELECT count(*) FROM outbox o JOIN tenant t ON t.id = o.tenant_id WHERE t.slug = $1", at.tenant.slug
            )
            return count

    assert await at.tenant.until(waiting, lambda count: count == 0, timeout_s=LIMIT_S) == 0


async def test_a_part_given_back_a_dispute_and_the_providers_fees_are_in_the_ledger(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.1")
    await at.tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
    done = await charged(at, "en")
    assert done["paid"] == {"amount": "2.95", "currency": "EUR"}
    fee = "0.29"

    async def booked(**wanted: str) -> dict[str, str]:
        """The balances once these hold."""

        def holds(found: dict[str, str]) -> bool:
            return all(found.get(name.replace("_", ":"), "0") == value for name, value in wanted.items())

        found: dict[str, str] = await at.tenant.until(lambda: balances(at), holds, timeout_s=LIMIT_S)
        await sound(at)
        return found

    await booked(clearing_cards="2.66", fees_cards=fee)
    payment = f"/payments/{(await at.tenant.get('/payments'))['items'][0]['id']}"
    body = {"amount": {"amount": "1.00", "currency": "EUR"}, "reason": "Cable was broken"}
    await at.tenant.send("POST", f"{payment}/refund", body)
    await booked(clearing_cards="1.66", fees_cards=fee)
    assert (await at.tenant.get(payment))["payment"]["state"] == "partly_refunded"
    intent = at.intent()
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:

        async def decide(what: str) -> None:
            assert (await client.post(f"/control/intents/{intent.id}/{what}")).status_code == 200

        await decide("dispute")
        await booked(clearing_cards="-15.29", disputed_cards="1.95", fees_cards="15.29")
        await decide("dispute_lost")
        found = await booked(clearing_cards="-15.29", fees_cards="15.29")
        found = await at.tenant.until(lambda: balances(at), lambda seen: "write-off" in seen, timeout_s=LIMIT_S)
    assert found["write-off"] == "1.95"
    assert "disputed:cards" not in found
    await sound(at)
    await asyncio.sleep(0)


async def test_a_long_session_is_read_once_while_it_goes_on_and_once_for_its_price(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    assert server.business is not None
    costs: Any = server.business.guests._costs
    plan = Plan(energy_wh=6_000, meter_interval_s=5, hold=True)
    at = await site(house, server, simulator, "2.0.1", replace(FAST, remote_plan=plan))
    before = costs.rows_read
    done = await charged(at, "en", energy_wh=6_000)
    assert done["paid"] == {"amount": "3.54", "currency": "EUR"}
    (transaction,) = (await at.tenant.get("/transactions", station_id=at.station.station_id))["items"]
    async with server.database.read() as db:
        events = await db.fetchval(
            "SELECT count(*) FROM transaction_event WHERE transaction_id = $1", int(transaction["id"])
        )
    assert events > 300
    # By the messages that came since, however often it is looked at; and all of them once more at its end.
    assert costs.rows_read - before <= 3 * events
