"""Files that stations upload: what the database did not take leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from chargeplane.app.events import EventFeed
from chargeplane.app.uploads import Uploads
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.files import Files


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.close()


@pytest.fixture
async def key(database: Database) -> StationKey:
    async with database.change() as db:
        return StationKey(
            await db.fetchval("INSERT INTO charging_station (tenant_id, station_id) VALUES (1, 'CS1') RETURNING key")
        )


@pytest.fixture
def uploads(database: Database, tmp_path: Path) -> Uploads:
    return Uploads(
        database,
        EventFeed(),
        Files(tmp_path, spare_bytes=0),
        max_bytes=1000,
        valid_for=timedelta(hours=1),
        keep=None,
    )


def on_disk(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


async def test_a_file_that_the_database_refuses_is_deleted_and_may_come_again(
    database: Database, key: StationKey, uploads: Uploads, tmp_path: Path
) -> None:
    slot = await uploads.open(TenantId(1), key, purpose="diagnostics", request_id=None, by="test")
    async with database.change() as db:
        await db.execute("ALTER TABLE upload ADD CONSTRAINT broken CHECK (state <> 'received')")
    with pytest.raises(Exception, match="broken"):
        async with uploads.receive(slot.token, None) as receiving:
            await receiving.write(b"log")
            await receiving.finish("log.txt", None)
    assert on_disk(tmp_path) == []
    async with database.change() as db:
        await db.execute("ALTER TABLE upload DROP CONSTRAINT broken")
    async with uploads.receive(slot.token, None) as receiving:
        await receiving.write(b"log")
        await receiving.finish("log.txt", None)
    assert len(on_disk(tmp_path)) == 1


async def test_old_files_that_no_upload_has_are_deleted(key: StationKey, uploads: Uploads, tmp_path: Path) -> None:
    slot = await uploads.open(TenantId(1), key, purpose="diagnostics", request_id=None, by="test")
    async with uploads.receive(slot.token, None) as receiving:
        await receiving.write(b"log")
        await receiving.finish("log.txt", None)
    (mine,) = on_disk(tmp_path)
    orphans = [mine.with_name("01-orphan"), mine.with_name("02-young-orphan")]
    for one in orphans:
        one.write_bytes(b"x")
    for one in (mine, orphans[0]):
        os.utime(one, (1, 1))
    await uploads.forget_files()
    assert sorted(on_disk(tmp_path)) == sorted([mine, orphans[1]])
