"""Sessions of account holders whose agreement is paid by card or from a wallet: held before energy flows, or stopped with a reason."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from chargeplane.main.wiring import Server
from chargeplane.simulator import Plan, VirtualStation
from chargeplane.simulator.meter import DC_300
from chargeplane.simulator.payments import PaymentSimulator
from chargeplane.simulator.payments.book import Intent
from tests.invoicing.making import ISSUER
from tests.payments.stripe_stand_in import KEY, SECRET, StripeStandIn
from tests.payments.test_guests import LIMIT_S, house, server, simulator
from tests.payments.test_money import mails_to
from tests.sessions.making import ENERGY, Site
from tests.sessions.making import site as priced_site
from tests.support.charging_house import ChargingHouse, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["house", "server", "simulator"]

GOOD, DECLINED_LATER = "4242424242424242", "4000000000009987"
PASSWORD = "a long enough password"


async def provider(made: Site, simulator: PaymentSimulator) -> None:
    """Cards by the simulated provider, wallets by the house."""
    tenant = made.tenant
    key, secret = f"merchant-{tenant.slug}", f"secret-{tenant.slug}"
    cards = {"kind": "simulator", "for_guests": True, "settings": {"url": simulator.url}}
    told = await tenant.send(
        "PUT", "/payment-providers/cards", {**cards, "secrets": {"key": key, "webhook_secret": secret}}
    )
    await tenant.send("PUT", "/payment-providers/wallet", {"kind": "wallet"})
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
        url = tenant.house.base.removesuffix("/v1") + told["webhook_path"]
        hook = {"url": url, "secret": secret}
        answer = await client.put("/v1/webhook", json=hook, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
    await tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})


async def driver(tenant: Tenant) -> tuple[str, str]:
    """A driver with an id token; both."""
    address = f"d{secrets.token_hex(6)}@example.org"
    made = await tenant.send("POST", "/drivers", {"email": address, "first_name": "Eva", "last_name": "Falk"})
    tag = f"RFID{secrets.token_hex(5)}".upper()
    await tenant.send("POST", f"/drivers/{made['id']}/id-tokens", {"id_token": tag})
    return made["id"], tag


async def agreement(tenant: Tenant, driver_id: str, method: str, **limits: Any) -> Any:
    """An active agreement of a driver, billed by session."""
    body = {
        "kind": "driver_plan",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "driver", "id": driver_id}],
        "starts_at": "2026-01-01T00:00:00Z",
        "billing": {"cycle": "session", "method": method},
        "limits": {"hold_per_session": {"amount": "25.00", "currency": "EUR"}, **limits},
    }
    path = f"/service-agreements/{(await tenant.send('POST', '/service-agreements', body))['id']}"
    await tenant.send("POST", f"{path}/propose", {})
    return await tenant.send("POST", f"{path}/accept", {})


async def card(tenant: Tenant, simulator: PaymentSimulator, owner: str, number: str) -> None:
    """Saves a card at the provider's page."""
    begun = await tenant.send("POST", "/payment-methods", {"owner": owner, "currency": "EUR"})
    async with httpx.AsyncClient(trust_env=False) as browser:
        await browser.post(begun["action_url"], data={"do": "pay", "number": number})

    async def saved() -> list[Any]:
        return list((await tenant.get("/payment-methods", owner=owner))["items"])

    (one,) = await tenant.until(saved, bool, timeout_s=LIMIT_S)
    assert (one["label"], one["is_default"]) == (f"Visa {number[-4:]}", True)
    payment = await tenant.until(
        lambda: tenant.get(f"/payments/{begun['id']}"),
        lambda seen: seen["payment"]["state"] == "voided",
        timeout_s=LIMIT_S,
    )
    assert payment["payment"]["captured"]["amount"] == "0.00"


async def ready(made: Site, version: str) -> VirtualStation:
    station = await made.station(version, model=DC_300)
    # The agreement holds from its acceptance on, so the station's clock stands where ours does.
    station.clock.freeze(datetime.now(UTC))
    return station


UNTIL_STOPPED = Plan(energy_wh=1_000, meter_interval_s=60, hold=True)
"""Takes so much and stays until somebody stops it."""


def intents(simulator: PaymentSimulator, tenant: Tenant) -> list[Intent]:
    """What was to be paid at the provider; saving a card is not."""
    return [one for one in simulator.book.all() if one.merchant == f"merchant-{tenant.slug}" and not one.save]


async def payments(tenant: Tenant) -> list[Any]:
    return [one for one in (await tenant.get("/payments"))["items"] if one["purpose"] == "session"]


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_a_card_is_held_captured_by_the_cdr_and_the_invoice_is_paid(
    house: ChargingHouse, simulator: PaymentSimulator, version: str
) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    owner, tag = await driver(tenant)
    await card(tenant, simulator, owner, GOOD)
    plan = await agreement(tenant, owner, "card")
    station = await ready(made, version)
    station.plug_in()
    session = await station.start_transaction(tag)
    (held,) = await tenant.until(
        lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["authorized"], timeout_s=LIMIT_S
    )
    assert held["authorized"] == {"amount": "25.00", "currency": "EUR"}
    assert held["driver_id"] == owner
    await station.deliver(session, 10_000)
    await station.stop_transaction(session)
    (paid,) = await tenant.until(
        lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["captured"], timeout_s=LIMIT_S
    )
    assert paid["captured"]["amount"] == "6.00"
    (cdr,) = await made.settled(1)
    assert (cdr["agreement_id"], cdr["payment_id"]) == (plan["id"], paid["id"])
    (intent,) = intents(simulator, tenant)
    assert (intent.holds, intent.captures, intent.released) == (1, 1, True)

    async def invoices() -> list[Any]:
        return list((await tenant.get("/invoices"))["items"])

    (invoice,) = await tenant.until(
        invoices, lambda found: [one["state"] for one in found] == ["paid"], timeout_s=LIMIT_S
    )
    assert invoice["gross"]["amount"] == "6.00"
    report = await tenant.get("/ledger/check")
    assert report["sound"], report["flaws"]


@pytest.mark.parametrize(("version", "number"), [("1.6", DECLINED_LATER), ("2.1", DECLINED_LATER), ("2.0.1", None)])
async def test_a_session_whose_card_is_declined_or_missing_is_stopped_and_says_why(
    house: ChargingHouse, simulator: PaymentSimulator, version: str, number: str | None
) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    owner, tag = await driver(tenant)
    if number is not None:
        await card(tenant, simulator, owner, number)
    await agreement(tenant, owner, "card")
    station = await ready(made, version)
    charging = asyncio.create_task(station.charge(id_token=tag, plan=UNTIL_STOPPED))
    stopped = await tenant.until(
        lambda: tenant.transactions(station),
        lambda found: [one["state"] for one in found] == ["closed"],
        timeout_s=LIMIT_S,
    )
    assert stopped[0]["stop_reason"] == "Remote"
    await charging
    why = "card_declined" if number else "no_payment_method"
    found = await tenant.until(
        lambda: tenant.get("/alerts", station_id=station.station_id),
        lambda seen: any(one["kind"] == "payment" for one in seen["items"]),
        timeout_s=LIMIT_S,
    )
    (alert,) = [one for one in found["items"] if one["kind"] == "payment"]
    assert alert["details"]["code"] == why
    await made.settled(1)
    assert [intent.captures for intent in intents(simulator, tenant)] == ([0] if number else [])
    assert [one["state"] for one in await payments(tenant)] == (["failed"] if number else [])


async def test_a_wallet_pays_and_one_without_enough_stops_the_session(
    house: ChargingHouse, simulator: PaymentSimulator
) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    owner, tag = await driver(tenant)
    await agreement(tenant, owner, "wallet")
    wallet = await tenant.send("POST", "/wallets", {"owner": owner, "currency": "EUR"})
    amount = {"amount": {"amount": "30.00", "currency": "EUR"}, "reason": "Welcome"}
    await tenant.send("POST", f"/wallets/{wallet['id']}/corrections", amount)
    station = await ready(made, "2.0.1")
    station.plug_in()
    session = await station.start_transaction(tag)
    await tenant.until(
        lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["authorized"], timeout_s=LIMIT_S
    )
    await station.deliver(session, 10_000)
    await station.stop_transaction(session)
    await tenant.until(
        lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["captured"], timeout_s=LIMIT_S
    )
    view = await tenant.get(f"/wallets/{wallet['id']}")
    assert (view["balance"]["amount"], view["held"]["amount"]) == ("24.00", "0.00")
    # 24.00 are left, 25.00 are to be held.
    station.clock.freeze(datetime.now(UTC))
    station.unplug()
    charging = asyncio.create_task(station.charge(id_token=tag, plan=UNTIL_STOPPED))
    await tenant.until(
        lambda: tenant.transactions(station),
        lambda found: [one["state"] for one in found] == ["closed", "closed"],
        timeout_s=LIMIT_S,
    )
    await charging
    states = await tenant.until(
        lambda: payments(tenant), lambda found: len(found) == 2 and found[0]["state"] == "failed", timeout_s=LIMIT_S
    )
    assert states[0]["error"] == "insufficient_funds"
    assert (await tenant.get(f"/wallets/{wallet['id']}"))["held"]["amount"] == "0.00"


async def test_an_agreement_that_is_invoiced_holds_nothing(house: ChargingHouse, simulator: PaymentSimulator) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    owner, tag = await driver(tenant)
    await agreement(tenant, owner, "invoice")
    station = await ready(made, "2.0.1")
    station.plug_in()
    session = await station.start_transaction(tag)
    await station.deliver(session, 1_000)
    await station.stop_transaction(session)
    await made.settled(1)
    assert await payments(tenant) == []


async def signed_in(server: Server, tenant: Tenant) -> httpx.AsyncClient:
    """A driver with an account, at the drivers' door."""
    address = f"me{secrets.token_hex(6)}@example.org"
    base = tenant.house.base.removesuffix("/v1")
    async with httpx.AsyncClient(base_url=base, timeout=60) as client:
        body = {"email": address, "password": PASSWORD, "tenant": tenant.slug}
        assert (await client.post("/v1/me/register", json=body)).status_code == 202

        async def mailed() -> list[Any]:
            return await mails_to(server, address)

        message = (await tenant.until(mailed, bool, timeout_s=LIMIT_S))[0]
        code = re.search(r"[?#](?:code=)?([A-Za-z0-9_-]{20,})", message.get_content())
        assert code is not None
        assert (await client.post("/v1/me/verify-email", json={"code": code[1]})).status_code == 204
        answer = await client.post("/v1/me/login", json=body)
        assert answer.status_code == 200, answer.text
    return httpx.AsyncClient(base_url=base, timeout=60, headers={"Authorization": f"Bearer {answer.json()['token']}"})


async def test_by_app_the_amount_is_held_first_and_nothing_is_started_where_it_is_not_to_be_had(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    async with await signed_in(server, tenant) as me:
        owner = (await me.get("/v1/me")).json()["id"]
        await agreement(tenant, owner, "card")
        station = await ready(made, "2.0.1")
        evse = (await tenant.get(f"/locations/{made.location_id}"))["evses"][0]["uid"]

        async def start() -> httpx.Response:
            return await me.post("/v1/me/charges?wait_s=30", json={"evse_uid": evse})

        refused = await start()
        assert refused.status_code == 409
        assert "none is saved" in refused.json()["detail"]
        begun = await me.post("/v1/me/payment-methods", json={"currency": "EUR"})
        assert begun.status_code == 201, begun.text
        async with httpx.AsyncClient(trust_env=False) as browser:
            await browser.post(begun.json()["action_url"], data={"do": "pay", "number": DECLINED_LATER})

        async def mine() -> list[Any]:
            return list((await me.get("/v1/me/payment-methods")).json()["items"])

        (bad,) = await tenant.until(mine, bool, timeout_s=LIMIT_S)
        refused = await start()
        assert refused.status_code == 409
        assert "card_declined" in refused.json()["detail"]
        assert [name for name, _ in station.calls if name == "RequestStartTransaction"] == []
        await card(tenant, simulator, f"{owner}-other", GOOD)  # another's changes nothing
        assert (await me.delete(f"/v1/me/payment-methods/{bad['id']}")).status_code == 204
        await card(tenant, simulator, owner, GOOD)
        started = await start()
        assert started.status_code == 202, started.text
        assert started.json()["state"] == "accepted"
        begins = [payload for name, payload in station.calls if name == "RequestStartTransaction"]
        assert len(begins) == 1
        found = await tenant.until(
            lambda: payments(tenant),
            lambda seen: seen[0]["state"] == "authorized" and seen[0]["session_id"] is not None,
            timeout_s=LIMIT_S,
        )
        # One hold, made before the start, is the session's.
        assert [one["state"] for one in found].count("authorized") == 1
        stop = await me.post(f"/v1/me/transactions/{found[0]['session_id']}/stop?wait_s=30")
        assert stop.status_code == 202, stop.text
        await tenant.until(
            lambda: payments(tenant),
            lambda seen: seen[0]["state"] in ("captured", "voided"),
            timeout_s=LIMIT_S,
        )
    await asyncio.sleep(0)


async def test_a_hold_whose_session_the_station_refuses_is_released(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    async with await signed_in(server, tenant) as me:
        owner = (await me.get("/v1/me")).json()["id"]
        await card(tenant, simulator, owner, GOOD)
        await agreement(tenant, owner, "card")
        station = await ready(made, "2.0.1")
        station.plug_in()
        await station.start_transaction((await tenant.token())["id_token"])
        evse = (await tenant.get(f"/locations/{made.location_id}"))["evses"][0]["uid"]
        answer = await me.post("/v1/me/charges?wait_s=30", json={"evse_uid": evse})
        assert answer.status_code == 202, answer.text
        assert answer.json()["state"] == "rejected"

        async def released() -> list[str]:
            return [one.status.value for one in intents(simulator, tenant)]

        assert await tenant.until(released, lambda seen: seen == ["canceled"], timeout_s=LIMIT_S) == ["canceled"]


async def test_a_card_is_saved_though_the_hold_was_told_while_the_provider_was_being_asked(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await priced_site(house, ENERGY)
    tenant = made.tenant
    await provider(made, simulator)
    owner, _ = await driver(tenant)
    begun = await tenant.send("POST", "/payment-methods", {"owner": owner, "currency": "EUR"})
    ident = int(begun["id"])
    assert server.business is not None
    carrying = server.business.payments._carrying
    ask, stale = carrying._call, []

    async def answered_late(provider: Any, work: Any) -> Any:
        answer = await ask(provider, work)
        if work.stored.id == ident and not stale:
            stale.append(answer)
            async with httpx.AsyncClient(trust_env=False) as browser:
                await browser.post(begun["action_url"], data={"do": "pay", "number": GOOD})
            async with asyncio.timeout(LIMIT_S):
                held = 0
                while not held:
                    await asyncio.sleep(0.02)
                    async with server.database.read() as db:
                        held = await db.fetchval("SELECT authorized FROM payment WHERE id = $1", ident)
        return answer

    monkeypatch.setattr(carrying, "_call", answered_late)
    async with asyncio.timeout(LIMIT_S):
        while not stale:  # not while what asked for the hold is still at it
            await carrying.drive(ident, look=True)
            await asyncio.sleep(0.02)
    assert stale[0].seen.authorized == 0

    async def saved() -> list[Any]:
        return list((await tenant.get("/payment-methods", owner=owner))["items"])

    (one,) = await tenant.until(saved, bool, timeout_s=LIMIT_S)
    assert one["label"] == "Visa 4242"


async def test_with_stripe_a_card_is_saved_once_and_pays_sessions_without_the_payer(house: ChargingHouse) -> None:
    made = await priced_site(house, ENERGY)
    tenant, stripe = made.tenant, StripeStandIn()
    await stripe.start()
    try:
        told = await tenant.send(
            "PUT",
            "/payment-providers/cards",
            {
                "kind": "stripe",
                "for_guests": True,
                "settings": {"api_url": stripe.url, "increment": True},
                "secrets": {"key": KEY, "webhook_secret": SECRET},
            },
        )
        await tenant.send("PUT", "/invoicing-settings", {"issuer": ISSUER})
        hook = tenant.house.base.removesuffix("/v1") + told["webhook_path"]

        async def tell() -> None:
            """Stripe tells all that happened, twice."""
            async with httpx.AsyncClient(trust_env=False) as client:
                for event in stripe.events[:]:
                    headers, body = stripe.delivery(event)
                    for _ in range(2):
                        assert (await client.post(hook, content=body, headers=headers)).status_code < 300

        owner, tag = await driver(tenant)
        begun = await tenant.send(
            "POST", "/payment-methods", {"owner": owner, "currency": "EUR", "return_url": "https://example.org/back"}
        )
        (page,) = stripe.sessions
        assert begun["action_url"] == stripe.sessions[page]["url"]
        stripe.pay(page, GOOD)
        await tell()

        async def cards() -> list[Any]:
            return list((await tenant.get("/payment-methods", owner=owner))["items"])

        (card_of,) = await tenant.until(cards, bool, timeout_s=LIMIT_S)
        assert (card_of["label"], card_of["is_default"]) == ("Visa 4242", True)
        (saving,) = stripe.intents.values()

        async def released() -> bool:
            return saving["status"] == "canceled"

        await tenant.until(released, bool, timeout_s=LIMIT_S)
        assert saving["amount_received"] == 0

        await agreement(tenant, owner, "card")
        station = await ready(made, "2.0.1")
        station.plug_in()
        session = await station.start_transaction(tag)
        await tenant.until(
            lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["authorized"], timeout_s=LIMIT_S
        )
        await station.deliver(session, 10_000)
        await station.stop_transaction(session)
        (paid,) = await tenant.until(
            lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["captured"], timeout_s=LIMIT_S
        )
        assert (paid["captured"]["amount"], paid["method"]) == ("6.00", "Visa 4242")
        _, held = stripe.intents.values()
        assert (held["amount"], held["amount_received"], held["status"]) == (2500, 600, "succeeded")
        assert (held["customer"], held["payment_method"]) == (saving["customer"], saving["payment_method"])
        stripe.dispute(held["id"])
        await tell()
        await tenant.until(
            lambda: payments(tenant), lambda found: [one["state"] for one in found] == ["disputed"], timeout_s=LIMIT_S
        )
        assert stripe.refused == []
    finally:
        await stripe.stop()
