"""Invoice reconciliation: an operator's record of a CDR reaches the provider, is compared there, changed, and taken back."""

from __future__ import annotations

from typing import Any

from tests.support.charging_house import ChargingHouse
from tests.support.roaming_pair import Pair, paired, station_of

Houses = tuple[ChargingHouse, ChargingHouse]
SENT, RECEIVED = "/roaming/invoice-reconciliations/sent", "/roaming/invoice-reconciliations/received"


async def charged(pair: Pair) -> tuple[str, Any]:
    """A driver has charged: (the operator's id of the CDR, the CDR as the provider has it)."""
    station, _ = await station_of(pair)
    station.plug_in()
    assert await pair.provider.until(lambda: station.authorize(pair.card), lambda word: word == "Accepted")
    session = await station.start_transaction(pair.card)
    await station.deliver(session, 5000, meter_interval_s=60)
    await station.stop_transaction(session)
    station.unplug()

    async def came() -> Any:
        found = (await pair.provider.get("/roaming/cdrs", driver_id=pair.driver_id))["items"]
        return found[0] if found else None

    cdr = await pair.provider.until(came, lambda one: one is not None and one["verdict"] != "waiting")
    return cdr["cdr_id"], cdr


async def received(pair: Pair) -> Any:
    found = (await pair.provider.get(RECEIVED))["items"]
    return found[0] if found else None


async def test_record_of_an_invoice_is_compared_changed_settled_and_taken_back(houses: Houses) -> None:
    pair = await paired(houses, "2.3.0")
    cdr_id, cdr = await charged(pair)
    partner = (await pair.operator.get("/roaming/partners"))["items"][0]["id"]
    wrong = await pair.operator.client.post(
        SENT, json={"partner_id": partner, "id": "R1", "invoice_id": "INV-1", "cdr_ids": [cdr_id, "NONE"]}
    )
    assert wrong.status_code == 422 or wrong.status_code == 400, wrong.text
    assert "/cdr" in wrong.text
    made = await pair.operator.send(
        "POST", SENT, {"partner_id": partner, "id": "R1", "invoice_id": "INV-1", "cdr_ids": [cdr_id]}
    )
    again = await pair.operator.client.post(
        SENT, json={"partner_id": partner, "id": "r1", "invoice_id": "INV-1", "cdr_ids": [cdr_id]}
    )
    assert again.status_code == 409, again.text
    record = await pair.provider.until(lambda: received(pair), bool)
    assert (record["record_id"], record["invoice_id"], record["cdrs"]) == ("R1", "INV-1", 1)
    compared = await pair.provider.get(f"{RECEIVED}/{record['id']}")
    assert (compared["findings"], compared["differences"]) == ({"agrees": 1}, [])
    assert compared["totals"][0]["total_excl"]["amount"] == cdr["total_excl"]["amount"]
    await pair.operator.until(lambda: pair.operator.get(f"{SENT}/{made['id']}"), lambda one: one["taken"])
    await pair.operator.send("PUT", f"{SENT}/{made['id']}", {"invoice_id": "INV-2", "cdr_ids": [cdr_id, cdr_id]})
    await pair.provider.until(lambda: received(pair), lambda one: one["invoice_id"] == "INV-2")
    compared = await pair.provider.get(f"{RECEIVED}/{record['id']}")
    assert compared["findings"] == {"agrees": 1, "twice": 1}
    settled = await pair.provider.send(
        "POST",
        f"{RECEIVED}/{record['id']}/settle",
        {"invoiced": {"amount": "10.00", "currency": "EUR"}, "note": "asked"},
    )
    total = float(settled["totals"][0]["total_incl"]["amount"])
    assert float(settled["too_much"]["amount"]) == round(10 - total, 2)
    disputed = await pair.provider.send(
        "POST", f"{RECEIVED}/{record['id']}/disputes", {"reason": "x", "cdr_ids": [cdr_id]}
    )
    assert disputed["received_cdr_ids"] == [cdr["id"]]
    assert (await pair.provider.get(f"/roaming/cdrs/{cdr['id']}"))["cdr"]["dispute_state"] == "open"
    await pair.operator.send("DELETE", f"{SENT}/{made['id']}")
    gone = await pair.provider.until(lambda: received(pair), lambda one: one["gone_at"] is not None)
    late = await pair.provider.client.post(f"{RECEIVED}/{gone['id']}/settle", json={})
    assert late.status_code == 409


async def test_list_of_records_is_read_by_its_partner(houses: Houses) -> None:
    pair = await paired(houses, "2.3.0")
    cdr_id, _ = await charged(pair)
    partner = (await pair.operator.get("/roaming/partners"))["items"][0]["id"]
    await pair.operator.send(
        "PATCH", f"/roaming/partners/{partner}", {"quirks": {"no_push": ["invoicereconciliation"]}}
    )
    await pair.operator.send(
        "POST", SENT, {"partner_id": partner, "id": "L1", "invoice_id": "INV-L", "cdr_ids": [cdr_id]}
    )

    async def pulled() -> Any:
        path = f"/roaming/partners/{pair.connection}/pull"
        answer = await pair.provider.client.post(path, json={"module": "invoicereconciliation", "full": True})
        return answer.status_code if answer.status_code != 409 else None

    assert await pair.provider.until(pulled, bool) == 200
    assert (await pair.provider.until(lambda: received(pair), bool))["record_id"] == "L1"
