"""Payments, providers, wallets and credit accounts over REST."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chargeplane.simulator.payments import PaymentSimulator
from tests.support import postgres
from tests.support.rest import Rest, assert_problem, running_rest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rest(postgres_server: postgres.TestServer) -> AsyncIterator[Rest]:
    with postgres_server.database() as url:
        async with running_rest(url) as made:
            yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator(rest: Rest) -> AsyncIterator[PaymentSimulator]:
    """The provider `cards` of the tenant."""
    made = PaymentSimulator()
    await made.start()
    body = {
        "kind": "simulator",
        "settings": {"url": made.url},
        "secrets": {"key": "merchant-of-rest", "webhook_secret": "secret"},
    }
    assert (await rest.client.put("/v1/payment-providers/cards", json=body)).status_code == 200
    yield made
    await made.stop()


async def wallet(rest: Rest, money: str | None = None) -> Any:
    made = await rest.client.post("/v1/wallets", json={"owner": secrets.token_hex(6), "currency": "EUR"})
    assert made.status_code == 201, made.text
    if money is not None:
        body = {"amount": {"amount": money, "currency": "EUR"}, "reason": "a gift"}
        done = await rest.client.post(f"/v1/wallets/{made.json()['id']}/corrections", json=body)
        assert done.status_code == 200, done.text
    return made.json()


async def top_up(rest: Rest, simulator: PaymentSimulator, wallet_id: str, amount: str) -> Any:
    """A top-up that was paid; the payment."""
    body = {"amount": {"amount": amount, "currency": "EUR"}, "provider": "cards"}
    made = await rest.client.post(f"/v1/wallets/{wallet_id}/top-ups", json=body)
    assert made.status_code == 201, made.text
    payment = made.json()
    assert payment["state"] == "requires_action"
    async with httpx.AsyncClient(trust_env=False) as payer:
        await payer.post(payment["action_url"], data={"do": "pay", "number": "4242424242424242"})
    return payment


async def until(rest: Rest, path: str, **wanted: Any) -> Any:
    async with asyncio.timeout(30):
        while True:
            seen = (await rest.client.get(path)).json()
            found = seen.get("payment", seen)
            if all(found[name] == value for name, value in wanted.items()):
                return seen
            await rest.client.post(f"{path}/retry")
            await asyncio.sleep(0.02)


async def test_secrets_of_providers_are_sealed_and_never_shown(rest: Rest, simulator: PaymentSimulator) -> None:
    for shown in (
        (await rest.client.get("/v1/payment-providers")).text,
        (await rest.client.get("/v1/payment-providers/cards")).text,
    ):
        assert "merchant-of-rest" not in shown
        assert '"secrets":["key","webhook_secret"]' in shown
    stored = await rest.execute("SELECT secrets FROM payment_provider WHERE name = 'cards'")
    assert b"merchant" not in stored
    audited = await rest.execute(
        "SELECT string_agg(after::text, ' ') FROM audit_log WHERE object_kind = 'payment-provider'"
    )
    assert "merchant-of-rest" not in audited


async def test_wrong_settings_are_named_by_field(rest: Rest) -> None:
    put = rest.client.put
    assert_problem(await put("/v1/payment-providers/x", json={"kind": "gold"}), 422, pointer="#/kind")
    body: dict[str, Any] = {"kind": "simulator", "settings": {"url": "ftp://x"}, "secrets": {"key": "k" * 8}}
    assert_problem(await put("/v1/payment-providers/x", json=body), 422, pointer="#/settings/url")
    body["settings"]["url"] = "http://127.0.0.1:1"
    assert_problem(await put("/v1/payment-providers/x", json=body), 422, pointer="#/secrets/webhook_secret")
    body["settings"]["colour"] = "red"
    assert_problem(await put("/v1/payment-providers/x", json=body), 422, pointer="#/settings/colour")
    stripe = {"kind": "stripe", "settings": {"flow": "no"}, "secrets": {"key": "k", "webhook_secret": "s"}}
    assert_problem(await put("/v1/payment-providers/x", json=stripe), 422, pointer="#/settings/flow")
    assert_problem(await put("/v1/payment-providers/terminal", json={"kind": "free"}), 422)
    assert_problem(await put("/v1/payment-providers/UPPER", json={"kind": "free"}), 404)
    assert_problem(await rest.client.get("/v1/payment-providers/x"), 404)


async def test_a_provider_is_changed_only_as_it_was_read_and_removed_only_unused(rest: Rest) -> None:
    first = await rest.client.put("/v1/payment-providers/gratis", json={"kind": "free"})
    assert first.status_code == 200
    stale = await rest.client.put(
        "/v1/payment-providers/gratis", json={"kind": "free", "enabled": False}, headers={"If-Match": '"9"'}
    )
    assert_problem(stale, 412)
    fresh = await rest.client.put(
        "/v1/payment-providers/gratis", json={"kind": "free"}, headers={"If-Match": first.headers["etag"]}
    )
    assert fresh.status_code == 200
    assert (await rest.client.delete("/v1/payment-providers/gratis")).status_code == 204
    assert_problem(await rest.client.delete("/v1/payment-providers/gratis"), 404)


async def test_a_top_up_is_on_the_wallet_once_and_its_refund_is_taken_from_it(
    rest: Rest, simulator: PaymentSimulator
) -> None:
    made = await wallet(rest)
    payment = await top_up(rest, simulator, made["id"], "25.00")
    path = f"/v1/payments/{payment['id']}"
    details = await until(rest, path, state="captured")
    assert details["payment"]["captured"] == {"amount": "25.00", "currency": "EUR"}
    assert "4242424242424242" not in str(details)
    for _ in range(3):
        await rest.client.post(f"{path}/retry")
    seen = (await rest.client.get(f"/v1/wallets/{made['id']}")).json()
    assert seen["balance"]["amount"] == "25.00"
    body = {"reason": "changed my mind", "amount": {"amount": "10.00", "currency": "EUR"}}
    refunded = await rest.client.post(f"{path}/refund", json=body)
    assert refunded.status_code == 200, refunded.text
    assert refunded.json()["payment"]["state"] == "partly_refunded"
    assert refunded.json()["refundable"]["amount"] == "15.00"
    assert (await rest.client.get(f"/v1/wallets/{made['id']}")).json()["balance"]["amount"] == "15.00"
    spend = {"amount": {"amount": "-10.00", "currency": "EUR"}, "reason": "spent"}
    assert (await rest.client.post(f"/v1/wallets/{made['id']}/corrections", json=spend)).status_code == 200
    assert_problem(await rest.client.post(f"{path}/refund", json={"reason": "all"}), 409)
    entries = (await rest.client.get(f"/v1/wallets/{made['id']}/entries")).json()["items"]
    assert [one["kind"] for one in entries] == ["correction", "top_up_refund", "top_up"]


async def test_refunds_are_bounded_and_voids_need_a_hold(rest: Rest, simulator: PaymentSimulator) -> None:
    made = await wallet(rest)
    payment = await top_up(rest, simulator, made["id"], "5.00")
    path = f"/v1/payments/{payment['id']}"
    await until(rest, path, state="captured")
    for amount in ("5.01", "0", "-1", "1.001"):
        body = {"reason": "x", "amount": {"amount": amount, "currency": "EUR"}}
        assert_problem(await rest.client.post(f"{path}/refund", json=body), 422, pointer="#/amount/amount")
    wrong = {"reason": "x", "amount": {"amount": "1", "currency": "SEK"}}
    assert_problem(await rest.client.post(f"{path}/refund", json=wrong), 422, pointer="#/amount/currency")
    problem = assert_problem(await rest.client.post(f"{path}/void", json={"reason": "x"}), 409)
    assert "refunded" in problem["detail"]
    assert_problem(await rest.client.post(f"{path}/refund", json={}), 422, pointer="#/reason")
    assert_problem(await rest.client.get("/v1/payments/999999"), 404)
    open_one = await rest.client.post(
        f"/v1/wallets/{made['id']}/top-ups",
        json={"amount": {"amount": "5.00", "currency": "EUR"}, "provider": "cards"},
    )
    void = await rest.client.post(f"/v1/payments/{open_one.json()['id']}/void", json={"reason": "not wanted"})
    assert void.json()["payment"]["state"] == "voided"
    assert_problem(await rest.client.post(f"/v1/payments/{open_one.json()['id']}/refund", json={"reason": "x"}), 409)


async def test_fifty_holds_at_once_never_take_a_wallet_below_zero(rest: Rest) -> None:
    from chargeplane.app.payments.house import HouseProvider
    from chargeplane.app.payments.ports import DeclinedError
    from tests.payments.providers import TENANT, Case, euro

    made = await wallet(rest, "100.00")
    provider = HouseProvider(rest.database, TENANT, "wallet")

    async def account(_: Any) -> int:
        return int(made["id"])

    case = Case("wallet", provider, None, account)

    async def hold() -> bool:
        begun = await provider.start(await case.order("9.00"))
        try:
            await provider.authorize(begun.ref, euro("9.00"), "hold-" + begun.ref)
        except DeclinedError:
            return False
        if secrets.randbelow(2):
            await provider.capture(begun.ref, euro("9.00"), "take-" + begun.ref)
        return True

    taken = await asyncio.gather(*(hold() for _ in range(50)))
    assert taken.count(True) == 11  # 99.00 of 100.00
    seen = (await rest.client.get(f"/v1/wallets/{made['id']}")).json()
    assert seen["available"]["amount"] == "1.00"
    balance, held = await rest.execute(
        "SELECT ARRAY[balance, held] FROM payment_account WHERE id = $1", int(made["id"])
    )
    assert balance - held == 1
    assert held >= 0


async def test_credit_accounts_have_limits_that_are_changed_as_read(rest: Rest) -> None:
    body = {"owner": "A-2026-1", "currency": "EUR", "credit_limit": 500}
    made = await rest.client.post("/v1/credit-accounts", json=body)
    assert made.json()["available"]["amount"] == "500.00"
    assert_problem(await rest.client.post("/v1/credit-accounts", json=body), 409)
    path = f"/v1/credit-accounts/{made.json()['id']}"
    wrong = await rest.client.patch(path, json={"credit_limit": -1})
    assert_problem(wrong, 422, pointer="#/credit_limit")
    assert_problem(await rest.client.patch(path, json={"credit_limit": 1}, headers={"If-Match": '"7"'}), 412)
    changed = await rest.client.patch(path, json={"credit_limit": 900}, headers={"If-Match": made.headers["etag"]})
    assert changed.json()["available"]["amount"] == "900.00"
    assert_problem(await rest.client.get(f"/v1/wallets/{made.json()['id']}"), 404)


async def test_scopes_and_tenants_are_kept_apart(rest: Rest, simulator: PaymentSimulator) -> None:
    made = await wallet(rest)
    payment = await top_up(rest, simulator, made["id"], "5.00")
    tenant = f"other-{secrets.token_hex(3)}"
    assert (await rest.client.post("/v1/tenants", json={"slug": tenant, "name": tenant})).status_code == 201
    key = await rest.client.post("/v1/api-keys", json={"name": "k", "scopes": ["admin"], "tenant": tenant})
    async with rest.as_key(key.json()["key"]) as other:
        for path in (f"/v1/payments/{payment['id']}", f"/v1/wallets/{made['id']}", "/v1/payment-providers/cards"):
            assert_problem(await other.get(path), 404)
        assert (await other.get("/v1/payments")).json()["items"] == []
        assert_problem(await other.post(f"/v1/payments/{payment['id']}/void", json={"reason": "x"}), 404)
    reader = await rest.client.post("/v1/api-keys", json={"name": "r", "scopes": ["payments:read"]})
    async with rest.as_key(reader.json()["key"]) as only_reads:
        assert (await only_reads.get("/v1/payments")).status_code == 200
        assert_problem(await only_reads.post(f"/v1/payments/{payment['id']}/void", json={"reason": "x"}), 403)


async def test_webhooks_at_unknown_addresses_and_without_a_signature_are_refused(
    rest: Rest, simulator: PaymentSimulator
) -> None:
    provider = (await rest.client.get("/v1/payment-providers/cards")).json()
    async with httpx.AsyncClient(base_url=rest.base_url, trust_env=False) as anybody:
        assert_problem(await anybody.post("/v1/webhooks/payments/unknown", json={}), 404)
        assert_problem(await anybody.post(provider["webhook_path"], json={"id": "x"}), 400)
    assert await rest.execute("SELECT count(*) FROM payment_webhook WHERE event_id = 'x'") == 0


async def test_pages_and_filters(rest: Rest, simulator: PaymentSimulator) -> None:
    made = await wallet(rest)
    idents = [(await top_up(rest, simulator, made["id"], "5.00"))["id"] for _ in range(3)]
    first = (await rest.client.get("/v1/payments?limit=2&purpose=top_up&provider=cards")).json()
    assert [one["id"] for one in first["items"]] == [idents[2], idents[1]]
    second = (
        await rest.client.get(f"/v1/payments?limit=2&purpose=top_up&provider=cards&cursor={first['next_cursor']}")
    ).json()
    assert second["items"][0]["id"] == idents[0]
    assert_problem(await rest.client.get("/v1/payments?state=rich"), 400, parameter="state")
    assert_problem(await rest.client.get("/v1/payments?created_from=soon"), 400, parameter="created_from")
    reference = first["items"][0]["provider_reference"]
    found = (await rest.client.get(f"/v1/payments?provider_reference={reference}")).json()["items"]
    assert [one["id"] for one in found] == [idents[2]]
