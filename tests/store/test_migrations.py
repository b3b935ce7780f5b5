"""Migrations: locked, complete, and honest about what they do not know."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from chargeplane.kernel.errors import RuleError, UnavailableError
from chargeplane.store.migrations import migration_status, upgrade_database


async def test_new_database_reports_every_revision_as_pending(empty_database_url: str) -> None:
    status = await migration_status(empty_database_url)
    assert status.current is None
    assert status.pending[0] == ("0001", "Foundation.")
    assert not status.up_to_date


async def test_upgrade_brings_a_new_database_to_the_head(empty_database_url: str) -> None:
    told: list[str] = []
    status = await upgrade_database(empty_database_url, told.append)
    assert status.up_to_date
    assert status.pending == ()
    assert told[0] == "Migrated to 0001."
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT slug FROM tenant WHERE id = 1") == "default"
    await connection.close()


async def test_servers_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    statuses = await asyncio.gather(*(upgrade_database(empty_database_url) for _ in range(4)))
    assert all(status.up_to_date for status in statuses)


async def test_database_of_a_newer_release_is_refused(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    assert not (await migration_status(database_url)).known
    with pytest.raises(RuleError, match="9999"):
        await upgrade_database(database_url)


async def test_migrated_database_has_nothing_pending(database_url: str) -> None:
    assert (await migration_status(database_url)).up_to_date


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("/test_", "/absent_", "absent_"),
        ("port=5432", "port=1", "its socket is not there"),
        ("host=", "host=/nowhere", "its socket is not there"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    database_url: str, old: str, new: str, reason: str
) -> None:
    with pytest.raises(UnavailableError, match=reason) as caught:
        await upgrade_database(database_url.replace(old, new, 1))
    assert database_url.split(":")[2].split("@")[0] not in str(caught.value)
