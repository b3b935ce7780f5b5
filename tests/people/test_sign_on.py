"""Users sign on by a provider of identities (OpenID Connect), over real HTTP on both sides."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import os
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
import pytest_asyncio

from chargeplane.edges.oidc import OidcProviders
from tests.people.test_users import PASSWORD, address, forgive, user
from tests.support.oidc import Claims, Key, OidcProvider, oidc_provider
from tests.support.rest import Rest, assert_problem

CALLBACK = "/v1/login/sign-on/callback"


@pytest.fixture(scope="module")
def running() -> Iterator[OidcProvider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def provider(running: OidcProvider) -> OidcProvider:
    running.fresh()
    return running


def browser(rest: Rest, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=rest.base_url, timeout=60, headers=headers)


async def registered(rest: Rest, provider: OidcProvider, **more: Any) -> dict[str, Any]:
    """The provider, registered with the tenant; forgotten keys and all that is kept of it first."""
    body = {
        "slug": f"p-{secrets.token_hex(4)}",
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "client_secret": provider.secret,
        "title": "House accounts",
        **more,
    }
    made = await rest.client.post("/v1/sign-on-providers", json=body)
    assert made.status_code == 201, made.text
    forget(rest)
    found: dict[str, Any] = made.json()
    return found


def forget(rest: Rest) -> None:
    """Has the provider asked anew: tests change what it says of itself."""
    asked = rest.business.sign_on._providers
    assert isinstance(asked, OidcProviders)
    asked._known.clear()


async def begun(rest: Rest, client: httpx.AsyncClient, made: dict[str, Any], **query: str) -> str:
    """Where the provider sends the browser back to."""
    gone = await client.get(f"/v1/login/sign-on/default/{made['slug']}", params=query)
    assert gone.status_code == 303, gone.text
    async with httpx.AsyncClient(timeout=60) as outside:
        back = await outside.get(gone.headers["location"])
    assert back.status_code == 302, back.text
    return str(back.headers["location"])


async def signed_on(rest: Rest, client: httpx.AsyncClient, made: dict[str, Any], **query: str) -> httpx.Response:
    """The answer to the browser that comes back."""
    return await client.get(await begun(rest, client, made, **query))


async def who(client: httpx.AsyncClient) -> Any:
    answer = await client.get("/v1/login")
    assert answer.status_code == 200, answer.text
    return answer.json()


def person(provider: OidcProvider, email: str, **more: Any) -> str:
    """Has somebody else sign in at the provider; the subject."""
    provider.person = {"sub": secrets.token_hex(8), "email": email, "email_verified": True, "name": "Åsa", **more}
    return str(provider.person["sub"])


async def test_known_user_comes_in_by_a_verified_address_and_stays_linked(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    known = await user(rest, "support")
    person(provider, known["email"].upper())
    async with browser(rest) as client:
        back = await signed_on(rest, client, made, return_to="/docs")
        assert (back.status_code, back.headers["location"]) == (303, "/docs")
        assert "HttpOnly" in back.headers["set-cookie"]
        found = await who(client)
        assert (found["email"], found["role"], found["tenant"]) == (known["email"], "support", "default")
    # the address at the provider may change: the identity stays
    provider.person["email"] = address("other")
    async with browser(rest) as client:
        assert (await signed_on(rest, client, made)).headers["location"] == "/account/signed-in"
        assert (await who(client))["id"] == known["id"]
        page = await client.get("/account/signed-in?lang=de")
        assert "Sie sind angemeldet" in page.text
    about = {"object_kind": "user", "object_id": known["id"]}
    told = (await rest.client.get("/v1/audit-log", params=about)).json()["items"]
    assert [one["action"] for one in told] == ["login", "login", "link", "create"]
    assert told[0]["after"]["provider"] == made["slug"]
    assert told[2]["after"]["subject"] == provider.person["sub"]


@pytest.mark.parametrize("verified", [False, None, "yes", 1])
async def test_address_without_the_providers_word_links_nothing(
    rest: Rest, provider: OidcProvider, verified: object
) -> None:
    made = await registered(rest, provider)
    known = await user(rest, "support")
    person(provider, known["email"], email_verified=verified)
    provider.beside = {"sub": provider.person["sub"]}
    async with browser(rest, **{"accept-language": "sv"}) as client:
        back = await signed_on(rest, client, made)
        assert back.status_code == 403
        assert "går inte i god för" in back.text
        assert_problem(await client.get("/v1/login"), 401)
    assert await rest.execute("SELECT count(*) FROM user_identity WHERE user_id = $1", int(known["id"])) == 0
    await forgive(rest)


async def test_nobody_is_made_a_user_unless_the_provider_may(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    mail = address("new")
    person(provider, mail, groups=["staff"])
    async with browser(rest) as client:
        assert "Nobody here has your e-mail address" in (await signed_on(rest, client, made)).text
    rules = {"role_claim": "groups", "roles": [{"value": "staff", "role": "read_only"}], "create_users": True}
    changed = await rest.client.patch(f"/v1/sign-on-providers/{made['id']}", json=rules)
    assert changed.status_code == 200, changed.text
    async with browser(rest) as client:
        assert (await signed_on(rest, client, made)).status_code == 303
        found = await who(client)
        assert (found["email"], found["name"], found["role"]) == (mail, "Åsa", "read_only")
    await forgive(rest)


async def test_role_follows_the_claims_at_every_sign_on(rest: Rest, provider: OidcProvider) -> None:
    rules = {
        "role_claim": "realm_access.roles",
        "roles": [{"value": "money", "role": "finance"}, {"value": "helper", "role": "support"}],
        "create_users": True,
    }
    made = await registered(rest, provider, **rules)
    person(provider, address("maria"), realm_access={"roles": ["helper", "money"]})
    async with browser(rest) as client:
        await signed_on(rest, client, made)
        assert (await who(client))["role"] == "finance"  # the first rule that fits
        provider.person["realm_access"] = {"roles": ["helper"]}
        await signed_on(rest, client, made)
        found = await who(client)
        assert found["role"] == "support"
    provider.person["realm_access"] = {"roles": ["guest"]}
    async with browser(rest) as client:
        assert "You have no role here" in (await signed_on(rest, client, made)).text
    told = (
        await rest.client.get(
            "/v1/audit-log", params={"object_kind": "user", "object_id": found["id"], "action": "update"}
        )
    ).json()["items"]
    assert (told[0]["before"]["role"], told[0]["after"]["role"]) == ("finance", "support")
    assert told[0]["actor"] == f"policy: sign-on by {made['slug']}"
    await forgive(rest)


def crooked(change: dict[str, Any]) -> Any:
    """What changes claims."""
    return lambda claims: {**claims, **change}


def without(name: str) -> Any:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


BAD_CLAIMS = {
    "another issuer": crooked({"iss": "https://elsewhere.example.org"}),
    "another audience": crooked({"aud": "somebody-else"}),
    "several audiences without azp": crooked({"aud": ["chargeplane", "somebody-else"]}),
    "made for another party": crooked({"azp": "somebody-else"}),
    "expired": crooked({"exp": int(time.time()) - 3600, "iat": int(time.time()) - 7200}),
    "made in the future": crooked({"iat": int(time.time()) + 3600}),
    "not yet valid": crooked({"nbf": int(time.time()) + 3600}),
    "without expiry": without("exp"),
    "without time of making": without("iat"),
    "without subject": without("sub"),
    "another nonce": crooked({"nonce": "another"}),
    "without nonce": without("nonce"),
    "nonce of another type": crooked({"nonce": ["x"]}),
    "another access token": crooked({"at_hash": "AAAA"}),
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
async def test_id_token_that_proves_nothing_lets_nobody_in(rest: Rest, provider: OidcProvider, name: str) -> None:
    made = await registered(rest, provider)
    known = await user(rest, "support")
    person(provider, known["email"])
    provider.change = BAD_CLAIMS[name]
    await refused(rest, made, "does not prove who you are")
    provider.fresh()
    person(provider, known["email"])
    async with browser(rest) as client:
        assert (await signed_on(rest, client, made)).status_code == 303


async def refused(rest: Rest, made: dict[str, Any], text: str, status: int = 403) -> None:
    """The sign-on does not work, and nobody is signed in."""
    async with browser(rest) as client:
        back = await signed_on(rest, client, made)
        assert (back.status_code, text in back.text) == (status, True), back.text
        assert_problem(await client.get("/v1/login"), 401)
    await forgive(rest)


def unsigned(claims: Claims) -> str:
    return jwt.encode(claims, None, algorithm="none")


def with_hmac(claims: Claims, key: bytes) -> str:
    """Signed with the public key as if it were a secret."""
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "one"}, claims))
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")
    return f"{text.decode()}.{signature.decode()}"


@pytest.mark.parametrize(
    "way", ["none", "by_client_secret", "by_public_key", "foreign_key", "no_token", "no_name", "cut"]
)
async def test_signature_by_anybody_else_lets_nobody_in(rest: Rest, provider: OidcProvider, way: str) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["RS256", "HS256", "none"]}
    made = await registered(rest, provider)
    known = await user(rest, "support")
    person(provider, known["email"])
    foreign = Key("one")
    public = json.dumps(provider.keys[-1].jwk()).encode()
    provider.sign = {
        "none": unsigned,
        "by_client_secret": lambda claims: jwt.encode(claims, str(provider.secret).ljust(40), algorithm="HS256"),
        "by_public_key": lambda claims: with_hmac(claims, public),
        "foreign_key": lambda claims: provider.signed(claims, foreign),
        "no_token": lambda claims: "",
        "no_name": lambda claims: jwt.encode(claims, foreign.private, algorithm="RS256"),
        "cut": lambda claims: provider.signed(claims).rpartition(".")[0] + ".AAAA",
    }[way]
    await refused(rest, made, "does not prove who you are")


async def test_clocks_may_differ_by_what_is_set(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider, clock_skew_s=60)
    known = await user(rest, "support")
    person(provider, known["email"])
    now = int(time.time())
    provider.change = crooked({"iat": now + 45, "exp": now - 30})
    async with browser(rest) as client:
        assert (await signed_on(rest, client, made)).status_code == 303
    await rest.client.patch(f"/v1/sign-on-providers/{made['id']}", json={"clock_skew_s": 0})
    await refused(rest, made, "does not prove who you are")


async def test_keys_that_were_rotated_are_fetched_again_but_not_for_every_guess(
    rest: Rest, provider: OidcProvider
) -> None:
    made = await registered(rest, provider)
    known = await user(rest, "support")
    person(provider, known["email"])
    old = list(provider.keys)
    try:
        async with browser(rest) as client:
            assert (await signed_on(rest, client, made)).status_code == 303
            provider.keys = [Key("two", "ES256")]
            provider.requests.clear()
            assert (await signed_on(rest, client, made)).status_code == 303
            assert provider.requests.count("/keys") == 1
        foreign = Key("three")
        provider.sign = lambda claims: provider.signed(claims, foreign)
        await refused(rest, made, "does not prove who you are")
        assert provider.requests.count("/keys") == 1
    finally:
        provider.keys = old


async def test_state_comes_back_once_in_time_and_from_its_browser(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    known = await user(rest, "support")
    person(provider, known["email"])
    async with browser(rest) as client, browser(rest) as other:
        back = await begun(rest, client, made)
        assert "another browser" in (await other.get(back)).text
        assert "another browser" in (await client.get(back)).text  # it was used up
        back = await begun(rest, client, made)
        assert (await client.get(back)).status_code == 303
        again = await client.get(back)
        assert (again.status_code, "came back twice" in again.text) == (403, True)
        back = await begun(rest, client, made)
        await rest.execute("UPDATE oidc_attempt SET expires_at = now() - interval '1 second'")
        assert (await client.get(back)).status_code == 403
        for query in ({}, {"state": "x" * 43, "code": "y"}, {"code": "y"}):
            assert (await client.get(CALLBACK, params=query)).status_code == 403
        # two tabs do not end one another
        first, second = await begun(rest, client, made), await begun(rest, client, made)
        assert (await client.get(first)).status_code == 303
        assert (await client.get(second)).status_code == 303
    await forgive(rest)


async def test_answer_that_names_another_issuer_is_not_taken(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    person(provider, (await user(rest, "support"))["email"])
    for mixed in ("https://elsewhere.example.org", None):
        async with browser(rest) as client:
            back = httpx.URL(await begun(rest, client, made))
            back = back.copy_remove_param("iss") if mixed is None else back.copy_set_param("iss", mixed)
            answer = await client.get(back)
            assert (answer.status_code, "does not prove" in answer.text) == (403, True)
    await forgive(rest)


async def test_no_of_the_provider_is_told(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    provider.deny = "access_denied"
    await refused(rest, made, "you broke it off")
    provider.deny = None
    provider.secret = "another"
    await refused(rest, made, "does not answer", 502)
    assert provider.refused == ["wrong client"]


@pytest.mark.parametrize("way", ["client_secret_post", "public"])
async def test_client_proves_itself_as_the_provider_wants(rest: Rest, provider: OidcProvider, way: str) -> None:
    if way == "public":
        provider.secret = None
    else:
        provider.metadata = {"token_endpoint_auth_methods_supported": [way]}
    made = await registered(rest, provider)
    person(provider, (await user(rest, "support"))["email"])
    async with browser(rest) as client:
        assert (await signed_on(rest, client, made)).status_code == 303
    assert provider.refused == []


async def test_what_stands_beside_the_id_token_counts_for_the_same_person_alone(
    rest: Rest, provider: OidcProvider
) -> None:
    made = await registered(rest, provider)
    known = await user(rest, "support")
    provider.person = {"sub": secrets.token_hex(8)}
    provider.beside = {"sub": provider.person["sub"], "email": known["email"], "email_verified": True}
    async with browser(rest) as client:
        assert (await signed_on(rest, client, made)).status_code == 303
        assert (await who(client))["id"] == known["id"]
    provider.person = {"sub": secrets.token_hex(8)}
    await refused(rest, made, "does not prove who you are")


async def test_age_of_the_proof_is_bounded(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider, max_age_s=600)
    person(provider, (await user(rest, "support"))["email"], auth_time=int(time.time()) - 60)
    async with browser(rest) as client:
        gone = await client.get(f"/v1/login/sign-on/default/{made['slug']}")
        assert parse_qs(urlsplit(gone.headers["location"]).query)["max_age"] == ["600"]
        assert (await signed_on(rest, client, made)).status_code == 303
    provider.person["auth_time"] = int(time.time()) - 3600
    await refused(rest, made, "does not prove who you are")
    del provider.person["auth_time"]
    await refused(rest, made, "does not prove who you are")


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://elsewhere.example.org"},
        {"token_endpoint": "ftp://127.0.0.1/token"},
        {"jwks_uri": None},
        {"id_token_signing_alg_values_supported": ["HS256", "none"]},
    ],
)
async def test_provider_that_says_what_it_should_not_of_itself_is_not_used(
    rest: Rest, provider: OidcProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    made = await registered(rest, provider)
    async with browser(rest) as client:
        gone = await client.get(f"/v1/login/sign-on/default/{made['slug']}")
        assert (gone.status_code, "does not answer" in gone.text) == (502, True)


async def test_login_by_a_tenants_provider_is_for_that_tenant_alone(rest: Rest, provider: OidcProvider) -> None:
    slug = f"t-{secrets.token_hex(4)}"
    await rest.client.post("/v1/tenants", json={"slug": slug, "name": slug})
    key = (await rest.client.post("/v1/api-keys", json={"name": "k", "scopes": ["admin"], "tenant": slug})).json()[
        "key"
    ]
    victim = await user(rest, "owner")  # of the default tenant
    rules = {"create_users": True, "default_role": "read_only"}
    async with rest.as_key(key) as owner:
        body = {"slug": "own", "issuer": provider.issuer, "client_id": provider.client_id, "title": "Own"}
        made = await owner.post("/v1/sign-on-providers", json={**body, "client_secret": provider.secret, **rules})
        assert made.status_code == 201, made.text
    forget(rest)
    person(provider, victim["email"])
    async with browser(rest) as client:
        gone = await client.get(f"/v1/login/sign-on/{slug}/own")
        async with httpx.AsyncClient() as outside:
            back = (await outside.get(gone.headers["location"])).headers["location"]
        assert (await client.get(back)).status_code == 303
        found = await who(client)
        assert (found["tenant"], found["role"]) == (slug, "read_only")
        assert [one["tenant"] for one in found["tenants"]] == [slug]
        csrf = {"X-CSRF-Token": found["csrf_token"]}
        assert_problem(await client.post("/v1/login/switch", json={"tenant": "default"}, headers=csrf), 403)
        async with browser(rest) as direct:
            token = (await direct.post("/v1/login", json={"email": victim["email"], "password": PASSWORD})).json()[
                "token"
            ]
        async with browser(rest, Authorization=f"Bearer {token}") as direct:
            ids = {one["id"] for one in (await direct.get("/v1/login/sessions")).json()["items"]}
        seen = {one["id"] for one in (await client.get("/v1/login/sessions")).json()["items"]}
        assert len(ids) == 2
        assert len(seen) == 1
        (other,) = ids - seen
        assert_problem(await client.delete(f"/v1/login/sessions/{other}", headers=csrf), 404)


async def test_signing_out_leads_to_the_providers_own_place(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    person(provider, (await user(rest, "support"))["email"])
    async with browser(rest) as client:
        await signed_on(rest, client, made)
        csrf = {"X-CSRF-Token": (await who(client))["csrf_token"]}
        place = (await client.post("/v1/login/logout", headers=csrf)).json()["end_session_url"]
        assert place.startswith(f"{provider.issuer}/end?from=here&")
        asked = parse_qs(urlsplit(place).query)
        assert asked["post_logout_redirect_uri"] == [f"{rest.base_url}/account/signed-out"]
        assert (
            jwt.decode(asked["id_token_hint"][0], options={"verify_signature": False})["sub"] == provider.person["sub"]
        )
        assert_problem(await client.get("/v1/login"), 401)
        await signed_on(rest, client, made)
        page = await client.get("/account/signed-in")
        found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert found is not None
        assert (await client.post("/account/sign-out", data={"csrf_token": "wrong"})).status_code == 403
        out = await client.post("/account/sign-out", data={"csrf_token": found[1]})
        assert provider.issuer in out.text
        assert "You are signed out" in (await client.get("/account/signed-in")).text


EVENTS = {"http://schemas.openid.net/event/backchannel-logout": {}}


def out_of(provider: OidcProvider, **claims: Any) -> Claims:
    """What a provider says of somebody who has signed out there."""
    now = int(time.time())
    said = {
        "iss": provider.issuer,
        "aud": provider.client_id,
        "iat": now,
        "exp": now + 120,
        "jti": secrets.token_hex(8),
    }
    return {**said, "events": EVENTS, **claims}


async def told_out(rest: Rest, made: dict[str, Any], token: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=rest.base_url, timeout=60) as client:
        answer = await client.post(f"/v1/login/sign-on/default/{made['slug']}/logout", data={"logout_token": token})
    assert answer.headers["cache-control"] == "no-store"
    return answer


async def test_who_signs_out_at_the_provider_is_signed_out_here(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    mail, other_mail = (await user(rest, "support"))["email"], (await user(rest, "support"))["email"]
    async with browser(rest) as one, browser(rest) as two, browser(rest) as other, browser(rest) as by_password:
        subject = person(provider, mail, sid="S1")
        await signed_on(rest, one, made)
        provider.person["sid"] = "S2"
        await signed_on(rest, two, made)
        person(provider, other_mail, sid="S3")
        await signed_on(rest, other, made)
        body = {"email": mail, "password": PASSWORD, "kind": "cookie"}
        assert (await by_password.post("/v1/login", json=body)).status_code == 200

        async def inside() -> list[bool]:
            return [(await client.get("/v1/login")).status_code == 200 for client in (one, two, other, by_password)]

        assert await inside() == [True] * 4
        # Of one session there, whose it is not, of all of a person; a repeat changes nothing; a login by password is none of the provider's.
        for claims, left in (
            ({"sid": "S9"}, [True, True, True, True]),
            ({"sid": "S3", "sub": subject}, [True, True, True, True]),
            ({"sid": "S1", "sub": subject}, [False, True, True, True]),
            ({"sub": subject}, [False, False, True, True]),
            ({"sub": subject}, [False, False, True, True]),
            ({"sid": "S3"}, [False, False, False, True]),
        ):
            token = provider.signed(out_of(provider, **claims), typ="logout+jwt")
            answer = await told_out(rest, made, token)
            assert (answer.status_code, answer.content) == (200, b"")
            assert await inside() == left, claims
    actor = f"sign-on provider {made['slug']}"
    assert await rest.execute("SELECT count(*) FROM audit_log WHERE actor = $1 AND action = 'logout'", actor) == 3


async def test_logout_token_that_comes_again_ends_no_newer_login(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    subject = person(provider, (await user(rest, "support"))["email"], sid="S8")
    async with browser(rest) as client:
        await signed_on(rest, client, made)
        was = int(time.time()) - 1000
        old = provider.signed(out_of(provider, sub=subject, iat=was), typ="logout+jwt")
        assert (await told_out(rest, made, old)).status_code == 200
        assert (await client.get("/v1/login")).status_code == 200
        # A session of the provider's that has ended is over: there is no newer login by it.
        one = provider.signed(out_of(provider, sub=subject, sid="S8", iat=was), typ="logout+jwt")
        assert (await told_out(rest, made, one)).status_code == 200
        assert_problem(await client.get("/v1/login"), 401)


async def test_provider_may_sign_people_out_whose_address_has_begun_too_many_sign_ons(
    rest: Rest, provider: OidcProvider
) -> None:
    made = await registered(rest, provider)
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.9")
    async with httpx.AsyncClient(base_url=rest.base_url, timeout=60, transport=elsewhere) as client:
        while (await client.get("/v1/login/sign-on/default/nobody")).status_code != 429:
            pass
        token = provider.signed(out_of(provider, sub="somebody"), typ="logout+jwt")
        answer = await client.post(f"/v1/login/sign-on/default/{made['slug']}/logout", data={"logout_token": token})
        assert answer.status_code == 200


OUT_WRONG: dict[str, Any] = {
    "other audience": {"aud": "another"},
    "other issuer": {"iss": "https://other.example"},
    "too old": {"iat": int(time.time()) - 9000, "exp": int(time.time()) - 8000},
    "an ID token": {"nonce": "n"},
    "no event": {"events": {}},
    "events that are none": {"events": ["http://schemas.openid.net/event/backchannel-logout"]},
    "nobody": {"sub": None},
    "an odd session": {"sid": 7},
}


@pytest.mark.parametrize("name", OUT_WRONG)
async def test_logout_token_that_proves_nothing_ends_nothing(rest: Rest, provider: OidcProvider, name: str) -> None:
    made = await registered(rest, provider)
    subject = person(provider, (await user(rest, "support"))["email"])
    async with browser(rest) as client:
        await signed_on(rest, client, made)
        claims = {
            name: value for name, value in out_of(provider, **{"sub": subject, **OUT_WRONG[name]}).items() if value
        }
        answer = await told_out(rest, made, provider.signed(claims))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
        assert (await client.get("/v1/login")).status_code == 200


async def test_only_the_provider_itself_signs_people_out(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    subject = person(provider, (await user(rest, "support"))["email"])
    async with browser(rest) as client:
        await signed_on(rest, client, made)
        claims = out_of(provider, sub=subject)
        for token in (
            provider.signed(claims, Key("one")),
            provider.signed(claims, typ="at+jwt"),
            provider.signed({name: value for name, value in claims.items() if name != "jti"}),
            jwt.encode(claims, "", algorithm="none"),
            "x" * 100_000,
            "",
        ):
            assert (await told_out(rest, made, token)).status_code == 400
        right = provider.signed(claims)
        assert (await told_out(rest, {"slug": "nobody"}, right)).status_code == 404
        assert (await client.get("/v1/login")).status_code == 200
        twice = await client.post(
            f"/v1/login/sign-on/default/{made['slug']}/logout", content=f"logout_token={right}&logout_token={right}"
        )
        assert twice.status_code == 400
        assert (await told_out(rest, made, right)).status_code == 200
        assert_problem(await client.get("/v1/login"), 401)


async def test_disabling_or_removing_a_provider_signs_its_users_out(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    path = f"/v1/sign-on-providers/{made['id']}"
    person(provider, (await user(rest, "support"))["email"])
    async with browser(rest) as client:
        await signed_on(rest, client, made)
        back = await begun(rest, client, made)
        assert (await rest.client.patch(path, json={"enabled": False})).status_code == 200
        assert_problem(await client.get("/v1/login"), 401)
        assert (await client.get(back)).status_code == 403
        assert (await client.get(f"/v1/login/sign-on/default/{made['slug']}")).status_code == 404
        assert (await rest.client.patch(path, json={"enabled": True})).status_code == 200
        await signed_on(rest, client, made)
        assert (await rest.client.delete(path)).status_code == 204
        assert_problem(await client.get("/v1/login"), 401)
        assert_problem(await rest.client.get(path), 404)
    await forgive(rest)


async def test_providers_are_administered_with_what_is_wrong_named(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    assert made["has_client_secret"] is True
    assert provider.secret is not None
    assert provider.secret not in json.dumps(made)
    path = f"/v1/sign-on-providers/{made['id']}"
    first = await rest.client.get(path)
    body = {name: made[name] for name in ("slug", "issuer", "client_id", "title")}
    assert_problem(await rest.client.post("/v1/sign-on-providers", json=body), 409)
    assert_problem(await rest.client.post("/v1/sign-on-providers", json={}), 422, pointer="#/slug")
    for wrong, pointer in (
        ({"issuer": "ftp://x"}, "#/issuer"),
        ({"issuer": "https://x/?a=b"}, "#/issuer"),
        ({"slug": "Not Good"}, "#/slug"),
        ({"roles": [{"value": "a", "role": "support"}]}, "#/role_claim"),
        ({"role_claim": "a..b"}, "#/role_claim"),
    ):
        assert_problem(await rest.client.patch(path, json=wrong), 422, pointer=pointer)
    tag = first.headers["etag"]
    assert (await rest.client.patch(path, json={"title": "New"}, headers={"If-Match": tag})).status_code == 200
    assert_problem(await rest.client.patch(path, json={"title": "Newer"}, headers={"If-Match": tag}), 412)
    choices = (await rest.client.get("/v1/login/sign-on")).json()["items"]
    assert {
        "slug": made["slug"],
        "title": "New",
        "url": f"{rest.base_url}/v1/login/sign-on/default/{made['slug']}",
    } in choices
    assert f"/v1/login/sign-on/default/{made['slug']}" in (await rest.client.get("/account/sign-in")).text
    listed = (await rest.client.get("/v1/sign-on-providers", params={"limit": 1})).json()
    assert listed["items"][0]["id"] == made["id"]
    # who may not give a role may not have a provider give it
    key = (await rest.client.post("/v1/api-keys", json={"name": "k", "scopes": ["users:write"]})).json()["key"]
    async with rest.as_key(key) as client:
        assert_problem(await client.patch(path, json={"default_role": "owner"}), 403)


async def test_addresses_to_come_back_to_are_of_this_server(rest: Rest, provider: OidcProvider) -> None:
    made = await registered(rest, provider)
    person(provider, (await user(rest, "support"))["email"])
    for asked in ("https://evil.example.org", "//evil.example.org", "/\\evil.example.org", "docs", "/a\r\nb"):
        async with browser(rest) as client:
            back = await signed_on(rest, client, made, return_to=asked)
            assert back.headers["location"] == "/account/signed-in", asked


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def foreign() -> AsyncIterator[str]:
    """A provider that others wrote, as a process of its own; its issuer."""
    port = free_port()
    code = (
        "import oidc_provider_mock, werkzeug.serving\n"
        f"werkzeug.serving.make_server('127.0.0.1', {port}, oidc_provider_mock.app(require_nonce=True)).serve_forever()\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", code, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    issuer = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client:
            end = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{issuer}/.well-known/openid-configuration")).status_code == 200:
                        break
                assert time.monotonic() < end
                assert process.returncode is None
                await asyncio.sleep(0.1)
        yield issuer
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        await process.wait()


async def test_provider_that_others_wrote_signs_a_user_on(rest: Rest, foreign: str) -> None:
    slug = f"p-{secrets.token_hex(4)}"
    body = {"slug": slug, "issuer": foreign, "client_id": "any", "client_secret": "any", "title": "Foreign"}
    made = await rest.client.post(
        "/v1/sign-on-providers", json={**body, "create_users": True, "default_role": "support"}
    )
    assert made.status_code == 201, made.text
    mail = address("foreign")
    async with browser(rest) as client, httpx.AsyncClient(timeout=60) as outside:
        put = await outside.put(f"{foreign}/users/{mail}", json={"email": mail, "email_verified": True, "name": "Per"})
        assert put.status_code < 300, put.text
        gone = await client.get(f"/v1/login/sign-on/default/{slug}")
        answer = await outside.post(gone.headers["location"], data={"sub": mail})
        assert answer.status_code in (302, 303), answer.text
        back = await client.get(answer.headers["location"])
        assert back.status_code == 303, back.text
        found = await who(client)
        assert (found["email"], found["name"], found["role"]) == (mail, "Per", "support")
