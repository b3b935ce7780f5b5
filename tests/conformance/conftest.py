"""One whole server for all cases of a worker, and the record of a run.

Where `CHARGEPLANE_CONFORMANCE_RESULTS` names a file, what became of every official case and of the census is written there
as JSON; `tools/conformance.py` makes docs/conformance.md of it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

pytest.register_assert_rewrite(
    *(
        f"tests.conformance.{name}"
        for name in ("instances", "outside", "rest", "schemas", "station", "states", "states16")
    )
)

from chargeplane.main.config import (  # noqa: E402
    Config,
    ContractPool,
    LocalListsConfig,
    OcppConfig,
    PlugAndChargeConfig,
    SessionsConfig,
    TlsConfig,
    V2gAuthorityKind,
)
from chargeplane.main.wiring import Server  # noqa: E402
from tests.conformance.outside import POOL_TOKEN, Outside  # noqa: E402
from tests.conformance.record import RESULTS_VARIABLE, written  # noqa: E402
from tests.conformance.rest import Operator  # noqa: E402
from tests.support.authority import Authority, Issued  # noqa: E402
from tests.support.postgres import TestServer  # noqa: E402
from tests.support.rest import ADMIN_KEY  # noqa: E402

HERE = Path(__file__).parent
QUICK = OcppConfig(
    boot_retry_interval_s=1,
    ask_by_evidence_after_s=0.2,
    close_by_evidence_after_s=3600,
    seen_flush_s=0.2,
    shutdown_grace_s=1.0,
)
"""What the server does by itself, soon enough for tests; nothing is closed by evidence."""

_found: list[dict[str, Any]] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "official_case(id, version): stands for an official conformance case")
    config.addinivalue_line(
        "markers", "own_case(use_case, test, requirements): stands for requirements of a use case of 2.1"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in the loop of the session, so the tests must run there."""
    for item in items:
        if HERE in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Travels to the process that writes the record, whichever ran the test."""
    for name in ("official_case", "own_case"):
        marker = item.get_closest_marker(name)
        if marker is not None:
            item.user_properties.append((name, list(marker.args)))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    properties: dict[str, Any] = dict(report.user_properties)
    if report.when == "teardown" and "census" in properties:
        _found.append({"census": properties["census"]})
    if report.when == "teardown" and "commands" in properties:
        _found.append({"commands": properties["commands"]})
    if "official_case" in properties and (report.when == "call" or report.outcome != "passed"):
        ident, version = properties["official_case"]
        _found.append({"id": ident, "version": version, "outcome": report.outcome})
    if "own_case" in properties and (report.when == "call" or report.outcome != "passed"):
        use_case, test, requirements = properties["own_case"]
        _found.append({"own": test, "use_case": use_case, "requirements": requirements, "outcome": report.outcome})


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = os.environ.get(RESULTS_VARIABLE)
    if file and not hasattr(session.config, "workerinput"):
        Path(file).write_text(json.dumps(written(_found), indent=1), encoding="utf-8")


class House:
    """The server and who certifies for it.

    Args:
        authority: signed the server's certificate.
        station_authority: signs stations' certificates.
        outside: an OCSP responder and a pool of contract certificates.
    """

    def __init__(
        self, server: Server, folder: Path, authority: Authority, station_authority: Authority, outside: Outside
    ) -> None:
        assert server.http is not None
        assert server.ocpp is not None
        self.server = server
        self.folder = folder
        self.authority = authority
        self.station_authority = station_authority
        self.outside = outside
        self.url = f"http://127.0.0.1:{server.http.port}/v1"
        self.ocpp_port, *more = server.ocpp.ports
        self.ocpps_port = more[0]

    def write(self, issued: Issued, name: str) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        return issued.write(self.folder, name)


@pytest.fixture(scope="session")
def conformance_database_url(postgres_server: TestServer) -> Iterator[str]:
    """A database for all of them."""
    with postgres_server.database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(conformance_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The server, with both TLS certificates (EC and RSA) and an authority for stations."""
    folder = tmp_path_factory.mktemp("tls")
    authority, station_authority = Authority(), Authority("Stations")
    chain, key = authority.issue("localhost", dns="localhost").write(folder, "server")
    second, second_key = authority.issue("localhost", dns="localhost", rsa_key=True).write(folder, "server-rsa")
    client_ca = folder / "stations.pem"
    client_ca.write_bytes(station_authority.pem)
    outside = Outside()
    await outside.start()
    config = Config(
        bind="127.0.0.1",
        http_port=0,
        ocpp_port=0,
        ocpps_port=0,
        tls=TlsConfig(
            certificate_file=str(chain),
            key_file=str(key),
            second_certificate_file=str(second),
            second_key_file=str(second_key),
            client_ca_file=str(client_ca),
        ),
        data_dir=str(tmp_path_factory.mktemp("conformance")),
        database_url=conformance_database_url,
        admin_key=ADMIN_KEY,
        ocpp=QUICK,
        local_lists=LocalListsConfig(settle_s=0.1, spread_s=0),
        sessions=SessionsConfig(running_cost_s=0.3, poll_s=0.05),
        plug_and_charge=PlugAndChargeConfig(
            pool=ContractPool.OPEN_PNC,
            url=outside.url,
            token=POOL_TOKEN,
            ask_private_networks=True,
            station_authority=V2gAuthorityKind.TEST,
        ),
    )
    server = Server(config)
    await server.start()
    try:
        yield House(server, folder, authority, station_authority, outside)
    finally:
        await server.stop()
        await outside.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rest_client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """Of the operator."""
    async with client_of(house) as client:
        yield client


def client_of(house: House) -> httpx.AsyncClient:
    """An operator's client."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    return httpx.AsyncClient(base_url=house.url, headers=headers, timeout=60)


@contextlib.asynccontextmanager
async def operator_of(house: House) -> AsyncIterator[Operator]:
    """An operator, for more than one test; the stations hang up at the end."""
    async with client_of(house) as client:
        operator = Operator(client, house.ocpp_port, house.ocpps_port)
        yield operator
        await operator.hang_up()


@pytest_asyncio.fixture(loop_scope="session")
async def csms(request: pytest.FixtureRequest, house: House, rest_client: httpx.AsyncClient) -> AsyncIterator[Operator]:
    """The server as its operator sees it; the stations of a test hang up with it."""
    operator = Operator(rest_client, house.ocpp_port, house.ocpps_port)
    yield operator
    request.node.user_properties.append(("commands", await operator.commands_given()))
    await operator.hang_up()
