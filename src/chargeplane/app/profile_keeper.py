"""Brings charging profiles to their stations and sees to it that they stay there.

One loop of a node looks for reachable stations with something to settle: profiles to send or to clear, or a boot since the profiles were
last known to be there. A claim in the database keeps nodes out of each other's way. What a station refuses is tried in the dialects
that would explain it; the one it takes is remembered for its model.

After a boot stations of 2.x are asked what they still have, and get what they lost; stations of 1.6 cannot tell and get everything again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Container, Iterable
from functools import partial
from itertools import islice

import msgspec
import structlog

from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.reach import StationReach
from chargeplane.app.reports import Place, Reports
from chargeplane.app.static_caps import held_down
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain.charging_abilities import electrics_of
from chargeplane.domain.charging_dialects import SENTENCES, Adapted, Trait, adapted, fallbacks
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.commands.smart_charging import ClearChargingProfile, GetChargingProfiles, SetChargingProfile
from chargeplane.domain.quirks import NOTHING, Known
from chargeplane.domain.smart_charging import ChargingProfilesReported
from chargeplane.domain.static_caps import LOWERED
from chargeplane.kernel.ids import StationKey, TenantId
from chargeplane.store.database import Database
from chargeplane.store.queries import charging_profiles as queries
from chargeplane.store.queries import smart_charging as smart
from chargeplane.store.queries import station_requests
from chargeplane.store.queries.charging_profiles import ChargingProfileView, DueStation

KIND = "charging_profiles"
"""How reports are named among a station's requests."""

_AT_ONCE = 16
_LOOK_EVERY_S = 2.0
_SELDOM = 50
_LONGEST_REST_S = 15.0
_TRIES = 4
_MOST_BOOTED = 10_000
_ROUNDS = 5
_log = structlog.get_logger(__name__)


def rest_after(took_s: float) -> float:
    """How long a look at everything that took so long is not made again, in seconds.

    It takes a fiftieth of the time at most, but where a busy machine made one look long, the next is not put off for minutes.
    """
    return min(_SELDOM * took_s, _LONGEST_REST_S)


class ProfileKeeper:
    """The loop, and what reports say.

    Args:
        ends_profiles: whether this node looks for profiles whose transactions are over; one does it for all.
    """

    def __init__(
        self,
        database: Database,
        commands: Commands,
        requests: StationRequests,
        reach: StationReach,
        events: EventFeed,
        *,
        look_every_s: float = _LOOK_EVERY_S,
        ends_profiles: bool = True,
    ) -> None:
        self._database = database
        self._commands = commands
        self._requests = requests
        self._reach = reach
        self._events = events
        self._look_every_s = look_every_s
        self._ends_profiles = ends_profiles
        self._booted: dict[StationKey, int] = {}
        self.known_of: Callable[[StationKey], Known] = lambda key: NOTHING
        """What models are known for before they were asked."""
        self._wake = asyncio.Event()
        self._running: dict[StationKey, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._boots_at = self._ends_at = 0.0

    def register(self, reports: Reports) -> None:
        """Takes reports of installed profiles from now on."""
        reports.take(ChargingProfilesReported, self._reported)

    async def start(self) -> None:
        """Begins to look after stations."""
        self._loop = asyncio.create_task(self._look(), name="charging profiles")

    async def stop(self) -> None:
        """Ends; what was under way is taken up by whoever comes next."""
        tasks = [task for task in (self._loop, *self._running.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def booted(self, key: StationKey) -> None:
        """A station of this node booted: it is looked at in the next round, however seldom all are."""
        if len(self._booted) < _MOST_BOOTED:
            self._booted[key] = _ROUNDS

    def kick(self) -> None:
        """Something was set: look at once."""
        self._wake.set()

    async def _look(self) -> None:
        while True:
            try:
                await self._look_once()
            except Exception as error:
                _log.warning("charging_profiles_not_looked_at", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _look_once(self) -> None:
        begun = time.monotonic()
        if self._ends_profiles and begun >= self._ends_at:
            async with self._database.change() as db:
                begun = time.monotonic()  # what waited for a connection was no work
                await queries.end_with_transactions(db)
                took = time.monotonic() - begun
            # It looks at every TxProfile there is: among very many less often.
            self._ends_at = time.monotonic() + rest_after(took)
        async with self._database.read() as db:
            found = await queries.due(db, 200)
            begun = time.monotonic()
            if self._booted:
                some = list(islice(self._booted, 200))
                there = await queries.booted(db, 200, some)
                found += [one for one in there if one not in found]
                self._looked_at(some, {one.key for one in there})
            if begun >= self._boots_at:
                found += [one for one in await queries.booted(db, 200) if one not in found]
                # Among very many stations it is looked for less often.
                self._boots_at = time.monotonic() + rest_after(time.monotonic() - begun)
        for one in found:
            if len(self._running) >= _AT_ONCE:
                break
            if one.key not in self._running and await self._reach.ready(one.key):
                task = asyncio.create_task(self._settle_station(one), name=f"charging profiles of {one.station_id}")
                self._running[one.key] = task
                task.add_done_callback(partial(self._settled, one.key))

    def _looked_at(self, some: Iterable[StationKey], there: Container[StationKey]) -> None:
        """Whose boot or connection is not written down yet is looked at again, some rounds long, behind the others."""
        for key in some:
            left = self._booted.pop(key) - 1
            if left and key not in there:
                self._booted[key] = left

    def _settled(self, key: StationKey, task: asyncio.Task[None]) -> None:
        self._running.pop(key, None)
        self._wake.set()

    async def _settle_station(self, station: DueStation) -> None:
        async with self._database.change() as db:
            if not await queries.claim(db, station.key):
                return
        try:
            if station.booted:
                await self._check_after_boot(station)
            async with self._database.read() as db:
                unsettled = await queries.unsettled(db, station.key)
            for one in unsettled:
                if one.state == "wanted":
                    await self._send(station, one)
                else:
                    await self._clear(station, one)
        except Exception:
            _log.exception("charging_profiles_not_settled", station=station.station_id)
            await asyncio.sleep(self._look_every_s)
        finally:
            async with self._database.change() as db:
                await queries.release(db, station.key)

    async def reachable(self, key: StationKey) -> bool:
        """Whether a station can be asked now."""
        return await self._reach.ready(key)

    # -- after a boot --------------------------------------------------------------------------------------------------

    async def _check_after_boot(self, station: DueStation) -> None:
        version = await self._reach.version(station.key)
        if version == "1.6":
            async with self._database.change() as db:
                await queries.lost(db, station.key, None, "The station restarted and cannot tell what it still has.")
                await queries.checked(db, station.key, None)
            return
        async with self._database.change() as db:
            await queries.checked(db, station.key, None)
        await self.ask_report(station.tenant_id, station.key, by="smart charging", everything=True)

    async def ask_report(
        self,
        tenant_id: TenantId,
        key: StationKey,
        *,
        by: str,
        wanted: GetChargingProfiles | None = None,
        everything: bool = False,
    ) -> tuple[int, CommandOutcome]:
        """Asks a station (2.x) what is installed on it; the report's number and how asking ended.

        Args:
            everything: what is not in the report is not on the station.
        """
        command = wanted or GetChargingProfiles()
        number = await self._requests.open(tenant_id, key, KIND, by=by, detail=msgspec.to_builtins(command))
        if everything:
            async with self._database.change() as db:
                await queries.open_check(db, tenant_id, key, number)
        outcome = await self._commands.ask(
            tenant_id, key, msgspec.structs.replace(command, request_id=number), by=by, valid_s=30
        )
        if outcome.state is not CommandState.ACCEPTED:
            await self._requests.close(tenant_id, key, KIND, number, outcome.status or outcome.state.value)
            lost = None
            if outcome.status == "NoProfiles":
                lost = "The station reported that it has no profiles."
            elif _cannot(outcome):  # 2.1 B13.FR.31 among others: what it may have lost is sent again
                lost = "The station restarted and cannot tell what it still has."
            if everything and lost is not None:
                async with self._database.change() as db:
                    await queries.lost(db, key, None, lost)
        return number, outcome

    async def _reported(self, place: Place, report: ChargingProfilesReported) -> None:
        async with self._database.read() as db:
            number = await station_requests.parts_before(db, place.key, KIND, report.request_id, place.fact_id)
        await self._requests.part(
            place, KIND, report.request_id, number, report.more, msgspec.to_builtins(report, str_keys=True)
        )
        async with self._database.change() as db:
            for profile in report.profiles:
                if not await queries.confirm(db, place.key, profile.id, report.request_id):
                    await queries.put(
                        db,
                        place.tenant_id,
                        place.key,
                        profile,
                        origin="station",
                        set_by=f"station: {report.source}",
                        state="installed",
                        source=report.source,
                        seen_request=report.request_id,
                    )
            if not report.more and await queries.check_request(db, place.key) == report.request_id:
                gone = await queries.lost(
                    db, place.key, report.request_id, "The station reported its profiles without this one."
                )
                if gone:
                    self._wake.set()

    # -- sending and clearing ------------------------------------------------------------------------------------------

    async def _send(self, station: DueStation, view: ChargingProfileView) -> None:
        async with self._database.read() as db:
            facts = await smart.facts(db, station.key)
            reported = await smart.variables_of(db, station.key)
            known = await smart.traits(db, station.tenant_id, station.vendor, station.model, station.firmware)
            wanted = view.profile
            if view.origin != "static_limit":
                wanted = await held_down(db, station.key, wanted)
        evses = len(facts.evse_ids) if facts is not None else 1
        electrics = electrics_of(reported, view.profile.evse_id, evses)
        traits = frozenset(Trait(name) for name in known if name in Trait.__members__.values())
        traits |= self.known_of(station.key).charging
        attempt = adapted(wanted, traits, electrics)
        outcome = await self._set(station, attempt)
        if outcome.state is CommandState.REJECTED and outcome.status is not None:
            told = outcome.reason or ""
            for trait in islice(fallbacks(attempt.profile, traits, told), _TRIES):
                other = adapted(wanted, traits | {trait}, electrics)
                answer = await self._set(station, other)
                if answer.state is CommandState.ACCEPTED:
                    async with self._database.change() as db:
                        await smart.learn(
                            db,
                            station.tenant_id,
                            station.vendor,
                            station.model,
                            station.firmware,
                            trait.value,
                            station.station_id,
                        )
                    _log.info("charging_dialect_learned", station=station.station_id, trait=trait.value)
                    attempt, outcome = other, answer
                    attempt = msgspec.structs.replace(attempt, changes=(*attempt.changes, SENTENCES[trait]))
                    break
                if answer.state is not CommandState.REJECTED:
                    break
        if wanted is not view.profile:
            attempt = msgspec.structs.replace(attempt, changes=(LOWERED, *attempt.changes))
        await self._note(station, view, attempt, outcome)

    async def _set(self, station: DueStation, attempt: Adapted) -> CommandOutcome:
        return await self._commands.ask(
            station.tenant_id,
            station.key,
            SetChargingProfile(profile=attempt.profile),
            by="smart charging",
            valid_s=20,
        )

    async def _note(
        self, station: DueStation, view: ChargingProfileView, attempt: Adapted, outcome: CommandOutcome
    ) -> None:
        sent = None if attempt.profile == view.profile else attempt.profile
        ident, revision = view.id, view.revision
        async with self._database.change() as db:
            if outcome.state is CommandState.ACCEPTED:
                await queries.settle(
                    db, station.key, ident, revision, "installed", None, sent, attempt.changes if sent else ()
                )
            elif outcome.state is CommandState.REJECTED or _cannot(outcome):
                await queries.settle(db, station.key, ident, revision, "refused", outcome.reason)
            else:
                await queries.put_off(db, station.key, ident, revision, outcome.reason)
        await self._tell(station, ident)

    async def _clear(self, station: DueStation, view: ChargingProfileView) -> None:
        outcome = await self._commands.ask(
            station.tenant_id, station.key, ClearChargingProfile(id=view.id), by="smart charging", valid_s=20
        )
        async with self._database.change() as db:
            if outcome.state is CommandState.ACCEPTED or outcome.status == "Unknown" or _cannot(outcome):
                await queries.settle(db, station.key, view.id, view.revision, "removed", outcome.reason)
            else:
                await queries.put_off(db, station.key, view.id, view.revision, outcome.reason)
        await self._tell(station, view.id)

    async def _tell(self, station: DueStation, ident: int) -> None:
        if self._events.active:
            async with self._database.read() as db:
                view = await queries.one(db, station.key, ident)
            if view is not None:
                self._events.publish("charging_profile.updated", station.tenant_id, station.station_id, view)


def _cannot(outcome: CommandOutcome) -> bool:
    """The station has no such call at all."""
    return outcome.state is CommandState.FAILED and outcome.status in ("NotImplemented", "NotSupported")
