"""Partners' drivers at our stations: whitelist rules, questions to providers, what was let in before; with the real database behind it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from chargeplane.app.events import EventFeed
from chargeplane.app.locations import EvseWanted, Locations
from chargeplane.app.locations.binding import Binding
from chargeplane.app.roaming.authorizing import Authorizing, AuthorizingSettings, Provider
from chargeplane.domain.authorization import IdTokenRecord
from chargeplane.domain.cdrs.session import AuthMethod, RoamingDriver
from chargeplane.domain.locations.model import EvseContent
from chargeplane.domain.messages import AuthorizationStatus, IdToken
from chargeplane.domain.roaming.authorization import (
    GRANT_HOLDS,
    Allowed,
    Answer,
    KnownToken,
    Whitelist,
    driver_of,
    fitting,
    ocpi_type,
    ocpp_type,
    provider_of_emaid,
)
from chargeplane.domain.roaming.connection import PartyId
from chargeplane.kernel.errors import PeerError
from chargeplane.kernel.ids import StationKey, TenantId, TransactionId
from chargeplane.store.database import Database
from chargeplane.store.queries import roaming_authorizations as grants
from chargeplane.store.queries.roaming_authorizations import Grant
from chargeplane.store.queries.session_transactions import SessionTransaction
from tests.rating.test_places import CALLER, TENANT, connector, ident, location
from tests.support.postgres import TestServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)


def token(uid: str = "", **more: Any) -> KnownToken:
    fields: dict[str, Any] = {
        "connection_id": 1,
        "country_code": "NL",
        "party_id": "TNM",
        "uid": uid or f"CARD{next(_numbers)}",
        "type": "RFID",
        "contract_id": "NL-TNM-C1-X",
        "valid": True,
        "whitelist": Whitelist.NEVER,
    }
    return KnownToken(**(fields | more))


class Partners:
    """Providers that say what they are told to.

    Args:
        answers: by connection; an exception is raised, a number is seconds without an answer.
    """

    def __init__(self) -> None:
        self.tokens: list[KnownToken] = []
        self.answers: dict[int, Answer | Exception | float | None] = {}
        self.providers: list[Provider] = []
        self.asked: list[tuple[int, str, str, Any]] = []

    async def of_tenant(self, tenant_id: TenantId) -> Sequence[Provider]:
        return self.providers

    async def pushed(self, db: Any, tenant_id: TenantId, uid: str) -> Sequence[KnownToken]:
        return [one for one in self.tokens if one.uid.casefold() == uid.casefold()]

    async def ask(self, connection_id: int, uid: str, kind: str, place: Any, timeout_s: float) -> Answer | None:
        self.asked.append((connection_id, uid, kind, place))
        answer = self.answers[connection_id]
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            raise PeerError("too late")
        if isinstance(answer, Exception):
            raise answer
        return answer


class Us:
    async def operator_of(self, tenant_id: TenantId) -> PartyId | None:
        return PartyId("DE", "CPO") if tenant_id == TENANT else None

    async def operating_tenants(self) -> list[TenantId]:
        return [TENANT]


class Desk:
    """Who decides, and what it was told."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database = database
        self.partners = Partners()
        self.authorizing = Authorizing(database, Us(), self.partners, AuthorizingSettings(**settings))

    async def status(
        self, uid: str, *, key: int = 1, kind: str | None = None, starts: bool = True, begins: bool = False
    ) -> AuthorizationStatus | None:
        """What a station is told; None: no partner knows it."""
        found = await self.records(uid, key=key, kind=kind, starts=starts, begins=begins)
        return found[0].status if found else None

    async def records(
        self, uid: str, *, key: int = 1, kind: str | None = None, starts: bool = True, begins: bool = False
    ) -> tuple[IdTokenRecord, ...]:
        return await self.authorizing.records(
            TENANT, StationKey(key), IdToken(value=uid, type=kind), starts=starts, begins=begins
        )

    async def driver(self, uid: str, key: int = 1) -> RoamingDriver | None:
        """Whose driver a transaction of now has."""
        now = datetime.now(UTC)
        return await self.authorizing.driver(
            SessionTransaction(
                id=TransactionId(1),
                tenant_id=TENANT,
                station_key=StationKey(key),
                station_id="CS",
                ocpp_transaction_id="t",
                evse_id=1,
                connector_id=1,
                id_token=uid,
                id_token_type=None,
                token_key=uid.casefold(),
                is_open=True,
                opened_at=now,
                started_at=now,
                stopped_at=None,
                stop_reason=None,
                energy_wh=Decimal(0),
                flags=(),
                gaps=False,
                ordinal=1,
                newest_at=now,
                reservation_id=None,
            )
        )


@pytest.fixture(scope="module")
def url(postgres_server: TestServer) -> Iterator[str]:
    with postgres_server.database() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(url: str) -> AsyncIterator[Database]:
    made = Database(url, readers=4)
    yield made
    await made.close()


def allowed(known: KnownToken, **more: Any) -> Answer:
    return Answer(allowed=Allowed.ALLOWED, token=known, **more)


@pytest.mark.parametrize(
    ("whitelist", "valid", "answer", "status", "asked"),
    [
        # OCPI 2.3.0 mod_tokens, WhitelistType.
        (Whitelist.ALWAYS, True, Allowed.BLOCKED, AuthorizationStatus.ACCEPTED, False),
        (Whitelist.ALWAYS, False, Allowed.ALLOWED, AuthorizationStatus.BLOCKED, False),
        (Whitelist.ALLOWED, True, Allowed.BLOCKED, AuthorizationStatus.ACCEPTED, False),
        (Whitelist.ALLOWED_OFFLINE, True, Allowed.BLOCKED, AuthorizationStatus.BLOCKED, True),
        (Whitelist.ALLOWED_OFFLINE, True, None, AuthorizationStatus.ACCEPTED, True),
        (Whitelist.ALLOWED_OFFLINE, False, None, AuthorizationStatus.INVALID, True),
        (Whitelist.NEVER, False, Allowed.ALLOWED, AuthorizationStatus.ACCEPTED, True),
        (Whitelist.NEVER, True, None, AuthorizationStatus.INVALID, True),
        (Whitelist.NEVER, True, Allowed.NO_CREDIT, AuthorizationStatus.NO_CREDIT, True),
        (Whitelist.NEVER, True, Allowed.EXPIRED, AuthorizationStatus.EXPIRED, True),
        (Whitelist.NEVER, True, Allowed.NOT_ALLOWED, AuthorizationStatus.NOT_AT_THIS_LOCATION, True),
    ],
)
async def test_whitelist_rules(
    database: Database,
    whitelist: Whitelist,
    valid: bool,
    answer: Allowed | None,
    status: AuthorizationStatus,
    asked: bool,
) -> None:
    desk, known = Desk(database), token(whitelist=whitelist, valid=valid)
    desk.partners.tokens = [known]
    desk.partners.answers[1] = PeerError("away") if answer is None else Answer(allowed=answer, token=known)
    assert await desk.status(known.uid.lower()) is status
    assert bool(desk.partners.asked) is asked


async def test_allowed_token_is_asked_about_where_the_installation_wants_that(database: Database) -> None:
    desk, known = Desk(database, ask_allowed=True), token(whitelist=Whitelist.ALLOWED)
    desk.partners.tokens = [known]
    desk.partners.answers[1] = Answer(allowed=Allowed.BLOCKED, token=known)
    assert await desk.status(known.uid) is AuthorizationStatus.BLOCKED
    desk.partners.answers[1] = PeerError("away")
    assert await desk.status(known.uid) is AuthorizationStatus.ACCEPTED


async def test_transaction_that_begins_by_an_answer_asks_no_more_and_has_its_reference(database: Database) -> None:
    desk, known = Desk(database), token()
    desk.partners.tokens = [known]
    desk.partners.answers[1] = allowed(known, authorization_reference="REF-7")
    assert await desk.status(known.uid) is AuthorizationStatus.ACCEPTED
    assert await desk.status(known.uid, begins=True) is AuthorizationStatus.ACCEPTED
    assert len(desk.partners.asked) == 1
    driver = await desk.driver(known.uid)
    assert driver == driver_of(known, AuthMethod.AUTH_REQUEST, "REF-7")
    # Another presentation is another use, and so is another station.
    assert await desk.status(known.uid) is AuthorizationStatus.ACCEPTED
    assert await desk.status(known.uid, key=2, begins=True) is AuthorizationStatus.ACCEPTED
    assert len(desk.partners.asked) == 3
    # What it began it may end, whatever its provider says by now.
    desk.partners.answers[1] = PeerError("away")
    assert await desk.status(known.uid, starts=False) is AuthorizationStatus.ACCEPTED
    assert len(desk.partners.asked) == 3


async def test_station_may_go_by_an_answer_for_one_use_only(database: Database) -> None:
    desk, known = Desk(database), token(group_id="GROUP", language="nl")
    desk.partners.tokens = [known]
    desk.partners.answers[1] = allowed(known, text="Welkom")
    before = datetime.now(UTC)
    (record,) = await desk.records(known.uid)
    assert record.valid_until is not None
    assert before + GRANT_HOLDS <= record.valid_until <= datetime.now(UTC) + GRANT_HOLDS
    assert (record.group_id, record.language, record.personal_message) == ("GROUP", "nl", "Welkom")


async def test_token_of_a_command_is_not_asked_about(database: Database) -> None:
    desk, known = Desk(database), token(type="APP_USER")
    driver = driver_of(known, AuthMethod.COMMAND, "CMD-1")
    async with database.change() as db:
        await grants.insert(
            db,
            [
                Grant(
                    tenant_id=TENANT,
                    presented=known.uid,
                    station_key=StationKey(1),
                    until=datetime.now(UTC) + GRANT_HOLDS,
                    driver=driver,
                )
            ],
        )
    assert await desk.status(known.uid) is AuthorizationStatus.ACCEPTED
    assert await desk.status(known.uid, kind="Central", begins=True) is AuthorizationStatus.ACCEPTED
    assert desk.partners.asked == []
    assert await desk.driver(known.uid) == driver
    assert await desk.status(known.uid, key=2) is None
    assert await desk.driver(known.uid, key=2) is None


async def test_whitelisted_token_has_its_driver_without_an_answer(database: Database) -> None:
    desk, known = Desk(database), token(whitelist=Whitelist.ALLOWED)
    desk.partners.tokens = [known]
    assert await desk.driver(known.uid) == driver_of(known, AuthMethod.WHITELIST)
    desk.partners.tokens = [replace(known, whitelist=Whitelist.NEVER)]
    assert await desk.driver(known.uid) is None, "nobody let it in"


async def test_token_that_nobody_pushed_is_asked_about_at_all_at_once_and_not_again_soon(database: Database) -> None:
    desk, uid = Desk(database), f"NEW{next(_numbers)}"
    known = token(uid, connection_id=2)
    desk.partners.providers = [
        Provider(connection_id=1, parties=(("NL", "TNM"),), ask_unknown=True),
        Provider(connection_id=2, parties=(("NL", "ANW"),), ask_unknown=True),
        Provider(connection_id=3, parties=(("NL", "PSH"),), ask_unknown=False),
    ]
    desk.partners.answers = {1: 10.0, 2: allowed(known), 3: None}
    began = time.monotonic()
    assert await desk.status(uid) is AuthorizationStatus.ACCEPTED
    assert time.monotonic() - began < 5, "whoever is slow holds up nobody"
    assert sorted(one[0] for one in desk.partners.asked) == [1, 2]
    driver = await desk.driver(uid)
    assert driver is not None
    assert driver.connection_id == 2
    other = f"NEW{next(_numbers)}"
    desk.partners.answers = {1: None, 2: None}
    desk.partners.asked.clear()
    assert await desk.status(other) is None
    assert await desk.status(other) is None
    assert len(desk.partners.asked) == 2


async def test_emaid_is_asked_about_at_its_issuer_alone(database: Database) -> None:
    desk, uid = Desk(database), f"NLANWC{next(_numbers):08d}X"
    desk.partners.providers = [
        Provider(connection_id=1, parties=(("NL", "TNM"),), ask_unknown=True),
        Provider(connection_id=2, parties=(("nl", "anw"),), ask_unknown=False),
    ]
    desk.partners.answers = {2: allowed(token(uid, type="EMAID", connection_id=2))}
    assert await desk.status(uid, kind="eMAID") is AuthorizationStatus.ACCEPTED
    assert [(one[0], one[2]) for one in desk.partners.asked] == [(2, "EMAID")]


async def test_station_is_not_kept_waiting_longer_than_is_set(database: Database) -> None:
    desk, known = Desk(database, timeout_s=0.2), token(whitelist=Whitelist.ALLOWED_OFFLINE)
    desk.partners.tokens = [known]
    desk.partners.answers[1] = 30.0
    began = time.monotonic()
    assert await desk.status(known.uid) is AuthorizationStatus.ACCEPTED
    assert time.monotonic() - began < 10
    driver = await desk.driver(known.uid)
    assert driver is not None
    assert driver.auth_method is AuthMethod.WHITELIST


async def test_provider_is_told_the_place_and_narrows_it(database: Database) -> None:
    events = EventFeed()
    locations = Locations(database, events, Binding(database, events))
    async with database.change() as db:
        key = await db.fetchval(
            "INSERT INTO charging_station (tenant_id, station_id) VALUES ($1, $2) RETURNING key", TENANT, ident("CS")
        )
        station_id = await db.fetchval("SELECT station_id FROM charging_station WHERE key = $1", key)
    name = ident("L")
    await locations.create(CALLER, name, location())
    for number in (1, 2):
        wanted = EvseWanted(content=EvseContent(), station_id=station_id, ocpp_evse_id=number, connectors=[connector()])
        await locations.add_evse(CALLER, name, f"{name}-{number}", wanted)
    desk, known = Desk(database), token()
    desk.partners.tokens = [known]
    desk.partners.answers[1] = allowed(known, evse_uids=(f"{name}-2".lower(),))
    (record,) = await desk.records(known.uid, key=key)
    assert record.evse_ids == (2,)
    assert desk.partners.asked[-1][3] == (name, (f"{name}-1", f"{name}-2"))
    desk.partners.answers[1] = allowed(known, evse_uids=("elsewhere",))
    assert await desk.status(known.uid, key=key) is AuthorizationStatus.NOT_AT_THIS_LOCATION


async def test_tenant_that_is_no_operator_and_tokens_the_station_vouches_for_ask_nobody(database: Database) -> None:
    desk = Desk(database)
    desk.partners.providers = [Provider(connection_id=1, parties=(), ask_unknown=True)]
    desk.partners.answers = {1: allowed(token("X"))}
    found = await desk.authorizing.records(TenantId(2), StationKey(1), IdToken(value="X"), starts=True, begins=False)
    assert found == ()
    for kind in ("KeyCode", "NoAuthorization", "DirectPayment", "Local"):
        assert await desk.status("X", kind=kind) is None
    assert desk.partners.asked == []


async def test_types_and_issuers_are_told_apart() -> None:
    assert [ocpi_type(kind) for kind in (None, "ISO14443", "eMAID", "Central", "MacAddress")] == [
        "RFID",
        "RFID",
        "EMAID",
        "APP_USER",
        "OTHER",
    ]
    assert [ocpp_type(kind) for kind in ("RFID", "AD_HOC_USER", "EMAID", "NEW_ONE")] == [
        "ISO14443",
        "Central",
        "eMAID",
        "Central",
    ]
    assert provider_of_emaid("DE-8AA-C12345678-X") == ("DE", "8AA")
    assert provider_of_emaid("DE8AAC12345678X") == ("DE", "8AA")
    assert provider_of_emaid("12") is None
    gone, here = token("A", valid=False), token("a")
    assert fitting(IdToken(value="A", type="ISO14443"), [gone, here, token("B")]) == [here, gone]
    assert fitting(IdToken(value="A", type="eMAID"), [here]) == []
