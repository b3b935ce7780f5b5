"""Payment terminals: an operator's installation and that of the terminals' provider, from the assignment to the capture that is in the ledger."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from tests.invoicing.making import ISSUER
from tests.support.charging_house import ChargingHouse
from tests.support.terminals import Two, evse, two

Houses = tuple[ChargingHouse, ChargingHouse]


async def terminal(pair: Two, **more: Any) -> tuple[Any, Any]:
    """A terminal of the provider that the operator was told of: (as the provider has it, as the operator has it)."""
    ident = f"T-{pair.number}-{more.pop('name', 'A')}"
    ours = await pair.partner.send(
        "POST",
        "/roaming/terminals",
        {"terminal_id": ident, "partner_id": pair.knows, "reference": f"SN-{ident}", **more},
    )

    async def came() -> Any:
        found = (await pair.operator.get("/roaming/terminals", own=False))["items"]
        return next((one for one in found if one["terminal_id"] == ident), None)

    return ours, await pair.operator.until(came, bool)


async def methods(pair: Two, uid: str) -> set[str]:
    return set((await pair.operator.get(f"/evses/{uid}"))["payment_methods"])


async def reassigned(pair: Two, ident: str, **wanted: Any) -> Any:
    """The operator says where a terminal stands; as the provider has it once it took that."""
    said = await pair.operator.send("PATCH", f"/roaming/terminals/{ident}", wanted)

    async def read() -> Any:
        found = (await pair.partner.get("/roaming/terminals", own=True))["items"]
        return next(one for one in found if one["terminal_id"] == said["terminal_id"])

    return await pair.partner.until(read, lambda one: all(one[name] == value for name, value in wanted.items()))


async def pulled(pair: Two) -> Any:
    """Reads the provider's terminals; None while they are being read already."""
    answer = await pair.operator.client.post(
        f"/roaming/partners/{pair.known_as}/pull", json={"module": "terminals", "full": True}
    )
    return answer.status_code if answer.status_code != 409 else None


async def test_guest_pays_at_a_terminal_and_the_capture_is_in_the_ledger(houses: Houses) -> None:
    pair = await two(houses, "PTP", station=True, issuer=ISSUER)
    ours, theirs = await terminal(pair)
    await reassigned(pair, theirs["id"], evse_uids=[pair.uid], invoice_creator="CPO", customer_reference="Plein")
    asked = await pair.partner.send(
        "POST",
        f"/roaming/terminals/{ours['id']}/charges?wait_s=30",
        {"location_id": pair.location, "evse_uid": pair.uid, "authorization_reference": f"AUTH-{pair.number}"},
    )
    assert (asked["state"], asked["result"]) == ("done", "ACCEPTED"), asked

    async def running() -> Any:
        found = (await pair.partner.get("/roaming/sessions"))["items"]
        return next((one for one in found if one["status"] == "ACTIVE" and float(one["kwh"]) >= 5), None)

    session = await pair.partner.until(running, bool)
    ended = await pair.partner.send(
        "POST", "/roaming/commands?wait_s=30", {"type": "stop_session", "session_id": session["id"]}
    )
    assert ended["state"] == "done", ended

    async def billed() -> Any:
        found = (await pair.partner.get("/roaming/cdrs"))["items"]
        return found[0] if found else None

    cdr = await pair.partner.until(billed, lambda one: one is not None and one["verdict"] != "waiting")
    assert cdr["verdict"] == "agrees", cdr["check"]
    document = (await pair.partner.get(f"/roaming/cdrs/{cdr['id']}"))["document"]
    assert document["authorization_reference"] == document["invoice_reference_id"] == f"AUTH-{pair.number}"
    assert document["cdr_token"]["type"] == "AD_HOC_USER"
    total = cdr["total_incl"]["amount"]
    assert (cdr["total_excl"]["amount"], total) == ("2.00", "2.42")

    async def payment() -> Any:
        found = (await pair.operator.get("/payments", purpose="terminal"))["items"]
        return found[0] if found else None

    waiting = await pair.operator.until(payment, lambda one: one is not None and one["to_capture"] is not None)
    assert (waiting["to_capture"]["amount"], waiting["captured"]["amount"]) == (total, "0.00")
    assert waiting["authorized"]["amount"] == "50.00"
    tax = f"{float(total) - float(cdr['total_excl']['amount']):.2f}"
    told = await pair.partner.send(
        "POST",
        "/roaming/financial-advice-confirmations",
        {
            "partner_id": pair.knows, "authorization_reference": f"AUTH-{pair.number}", "currency": "EUR",
            "total_excl": cdr["total_excl"]["amount"], "taxes": [{"name": "VAT", "amount": tax, "percentage": "21"}],
            "eft_data": ["Mastercard", "AID: 1234"], "capture_status": "SUCCESS",
        },
    )  # fmt: skip
    assert told["total_incl"]["amount"] == total

    async def matched() -> Any:
        found = (await pair.operator.get("/roaming/financial-advice-confirmations", own=False))["items"]
        return found[0] if found else None

    confirmation = await pair.operator.until(matched, bool)
    assert confirmation["verdict"] == "agrees"
    assert confirmation["difference"]["amount"] == "0.00"
    assert confirmation["payment_id"] == waiting["id"]
    assert confirmation["session_id"] == session["session_id"]
    captured = await pair.operator.until(payment, lambda one: one["state"] == "captured")
    assert captured["captured"]["amount"] == total
    assert captured["method"] == "Mastercard, AID: 1234"

    async def invoiced() -> Any:
        found = (await pair.operator.get("/invoices"))["items"]
        return found[0] if found else None

    invoice = await pair.operator.until(invoiced, lambda one: one is not None and one["state"] == "paid")
    assert invoice["gross"]["amount"] == total

    async def balances() -> dict[str, str]:
        accounts = (await pair.operator.get("/ledger/accounts"))["items"]
        return {one["code"]: one["balance"]["amount"] for one in accounts}

    found = await pair.operator.until(
        balances, lambda all: all.get(f"receivable:guest:{waiting['id']}") == "0.00" and "clearing:terminal" in all
    )
    assert found["clearing:terminal"] == total
    assert (await pair.operator.get("/roaming/financial-advice-confirmations", open=True))["items"] == []

    # A second capture of the session counts beside the first, what is corrected takes its place, and what failed after all is nothing.
    second = {
        "partner_id": pair.knows, "confirmation_id": f"SECOND-{pair.number}", "authorization_reference": f"AUTH-{pair.number}",
        "currency": "EUR", "eft_data": ["Mastercard"],
    }  # fmt: skip

    def holds(amount: str, all: dict[str, str]) -> bool:
        return all["clearing:terminal"] == amount

    for amount, status, left, more in (
        ("7.00", "SUCCESS", "9.42", "7.00"),
        ("1.00", "SUCCESS", "3.42", "1.00"),
        ("2.00", "SUCCESS", "4.42", "2.00"),
        ("2.00", "FAILED", "2.42", "0.00"),
        ("3.00", "SUCCESS", "5.42", "3.00"),
    ):
        await pair.partner.send(
            "POST",
            "/roaming/financial-advice-confirmations",
            {**second, "total_excl": amount, "taxes": [], "capture_status": status},
        )
        found = await pair.operator.until(balances, partial(holds, left))
        assert found[f"receivable:guest:{waiting['id']}"] == f"{-float(more):.2f}".replace("-0.00", "0.00")
        shown = await payment()
        assert f"{float(shown['captured']['amount']) - float(shown['refunded']['amount']):.2f}" == left
        said = (await pair.operator.get("/roaming/financial-advice-confirmations", own=False))["items"]
        assert {one["difference"]["amount"] for one in said} == {more}
        assert [one["verdict"] for one in said] == (
            ["failed", "agrees"] if status == "FAILED" else ["differs", "differs"]
        )


async def test_evses_say_how_one_can_pay_while_a_terminal_stands_there(houses: Houses) -> None:
    pair = await two(houses, "PTP")
    first, second = await evse(pair), await evse(pair)
    _, theirs = await terminal(pair)
    terminals = {"terminal_credit_card", "terminal_debit_card", "terminal_contactless"}
    await reassigned(pair, theirs["id"], location_ids=[pair.location])
    for uid in (first, second):
        found = await pair.operator.until(lambda uid=uid: methods(pair, uid), lambda all: terminals <= all)
        assert found == {*terminals, "contract", "web"}
    third = await evse(pair)
    await pair.operator.until(lambda: methods(pair, third), lambda all: terminals <= all)
    await pair.operator.send("PATCH", f"/roaming/terminals/{theirs['id']}", {"ways_to_pay": ["terminal_contactless"]})
    await pair.operator.until(lambda: methods(pair, first), lambda all: all & terminals == {"terminal_contactless"})
    await reassigned(pair, theirs["id"], location_ids=[], evse_uids=[second])
    await pair.operator.until(lambda: methods(pair, first), lambda all: not all)
    await pair.operator.send("POST", f"/roaming/terminals/{theirs['id']}/deactivate")
    await pair.operator.until(lambda: methods(pair, second), lambda all: not all)
    listed = (await pair.partner.get("/roaming/terminals"))["items"]
    assert [one["status"] for one in listed] == ["deactivated"]
    # What is read from the provider's list does not bring it back.
    assert await pair.operator.until(lambda: pulled(pair), bool) == 200
    assert (await pair.operator.get(f"/roaming/terminals/{theirs['id']}"))["status"] == "deactivated"


async def test_operator_activates_a_terminal_by_what_is_printed_on_it(houses: Houses) -> None:
    pair = await two(houses, "PTP")
    uid = await evse(pair)
    stored = await pair.partner.send("POST", "/roaming/terminals", {"reference": f"SN-{pair.number}"})
    assert (stored["status"], stored["partner_id"]) == ("stored", None)
    code, envelope = await pair.ask(pair.operator, "GET", "payments", "SENDER", f"terminals/{stored['terminal_id']}")
    assert (code, envelope["status_code"]) == (404, 2000)
    made = await pair.operator.send(
        "POST",
        "/roaming/terminals/activate",
        {"partner_id": pair.known_as, "reference": f"sn-{pair.number}", "evse_uids": [uid], "city": "Utrecht"},
    )
    assert made["terminal"]["terminal_id"] == stored["terminal_id"]
    assert (made["terminal"]["evse_uids"], made["terminal"]["city"]) == ([uid], "Utrecht")
    active = await pair.partner.get(f"/roaming/terminals/{stored['id']}")
    assert (active["status"], active["partner_id"], active["reference"]) == ("active", pair.knows, f"SN-{pair.number}")
    refused = await pair.operator.client.post(
        "/roaming/terminals/activate", json={"partner_id": pair.known_as, "reference": "NOBODY"}
    )
    assert refused.status_code == 409, refused.text
    assert "reference" in refused.text
    for body, field in (
        ({"partner_id": pair.known_as}, "/reference"),
        ({"partner_id": "999999", "reference": "X"}, "/partner_id"),
        ({"partner_id": pair.known_as, "reference": "X", "location_ids": ["NOWHERE"]}, "/location_ids/0"),
    ):
        wrong = await pair.operator.client.post("/roaming/terminals/activate", json=body)
        assert 400 <= wrong.status_code < 500, wrong.text
        assert field in wrong.text


async def test_lists_and_objects_are_read_by_who_may(houses: Houses) -> None:
    pair, other = await two(houses, "PTP"), await two(houses, "PTP")
    ours, _ = await terminal(pair)
    await terminal(pair, name="B")
    await terminal(other, name="C")
    code, envelope = await pair.ask(pair.operator, "GET", "payments", "SENDER", "terminals?limit=1")
    assert (code, envelope["status_code"], len(envelope["data"])) == (200, 1000, 1)
    assert envelope["data"][0]["terminal_id"] == ours["terminal_id"]
    code, envelope = await pair.ask(
        pair.operator, "GET", "payments", "SENDER", "terminals?date_from=2100-01-01T00:00:00Z"
    )
    assert envelope["data"] == []
    code, envelope = await other.ask(other.operator, "GET", "payments", "SENDER", f"terminals/{ours['terminal_id']}")
    assert (code, envelope["status_code"]) == (404, 2000)
    for method, path, body in (
        ("PATCH", f"terminals/{ours['terminal_id']}", {"location_ids": ["X"]}),
        ("PUT", f"terminals/{ours['terminal_id']}", {"terminal_id": ours["terminal_id"]}),
        ("POST", f"terminals/{ours['terminal_id']}/deactivate", None),
        ("POST", "terminals/activate", {"terminal_id": ours["terminal_id"]}),
    ):
        code, envelope = await other.ask(other.operator, method, "payments", "SENDER", path, body)
        assert (code, envelope["status_code"] // 1000) == (200, 2), (path, envelope)
    assert (await pair.partner.get(f"/roaming/terminals/{ours['id']}"))["status"] == "active"
    code, envelope = await pair.ask(
        pair.partner, "GET", "payments", "RECEIVER", f"terminals/{ours['terminal_id'].lower()}"
    )
    assert (code, envelope["data"]["reference"]) == (200, ours["reference"])
    for path in ("terminals/NONE", "financial-advice-confirmations/NONE"):
        code, envelope = await pair.ask(pair.partner, "GET", "payments", "RECEIVER", path)
        assert (code, envelope["status_code"]) == (404, 2000)


async def test_put_and_patch_of_the_operator_keep_what_is_the_providers(houses: Houses) -> None:
    pair = await two(houses, "PTP")
    ours, _ = await terminal(pair, city="Vienna")
    ident = ours["terminal_id"]
    body = {
        "terminal_id": ident,
        "customer_reference": "OMV",
        "reference": "MINE",
        "last_updated": "2100-01-01T00:00:00Z",
    }
    code, envelope = await pair.ask(pair.operator, "PUT", "payments", "SENDER", f"terminals/{ident}", body)
    assert (code, envelope["status_code"]) == (200, 1000), envelope
    after = await pair.partner.get(f"/roaming/terminals/{ours['id']}")
    assert (after["customer_reference"], after["reference"], after["city"]) == ("OMV", ours["reference"], None)
    # Late: what is there is newer.
    body = {"location_ids": ["LATE"], "last_updated": "2020-01-01T00:00:00Z"}
    code, envelope = await pair.ask(pair.operator, "PATCH", "payments", "SENDER", f"terminals/{ident}", body)
    assert (code, envelope["status_code"]) == (200, 1000), envelope
    assert (await pair.partner.get(f"/roaming/terminals/{ours['id']}"))["location_ids"] == []
    body = {"terminal_id": "OTHER", "last_updated": "2100-01-02T00:00:00Z"}
    code, envelope = await pair.ask(pair.operator, "PUT", "payments", "SENDER", f"terminals/{ident}", body)
    assert (code, envelope["status_code"]) == (200, 2001)
    assert "terminal_id" in envelope["status_message"]


async def test_posts_are_taken_once_and_wrong_ones_name_the_field(houses: Houses) -> None:
    pair = await two(houses, "PTP")
    ident = f"M-{pair.number}"
    minimal = {"terminal_id": ident}
    assert (await pair.ask(pair.partner, "POST", "payments", "RECEIVER", "terminals", minimal))[0] == 201
    assert (await pair.ask(pair.partner, "POST", "payments", "RECEIVER", "terminals", minimal))[0] == 200
    assert len((await pair.operator.get("/roaming/terminals"))["items"]) == 1
    for body, field in (
        ({}, "terminal_id"),
        ({"terminal_id": ident, "location_ids": ["NOWHERE"]}, "location_ids/0"),
        ({"terminal_id": ident, "evse_uids": "x"}, "evse_uids"),
        ({"terminal_id": "X", "country_code": "DE", "party_id": "XYZ"}, "party_id"),
        ({"terminal_id": "X", "invoice_creator": "NOBODY", "coordinates": 5}, "coordinates"),
        ([1], ""),
    ):
        code, envelope = await pair.ask(pair.partner, "POST", "payments", "RECEIVER", "terminals", body)
        assert (code, envelope["status_code"]) == (200, 2001), (body, envelope)
        assert field in envelope["status_message"], envelope
    code, envelope = await pair.ask(pair.partner, "POST", "payments", "RECEIVER", "terminals", b"{")
    assert (code, envelope["status_code"]) == (400, 2001)
    advice = {
        "id": f"F-{pair.number}", "authorization_reference": "NOBODY", "total_costs": {"excl_vat": 4.0, "incl_vat": 4.4},
        "currency": "EUR", "eft_data": ["Mastercard"], "capture_status_code": "SUCCESS", "last_updated": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    path = "financial-advice-confirmations"
    assert (await pair.ask(pair.partner, "POST", "payments", "RECEIVER", path, advice))[0] == 201
    assert (await pair.ask(pair.partner, "POST", "payments", "RECEIVER", path, advice))[0] == 200
    (kept,) = (await pair.operator.get("/roaming/financial-advice-confirmations"))["items"]
    assert (kept["verdict"], kept["total_incl"]["amount"], kept["session_id"]) == ("waiting", "4.40", None)
    for more, field in (
        ({"capture_status_code": "FAILED"}, "last_updated"),
        ({"authorization_reference": {}}, "authorization_reference"),
        ({"currency": "12"}, "currency"),
        ({"id": "N", "total_costs": {"before_taxes": -1}}, "total_costs"),
        ({"capture_status_code": None}, "capture_status_code"),
    ):
        code, envelope = await pair.ask(pair.partner, "POST", "payments", "RECEIVER", path, {**advice, **more})
        assert (code, envelope["status_code"]) == (200, 2001), (more, envelope)
        assert field in envelope["status_message"], envelope
    later = {**advice, "capture_status_code": "FAILED", "last_updated": "2026-01-02T00:00:00Z"}
    assert (await pair.ask(pair.partner, "POST", "payments", "RECEIVER", path, later))[0] == 200
    (kept,) = (await pair.operator.get("/roaming/financial-advice-confirmations", open=True))["items"]
    assert kept["verdict"] == "failed"
    resolved = await pair.operator.send(
        "POST", f"/roaming/financial-advice-confirmations/{kept['id']}/resolve", {"resolution": "written off"}
    )
    assert resolved["resolution"] == "written off"
    again = await pair.operator.client.post(
        f"/roaming/financial-advice-confirmations/{kept['id']}/resolve", json={"resolution": "again"}
    )
    assert again.status_code == 409


async def test_captures_told_at_once_under_one_id_are_one(houses: Houses) -> None:
    pair = await two(houses, "PTP")
    body = {
        "partner_id": pair.knows, "confirmation_id": f"ONCE-{pair.number}", "authorization_reference": "NOBODY", "currency": "EUR",
        "total_excl": "1.00", "taxes": [], "eft_data": ["Visa"], "capture_status": "SUCCESS",
    }  # fmt: skip
    path = "/roaming/financial-advice-confirmations"
    told = await asyncio.gather(*(pair.partner.client.post(path, json=body) for _ in range(8)))
    assert {answer.status_code for answer in told} == {201}, [answer.text for answer in told]
    assert len({answer.json()["id"] for answer in told}) == 1


async def test_partner_without_terminals_may_not_tell_any(houses: Houses) -> None:
    pair = await two(houses, "EMSP")
    roaming = pair.roaming(pair.partner)
    peer = await pair.peer(pair.partner)
    outcome = await roaming.caller.call(peer, 66, body=b'{"terminal_id":"T","last_updated":"2026-01-01T00:00:00Z"}')
    assert outcome.status_code == 2001
    assert (await pair.operator.get("/roaming/terminals"))["items"] == []
    refused = await pair.partner.client.post("/roaming/terminals", json={"terminal_id": "T"})
    assert refused.status_code == 409


async def test_what_was_not_pushed_is_pulled(houses: Houses) -> None:
    pair = await two(houses, "PTP")
    await pair.operator.send("PATCH", f"/roaming/partners/{pair.known_as}", {"name": "terminals"})
    ours, theirs = await terminal(pair)
    await pair.partner.send("PATCH", f"/roaming/terminals/{ours['id']}", {"city": "Graz"})
    assert await pair.operator.until(lambda: pulled(pair), bool) == 200
    assert (await pair.operator.get(f"/roaming/terminals/{theirs['id']}"))["city"] == "Graz"
