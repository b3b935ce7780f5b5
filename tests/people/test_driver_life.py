"""A driver's life by the real flows: own things are there, nobody else's are; then all of it is given out, and erased."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import re
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.main.config import PaymentsConfig, SessionsConfig, WebhooksConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator.payments import PaymentSimulator
from tests.sessions.making import ENERGY, Site, site
from tests.support.charging_house import ChargingHouse, config
from tests.support.postgres import TestServer

PASSWORD = "correct horse battery"
LIMIT_S = 30.0


class Life:
    """A driver of a tenant with everything that a driver has, and another driver."""

    def __init__(self, site: Site, folder: Path, database_url: str) -> None:
        self.site, self.tenant, self._folder, self.database_url = site, site.tenant, folder, database_url
        self.word = f"Zyxwv{secrets.token_hex(4)}"
        self.tag = f"T{secrets.token_hex(6).upper()}"
        self.mail = f"{self.word.lower()}@example.org"
        self.ids: dict[str, str] = {}
        self.clients: list[httpx.AsyncClient] = []

    async def driver(self, mail: str, **more: Any) -> httpx.AsyncClient:
        """A driver who opened an account and signed in."""
        async with httpx.AsyncClient(base_url=self.tenant.house.base, timeout=60) as door:
            body = {"email": mail, "password": PASSWORD, "tenant": self.tenant.slug, **more}
            assert (await door.post("/me/register", json=body)).status_code == 202
            code = await self._code(mail)
            assert (await door.post("/me/verify-email", json={"code": code})).status_code == 204
            login = {"email": mail, "password": PASSWORD, "tenant": self.tenant.slug}
            token = (await door.post("/me/login", json=login)).json()["token"]
        client = httpx.AsyncClient(
            base_url=self.tenant.house.base, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        self.clients.append(client)
        return client

    async def _code(self, mail: str) -> str:
        end = time.monotonic() + LIMIT_S
        while True:
            for file in sorted((self._folder / "mail").glob("*.eml")):
                message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
                if str(message["To"]).lower() == mail.lower():
                    found = re.search(r"\?code=([A-Za-z0-9_-]{20,})", str(message.get_content()))  # type: ignore[attr-defined]
                    assert found is not None
                    return found[1]
            assert time.monotonic() < end
            await asyncio.sleep(0.05)

    async def live(self, provider: PaymentSimulator) -> None:
        """Lives."""
        send, get = self.tenant.send, self.tenant.get
        await send(
            "PUT",
            "/payment-providers/cards",
            {
                "kind": "simulator",
                "settings": {"url": provider.url},
                "secrets": {"key": f"m-{self.word}", "webhook_secret": "a-secret-of-this-test"},
            },
        )
        issuer = {
            "name": "Yard GmbH",
            "address": {"lines": ["Torstr. 1"], "postal_code": "10119", "city": "Berlin", "country": "DE"},
            "vat_id": "DE123456789",
            "email": "billing@yard.example",
            "iban": "DE89370400440532013000",
        }
        await send("PUT", "/invoicing-settings", {"issuer": issuer})
        await send("POST", "/webhook-endpoints", {"url": "http://127.0.0.1:9/", "event_types": ["*"]})
        self.me = await self.driver(
            self.mail, first_name="Anna", last_name=self.word, phone="+46 70 9988776", country="DE", language="de"
        )
        self.other = await self.driver(f"other-{self.mail}", last_name="Other")
        self.ids["driver"] = (await self.me.get("/me")).json()["id"]
        address = {"lines": [f"{self.word} Str. 5"], "postal_code": "10115", "city": "Berlin", "country": "DE"}
        changed = await self.me.patch("/me", json={"billing_address": address})
        assert changed.status_code == 200, changed.text
        await send("POST", f"/drivers/{self.ids['driver']}/id-tokens", {"id_token": self.tag})
        vehicle = await self.me.post("/me/vehicles", json={"brand": "VW", "label": f"{self.word}s bil"})
        self.ids["vehicle"] = vehicle.json()["id"]
        wallet = await send("POST", "/wallets", {"owner": self.ids["driver"], "currency": "EUR"})
        self.ids["wallet"] = wallet["id"]
        top_up = await self.me.post(
            f"/me/accounts/{wallet['id']}/top-ups",
            json={"amount": {"amount": "20.00", "currency": "EUR"}, "provider": "cards"},
        )
        assert top_up.status_code == 201, top_up.text
        self.ids["payment"] = top_up.json()["id"]
        await self._agree()
        await self._charge()
        booked = await self.me.post(
            "/me/bookings",
            json={
                "evse_uid": self.evse,
                "starts_at": (datetime.now(UTC) + timedelta(hours=3)).isoformat(),
                "ends_at": (datetime.now(UTC) + timedelta(hours=4)).isoformat(),
            },
        )
        assert booked.status_code == 201, booked.text
        self.ids["booking"] = booked.json()["id"]
        run = await send("POST", "/billing-runs", {})
        await self.tenant.until(lambda: get(f"/billing-runs/{run['id']}"), lambda found: found["finished_at"])
        items = await get(f"/billing-runs/{run['id']}/items")
        found = await get("/invoices", driver_id=self.ids["driver"])
        assert found["items"], (items, await get("/invoices"))
        self.ids["invoice"] = found["items"][0]["id"]
        if found["items"][0]["number"] is None:
            await send("POST", f"/invoices/{self.ids['invoice']}/issue", {})

    async def _agree(self) -> None:
        body = {
            "kind": "driver_plan",
            "currency": "EUR",
            "time_zone": "Europe/Berlin",
            "parties": [
                {"role": "provider", "kind": "house"},
                {"role": "consumer", "kind": "driver", "id": self.ids["driver"], "name": f"Anna {self.word}"},
            ],
            "scope": [{"kind": "tenant"}],
            "starts_at": "2026-01-01T00:00:00Z",
            "items": [{"type": "discount", "name": "Loyal", "percent": 50}],
            "billing": {"cycle": "session"},
        }
        made = await self.tenant.send("POST", "/service-agreements", body)
        self.ids["agreement"] = made["id"]
        assert (await self.me.get("/me/agreements")).json()["items"] == []  # a draft is the house's own
        await self.tenant.send("POST", f"/service-agreements/{made['id']}/propose", {})
        seen = (await self.me.get("/me/agreements", params={"state": "proposed"})).json()["items"]
        assert [(one["id"], one["allowed_actions"]) for one in seen] == [(made["id"], ["accept", "reject"])]
        refused = await self.me.post(f"/me/agreements/{made['id']}/accept", json={}, headers={"If-Match": '"999"'})
        assert refused.status_code == 412
        accepted = await self.me.post(
            f"/me/agreements/{made['id']}/accept", json={}, headers={"If-Match": f'"{seen[0]["revision"]}"'}
        )
        assert accepted.status_code == 200, accepted.text
        assert accepted.json()["status"] == "active"
        signed = {one["role"]: one["signed_by"] for one in accepted.json()["acceptances"]}
        assert signed["consumer"] == f"Anna {self.word}"

    async def _charge(self) -> None:
        station = await self.site.station("2.0.1")  # two hours back, so that what it charges is over and may be billed
        locations = await self.tenant.get(f"/locations/{self.site.location_id}")
        (evse,) = locations["evses"]
        self.evse = evse["uid"]
        price = await self.me.post("/me/price", json={"evse_code": evse["code"], "energy_wh": 10_000})
        assert price.status_code == 200, price.text
        said = price.json()
        assert (said["per_kwh"]["excl"]["amount"], said["currency"]) == ("0.5", "EUR"), said
        assert said["estimate"] is not None
        started = await self.me.post("/me/charges?wait_s=30", json={"evse_uid": self.evse})
        assert started.json()["state"] == "accepted", started.text
        found = await self._until("/me/sessions", lambda page: page["items"])
        self.ids["session"] = found["items"][0]["id"]
        self.ids["transaction"] = self.ids["session"]
        self.ids["order"] = started.json()["id"]
        self.events = asyncio.ensure_future(self._watch())
        unlocked = await self.me.post("/me/unlock?wait_s=30", json={"evse_uid": self.evse})
        assert unlocked.status_code == 202, unlocked.text
        foreign = await self.other.post("/me/unlock", json={"evse_uid": self.evse})
        assert foreign.status_code == 409
        stopped = await self.me.post(f"/me/transactions/{self.ids['session']}/stop?wait_s=30")
        assert stopped.status_code == 202, stopped.text
        await self._until(f"/me/sessions/{self.ids['session']}", lambda one: one["state"] == "settled")
        cdrs = await self._until("/me/cdrs", lambda page: page["items"])
        self.ids["cdr"] = cdrs["items"][0]["id"]
        async with asyncio.timeout(LIMIT_S):
            assert await self.events == ["session.state", "settled"]
        # by card too
        await station.charge(id_token=self.tag, energy_wh=3_000, meter_interval_s=600)
        await self._until("/me/cdrs", lambda page: len(page["items"]) == 2)

    async def _watch(self) -> list[str]:
        """The first kind of event of the live session, and its last state."""
        first, last = "", ""
        async with self.me.stream("GET", f"/me/sessions/{self.ids['session']}/live") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for line in stream.aiter_lines():
                if line.startswith("event: ") and not first:
                    first = line.removeprefix("event: ")
                if line.startswith("data: "):
                    said = json.loads(line.removeprefix("data: "))
                    assert said["driver_id"] == self.ids["driver"]
                    last = said["state"]
        return [first, last]

    async def _until(self, path: str, holds: Any) -> Any:
        async def read() -> Any:
            answer = await self.me.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

        return await self.tenant.until(read, holds)

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def life(tmp_path_factory: pytest.TempPathFactory, postgres_server: TestServer) -> AsyncIterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    provider = PaymentSimulator()
    await provider.start()
    with postgres_server.database() as url:
        server = Server(
            replace(
                config(str(folder), url),
                sessions=SessionsConfig(running_cost_s=0.2, settle_after_s=0.5, poll_s=0.05),
                payments=PaymentsConfig(look_every_s=0.1),
                webhooks=WebhooksConfig(private_networks=True),
            )
        )
        await server.start()
        house = ChargingHouse(server)
        made = Life(await site(house, ENERGY), folder, url)
        try:
            await made.live(provider)
            yield made
        finally:
            await made.close()
            await house.close()
            await server.stop()
            await provider.stop()


OWN = {
    "/me/sessions/{session}": None,
    "/me/sessions/{session}/explanation": None,
    "/me/cdrs/{cdr}": None,
    "/me/invoices/{invoice}": None,
    "/me/invoices/{invoice}/pdf": None,
    "/me/payments/{payment}": None,
    "/me/accounts/{wallet}/entries": None,
    "/me/agreements/{agreement}": None,
    "/me/agreements/{agreement}/versions": None,
    "/me/bookings/{booking}": None,
    "/me/transactions/{transaction}": None,
    "/me/charges/{order}": None,
}
LISTS = ("sessions", "cdrs", "invoices", "payments", "accounts", "agreements", "bookings", "transactions")


async def test_driver_sees_what_is_the_drivers_own(life: Life) -> None:
    for path in OWN:
        answer = await life.me.get(path.format(**life.ids))
        assert answer.status_code == 200, (path, answer.text)
    pdf = await life.me.get(f"/me/invoices/{life.ids['invoice']}/pdf")
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    explained = (await life.me.get(f"/me/sessions/{life.ids['session']}/explanation")).json()
    assert explained["lines"]
    for name in LISTS:
        items = (await life.me.get(f"/me/{name}")).json()["items"]
        assert items, name
    page = (await life.me.get("/me/cdrs", params={"limit": 1})).json()
    rest = (await life.me.get("/me/cdrs", params={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert (len(rest["items"]), rest["next_cursor"]) == (1, None)
    assert rest["items"][0]["id"] != page["items"][0]["id"]
    none = await life.me.get("/me/sessions", params={"started_from": "2999-01-01T00:00:00Z"})
    assert none.json()["items"] == []
    wrong = await life.me.get("/me/sessions", params={"started_from": "yesterday"})
    assert (wrong.status_code, wrong.json()["errors"][0]["parameter"]) == (400, "started_from")


CHANGES: dict[str, tuple[str, Any]] = {
    "/me/transactions/{transaction}/stop": ("POST", None),
    "/me/accounts/{wallet}/top-ups": (
        "POST",
        {"amount": {"amount": "1", "currency": "EUR"}, "provider": "cards"},
    ),
    "/me/agreements/{agreement}/accept": ("POST", {}),
    "/me/agreements/{agreement}/reject": ("POST", {}),
    "/me/agreements/{agreement}/end": ("POST", {}),
    "/me/agreements/{agreement}/amendments/2/accept": ("POST", {}),
    "/me/agreements/{agreement}/amendments/2/reject": ("POST", {}),
    "/me/bookings/{booking}": ("PATCH", {"may_move": False}),
    "/me/bookings/{booking}/confirm": ("POST", None),
    "/me/bookings/{booking}/cancel": ("POST", {}),
    "/me/vehicles/{vehicle}": ("PUT", {"brand": "X"}),
    "/me/sessions/{session}/live": ("GET", None),
}


async def test_nobody_sees_or_changes_what_is_anothers(life: Life) -> None:
    changes = dict.fromkeys(OWN, ("GET", None)) | CHANGES
    for path, (method, body) in changes.items():
        said = []
        for ids in (life.ids, dict.fromkeys(life.ids, "999999")):  # what is another's is as what is not there at all
            answer = await life.other.request(method, path.format(**ids), json=body)
            assert answer.status_code == 404, (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            named = ids[re.findall(r"{(\w+)}", path)[0]]
            said.append({**answer.json(), "instance": "", "detail": answer.json()["detail"].replace(named, "")})
        assert said[0] == said[1], path
    for name in LISTS:
        assert (await life.other.get(f"/me/{name}")).json()["items"] == [], name
    token = (await life.me.get("/me/id-tokens")).json()["items"][0]["id"]
    later = {
        "evse_uid": life.evse,
        "id_token_id": token,
        "starts_at": (datetime.now(UTC) + timedelta(hours=8)).isoformat(),
        "ends_at": (datetime.now(UTC) + timedelta(hours=9)).isoformat(),
    }
    assert (await life.other.post("/me/bookings", json=later)).status_code == 422
    for method, path in (("DELETE", f"/me/id-tokens/{token}"), ("DELETE", f"/me/vehicles/{life.ids['vehicle']}")):
        assert (await life.other.request(method, path)).status_code == 404


async def test_every_own_route_is_shut_to_operators_and_strangers(life: Life) -> None:
    """All routes of the drivers' door that the OpenAPI document has, so that a new one is tried too."""
    document = (await life.tenant.client.get("/openapi.json")).json()
    tried = 0
    async with httpx.AsyncClient(base_url=life.tenant.house.base, timeout=60) as stranger:
        for path, methods in document["paths"].items():
            if not path.startswith("/v1/me"):
                continue
            for method, said in methods.items():
                if said.get("security") == []:
                    continue
                at = re.sub(r"{\w+}", "1", path.removeprefix("/v1"))
                body = None if method in ("get", "delete") else {}
                for client in (life.tenant.client, stranger):  # an operator's key is none at this door
                    answer = await client.request(method.upper(), at, json=body)
                    assert answer.status_code == 401, (method, path, answer.text)
                tried += 1
    assert tried >= 55


async def test_booking_is_found_changed_and_canceled(life: Life) -> None:
    day = {
        "starts_at": (datetime.now(UTC) + timedelta(hours=5)).isoformat(),
        "ends_at": (datetime.now(UTC) + timedelta(hours=6)).isoformat(),
    }
    offers = (await life.me.get("/me/bookings/offers", params={"location_id": life.site.location_id, **day})).json()
    assert [one["evse_uid"] for one in offers["items"]] == [life.evse]
    assert offers["items"][0]["agreement_id"] == life.ids["agreement"]
    held = await life.me.post("/me/bookings", json={**day, "evse_uid": life.evse, "confirm": False})
    assert held.status_code == 201, held.text
    path = f"/me/bookings/{held.json()['id']}"
    assert (await life.me.post(f"{path}/confirm")).status_code == 200
    later = (datetime.now(UTC) + timedelta(hours=6, minutes=30)).isoformat()
    stale = await life.me.patch(path, json={"ends_at": later}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await life.me.patch(path, json={"ends_at": later})).status_code == 200
    assert (await life.me.post(f"{path}/cancel", json={"reason": "rain"})).json()["state"] == "canceled"
    listed = (await life.me.get("/me/bookings", params={"state": "canceled"})).json()["items"]
    assert [one["id"] for one in listed] == [held.json()["id"]]


# What is known of the driver


KEPT = {
    "cdr.body": "what was charged, as it was invoiced",
    "cdr.token_key": "by which id token",
    "invoice.body": "as it was issued",
    "invoice.customer": "as it was issued",
    "service_agreement.parties": "what was agreed",
    "service_agreement.search": "what was agreed",
    "service_agreement_version.body": "what was agreed",
    "service_agreement_version.acceptances": "who signed",
}
"""Where the law wants the name, the address or the id token kept: columns, each with what it is."""


async def found_anywhere(url: str, *words: str) -> dict[str, set[str]]:
    """Columns of the whole database in which words stand."""
    connection = await asyncpg.connect(url)
    try:
        columns = await connection.fetch(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) AS kind FROM pg_class c JOIN pg_attribute a"
            " ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relnamespace = 'public'::regnamespace"
            " AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND format_type(a.atttypid, a.atttypmod) IN ('text', 'jsonb', 'json', 'text[]', 'bytea', 'character varying')"
        )
        places: dict[str, set[str]] = {}
        for table, column, kind in columns:
            for word in words:
                sought = (
                    f"position(convert_to(lower($1), 'UTF8') in \"{column}\") > 0"
                    if kind == "bytea"
                    else f'strpos(lower("{column}"::text), lower($1)) > 0'
                )
                if await connection.fetchval(f'SELECT EXISTS (SELECT FROM "{table}" WHERE {sought})', word):
                    places.setdefault(f"{table}.{column}", set()).add(word)
        return places
    finally:
        await connection.close()


async def test_all_that_is_known_is_given_out(life: Life) -> None:
    archive = (await life.me.get("/me/data")).json()
    for name, key in (
        ("sessions", "session"),
        ("cdrs", "cdr"),
        ("invoices", "invoice"),
        ("payments", "payment"),
        ("agreements", "agreement"),
        ("bookings", "booking"),
        ("accounts", "wallet"),
        ("vehicles", "vehicle"),
    ):
        assert life.ids[key] in [one["id"] for one in archive[name]], name
    assert archive["invoices"][0]["content"]["lines"]
    assert archive["cdrs"][0]["content"]
    assert archive["actions"]
    assert archive["elsewhere"]["message_log"] > 0
    text = json.dumps(archive)
    assert life.tag in text
    for secret in ("password_hash", "token_hash", "secret_hash", "$argon2"):
        assert secret not in text


async def test_nothing_is_found_after_erasing_but_what_the_law_wants_kept(life: Life) -> None:
    words = (life.word, life.mail, life.tag, "9988776")
    before = await found_anywhere(life.database_url, *words)
    assert {"driver.email", "charging_session.frozen", "webhook_event.payload"} <= before.keys(), sorted(before)
    assert any(place.startswith("message_log.") for place in before), sorted(before)
    answer = await life.me.post("/me/erase", json={"password": PASSWORD})
    assert answer.status_code == 202, answer.text
    connection = await asyncpg.connect(life.database_url)
    try:
        end = time.monotonic() + 60
        while True:
            row = await connection.fetchrow(
                "SELECT state, result FROM data_request WHERE id = $1", int(answer.json()["id"])
            )
            if row["state"] == "done":
                break
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
    end = time.monotonic() + 20
    while True:
        after = await found_anywhere(life.database_url, *words)
        if after.keys() <= KEPT.keys():
            break
        assert time.monotonic() < end, {place: after[place] for place in after.keys() - KEPT.keys()}
        await asyncio.sleep(0.2)
    kept = set(json.loads(row["result"])["kept"])
    assert {place.partition(".")[0] for place in after} <= kept
    assert after, "invoices name whom they are for"
    # the other driver is untouched
    assert (await life.other.get("/me")).json()["last_name"] == "Other"
