"""`chargeplane db`: the database from the command line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from chargeplane.main.cli.terminal import (
    config_options,
    err,
    json_option,
    out,
    print_json,
    print_table,
    size_of,
)

if TYPE_CHECKING:
    from chargeplane.main.config import Config
    from chargeplane.store.backup import StationWithoutKey
    from chargeplane.store.secrets import InstallationKeys


@click.group()
def db() -> None:
    """The database: migrations, backup, restore.

    Works on the server's own database, running or not, or on the one that database_url names.
    """


@contextlib.contextmanager
def open_database(config_file: Path | None) -> Iterator[tuple[str, Config]]:
    """The database's URL; the embedded PostgreSQL is started for as long as needed."""
    from chargeplane.main.config import load_config
    from chargeplane.store.embedded import embedded_postgres

    config = load_config(config_file)
    if config.database_url is not None:
        yield config.database_url, config
        return
    with (
        err.status("Starting PostgreSQL") as status,
        embedded_postgres(config.data_path, progress=status.update) as url,
    ):
        status.stop()
        yield url, config


def _keys(config: Config) -> InstallationKeys | None:
    """The installation key where there is one; a tool must not make it."""
    from chargeplane.store.secrets import InstallationKeys

    if config.secret_key is None and not any(config.data_path.glob("*key*")):
        return None
    return InstallationKeys.load(config.data_path, config.secret_key)


def _show_rekey(rekey: tuple[StationWithoutKey, ...]) -> None:
    if not rekey:
        return
    err.print(
        f"[yellow]{len(rekey)} stations need a new password, because the installation key they were stored with is "
        f"missing.[/yellow] Set one with `chargeplane station password STATION_ID`:"
    )
    print_table(["TENANT", "STATION"], [(row.tenant, row.station_id) for row in rekey], empty="")


@db.command()
@config_options
def upgrade(config_file: Path | None) -> None:
    """Bring the database to this release's schema (the server does it by itself when it starts)."""
    from chargeplane.store.migrations import upgrade_database

    with open_database(config_file) as (url, _):
        with err.status("Migrating") as status:
            after = asyncio.run(upgrade_database(url, status.update))
        out.print(f"The database is at revision {after.current}, the newest.")


@db.command()
@config_options
@json_option
def status(config_file: Path | None, as_json: bool) -> None:
    """Revision, size and largest tables."""
    from chargeplane.store.backup import database_status

    with open_database(config_file) as (url, config):
        found = asyncio.run(database_status(url, _keys(config)))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    migrations = found.migrations
    revision = migrations.current or "none yet"
    if not migrations.known:
        revision += " (written by a newer release)"
    elif migrations.pending:
        revision += f" ({len(migrations.pending)} pending: run `chargeplane db upgrade` or start the server)"
    else:
        revision += " (up to date)"
    facts = [
        ("Address", found.address),
        ("PostgreSQL", found.server_version),
        ("Running since", f"{found.started_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("Connections", found.connections),
        ("Size", size_of(found.bytes)),
        ("Revision", revision),
    ]
    for name, value in facts:
        out.print(f"[bold]{name + ':':<15}[/bold]{value}", soft_wrap=True)
    out.print()
    print_table(
        ["TABLE", "ROWS (ABOUT)", "SIZE"],
        [(table.name, f"{max(table.rows, 0):,}", size_of(table.bytes)) for table in found.tables],
        empty="There are no tables yet.",
        right=("ROWS (ABOUT)", "SIZE"),
    )
    _show_rekey(found.rekey)


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_options
@click.option("--without-message-log", is_flag=True, help="Leave out the log of OCPP messages.")
def backup(file: Path, config_file: Path | None, without_message_log: bool) -> None:
    """Write the whole database to FILE, while the server runs.

    The installation key is not in it: keep that file elsewhere, or stations need new passwords after a restore.
    """
    from chargeplane.store.backup import backup as run

    with open_database(config_file) as (url, _):
        columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(True), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("Backing up", total=None)
            written = asyncio.run(
                run(
                    url,
                    file,
                    message_log=not without_message_log,
                    progress=lambda done, of: progress.update(task, completed=done, total=of),
                )
            )
    out.print(f"{file}: {size_of(written)}", soft_wrap=True)


@db.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_options
def restore(file: Path, config_file: Path | None) -> None:
    """Bring a backup into an empty database."""
    from chargeplane.store.backup import restore as run

    with open_database(config_file) as (url, config):
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True) as progress:
            task = progress.add_task("Restoring", total=None)
            report = asyncio.run(
                run(
                    url,
                    file,
                    _keys(config),
                    progress=lambda done, of: progress.update(task, completed=done, total=of),
                )
            )
    out.print(
        f"Restored {report.stations:,} stations and {report.transactions:,} transactions (revision {report.revision})."
    )
    _show_rekey(report.rekey)
