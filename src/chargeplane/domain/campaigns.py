"""Campaigns: a firmware for many stations, wave by wave, ended by itself where too many fail. Plain rules; `now` is an argument.

A station of a campaign goes `waiting` -> `asking` (the command is on its way) -> `updating` (it has accepted) -> `installed` (it says so;
its next boot has yet to) -> `succeeded`. From each of these it may fail; it is tried again as often as the plan says. Stations that
cannot be reached hold nobody up: they stay `waiting` and are asked when they come, until the campaign's end.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.firmware import FIRMWARE_FAILED, IDLE, INSTALLED
from chargeplane.kernel.errors import InvalidInputError


class CampaignState(enum.StrEnum):
    """running <-> paused; stopped by itself where too many fail (it may be resumed); canceled and finished are the end."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CANCELED = "canceled"
    FINISHED = "finished"


class StationState(enum.StrEnum):
    """Where a station is in its campaign."""

    WAITING = "waiting"
    ASKING = "asking"
    UPDATING = "updating"
    INSTALLED = "installed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"


GOING = frozenset({StationState.ASKING, StationState.UPDATING, StationState.INSTALLED})
"""Something goes on at the station."""

OVER = frozenset({StationState.SUCCEEDED, StationState.FAILED, StationState.SKIPPED, StationState.CANCELED})
"""Nothing more comes."""

Percent = Annotated[int, Meta(ge=1, le=100)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Wave(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many stations a wave has: a number, or a part of all.

    Args:
        pause_s: after its end, before the next one.
    """

    count: Count | None = None
    percent: Percent | None = None
    pause_s: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 0


class Window(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of the day in which stations are asked to update, UTC; it may go over midnight.

    Args:
        begins_at, ends_at: `HH:MM`.
    """

    begins_at: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    ends_at: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a campaign goes.

    Args:
        waves: the first ones; what is left is the last wave. None: all stations at once.
        max_parallel: stations that update at one time.
        stop_at_failed_percent: of those that are over; the campaign stops by itself.
        stop_after: so many are over before the percentage counts.
        retries: further attempts at one station.
        retry_after_s: before a further attempt.
        step_timeout_s: a station that tells nothing for so long is stuck: the attempt has failed.
        verify_timeout_s: after Installed, the boot with the new version has to come within.
        verify_boot: false takes the station's word.
        window: when stations are asked.
        install_at: handed to the stations.
        deadline: stations that were not updated by then are left out.
        download_retries, download_retry_interval_s: handed to the stations.
        same_version: also stations that have the version already.
    """

    waves: Annotated[tuple[Wave, ...], Meta(max_length=50)] = ()
    max_parallel: Annotated[int, Meta(ge=1, le=10_000)] = 20
    stop_at_failed_percent: Percent | None = 20
    stop_after: Count = 5
    retries: Annotated[int, Meta(ge=0, le=20)] = 1
    retry_after_s: Annotated[float, Meta(ge=0, le=7 * 86_400)] = 300.0
    step_timeout_s: Annotated[float, Meta(gt=0, le=7 * 86_400)] = 3600.0
    verify_timeout_s: Annotated[float, Meta(gt=0, le=7 * 86_400)] = 1800.0
    verify_boot: bool = True
    window: Window | None = None
    install_at: datetime | None = None
    deadline: datetime | None = None
    download_retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    download_retry_interval_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    same_version: bool = False


def check(plan: Plan, now: datetime) -> None:
    """Whether a plan makes sense.

    Raises:
        InvalidInputError: it does not; names the field.
    """
    for number, wave in enumerate(plan.waves):
        if (wave.count is None) == (wave.percent is None):
            sentence = "A wave has either a count or a percent"
            raise InvalidInputError(f"{sentence}.", ((f"/plan/waves/{number}", sentence),))
    if plan.deadline is not None and plan.deadline <= now:
        raise InvalidInputError("The deadline has passed.", (("/plan/deadline", "a time to come"),))
    if plan.window is not None and plan.window.begins_at == plan.window.ends_at:
        sentence = "The window ends when it begins"
        raise InvalidInputError(f"{sentence}.", (("/plan/window/ends_at", sentence),))


def waves_of(plan: Plan, count: int) -> list[int]:
    """The wave, from 1, of each of so many stations in their order. A part of all is rounded up, so that a wave is never empty."""
    numbers: list[int] = []
    for number, wave in enumerate(plan.waves, 1):
        size = wave.count if wave.count is not None else -(-count * (wave.percent or 0) // 100)
        numbers += [number] * min(size, count - len(numbers))
    return numbers + [len(plan.waves) + 1] * (count - len(numbers))


def in_window(window: Window | None, now: datetime) -> bool:
    """Whether stations may be asked at this moment."""
    if window is None:
        return True
    minute = now.hour * 60 + now.minute
    begins, ends = _minute(window.begins_at), _minute(window.ends_at)
    return begins <= minute < ends if begins < ends else minute >= begins or minute < ends


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class WaveCounts(Struct, frozen=True, kw_only=True):
    """Stations of one wave.

    Args:
        states: how many in each state.
        reachable: those of the waiting that could be asked: connected, or with an attempt still to come.
        last_change: of a station that is over; None where there is none.
    """

    wave: int
    states: Mapping[StationState, int]
    reachable: int
    last_change: datetime | None = None


class Step(Struct, frozen=True, kw_only=True):
    """What comes next.

    Args:
        wave: the highest wave whose stations may be asked.
        room: how many stations may be asked now.
        stop: the reason why the campaign stops, in a sentence.
        finished: nothing is left to be done.
    """

    wave: int
    room: int
    stop: str | None = None
    finished: bool = False


def next_step(
    plan: Plan,
    wave: int,
    counts: Sequence[WaveCounts],
    now: datetime,
    *,
    forgiven_failed: int = 0,
    forgiven_ended: int = 0,
) -> Step:
    """What a running campaign does next.

    Args:
        wave: the one that has been reached.
        counts: of every wave that has stations.
        forgiven_failed, forgiven_ended: what was over when somebody resumed it after it had stopped; it counts no more.
    """
    total: dict[StationState, int] = {}
    for one in counts:
        for state, number in one.states.items():
            total[state] = total.get(state, 0) + number
    going = sum(total.get(state, 0) for state in GOING)
    all_failed = total.get(StationState.FAILED, 0)
    failed = max(0, all_failed - forgiven_failed)
    ended = max(0, all_failed + total.get(StationState.SUCCEEDED, 0) - forgiven_ended)
    limit = plan.stop_at_failed_percent
    if limit is not None and failed and ended >= plan.stop_after and failed * 100 >= limit * ended:
        stop = f"{failed} of {ended} stations failed, that is {failed * 100 // ended} %; the limit is {limit} %."
        return Step(wave=wave, room=0, stop=stop)
    if not going and not total.get(StationState.WAITING, 0):
        return Step(wave=wave, room=0, finished=True)
    by_wave = {one.wave: one for one in counts}
    last = max(by_wave, default=wave)
    while wave < last and _is_done(plan, wave, by_wave, now):
        wave += 1
    room = max(0, plan.max_parallel - going) if in_window(plan.window, now) else 0
    return Step(wave=wave, room=room)


def _is_done(plan: Plan, wave: int, counts: Mapping[int, WaveCounts], now: datetime) -> bool:
    """Whether a wave holds the next one up no more: none of its stations is at it or could be, and its pause is over. At least one must
    have come to an end; a wave of which nobody can be reached has shown nothing."""
    found = counts.get(wave)
    if found is None:
        return True
    if any(found.states.get(state, 0) for state in GOING) or found.reachable:
        return False
    if not any(found.states.get(state, 0) for state in OVER):
        return False
    pause = plan.waves[wave - 1].pause_s if wave <= len(plan.waves) else 0
    return found.last_change is None or now - found.last_change >= timedelta(seconds=pause)


class Judged(Struct, frozen=True, kw_only=True):
    """What becomes of a station.

    Args:
        state: the new one.
        reason: one sentence where it is not as it should be.
        again_at: the next attempt, with `waiting`.
    """

    state: StationState
    reason: str | None = None
    again_at: datetime | None = None


def after_failure(plan: Plan, attempts: int, reason: str, now: datetime) -> Judged:
    """A failed attempt: waiting for another, or failed for good.

    Args:
        attempts: made so far, this one among them.
    """
    if attempts <= plan.retries:
        return Judged(state=StationState.WAITING, reason=reason, again_at=now + timedelta(seconds=plan.retry_after_s))
    return Judged(state=StationState.FAILED, reason=reason)


def after_status(plan: Plan, state: StationState, word: str, attempts: int, now: datetime) -> Judged | None:
    """What a status of the station changes; None: nothing.

    Args:
        word: OCPP FirmwareStatusEnum word.
    """
    if state not in GOING or word == IDLE:
        return None
    if word in FIRMWARE_FAILED:
        return after_failure(plan, attempts, f"The station says {word}.", now)
    if word == INSTALLED:
        return Judged(state=StationState.INSTALLED if plan.verify_boot else StationState.SUCCEEDED)
    # a step on the way, also where it overtakes the answer to the command
    return Judged(state=StationState.UPDATING) if state is StationState.ASKING else None


def after_look(
    plan: Plan,
    state: StationState,
    *,
    wanted: str,
    version: str | None,
    booted_at: datetime | None,
    asked_at: datetime,
    changed_at: datetime,
    attempts: int,
    now: datetime,
) -> Judged | None:
    """What a look at a station changes that is at it: its version after a boot, or that nothing is heard of it; None: nothing.

    Args:
        wanted: the firmware's version.
        version, booted_at: as its last boot said.
        asked_at: when this attempt began.
        changed_at: when it was last heard of.
    """
    booted = booted_at is not None and booted_at >= asked_at
    if booted and same_version(version, wanted):
        return Judged(state=StationState.SUCCEEDED)
    silent = (now - changed_at).total_seconds()
    if state is StationState.INSTALLED:
        if silent < plan.verify_timeout_s:
            return None
        if booted:
            reason = f"The station says Installed and boots with version {version or 'unknown'}."
        else:
            reason = "The station says Installed; no boot with the new version has come."
        return after_failure(plan, attempts, reason, now)
    if state is StationState.UPDATING and silent >= plan.step_timeout_s:
        return after_failure(plan, attempts, "Nothing has been heard of the update for too long: it is stuck.", now)
    return None


def same_version(told: str | None, wanted: str) -> bool:
    """Whether a boot tells the version that is wanted; blanks and case do not count."""
    return told is not None and told.strip().casefold() == wanted.strip().casefold()
