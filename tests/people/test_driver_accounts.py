"""The drivers' own door over real HTTP: accounts, mails, devices, id tokens and vehicles."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import httpx
import pytest

from chargeplane.app.people.passwords import HashingCost, Passwords
from tests.people.post import code_of, mail_to, mails_to, text_of
from tests.support.rest import Rest, assert_problem

PASSWORD = "correct horse battery"
OTHER = "another stapled horse"


def address(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}@example.org"


def door(rest: Rest, token: str | None = None, **headers: str) -> httpx.AsyncClient:
    """A client of a driver, from an address of its own: failures of one test are not another's."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(base_url=rest.base_url, headers=headers, timeout=60)


async def forgive(rest: Rest) -> None:
    """Forgets failures: all tests come from one address."""
    await rest.execute("DELETE FROM login_failure")


async def account(rest: Rest, name: str = "driver", **more: Any) -> str:
    """Opens an account and verifies its address; the address."""
    mail = address(name)
    async with door(rest) as client:
        opened = await client.post("/v1/me/register", json={"email": mail, "password": PASSWORD, **more})
        assert opened.status_code == 202, opened.text
        code = code_of(await mail_to(rest, mail))
        verified = await client.post("/v1/me/verify-email", json={"code": code})
        assert verified.status_code == 204, verified.text
    await forgive(rest)
    return mail


async def signed_in(rest: Rest, mail: str, password: str = PASSWORD, **more: Any) -> str:
    """The token of a login."""
    async with door(rest) as client:
        answer = await client.post("/v1/me/login", json={"email": mail, "password": password, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["token"])


async def test_account_is_opened_verified_used_and_closed(rest: Rest) -> None:
    mail = address("anna")
    async with door(rest) as client:
        body = {"email": mail, "password": PASSWORD, "first_name": "Anna", "language": "de"}
        assert (await client.post("/v1/me/register", json=body)).json() == {"sent": True}
        assert_problem(await client.post("/v1/me/login", json={"email": mail, "password": PASSWORD}), 403)
        message = await mail_to(rest, mail)
        assert "bestätigen" in text_of(message)
        assert "Anna" in text_of(message)
        code = code_of(message)
        assert (await client.post("/v1/me/verify-email", json={"code": code})).status_code == 204
        assert_problem(await client.post("/v1/me/verify-email", json={"code": code}), 422, pointer="#/code")
    token = await signed_in(rest, mail.upper())
    async with door(rest, token) as me:
        shown = (await me.get("/v1/me")).json()
        assert shown["email"] == mail
        assert shown["email_verified"] is True
        assert shown["csrf_token"] is None
        changed = await me.patch("/v1/me", json={"last_name": "Berg"})
        assert changed.json()["last_name"] == "Berg"
        assert_problem(await me.patch("/v1/me", json={"note": "mine"}), 422, pointer="#/note")
        assert_problem(await me.post("/v1/me/close", json={"password": OTHER}), 422, pointer="#/password")
        assert (await me.post("/v1/me/close", json={"password": PASSWORD})).status_code == 204
        assert_problem(await me.get("/v1/me"), 401)
    await forgive(rest)
    async with door(rest) as client:
        assert_problem(await client.post("/v1/me/login", json={"email": mail, "password": PASSWORD}), 401)


async def test_nobody_learns_who_has_an_account(rest: Rest) -> None:
    mail = await account(rest)
    strangers = [address("stranger") for _ in range(3)]
    async with door(rest) as client:
        asked = (
            ("/v1/me/register", {"password": OTHER}),
            ("/v1/me/forgot-password", {}),
            ("/v1/me/login", {"password": OTHER}),
        )
        for (path, body), stranger in zip(asked, strangers, strict=True):
            known = await client.post(path, json={"email": mail, **body})
            unknown = await client.post(path, json={"email": stranger, **body})
            assert known.status_code == unknown.status_code, path
            assert known.content == unknown.content, path
    assert "already" in str((await mail_to(rest, mail, 2))["Subject"])
    assert (await mail_to(rest, mail, 3))["Subject"] == "A new password for Default"
    assert str((await mail_to(rest, strangers[0]))["Subject"]) == "Confirm your e-mail address for Default"
    assert mails_to(rest, strangers[1]) == []
    await forgive(rest)


async def test_password_is_reset_once_by_mail_and_signs_everybody_out(rest: Rest) -> None:
    mail = await account(rest)
    token = await signed_in(rest, mail)
    async with door(rest) as client:
        await client.post("/v1/me/forgot-password", json={"email": mail})
        first = code_of(await mail_to(rest, mail, 2))
        await client.post("/v1/me/forgot-password", json={"email": mail})
        second = code_of(await mail_to(rest, mail, 3))
        assert_problem(
            await client.post("/v1/me/reset-password", json={"code": first, "password": OTHER}), 422, pointer="#/code"
        )
        weak = await client.post("/v1/me/reset-password", json={"code": second, "password": "short"})
        assert_problem(weak, 422, pointer="#/password")
        done = await client.post("/v1/me/reset-password", json={"code": second, "password": OTHER})
        assert done.status_code == 204, done.text
        assert_problem(await client.post("/v1/me/reset-password", json={"code": second, "password": OTHER}), 422)
    async with door(rest, token) as me:
        assert_problem(await me.get("/v1/me"), 401)
    await signed_in(rest, mail, OTHER)
    stored = await rest.execute("SELECT string_agg(encode(secret_hash, 'hex'), ' ') FROM mailed_secret")
    assert second not in stored
    await forgive(rest)


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaa", "abcdefghijklm", "password1234", "1234567890"])
async def test_weak_passwords_are_refused(rest: Rest, weak: str) -> None:
    async with door(rest) as client:
        body = {"email": address("weak"), "password": weak}
        assert_problem(await client.post("/v1/me/register", json=body), 422, pointer="#/password")


async def test_who_guesses_has_to_wait_ever_longer(rest: Rest) -> None:
    await forgive(rest)
    mail = await account(rest)
    async with door(rest) as client:
        waits = []
        for _ in range(7):
            answer = await client.post("/v1/me/login", json={"email": mail, "password": OTHER})
            if answer.status_code == 429:
                waits.append(int(answer.headers["retry-after"]))
                assert answer.json()["type"] == "/docs#problem-throttled"
                await rest.execute("UPDATE login_failure SET locked_until = now() - interval '1 s'")
        assert waits, "nobody was made to wait"
        right = {"email": mail, "password": PASSWORD}
        await rest.execute("UPDATE login_failure SET locked_until = now() + interval '10 s'")
        assert (await client.post("/v1/me/login", json=right)).status_code == 429
        await rest.execute("UPDATE login_failure SET locked_until = NULL")
        assert (await client.post("/v1/me/login", json=right)).status_code == 200
    assert await rest.execute("SELECT coalesce(max(failures), 0) FROM login_failure WHERE failures > 7") == 0
    failed = await rest.execute(
        "SELECT count(*) FROM audit_log WHERE action = 'login-failed' AND actor LIKE 'driver:%'"
    )
    assert failed >= 5
    await forgive(rest)


async def test_attempts_at_once_all_count(rest: Rest) -> None:
    await forgive(rest)
    mail = await account(rest)
    async with door(rest) as client:
        body = {"email": mail, "password": OTHER}
        answers = await asyncio.gather(*(client.post("/v1/me/login", json=body) for _ in range(20)))
    told = [answer.status_code for answer in answers]
    assert set(told) == {401, 429}
    assert told.count(401) <= 6
    await forgive(rest)


async def test_devices_are_listed_and_signed_out(rest: Rest) -> None:
    mail = await account(rest)
    phone = await signed_in(rest, mail, device="My phone")
    laptop = await signed_in(rest, mail, device="My laptop")
    async with door(rest, laptop) as me:
        items = (await me.get("/v1/me/devices")).json()["items"]
        assert [(one["device"], one["current"]) for one in items] == [("My laptop", True), ("My phone", False)]
        assert (await me.delete(f"/v1/me/devices/{items[1]['id']}")).status_code == 204
        assert_problem(await me.delete(f"/v1/me/devices/{items[1]['id']}"), 404)
        async with door(rest, phone) as other:
            assert_problem(await other.get("/v1/me"), 401)
        assert (await me.post("/v1/me/logout")).status_code == 204
        assert_problem(await me.get("/v1/me"), 401)


async def test_change_of_password_signs_other_devices_out(rest: Rest) -> None:
    mail = await account(rest)
    one, two = await signed_in(rest, mail), await signed_in(rest, mail)
    async with door(rest, one) as me:
        body = {"password": OTHER, "new_password": OTHER}
        assert_problem(await me.post("/v1/me/change-password", json=body), 422, pointer="#/password")
        body = {"password": PASSWORD, "new_password": OTHER}
        assert (await me.post("/v1/me/change-password", json=body)).status_code == 204
        assert (await me.get("/v1/me")).status_code == 200
    async with door(rest, two) as other:
        assert_problem(await other.get("/v1/me"), 401)
    assert "changed" in str((await mail_to(rest, mail, 2))["Subject"])
    await forgive(rest)


async def test_another_email_address_counts_when_its_mail_was_read(rest: Rest) -> None:
    mail, fresh = await account(rest), address("fresh")
    async with door(rest, await signed_in(rest, mail)) as me:
        await me.post("/v1/me/change-email", json={"email": fresh, "password": PASSWORD})
        assert (await me.get("/v1/me")).json()["email"] == mail
        code = code_of(await mail_to(rest, fresh))
        assert (await me.post("/v1/me/verify-email", json={"code": code})).status_code == 204
        assert (await me.get("/v1/me")).json()["email"] == fresh
    await forgive(rest)


async def test_cookie_needs_a_token_that_only_our_pages_know(rest: Rest) -> None:
    mail = await account(rest)
    async with door(rest) as client:
        answer = await client.post("/v1/me/login", json={"email": mail, "password": PASSWORD, "kind": "cookie"})
        assert answer.json()["token"] is None
        cookie = answer.headers["set-cookie"]
        for word in ("HttpOnly", "SameSite=lax", "Path=/v1/me"):
            assert word.lower() in cookie.lower(), cookie
        csrf = answer.json()["csrf_token"]
        assert (await client.get("/v1/me")).json()["csrf_token"] == csrf
        change = {"first_name": "C"}
        assert_problem(await client.patch("/v1/me", json=change), 403)
        assert_problem(await client.patch("/v1/me", json=change, headers={"X-CSRF-Token": "wrong"}), 403)
        cross = {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"}
        assert_problem(await client.patch("/v1/me", json=change, headers=cross), 403)
        assert (await client.patch("/v1/me", json=change, headers={"X-CSRF-Token": csrf})).status_code == 200
        out = await client.post("/v1/me/logout", headers={"X-CSRF-Token": csrf})
        assert out.status_code == 204
        assert "max-age=0" in out.headers["set-cookie"].lower()


async def test_drivers_and_operators_have_doors_of_their_own(rest: Rest) -> None:
    mail = await account(rest)
    async with door(rest, await signed_in(rest, mail)) as me:
        for path in ("/v1/drivers", "/v1/charging-stations", "/v1/api-keys", "/v1/login"):
            assert_problem(await me.get(path), 403)
    assert_problem(await rest.client.get("/v1/me"), 401)
    async with door(rest, "cpd_" + "x" * 43) as nobody:
        assert_problem(await nobody.get("/v1/me"), 401)


async def test_card_is_claimed_by_number_and_code_and_given_up(rest: Rest) -> None:
    number = f"DE-{secrets.randbelow(10**8):08d}"
    text = "CARD" + secrets.token_hex(4).upper()
    cards = {"cards": [{"visual_number": number, "id_token": text}]}
    code = (await rest.client.post("/v1/rfid-cards", json=cards)).json()["cards"][0]["activation_code"]
    mail = await account(rest)
    async with door(rest, await signed_in(rest, mail)) as me:
        body = {"kind": "card", "visual_number": number.replace("-", " "), "activation_code": "WRONG234"}
        assert_problem(await me.post("/v1/me/id-tokens", json=body), 422, pointer="#/visual_number")
        claimed = await me.post("/v1/me/id-tokens", json={**body, "activation_code": code.lower(), "label": "Blue"})
        assert claimed.status_code == 201, claimed.text
        token = claimed.json()
        assert (token["id_token"], token["origin"], token["visual_number"]) == (text, "card", number)
        driver_id = await rest.business.people.driver_of_token(1, None, text)
        assert driver_id == token["driver_id"]
        assert_problem(await me.post("/v1/me/id-tokens", json={**body, "activation_code": code}), 422)
        assert (await me.delete(f"/v1/me/id-tokens/{token['id']}")).status_code == 204
        assert_problem(await me.post("/v1/me/id-tokens", json={**body, "activation_code": code}), 422)
    assert (await rest.client.get("/v1/id-tokens", params={"id_token": text})).json()["items"] == []
    await forgive(rest)


async def test_id_tokens_of_all_kinds(rest: Rest) -> None:
    mail = await account(rest)
    mac = secrets.token_hex(6).upper()
    async with door(rest, await signed_in(rest, mail)) as me:
        vehicle = (await me.post("/v1/me/vehicles", json={"brand": "VW"})).json()
        emaid = "DE8AA" + secrets.token_hex(4).upper() + "1"
        contract = await me.post(
            "/v1/me/id-tokens", json={"kind": "contract", "emaid": emaid, "vehicle_id": vehicle["id"]}
        )
        assert contract.json()["type"] == "eMAID"
        assert contract.json()["status"] == "Accepted"
        car = await me.post(
            "/v1/me/id-tokens",
            json={"kind": "autocharge", "mac_address": ":".join(mac[i : i + 2] for i in range(0, 12, 2))},
        )
        assert (car.json()["id_token"], car.json()["status"], car.json()["confirmed"]) == (mac, "Blocked", False)
        code = await me.post("/v1/me/id-tokens", json={"kind": "key_code"})
        assert code.json()["type"] == "KeyCode"
        assert len(code.json()["id_token"]) == 8
        assert_problem(
            await me.post("/v1/me/id-tokens", json={"kind": "contract", "emaid": "nonsense!"}), 422, pointer="#/emaid"
        )
        assert_problem(await me.post("/v1/me/id-tokens", json={"kind": "contract", "emaid": emaid}), 409)
        assert_problem(
            await me.post("/v1/me/id-tokens", json={"kind": "autocharge", "mac_address": "zz:zz:zz:zz:zz:zz"}),
            422,
            pointer="#/mac_address",
        )
        assert len((await me.get("/v1/me/id-tokens")).json()["items"]) == 3
    assert await rest.business.people.driver_of_token(1, "MacAddress", mac) is None


async def test_vehicles_of_others_are_not_there(rest: Rest) -> None:
    one = await signed_in(rest, await account(rest))
    other = await signed_in(rest, await account(rest))
    async with door(rest, one) as me, door(rest, other) as you:
        vehicle = (await me.post("/v1/me/vehicles", json={"brand": "VW"})).json()
        assert_problem(await you.put(f"/v1/me/vehicles/{vehicle['id']}", json={}), 404)
        assert_problem(await you.delete(f"/v1/me/vehicles/{vehicle['id']}"), 404)
        assert (await you.get("/v1/me/vehicles")).json()["items"] == []
        assert (await me.get("/v1/me/vehicles")).json()["items"][0]["id"] == vehicle["id"]


async def test_drivers_answers_are_not_replayed_to_others(rest: Rest) -> None:
    one = await signed_in(rest, await account(rest))
    other = await signed_in(rest, await account(rest))
    key = {"Idempotency-Key": "the-same"}
    async with door(rest, one, **key) as me, door(rest, other, **key) as you:
        first = await me.post("/v1/me/vehicles", json={"brand": "VW"})
        again = await me.post("/v1/me/vehicles", json={"brand": "VW"})
        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"
        assert (await you.post("/v1/me/vehicles", json={"brand": "VW"})).json()["id"] != first.json()["id"]


async def test_blocked_driver_is_signed_out_and_cannot_come_in(rest: Rest) -> None:
    mail = await account(rest)
    token = await signed_in(rest, mail)
    ident = (await rest.client.get("/v1/drivers", params={"email": mail})).json()["items"][0]["id"]
    await rest.client.post(f"/v1/drivers/{ident}/block", json={"reason": "unpaid"})
    async with door(rest, token) as me:
        assert_problem(await me.get("/v1/me"), 401)
    async with door(rest) as client:
        assert_problem(await client.post("/v1/me/login", json={"email": mail, "password": PASSWORD}), 403)
    await rest.client.post(f"/v1/drivers/{ident}/unblock")
    await signed_in(rest, mail)
    await forgive(rest)


async def test_mails_hold_their_secrets_encrypted_and_are_gone_when_sent(rest: Rest) -> None:
    mail = await account(rest)
    assert (
        await rest.execute("SELECT count(*) FROM mail m JOIN driver d ON d.id = m.driver_id WHERE d.email = $1", mail)
        == 0
    )
    payloads = await rest.execute("SELECT coalesce(string_agg(payload, ' '), '') FROM outbox WHERE topic = 'mail.send'")
    assert "@" not in payloads


async def test_car_is_known_by_its_address_after_it_was_seen_with_its_driver(rest: Rest) -> None:
    tokens = rest.business.driver_tokens
    mac, tag = secrets.token_hex(6).upper(), f"SEEN{secrets.token_hex(4).upper()}"
    mail = await account(rest)
    async with door(rest, await signed_in(rest, mail)) as me:
        car = (await me.post("/v1/me/id-tokens", json={"kind": "autocharge", "mac_address": mac})).json()
    await rest.client.post(f"/v1/drivers/{car['driver_id']}/id-tokens", json={"id_token": tag})
    here, elsewhere = await rest.station(f"CP{secrets.token_hex(4)}"), await rest.station(f"CP{secrets.token_hex(4)}")

    async def seen_at(key: int) -> None:
        await rest.execute(
            "INSERT INTO authorization_attempt (received_on, received_at, tenant_id, station_key, id_token, status, message_id,"
            " content_hash) VALUES (current_date, now(), 1, $1, $2, 'Blocked', 'm', 'h')",
            key,
            f"VID:{mac}",
        )

    await rest.execute(
        "INSERT INTO transaction (id, tenant_id, station_key, id_token, token_key, id_token_type, authorization_status, opened_at,"
        " started_at, energy_wh, is_open, offline, flags, ordinal, state, updated_at)"
        " VALUES ($1, 1, $2, $3, lower($3), 'ISO14443', 'Accepted', now(), now(), 0, false, false, '{}', 1, '{}', now())",
        secrets.randbelow(10**12) + 10**12,
        here,
        tag,
    )
    await seen_at(elsewhere)
    await tokens.confirm_seen()
    assert await rest.business.people.driver_of_token(1, "MacAddress", mac) is None
    await seen_at(here)
    assert await tokens.confirm_seen() == 1
    assert await rest.business.people.driver_of_token(1, "MacAddress", mac) == car["driver_id"]
    assert (await rest.client.get(f"/v1/id-tokens/{car['id']}")).json()["status"] == "Accepted"
    assert await tokens.confirm_seen() == 0
    # It was no transaction that anybody else could read: its state is missing.
    await rest.execute("DELETE FROM transaction WHERE token_key = lower($1)", tag)


async def test_loop_goes_on_while_passwords_are_hashed() -> None:
    passwords = Passwords(HashingCost(memory_kib=65_536, passes=6, at_once=2))
    try:
        started = time.perf_counter()
        hashing = asyncio.gather(passwords.hash("one password here"), passwords.hash("another password"))
        turns = 0
        while not hashing.done():
            await asyncio.sleep(0)
            turns += 1
        one, _ = await hashing
        assert time.perf_counter() - started > 0.01
        assert turns > 100  # a hash in the loop would leave it one turn or two
        assert await passwords.verify(one, "one password here")
        assert not await passwords.verify(one, "another password")
        assert not await passwords.verify(None, "one password here")
    finally:
        await passwords.close()
