"""`chargeplane simulate`: virtual stations against any CSMS, with a table of what they do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from typing import Any, Final

import click
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from chargeplane.kernel.errors import InvalidInputError, UnavailableError
from chargeplane.main.cli.terminal import amount, err, out, rest_client
from chargeplane.main.limits import raise_descriptor_limit

VERSIONS: Final = ("1.6", "2.0.1", "2.1")


@click.command()
@click.option("-n", "--stations", type=click.IntRange(1, 100_000), default=10, show_default=True)
@click.option("--version", type=click.Choice([*VERSIONS, "mixed"]), default="mixed", show_default=True, help="OCPP.")
@click.option(
    "--url",
    default="ws://127.0.0.1:9000/ocpp",
    show_default=True,
    help="Of the CSMS; the station's id is added to it.",
)
@click.option("--password", help="Basic authentication password of every station.")
@click.option("--prefix", default="SIM", show_default=True, help="Stations are named PREFIX-00001 and on.")
@click.option("--id-token", "id_tokens", multiple=True, help="Who charges; may be given many times.")
@click.option(
    "--register-with", "api_url", metavar="API_URL", help="Register stations and id tokens at this REST address first."
)
@click.option("--api-key", envvar="CHARGEPLANE_API_KEY", help="For --register-with (CHARGEPLANE_API_KEY).")
@click.option("--rate", type=click.FloatRange(0.1), default=50.0, show_default=True, help="Connections a second.")
@click.option(
    "--speed", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Charging seconds per second."
)
@click.option("--busy", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share of EVSEs in use.")
@click.option("--meter-interval", type=click.FloatRange(1), default=60.0, show_default=True, help="Charging seconds.")
@click.option("--duration", type=click.FloatRange(0.1), help="Seconds until it ends by itself; else with Ctrl-C.")
@click.option("--fault", "faults", multiple=True, help="A lasting fault of every station; --list-faults names them.")
@click.option("--list-faults", is_flag=True, help="Name the faults and end.")
@click.option(
    "--scenario", metavar="FILE", help="Play a described behaviour (TOML), or one of the package by its name."
)
@click.option("--deflate", is_flag=True, help="Offer permessage-deflate.")
@click.option("--seed", type=int, help="Equal seeds behave equally.")
def simulate(list_faults: bool, **wishes: Any) -> None:
    """Run virtual charging stations against any OCPP CSMS.

    They are real clients: they boot, authorise, charge believable cars, send meter values, keep what they could not
    deliver, and do what the CSMS asks. Against a Chargeplane server, --register-with makes them known first:

        chargeplane simulate -n 20 --register-with http://127.0.0.1:8080 --api-key KEY
    """
    if list_faults:
        _show_faults()
        return
    import uvloop

    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_simulate(**wishes))


def _show_faults() -> None:
    from chargeplane.simulator import Fault

    for fault in Fault:
        click.echo(fault.value)


async def _simulate(
    *,
    stations: int,
    version: str,
    url: str,
    password: str | None,
    prefix: str,
    id_tokens: tuple[str, ...],
    api_url: str | None,
    api_key: str | None,
    rate: float,
    speed: float,
    busy: float,
    meter_interval: float,
    duration: float | None,
    faults: tuple[str, ...],
    scenario: str | None,
    deflate: bool,
    seed: int | None,
) -> None:
    if scenario is not None:
        await _play(scenario, url, password, prefix, api_url, api_key, duration, seed)
        return
    from chargeplane.simulator import Fault, Fleet, Options, Traffic, plans

    try:
        given = frozenset(Fault(fault) for fault in faults)
    except ValueError as error:
        raise InvalidInputError(f"{error}; `chargeplane simulate --list-faults` names the faults there are.") from error
    versions = VERSIONS if version == "mixed" else (version,)
    wanted = plans(stations, versions, prefix=prefix, password=password)
    tokens = id_tokens or tuple(f"{prefix}-DRIVER-{number:03d}" for number in range(1, 51))
    if api_url is not None:
        wanted = await _register(api_url, api_key, wanted, tokens)
    fleet = Fleet(
        url,
        wanted,
        options=Options(speed=speed, faults=given, deflate=deflate),
        rate=rate,
        seed=seed,
    )
    idle = _idle_for(busy)
    view = View(fleet, url, versions)
    starting = asyncio.create_task(
        _start(
            fleet,
            Traffic(id_tokens=tokens, idle_s=idle, first_s=(0.0, idle[1] / 2), meter_interval_s=meter_interval)
            if busy > 0
            else None,
        )
    )
    try:
        await show(view, duration)
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        with err.status("Ending the sessions"):
            await fleet.finish()
        await fleet.stop()
        view.summary()
    if not view.ever_connected:
        raise UnavailableError(f"No station could connect to {url}: {view.reason()}")


async def _play(
    name: str,
    url: str,
    password: str | None,
    prefix: str,
    api_url: str | None,
    api_key: str | None,
    duration: float | None,
    seed: int | None,
) -> None:
    from chargeplane.main.cli.scenario import play, read_scenario
    from chargeplane.simulator.stage import Stage, plans_of, tokens_of

    described = read_scenario(name)
    wanted = plans_of(described, prefix, password)
    if api_url is not None:
        wanted = await _register(api_url, api_key, wanted, tokens_of(described, prefix))
    await play(Stage(url, described, wanted, seed=1 if seed is None else seed), described, duration)


def _idle_for(busy: float) -> tuple[float, float]:
    """Shortest and longest idle time of an EVSE in seconds so that about this share is in use (a visit takes an hour)."""
    mean = 3600.0 * (1.0 - busy) / max(busy, 0.01)
    return 0.3 * mean + 5.0, 1.7 * mean + 10.0


async def _start(fleet: Any, traffic: Any) -> None:
    await fleet.start()
    if traffic is not None:
        fleet.drive(traffic)


async def _register(api_url: str, api_key: str | None, wanted: Sequence[Any], tokens: Sequence[str]) -> list[Any]:
    from chargeplane.main.cli.registering import register_id_tokens, register_stations

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with rest_client(api_url, api_key) as rest, Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("Registering", total=len(wanted) + len(tokens))
        await asyncio.to_thread(register_id_tokens, rest, tokens, lambda: progress.advance(task))
        return await asyncio.to_thread(register_stations, rest, wanted, lambda: progress.advance(task))


async def show(view: View, duration: float | None) -> None:
    """Shows the view until Ctrl-C, SIGTERM or the end of `duration`: a live table, or a line every five seconds."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if duration is not None:
        loop.call_later(duration, ended.set)
    try:
        if out.is_terminal:
            with Live(view, console=out, auto_refresh=False, transient=True) as live:
                while not ended.is_set():
                    view.measure()
                    live.refresh()
                    await _wait(ended, 0.5)
        else:
            while not ended.is_set():
                await _wait(ended, 5.0)
                view.measure()
                click.echo(view.line())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _wait(ended: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()


class View:
    """What a fleet does, as a table, a line, or a closing summary.

    Args:
        fleet: the fleet.
        url: of the CSMS.
        versions: the OCPP versions in it, one row each.
    """

    def __init__(self, fleet: Any, url: str, versions: Sequence[str]) -> None:
        self.fleet = fleet
        self.url = url
        self.versions = tuple(v for v in versions if v in fleet.counters)
        self.ever_connected = False
        self._began = time.monotonic()
        self._before: dict[str, tuple[float, int]] = {}
        self._rates: dict[str, float] = {}

    def measure(self) -> None:
        """Takes the figures of this moment; rates are over the time since the last call."""
        now = time.monotonic()
        for version in self.versions:
            counters = self.fleet.counters[version]
            done = counters.acknowledged + counters.called
            before_at, before = self._before.get(version, (self._began, 0))
            self._rates[version] = (done - before) / max(now - before_at, 1e-6)
            self._before[version] = (now, done)
            self.ever_connected = self.ever_connected or counters.connects > 0

    def reason(self) -> str:
        """Why no station is connected, as far as it is known."""
        for station in self.fleet:
            if station.last_refusal is not None:
                return str(station.last_refusal)
        return "no attempt has ended yet."

    def errors(self, version: str) -> int:
        """What went wrong so far: refused handshakes and boots, CALLERRORs, missing answers."""
        counters = self.fleet.counters[version]
        return int(counters.refused + counters.errors + counters.unanswered + counters.garbage)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("OCPP")
        for name in (
            "STATIONS",
            "CONNECTED",
            "BOOTED",
            "CHARGING",
            "POWER",
            "ENERGY",
            "SESSIONS",
            "MESSAGES/S",
            "ERRORS",
        ):
            table.add_column(name, justify="right")
        rows = [self._row(version) for version in self.versions]
        for row in rows:
            table.add_row(*row)
        if len(self.versions) > 1:
            table.add_section()
            table.add_row(*self._row(None), style="bold")
        head = Text.assemble(("Virtual stations ", "bold"), ("at ", "dim"), self.url)
        seconds = int(time.monotonic() - self._began)
        foot = Text(f"{seconds // 60:d}:{seconds % 60:02d}   Ctrl-C ends", style="dim")
        parts: list[Any] = [head, "", table, "", foot]
        if not self.ever_connected and self.fleet.total().refused:
            parts.insert(3, Text(f"\n{self.reason()}", style="yellow"))
        yield Group(*parts)

    def _row(self, version: str | None) -> list[str | Text]:
        state = self.fleet.state(version)
        counters = self.fleet.total() if version is None else self.fleet.counters[version]
        rate = sum(self._rates.values()) if version is None else self._rates.get(version, 0.0)
        errors = sum(self.errors(v) for v in self.versions) if version is None else self.errors(version)
        missing = state.connected < state.stations
        return [
            version or "all",
            f"{state.stations:,}",
            Text(f"{state.connected:,}", style="yellow" if missing else "green"),
            f"{state.accepted:,}",
            Text(f"{state.charging:,}", style="cyan" if state.charging else ""),
            amount(state.power_w, "W"),
            amount(state.energy_wh, "Wh"),
            f"{counters.sessions:,}",
            f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
            Text(f"{errors:,}", style="red" if errors else "dim"),
        ]

    def line(self) -> str:
        """One line for a log."""
        state = self.fleet.state()
        total = self.fleet.total()
        rate = sum(self._rates.values())
        errors = sum(self.errors(version) for version in self.versions)
        return (
            f"{int(time.monotonic() - self._began):>5}s connected={state.connected}/{state.stations} "
            f"booted={state.accepted} charging={state.charging} power={amount(state.power_w, 'W')} "
            f"energy={amount(state.energy_wh, 'Wh')} sessions={total.sessions} messages/s={rate:.1f} errors={errors}"
        )

    def summary(self) -> None:
        """Prints what came of it."""
        total = self.fleet.total()
        seconds = max(time.monotonic() - self._began, 1e-6)
        state = self.fleet.state()
        out.print(
            f"{total.connects:,} connections, {total.sessions:,} sessions, {amount(state.energy_wh, 'Wh')}, "
            f"{total.acknowledged:,} messages answered in {seconds:.0f} s; "
            f"{total.errors:,} refused, {total.unanswered:,} unanswered, {total.refused:,} failed handshakes.",
            soft_wrap=True,
        )
