"""Statements of site hosts and roaming partners, by REST; what the ledger has of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.agreements.items import EnergyTerms, RevenueShare, ShareBase
from chargeplane.domain.settlements.shares import Earned, earned_of, share_lines
from chargeplane.kernel.money import Money
from tests.invoicing.making import Tenant, billing_tenant, cdr, run
from tests.invoicing.test_billing import invoices, sound
from tests.support.rest import Rest, assert_problem

NOW = datetime.now(UTC).replace(microsecond=0)


async def contract(
    rest: Rest, one: Tenant, kind: str, *items: dict[str, Any], party: dict[str, Any], scope: Any = ()
) -> str:
    """An agreement that began forty days ago; its id."""
    body = {
        "kind": kind,
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "parties": [{"role": "provider", "kind": "house"}, {"role": "consumer", **party}],
        "scope": list(scope),
        "items": list(items),
    }
    made = await one.client.post("/v1/service-agreements", json=body)
    assert made.status_code == 201, made.text
    ident = str(made.json()["id"])
    await rest.execute(
        "UPDATE service_agreement SET state = 'active', begun_at = $2, starts_at = $2, accepted_at = $2 WHERE id = $1",
        int(ident),
        NOW - timedelta(days=40),
    )
    await rest.execute("UPDATE service_agreement_version SET state = 'accepted' WHERE agreement_id = $1", int(ident))
    return ident


HOST = {"kind": "company", "id": "hof", "name": "Hof GmbH"}
SHARE = {"type": "revenue_share", "name": "Share", "percent": "10"}
PER_KWH = {"type": "revenue_share", "name": "Ground", "per_kwh": {"amount": "0.02", "currency": "EUR"}}
HERE = [{"kind": "location", "value": "L1"}]


async def settle(one: Tenant, agreement: str, *, until: datetime = NOW, status: int = 201) -> Any:
    body = {"agreement_id": agreement, "until": until.isoformat()}
    answer = await one.client.post("/v1/partner-statements", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_site_host_gets_its_share_of_what_was_earned_there_and_nothing_twice(rest: Rest) -> None:
    one = await billing_tenant(rest)
    agreement = await contract(rest, one, "site_host", SHARE, PER_KWH, party=HOST, scope=HERE)
    for _ in range(3):
        await cdr(rest, one, driver_id=3)  # 10.00 before tax, 21.5 kWh
    elsewhere = await contract(rest, one, "site_host", SHARE, party=HOST, scope=[{"kind": "location", "value": "X"}])
    preview = await one.client.post(
        "/v1/partner-statements/preview", json={"agreement_id": agreement, "until": NOW.isoformat()}
    )
    assert preview.json()["payable"]["amount"] == "4.29"
    made = await settle(one, agreement)
    assert (made["payable"]["amount"], made["sessions"], made["party"]) == ("4.29", 3, "company:hof")
    assert [(line["kind"], line["amount"]["amount"]) for line in made["lines"]] == [
        ("revenue_share", "3.00"),
        ("energy_share", "1.29"),
    ]
    assert (made["lines"][0]["base"]["amount"], made["lines"][0]["percent"]) == ("30.00", 10)
    balances = await sound(one)
    assert (balances["cost:revenue-share"], balances["payable:company:hof"]) == ("4.29", "-4.29")
    again = await one.client.post("/v1/partner-statements", json={"agreement_id": agreement})
    assert_problem(again, 409)
    nothing = await one.client.post(
        "/v1/partner-statements", json={"agreement_id": elsewhere, "until": NOW.isoformat()}
    )
    assert_problem(nothing, 409)
    listed = (await one.client.get("/v1/partner-statements", params={"agreement_id": agreement})).json()["items"]
    assert [found["number"] for found in listed] == [made["number"]]
    document = await one.client.get(f"/v1/partner-statements/{made['id']}/pdf")
    assert document.content.startswith(b"%PDF-")
    paid = await one.client.post(f"/v1/partner-statements/{made['id']}/pay", json={"reference": "SEPA 7"})
    assert paid.json()["paid_reference"] == "SEPA 7"
    assert_problem(await one.client.post(f"/v1/partner-statements/{made['id']}/pay", json={}), 409)
    balances = await sound(one)
    assert (balances["payable:company:hof"], balances["bank"]) == ("0.00", "-4.29")


async def test_what_is_credited_later_is_taken_off_the_next_statement(rest: Rest) -> None:
    one = await billing_tenant(rest)
    agreement = await contract(rest, one, "site_host", SHARE, party=HOST)
    early = NOW - timedelta(days=2)
    wrong = await cdr(rest, one, driver_id=3, at=early)
    held = await cdr(rest, one, driver_id=3, at=early, holds=["signature"])
    first = await settle(one, agreement, until=NOW - timedelta(days=1))
    assert (first["payable"]["amount"], first["sessions"]) == ("1.00", 1)
    await cdr(rest, one, driver_id=3, at=early, credits=wrong)
    await rest.execute(
        "INSERT INTO cdr_release (cdr_id, tenant_id, released_by, reason) VALUES ($1, $2, 'x', 'y')", held, one.id
    )
    await cdr(rest, one, driver_id=3, incl="23.80")
    second = await settle(one, agreement)
    assert (second["payable"]["amount"], second["sessions"], second["late"]) == ("2.00", 1, 2)
    balances = await sound(one)
    assert balances["payable:company:hof"] == "-3.00"  # 10 % of 10.00 and 20.00, the third was taken back


async def test_how_we_stand_with_a_roaming_partner(rest: Rest) -> None:
    one = await billing_tenant(rest)
    party = {"kind": "ocpi_party", "id": "NL*TNM", "name": "The New Motion"}
    agreement = await contract(rest, one, "roaming_bilateral", party=party)
    await cdr(rest, one, agreement_id=int(agreement))  # theirs with us: 11.90
    sent = {
        "party": "nl*tnm",
        "cdr_id": "C-1",
        "started_at": (NOW - timedelta(hours=3)).isoformat(),
        "ended_at": (NOW - timedelta(hours=2)).isoformat(),
        "energy_wh": "10000",
        "total_excl": {"amount": "5.00", "currency": "EUR"},
        "total_incl": {"amount": "6.05", "currency": "EUR"},
        "country": "NL",
        "id_token": "NL-TNM-1",
    }
    made = await one.client.post("/v1/partner-cdrs", json=sent)
    assert made.status_code == 201, made.text
    assert (await one.client.post("/v1/partner-cdrs", json=sent)).json()["id"] == made.json()["id"]
    other = sent | {"total_excl": {"amount": "4.00", "currency": "EUR"}}
    assert_problem(await one.client.post("/v1/partner-cdrs", json=other), 409)
    back = sent | {"cdr_id": "C-2", "credit": True}
    back |= {"total_excl": {"amount": "1.00", "currency": "EUR"}, "total_incl": {"amount": "1.21", "currency": "EUR"}}
    assert (await one.client.post("/v1/partner-cdrs", json=back)).json()["total_incl"]["amount"] == "-1.21"
    balances = await sound(one)
    assert (balances["cost:roaming"], balances["input-tax:NL"]) == ("4.00", "0.84")
    assert balances["payable:NL*TNM"] == "-4.84"
    statement = await settle(one, agreement)
    assert [(line["kind"], line["amount"]["amount"]) for line in statement["lines"]] == [
        ("owed_to_partner", "4.84"),
        ("owed_by_partner", "11.90"),
    ]
    assert (statement["kind"], statement["payable"]["amount"]) == ("roaming", "-7.06")
    assert (await one.client.get("/v1/partner-cdrs", params={"open": "true"})).json()["items"] == []
    await run(one, until=NOW.isoformat(), cycles=[])
    await one.client.post(f"/v1/partner-statements/{statement['id']}/pay", json={})
    assert (await sound(one))["payable:NL*TNM"] == "0.00"
    assert (await one.client.get(f"/v1/partner-statements/{statement['id']}/pdf")).status_code == 200
    for found in await invoices(one):
        assert found["payer_kind"] == "partner"


async def test_a_cdr_without_an_agreement_is_on_one_statement_where_two_agreements_overlap(rest: Rest) -> None:
    one = await billing_tenant(rest)
    party = {"kind": "ocpi_party", "id": "NL*TNM", "name": "The New Motion"}
    first, second = [await contract(rest, one, kind, party=party) for kind in ("roaming_bilateral", "hub")]
    for at in (NOW - timedelta(hours=2), NOW - timedelta(hours=1)):
        number = await cdr(rest, one, at=at)
        await rest.execute(
            "INSERT INTO roaming_document (tenant_id, module, id, country_code, party_id, body, shape, shaped_at, last_updated)"
            " VALUES ($1, 'cdrs', $2, 'DE', 'LAD', $3, '', now(), now())",
            one.id,
            str(number),
            '{"cdr_token": {"country_code": "nl", "party_id": "tnm"}}',
        )
    made = await settle(one, first, until=NOW - timedelta(minutes=90))
    assert [(line["kind"], line["amount"]["amount"]) for line in made["lines"]] == [("owed_by_partner", "11.90")]
    both = await asyncio.gather(
        *(
            one.client.post("/v1/partner-statements", json={"agreement_id": ident, "until": NOW.isoformat()})
            for ident in (first, second)
        )
    )
    assert sorted(answer.status_code for answer in both) == [201, 409], [answer.text for answer in both]
    (other,) = (answer.json() for answer in both if answer.status_code == 201)
    assert [(line["kind"], line["amount"]["amount"]) for line in other["lines"]] == [("owed_by_partner", "11.90")]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"party": "NLTNM"}, "#/party"),
        ({"ended_at": (NOW - timedelta(days=9)).isoformat()}, "#/ended_at"),
        ({"total_incl": {"amount": "1.00", "currency": "EUR"}}, "#/total_incl/amount"),
        ({"total_incl": {"amount": "9.00", "currency": "SEK"}}, "#/total_incl/currency"),
        ({"country": "Netherlands"}, "#/country"),
    ],
)
async def test_a_partners_cdr_that_is_wrong_names_the_field(rest: Rest, wrong: dict[str, Any], pointer: str) -> None:
    one = await billing_tenant(rest)
    sent = {
        "party": "NL*TNM",
        "cdr_id": "C-1",
        "started_at": (NOW - timedelta(hours=3)).isoformat(),
        "ended_at": (NOW - timedelta(hours=2)).isoformat(),
        "energy_wh": "10000",
        "total_excl": {"amount": "5.00", "currency": "EUR"},
        "total_incl": {"amount": "6.05", "currency": "EUR"},
        "country": "NL",
    }
    assert_problem(await one.client.post("/v1/partner-cdrs", json=sent | wrong), 422, pointer=pointer)


async def test_only_site_hosts_and_roaming_partners_are_settled_with(rest: Rest) -> None:
    one = await billing_tenant(rest)
    fleet = await contract(rest, one, "fleet", party=HOST)
    answer = await one.client.post("/v1/partner-statements", json={"agreement_id": fleet})
    assert "invoiced" in assert_problem(answer, 409)["detail"]
    assert_problem(await one.client.post("/v1/partner-statements", json={"agreement_id": "99999999"}), 404)
    host = await contract(rest, one, "site_host", SHARE, party=HOST)
    later = {"agreement_id": host, "until": (NOW + timedelta(days=2)).isoformat()}
    assert_problem(await one.client.post("/v1/partner-statements", json=later), 422, pointer="#/until")
    unknown = await one.client.post(
        "/v1/partner-cdrs",
        json={
            "party": "DE*XYZ",
            "cdr_id": "C",
            "started_at": NOW.isoformat(),
            "ended_at": NOW.isoformat(),
            "energy_wh": "1",
            "total_excl": {"amount": "1.00", "currency": "EUR"},
            "total_incl": {"amount": "1.00", "currency": "EUR"},
            "country": "DE",
        },
    )
    assert "roaming agreement" in assert_problem(unknown, 409)["detail"]


def test_a_share_of_the_margin_is_one_of_the_revenue_less_the_energy() -> None:
    eur = Money(amount=Decimal("0.30"), currency="EUR")
    items = (
        EnergyTerms(product="Solar", price_per_kwh=eur),
        RevenueShare(name="Half", percent=Decimal(50), base=ShareBase.MARGIN),
    )
    earned = Earned(version=1, sessions=4, energy_kwh=Decimal(100), revenue=Decimal(50))
    energy, share = share_lines(items, earned, "EUR")
    assert (energy.amount, share.base, share.amount) == (Decimal("30.00"), Decimal("20.00"), Decimal("10.00"))
    poor = Earned(version=1, sessions=4, energy_kwh=Decimal(100), revenue=Decimal(20))
    assert share_lines(items, poor, "EUR")[1].amount == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10**6), st.decimals(0, 1000, places=2)), max_size=30))
def test_what_is_taken_back_leaves_nothing(cdrs: list[tuple[bool, int, Decimal]]) -> None:
    all_of = [(credit, Decimal(wh), excl) for credit, wh, excl in cdrs]
    back = [(not credit, -wh, -excl) for credit, wh, excl in all_of]
    earned = earned_of(1, [*all_of, *back])
    assert (earned.sessions, earned.energy_kwh, earned.revenue) == (0, Decimal(0), Decimal(0))
    share = RevenueShare(name="s", percent=Decimal("12.5"), per_kwh=Money(amount=Decimal("0.01"), currency="EUR"))
    assert all(line.amount == 0 for line in share_lines([share], earned, "EUR"))
