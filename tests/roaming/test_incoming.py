"""Sessions and CDRs of partners: linked to our drivers, rated again, billed by the agreement, owed to the partner, disputed, credited."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from chargeplane.app.agreements.resolving import Resolving
from chargeplane.app.alerts import Alerts
from chargeplane.app.api_keys import Caller
from chargeplane.app.roaming.incoming import TOPIC, Incoming
from chargeplane.app.roaming.partner_records import PartnerRecords
from chargeplane.app.roaming.replicas import Owner, Replicas
from chargeplane.domain.roaming.checking import Tolerance, Verdict
from chargeplane.domain.roaming.disputes import DisputeState
from chargeplane.domain.roaming.replicas import Module, Outcome
from chargeplane.kernel.errors import ConflictError, NotFoundError
from chargeplane.store.outbox import Fact
from chargeplane.store.queries import partner_records as queries
from chargeplane.store.queries.partner_records import PartnerCdr, PartnerCdrFilter
from tests.invoicing.making import CLIENTS, Tenant, agreement, billing_tenant, run
from tests.invoicing.test_settlements import contract, settle
from tests.support.postgres import TestServer
from tests.support.rest import Rest, running_rest

NUMBERS = itertools.count(1)
HOUR = {
    "country_code": "DE",
    "party_id": "ABC",
    "currency": "EUR",
    "tax_included": "NO",
    "last_updated": "2026-01-01T00:00:00Z",
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class House:
    """A provider: its REST door, and what takes partners' records."""

    rest: Rest
    replicas: Replicas
    incoming: Incoming
    records: PartnerRecords

    async def take(self, one: Tenant, document: dict[str, Any]) -> PartnerCdr:
        """A CDR comes, and what follows from it is done, as the outbox has it done."""
        owner = Owner(one.id, 7, "DE", "ABC")
        written = await self.replicas.keep(owner, Module.CDRS, document["id"], json.dumps(document).encode())
        assert written.outcome is Outcome.CREATED
        await self.handle(one)
        return await self.cdr(one, written.key)

    async def handle(self, one: Tenant) -> None:
        """What the outbox does with facts about CDRs."""
        async with self.rest.database.read() as db:
            rows = await db.fetch("SELECT * FROM outbox WHERE tenant_id = $1 AND topic = $2 ORDER BY id", one.id, TOPIC)
        for row in rows:
            fact = Fact(
                id=row["id"], tenant_id=one.id, topic=TOPIC, key=row["key"], payload=row["payload"],
                created_at=datetime.now(UTC), attempts=1,
            )  # fmt: skip
            await self.incoming.came(fact)
            await self.incoming.came(fact)  # handed over at least once, so a repeat does nothing more
            await self.rest.execute("DELETE FROM outbox WHERE id = $1", row["id"])

    async def cdr(self, one: Tenant, key: int) -> PartnerCdr:
        async with self.rest.database.read() as db:
            found = await queries.cdr(db, one.id, key)
        assert found is not None
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server: TestServer) -> AsyncIterator[House]:
    with postgres_server.database() as url:
        async with running_rest(url) as rest:
            replicas = Replicas(rest.database)
            business = rest.business
            incoming = Incoming(
                rest.database,
                rest.events,
                Resolving(rest.database, business.people),
                business.tariffs,
                Tolerance(),
                Alerts(rest.database, rest.events),
            )
            replicas.hooks = {Module.SESSIONS: [incoming.sessions], Module.CDRS: [incoming.cdrs]}
            await replicas.start()
            yield House(rest, replicas, incoming, PartnerRecords(rest.database, rest.events))
            await replicas.stop()
            while CLIENTS:
                await CLIENTS.pop().aclose()


async def driver_with_token(one: Tenant) -> tuple[str, str]:
    """A driver with a card: (id, uid)."""
    number = next(NUMBERS)
    made = await one.client.post("/v1/drivers", json={"email": f"d{number}@example.com", "first_name": "D"})
    assert made.status_code == 201, made.text
    uid = f"CARD{number:06d}"
    given = await one.client.post(f"/v1/drivers/{made.json()['id']}/id-tokens", json={"id_token": uid})
    assert given.status_code == 201, given.text
    return made.json()["id"], uid


def _ago(**more: int) -> str:
    return (
        (datetime.now(UTC) - timedelta(**{"minutes": 1, **more})).isoformat(timespec="seconds").replace("+00:00", "Z")
    )


async def owed(house: House, one: Tenant) -> Decimal:
    """What the ledger says that we owe the partner, below nothing."""
    return Decimal(
        await house.rest.execute(
            "SELECT coalesce(sum(p.amount), 0) FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id"
            " WHERE p.tenant_id = $1 AND a.code = 'payable:DE*ABC'",
            one.id,
        )
    )


def tariff(price: str = "0.50", **more: Any) -> dict[str, Any]:
    element = {"price_components": [{"type": "ENERGY", "price": float(price), "vat": 19.0, "step_size": 1}]}
    return {**HOUR, "id": "T1", "elements": [element], **more}


def cdr(uid: str, cost: str = "10.00", **more: Any) -> dict[str, Any]:
    """20 kWh in two hours."""
    number = next(NUMBERS)
    net = Decimal(cost)
    return {
        "country_code": "DE",
        "party_id": "ABC",
        "id": f"CDR{number}",
        "start_date_time": "2026-03-02T10:00:00Z",
        "end_date_time": "2026-03-02T12:00:00Z",
        "session_id": f"S{number}",
        "cdr_token": {"country_code": "DE", "party_id": "EMP", "uid": uid, "type": "RFID", "contract_id": "DEEMPC1"},
        "auth_method": "WHITELIST",
        "cdr_location": {
            "id": "LOC1", "name": "Hof", "address": "Weg 1", "city": "Hof", "country": "DEU",
            "coordinates": {"latitude": "50.1", "longitude": "11.9"}, "evse_uid": "E1", "evse_id": "DE*ABC*E1",
            "connector_id": "1", "connector_standard": "IEC_62196_T2", "connector_format": "SOCKET",
            "connector_power_type": "AC_3_PHASE",
        },
        "currency": "EUR",
        "tariffs": [tariff()],
        "charging_periods": [
            {"start_date_time": "2026-03-02T10:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 20}, {"type": "TIME", "volume": 2}]}
        ],
        "total_cost": {
            "before_taxes": float(net),
            "taxes": [{"name": "VAT", "percentage": 19.0, "amount": float((net * Decimal("0.19")).quantize(Decimal("0.01")))}],
        },
        "total_energy": 20,
        "total_time": 2,
        "last_updated": "2026-03-02T12:00:05Z",
        **more,
    }  # fmt: skip


async def ours(one: Tenant, driver_id: str) -> list[dict[str, Any]]:
    found = await one.client.get("/v1/cdrs", params={"driver_id": driver_id})
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def balances(one: Tenant) -> dict[str, str]:
    found = await one.client.get("/v1/ledger/accounts")
    assert found.status_code == 200, found.text
    return {row["code"]: row["balances"][0]["amount"] for row in found.json()["items"] if row.get("balances")}


async def test_cdr_that_agrees_is_passed_through_billed_and_owed(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    taken = await house.take(one, cdr(uid.lower()))
    assert taken.verdict is Verdict.AGREES
    assert str(taken.driver_id) == driver_id
    (mine,) = await ours(one, driver_id)
    assert (mine["total_excl"]["amount"], mine["total_incl"]["amount"]) == ("10.00", "11.90")
    assert mine["location_id"] == "DE*ABC*LOC1"
    assert mine["held"] is False
    rows = await house.rest.execute(
        "SELECT json_object_agg(a.code, p.amount ORDER BY a.code)::text FROM ledger_posting p JOIN ledger_account a"
        " ON a.id = p.account_id WHERE p.tenant_id = $1",
        one.id,
    )
    assert json.loads(rows) == {"cost:roaming": 10.0, "input-tax:DE": 1.9, "payable:DE*ABC": -11.9}


async def test_billed_cdr_is_on_an_invoice_of_the_driver(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    taken = await house.take(one, cdr(uid))
    assert taken.cdr_id is not None
    async with asyncio.timeout(30):
        while not await house.rest.execute("SELECT 1 FROM billable_cdr WHERE cdr_id = $1", taken.cdr_id):
            await asyncio.sleep(0.02)
    done = await run(one, until="2026-04-01T00:00:00Z")
    assert (done["done"], done["failed"]) == (1, 0)
    (invoice,) = (await one.client.get("/v1/invoices")).json()["items"]
    assert invoice["gross"]["amount"] == "11.90"
    assert invoice["driver_id"] == driver_id


async def test_agreement_with_a_roaming_fee_passes_through_and_adds_it(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    fee = {
        "type": "roaming_fee",
        "name": "Roaming",
        "per_session": {"amount": "0.35", "currency": "EUR"},
        "percent": "10",
    }
    ident = await agreement(house.rest, one, begun=datetime(2026, 1, 1, tzinfo=UTC), items=[fee])
    await house.take(one, cdr(uid))
    (mine,) = await ours(one, driver_id)
    assert mine["agreement_id"] == str(ident)
    assert mine["total_excl"]["amount"] == "11.35"


async def test_agreement_with_a_tariff_prices_by_it(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    flat = {
        "id": "OURS", "currency": "EUR", "tax_included": "YES",
        "elements": [{"price_components": [{"type": "ENERGY", "price": "0.79", "vat": "19"}]}],
    }  # fmt: skip
    made = await one.client.post("/v1/tariffs", json=flat)
    assert made.status_code == 201, made.text
    items = [{"type": "tariff", "tariff_id": "OURS", "version": 1}]
    await agreement(house.rest, one, begun=datetime(2026, 1, 1, tzinfo=UTC), items=items)
    await house.take(one, cdr(uid))
    (mine,) = await ours(one, driver_id)
    assert (mine["tariff_id"], mine["total_incl"]["amount"]) == ("OURS", "15.80")


async def test_cdr_that_differs_is_shown_with_the_differences_and_held(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    taken = await house.take(one, cdr(uid, "12.00"))
    assert taken.verdict is Verdict.DIFFERS
    assert taken.check is not None
    assert next((one.what, str(one.told), str(one.found)) for one in taken.check.differences) == (
        "total_excl",
        "12.0",
        "10.00",
    )
    (mine,) = await ours(one, driver_id)
    assert mine["held"] is True
    assert mine["holds"][0]["hold"] == "partner_differs"
    assert mine["total_excl"]["amount"] == "12.00"


async def test_small_difference_is_tolerated(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    assert (await house.take(one, cdr(uid, "10.04"))).verdict is Verdict.AGREES
    assert (await house.take(one, cdr(uid, "10.10"))).verdict is Verdict.DIFFERS


async def test_cdr_without_a_tariff_is_rated_by_our_copy_of_it(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    owner = Owner(one.id, 7, "DE", "ABC")
    await house.replicas.put(owner, Module.TARIFFS, "T1", json.dumps(tariff()).encode())
    said = cdr(uid, tariffs=[])
    said["charging_periods"][0]["tariff_id"] = "t1"
    taken = await house.take(one, said)
    assert taken.check is not None
    assert (taken.verdict, taken.check.source) == (Verdict.AGREES, "replica")


async def test_tariff_that_changed_since_says_nothing(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    owner = Owner(one.id, 7, "DE", "ABC")
    await house.replicas.put(
        owner, Module.TARIFFS, "T1", json.dumps(tariff(last_updated="2026-03-02T11:00:00Z")).encode()
    )
    said = cdr(uid, tariffs=[])
    said["charging_periods"][0]["tariff_id"] = "T1"
    taken = await house.take(one, said)
    assert taken.check is not None
    assert taken.verdict is Verdict.UNRATED
    assert "has changed" in (taken.check.because or "")
    (mine,) = await ours(one, driver_id)
    assert (mine["total_excl"]["amount"], mine["held"]) == ("10.00", False)


async def test_credit_cdr_takes_everything_back(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    said = cdr(uid)
    first = await house.take(one, said)
    negative = {"before_taxes": -10.0, "taxes": [{"name": "VAT", "percentage": 19.0, "amount": -1.9}]}
    credit = await house.take(
        one,
        {
            **said,
            "id": f"{said['id']}-C",
            "credit": True,
            "credit_reference_id": said["id"].lower(),
            "total_cost": negative,
        },
    )
    assert credit.verdict is Verdict.CREDIT
    assert (await house.cdr(one, first.object_key)).credited_by == credit.object_key
    totals = [row["total_incl"]["amount"] for row in await ours(one, driver_id)]
    assert sorted(totals) == ["-11.90", "11.90"]
    total = await house.rest.execute("SELECT coalesce(sum(p.amount), 0) FROM ledger_posting p JOIN ledger_account a ON a.id = p.account_id"
                                     " WHERE p.tenant_id = $1 AND a.code = 'payable:DE*ABC'", one.id)  # fmt: skip
    assert total == 0


async def test_token_that_is_none_of_ours_bills_nobody_and_is_owed_all_the_same(house: House) -> None:
    one = await billing_tenant(house.rest)
    taken = await house.take(one, cdr("NOBODY"))
    assert (taken.driver_id, taken.cdr_id, taken.posted_at is not None) == (None, None, True)


async def test_dispute_goes_its_way_and_a_credit_ends_it(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    said = cdr(uid, "12.00")
    first = await house.take(one, said)
    caller = Caller(key_id=0, tenant_id=one.id, name="desk", scopes=frozenset())
    records = house.records
    opened = await records.dispute(
        caller, first.object_key, DisputeState.OPEN, "Two euros too much", claimed=Decimal(10)
    )
    assert (opened.dispute_state, opened.dispute.claimed) == (DisputeState.OPEN, Decimal(10))
    with pytest.raises(ConflictError):
        await records.dispute(caller, first.object_key, DisputeState.OPEN, "Again")
    accepted = await records.dispute(caller, first.object_key, DisputeState.ACCEPTED, "They agree")
    assert [step.state for step in accepted.dispute.steps] == [DisputeState.OPEN, DisputeState.ACCEPTED]
    negative = {"before_taxes": -12.0, "taxes": []}
    await house.take(
        one, {**said, "id": "CRED", "credit": True, "credit_reference_id": said["id"], "total_cost": negative}
    )
    assert (await house.cdr(one, first.object_key)).dispute_state is DisputeState.CREDITED
    with pytest.raises(NotFoundError):
        await records.dispute(caller, 10**12, DisputeState.OPEN, "Nothing")


async def test_received_cdrs_are_settled_and_disputed_ones_wait_until_that_is_over(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    party = {"kind": "ocpi_party", "id": "DE*ABC", "name": "ABC"}
    agreement = await contract(house.rest, one, "roaming_bilateral", party=party)
    when = {"start_date_time": _ago(hours=3), "end_date_time": _ago(hours=2)}
    said = [cdr(uid, cost, **when) for cost in ("10.00", "12.00", "20.00")]
    taken = [await house.take(one, each) for each in said]
    caller = Caller(key_id=0, tenant_id=one.id, name="desk", scopes=frozenset())
    for row in taken[1:]:
        await house.records.dispute(caller, row.object_key, DisputeState.OPEN, "Too much")
    listed = (await one.client.get("/v1/partner-cdrs", params={"open": "true"})).json()["items"]
    assert [(row["cdr_id"], row["agreement_id"], row["dispute"]) for row in listed] == [
        (said[2]["id"], agreement, "open"),
        (said[1]["id"], agreement, "open"),
        (said[0]["id"], agreement, None),
    ]
    assert listed[2]["received_cdr_id"] == str(taken[0].object_key)
    first = await settle(one, agreement, until=datetime.now(UTC) - timedelta(minutes=2))
    assert [(line["kind"], line["amount"]["amount"]) for line in first["lines"]] == [
        ("owed_to_partner", "11.90"),
        ("disputed", "38.08"),
    ]
    assert first["payable"]["amount"] == "11.90"
    document = await one.client.get(f"/v1/partner-statements/{first['id']}/pdf")
    assert document.content.startswith(b"%PDF-")

    # One stands after all, the other is credited: the next statement has the one, and the other with what takes it back.
    await house.records.dispute(caller, taken[1].object_key, DisputeState.REJECTED, "It is right")
    await house.records.dispute(caller, taken[2].object_key, DisputeState.ACCEPTED, "They agree")
    still = (
        await one.client.post("/v1/partner-statements/preview", json={"agreement_id": agreement, "until": _ago()})
    ).json()
    assert [(line["kind"], line["amount"]["amount"]) for line in still["lines"]] == [
        ("owed_to_partner", "14.28"),
        ("disputed", "23.80"),
    ]
    back = {"before_taxes": -20.0, "taxes": [{"name": "VAT", "percentage": 19.0, "amount": -3.8}]}
    credit = {**said[2], "id": f"{said[2]['id']}-C", "credit": True, "credit_reference_id": said[2]["id"]}
    await house.take(one, {**credit, "total_cost": back})
    second = await settle(one, agreement, until=datetime.now(UTC))
    (line,) = second["lines"]
    assert (line["kind"], line["amount"]["amount"], line["sessions"]) == ("owed_to_partner", "14.28", 1)
    paid = [
        (await one.client.post(f"/v1/partner-statements/{made['id']}/pay", json={})).json() for made in (first, second)
    ]
    assert all(made["paid_at"] for made in paid)
    assert await owed(house, one) == 0


async def test_cdr_that_came_before_the_agreement_was_made_is_on_its_first_statement(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    await house.take(one, cdr(uid, start_date_time=_ago(hours=3), end_date_time=_ago(hours=2)))
    await house.take(one, cdr(uid))  # long before the agreement: owed, and not settled by it
    party = {"kind": "ocpi_party", "id": "de*abc", "name": "ABC"}
    agreement = await contract(house.rest, one, "roaming_bilateral", party=party)
    made = await settle(one, agreement, until=datetime.now(UTC))
    assert [(line["kind"], line["amount"]["amount"]) for line in made["lines"]] == [("owed_to_partner", "11.90")]
    assert await owed(house, one) == Decimal("-23.80")


async def test_cdr_that_was_handed_in_and_comes_again_is_owed_once(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    party = {"kind": "ocpi_party", "id": "DE*ABC", "name": "ABC"}
    await contract(house.rest, one, "roaming_bilateral", party=party)
    for cost, gross in (
        ("10.00", "11.90"),
        ("10.00", "12.00"),
    ):  # the same, and one that was handed in with other amounts
        said = cdr(uid, cost, start_date_time=_ago(hours=3), end_date_time=_ago(hours=2))
        body = {
            "party": "DE*ABC",
            "cdr_id": said["id"].lower(),  # ids of OCPI do not differ by case
            "started_at": said["start_date_time"],
            "ended_at": said["end_date_time"],
            "energy_wh": "20000",
            "total_excl": {"amount": cost, "currency": "EUR"},
            "total_incl": {"amount": gross, "currency": "EUR"},
            "country": "DE",
        }
        assert (await one.client.post("/v1/partner-cdrs", json=body)).status_code == 201
        assert (await house.take(one, said)).posted_at is not None
    assert await owed(house, one) == Decimal("-23.90")
    assert len(await ours(one, driver_id)) == 2
    (alert,) = (await one.client.get("/v1/alerts", params={"kind": "partner_cdr"})).json()["items"]
    assert (alert["severity"], alert["details"]["cdr_id"]) == ("warning", said["id"])
    assert alert["details"]["total_incl"] == "11.90"


async def test_dispute_holds_back_a_cdr_that_was_handed_in_first(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    party = {"kind": "ocpi_party", "id": "DE*ABC", "name": "ABC"}
    agreement = await contract(house.rest, one, "roaming_bilateral", party=party)
    said = cdr(uid, start_date_time=_ago(hours=3), end_date_time=_ago(hours=2))
    body = {
        "party": "DE*ABC", "cdr_id": said["id"], "started_at": said["start_date_time"], "ended_at": said["end_date_time"],
        "energy_wh": "20000", "total_excl": {"amount": "10.00", "currency": "EUR"},
        "total_incl": {"amount": "11.90", "currency": "EUR"}, "country": "DE",
    }  # fmt: skip
    assert (await one.client.post("/v1/partner-cdrs", json=body)).status_code == 201
    taken = await house.take(one, said)
    caller = Caller(key_id=0, tenant_id=one.id, name="desk", scopes=frozenset())
    await house.records.dispute(caller, taken.object_key, DisputeState.OPEN, "Too much")
    (listed,) = (await one.client.get("/v1/partner-cdrs", params={"open": "true"})).json()["items"]
    assert (listed["received_cdr_id"], listed["dispute"]) == (str(taken.object_key), "open")
    shown = await one.client.post("/v1/partner-statements/preview", json={"agreement_id": agreement, "until": _ago()})
    assert [line["kind"] for line in shown.json()["lines"]] == ["disputed"]


async def test_session_is_linked_to_its_driver_and_follows_its_patches(house: House) -> None:
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    owner = Owner(one.id, 7, "DE", "ABC")
    session = {
        "country_code": "DE", "party_id": "ABC", "id": "S1", "start_date_time": "2026-03-02T10:00:00Z", "kwh": 0.0,
        "cdr_token": {"uid": uid, "type": "RFID", "contract_id": "C"}, "auth_method": "WHITELIST", "location_id": "LOC1",
        "evse_uid": "E1", "connector_id": "1", "currency": "EUR", "status": "ACTIVE", "authorization_reference": "REF1",
        "last_updated": "2026-03-02T10:00:00Z",
    }  # fmt: skip
    await house.replicas.put(owner, Module.SESSIONS, "S1", json.dumps(session).encode())
    patch = {"kwh": 7.5, "total_cost": {"before_taxes": 3.75}, "last_updated": "2026-03-02T10:30:00Z"}
    await house.replicas.patch(owner, Module.SESSIONS, "S1", json.dumps(patch).encode())
    caller = Caller(key_id=0, tenant_id=one.id, name="d", scopes=frozenset(), driver_id=int(driver_id))
    (found,) = await house.records.sessions(caller, 10, None, driver_id=int(driver_id))
    assert (found.partner, found.status, found.kwh, found.cost_excl) == (
        "DE*ABC",
        "ACTIVE",
        Decimal("7.5"),
        Decimal("3.75"),
    )
    async with house.rest.database.read() as db:
        by_reference = await queries.session_by_reference(db, one.id, "REF1")
    assert by_reference is not None
    assert by_reference.object_key == found.object_key


async def test_session_that_names_the_contract_alone_is_its_drivers_before_partners_were_told_of_a_token(
    house: House,
) -> None:
    """OCPI 2.1.1: a driver who has just come charges by command, and the session is back before the token was pushed."""
    one = await billing_tenant(house.rest)
    driver_id, uid = await driver_with_token(one)
    party = f"C{int(driver_id):02d}"[-3:].rjust(3, "X")
    async with house.rest.database.change() as db:
        await db.execute(
            "INSERT INTO roaming_party (tenant_id, country_code, party_id, roles, business_details)"
            " VALUES ($1, 'DK', $2, ARRAY['EMSP'], '{}')",
            one.id,
            party,
        )
        token = await db.fetchval("SELECT id FROM id_token WHERE tenant_id = $1 AND id_token = $2", one.id, uid)
    mine = f"DK{party}C{int(driver_id):08d}"
    asked = [(one.id, named, named) for named in (mine, mine.lower(), f"DK{party}T{token:08d}")]
    foreign = [
        (one.id, named, None) for named in (f"DKZZZC{int(driver_id):08d}", f"DK{party}C99999999", f"DK{party}C12")
    ]
    async with house.rest.database.read() as db:
        found = await queries.our_tokens(db, [*asked, *foreign])
        other = await queries.our_tokens(db, [(one.id + 1, mine, mine)])
    assert {key[1]: (known.id, known.driver_id) for key, known in found.items()} == {
        mine.lower(): (token, int(driver_id)),
        f"dk{party}t{token:08d}".lower(): (token, int(driver_id)),
    }
    assert other == {}


async def test_cdrs_are_listed_by_verdict(house: House) -> None:
    one = await billing_tenant(house.rest)
    _, uid = await driver_with_token(one)
    good = await house.take(one, cdr(uid))
    bad = await house.take(one, cdr(uid, "12.00"))
    caller = Caller(key_id=0, tenant_id=one.id, name="desk", scopes=frozenset())
    every = await house.records.cdrs(caller, PartnerCdrFilter(), 10, None)
    assert {one.object_key for one in every} == {good.object_key, bad.object_key}
    wrong = await house.records.cdrs(caller, PartnerCdrFilter(verdict=Verdict.DIFFERS), 10, None)
    assert [one.object_key for one in wrong] == [bad.object_key]
