"""VAT numbers asked for at a register that speaks as VIES does, and what invoices make of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.invoicing.vat import VatChecks
from chargeplane.domain.vat_numbers import VatCheck, VatOutcome, verified
from chargeplane.edges.outgoing import HttpFetcher, ViesRegister
from tests.invoicing.making import Tenant, billing_tenant, run
from tests.invoicing.test_billing import invoices
from tests.invoicing.test_booking_fees import details
from tests.support.rest import Rest, assert_problem

NOW = datetime.now(UTC)
DUTCH = "NL123456789B01"


class Vies:
    """A register on a local port.

    Args:
        answers: status and body by number; others are not found.
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.asked.append(path)
        status, said = self.answers.get(path.rpartition("/")[2], (404, {}))
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def vies() -> AsyncIterator[Vies]:
    """A register."""
    made = Vies()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/rest-api"
    yield made
    server.close()
    await server.wait_closed()


@pytest_asyncio.fixture(loop_scope="session")
async def register(vies: Vies) -> AsyncIterator[ViesRegister]:
    """Its client."""
    fetcher = HttpFetcher(private_networks=True, timeout_s=2)
    yield ViesRegister(fetcher, vies.url + "/")
    await fetcher.close()


VALID = {
    "isValid": True,
    "userError": "VALID",
    "name": "Tulp BV",
    "address": "Gracht 1\n1012 Amsterdam",
    "requestIdentifier": "WAPI1",
}


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        ((200, VALID), VatOutcome.VALID, None),
        ((200, {"valid": True, "name": "---", "address": "---"}), VatOutcome.VALID, None),
        ((200, {"isValid": False, "userError": "INVALID"}), VatOutcome.INVALID, None),
        ((200, {"isValid": False, "userError": "MS_UNAVAILABLE"}), VatOutcome.UNKNOWN, "MS_UNAVAILABLE"),
        ((200, {"userError": "VALID"}), VatOutcome.UNKNOWN, "VALID"),
        ((200, b"<html>"), VatOutcome.UNKNOWN, "cannot be read"),
        ((200, b"x" * 70_000), VatOutcome.UNKNOWN, ""),
        ((503, {}), VatOutcome.UNKNOWN, "503"),
    ],
)
async def test_what_the_register_does_not_say_is_unknown_with_the_reason(
    vies: Vies, register: ViesRegister, answer: tuple[int, Any], outcome: VatOutcome, reason: str | None
) -> None:
    vies.answers["123456789B01"] = answer
    said = await register.ask(DUTCH)
    assert (said.outcome, said.reason is None) == (outcome, reason is None)
    assert reason is None or reason in (said.reason or "")
    assert vies.asked[-1] == "/rest-api/ms/NL/vat/123456789B01"
    looked_up = await register.look_up(DUTCH)
    assert (looked_up is None) == (outcome is VatOutcome.UNKNOWN)


async def test_a_register_that_is_away_leaves_a_number_unknown() -> None:
    fetcher = HttpFetcher(private_networks=True, timeout_s=2)
    said = await ViesRegister(fetcher, "http://127.0.0.1:9").ask(DUTCH)
    assert said.outcome is VatOutcome.UNKNOWN
    assert said.reason
    guarded = HttpFetcher()
    assert "127.0.0.1" in ((await ViesRegister(guarded, "http://127.0.0.1:9").ask(DUTCH)).reason or "")
    await fetcher.close()
    await guarded.close()


def test_an_answer_counts_for_a_while() -> None:
    check = VatCheck(
        vat_id=DUTCH,
        outcome=VatOutcome.UNKNOWN,
        reason="MS_UNAVAILABLE",
        name=None,
        address=None,
        reference=None,
        checked_at=NOW,
        valid_at=NOW - timedelta(days=29),
    )
    assert verified(check, NOW)
    assert not verified(check, NOW + timedelta(days=2))
    assert not verified(None, NOW)


async def fee_to_the_french(rest: Rest, one: Tenant, vat_id: str) -> dict[str, Any]:
    """The invoice of a French company for a service; what a run makes of it."""
    body = {
        "kind": "fleet",
        "currency": "EUR",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", "kind": "company", "id": "fr"}],
        "items": [{"type": "recurring_fee", "name": "Fee", "amount": {"amount": "10.00", "currency": "EUR"}}],
    }
    made = await one.client.post("/v1/service-agreements", json=body)
    begun = NOW - timedelta(days=40)
    await rest.execute(
        "UPDATE service_agreement SET state = 'active', begun_at = $2, starts_at = $2, accepted_at = $2, ends_at = $3 WHERE id = $1",
        int(made.json()["id"]),
        begun,
        begun + timedelta(days=3),
    )
    await rest.execute(
        "UPDATE service_agreement_version SET state = 'accepted' WHERE agreement_id = $1", int(made.json()["id"])
    )
    customer = {"name": "Soleil SA", "vat_id": vat_id, "address": {"country": "FR", "city": "Lyon", "lines": ["1"]}}
    put = await one.client.put("/v1/invoice-customers/company/fr", json=customer)
    assert put.status_code == 200, put.text
    return {"agreement_id": made.json()["id"]}


@pytest.mark.parametrize("policy", ["verified", "form"])
async def test_the_tax_is_the_customers_only_where_the_number_is_verified_or_the_policy_says_so(
    rest: Rest, vies: Vies, register: ViesRegister, policy: str
) -> None:
    checks = VatChecks(rest.database, register)
    for answer, known, charged in (
        ((503, {}), "unknown", policy == "verified"),
        ((200, {"isValid": False}), "invalid", policy == "verified"),
        ((200, VALID), "valid", False),
    ):
        one = await billing_tenant(rest, reverse_charge=policy)
        await fee_to_the_french(rest, one, "FR 40303265045")
        vies.answers["40303265045"] = answer
        await checks.look()
        stored = (await one.client.get("/v1/vat-checks/FR40303265045")).json()
        assert stored["outcome"] == known
        await run(one)
        (made,) = await invoices(one)
        found = await details(one, made)
        assert found["vat_check"]["outcome"] == known
        assert (found["vat_check"]["reason"] is None) == (known != "unknown")
        categories = {line["tax"]["category"] for line in found["lines"]}
        assert categories == ({"S"} if charged else {"AE"})
        assert ("reverse_charge" in found["notes"]) is not charged


async def test_a_number_is_asked_for_by_hand_and_without_a_register_it_is_unknown(rest: Rest) -> None:
    one = await billing_tenant(rest)
    answer = await one.client.post("/v1/vat-checks", json={"vat_id": "nl 123456789b01"})
    assert (answer.json()["outcome"], answer.json()["vat_id"]) == ("unknown", DUTCH)
    assert "vat.url" in answer.json()["reason"]
    assert (await one.client.get(f"/v1/vat-checks/{DUTCH}")).json()["outcome"] == "unknown"
    assert_problem(await one.client.post("/v1/vat-checks", json={"vat_id": "NL12"}), 422, pointer="#/vat_id")
    assert_problem(await one.client.get("/v1/vat-checks/NL999999999B99"), 404)
