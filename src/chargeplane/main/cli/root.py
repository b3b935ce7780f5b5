"""The command's root: `serve`, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.main.cli.administration import apikey, idtoken, station, tenant
from chargeplane.main.cli.agreement import agreement
from chargeplane.main.cli.bench import bench
from chargeplane.main.cli.bookings import booking
from chargeplane.main.cli.charging_profile import charging_profile, static_limit
from chargeplane.main.cli.database import db
from chargeplane.main.cli.demo import demo
from chargeplane.main.cli.firmware import campaign, firmware, log
from chargeplane.main.cli.invoice import billing, invoice
from chargeplane.main.cli.ledger import ledger
from chargeplane.main.cli.ocpi import ocpi
from chargeplane.main.cli.operations import performance, work
from chargeplane.main.cli.payment import payment, simulate_payments
from chargeplane.main.cli.people import driver, user
from chargeplane.main.cli.security import certificates, security_events
from chargeplane.main.cli.sessions import cdr, session
from chargeplane.main.cli.settlement import settlement
from chargeplane.main.cli.sign_on import sign_on
from chargeplane.main.cli.simulate import simulate
from chargeplane.main.cli.tariffs import location, tariff
from chargeplane.main.cli.terminal import (
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    config_options,
    err,
    exit_code_of,
    out,
    print_error,
)
from chargeplane.main.cli.variables import template
from chargeplane.main.cli.webhook import webhook

if TYPE_CHECKING:
    from chargeplane.main.wiring import Places


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("chargeplane")
    except PackageNotFoundError:
        return "unreleased"


class _Group(click.Group):
    """Keeps the commands in the order they are used in, not in the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not possible now, 130 interrupted.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.version_option(_version(), "-V", "--version", prog_name="chargeplane")
def cli(debug: bool) -> None:
    """Chargeplane: the control plane for EV charging."""


@cli.command()
@config_options
@click.option("--workers", type=click.IntRange(min=1, max=256), help="Server processes.")
@click.option(
    "--role", type=click.Choice(["all", "stations", "api", "jobs"]), help="Which part of the server this process is."
)
def serve(config_file: Path | None, workers: int | None, role: str | None) -> None:
    """Run the server: OCPP for stations, REST for everybody else.

    Without a database_url it brings its own PostgreSQL. Everything that can be set stands in docs/configuration.md.
    """
    import uvloop
    from msgspec.structs import replace

    from chargeplane.main.config import Role, load_config, unknown_variables
    from chargeplane.main.doors import check_doors
    from chargeplane.main.wiring import serve as run
    from chargeplane.main.workers import serve_workers

    config = load_config(config_file)
    if workers is not None:
        config = replace(config, workers=workers)
    if role is not None:
        config = replace(config, role=Role(role))
    for name in unknown_variables():
        err.print(Text.assemble(("Warning: ", "bold yellow"), f"{name} sets nothing; is it misspelt?"))
    check_doors(config)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if config.workers > 1:
            sys.exit(runner.run(serve_workers(config, announce)))
        sys.exit(runner.run(run(config, ready=lambda server: announce(server.places()))))


def announce(places: Places) -> None:
    """Prints where the server is to be found, and the first API key where one was just made."""
    host = places.host
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else host  # noqa: S104
    if places.first_key is not None:
        click.echo(f"First API key (shown only now): {places.first_key}")
    doors = []
    if places.ocpp_port is not None:
        doors.append(f"OCPP at ws://{shown}:{places.ocpp_port}/ocpp/STATION_ID")
    if places.http_port is not None:
        doors.append(f"REST at http://{shown}:{places.http_port}/v1 (pages at /docs)")
    if places.ocpps_port is not None:
        doors.append(f"OCPP over TLS at wss://{shown}:{places.ocpps_port}/ocpp/STATION_ID")
    click.echo(f"Chargeplane is ready: {', '.join(doors) or 'jobs only'}")
    sys.stdout.flush()


for command in (
    demo,
    simulate,
    db,
    tenant,
    apikey,
    idtoken,
    agreement,
    booking,
    station,
    template,
    location,
    tariff,
    charging_profile,
    static_limit,
    certificates,
    security_events,
    firmware,
    campaign,
    log,
    payment,
    simulate_payments,
    webhook,
    session,
    cdr,
    invoice,
    billing,
    performance,
    work,
    ledger,
    ocpi,
    settlement,
    sign_on,
    user,
    driver,
    bench,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `chargeplane` command."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run_command(given))


def run_command(arguments: list[str]) -> int:
    """Runs the command; the exit code."""
    debug = "--debug" in arguments
    try:
        result: Any = cli.main(args=arguments, prog_name="chargeplane", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ChargeplaneError as error:
        if debug:
            err.print_exception()
        print_error(str(error))
        return exit_code_of(error)
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; keep the interpreter's last flush from complaining.
        with contextlib.suppress(OSError):
            sys.stdout = open("/dev/null", "w")  # noqa: SIM115
        return 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else EXIT_REFUSED
    except Exception as error:
        if debug:
            err.print_exception()
            return EXIT_REFUSED
        print_error(f"{type(error).__name__}: {error} (this is a bug; run again with --debug to see where)")
        return EXIT_REFUSED
    finally:
        out.show_cursor(True)
