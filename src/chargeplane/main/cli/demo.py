"""`chargeplane demo`: a server and a small network alive on it, within seconds, in one terminal."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import socket
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chargeplane.main.cli.simulate import VERSIONS, View, show
from chargeplane.main.cli.terminal import amount, err, rest_client
from chargeplane.main.limits import raise_descriptor_limit

if TYPE_CHECKING:
    from chargeplane.main.config import Config
    from chargeplane.main.rest import RestClient
    from chargeplane.main.wiring import Server
    from chargeplane.simulator import Fleet, Line, Session, VirtualStation

_DRIVERS: Final = tuple(f"DEMO-{number:04d}" for number in range(1, 41))
_STREETS: Final = ("MAIN", "PARK", "MILL", "LAKE", "STATION", "HARBOUR", "MARKET", "SCHOOL", "GARDEN", "BRIDGE")
_STATUS_STYLES: Final = {
    "Available": "green",
    "Preparing": "cyan",
    "Charging": "bold cyan",
    "SuspendedEV": "blue",
    "SuspendedEVSE": "magenta",
    "Finishing": "blue",
    "Reserved": "magenta",
    "Unavailable": "yellow",
    "Faulted": "bold red",
}
_BAR: Final = "▏▎▍▌▋▊▉█"
_KEPT_MESSAGES: Final = 200


@click.command(short_help="Show a network alive: a server and virtual stations charging on it.")
@click.option("-n", "--stations", type=click.IntRange(1, 1000), default=12, show_default=True)
@click.option(
    "--speed", type=click.FloatRange(0.1, 3600), default=30.0, show_default=True, help="Charging seconds per second."
)
@click.option(
    "--http-port", type=click.IntRange(0, 65535), default=8080, show_default=True, envvar="CHARGEPLANE_HTTP_PORT"
)
@click.option(
    "--ocpp-port", type=click.IntRange(0, 65535), default=9000, show_default=True, envvar="CHARGEPLANE_OCPP_PORT"
)
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keeps the data there; else it is removed."
)
@click.option("--duration", type=click.FloatRange(0.1), help="Seconds until it ends by itself; else with Ctrl-C.")
def demo(
    stations: int, speed: float, http_port: int, ocpp_port: int, data_dir: Path | None, duration: float | None
) -> None:
    """Show a network alive: a server, stations of all OCPP versions charging on it, and what they do.

    Everything is real: the stations are clients on their own sockets, registered over REST, and what they deliver is in
    PostgreSQL. Charging runs faster than the wall (--speed) so that there is something to see.
    """
    import uvloop

    raise_descriptor_limit()
    with _folder(data_dir) as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_demo(folder, stations, speed, http_port, ocpp_port, duration))


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="chargeplane-demo-"))
    folder.chmod(0o711)  # PostgreSQL runs as another user when we are root, and must get to its own folder inside
    try:
        yield folder / "data"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port(wanted: int) -> int:
    """The port, or any free one where another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _demo(
    folder: Path, stations: int, speed: float, http_port: int, ocpp_port: int, duration: float | None
) -> None:
    from chargeplane.main.config import Config, LogConfig, LogLevel

    key = "demo-" + secrets.token_urlsafe(12)
    config = Config(
        bind="127.0.0.1",
        http_port=_free_port(http_port),
        ocpp_port=_free_port(ocpp_port),
        data_dir=str(folder),
        admin_key=key,
        log=LogConfig(level=LogLevel.ERROR),
    )
    from chargeplane.main.cli.demo_payments import paying_guests

    async with _running(config) as server, paying_guests() as guests:
        http = f"http://127.0.0.1:{server.places().http_port}"
        with rest_client(http, key) as rest:
            fleet, board = await _network(server, rest, http, key, stations, speed)
            board.pay_at = await asyncio.to_thread(
                guests.furnish, rest, http, [station.station_id for station in fleet]
            )
            try:
                await fleet.start()
                await show(board, duration)
            finally:
                board.stop()
                await fleet.stop()
                board.summary()


@contextlib.asynccontextmanager
async def _running(config: Config) -> AsyncIterator[Server]:
    from chargeplane.main.logging import configure_logging
    from chargeplane.main.wiring import Server

    configure_logging(config.log.level, config.log.format)
    server = Server(config)
    with err.status("Starting the server") as status:
        await server.start(status.update)
    try:
        yield server
    finally:
        with err.status("Stopping the server"):
            await server.stop()


async def _network(
    server: Server, rest: RestClient, http: str, key: str, count: int, speed: float
) -> tuple[Fleet, Board]:
    """Registers stations and drivers by REST, as anybody would; the fleet that plays them, and the board."""
    from chargeplane.main.cli.registering import register_id_tokens, register_stations
    from chargeplane.simulator import Fleet, Options, StationModel, StationPlan, Traffic

    wanted = [
        StationPlan(
            station_id=f"{_STREETS[number % len(_STREETS)]}-{number // len(_STREETS) + 1:02d}",
            version=VERSIONS[number % len(VERSIONS)],
        )
        for number in range(count)
    ]
    with err.status("Registering stations and drivers"):
        await asyncio.to_thread(register_id_tokens, rest, _DRIVERS)
        plans = await asyncio.to_thread(register_stations, rest, wanted)
    ocpp = f"ws://127.0.0.1:{server.places().ocpp_port}/ocpp"
    board = Board(http, ocpp, key, speed)
    fleet = Fleet(
        ocpp,
        plans,
        options=Options(speed=speed, model=StationModel(vendor="Chargeplane", model="Virtual DC/AC")),
        rate=20,
        record=board.record,
        on_session=board.session_ended,
    )
    board.attach(fleet, rest)
    fleet.drive(
        Traffic(
            id_tokens=_DRIVERS,
            idle_s=(20 * speed, 90 * speed),
            first_s=(1.5 * speed, 12 * speed),
            meter_interval_s=max(2 * speed, 10.0),
        )
    )
    return fleet, board


class Board(View):
    """The demo's screen.

    Args:
        http: REST address.
        ocpp: OCPP address.
        key: API key to try.
    """

    def __init__(self, http: str, ocpp: str, key: str, speed: float) -> None:
        self._http, self._ocpp, self._key, self._speed = http, ocpp, key, speed
        self._messages: deque[tuple[str, str, str, str]] = deque(maxlen=_KEPT_MESSAGES)
        self._sent: dict[tuple[str, str], float] = {}
        self._sessions: list[dict[str, Any]] = []
        self._poller: asyncio.Task[None] | None = None
        self._printed = False
        self.pay_at: str | None = None
        """Where a guest pays at one of the stations."""

    def attach(self, fleet: Fleet, rest: Any) -> None:
        """The fleet to show, and where the server's own truth is read."""
        super().__init__(fleet, self._ocpp, VERSIONS)
        self._poller = asyncio.get_running_loop().create_task(self._poll(rest))

    def stop(self) -> None:
        """Ends the reading."""
        if self._poller is not None:
            self._poller.cancel()

    async def _poll(self, rest: Any) -> None:
        from chargeplane.kernel.errors import ChargeplaneError

        while True:
            with contextlib.suppress(ChargeplaneError):
                page = await asyncio.to_thread(rest.get, "/v1/transactions", limit=12)
                self._sessions = page["items"]
            await asyncio.sleep(1.0)

    def record(self, line: Line) -> None:
        """Takes a line of the stations' ledger."""
        from chargeplane.simulator import Entry

        where = (line.station_id, line.message_id)
        if line.entry is Entry.SENT:
            self._sent[where] = line.at
        else:
            took = line.at - self._sent.pop(where, line.at)
            outcome = f"{took * 1000:.1f} ms" if line.entry is Entry.ACKNOWLEDGED else line.entry.value
            self._messages.appendleft((time.strftime("%H:%M:%S"), line.station_id, _spoken(line), outcome))

    def session_ended(self, station: VirtualStation, session: Session) -> None:
        """A car drives off; nothing to do, the server knows."""

    def line(self) -> str:
        """Plain output: where to look first, then how it goes."""
        text = super().line()
        if not self._printed:
            self._printed = True
            text = f"{self._addresses()}\n{text}"
        return text

    def _addresses(self) -> str:
        return (
            f"REST {self._http}   OCPP {self._ocpp}/STATION_ID   API key {self._key}\n"
            f"Try: curl -H 'Authorization: Bearer {self._key}' {self._http}/v1/transactions?limit=3\n"
            f"Pay as a guest, with the card 4242 4242 4242 4242: {self.pay_at}"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = max(options.max_height or console.height, 12)
        evses = [(station, evse) for station in self.fleet for evse in station.evses]
        top = min(len(evses) + 3, max(6, (height - 5) * 3 // 5))
        layout = Layout()
        layout.split_column(
            Layout(self._head(), size=4), Layout(name="top", size=top), Layout(name="bottom", minimum_size=4)
        )
        layout["top"].update(self._evses(evses, top - 3, options.max_width))
        layout["bottom"].split_row(
            Layout(self._session_panel(height), ratio=5), Layout(self._message_panel(height), ratio=6)
        )
        yield from console.render(layout, options.update(height=height - 1))

    def _head(self) -> Text:
        state = self.fleet.state()
        total = self.fleet.total()
        rate = sum(self._rates.values())
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("Chargeplane ", "bold")
        text.append(f"{state.connected}/{state.stations} stations online   ", "green")
        text.append(f"{state.charging} of {state.evses} EVSEs charging   ", "cyan")
        text.append(f"{amount(state.power_w, 'W')}   {amount(state.energy_wh, 'Wh')}   ", "bold")
        text.append(f"{total.sessions} sessions   {rate:.1f} messages/s   ")
        text.append(f"{self._speed:g}x speed   Ctrl-C ends\n", "dim")
        text.append(f"REST {self._http}/docs   OCPP {self._ocpp}/STATION_ID   API key {self._key}\n")
        text.append(f"curl -H 'Authorization: Bearer {self._key}' '{self._http}/v1/transactions?limit=3'\n", "dim")
        text.append(f"Pay as a guest, with the card 4242 4242 4242 4242: {self.pay_at}")
        return text

    def _evses(self, evses: list[tuple[Any, Any]], rows: int, width: int) -> Panel:
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold", padding=(0, 1, 0, 0))
        for name in ("STATION", "OCPP", "EVSE", "STATUS"):
            table.add_column(name, no_wrap=True)
        table.add_column("POWER", justify="right", no_wrap=True)
        table.add_column("", ratio=2, no_wrap=True)
        table.add_column("ENERGY", justify="right", no_wrap=True)
        table.add_column("BATTERY", justify="right", no_wrap=True)
        table.add_column("DRIVER", no_wrap=True)
        bar_width = max(width // 6, 6)
        if len(evses) > rows:  # what is alive first
            evses = sorted(evses, key=lambda pair: not pair[1].busy)[:rows]
        for station, evse in evses:
            model = evse.meter.model
            session = evse.session if evse.busy else None
            status = evse.status.value if station.online else "offline"
            kind = f"DC {model.power_w // 1000} kW" if model.dc else f"AC {model.power_w // 1000} kW"
            table.add_row(
                station.station_id,
                station.version.value,
                f"{evse.id} {kind}",
                Text(status, _STATUS_STYLES.get(status, "dim")),
                amount(evse.meter.power_w, "W") if evse.meter.power_w else "",
                _bar(evse.meter.power_w / model.power_w, bar_width),
                amount(int(session.energy_wh), "Wh") if session is not None and session.started else "",
                f"{evse.car.soc_percent:.0f} %" if evse.car is not None else "",
                session.id_token if session is not None else "",
            )
        return Panel(table, title="Charging stations", title_align="left", border_style="dim")

    def _session_panel(self, height: int) -> Panel:
        table = Table(box=None, pad_edge=False, expand=True, header_style="bold", padding=(0, 1, 0, 0))
        for name in ("STARTED", "STATION", "DRIVER", "STATE"):
            table.add_column(name, no_wrap=True)
        table.add_column("ENERGY", justify="right", no_wrap=True)
        for row in self._sessions[: height // 3]:
            started = str(row.get("started_at") or "")[11:19]
            closed = row.get("state") != "open"
            token = row.get("id_token")
            driver = token.get("id_token", "") if isinstance(token, dict) else str(token or "")
            table.add_row(
                started,
                str(row.get("station_id") or ""),
                driver,
                Text(str(row.get("stop_reason") or "closed") if closed else "open", "dim" if closed else "cyan"),
                amount(float(row.get("energy_wh") or 0), "Wh"),
            )
        return Panel(table, title="Transactions in the database (by REST)", title_align="left", border_style="dim")

    def _message_panel(self, height: int) -> Panel:
        table = Table.grid(expand=True, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True, style="dim")
        table.add_column(no_wrap=True)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True, style="dim")
        for row in list(self._messages)[: height // 3]:
            table.add_row(*row)
        return Panel(table, title="Messages, answered after their commit", title_align="left", border_style="dim")


def _spoken(line: Line) -> str:
    """What a message says, in a few words."""
    import msgspec

    payload = msgspec.json.decode(line.payload)
    if line.action == "TransactionEvent":
        return f"TransactionEvent {payload['eventType']} ({payload['triggerReason']})"
    if line.action == "StatusNotification":
        return f"StatusNotification {payload.get('status') or payload.get('connectorStatus')}"
    if line.action == "StopTransaction":
        return f"StopTransaction {payload.get('reason', '')}"
    return line.action


def _bar(share: float, width: int) -> Text:
    eighths = int(max(0.0, min(share, 1.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return Text("█" * full + (_BAR[rest - 1] if rest else ""), "cyan")
