"""Payments at a station's own terminal (OCPP 2.1 C18 to C25) are recorded as payments, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.events import EventFeed
from chargeplane.app.payments.pricing import TerminalCurrencies
from chargeplane.app.payments.terminals import TerminalPayments
from chargeplane.app.reports import Place
from chargeplane.app.station_payments import StationPayments
from chargeplane.domain.station_exchanges import Settlement
from chargeplane.kernel.ids import StationId, TenantId
from tests.support import postgres
from tests.support.rest import Rest, running_rest

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rest(postgres_server: postgres.TestServer) -> AsyncIterator[Rest]:
    with postgres_server.database() as url:
        async with running_rest(url) as made:
            yield made


async def test_a_settlement_is_a_payment_once_whatever_is_repeated(rest: Rest) -> None:
    key = await rest.station("TERMINAL-1")
    desks: dict[type, Any] = {}
    subject = StationPayments(rest.database, EventFeed())
    subject.recorders.append(TerminalPayments(TerminalCurrencies("SEK")).record)
    subject.register(desks)
    place = Place(tenant_id=TenantId(1), key=key, station_id=StationId("TERMINAL-1"), received_at=datetime.now(UTC))
    told = [
        ("ref-1", "Settled", "12.50"),
        ("ref-1", "Settled", "12.50"),
        ("ref-2", "Canceled", "0"),
        ("ref-3", "Failed", "0"),
    ]
    for reference, status, amount in told:
        await desks[Settlement](
            place,
            Settlement(
                psp_ref=reference,
                status=status,
                amount=Decimal(amount),
                at=datetime.now(UTC),
                ocpp_transaction_id="T1",
            ),
        )
    items = (await rest.client.get("/v1/payments?purpose=terminal")).json()["items"]
    assert [(one["state"], one["captured"]) for one in reversed(items)] == [
        ("captured", {"amount": "12.50", "currency": "SEK"}),
        ("voided", {"amount": "0.00", "currency": "SEK"}),
        ("failed", {"amount": "0.00", "currency": "SEK"}),
    ]
    assert items[0]["provider"] == "terminal"
