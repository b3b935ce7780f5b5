"""Users over real HTTP: roles, invitations, logins with a second factor, sessions, several tenants."""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any

import httpx
import pytest

from chargeplane.domain.people.totp import code_at
from tests.people.post import code_of, mail_to
from tests.support.rest import Rest, assert_problem

PASSWORD = "correct horse battery"
OTHER = "another stapled horse"


def address(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}@example.org"


def door(rest: Rest, token: str | None = None) -> httpx.AsyncClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=rest.base_url, headers=headers, timeout=60)


async def forgive(rest: Rest) -> None:
    await rest.execute("DELETE FROM login_failure")


async def user(rest: Rest, role: str, client: httpx.AsyncClient | None = None, **more: Any) -> dict[str, Any]:
    body = {"email": address(role), "name": role.title(), "role": role, "password": PASSWORD, **more}
    made = await (client or rest.client).post("/v1/users", json=body)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


async def login(rest: Rest, email: str, **more: Any) -> str:
    async with door(rest) as client:
        answer = await client.post("/v1/login", json={"email": email, "password": PASSWORD, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("owner", ["/v1/users", "/v1/api-keys", "/v1/drivers"], []),
        ("operator", ["/v1/charging-stations", "/v1/drivers"], ["/v1/users", "/v1/api-keys"]),
        ("finance", ["/v1/tariffs", "/v1/drivers"], ["/v1/users"]),
        ("support", ["/v1/drivers", "/v1/transactions"], ["/v1/users", "/v1/audit-log"]),
        ("installer", ["/v1/charging-stations"], ["/v1/drivers", "/v1/tariffs"]),
        ("read_only", ["/v1/drivers", "/v1/tariffs"], ["/v1/users", "/v1/api-keys"]),
    ],
)
async def test_role_is_what_its_user_may(rest: Rest, role: str, may: list[str], may_not: list[str]) -> None:
    made = await user(rest, role)
    async with door(rest, await login(rest, made["email"])) as client:
        for path in may:
            assert (await client.get(path)).status_code == 200, path
        for path in may_not:
            assert_problem(await client.get(path), 403)
        who = (await client.get("/v1/login")).json()
        assert (who["role"], who["tenant"], who["email"]) == (role, "default", made["email"])
    if role == "read_only":
        async with door(rest, await login(rest, made["email"])) as client:
            assert_problem(await client.post("/v1/drivers", json={}), 403)


async def test_user_is_named_in_the_audit_log(rest: Rest) -> None:
    made = await user(rest, "operator")
    async with door(rest, await login(rest, made["email"])) as client:
        driver = (await client.post("/v1/drivers", json={})).json()
    actor = await rest.execute(
        "SELECT actor FROM audit_log WHERE object_kind = 'driver' AND object_id = $1 AND action = 'create'",
        driver["id"],
    )
    assert actor == f"user:{made['id']} Operator"


async def test_nobody_gives_more_than_they_have(rest: Rest) -> None:
    key = (await rest.client.post("/v1/api-keys", json={"name": "k", "scopes": ["users:write", "users:read"]})).json()[
        "key"
    ]
    body = {"email": address("x"), "name": "X", "role": "owner", "password": PASSWORD}
    victim = await user(rest, "owner")
    async with rest.as_key(key) as client:
        assert_problem(await client.post("/v1/users", json=body), 403)
        assert_problem(await client.delete(f"/v1/users/{victim['id']}"), 403)
        assert_problem(await client.patch(f"/v1/users/{victim['id']}", json={"role": "support"}), 403)
        assert_problem(await client.post(f"/v1/users/{victim['id']}/reset-second-factor"), 403)


async def test_invitation_is_taken_by_mail(rest: Rest) -> None:
    made = await user(rest, "support", password=None, language="sv")
    assert made["has_password"] is False
    message = await mail_to(rest, made["email"])
    assert "inbjuden" in str(message["Subject"])
    assert (await rest.client.post(f"/v1/users/{made['id']}/invite")).status_code == 202
    again = code_of(await mail_to(rest, made["email"], 2))
    async with door(rest) as client:
        old = await client.post("/v1/login/reset-password", json={"code": code_of(message), "password": PASSWORD})
        assert_problem(old, 422, pointer="#/code")
        done = await client.post("/v1/login/reset-password", json={"code": again, "password": PASSWORD})
        assert done.status_code == 204, done.text
    await login(rest, made["email"])
    assert_problem(await rest.client.post(f"/v1/users/{made['id']}/invite"), 409)
    await forgive(rest)


async def test_forgotten_password_tells_nothing_and_is_set_by_mail(rest: Rest) -> None:
    made = await user(rest, "support")
    token = await login(rest, made["email"])
    async with door(rest) as client:
        known = await client.post("/v1/login/forgot-password", json={"email": made["email"]})
        unknown = await client.post("/v1/login/forgot-password", json={"email": address("nobody")})
        assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
        code = code_of(await mail_to(rest, made["email"]))
        done = await client.post("/v1/login/reset-password", json={"code": code, "password": OTHER})
        assert done.status_code == 204
        assert_problem(await client.post("/v1/login", json={"email": made["email"], "password": PASSWORD}), 401)
    async with door(rest, token) as client:
        assert_problem(await client.get("/v1/login"), 401)
    await login(rest, made["email"], password=OTHER)
    await forgive(rest)


async def test_second_factor_is_asked_for_counts_once_and_has_recovery_codes(rest: Rest) -> None:
    made = await user(rest, "operator")
    token = await login(rest, made["email"])
    async with door(rest, token) as client:
        assert_problem(
            await client.post("/v1/login/second-factor", json={"password": OTHER}), 422, pointer="#/password"
        )
        setup = (await client.post("/v1/login/second-factor", json={"password": PASSWORD})).json()
        secret = base64.b32decode(setup["secret"])
        wrong = await client.post("/v1/login/second-factor/confirm", json={"code": "000000"})
        assert_problem(wrong, 422, pointer="#/code")
        step = int(time.time()) // 30
        first = code_at(secret, step)
        codes = await client.post("/v1/login/second-factor/confirm", json={"code": first})
        assert codes.status_code == 200, codes.text
        recovery = codes.json()["recovery_codes"]
        assert len(recovery) == 10
    body = {"email": made["email"], "password": PASSWORD}
    async with door(rest) as client:
        needed = await client.post("/v1/login", json=body)
        assert_problem(needed, 401)
        assert needed.json()["type"] == "/docs#problem-second-factor-needed"
        assert_problem(await client.post("/v1/login", json={**body, "code": first}), 401)
        assert_problem(await client.post("/v1/login", json={**body, "password": OTHER, "code": recovery[0]}), 401)
        used = await client.post("/v1/login", json={**body, "code": recovery[0].upper()})
        assert used.status_code == 200, used.text
        assert_problem(await client.post("/v1/login", json={**body, "code": recovery[0]}), 401)
        fresh = await client.post("/v1/login", json={**body, "code": code_at(secret, step + 1)})
        assert fresh.status_code == 200, fresh.text
    async with door(rest, fresh.json()["token"]) as client:
        assert (await client.get("/v1/login")).json()["second_factor"] is True
        off = {"password": PASSWORD, "code": recovery[1]}
        assert (await client.post("/v1/login/second-factor/remove", json=off)).status_code == 204
    stored = await rest.execute("SELECT totp_secret FROM user_account WHERE id = $1", int(made["id"]))
    assert stored is None
    await login(rest, made["email"])
    await forgive(rest)


async def test_second_factor_is_reset_by_an_owner(rest: Rest) -> None:
    made = await user(rest, "operator")
    async with door(rest, await login(rest, made["email"])) as client:
        setup = (await client.post("/v1/login/second-factor", json={"password": PASSWORD})).json()
        code = code_at(base64.b32decode(setup["secret"]), int(time.time()) // 30)
        assert (await client.post("/v1/login/second-factor/confirm", json={"code": code})).status_code == 200
        assert (await rest.client.post(f"/v1/users/{made['id']}/reset-second-factor")).json()["second_factor"] is False
        assert_problem(await client.get("/v1/login"), 401)
    await login(rest, made["email"])
    await forgive(rest)


async def test_removed_user_is_out_at_once_and_the_last_owner_stays(rest: Rest) -> None:
    slug = address("t").partition("@")[0]
    await rest.client.post("/v1/tenants", json={"slug": slug, "name": "Other"})
    body = {"name": "k", "scopes": ["admin"], "tenant": slug}
    key = (await rest.client.post("/v1/api-keys", json=body)).json()["key"]
    async with rest.as_key(key) as other:
        owner = await user(rest, "owner", other)
        helper = await user(rest, "support", other)
        assert_problem(await other.delete(f"/v1/users/{owner['id']}"), 409)
        assert_problem(await other.patch(f"/v1/users/{owner['id']}", json={"role": "support"}), 409)
        token = await login(rest, helper["email"])
        async with door(rest, token) as client:
            assert (await client.get("/v1/drivers")).status_code == 200
            assert (await other.delete(f"/v1/users/{helper['id']}")).status_code == 204
            assert_problem(await client.get("/v1/drivers"), 401)
        assert_problem(await rest.client.get(f"/v1/users/{owner['id']}"), 404)
    await forgive(rest)


async def test_one_user_works_in_several_tenants(rest: Rest) -> None:
    slug = address("second").partition("@")[0]
    await rest.client.post("/v1/tenants", json={"slug": slug, "name": "Second"})
    body = {"name": "k", "scopes": ["admin"], "tenant": slug}
    key = (await rest.client.post("/v1/api-keys", json=body)).json()["key"]
    made = await user(rest, "support")
    async with rest.as_key(key) as other:
        taken = await other.post("/v1/users", json={"email": made["email"], "name": "?", "role": "finance"})
        assert taken.json()["name"] == "Support"
        assert taken.json()["has_password"] is True
    token = await login(rest, made["email"], tenant="default")
    async with door(rest, token) as client:
        who = (await client.get("/v1/login")).json()
        assert {(one["tenant"], one["role"]) for one in who["tenants"]} == {("default", "support"), (slug, "finance")}
        moved = await client.post("/v1/login/switch", json={"tenant": slug})
        assert_problem(await client.get("/v1/login"), 401)
    async with door(rest, moved.json()["token"]) as client:
        assert (await client.get("/v1/login")).json()["role"] == "finance"
        assert_problem(await client.post("/v1/login/switch", json={"tenant": "nowhere"}), 403)


async def test_sessions_are_listed_and_ended(rest: Rest) -> None:
    made = await user(rest, "support")
    one = await login(rest, made["email"], device="office")
    two = await login(rest, made["email"], device="home")
    async with door(rest, two) as client:
        items = (await client.get("/v1/login/sessions")).json()["items"]
        assert [(item["device"], item["current"]) for item in items] == [("home", True), ("office", False)]
        assert (await client.delete(f"/v1/login/sessions/{items[1]['id']}")).status_code == 204
        async with door(rest, one) as other:
            assert_problem(await other.get("/v1/login"), 401)
        assert (await client.delete("/v1/login")).status_code == 204
        assert_problem(await client.get("/v1/login"), 401)


async def test_cookie_of_a_user_needs_the_csrf_token(rest: Rest) -> None:
    made = await user(rest, "operator")
    async with door(rest) as client:
        body = {"email": made["email"], "password": PASSWORD, "kind": "cookie"}
        answer = await client.post("/v1/login", json=body)
        csrf = answer.json()["csrf_token"]
        assert (await client.get("/v1/drivers")).status_code == 200
        assert (await client.get("/v1/login")).json()["csrf_token"] == csrf
        assert_problem(await client.post("/v1/drivers", json={}), 403)
        assert (await client.post("/v1/drivers", json={}, headers={"X-CSRF-Token": csrf})).status_code == 201


async def test_wrong_logins_are_slowed_down_per_account(rest: Rest) -> None:
    await forgive(rest)
    made = await user(rest, "support")
    async with door(rest) as client:
        body = {"email": made["email"], "password": OTHER}
        told = [(await client.post("/v1/login", json=body)).status_code for _ in range(8)]
    assert told[:5] == [401] * 5
    assert told[-1] == 429
    await forgive(rest)


async def test_audit_log_tells_who_what_when_before_and_after(rest: Rest) -> None:
    made = await user(rest, "operator")
    token = await login(rest, made["email"])
    async with door(rest, token) as client:
        driver = (await client.post("/v1/drivers", json={"first_name": "=Before"})).json()
        await client.patch(f"/v1/drivers/{driver['id']}", json={"first_name": "After"})
    about = {"object_kind": "driver", "object_id": driver["id"]}
    items = (await rest.client.get("/v1/audit-log", params=about)).json()["items"]
    assert [item["action"] for item in items] == ["update", "create"]
    assert items[0]["before"]["first_name"] == "=Before"
    assert items[0]["after"]["first_name"] == "After"
    assert items[1]["before"] is None
    by = (await rest.client.get("/v1/audit-log", params={"actor": f"user:{made['id']}", "limit": 1})).json()
    assert by["items"][0]["actor"] == f"user:{made['id']} Operator"
    more = await rest.client.get(
        "/v1/audit-log", params={"actor": f"user:{made['id']}", "limit": 1, "cursor": by["next_cursor"]}
    )
    assert more.json()["items"][0]["id"] < by["items"][0]["id"]
    assert (await rest.client.get("/v1/audit-log", params={**about, "at_to": items[1]["at"]})).json()["items"] == []
    assert (await rest.client.get("/v1/audit-log", params={"actor": "user:"})).json()["items"] == []
    lines = await rest.client.get("/v1/audit-log/export", params=about)
    assert len(lines.text.splitlines()) == 2
    table = await rest.client.get("/v1/audit-log/export", params={**about, "format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[0].startswith("id,at,actor")
    told = (await rest.client.get("/v1/audit-log", params={"object_kind": "audit-log"})).json()["items"]
    assert len(told) >= 2


async def test_logins_and_failures_are_in_the_audit_log(rest: Rest) -> None:
    made = await user(rest, "support")
    async with door(rest) as client:
        await client.post("/v1/login", json={"email": made["email"], "password": OTHER})
    await login(rest, made["email"], device="office")
    about = {"object_kind": "user", "object_id": made["id"]}
    items = (await rest.client.get("/v1/audit-log", params=about)).json()["items"]
    assert [item["action"] for item in items] == ["login", "login-failed", "create"]
    assert items[0]["after"] == {"address": "127.0.0.1", "device": "office", "kind": "bearer"}
    await forgive(rest)
