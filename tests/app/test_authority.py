"""The authority of the house: one for all nodes, its keys useless without the installation key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from cryptography import x509

from chargeplane.app.authority import HouseAuthority
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database
from chargeplane.store.secrets import InstallationKeys, UnknownKeyError
from tests.support.authority import csr_of


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, readers=2)
    yield database
    await database.close()


def authority(database: Database, key: str = "k") -> HouseAuthority:
    return HouseAuthority(database, InstallationKeys(key * 32), organization="Operator", station_days=30)


async def test_nodes_that_need_it_at_once_make_one_authority_and_one_server_certificate(database: Database) -> None:
    nodes = [authority(database) for _ in range(3)]
    assert await nodes[0].trust() == ""
    made = await asyncio.gather(*(node.server_certificate(["localhost"]) for node in nodes))
    assert len(set(made)) == 1
    assert len({await node.authorities() for node in nodes}) == 1
    root, issuing = await nodes[0].authorities()
    assert await nodes[1].trust() == issuing + root
    other_names, _ = await nodes[0].server_certificate(["csms.example.com"])
    assert other_names != made[0][0]


async def test_without_the_installation_key_nothing_is_signed_and_what_was_signed_is_still_trusted(
    database: Database,
) -> None:
    signed = await authority(database).sign(csr_of("CS"), common_name="CS", station_key=StationKey(1))
    stranger = authority(database, "x")
    with pytest.raises(UnknownKeyError):
        await stranger.sign(csr_of("CS"), common_name="CS", station_key=StationKey(1))
    issuing = x509.load_pem_x509_certificates((await stranger.trust()).encode())[0]
    x509.load_pem_x509_certificates(signed.chain.encode())[0].verify_directly_issued_by(issuing)
