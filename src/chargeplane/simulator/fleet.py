"""Many virtual stations in one process, with drivers that come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from chargeplane.simulator.counters import Counters
from chargeplane.simulator.evse import ChargingState, Plan, Session, StopReason
from chargeplane.simulator.ledger import Record
from chargeplane.simulator.meter import AC_11, AC_22, DC_150, DC_300, EvseModel
from chargeplane.simulator.noise import Noise
from chargeplane.simulator.options import Options
from chargeplane.simulator.script import Resume, Steps, Wait
from chargeplane.simulator.station import VirtualStation
from chargeplane.simulator.timers import Timers

SITES: tuple[tuple[EvseModel, ...], ...] = ((AC_22, AC_22), (AC_11,), (DC_150, AC_22), (DC_300, DC_300))
"""What stands at the road side: charge points with two sockets, a wall box, a fast charger, a highway hub."""

_BATCH_S = 0.02
_POSTPONED_S = 2.0


class StationPlan(Struct, frozen=True, kw_only=True):
    """One station of a fleet.

    Args:
        evses: None takes one of the usual `SITES`, by the fleet's seed.
    """

    station_id: str
    version: str
    password: str | None = None
    evses: tuple[EvseModel, ...] | None = None


class Traffic(Struct, frozen=True, kw_only=True):
    """How drivers use the fleet; times in seconds of charging time (divided by the speed on the wall).

    Args:
        id_tokens: who comes; each visit takes one.
        idle_s: shortest and longest time an EVSE stands empty.
        first_s: the same before the first visit.
        plan: what drivers want; None varies between 4 and 40 kWh.
        meter_interval_s: between meter values.
    """

    id_tokens: tuple[str, ...]
    idle_s: tuple[float, float] = (120.0, 3_600.0)
    first_s: tuple[float, float] = (0.0, 600.0)
    plan: Plan | None = None
    meter_interval_s: float = 60.0


class FleetState(Struct, frozen=True, kw_only=True):
    """A fleet at one moment.

    Args:
        power_w: flowing now, all EVSEs together.
        energy_wh: delivered since the start.
    """

    stations: int
    connected: int
    accepted: int
    evses: int
    charging: int
    power_w: int
    energy_wh: int


class Fleet:
    """Runs stations.

    Args:
        url: of the CSMS, without station ids.
        plans: the stations.
        options: how they behave.
        rate: connections opened per second.
        seed: equal seeds behave equally; None takes a new one every time.
        record: takes a line for everything sent and acknowledged.
        on_session: called with each session that ended.
    """

    def __init__(
        self,
        url: str,
        plans: Sequence[StationPlan],
        *,
        options: Options | None = None,
        rate: float = 100.0,
        seed: int | None = None,
        record: Record | None = None,
        on_session: Callable[[VirtualStation, Session], None] | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.timers = Timers(self.loop)
        self.noise = Noise(int(datetime.now(UTC).timestamp() * 1e6) if seed is None else seed)
        self.rate = rate
        self.counters: dict[str, Counters] = {}
        self.stations: list[VirtualStation] = []
        self._driving = False
        for plan in plans:
            station = VirtualStation(
                url,
                plan.station_id,
                plan.version,
                password=plan.password,
                seed=self.noise.bits(),
                evses=list(plan.evses if plan.evses is not None else self.noise.choice(SITES)),
                options=options if options is not None else Options(),
                timers=self.timers,
                counters=self.counters.setdefault(plan.version, Counters()),
                record=record,
            )
            if on_session is not None:
                station.on_session = _bound(on_session, station)
            self.stations.append(station)

    def __iter__(self) -> Iterator[VirtualStation]:
        return iter(self.stations)

    def __getitem__(self, station_id: str) -> VirtualStation:
        for station in self.stations:
            if station.station_id == station_id:
                return station
        raise KeyError(station_id)

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Begins to connect every station, `rate` a second; returns when the last attempt was begun.

        Stations that fail go on trying by themselves.
        """
        waiting = deque(self.stations)
        done: asyncio.Future[None] = self.loop.create_future()
        due = 0.0
        before = self.loop.time()

        def some() -> None:
            nonlocal due, before
            now = self.loop.time()
            due = min(due + (now - before) * self.rate, self.rate)
            before = now
            while waiting and due >= 1.0:
                due -= 1.0
                waiting.popleft().start()
            if waiting:
                self.timers.after(_BATCH_S, some)
            elif not done.done():
                done.set_result(None)

        due = 1.0
        some()
        await done

    async def accepted(self, timeout_s: float = 60.0) -> None:
        """Waits until every station is connected and booted.

        Raises:
            TimeoutError: not all of them were in time.
        """
        async with asyncio.timeout(timeout_s):
            for station in self.stations:
                await station.wait_online(timeout_s)

    async def finish(self, timeout_s: float = 10.0) -> None:
        """No more drivers; every transaction ends as a driver would end it, and its last message is answered.

        Stations that are offline, or slower than `timeout_s`, keep what they have to say.
        """
        self._driving = False
        for station in self.stations:
            for evse in station.evses:
                if evse.session is not None and evse.busy:
                    evse.session.request_stop(StopReason.LOCAL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for station in self.stations:
                    if station.online:
                        await station.drain(timeout_s)

    async def stop(self) -> None:
        """Ends everything where it stands."""
        self._driving = False
        for start in range(0, len(self.stations), 200):
            await asyncio.gather(*(station.close() for station in self.stations[start : start + 200]))
        self.timers.close()

    # ------------------------------------------------------------ drivers

    def drive(self, traffic: Traffic) -> None:
        """Sends drivers to every EVSE from now on, until `stop`."""
        self._driving = True
        for station in self.stations:
            for evse in station.evses:
                station.launch(self._drivers(station, evse.id, traffic))

    def _pause(self, station: VirtualStation, seconds: float) -> Wait:
        speed = station.options.speed

        def wait(resume: Resume) -> None:
            self.timers.after(seconds / speed, lambda: resume(None))

        return wait

    def _drivers(self, station: VirtualStation, evse_id: int, traffic: Traffic) -> Steps[None]:
        noise = station.noise
        low, high = traffic.first_s
        evse = station.evse(evse_id)
        while self._driving:
            yield self._pause(station, low + noise.fraction() * (high - low))
            low, high = traffic.idle_s
            if not station.accepted or not evse.free or evse.car is not None:
                yield self._pause(station, _POSTPONED_S * min(station.options.speed, 1e6))
                low, high = 0.0, traffic.idle_s[0]
                continue
            plan = traffic.plan
            if plan is None:
                plan = Plan(energy_wh=noise.between(4_000, 40_000), meter_interval_s=traffic.meter_interval_s)
            yield from station.visit(evse_id, noise.choice(traffic.id_tokens), plan)

    # ------------------------------------------------------------ figures

    def state(self, version: str | None = None) -> FleetState:
        """Figures of this moment, of all stations or of those of one version."""
        connected = accepted = evses = charging = power = energy = total = 0
        for station in self.stations:
            if version is not None and station.version != version:
                continue
            total += 1
            connected += station.online
            accepted += station.online and station.accepted
            for evse in station.evses:
                evses += 1
                session = evse.session
                if session is not None and session.charging_state is ChargingState.CHARGING and evse.busy:
                    charging += 1
                power += evse.meter.power_w
                energy += evse.meter.delivered_wh
        return FleetState(
            stations=total,
            connected=connected,
            accepted=accepted,
            evses=evses,
            charging=charging,
            power_w=power,
            energy_wh=energy,
        )

    def total(self) -> Counters:
        """The counters of all versions together."""
        out = Counters()
        for counters in self.counters.values():
            for name in Counters.__slots__:
                setattr(out, name, getattr(out, name) + getattr(counters, name))
        return out

    def statuses(self) -> Counter[str]:
        """How many EVSEs are in each state."""
        return Counter(evse.status.value for station in self.stations for evse in station.evses)


def _bound(callback: Callable[[VirtualStation, Session], None], station: VirtualStation) -> Callable[[Session], None]:
    return lambda session: callback(station, session)


def plans(
    count: int, versions: Sequence[str], *, prefix: str = "SIM", password: str | None = None, first: int = 1
) -> list[StationPlan]:
    """So many stations, their versions in turn, named `PREFIX-00001` and on."""
    return [
        StationPlan(
            station_id=f"{prefix}-{number:05d}", version=versions[(number - first) % len(versions)], password=password
        )
        for number in range(first, first + count)
    ]
