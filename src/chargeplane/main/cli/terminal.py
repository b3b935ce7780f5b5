"""What all commands share: output, errors with an exit code, and how to reach a server or a database."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chargeplane.kernel.errors import ChargeplaneError, InvalidInputError, RuleError, UnavailableError

if TYPE_CHECKING:
    from chargeplane.main.rest import RestClient

EXIT_REFUSED: Final = 1
"""Understood and refused, or a mistake in the configuration."""
EXIT_USAGE: Final = 2
"""The command line is wrong (click's own)."""
EXIT_UNAVAILABLE: Final = 3
"""Cannot be done now: the same command may succeed later."""
EXIT_INTERRUPTED: Final = 130

out = Console(highlight=False)
"""Results: tables and text on standard output."""
err = Console(stderr=True, highlight=False)
"""Progress and errors on standard error."""

F = TypeVar("F", bound=Callable[..., Any])


def exit_code_of(error: ChargeplaneError) -> int:
    """The process's exit code for an error."""
    return EXIT_UNAVAILABLE if isinstance(error, UnavailableError) else EXIT_REFUSED


def print_error(sentence: str) -> None:
    """One sentence on standard error."""
    err.print(Text.assemble(("Error: ", "bold red"), sentence), soft_wrap=True)


def print_json(value: object) -> None:
    """Machine-readable output on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str, right: Sequence[str] = ()
) -> None:
    """A table for people; piped, tab-separated lines for programs that cut.

    Args:
        empty: the sentence where there are no rows.
        right: columns whose values are numbers.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not out.is_terminal:
        for row in (list(columns), *cells):
            click.echo("\t".join(row))
        return
    if not cells:
        out.print(empty, style="dim")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    out.print(table)


_STYLES: Final = {
    "Available": "green",
    "Accepted": "green",
    "accepted": "green",
    "online": "green",
    "Occupied": "cyan",
    "Charging": "cyan",
    "Reserved": "magenta",
    "Unavailable": "yellow",
    "pending": "yellow",
    "Blocked": "red",
    "Expired": "yellow",
    "Invalid": "red",
    "Faulted": "bold red",
    "rejected": "red",
    "offline": "dim",
}


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def server_options(command: F) -> F:
    """`--url` and `--api-key`; the command gets a `RestClient` as `rest`."""

    @click.option(
        "--url",
        envvar="CHARGEPLANE_URL",
        default="http://127.0.0.1:8080",
        show_default=True,
        help="The server's REST address (CHARGEPLANE_URL).",
    )
    @click.option("--api-key", envvar="CHARGEPLANE_API_KEY", help="API key (CHARGEPLANE_API_KEY).")
    @functools.wraps(command)
    def wrapped(*args: Any, url: str, api_key: str | None, **kwargs: Any) -> Any:
        with rest_client(url, api_key) as rest:
            return command(*args, rest=rest, **kwargs)

    return wrapped  # type: ignore[return-value]


def rest_client(url: str, api_key: str | None) -> RestClient:
    """A client for the server at `url`.

    Raises:
        RuleError: there is no API key.
    """
    from chargeplane.main.rest import RestClient

    if not api_key:
        raise RuleError(
            "An API key is needed: give it with --api-key or CHARGEPLANE_API_KEY. The first start of the server prints one."
        )
    return RestClient(url, api_key)


def config_options(command: F) -> F:
    """`--config`, as a path or None."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="CHARGEPLANE_CONFIG",
        help="Configuration file, TOML (CHARGEPLANE_CONFIG).",
    )(command)


def parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """`key=value` arguments as a dictionary.

    Raises:
        InvalidInputError: one has no `=`.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInputError(f"'{pair}' must be written as key=value.")
        found[key] = value
    return found


def amount(number: float, unit: str) -> str:
    """A number with an SI prefix: `12.3 kW`, `980 W`, `1.25 MWh`."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            scaled = number / size
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f"{scaled:.{digits}f} {prefix}{unit}"
    return f"{number:.0f} {unit}"


def size_of(number: int) -> str:
    """Bytes for people: `3.4 MiB`."""
    scaled = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if scaled < 1024:
            return f"{scaled:.0f} {unit}" if unit == "B" or scaled >= 100 else f"{scaled:.1f} {unit}"
        scaled /= 1024
    return f"{scaled:.1f} TiB"
