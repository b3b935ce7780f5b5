"""Providers for tests, each with its payer: somebody who pays, is declined, or is asked for a second factor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import httpx

from chargeplane.app.payments.house import HouseProvider
from chargeplane.app.payments.ports import Order, Provider
from chargeplane.edges.payments.simulator import SimulatorProvider
from chargeplane.edges.payments.stripe import StripeProvider
from chargeplane.kernel.ids import TenantId
from chargeplane.kernel.money import Money
from chargeplane.simulator.payments import PaymentSimulator
from chargeplane.store.database import Database
from tests.payments.stripe_stand_in import KEY, SECRET, StandInPayer, StripeStandIn

GOOD = "4242424242424242"
DECLINED = "4000000000000002"
SECOND_FACTOR = "4000000000003220"
TENANT = TenantId(1)


def euro(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


class Payer(Protocol):
    """Who pays at a provider."""

    async def pay(self, ref: str, card: str = GOOD) -> None:
        """Gives a card; a declined one is not an error here."""

    async def confirm(self, ref: str) -> None:
        """Gives the second factor."""


@dataclass
class Case:
    """A provider under test.

    Args:
        payer: None: the provider needs none.
        stand_in: for Stripe, where it is the strict one.
        account: new for each payment: what a payment of so much is taken from.
    """

    name: str
    provider: Provider
    payer: Payer | None
    account: Callable[[Money], Any]
    stand_in: StripeStandIn | None = None

    async def order(self, amount: str = "50.00", key: str | None = None, **more: Any) -> Order:
        hold = euro(amount)
        return Order(
            key=key or secrets.token_hex(8),
            reference="1",
            hold=hold,
            description="Charging",
            return_url="http://127.0.0.1:1/back",
            account_id=await self.account(hold),
            **more,
        )

    async def held(self, amount: str = "50.00") -> str:
        """A payment that is held; its reference."""
        begun = await self.provider.start(await self.order(amount))
        if self.payer is not None:
            await self.payer.pay(begun.ref)
        else:
            await self.provider.authorize(begun.ref, euro(amount), secrets.token_hex(8))
        return begun.ref


class SimulatorPayer:
    """At the simulated provider's page, as a browser would."""

    def __init__(self, url: str) -> None:
        self.client = httpx.AsyncClient(base_url=url, trust_env=False)

    async def pay(self, ref: str, card: str = GOOD) -> None:
        answer = await self.client.post(f"/pay/{ref}", data={"do": "pay", "number": card, "cvc": "123"})
        assert answer.status_code in (200, 303), answer.text

    async def confirm(self, ref: str) -> None:
        answer = await self.client.post(f"/pay/{ref}", data={"do": "confirm", "code": "123456"})
        assert answer.status_code == 303, answer.text


class StripePayer:
    """As Stripe's own scripts act for a payer: a payment method, then a confirmation of the intent with it."""

    def __init__(self, url: str) -> None:
        self.client = httpx.AsyncClient(base_url=url, auth=("sk_test_12345", ""), trust_env=False)

    async def pay(self, ref: str, card: str = GOOD) -> None:
        # The stand-in declines by this number when the intent is confirmed.
        number = "4000000000000341" if card == DECLINED else card
        data = {
            "type": "card",
            "card[number]": number,
            "card[exp_month]": "12",
            "card[exp_year]": "2034",
            "card[cvc]": "123",
        }
        method = (await self.client.post("/v1/payment_methods", data=data)).json()["id"]
        assert (
            await self.client.post(f"/v1/payment_intents/{ref}", data={"payment_method": method})
        ).status_code == 200
        answer = await self.client.post(f"/v1/payment_intents/{ref}/confirm")
        assert answer.status_code in (200, 402), answer.text

    async def confirm(self, ref: str) -> None:
        secret = (await self.client.get(f"/v1/payment_intents/{ref}")).json()["client_secret"]
        answer = await self.client.post(
            f"/v1/payment_intents/{ref}/_authenticate", data={"client_secret": secret, "success": "true"}
        )
        assert answer.status_code == 200, answer.text


async def _no_account(_: Money) -> None:
    return None


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def localstripe(folder: Path) -> AsyncIterator[str]:
    """The stand-in for Stripe, as a process; its address."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "localstripe",
        "--port",
        str(port),
        "--from-scratch",
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), httpx.AsyncClient(auth=("sk_test_12345", ""), trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/v1/events")).status_code < 500:
                        break
                await asyncio.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


@contextlib.asynccontextmanager
async def all_cases(database: Database, folder: Path) -> AsyncIterator[dict[str, Case]]:
    """Every provider, running."""

    def account(kind: str) -> Callable[[Money], Any]:
        async def make(amount: Money) -> int:
            async with database.change() as db:
                balance, limit = (amount.amount, Decimal(0)) if kind == "wallet" else (Decimal(0), amount.amount)
                ident: int = await db.fetchval(
                    "INSERT INTO payment_account (tenant_id, kind, owner, currency, balance, credit_limit)"
                    " VALUES (1, $1, $2, 'EUR', $3, $4) RETURNING id",
                    kind,
                    secrets.token_hex(8),
                    balance,
                    limit,
                )
                return ident

        return make

    async with localstripe(folder) as url:
        simulator, stand_in = PaymentSimulator(), StripeStandIn()
        await simulator.start()
        await stand_in.start()
        cases = {
            "simulator": Case(
                "simulator",
                SimulatorProvider(simulator.url, "merchant-of-tests", "secret"),
                SimulatorPayer(simulator.url),
                _no_account,
            ),
            "stripe": Case(
                "stripe",
                StripeProvider("sk_test_12345", "whsec_test", base=url, checkout=False),
                StripePayer(url),
                _no_account,
            ),
            # By Stripe's own page, and by a bare intent; both with holds that can be raised.
            "stripe-page": Case(
                "stripe-page",
                StripeProvider(KEY, SECRET, base=stand_in.url, increment=True),
                StandInPayer(stand_in),
                _no_account,
                stand_in,
            ),
            "stripe-intent": Case(
                "stripe-intent",
                StripeProvider(KEY, SECRET, base=stand_in.url, checkout=False, increment=True),
                StandInPayer(stand_in),
                _no_account,
                stand_in,
            ),
            "wallet": Case("wallet", HouseProvider(database, TENANT, "wallet"), None, account("wallet")),
            "invoice": Case("invoice", HouseProvider(database, TENANT, "invoice"), None, account("credit")),
            "free": Case("free", HouseProvider(database, TENANT, "free"), None, _no_account),
        }
        try:
            yield cases
        finally:
            for case in cases.values():
                await case.provider.close()
                if isinstance(case.payer, SimulatorPayer | StripePayer):
                    await case.payer.client.aclose()
            await simulator.stop()
            await stand_in.stop()
