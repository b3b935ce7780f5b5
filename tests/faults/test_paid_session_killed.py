"""A real server, killed with kill -9 at every commit of a paid session: before PostgreSQL hears of the commit, and after it, before the
server does. What comes of it is what comes without any of that: one transaction, one CDR, one capture, one invoice that is paid, one mail.

The server reaches its database through a relay that understands enough of PostgreSQL's protocol to see which tables a transaction writes to.
Each set of tables among those of the business is a kind of commit; each kind is a place to die, twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.simulator import FAST, Plan, VirtualStation
from chargeplane.simulator.payments import PaymentSimulator
from tests.invoicing.making import ISSUER
from tests.payments.test_killed_server import PASSWORD, PATIENCE_S, furnish
from tests.support import postgres
from tests.support.served import Served

_WRITES = re.compile(rb"(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?([a-z_]+)", re.I)
BUSINESS = frozenset(
    {
        b"payment",
        b"payment_operation",
        b"guest_visit",
        b"charging_session",
        b"cdr",
        b"ledger_entry",
        b"invoice",
        b"invoice_series",
        b"billable_cdr",
        b"billing_payment",
        b"mail",
    }
)
Kind = frozenset[bytes]


class Relay:
    """Stands between a server and its PostgreSQL.

    Args:
        url: of the database.
        dies_at: tables; a transaction that writes to one of them is a place to die.
        folder: for the socket that the server connects to.
    """

    def __init__(self, url: str, folder: Path, dies_at: Kind) -> None:
        self.url = url
        found = parse_qs(urlsplit(url).query)
        self._port = found.get("port", ["5432"])[0]
        self._behind = f"{found['host'][0]}/.s.PGSQL.{self._port}"
        self.folder = folder
        self.relayed_url = url.replace(found["host"][0], str(folder)).replace(
            found["host"][0].replace("/", "%2F"), str(folder).replace("/", "%2F")
        )
        self.dies_at = dies_at
        self.armed = False
        self.deaths: list[tuple[Kind, str]] = []
        self.kill: Any = None
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._relay, f"{self.folder}/.s.PGSQL.{self._port}")

    async def stop(self) -> None:
        self._server.close()

    def _dies(self, kind: Kind, when: str) -> bool:
        """Whether the server dies at this commit; each place once."""
        if not self.armed or not kind & self.dies_at or (kind, when) in self.deaths:
            return False
        self.deaths.append((kind, when))
        self.armed = False
        self.kill()
        return True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_unix_connection(self._behind)
        except OSError:
            writer.close()
            return
        committing: list[Kind] = []

        async def answers() -> None:
            while data := await behind_reader.read(65536):
                if committing and b"COMMIT\0" in data and self._dies(committing.pop(), "after"):
                    return
                writer.write(data)
                await writer.drain()

        async def questions() -> None:
            statements: dict[bytes, bytes] = {}
            tables: set[bytes] = set()
            first = True
            while True:
                head = b"" if first else await reader.readexactly(1)
                size = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(size, "big") - 4)
                first = first and body[:4] == (80877103).to_bytes(4, "big")  # SSLRequest; the startup message follows
                if head == b"P":
                    name, text = body.split(b"\0")[:2]
                    statements[name] = text
                elif head == b"B":
                    tables |= {table.lower() for _, table in _WRITES.findall(statements.get(body.split(b"\0")[1], b""))}
                elif head == b"Q":
                    text = body.rstrip(b"\0")
                    if text.startswith(b"BEGIN"):
                        tables.clear()
                    elif text.startswith(b"COMMIT"):
                        kind = frozenset(tables)
                        tables.clear()
                        if self._dies(kind, "before"):
                            return
                        committing[:] = [kind]
                    else:
                        tables |= {table.lower() for _, table in _WRITES.findall(text)}
                behind_writer.write(head + size + body)
                await behind_writer.drain()

        both = [asyncio.ensure_future(answers()), asyncio.ensure_future(questions())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            writer.close()
            behind_writer.close()


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[PaymentSimulator]:
    made = PaymentSimulator()
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    "dies_at",
    [
        pytest.param(frozenset({b"cdr", b"invoice_series"}), id="at its CDR and its invoice"),
        pytest.param(BUSINESS, id="at every commit", marks=pytest.mark.soak),
    ],
)
async def test_killed_at_the_commits_of_a_paid_session_there_is_one_cdr_one_capture_and_one_invoice(
    postgres_server: postgres.TestServer, simulator: PaymentSimulator, tmp_path: Path, dies_at: Kind
) -> None:
    with postgres_server.database() as url, tempfile.TemporaryDirectory(prefix="chargeplane-relay-") as folder:
        relay = Relay(url, Path(folder), dies_at)
        await relay.start()
        server = Served(
            tmp_path,
            DATABASE_URL=relay.relayed_url,
            PAYMENTS_LOOK_EVERY_S="0.1",
            PAYMENTS_CALL_TIMEOUT_S="3",
            PAYMENTS_CLAIM_S="1",
            PAYMENTS_GUEST_ANSWER_S="2",
            PAYMENTS_GUEST_LOOK_S="0.3",
            PAYMENTS_GUEST_PLUG_IN_S="120",
            PAYMENTS_GUEST_REQUESTS_PER_MINUTE="100000",
            SESSIONS_POLL_S="0.1",
            SESSIONS_LEASE_S="2",
            SESSIONS_SETTLE_AFTER_S="0.5",
        )
        restarts: list[asyncio.Task[None]] = []

        async def restart() -> None:
            await server.gone()
            await server.start()
            relay.armed = True

        def kill() -> None:
            server.kill()
            restarts.append(asyncio.get_running_loop().create_task(restart()))

        relay.kill = kill
        try:
            await server.start()
            done = await _paid_session(server, simulator, relay)
            relay.armed = False
            await asyncio.gather(*restarts)
            sessions = await server.items("/v1/sessions")
            cdrs = await server.items("/v1/cdrs")
            transactions = await server.items("/v1/transactions?station_id=KILL-1")
            payments = await server.items("/v1/payments")
            invoices = await server.items("/v1/invoices")
            entries = await server.items("/v1/ledger/entries")
            ledger = (await server.ask("GET", "/v1/ledger/check")).json()
            mails = await _mails(server)
        finally:
            relay.armed = False
            await asyncio.gather(*restarts, return_exceptions=True)
            await server.close()
            await relay.stop()
    assert done["paid"] == {"amount": "4.00", "currency": "EUR"}
    (transaction,) = transactions
    (session,) = sessions
    (cdr,) = cdrs
    (payment,) = payments
    assert (session["id"], session["payment_id"], session["state"]) == (transaction["id"], payment["id"], "settled")
    assert (cdr["session_id"], cdr["kind"], cdr["total_incl"]) == (
        session["id"],
        "original",
        {"amount": "4.00", "currency": "EUR"},
    )
    (intent,) = [one for one in simulator.book.all() if one.captures]
    assert (intent.captures, str(intent.captured), intent.holds, intent.released) == (1, "4.00", 1, True)
    (invoice,) = invoices
    assert (invoice["kind"], invoice["state"]) == ("receipt", "paid")
    assert re.fullmatch(r"R-\d{4}-000001", invoice["number"])
    assert (invoice["gross"], invoice["payment_id"]) == ({"amount": "4.00", "currency": "EUR"}, payment["id"])
    assert ledger["sound"], ledger["flaws"]
    assert sorted(entry["kind"] for entry in entries) == ["fee", "invoice", "payment"]
    assert len(mails) == 1, mails
    assert f"{invoice['number']}.pdf".encode() in mails[0]
    died_at = {kind for kind, _ in relay.deaths}
    assert len(relay.deaths) >= 2, relay.deaths
    for table in dies_at & {
        b"payment",
        b"guest_visit",
        b"charging_session",
        b"cdr",
        b"invoice_series",
        b"ledger_entry",
        b"mail",
    }:
        assert any(table in kind for kind in died_at), (table, relay.deaths)


async def _mails(server: Served) -> list[bytes]:
    """What was mailed to the guest, once something was."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            files = sorted((server.data_dir / "mail").glob("*.eml"))
            found = [content for content in (file.read_bytes() for file in files) if b"guest@example.org" in content]
            if found:
                return found
            await asyncio.sleep(0.05)


async def _paid_session(server: Served, simulator: PaymentSimulator, relay: Relay) -> Any:
    """A guest's session from the code to the receipt, by a guest and a station that try again while the server is away."""
    code = await furnish(server, simulator)
    put = await server.ask("PUT", "/v1/invoicing-settings", {"issuer": ISSUER})
    assert put.status_code == 200, put.text
    options = replace(FAST, remote_plan=Plan(energy_wh=8_000, meter_interval_s=60, hold=True))
    station = VirtualStation(server.url, "KILL-1", "2.0.1", password=PASSWORD, seed=3, options=options)
    await station.connect()
    await station.boot()
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as browser, asyncio.timeout(8 * PATIENCE_S):

            async def ask(method: str, path: str, **more: Any) -> httpx.Response:
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        answer = await browser.request(method, server.rest + path, **more)
                        if answer.status_code < 500:
                            return answer
                    await asyncio.sleep(0.05)

            async def until(token: str, *stages: str) -> Any:
                while (seen := (await ask("GET", f"/v1/public/visits/{token}")).json())["stage"] not in stages:
                    assert seen["stage"] != "ended", seen
                    await asyncio.sleep(0.05)
                return seen

            while (await ask("GET", f"/v1/public/evses/{code}")).json().get("status") != "available":
                await asyncio.sleep(0.05)
            key = {"Idempotency-Key": "the-visit"}
            body = {"email": "guest@example.org"}
            visit = (await ask("POST", f"/v1/public/evses/{code}/visits", json=body, headers=key)).json()
            token = visit["token"]
            relay.armed = True
            await browser.post(visit["pay_url"], data={"do": "pay", "number": "4242424242424242"})
            await until(token, "charging")
            while (await until(token, "charging"))["energy_wh"] != 8_000:
                await asyncio.sleep(0.05)
            assert (await ask("POST", f"/v1/public/visits/{token}/stop")).status_code == 200
            done = await until(token, "done")
            states: list[str] = []
            while states != ["paid"]:
                with contextlib.suppress(httpx.TransportError):
                    states = [one["state"] for one in await server.items("/v1/invoices")]
                await asyncio.sleep(0.05)
            return done
    finally:
        relay.armed = False
        await station.close()
