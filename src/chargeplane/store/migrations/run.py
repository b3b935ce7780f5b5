"""Runs Alembic from code, under an advisory lock: several servers may start at once on one database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import ScriptDirectory
from msgspec import Struct
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chargeplane.kernel.errors import RuleError
from chargeplane.store.database import make_engine, parse_address, unreachable

LOCK_KEY: Final = 0x6368_6172_6765
"""Advisory lock of migrations ("charge")."""


class MigrationStatus(Struct, frozen=True, kw_only=True):
    """Where a database stands.

    Args:
        current: revision of the database; None where it is new.
        head: newest revision this release knows.
        pending: revisions an upgrade would run, oldest first, as (revision, title).
        known: whether this release knows the current revision; False after a newer release wrote it.
    """

    current: str | None
    head: str
    pending: tuple[tuple[str, str], ...]
    known: bool

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.head


async def upgrade_database(url: str, progress: Callable[[str], None] = lambda _sentence: None) -> MigrationStatus:
    """Brings a database to the newest revision, all pending ones in one transaction; nothing where it is there.

    Args:
        url: see store.database.parse_address.
        progress: hears each revision.
    Returns:
        The status afterwards.
    Raises:
        RuleError: a newer release wrote the database.
        UnavailableError: the database cannot be reached; the sentence says where it was looked for and why.
    """
    script = _script()
    async with _connection(url) as connection:
        await connection.execute(text(f"SELECT pg_advisory_lock({LOCK_KEY})"))
        await connection.commit()
        try:
            status = await connection.run_sync(_status, script)
            await connection.rollback()
            if not status.known:
                raise RuleError(
                    f"The database is at revision {status.current}, which this release does not know: a newer "
                    f"release of Chargeplane has upgraded it. Install that one, or restore a backup made before."
                )
            if not status.up_to_date:
                await connection.run_sync(_upgrade, script, progress)
                await connection.commit()
                status = await connection.run_sync(_status, script)
                await connection.rollback()
            return status
        finally:
            # Closing the connection, which follows, would give the lock back too; the pool must not keep it.
            with contextlib.suppress(Exception):
                await connection.rollback()
                await connection.execute(text(f"SELECT pg_advisory_unlock({LOCK_KEY})"))
                await connection.commit()


async def migration_status(url: str) -> MigrationStatus:
    """Which revision a database has and which are pending."""
    async with _connection(url) as connection:
        return await connection.run_sync(_status, _script())


@contextlib.asynccontextmanager
async def _connection(url: str) -> AsyncIterator[AsyncConnection]:
    address = parse_address(url)
    engine = make_engine(address, "chargeplane migrations")
    try:
        try:
            connection = await engine.connect().start()
        except (OSError, TimeoutError, asyncpg.PostgresError, SQLAlchemyError) as error:
            raise unreachable(address, error) from error
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await asyncio.shield(engine.dispose())


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _status(connection: SyncConnection, script: ScriptDirectory) -> MigrationStatus:
    heads = MigrationContext.configure(connection).get_current_heads()
    current = heads[0] if heads else None
    head = script.get_current_head()
    assert head is not None
    known = [revision.revision for revision in script.walk_revisions()]
    if current is not None and current not in known:
        return MigrationStatus(current=current, head=head, pending=(), known=False)
    pending = tuple(
        (revision.revision, (revision.doc or "").strip())
        for revision in reversed(list(script.iterate_revisions(head, current)))
    )
    return MigrationStatus(current=current, head=head, pending=pending, known=True)


def _upgrade(connection: SyncConnection, script: ScriptDirectory, progress: Callable[[str], None]) -> None:
    head = script.get_current_head()
    assert head is not None

    def steps(revision: object, _context: object) -> object:
        return script._upgrade_revs(head, revision)  # type: ignore[arg-type]

    def told(ctx: MigrationContext, step: MigrationInfo, heads: object, run_args: object) -> None:
        progress(f"Migrated to {step.up_revision_id}.")

    with EnvironmentContext(Config(), script) as environment:
        environment.configure(connection=connection, fn=steps, on_version_apply=told)
        with environment.begin_transaction():
            environment.run_migrations()
