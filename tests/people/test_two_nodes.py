"""Every door at which somebody proves who they are counts what fails there on all nodes together."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chargeplane.domain.people.lockout import BY_ACCOUNT, BY_ADDRESS, BY_CARD, BY_KEYS
from chargeplane.domain.people.totp import code_at
from tests.people.post import mail_to
from tests.people.test_driver_accounts import PASSWORD, account, address, signed_in
from tests.people.test_users import login, user
from tests.support.postgres import TestServer
from tests.support.rest import Rest, running_rest

SLOW = 2
"""So many attempts more are looked at where a machine takes longer for one than the first waits last; two nodes apart let in twice as many."""

Send = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def nodes(
    postgres_server: TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Rest, Rest]]:
    """Two nodes over one database. Either sends mails that the other has written, so they share a folder."""
    folder = tmp_path_factory.mktemp("nodes")
    with postgres_server.database() as url:
        async with running_rest(url, data_dir=folder) as one, running_rest(url, data_dir=folder) as two:
            yield one, two


async def wrong_driver_login(rest: Rest) -> Send:
    mail = await account(rest)
    return lambda client: client.post("/v1/me/login", json={"email": mail, "password": "not the password"})


async def login_of_nobody(rest: Rest) -> Send:
    mail = address("nobody")
    return lambda client: client.post("/v1/me/login", json={"email": mail, "password": "not the password"})


async def wrong_user_login(rest: Rest) -> Send:
    made = await user(rest, "support")
    return lambda client: client.post("/v1/login", json={"email": made["email"], "password": "not the password"})


async def wrong_one_time_code(rest: Rest) -> Send:
    made = await user(rest, "support")
    token = await login(rest, made["email"])
    async with rest.as_key(token) as me:
        setup = (await me.post("/v1/login/second-factor", json={"password": PASSWORD})).json()

        secret = base64.b32decode(setup["secret"] + "=" * (-len(setup["secret"]) % 8))
        code = code_at(secret, int(time.time() // 30))
        assert (await me.post("/v1/login/second-factor/confirm", json={"code": code})).status_code == 200
    body = {"email": made["email"], "password": PASSWORD, "code": "000000"}
    return lambda client: client.post("/v1/login", json=body)


async def wrong_code_at_set_up(rest: Rest) -> Send:
    token = await login(rest, (await user(rest, "support"))["email"])
    headers = {"Authorization": f"Bearer {token}"}
    async with rest.as_key(token) as me:
        await me.post("/v1/login/second-factor", json={"password": PASSWORD})
    return lambda client: client.post("/v1/login/second-factor/confirm", json={"code": "000000"}, headers=headers)


async def wrong_password_once_more(rest: Rest) -> Send:
    token = await signed_in(rest, await account(rest))
    body = {"password": "not the password", "new_password": "another stapled horse"}
    headers = {"Authorization": f"Bearer {token}"}
    return lambda client: client.post("/v1/me/change-password", json=body, headers=headers)


async def wrong_password_of_a_user_once_more(rest: Rest) -> Send:
    token = await login(rest, (await user(rest, "support"))["email"])
    body = {"password": "not the password", "new_password": "another stapled horse"}
    headers = {"Authorization": f"Bearer {token}"}
    return lambda client: client.post("/v1/login/change-password", json=body, headers=headers)


async def guessed_reset(rest: Rest) -> Send:
    body = {"password": "another stapled horse"}
    return lambda client: client.post("/v1/me/reset-password", json={**body, "code": secrets.token_urlsafe(24)})


async def guessed_user_reset(rest: Rest) -> Send:
    body = {"password": "another stapled horse"}
    return lambda client: client.post("/v1/login/reset-password", json={**body, "code": secrets.token_urlsafe(24)})


async def guessed_verification(rest: Rest) -> Send:
    return lambda client: client.post("/v1/me/verify-email", json={"code": secrets.token_urlsafe(24)})


async def guessed_link(rest: Rest) -> Send:
    return lambda client: client.get(f"/account/verify-email?code={secrets.token_urlsafe(24)}")


async def guessed_new_link(rest: Rest) -> Send:
    return lambda client: client.post("/account/verify-email", data={"code": secrets.token_urlsafe(24), "again": "1"})


async def forgotten_again_and_again(rest: Rest) -> Send:
    mail = await account(rest)
    return lambda client: client.post("/v1/me/forgot-password", json={"email": mail})


async def registered_again_and_again(rest: Rest) -> Send:
    mail = address("again")
    return lambda client: client.post("/v1/me/register", json={"email": mail, "password": PASSWORD})


async def guessed_card(rest: Rest) -> Send:
    number = f"C{secrets.token_hex(6)}"
    cards = [{"visual_number": number, "id_token": secrets.token_hex(7).upper()}]
    assert (await rest.client.post("/v1/rfid-cards", json={"cards": cards})).status_code == 201
    headers = {"Authorization": f"Bearer {await signed_in(rest, await account(rest))}"}
    body = {"kind": "card", "visual_number": number, "activation_code": "WRONGONE"}
    return lambda client: client.post("/v1/me/id-tokens", json=body, headers=headers)


async def foreign_sign_on(rest: Rest) -> Send:
    return lambda client: client.get(f"/v1/login/sign-on/callback?state={secrets.token_urlsafe(32)}&code=x")


async def wrong_api_key(rest: Rest) -> Send:
    return lambda client: client.get("/v1/drivers", headers={"Authorization": f"Bearer {secrets.token_hex(20)}"})


DOORS = {
    wrong_driver_login: BY_ACCOUNT.free,
    login_of_nobody: BY_ACCOUNT.free,
    wrong_user_login: BY_ACCOUNT.free,
    wrong_one_time_code: BY_ACCOUNT.free,
    wrong_code_at_set_up: BY_ACCOUNT.free,
    wrong_password_once_more: BY_ACCOUNT.free,
    wrong_password_of_a_user_once_more: BY_ACCOUNT.free,
    guessed_reset: BY_ACCOUNT.free,
    guessed_user_reset: BY_ACCOUNT.free,
    guessed_verification: BY_ACCOUNT.free,
    guessed_link: BY_ACCOUNT.free,
    guessed_new_link: BY_ACCOUNT.free,
    forgotten_again_and_again: BY_ACCOUNT.free,
    registered_again_and_again: BY_ACCOUNT.free,
    guessed_card: BY_CARD.free,
    foreign_sign_on: BY_ADDRESS.free,
}


async def shut_after(nodes: tuple[Rest, Rest], send: Send, most: int) -> tuple[int, httpx.Response]:
    """How many attempts were looked at, in turn at either node, before the door was shut; and what it then says."""
    async with (
        httpx.AsyncClient(base_url=nodes[0].base_url, timeout=60) as one,
        httpx.AsyncClient(base_url=nodes[1].base_url, timeout=60) as two,
    ):
        for count in range(most + SLOW + 2):
            answer = await send((one, two)[count % 2])
            if answer.status_code == 429:
                other = await send((one, two)[(count + 1) % 2])
                assert other.status_code == 429, "the other node lets in"
                return count, answer
            assert answer.status_code < 500, answer.text
    raise AssertionError("it was never shut")


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
async def test_door_is_shut_on_both_nodes_after_what_may_fail(
    nodes: tuple[Rest, Rest], door: Callable[[Rest], Awaitable[Send]]
) -> None:
    await nodes[0].execute("DELETE FROM login_failure")
    send = await door(nodes[0])
    await nodes[0].execute("DELETE FROM login_failure")
    count, answer = await shut_after(nodes, send, DOORS[door])
    # The attempt that is one too many is still looked at; it makes the next one wait.
    assert DOORS[door] < count <= DOORS[door] + 1 + SLOW
    assert int(answer.headers["retry-after"]) > 0
    await nodes[0].execute("DELETE FROM login_failure")


async def test_wrong_keys_are_counted_on_both_nodes_and_a_known_one_passes(nodes: tuple[Rest, Rest]) -> None:
    await nodes[0].execute("DELETE FROM login_failure")
    for rest in nodes:
        assert (await rest.client.get("/v1/drivers")).status_code == 200
    await nodes[0].business.guard.wrong_key("127.0.0.1")
    await nodes[0].execute("UPDATE login_failure SET failures = $1", BY_KEYS.free)
    send = await wrong_api_key(nodes[0])
    count, answer = await shut_after(nodes, send, 1)
    assert 1 <= count <= 1 + SLOW
    assert int(answer.headers["retry-after"]) > 0
    for rest in nodes:
        assert (await rest.client.get("/v1/drivers")).status_code == 200
    await nodes[0].execute("DELETE FROM login_failure")


async def test_a_mail_is_found_whichever_node_sends_it(nodes: tuple[Rest, Rest]) -> None:
    for asked in nodes:
        mail = address("either")
        # The node that took the request looks for the mail at once and nearly always sends it itself.
        async with httpx.AsyncClient(base_url=asked.base_url, timeout=60) as client:
            answer = await client.post("/v1/me/register", json={"email": mail, "password": PASSWORD})
        assert answer.status_code == 202
        for rest in nodes:
            assert (await mail_to(rest, mail))["To"] == mail


async def test_many_accounts_from_one_address_shut_the_address(nodes: tuple[Rest, Rest]) -> None:
    await nodes[0].execute("DELETE FROM login_failure")

    async def another(client: httpx.AsyncClient) -> httpx.Response:
        body: dict[str, Any] = {"email": address("spray"), "password": "not the password"}
        return await client.post("/v1/me/login", json=body)

    count, _ = await shut_after(nodes, another, BY_ADDRESS.free)
    assert BY_ADDRESS.free < count <= BY_ADDRESS.free + 1 + SLOW
    await nodes[0].execute("DELETE FROM login_failure")
