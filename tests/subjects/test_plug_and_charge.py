"""Plug & Charge with the test pool: a car gets its contract's certificate by way of a station, and charges by it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec import json

from chargeplane.main.config import Config, ContractPool, PlugAndChargeConfig
from chargeplane.main.wiring import Server
from chargeplane.ocpp.catalogue import decode_request
from chargeplane.simulator import VirtualStation
from chargeplane.simulator.dialect import Draft
from chargeplane.simulator.subjects.plug_and_charge import PlugAndChargeCar, ask_for_certificate, present
from tests.subjects.conftest import Town
from tests.support.authority import Authority
from tests.support.postgres import TestServer
from tests.support.rest import ADMIN_KEY

VERSIONS_2X = ("2.0.1", "2.1")
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pool_server(postgres_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with the test pool, whose OCSP answers come from itself."""
    with postgres_server.database() as url:
        async with asyncio.timeout(60):
            probe = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
            port = probe.sockets[0].getsockname()[1]
            probe.close()
            await probe.wait_closed()
        server = Server(
            Config(
                bind="127.0.0.1",
                http_port=port,
                ocpp_port=0,
                ocpps_port=0,
                data_dir=str(tmp_path_factory.mktemp("pnc")),
                database_url=url,
                admin_key=ADMIN_KEY,
                plug_and_charge=PlugAndChargeConfig(pool=ContractPool.TEST, ask_private_networks=True),
            )
        )
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def pool_town(pool_server: Server) -> AsyncIterator[Town]:
    made = Town(pool_server)
    yield made
    for station in made.stations:
        await station.close()
    await made.client.aclose()


async def install(station: VirtualStation, car: PlugAndChargeCar) -> str:
    told: list[str] = []
    ask_for_certificate(station, car, told.append)
    await station.drain(everything=True)
    return told[0]


async def ask(station: VirtualStation, car: PlugAndChargeCar, *, central: bool = False) -> tuple[str, str]:
    told: list[tuple[str, str]] = []
    present(station, car, lambda token, certificate: told.append((token, certificate)), central=central)
    await station.drain(everything=True)
    return told[0]


class Contract:
    """A car with a contract in the pool, and its eMAID as id token."""

    def __init__(self, town: Town, account: str) -> None:
        self.town = town
        self.emaid = account
        self.car = PlugAndChargeCar(f"WKNAAA{next(_numbers):010}")
        self.id = ""

    async def make(self, *, token: bool = True) -> Contract:
        made = await self.town.ask("POST", "/contracts", {"emaid": self.emaid, "pcid": self.car.pcid}, status=201)
        self.id = made["id"]
        if token:
            await self.town.ask("POST", "/id-tokens", {"id_token": self.emaid, "type": "eMAID"})
        return self


def account() -> str:
    return f"DE-8AA-C{next(_numbers):08}"


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_M01_a_car_gets_the_certificate_of_its_contract_and_can_read_its_key(
    pool_town: Town, version: str
) -> None:
    contract = await Contract(pool_town, account()).make()
    station = await pool_town.station(version)
    assert await install(station, contract.car) == "Accepted"
    assert contract.car.emaid == contract.emaid.replace("-", "")
    assert len(contract.car.chain) == 3
    (request, *_) = (await pool_town.ask("GET", "/ev-certificate-requests"))["items"]
    assert (request["accepted"], request["provider"]) == (True, "test")
    assert request["emaid"] == contract.car.emaid


async def test_M01_a_car_without_a_contract_gets_none_and_the_operator_sees_why(pool_town: Town) -> None:
    station = await pool_town.station("2.0.1")
    assert await install(station, PlugAndChargeCar("WKNSTRANGER1")) == "Failed"
    (request, *_) = (await pool_town.ask("GET", "/ev-certificate-requests"))["items"]
    assert request["accepted"] is False
    assert "WKNSTRANGER1" in request["reason"]


@pytest.mark.parametrize("central", [False, True])
@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_C07_FR14_a_good_contract_whose_emaid_may_charge_is_accepted(
    pool_town: Town, version: str, central: bool
) -> None:
    contract = await Contract(pool_town, account()).make()
    station = await pool_town.station(version)
    await install(station, contract.car)
    assert await ask(station, contract.car, central=central) == ("Accepted", "Accepted")


@pytest.mark.parametrize("central", [False, True])
async def test_C07_FR13_a_good_contract_whose_emaid_is_unknown_or_blocked_is_cancelled(
    pool_town: Town, central: bool
) -> None:
    contract = await Contract(pool_town, account()).make(token=False)
    station = await pool_town.station("2.0.1")
    await install(station, contract.car)
    assert await ask(station, contract.car, central=central) == ("Unknown", "ContractCancelled")
    blocked = {"id_token": contract.emaid, "type": "eMAID", "status": "Blocked"}
    await pool_town.ask("POST", "/id-tokens", blocked)
    assert await ask(station, contract.car, central=central) == ("Blocked", "ContractCancelled")


@pytest.mark.parametrize("central", [False, True])
async def test_C07_FR16_a_revoked_contract_is_revoked(pool_town: Town, central: bool) -> None:
    contract = await Contract(pool_town, account()).make()
    station = await pool_town.station("2.1")
    await install(station, contract.car)
    await pool_town.ask("POST", f"/contracts/{contract.id}/revoke", {"because": "The car was sold."})
    assert await ask(station, contract.car, central=central) == ("Invalid", "CertificateRevoked")
    assert await install(station, contract.car) == "Failed"
    await pool_town.ask("POST", f"/contracts/{contract.id}/revoke", {"because": "Again."}, status=409)


async def test_C07_FR17_a_chain_is_completed_by_what_is_known_and_one_of_another_emaid_is_refused(
    pool_town: Town,
) -> None:
    stranger = Authority()
    pem = stranger.pem if isinstance(stranger.pem, str) else stranger.pem.decode()
    contract = await Contract(pool_town, account()).make()
    station = await pool_town.station("2.0.1")
    await install(station, contract.car)
    contract.car.chain[1:] = []  # the intermediate ones are missing: nobody can say whose it is
    status = await ask(station, contract.car, central=True)
    assert status == ("Accepted", "Accepted")  # those between are known here
    contract.car.emaid = "DE8AAC99999999"
    assert await ask(station, contract.car, central=True) == ("Invalid", "CertChainError")  # of another eMAID
    anchors = await pool_town.ask("POST", "/trust-anchors", {"pem": pem, "note": "a stranger"}, status=201)
    assert anchors[0]["is_root"] is True
    await pool_town.ask("DELETE", f"/trust-anchors/{anchors[0]['id']}", status=204)


@pytest.mark.parametrize("version", VERSIONS_2X)
async def test_M06_a_station_gets_the_ocsp_answer_for_a_certificate(pool_town: Town, version: str) -> None:
    contract = await Contract(pool_town, account()).make()
    station = await pool_town.station(version)
    await install(station, contract.car)
    data = contract.car.hash_data()[0]
    payload = {
        "ocspRequestData": {
            "hashAlgorithm": "SHA256",
            "issuerNameHash": data.issuer_name_hash,
            "issuerKeyHash": data.issuer_key_hash,
            "serialNumber": data.serial_number,
            "responderURL": data.responder_url,
        }
    }
    answer = await say(station, "GetCertificateStatus", payload)
    assert answer["status"] == "Accepted"
    assert answer["ocspResult"]
    payload["ocspRequestData"]["responderURL"] = "http://127.0.0.1:1/nobody"
    assert (await say(station, "GetCertificateStatus", payload))["status"] == "Failed"


async def test_M07_each_certificate_of_a_cars_chain_is_looked_up(pool_town: Town) -> None:
    contract = await Contract(pool_town, account()).make()
    station = await pool_town.station("2.1")
    await install(station, contract.car)
    asked = [
        {
            "certificateHashData": {
                "hashAlgorithm": "SHA256",
                "issuerNameHash": data.issuer_name_hash,
                "issuerKeyHash": data.issuer_key_hash,
                "serialNumber": number,
            },
            "source": source,
            "urls": [data.responder_url],
        }
        for data, number, source in (
            (contract.car.hash_data()[0], contract.car.hash_data()[0].serial_number, "OCSP"),
            (contract.car.hash_data()[0], "abc123", "OCSP"),
            (contract.car.hash_data()[1], contract.car.hash_data()[1].serial_number, "CRL"),
        )
    ]
    answer = await say(station, "GetCertificateChainStatus", {"certificateStatusRequests": asked})
    assert [one["status"] for one in answer["certificateStatus"]] == ["Good", "Unknown", "Failed"]


async def test_responders_within_our_own_networks_are_not_asked_unless_the_operator_says_so(town: Town) -> None:
    """A station names the address: it must not be able to have the server knock at its own doors."""
    knocked = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocked.set()
        writer.close()

    door = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = door.sockets[0].getsockname()[1]
    station = await town.station("2.0.1")
    hashes = {"hashAlgorithm": "SHA256", "issuerNameHash": "aa", "issuerKeyHash": "bb", "serialNumber": "1"}
    for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"):
        payload = {"ocspRequestData": {**hashes, "responderURL": f"http://{host}:{port}/"}}
        assert (await say(station, "GetCertificateStatus", payload))["status"] == "Failed"
    assert not knocked.is_set()
    door.close()


async def test_without_a_pool_cars_get_nothing_and_contracts_are_a_conflict(town: Town) -> None:
    station = await town.station("2.1")
    assert await install(station, PlugAndChargeCar("WKNNOBODY")) == "Failed"
    problem = await town.ask("GET", "/contracts", status=409)
    assert "plug_and_charge.pool" in problem["detail"]


async def test_a_contract_without_an_emaid_is_a_problem_that_names_the_field(pool_town: Town) -> None:
    problem = await pool_town.ask("POST", "/contracts", {"emaid": "nobody", "pcid": "X"}, status=422)
    assert problem["errors"][0]["pointer"] == "#/emaid"
    problem = await pool_town.ask("POST", "/trust-anchors", {"pem": "nothing"}, status=422)
    assert problem["errors"][0]["pointer"] == "#/pem"


async def say(station: VirtualStation, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """A message as JSON; the answer's payload."""
    told: list[dict[str, Any]] = []
    request = decode_request(station.version, action, json.encode(payload))
    station.send(Draft(action, lambda: request), lambda answer: told.append(json.decode(answer.payload)))
    await station.drain(everything=True)
    return told[0]
