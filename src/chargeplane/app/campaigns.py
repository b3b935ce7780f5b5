"""Firmware campaigns at work: one node claims a campaign under a lease and moves its stations on, a look a second.

Everything that matters is in the database: which stations were asked and under which number, what they said. A process that dies loses
nothing: another node, or the next start, takes the campaign when the lease is over, asks those again whose answer nobody has heard, and
goes on with what the stations tell. Two nodes do not double: the claim is one row, a station is taken by one update of its row.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Final

import structlog
from msgspec import Meta, Struct

from chargeplane.app.addresses import Transfer
from chargeplane.app.api_keys import Caller
from chargeplane.app.commands import Commands
from chargeplane.app.events import EventFeed
from chargeplane.app.firmware import KIND, Firmware, FirmwareOrder
from chargeplane.app.reports import Place
from chargeplane.app.station_requests import StationRequests
from chargeplane.domain import campaigns as rules
from chargeplane.domain.campaigns import CampaignState, Judged, Plan, StationState
from chargeplane.domain.commands import CommandOutcome, CommandState
from chargeplane.domain.firmware import FIRMWARE_FAILED
from chargeplane.kernel.errors import ConflictError, InvalidInputError, NotFoundError, RuleError
from chargeplane.kernel.ids import StationKey
from chargeplane.store.database import Database, is_unavailable
from chargeplane.store.queries import campaigns as queries
from chargeplane.store.queries.audit import audit
from chargeplane.store.queries.campaigns import CampaignStationView, CampaignView, Candidate, Member, Working
from chargeplane.store.queries.firmware import FirmwareView
from chargeplane.store.queries.paging import Position

MAX_STATIONS: Final = 100_000
"""Of one campaign."""

_LEASE: Final = timedelta(seconds=30)
_AT_ONCE: Final = 200
_ANSWER_S: Final = 60.0
_REACH_S: Final = 30.0

_log = structlog.get_logger(__name__)

Word = Annotated[str, Meta(min_length=1, max_length=255)]


class StationChoice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stations: a list, or all that fit what is given.

    Args:
        firmware_version: of the last boot.
    """

    station_ids: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=MAX_STATIONS)] | None = None
    vendor: Word | None = None
    model: Word | None = None
    firmware_version: Word | None = None
    location_id: Word | None = None


class NewCampaign(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign to be made.

    Args:
        stations: null: all of the firmware's vendor and model.
        transfer: how the file travels; null: as suits each station.
        paused: made, and not begun.
    """

    name: Word
    firmware_id: str
    stations: StationChoice | None = None
    plan: Plan = Plan()
    transfer: Transfer | None = None
    paused: bool = False


class Campaigns:
    """Use cases about campaigns, and their worker.

    Args:
        tick_s: between two looks.
    """

    def __init__(
        self,
        database: Database,
        firmware: Firmware,
        commands: Commands,
        requests: StationRequests,
        events: EventFeed,
        *,
        tick_s: float = 1.0,
    ) -> None:
        self._database = database
        self._firmware = firmware
        self._commands = commands
        self._requests = requests
        self._events = events
        self._tick_s = tick_s
        self._name = os.urandom(8).hex()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._asking: dict[tuple[int, StationKey], asyncio.Task[None]] = {}
        self._shown: dict[int, tuple[object, ...]] = {}

    async def start(self) -> None:
        """Begins to work on campaigns, those of earlier processes among them."""
        self._worker = asyncio.create_task(self._work_for_ever(), name="campaigns")

    async def stop(self) -> None:
        """Lets go: another node may go on at once."""
        tasks = [task for task in (self._worker, *self._asking.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with self._database.change() as db:
                await queries.release(db, self._name)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def create(self, caller: Caller, wanted: NewCampaign) -> CampaignView:
        """A new campaign; it begins at once unless it is to be paused.

        Raises:
            InvalidInputError: no such firmware or stations, or a plan that makes no sense.
        """
        rules.check(wanted.plan, datetime.now(UTC))
        try:
            firmware = await self._firmware.one(caller, int(wanted.firmware_id))
        except (NotFoundError, ValueError) as error:
            sentence = f"There is no firmware '{wanted.firmware_id[:60]}'"
            raise InvalidInputError(f"{sentence}.", (("/firmware_id", sentence),)) from error
        chosen = await self._choose(caller, wanted.stations, firmware)
        plan = wanted.plan
        members = [(one, *_begin(one, firmware, plan)) for one in chosen]
        waiting = [one for one, state, _ in members if state is StationState.WAITING]
        waves = dict(zip((one.key for one in waiting), rules.waves_of(plan, len(waiting)), strict=True))
        state = CampaignState.PAUSED if wanted.paused else CampaignState.RUNNING
        async with self._database.change() as db:
            ident = await queries.insert(
                db,
                caller.tenant_id,
                name=wanted.name,
                firmware_id=int(firmware.id),
                plan=plan,
                state=state,
                created_by=caller.actor,
                transfer=None if wanted.transfer is None else wanted.transfer.value,
                stations=[(one.key, waves.get(one.key, 1), how, one.version, why) for one, how, why in members],
            )
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action="create",
                kind="firmware-campaign",
                ident=str(ident),
                after={"name": wanted.name, "firmware_id": firmware.id, "stations": len(members)},
            )
        self._wake.set()
        return await self.one(caller, ident)

    async def _choose(self, caller: Caller, choice: StationChoice | None, firmware: FirmwareView) -> list[Candidate]:
        if choice is None:
            choice = StationChoice(vendor=firmware.vendor, model=firmware.model)
        if choice == StationChoice():
            sentence = "Name stations, or what they have in common; the firmware names neither vendor nor model"
            raise InvalidInputError(f"{sentence}.", (("/stations", sentence),))
        async with self._database.read() as db:
            found = await queries.candidates(
                db,
                caller.tenant_id,
                station_ids=choice.station_ids,
                vendor=choice.vendor,
                model=choice.model,
                firmware_version=choice.firmware_version,
                location_id=choice.location_id,
                most=MAX_STATIONS + 1,
            )
        known = {one.station_id.lower() for one in found}
        alone = choice == StationChoice(station_ids=choice.station_ids)
        missing = [one for one in choice.station_ids or () if one.lower() not in known] if alone else []
        if missing:
            sentence = f"There is no accepted charging station '{missing[0]}'"
            if len(missing) > 1:
                sentence += f", and {len(missing) - 1} more are missing"
            raise InvalidInputError(f"{sentence}.", (("/stations/station_ids", sentence),))
        if not found:
            raise InvalidInputError("No charging station fits.", (("/stations", "No charging station fits"),))
        if len(found) > MAX_STATIONS:
            raise InvalidInputError(
                f"More than {MAX_STATIONS} stations fit.", (("/stations", f"at most {MAX_STATIONS} stations"),)
            )
        if choice.station_ids is not None:
            order = {one.lower(): number for number, one in enumerate(choice.station_ids)}
            found.sort(key=lambda one: order[one.station_id.lower()])
        return found

    async def page(
        self, caller: Caller, state: CampaignState | None, limit: int, after: Position | None
    ) -> list[CampaignView]:
        """Campaigns, newest first; at most `limit`."""
        async with self._database.read() as db:
            return await queries.page(db, caller.tenant_id, state and state.value, limit, after)

    async def one(self, caller: Caller, ident: int) -> CampaignView:
        """A campaign by our id.

        Raises:
            NotFoundError: the tenant has no such campaign.
        """
        async with self._database.read() as db:
            found = await queries.one(db, caller.tenant_id, ident)
        if found is None:
            raise NotFoundError("firmware campaign", str(ident))
        return found

    async def stations(
        self, caller: Caller, ident: int, state: StationState | None, limit: int, after: Position | None
    ) -> list[CampaignStationView]:
        """Stations of a campaign, by wave; at most `limit`.

        Raises:
            NotFoundError: the tenant has no such campaign.
        """
        await self.one(caller, ident)
        async with self._database.read() as db:
            return await queries.stations(db, caller.tenant_id, ident, state and state.value, limit, after)

    async def pause(self, caller: Caller, ident: int) -> CampaignView:
        """Asks no more stations; those that are at it finish.

        Raises:
            NotFoundError, ConflictError: there is none, or it does not run.
        """
        return await self._change(caller, ident, "pause", {CampaignState.RUNNING})

    async def resume(self, caller: Caller, ident: int, *, retry_failed: bool = False) -> CampaignView:
        """Goes on with a campaign that is paused or has stopped; what failed before stops it no more.

        Args:
            retry_failed: tries those again, too.
        Raises:
            NotFoundError, ConflictError: there is none, or it neither is paused nor has stopped.
        """
        states = {CampaignState.PAUSED, CampaignState.STOPPED}
        return await self._change(caller, ident, "resume", states, retry_failed=retry_failed)

    async def cancel(self, caller: Caller, ident: int) -> CampaignView:
        """Ends a campaign; stations that are at it finish.

        Raises:
            NotFoundError, ConflictError: there is none, or it is over.
        """
        states = {CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.STOPPED}
        return await self._change(caller, ident, "cancel", states)

    async def _change(
        self,
        caller: Caller,
        ident: int,
        action: str,
        states: set[CampaignState],
        *,
        retry_failed: bool = False,
    ) -> CampaignView:
        async with self._database.change() as db:
            state = await queries.lock(db, caller.tenant_id, ident)
            if state is None:
                raise NotFoundError("firmware campaign", str(ident))
            if state not in states:
                raise ConflictError(f"The campaign is {state.value}: it cannot be asked to {action}.")
            if action == "resume":
                await queries.resume(db, ident, retry_failed=retry_failed)
            else:
                new = CampaignState.PAUSED if action == "pause" else CampaignState.CANCELED
                await queries.set_state(db, ident, new, f"by {caller.actor}")
                if new is CampaignState.CANCELED:
                    await queries.drop_waiting(db, ident, StationState.CANCELED, "The campaign was canceled.")
            await audit(
                db,
                caller.tenant_id,
                actor=caller.actor,
                action=action,
                kind="firmware-campaign",
                ident=str(ident),
                before={"state": state.value},
                after={"state": {"pause": "paused", "resume": "running"}.get(action, "canceled")},
            )
        self._wake.set()
        view = await self.one(caller, ident)
        self._events.publish("firmware_campaign.updated", caller.tenant_id, None, view)
        return view

    # -- what stations tell ----------------------------------------------------------------------------------------------

    async def heard(self, place: Place, request_id: int | None, word: str) -> None:
        """A station told something of an update; it may be one of a campaign."""
        async with self._database.change() as db:
            found = await queries.concerned(db, place.key, request_id)
            if found is None:
                if request_id is not None:  # its boot was faster than its word
                    await queries.note_late(db, place.key, request_id, word)
                return
            if word in FIRMWARE_FAILED and not found.newest:
                return  # of an attempt that was given up for a newer one (L01.FR.24)
            await queries.note_status(db, found.campaign, place.key, word)
            judged = rules.after_status(found.plan, found.state, word, found.attempts, datetime.now(UTC))
            if judged is not None:
                await queries.judge(db, found.campaign, place.key, judged, among=[found.state])
        self._wake.set()

    # -- the work --------------------------------------------------------------------------------------------------------

    async def _work_for_ever(self) -> None:
        while True:
            busy = False
            try:
                busy = await self.work()
            except Exception as error:
                if is_unavailable(error):
                    _log.warning("campaigns_wait_for_the_database", error=str(error))
                else:
                    _log.exception("campaigns_failed")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick_s if busy else self._tick_s * 5):
                    await self._wake.wait()
            if busy:
                await asyncio.sleep(self._tick_s / 10)  # many statuses wake it once

    async def work(self) -> bool:
        """One look at every campaign that is ours or free; whether there is any."""
        async with self._database.change() as db:
            working = await queries.claim(db, self._name, _LEASE, _AT_ONCE)
        for campaign in working:
            try:
                await self._work_on(campaign)
                await self._show(campaign)
            except Exception as error:
                if is_unavailable(error):
                    raise
                _log.exception("campaign_failed", campaign=campaign.id)
        return bool(working)

    async def _work_on(self, campaign: Working) -> None:
        now = datetime.now(UTC)
        async with self._database.read() as db:
            going = await queries.going(db, campaign.id)
        for member in going:
            await self._look_at(campaign, member, now)
        deadline = campaign.plan.deadline
        async with self._database.change() as db:
            state = await queries.lock(db, campaign.tenant_id, campaign.id)
            if state is not campaign.state:
                return  # somebody changed it meanwhile: the next look knows
            if deadline is not None and now >= deadline:
                await queries.drop_waiting(
                    db, campaign.id, StationState.SKIPPED, "It was not updated before the deadline of the campaign."
                )
            if state is CampaignState.CANCELED:
                await queries.drop_waiting(db, campaign.id, StationState.CANCELED, "The campaign was canceled.")
            counts = await queries.counts(db, campaign.id)
            if state is not CampaignState.RUNNING:
                left = sum(one.states.get(each, 0) for one in counts for each in rules.GOING)
                if state is CampaignState.CANCELED and not left:
                    await queries.end(db, campaign.id)
                return
            step = rules.next_step(
                campaign.plan,
                campaign.wave,
                counts,
                now,
                forgiven_failed=campaign.forgiven_failed,
                forgiven_ended=campaign.forgiven_ended,
            )
            if step.stop is not None:
                await queries.set_state(db, campaign.id, CampaignState.STOPPED, step.stop)
                return
            if step.finished:
                await queries.end(db, campaign.id)
                return
            if step.wave != campaign.wave:
                await queries.set_wave(db, campaign.id, step.wave)
            taken = await queries.take(db, campaign.id, step.wave, step.room, self._name) if step.room else []
        for key in taken:
            self._asking[campaign.id, key] = task = asyncio.create_task(
                self._ask(campaign, key), name=f"campaign {campaign.id} station {key}"
            )
            task.add_done_callback(partial(self._asked, campaign.id, key))

    def _asked(self, ident: int, key: StationKey, _task: asyncio.Task[None]) -> None:
        self._asking.pop((ident, key), None)

    async def _look_at(self, campaign: Working, member: Member, now: datetime) -> None:
        if member.state is StationState.ASKING:
            if (campaign.id, member.key) in self._asking:
                return
            # Asked by a process that is gone: nobody heard the answer. What the station tells meanwhile moves it on.
            judged: Judged | None = Judged(state=StationState.WAITING)
            uncounted = True
        else:
            uncounted = False
            judged = rules.after_look(
                campaign.plan,
                member.state,
                wanted=campaign.version,
                version=member.version,
                booted_at=member.booted_at,
                asked_at=member.asked_at or now,
                changed_at=member.changed_at,
                attempts=member.attempts,
                now=now,
            )
        if judged is None:
            return
        async with self._database.change() as db:
            await queries.judge(
                db,
                campaign.id,
                member.key,
                judged,
                among=[member.state],
                version=member.version if judged.state in rules.OVER else None,
                uncounted=uncounted,
            )

    async def _ask(self, campaign: Working, key: StationKey) -> None:
        plan = campaign.plan
        by = f"firmware campaign {campaign.id}"
        try:
            number = await self._requests.open(
                campaign.tenant_id, key, KIND, by=f"policy: {by}", detail={"campaign_id": str(campaign.id)}
            )
            async with self._database.change() as db:
                await queries.number(db, campaign.id, key, number)
            order = FirmwareOrder(
                firmware_id=str(campaign.firmware_id),
                install_at=plan.install_at,
                retries=plan.download_retries,
                retry_interval_s=plan.download_retry_interval_s,
                transfer=None if campaign.transfer is None else Transfer(campaign.transfer),
            )
            try:
                command = await self._firmware.order(campaign.tenant_id, key, order, number)
                outcome = await self._commands.ask(
                    campaign.tenant_id, key, command, by=by, timeout_s=_ANSWER_S, valid_s=_REACH_S
                )
            except RuleError as error:
                outcome = CommandOutcome(state=CommandState.REJECTED, reason=str(error))
            await self._answered(campaign, key, outcome)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.warning("campaign_station_failed", campaign=campaign.id, error=repr(error))
            with contextlib.suppress(Exception):
                await self._failed(campaign, key, f"The server failed: {error}")
        self._wake.set()

    async def _answered(self, campaign: Working, key: StationKey, outcome: CommandOutcome) -> None:
        asking = [StationState.ASKING]
        async with self._database.change() as db:
            if outcome.state is CommandState.ACCEPTED:
                await queries.judge(db, campaign.id, key, Judged(state=StationState.UPDATING), among=asking)
                return
            if outcome.state is CommandState.EXPIRED:  # it went away before it was asked
                await queries.judge(
                    db, campaign.id, key, Judged(state=StationState.WAITING), among=asking, uncounted=True
                )
                return
        await self._failed(campaign, key, outcome.reason or f"The command ended as {outcome.state.value}.")

    async def _failed(self, campaign: Working, key: StationKey, reason: str) -> None:
        async with self._database.change() as db:
            attempts = await queries.attempts(db, campaign.id, key)
            judged = rules.after_failure(campaign.plan, attempts, reason[:500], datetime.now(UTC))
            await queries.judge(db, campaign.id, key, judged, among=[StationState.ASKING])

    async def _show(self, campaign: Working) -> None:
        if not self._events.active:
            self._shown.clear()
            return
        async with self._database.read() as db:
            view = await queries.one(db, campaign.tenant_id, campaign.id)
        if view is None:
            return
        shown = (view.state, view.wave, tuple(sorted(view.progress.items())))
        if self._shown.get(campaign.id) != shown:
            self._shown[campaign.id] = shown
            self._events.publish("firmware_campaign.updated", campaign.tenant_id, None, view)


def _begin(one: Candidate, firmware: FirmwareView, plan: Plan) -> tuple[StationState, str | None]:
    """The state in which a station begins, and why it is left out."""
    if not plan.same_version and rules.same_version(one.version, firmware.version):
        return StationState.SKIPPED, f"It runs version {firmware.version} already."
    for what, told, wanted in (("vendor", one.vendor, firmware.vendor), ("model", one.model, firmware.model)):
        if wanted is not None and told is not None and told.casefold() != wanted.casefold():
            return StationState.SKIPPED, f"The firmware is for the {what} {wanted}; the station's is {told}."
    return StationState.WAITING, None
