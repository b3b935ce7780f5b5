"""A guest at an EVSE, from the scanned code to the receipt: the whole server, virtual stations of three versions, the simulated provider."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.app.api_keys import Caller
from chargeplane.app.locations import EvseWanted
from chargeplane.domain.locations.model import (
    ConnectorContent,
    ConnectorFormat,
    EvseContent,
    GeoPoint,
    LocationContent,
    PaymentMethod,
    PowerType,
)
from chargeplane.domain.tariffs.model import (
    PriceComponent,
    TariffContent,
    TariffDimension,
    TariffElement,
    TariffType,
    TaxIncluded,
)
from chargeplane.kernel.ids import TenantId
from chargeplane.main.config import PaymentsConfig, SessionsConfig
from chargeplane.main.wiring import Server
from chargeplane.simulator import FAST, Plan, VirtualStation
from chargeplane.simulator.payments import PaymentSimulator
from tests.support import postgres
from tests.support.charging_house import VERSIONS, ChargingHouse, Tenant, config

pytestmark = pytest.mark.asyncio(loop_scope="module")

CARD = "4242424242424242"
HOLD = replace(FAST, remote_plan=Plan(energy_wh=5_000, meter_interval_s=60, hold=True))
LIMIT_S = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    postgres_server: postgres.TestServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """One server for all of these tests."""
    with postgres_server.database() as url:
        made = config(str(tmp_path_factory.mktemp("data")), url)
        server = Server(
            replace(
                made,
                sessions=SessionsConfig(poll_s=0.1, settle_after_s=0.5, running_cost_s=1.0),
                payments=PaymentsConfig(
                    look_every_s=0.1,
                    guest_look_s=0.2,
                    guest_plug_in_s=1.5,
                    guest_answer_s=5.0,
                    guest_stop_s=5.0,
                    guest_requests_per_minute=100_000,
                    guest_payments_per_minute=1000,
                    guest_wrong_per_minute=30,
                ),
            )
        )
        await server.start()
        yield server
        await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[PaymentSimulator]:
    """The provider."""
    made = PaymentSimulator()
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: Server) -> AsyncIterator[ChargingHouse]:
    """The server; what a test began ends with it."""
    made = ChargingHouse(server)
    yield made
    await made.close()


class Site:
    """A location with one EVSE, its code, and a guest's browser."""

    def __init__(self, tenant: Tenant, station: VirtualStation, code: str, simulator: PaymentSimulator) -> None:
        self.tenant = tenant
        self.station = station
        self.code = code
        self.simulator = simulator
        base = tenant.house.base.removesuffix("/v1")
        self.browser = httpx.AsyncClient(base_url=base, trust_env=False, timeout=30, headers={"Accept-Language": "en"})

    async def scan_and_pay(self, card: str = CARD, email: str = "") -> str:
        """Scans the code, pays at the provider's page, comes back; the guest's own address."""
        scanned = await self.browser.get(f"/c/{self.code}")
        assert scanned.headers["location"] == f"/pay/{self.code}"
        page = await self.browser.get(scanned.headers["location"])
        assert page.status_code == 200, page.text
        sent = await self.browser.post(f"/pay/{self.code}?lang=en", data={"email": email})
        assert sent.status_code == 303, sent.text
        at = sent.headers["location"]
        assert at.startswith(self.simulator.url), at
        assert "PaySim" in (await self.browser.get(at)).text
        paid = await self.browser.post(at, data={"do": "pay", "number": card, "cvc": "123"})
        assert paid.status_code == 303, paid.text
        back = urlsplit(paid.headers["location"])
        assert (await self.browser.get(f"{back.path}?{back.query}")).status_code == 200
        return back.path

    async def visit(self, address: str) -> Any:
        token = address.rsplit("/", 1)[-1]
        answer = await self.browser.get(f"/v1/public/visits/{token}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, address: str, *stages: str) -> Any:
        """The visit when it is in one of the stages."""
        return await self.tenant.until(
            lambda: self.visit(address), lambda seen: seen["stage"] in stages, timeout_s=LIMIT_S
        )

    def intent(self) -> Any:
        """What the provider has of the newest payment."""
        return self.simulator.book.all()[-1]


async def site(
    house: ChargingHouse,
    server: Server,
    simulator: PaymentSimulator,
    version: str,
    options: Any = HOLD,
    *,
    price: str = "0.59",
    hold: str | None = "50.00",
    settings: dict[str, Any] | None = None,
    methods: tuple[PaymentMethod, ...] = (PaymentMethod.WEB,),
) -> Site:
    """A tenant whose guests pay by the simulated provider, with a station at a location."""
    tenant = await house.tenant()
    station = await tenant.station(version, options, settings=settings)
    provider = await tenant.send(
        "PUT",
        "/payment-providers/cards",
        {
            "kind": "simulator",
            "for_guests": True,
            "settings": {"url": simulator.url},
            "secrets": {"key": f"merchant-{tenant.slug}", "webhook_secret": f"secret-{tenant.slug}"},
        },
    )
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
        url = tenant.house.base.removesuffix("/v1") + provider["webhook_path"]
        told = await client.put(
            "/v1/webhook",
            json={"url": url, "secret": f"secret-{tenant.slug}"},
            headers={"Authorization": f"Bearer merchant-{tenant.slug}"},
        )
        assert told.status_code == 200
    assert server.business is not None
    async with server.database.read() as db:
        tenant_id = await db.fetchval("SELECT id FROM tenant WHERE slug = $1", tenant.slug)
    caller = Caller(key_id=0, tenant_id=TenantId(tenant_id), name="test", scopes=frozenset())
    prices = (PriceComponent(type=TariffDimension.ENERGY, price=Decimal(price), vat=Decimal(19)),)
    await server.business.tariffs.create(
        caller,
        "guests",
        None,
        TariffContent(
            currency="EUR",
            tax_included=TaxIncluded.YES,
            type=TariffType.AD_HOC_PAYMENT,
            elements=(TariffElement(price_components=prices),),
            preauthorize_amount=None if hold is None else Decimal(hold),
        ),
        None,
    )
    await server.business.locations.create(
        caller,
        "harbour",
        LocationContent(
            name="Harbour",
            address="Quay 1",
            city="Kiel",
            country="DEU",
            coordinates=GeoPoint(latitude="54.32000", longitude="10.14000"),
            time_zone="Europe/Berlin",
        ),
    )
    connector = ConnectorContent(
        id="1",
        standard="IEC_62196_T2",
        format=ConnectorFormat.SOCKET,
        power_type=PowerType.AC_3_PHASE,
        max_voltage=230,
        max_amperage=32,
        tariff_ids=("guests",),
    )
    evse = EvseWanted(
        content=EvseContent(payment_methods=methods),
        station_id=station.station_id,
        ocpp_evse_id=1,
        connectors=[connector],
    )
    made = await server.business.locations.add_evse(caller, "harbour", "E1", evse)
    return Site(tenant, station, made.code, simulator)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_guest_scans_pays_charges_stops_and_gets_a_receipt(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator, version: str
) -> None:
    at = await site(house, server, simulator, version)
    page = (await at.browser.get(f"/pay/{at.code}?lang=de&maxenergy=20000&utm=sticker")).text
    assert "0,59 €" in page
    assert "50,00 €" in page
    address = await at.scan_and_pay()
    await at.until(address, "charging")
    seen = await at.tenant.until(
        lambda: at.visit(address), lambda one: (one["energy_wh"] or 0) >= 5_000, timeout_s=LIMIT_S
    )
    assert seen["held"] == {"amount": "50.00", "currency": "EUR"}
    assert "Charging" in (await at.browser.get(address)).text
    live = (await at.browser.get(f"/v1/public/visits/{address.rsplit('/', 1)[-1]}?lang=sv")).json()
    assert live["energy"] == "5,00 kWh"
    stopped = await at.browser.post(f"{address}/stop")
    assert stopped.status_code == 303
    done = await at.until(address, "done")
    assert done["paid"] == {"amount": "2.95", "currency": "EUR"}
    intent = at.intent()
    assert (str(intent.captured), intent.captures, intent.released) == ("2.95", 1, True)
    receipt = (await at.browser.get(f"{address}/receipt?lang=en")).text
    assert "€2.95" in receipt
    assert "5.00 kWh" in receipt
    assert "Visa 4242" in receipt
    assert "<dt>Of which VAT 19 %</dt><dd>€0.47</dd>" in receipt
    assert "Of €50.00 held, the rest is released." in (await at.browser.get(address)).text
    # How the station was asked (OCPP 2.1 C25.FR.23; 2.0.1 F02; 1.6, 5.11), and that nobody else may use the token.
    action = "RemoteStartTransaction" if version == "1.6" else "RequestStartTransaction"
    (start,) = [payload for name, payload in at.station.calls if name == action]
    token = start["idTag"] if version == "1.6" else start["idToken"]["idToken"]
    assert len(token) == 20
    if version != "1.6":
        assert start["idToken"]["type"] == ("DirectPayment" if version == "2.1" else "Central")
        assert start["evseId"] == 1
    assert (await at.tenant.get("/id-tokens", q="guest"))["items"] == []
    (payment,) = (await at.tenant.get("/payments", state="captured"))["items"]
    assert payment["session_id"] == (await at.tenant.transaction(at.station))["id"]
    details = await at.tenant.get(f"/payments/{payment['id']}")
    assert [one["kind"] for one in details["operations"]] == ["start", "capture"]
    (cdr,) = (await at.tenant.get("/cdrs"))["items"]
    assert cdr["payment_id"] == payment["id"]


async def test_a_cdr_that_is_corrected_gives_the_difference_back_and_a_credit_alone_gives_all(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1")
    address = await at.scan_and_pay()
    await at.tenant.until(lambda: at.visit(address), lambda one: (one["energy_wh"] or 0) >= 5_000, timeout_s=LIMIT_S)
    await at.browser.post(f"{address}/stop")
    await at.until(address, "done")
    intent = at.intent()
    assert str(intent.captured) == "2.95"
    (cdr,) = (await at.tenant.get("/cdrs"))["items"]
    written = await at.tenant.send("POST", f"/cdrs/{cdr['id']}/correct", {"energy_wh": 4_000, "reason": "the meter"})

    async def refunded() -> str:
        return str(intent.refunded)

    await at.tenant.until(refunded, lambda amount: amount == "0.59", timeout_s=LIMIT_S)
    await at.tenant.send("POST", f"/cdrs/{written['items'][-1]['id']}/credit", {"reason": "goodwill"})
    await at.tenant.until(refunded, lambda amount: amount == "2.95", timeout_s=LIMIT_S)
    assert intent.captures == 1
    seen = await at.tenant.until(lambda: at.visit(address), lambda one: one["payment"] == "refunded", timeout_s=LIMIT_S)
    assert seen["refunded"] == {"amount": "2.95", "currency": "EUR"}


async def test_no_card_number_is_stored_anywhere(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1")
    address = await at.scan_and_pay("4000 0000 0000 0036".replace(" ", ""))
    await at.until(address, "charging")
    await at.browser.post(f"{address}/stop")
    await at.until(address, "done")
    found = []
    async with server.database.change() as db:
        tables = await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            rows = await db.fetchval(f'SELECT count(*) FROM "{table}" t WHERE t::text ~ $1', "4000 ?0000 ?0000 ?0036")
            if rows:
                found.append(table)
        last_digits = await db.fetchval("SELECT count(*) FROM payment WHERE method = 'Visa 0036'")
    assert found == []
    assert last_digits == 1  # the search would have found what is there


@pytest.mark.parametrize("version", ["1.6", "2.1"])
async def test_charging_ends_before_the_hold_is_used_up(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator, version: str
) -> None:
    """A card whose hold cannot be raised, and a car that wants more than it pays for, at 20 times the speed."""
    options = replace(HOLD, speed=20.0, remote_plan=Plan(energy_wh=60_000, meter_interval_s=10, hold=True))
    at = await site(house, server, simulator, version, options, price="10", hold="12.00")
    address = await at.scan_and_pay("4000000000000036")
    done = await at.until(address, "done")
    paid = float(done["paid"]["amount"])
    assert 0 < paid <= 12.0, done
    (one,) = (await at.tenant.get("/payments"))["items"]
    assert one["uncollected"]["amount"] == "0.00", one


async def test_where_no_car_is_plugged_in_the_hold_is_released_and_the_page_says_so(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_comes(*_: Any, **__: Any) -> None:
        """The station has said Accepted."""

    monkeypatch.setattr(VirtualStation, "remote_start", nobody_comes)
    at = await site(house, server, simulator, "2.0.1")
    address = await at.scan_and_pay()
    await at.until(address, "waiting")
    ended = await at.until(address, "ended")
    assert ended["reason"] == "not_plugged_in"
    assert "released" in (await at.browser.get(address)).text
    await at.tenant.until(lambda: at.visit(address), lambda seen: seen["payment"] == "voided", timeout_s=LIMIT_S)
    assert (at.intent().status.value, at.intent().captured) == ("canceled", 0)
    assert (await at.tenant.get("/id-tokens", q="guest"))["items"] == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_where_the_station_refuses_the_hold_is_released(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator, version: str
) -> None:
    at = await site(house, server, simulator, version)
    sent = await at.browser.post(f"/pay/{at.code}?lang=en", data={})
    at.station.fault(1)
    await at.browser.post(sent.headers["location"], data={"do": "pay", "number": CARD})
    address = urlsplit(at.intent().return_url).path
    ended = await at.until(address, "ended")
    assert ended["reason"] == "rejected"
    await at.tenant.until(lambda: at.visit(address), lambda seen: seen["payment"] == "voided", timeout_s=LIMIT_S)


async def test_a_declined_card_starts_nothing_and_giving_up_ends_the_visit(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "1.6")
    sent = await at.browser.post(f"/pay/{at.code}?lang=en", data={})
    page = await at.browser.post(sent.headers["location"], data={"do": "pay", "number": "4000000000000002"})
    assert "declined" in page.text
    back = await at.browser.post(sent.headers["location"], data={"do": "cancel"})
    address = urlsplit(back.headers["location"]).path
    ended = await at.until(address, "ended")
    assert (ended["reason"], ended["payment"]) == ("not_paid", "failed")
    assert not [name for name, _ in at.station.calls if name == "RemoteStartTransaction"]


async def test_a_second_guest_and_a_station_that_is_away_are_refused(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1")
    address = await at.scan_and_pay()
    await at.until(address, "charging")
    assert (await at.browser.get(f"/v1/public/evses/{at.code}")).json()["status"] == "busy"
    refused = await at.browser.post(f"/pay/{at.code}?lang=en", data={})
    assert refused.status_code == 409
    assert "In use" in refused.text
    await at.browser.post(f"{address}/stop")
    await at.until(address, "done")
    at.station.go_offline()
    await at.tenant.until(
        lambda: at.browser.get(f"/v1/public/evses/{at.code}"),
        lambda seen: seen.json()["status"] == "offline",
        timeout_s=LIMIT_S,
    )
    assert (await at.browser.post(f"/v1/public/evses/{at.code}/visits", json={})).status_code == 409


async def test_guests_pay_only_where_the_evse_takes_payments_on_the_web(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1", methods=(PaymentMethod.CONTRACT,))
    evse = f"/v1/public/evses/{at.code}"
    payments = len(simulator.book.all())
    assert (await at.browser.get(f"/pay/{at.code}?lang=en")).status_code == 404
    assert (await at.browser.post(f"/pay/{at.code}?lang=en", data={})).status_code == 404
    assert (await at.browser.get(evse)).status_code == 404
    assert (await at.browser.post(f"{evse}/visits", json={})).status_code == 404
    assert len(simulator.book.all()) == payments
    described = await at.tenant.send("PUT", "/evses/E1", _bound(at, ["contract", "web"]))
    assert described["payment_methods"] == ["contract", "web"]
    assert (await at.browser.get(evse)).status_code == 200
    assert (await at.browser.post(f"{evse}/visits", json={})).status_code == 201
    await at.tenant.send("PUT", "/evses/E1", _bound(at, ["terminal_contactless"]))
    assert (await at.browser.get(evse)).status_code == 404


def _bound(at: Site, methods: list[str]) -> dict[str, Any]:
    return {"station_id": at.station.station_id, "ocpp_evse_id": 1, "payment_methods": methods}


async def test_webhooks_late_doubled_reordered_forged_or_lost_change_nothing(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1")
    for wish in (
        {"copies": 3, "shuffle": True},
        {"delay_s": 0.4, "copies": 2},
        {"lose_all": True},
        {"wrong_signature": True},
    ):
        async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
            assert (await client.put("/control/webhooks", json=wish)).status_code == 200
        address = await at.scan_and_pay()
        await at.until(address, "charging")
        await at.browser.post(f"{address}/stop")
        done = await at.until(address, "done")
        assert done["paid"] is not None, wish
        assert at.intent().captures == 1, wish
    async with httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client:
        await client.put("/control/webhooks", json={})
    async with server.database.read() as db:
        doubled = await db.fetchval("SELECT count(*) FROM payment_webhook WHERE hits > 1")
    assert doubled > 0


async def test_nothing_else_leaks_and_guesses_are_slowed_down(
    house: ChargingHouse, server: Server, simulator: PaymentSimulator
) -> None:
    at = await site(house, server, simulator, "2.0.1")
    public = (await at.browser.get(f"/v1/public/evses/{at.code}")).text
    for secret in (at.station.station_id, at.tenant.slug, "merchant-", "tenant", "station"):
        assert secret not in public, public
    page = await at.browser.get(f"/pay/{at.code}")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert re.fullmatch(r"[a-z0-9]{12}", at.code)
    statuses = [(await at.browser.get(f"/pay/wrong{number:07d}")).status_code for number in range(40)]
    assert statuses[0] == 404
    assert statuses[-1] == 429
    slow = await at.browser.get(f"/v1/public/evses/{at.code}")
    assert slow.status_code == 429
    assert int(slow.headers["retry-after"]) >= 1
    await asyncio.sleep(0)
