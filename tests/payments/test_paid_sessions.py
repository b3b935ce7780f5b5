"""Payments of sessions with an account: raised or stopped when the cost comes near the hold, settled by what the CDRs say together."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.events import EventFeed
from chargeplane.app.house import utc_now
from chargeplane.app.payments.carrying import Carrying
from chargeplane.app.payments.house import house_factory
from chargeplane.app.payments.payments import NewPayment, Payments
from chargeplane.app.payments.providers import ProviderChanges, Providers
from chargeplane.app.payments.sessions import PaidSessions
from chargeplane.app.sessions.ports import Seen
from chargeplane.domain.commands import Stop
from chargeplane.domain.rating import Cost, Rating
from chargeplane.domain.tariffs.model import PriceComponent, Tariff, TariffDimension, TariffElement, TaxIncluded
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import TransactionId
from chargeplane.store.database import Database
from chargeplane.store.outbox import Fact
from chargeplane.store.secrets import InstallationKeys
from tests.payments.providers import TENANT, euro
from tests.support import postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")
_CALLER = Caller(key_id=0, tenant_id=TENANT, name="test", scopes=frozenset())


class CommandsDouble:
    """Notes what stations are asked."""

    def __init__(self) -> None:
        self.given: list[tuple[int, Any]] = []

    async def give(self, tenant_id: int, key: int, command: Any, **_: Any) -> int:
        self.given.append((key, command))
        return 1


TARIFF = Tariff(
    id="T",
    last_updated=utc_now(),
    currency="EUR",
    tax_included=TaxIncluded.YES,
    elements=(TariffElement(price_components=(PriceComponent(type=TariffDimension.ENERGY, price=Decimal("0.5")),)),),
)


async def _power_of(tenant_id: int, session_id: int) -> int:
    return 60_000


@dataclass
class Office:
    database: Database
    payments: Payments
    sessions: PaidSessions
    commands: CommandsDouble

    async def paid(self, balance: str, hold: str) -> tuple[int, TransactionId]:
        """A session, with a hold on a new wallet; ids of payment and session."""
        ident = TransactionId(secrets.randbelow(2**40) + 1)
        async with self.database.change() as db:
            account = await db.fetchval(
                "INSERT INTO payment_account (tenant_id, kind, owner, currency, balance)"
                " VALUES (1, 'wallet', $1, 'EUR', $2) RETURNING id",
                secrets.token_hex(6),
                Decimal(balance),
            )
            await db.execute(
                "INSERT INTO transaction (id, tenant_id, station_key, ocpp_transaction_id, opened_at, started_at, energy_wh,"
                " is_open, offline, flags, ordinal, state, updated_at) VALUES ($1, 1, 7, $2, now(), now(), 0, true, false,"
                " '{}', 1, '{}', now())",
                ident,
                f"T{ident}",
            )
        wanted = NewPayment(provider="wallet", hold=euro(hold), session_id=ident, account_id=account)
        view = await self.payments.hold_for(TENANT, wanted, by="test")
        assert view.state == "authorized", view
        return int(view.id), ident

    async def costs(self, payment: int, ident: TransactionId, amount: str, minutes: float = 30) -> None:
        end = utc_now()
        cost = Cost(excl=Decimal(amount), incl=Decimal(amount))
        rating = Rating(
            tariff_id="T",
            tariff_version=1,
            currency="EUR",
            start=end - timedelta(minutes=minutes),
            end=end,
            lines=(),
            total=cost,
            due=cost,
            groups={},
            taxes_known=True,
            energy_wh=Decimal(1000),
            charging_s=Decimal(1800),
            parking_s=Decimal(0),
            reserved_s=Decimal(0),
            used=(),
        )
        await self.sessions.rated(TENANT, ident, payment, rating, TARIFF, Seen(power_w=60_000))

    async def state(self, payment: int) -> Any:
        async with self.database.read() as db:
            return await db.fetchrow("SELECT * FROM payment WHERE id = $1", payment)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(postgres_server: postgres.TestServer) -> AsyncIterator[Office]:
    with postgres_server.database() as url:
        database = Database(url, readers=4)
        providers = Providers(database, InstallationKeys("k" * 32), {"wallet": house_factory(database, "wallet")})
        await providers.put(_CALLER, "wallet", ProviderChanges(kind="wallet"), None)
        events = EventFeed()
        payments = Payments(database, providers, Carrying(database, providers, events, Alerts(database, events)))
        commands = CommandsDouble()
        sessions = PaidSessions(database, payments, providers, commands, _power_of)  # type: ignore[arg-type]
        yield Office(database, payments, sessions, commands)
        await database.close()


async def test_the_hold_is_raised_while_the_wallet_has_more_and_then_the_session_is_stopped_once(
    office: Office,
) -> None:
    payment, ident = await office.paid("40.00", "20.00")
    office.commands.given.clear()
    await office.costs(payment, ident, "5.00")
    assert (await office.state(payment))["authorized"] == 20
    await office.costs(payment, ident, "19.00")
    assert (await office.state(payment))["authorized"] == 40
    assert office.commands.given == []
    for _ in range(3):
        await office.costs(payment, ident, "39.00")
    assert office.commands.given == [(7, Stop(ocpp_transaction_id=f"T{ident}"))]


async def test_a_session_is_found_by_its_payment(office: Office) -> None:
    payment, ident = await office.paid("20.00", "20.00")

    class Transaction:
        tenant_id = TENANT
        id = ident
        id_token: str | None = "SOMEBODY"

    assert await office.sessions.payment_of(Transaction()) == payment
    Transaction.id = TransactionId(1)
    assert await office.sessions.payment_of(Transaction()) is None


async def test_what_cannot_be_read_is_parked_and_what_is_held_takes_nothing(office: Office) -> None:
    payment, ident = await office.paid("20.00", "20.00")

    def fact(topic: str, payload: Any) -> Fact:
        text = payload if isinstance(payload, str) else msgspec.json.encode(payload).decode()
        return Fact(id=1, tenant_id=1, topic=topic, key="k", payload=text, created_at=utc_now(), attempts=1)

    with pytest.raises(RuleError):
        await office.sessions.cdr(fact("cdr.created>payments", "{"))
    told = {"session_id": str(ident), "currency": "EUR", "payment_id": str(payment), "held": True}
    await office.sessions.cdr(fact("cdr.created>payments", told))
    assert (await office.state(payment))["state"] == "authorized"


async def test_a_hold_that_ends_by_itself_takes_what_the_session_costs_by_then(office: Office) -> None:
    payment, ident = await office.paid("20.00", "20.00")
    async with office.database.change() as db:
        await db.execute(
            "INSERT INTO charging_session (id, tenant_id, state, location_id, evse_uid, station_key, frozen, started_at,"
            " currency, cost_excl, cost_incl) VALUES ($1, 1, 'active', 'L', 'E', 7, '{}', now(), 'EUR', 6, 7.14)",
            ident,
        )
        await db.execute(
            "UPDATE payment SET authorized_at = now() - interval '1 hour', expires_at = now() + interval '1 minute',"
            " next_at = now() WHERE id = $1",
            payment,
        )
    await office.payments.drive(payment)
    row = await office.state(payment)
    assert (row["state"], row["captured"]) == ("captured", Decimal("7.14"))
