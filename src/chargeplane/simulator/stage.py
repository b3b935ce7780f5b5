"""Plays a scenario: each of its stations does its steps one after the other, and what was expected and did not happen is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from chargeplane.kernel.errors import ChargeplaneError
from chargeplane.simulator import scenario as steps
from chargeplane.simulator.car import CAR_MODELS, Car
from chargeplane.simulator.counters import Counters
from chargeplane.simulator.evse import Session
from chargeplane.simulator.fleet import StationPlan
from chargeplane.simulator.meter import EVSE_MODELS
from chargeplane.simulator.noise import Noise
from chargeplane.simulator.options import Options
from chargeplane.simulator.scenario import Group, Scenario, Step
from chargeplane.simulator.station import VirtualStation
from chargeplane.simulator.timers import Timers

_KEPT: Final = 1000
"""Failures that are kept with their sentence; all are counted."""
_LOOK_S: Final = 0.05
_VAN: Final = max(CAR_MODELS, key=lambda model: model.battery_wh)


class Failure(Struct, frozen=True, kw_only=True):
    """A step that did not go as described.

    Args:
        step: its number in the group, from 1.
    """

    station_id: str
    group: str
    step: int
    does: str
    reason: str


class Tally:
    """What became of a group."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.counters = Counters()
        self.done = 0
        self.stations_done = 0
        self.expected = 0
        self.failed = 0
        self.energy_wh = 0
        self.sessions = 0
        self.total = group.stations * group.repeat * len(group.step)


class ExpectedError(Exception):
    """What was expected did not happen; the sentence says what did."""


class Stage:
    """Plays a scenario.

    Args:
        url: of the CSMS, without station ids.
        plans: its stations in the order of `plans_of`, with their passwords.
        seed: equal seeds behave equally.
    """

    def __init__(
        self,
        url: str,
        scenario: Scenario,
        plans: Sequence[StationPlan],
        *,
        options: Options | None = None,
        seed: int = 1,
    ) -> None:
        self.tallies = {group.name: Tally(group) for group in scenario.group}
        self.failures: list[Failure] = []
        self.stations: list[VirtualStation] = []
        self._timers = Timers(asyncio.get_running_loop())
        noise = Noise(seed)
        base = options if options is not None else Options(speed=scenario.speed)
        self._plays: list[_Play] = []
        given = iter(plans)
        for group in scenario.group:
            for number in range(1, group.stations + 1):
                plan = next(given)
                station = VirtualStation(
                    url,
                    plan.station_id,
                    plan.version,
                    password=plan.password,
                    seed=noise.bits(),
                    evses=[EVSE_MODELS[model] for model in group.evses],
                    options=_with(base, group),
                    timers=self._timers,
                    counters=self.tallies[group.name].counters,
                )
                self.stations.append(station)
                self._plays.append(_Play(self, self.tallies[group.name], station, number))

    @property
    def failed(self) -> int:
        """Steps that did not go as described."""
        return sum(tally.failed for tally in self.tallies.values())

    async def play(self) -> None:
        """Plays everything to its end."""
        await asyncio.gather(*(play.run() for play in self._plays))

    async def close(self) -> None:
        """Ends all stations where they stand."""
        for start in range(0, len(self.stations), 200):
            await asyncio.gather(*(station.close() for station in self.stations[start : start + 200]))
        self._timers.close()


def _with(options: Options, group: Group) -> Options:
    return replace(options, faults=options.faults | frozenset(group.faults), record_calls=True)


def plans_of(scenario: Scenario, prefix: str, password: str | None) -> list[StationPlan]:
    """The stations of a scenario, `PREFIX-GROUP-00001` and on."""
    return [
        StationPlan(
            station_id=f"{prefix}-{group.name}-{number + 1:05d}",
            version=group.versions[number % len(group.versions)],
            password=password,
            evses=tuple(EVSE_MODELS[model] for model in group.evses),
        )
        for group in scenario.group
        for number in range(group.stations)
    ]


def tokens_of(scenario: Scenario, prefix: str) -> list[str]:
    """The tokens that are presented and are to be known to the CSMS: not those of which something else than Accepted is expected."""
    strange = {
        step.token
        for group in scenario.group
        for step in group.step
        if isinstance(step, steps.ExpectToken) and step.status != "Accepted"
    }
    found: dict[str, None] = {}
    for group in scenario.group:
        for step in group.step:
            token = getattr(step, "token", None)
            if token is not None and token not in strange:
                for number in range(1, group.stations + 1) if "{" in token else (1,):
                    found[_filled(token, f"{prefix}-{group.name}-{number:05d}", number)] = None
    return list(found)


def _filled(text: str, station_id: str, number: int) -> str:
    return text.replace("{station}", station_id).replace("{n}", str(number))


class _Play:
    """One station's part."""

    def __init__(self, stage: Stage, tally: Tally, station: VirtualStation, number: int) -> None:
        self.stage = stage
        self.tally = tally
        self.station = station
        self.number = number
        self.seen_calls = 0
        self.sessions: list[Session] = []
        self.running: dict[int, Session] = {}
        station.on_session = self.ended

    def ended(self, session: Session) -> None:
        self.sessions.append(session)
        self.tally.sessions += 1
        self.tally.energy_wh += int(session.energy_wh)

    async def run(self) -> None:
        group = self.tally.group
        await asyncio.sleep(group.after_s + group.stagger_s * (self.number - 1))
        for _ in range(group.repeat):
            for place, step in enumerate(group.step, 1):
                self.tally.expected += str(step.__struct_config__.tag).startswith("expect_")
                try:
                    await _DOES[type(step)](self, step)
                    await self.settle()
                except (ChargeplaneError, ExpectedError, TimeoutError) as error:
                    self.fail(place, step, str(error) or "it did not end in time")
                self.tally.done += 1
        self.tally.stations_done += 1

    async def settle(self) -> None:
        """Ends transactions that were asked to end, by a driver, the CSMS or a power cut, while no step let energy flow."""
        for evse_id, session in list(self.running.items()):
            if session.stop_request is not None and not session.over:
                await self.station.stop_transaction(session, session.stop_request)
            if session.over:
                del self.running[evse_id]

    def fail(self, place: int, step: Step, reason: str) -> None:
        self.tally.failed += 1
        if len(self.stage.failures) < _KEPT:
            self.stage.failures.append(
                Failure(
                    station_id=self.station.station_id,
                    group=self.tally.group.name,
                    step=place,
                    does=str(step.__struct_config__.tag),
                    reason=reason,
                )
            )

    def filled(self, text: str) -> str:
        return _filled(text, self.station.station_id, self.number)

    async def connect(self, step: steps.Connect) -> None:
        await self.station.connect()

    async def boot(self, step: steps.Boot) -> None:
        await self.station.boot(step.within_s)

    async def wait(self, step: steps.WaitFor) -> None:
        await asyncio.sleep(step.seconds)

    async def plug(self, step: steps.PlugIn) -> None:
        self.station.plug_in(step.evse, Car(_VAN, soc_percent=step.soc))

    async def unplug(self, step: steps.Unplug) -> None:
        self.station.unplug(step.evse)

    async def present(self, step: steps.Present) -> None:
        token = self.filled(step.token)
        session = self.running.get(step.evse)
        if session is not None and not session.over:
            if not await self.station.present_token(token, step.evse):
                raise ExpectedError(f"'{token}' may not stop the transaction")
            return
        session = await self.station.start_transaction(token, step.evse)
        if session.accepted is False:
            raise ExpectedError(f"'{token}' was not accepted: {session.status}")
        self.running[step.evse] = session

    async def deliver(self, step: steps.Deliver) -> None:
        session = self.running.get(step.evse)
        if session is None or session.over:
            raise ExpectedError(f"no transaction goes on at EVSE {step.evse}")
        await self.station.deliver(session, step.wh, duration_s=step.seconds, meter_interval_s=step.meter_interval_s)

    async def charge(self, step: steps.Charge) -> None:
        token = self.filled(step.token)
        session = await self.station.charge(
            id_token=token, energy_wh=step.wh, meter_interval_s=step.meter_interval_s, evse_id=step.evse
        )
        if session.accepted is False:
            raise ExpectedError(f"'{token}' was not accepted: {session.status}")

    async def offline(self, step: steps.Offline) -> None:
        self.station.go_offline()
        await self.later(step.seconds, self.station.go_online, wait=step.wait)

    async def drop(self, step: steps.Drop) -> None:
        self.station.drop()

    async def silent(self, step: steps.Silent) -> None:
        self.station.go_silent()
        await self.later(step.seconds, self.station.speak_again, wait=True)

    async def power_cut(self, step: steps.PowerCut) -> None:
        self.station.power_loss(resumes=step.resumes, meter_restarts=step.meter_restarts)
        await self.later(step.seconds, self.station.power_up, wait=step.wait)

    async def later(self, seconds: float, does: Callable[[], None], *, wait: bool) -> None:
        if wait:
            await asyncio.sleep(seconds)
            does()
        else:
            asyncio.get_running_loop().call_later(seconds, does)

    async def reboot(self, step: steps.Reboot) -> None:
        self.station.reboot("LocalReset")

    async def breaks(self, step: steps.Break) -> None:
        self.station.fault(step.evse)

    async def mends(self, step: steps.Mend) -> None:
        self.station.fault(step.evse, faulted=False)

    async def behave(self, step: steps.Behave) -> None:
        self.station.give_faults(*step.faults)

    async def clock(self, step: steps.Clock) -> None:
        self.station.set_clock_wrong(timedelta(seconds=step.off_by_s))

    async def raw(self, step: steps.Raw) -> None:
        self.station.send_raw(self.filled(step.frame))

    async def meter(self, step: steps.Meter) -> None:
        await self.station.meter_values(step.evse)

    async def drain(self, step: steps.Drain) -> None:
        await self.station.drain(step.within_s)

    async def expect_token(self, step: steps.ExpectToken) -> None:
        told = await self.station.authorize(self.filled(step.token))
        if told != step.status:
            raise ExpectedError(f"'{self.filled(step.token)}' is {told}, not {step.status}")

    async def expect_call(self, step: steps.ExpectCall) -> None:
        def came() -> bool:
            for place in range(self.seen_calls, len(self.station.calls)):
                action, payload = self.station.calls[place]
                if action == step.action and all(payload.get(name) == value for name, value in step.has.items()):
                    self.seen_calls = place + 1
                    return True
            return False

        if not await _until(came, step.within_s):
            others = [action for action, _ in self.station.calls[self.seen_calls :]]
            raise ExpectedError(
                f"no {step.action} came in {step.within_s:g} s; there came {', '.join(others) or 'nothing'}"
            )

    async def expect_energy(self, step: steps.ExpectEnergy) -> None:
        def energy() -> int:
            return sum(int(session.energy_wh) for session in self.sessions)

        def told() -> bool:
            return energy() == step.wh and all(session.acknowledged for session in self.sessions)

        if not await _until(told, step.within_s):
            open_ends = sum(not session.acknowledged for session in self.sessions)
            raise ExpectedError(
                f"{len(self.sessions)} sessions delivered {energy()} Wh, not {step.wh}; {open_ends} of them are not acknowledged"
            )


async def _until(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether something comes to hold in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while not holds():
        if loop.time() >= until:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


_DOES: Final[dict[type, Callable[[_Play, Any], Awaitable[None]]]] = {
    steps.Connect: _Play.connect,
    steps.Boot: _Play.boot,
    steps.WaitFor: _Play.wait,
    steps.PlugIn: _Play.plug,
    steps.Unplug: _Play.unplug,
    steps.Present: _Play.present,
    steps.Deliver: _Play.deliver,
    steps.Charge: _Play.charge,
    steps.Offline: _Play.offline,
    steps.Drop: _Play.drop,
    steps.Silent: _Play.silent,
    steps.PowerCut: _Play.power_cut,
    steps.Reboot: _Play.reboot,
    steps.Break: _Play.breaks,
    steps.Mend: _Play.mends,
    steps.Behave: _Play.behave,
    steps.Clock: _Play.clock,
    steps.Raw: _Play.raw,
    steps.Meter: _Play.meter,
    steps.Drain: _Play.drain,
    steps.ExpectToken: _Play.expect_token,
    steps.ExpectCall: _Play.expect_call,
    steps.ExpectEnergy: _Play.expect_energy,
}
