"""The pages that links in mails lead to, as a browser without scripts gets them."""

from __future__ import annotations

import re
import secrets
from html import unescape
from typing import Any

import httpx
import pytest

from chargeplane.edges.http.account.pages import languages
from tests.people.post import code_of, mail_to, mails_to, text_of
from tests.people.test_driver_accounts import PASSWORD, account, address, forgive, signed_in
from tests.people.test_users import login, user
from tests.support.rest import Rest, assert_problem

NEW = "a wholly other password"


def browser(rest: Rest, language: str = "en") -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=rest.base_url, timeout=60, headers={"accept-language": language})


def link_in(message: Any) -> str:
    """The path that a mail's link leads to."""
    found = re.search(r"https?://[^/\s]+(/account/\S+)", text_of(message))
    assert found is not None, text_of(message)
    return found[1]


def form_of(page: httpx.Response) -> tuple[str, dict[str, str]]:
    """Where a page's form goes, with what it holds."""
    action = re.search(r'<form method="post" action="([^"]+)"', page.text)
    assert action is not None, page.text
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    return unescape(action[1]), {name: unescape(value) for name, value in fields.items()}


def well_made(page: httpx.Response, language: str = "en") -> None:
    """What every page is: in its language, without scripts, kept by nobody."""
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<html lang="{language}">' in page.text
    assert "<script" not in page.text
    assert re.search(r'\son\w+="', page.text) is None
    assert 'style="' not in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    for field in re.findall(r'<input id="([^"]+)"', page.text):
        assert f'<label for="{field}">' in page.text


def test_all_languages_say_the_same_things() -> None:
    english = languages()["en"]
    for code, words in languages().items():
        assert words.keys() == english.keys(), code
        for key, text in words.items():
            assert re.findall(r"{\w+}", text) == re.findall(r"{\w+}", english[key]), (code, key)


@pytest.mark.parametrize("language", ["en", "de", "sv"])
async def test_address_is_confirmed_by_the_button_alone(rest: Rest, language: str) -> None:
    mail = address("anna")
    async with browser(rest, "fr") as client:
        body = {"email": mail, "password": PASSWORD, "language": language}
        assert (await client.post("/v1/me/register", json=body)).status_code == 202
        path = link_in(await mail_to(rest, mail))
        for _ in range(2):  # programs that check mails open links too
            page = await client.get(path)
            assert page.status_code == 200
            well_made(page, language)
        action, fields = form_of(page)
        done = await client.post(action, data=fields)
        assert done.status_code == 200
        well_made(done, language)
        assert languages()[language]["verify_email_done"] in unescape(done.text)
        gone = await client.get(path)
        assert gone.status_code == 410
        well_made(gone, language)
        assert languages()[language]["gone"] in unescape(gone.text)
        # the address is confirmed: no new mail is needed, and none comes
        action, fields = form_of(gone)
        sent = await client.post(action, data=fields)
        assert sent.status_code == 200
    assert len(mails_to(rest, mail)) == 1
    await forgive(rest)
    await signed_in(rest, mail)


async def test_link_that_is_too_old_leads_to_a_new_one(rest: Rest) -> None:
    mail = address("late")
    async with browser(rest) as client:
        await client.post("/v1/me/register", json={"email": mail, "password": PASSWORD})
        path = link_in(await mail_to(rest, mail))
        await rest.execute("UPDATE mailed_secret SET expires_at = now() - interval '1 day' WHERE email = $1", mail)
        gone = await client.get(path)
        assert gone.status_code == 410
        action, fields = form_of(gone)
        # the button of a page that was open for too long
        late = await client.post("/account/verify-email", data={"code": fields["code"]})
        assert late.status_code == 410
        assert "new mail" in (await client.post(action, data=fields)).text
        fresh = link_in(await mail_to(rest, mail, 2))
        page = await client.get(fresh)
        action, fields = form_of(page)
        assert (await client.post(action, data=fields)).status_code == 200
    await signed_in(rest, mail)


async def test_password_is_chosen_anew_with_its_rules_told(rest: Rest) -> None:
    mail = await account(rest)
    async with browser(rest) as client:
        await client.post("/v1/me/forgot-password", json={"email": mail})
        path = link_in(await mail_to(rest, mail, 2))
        page = await client.get(path)
        well_made(page)
        assert 'autocomplete="new-password"' in page.text
        action, fields = form_of(page)
        for wrong, text in (
            ({"password": "short", "repeat": "short"}, "10 to 200 characters"),
            ({"password": NEW, "repeat": NEW + "x"}, "differ"),
            ({"password": "aaaaaaaaaaaa", "repeat": "aaaaaaaaaaaa"}, "five different"),
            ({"password": "password1234", "repeat": "password1234"}, "tried first"),
            ({}, "10 to 200 characters"),
        ):
            again = await client.post(action, data={**fields, **wrong})
            assert again.status_code == 422
            well_made(again)
            assert text in again.text
            assert 'role="alert"' in again.text
            assert wrong.get("password", "nothing") not in again.text
        done = await client.post(action, data={**fields, "password": NEW, "repeat": NEW})
        assert done.status_code == 200
        well_made(done)
        used = await client.post(action, data={**fields, "password": NEW, "repeat": NEW})
        assert used.status_code == 410
        _, fields = form_of(used)
        assert fields["again"] == "1"
        await client.post("/account/reset-password", data=fields)
    await forgive(rest)
    await signed_in(rest, mail, NEW)
    await mail_to(rest, mail, 4)  # that it was changed, and the new link


async def test_invited_user_chooses_a_password_and_may_have_the_invitation_anew(rest: Rest) -> None:
    made = await user(rest, "support", password=None, language="sv")
    message = await mail_to(rest, made["email"])
    path = link_in(message)
    assert path.endswith("&lang=sv")
    async with browser(rest) as client:
        assert (await client.get(path.replace("invite-user", "reset-password"))).status_code == 410
        await rest.execute("UPDATE mailed_secret SET expires_at = now() WHERE user_id = $1", int(made["id"]))
        gone = await client.get(path)
        action, fields = form_of(gone)
        await client.post(action, data=fields)
        again = await mail_to(rest, made["email"], 2)
        assert "Default" in text_of(again) or "default" in text_of(again)
        page = await client.get(link_in(again))
        well_made(page, "sv")
        action, fields = form_of(page)
        done = await client.post(action, data={**fields, "password": PASSWORD, "repeat": PASSWORD})
        assert done.status_code == 200
        assert "Allt är klart" in done.text
    await login(rest, made["email"])
    await forgive(rest)


async def test_users_password_and_new_address_have_their_pages(rest: Rest) -> None:
    made = await user(rest, "support")
    async with browser(rest) as client:
        await client.post("/v1/login/forgot-password", json={"email": made["email"]})
        action, fields = form_of(await client.get(link_in(await mail_to(rest, made["email"]))))
        assert (await client.post(action, data={**fields, "password": NEW, "repeat": NEW})).status_code == 200
        assert (await client.post("/v1/login", json={"email": made["email"], "password": NEW})).status_code == 200
    mail, fresh = await account(rest), address("fresh")
    token = await signed_in(rest, mail)
    async with browser(rest) as client:
        asked = await client.post(
            "/v1/me/change-email",
            json={"email": fresh, "password": PASSWORD},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert asked.status_code == 202
        page = await client.get(link_in(await mail_to(rest, fresh)))
        assert "Confirm your new e-mail address" in page.text
        # meanwhile somebody else has it
        await rest.client.post("/v1/drivers", json={"email": fresh})
        action, fields = form_of(page)
        taken = await client.post(action, data=fields)
        assert (taken.status_code, "another account" in taken.text) == (409, True)
    await forgive(rest)


async def test_code_may_be_typed_and_says_nothing_where_it_is_none(rest: Rest) -> None:
    mail = address("typed")
    async with browser(rest, "de-AT,de;q=0.9") as client:
        await client.post("/v1/me/register", json={"email": mail, "password": PASSWORD})
        code = code_of(await mail_to(rest, mail))
        empty = await client.get("/account/verify-email")
        well_made(empty, "de")
        assert 'name="code"' in empty.text
        page = await client.get("/account/verify-email", params={"code": code, "lang": "de"})
        assert page.status_code == 200
        for wrong in ("x", '"><script>alert(1)</script>', "\x00", "ä" * 100):
            none = await client.get("/account/verify-email", params={"code": wrong})
            assert none.status_code == 410
            well_made(none, "de")
            assert "<form" not in none.text
        assert_problem(await client.get("/account/nothing"), 404)
    await forgive(rest)


async def test_whoever_guesses_codes_waits(rest: Rest) -> None:
    await forgive(rest)
    async with browser(rest) as client:
        guesses = [f"/account/reset-password?code={secrets.token_urlsafe(24)}" for _ in range(12)]
        codes = [(await client.get(guess)).status_code for guess in guesses]
        assert codes[0] == 410
        assert codes[-1] == 429
        slow = await client.post("/account/reset-password", data={"code": "x", "password": NEW, "repeat": NEW})
        assert slow.status_code == 429
        assert int(slow.headers["retry-after"]) > 0
        well_made(slow)
    await forgive(rest)
