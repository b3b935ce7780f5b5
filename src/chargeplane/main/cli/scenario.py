"""`chargeplane simulate --scenario FILE`: a described behaviour, its progress, and a table of what happened."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.cli.terminal import amount, err, out

_SHOWN = 20


def read_scenario(name: str) -> Any:
    """The scenario of a file, or one that comes with the package by its name.

    Raises:
        InvalidInputError: no such file, or what is wrong in which line.
    """
    from chargeplane.simulator.scenario import parse

    own = files("chargeplane.simulator") / "scenarios"
    packaged = {entry.name.removesuffix(".toml"): entry for entry in own.iterdir() if entry.name.endswith(".toml")}
    if name in packaged and not Path(name).exists():
        return parse(packaged[name].read_text(encoding="utf-8"), f"{name}.toml")
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"The scenario '{name}' cannot be read: {error}. These come with the package: {', '.join(sorted(packaged))}."
        ) from error
    return parse(text, name)


async def play(stage: Any, scenario: Any, duration: float | None) -> None:
    """Plays to the end, or to Ctrl-C, SIGTERM or the end of `duration`; then says what happened. Exits with 1 where a step failed."""
    loop = asyncio.get_running_loop()
    playing = asyncio.ensure_future(stage.play())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=err, transient=True) as progress, contextlib.suppress(asyncio.CancelledError):
            tasks = {name: progress.add_task(name, total=tally.total) for name, tally in stage.tallies.items()}
            left = duration
            while not playing.done() and (left is None or left > 0):
                await asyncio.wait({playing}, timeout=0.25)
                left = None if left is None else left - 0.25
                for name, tally in stage.tallies.items():
                    progress.update(tasks[name], completed=tally.done)
            if playing.done():
                playing.result()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
        await stage.close()
    _report(stage, scenario)
    if stage.failed or any(tally.done < tally.total for tally in stage.tallies.values()):
        sys.exit(1)


def _report(stage: Any, scenario: Any) -> None:
    table = Table(title=scenario.name or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("GROUP")
    for name in ("STATIONS", "DONE", "STEPS", "SESSIONS", "ENERGY", "MESSAGES", "ERRORS", "EXPECTED", "FAILED"):
        table.add_column(name, justify="right")
    for name, tally in stage.tallies.items():
        counters = tally.counters
        errors = counters.refused + counters.errors + counters.unanswered + counters.garbage
        table.add_row(
            name,
            f"{tally.group.stations:,}",
            f"{tally.stations_done:,}",
            f"{tally.done:,}/{tally.total:,}",
            f"{tally.sessions:,}",
            amount(tally.energy_wh, "Wh"),
            f"{counters.acknowledged + counters.called:,}",
            f"{errors:,}",
            f"{tally.expected:,}",
            Text(f"{tally.failed:,}", style="red" if tally.failed else "green"),
        )
    out.print(table)
    for failure in stage.failures[:_SHOWN]:
        click.echo(f"{failure.station_id}, step {failure.step} ({failure.does}): {failure.reason}.")
    if stage.failed > _SHOWN:
        click.echo(f"and {stage.failed - _SHOWN:,} more.")
