"""Backup and restore: complete, into nothing but an empty database, and honest about the installation key."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from chargeplane.kernel.errors import ConflictError, RuleError, UnavailableError
from chargeplane.store.backup import backup, database_status, restore
from chargeplane.store.migrations import upgrade_database
from chargeplane.store.secrets import InstallationKeys

KEYS = InstallationKeys("k" * 32)


async def _fill(url: str) -> None:
    made = KEYS.hash_password("x" * 20)
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO charging_station (tenant_id, station_id, password_salt, password_hash, password_key_id) "
        "VALUES (1, 'CS-1', $1, $2, $3), (1, 'CS-open', NULL, NULL, NULL)",
        made.salt,
        made.hash,
        made.key_id,
    )
    await connection.execute("INSERT INTO outbox (tenant_id, topic, key, payload) VALUES (1, 't', 'k', '{\"a\": 1}')")
    await connection.execute(
        "INSERT INTO message_log SELECT current_date, now(), 1, true, 'Heartbeat', g::text, 'callresult', NULL, 5, "
        "NULL, NULL, false FROM generate_series(1, 100) g"
    )
    await connection.execute("SELECT nextval('ocpp16_transaction_id_seq'), nextval('transaction_id_seq')")
    await connection.close()


async def _value(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_restored_database_has_what_the_backup_had(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    await _fill(database_url)
    target = tmp_path / "chargeplane.backup"
    told: list[tuple[int, int | None]] = []
    size = await backup(database_url, target, progress=lambda done, of: told.append((done, of)))
    assert size == target.stat().st_size
    assert told
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["chargeplane.backup"]

    told.clear()
    report = await restore(empty_database_url, target, KEYS, progress=lambda done, of: told.append((done, of)))
    assert (report.stations, report.transactions, report.rekey) == (2, 0, ())
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert await _value(empty_database_url, "SELECT payload FROM outbox") == '{"a": 1}'
    assert await _value(empty_database_url, "SELECT count(*) FROM message_log") == 100
    assert (await upgrade_database(empty_database_url)).up_to_date


async def test_transaction_ids_go_on_far_behind_those_handed_out_since_the_backup(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    await _fill(database_url)
    await backup(database_url, tmp_path / "b")
    await restore(empty_database_url, tmp_path / "b")
    for sequence in ("ocpp16_transaction_id_seq", "transaction_id_seq"):
        before = await _value(database_url, f"SELECT last_value FROM {sequence}")
        after = await _value(empty_database_url, f"SELECT nextval('{sequence}')")
        assert isinstance(before, int)
        assert isinstance(after, int)
        assert after - before >= 1_000_000


async def test_stations_to_rekey_are_listed_after_a_restore_with_another_key(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    await _fill(database_url)
    await backup(database_url, tmp_path / "b")
    report = await restore(empty_database_url, tmp_path / "b", InstallationKeys("z" * 32))
    assert [(one.tenant, one.station_id, one.key_id) for one in report.rekey] == [("default", "CS-1", KEYS.current_id)]


async def test_restore_refuses_a_database_with_tables(database_url: str, tmp_path: Path) -> None:
    await backup(database_url, tmp_path / "b")
    with pytest.raises(ConflictError, match="needs an empty one"):
        await restore(database_url, tmp_path / "b")


async def test_restore_of_a_damaged_file_leaves_the_database_empty(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    await _fill(database_url)
    await backup(database_url, tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    # The data of the last table; what comes before it is restored and must be undone.
    (tmp_path / "damaged").write_bytes(whole[:-300] + bytes(300))
    with pytest.raises(UnavailableError, match="pg_restore failed"):
        await restore(empty_database_url, tmp_path / "damaged")
    assert (await database_status(empty_database_url)).tables == ()


async def test_restore_refuses_a_file_that_is_no_backup(empty_database_url: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("hello")
    with pytest.raises(RuleError, match="is not a backup"):
        await restore(empty_database_url, tmp_path / "b")
    with pytest.raises(RuleError, match="There is no backup"):
        await restore(empty_database_url, tmp_path / "absent")


async def test_backup_never_overwrites(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("precious")
    with pytest.raises(ConflictError, match="exists"):
        await backup(database_url, tmp_path / "b")
    assert (tmp_path / "b").read_text() == "precious"


async def test_backup_may_leave_the_message_log_out(database_url: str, empty_database_url: str, tmp_path: Path) -> None:
    await _fill(database_url)
    await backup(database_url, tmp_path / "b", message_log=False)
    await restore(empty_database_url, tmp_path / "b")
    assert await _value(empty_database_url, "SELECT count(*) FROM message_log") == 0
    assert await _value(empty_database_url, "SELECT count(*) FROM charging_station") == 2


async def test_backup_of_an_absent_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await backup(f"postgresql://u:p@/db?host={tmp_path}", tmp_path / "b")
    assert not (tmp_path / "b").exists()


async def test_status_tells_size_revision_and_stations_to_rekey(database_url: str) -> None:
    await _fill(database_url)
    status = await database_status(database_url, InstallationKeys("z" * 32))
    assert status.migrations.up_to_date
    assert status.bytes > 1_000_000
    assert "charging_station" in {table.name for table in status.tables}
    assert [one.station_id for one in status.rekey] == ["CS-1"]
    assert ":" not in status.address.split("@")[0].removeprefix("postgresql:")
