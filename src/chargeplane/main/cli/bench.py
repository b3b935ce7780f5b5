"""`chargeplane bench`: the benchmarks of the source checkout that this package runs from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from chargeplane.kernel.errors import RuleError

_RUN = Path(__file__).resolve().parents[4] / "benchmarks" / "run.py"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure the server beside an in-memory peer (needs the source checkout; -h lists the parts)."""
    if not _RUN.is_file():
        raise RuleError(
            "The benchmarks are not part of the installed package. Run `make bench` in a checkout of the source."
        )
    raise SystemExit(subprocess.run([sys.executable, str(_RUN), *arguments], check=False).returncode)  # noqa: S603 - our own script
