"""Configuration templates: which stations they are for, and how a station stands to what they want. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from chargeplane.domain.variables import (
    HIDDEN,
    Place,
    VariableName,
    VariableSetting,
    canonical,
    folded,
    is_secret,
    same_value,
)

_Text = Annotated[str, Meta(min_length=1, max_length=255)]
_Texts = Annotated[tuple[_Text, ...], Meta(max_length=100)]


class Selector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which stations a template is for: those that fit every field that is given. Texts are compared without case.

    Args:
        every: all stations of the tenant that fit the rest; must be said where nothing else is.
        firmware: versions; one that ends in `*` stands for all that begin so.
        ocpp_version: that the station spoke last.
        tag: members of the list `tags` in the station's metadata.
        station_id: the stations themselves; in addition to nothing else, or narrowing the rest.
    """

    every: bool = False
    vendor: _Texts = ()
    model: _Texts = ()
    firmware: _Texts = ()
    ocpp_version: _Texts = ()
    location_id: _Texts = ()
    tag: _Texts = ()
    station_id: Annotated[tuple[_Text, ...], Meta(max_length=10_000)] = ()

    @property
    def chooses(self) -> bool:
        """Whether it says anything."""
        return self.every or any(getattr(self, name) for name in self.__struct_fields__)


class ApplyPolicy(enum.StrEnum):
    """Whether a template is applied by itself, or when somebody asks."""

    AUTO = "auto"
    MANUAL = "manual"


class ResetPolicy(enum.StrEnum):
    """What follows where a changed value needs a restart."""

    NONE = "none"
    ON_IDLE = "on_idle"
    IMMEDIATE = "immediate"


class StandingState(enum.StrEnum):
    """How a variable stands to what is wanted; a station stands as the worst of its variables.

    unknown: the station has not told the value. rejected: the station refuses it. overridden: another template of higher priority wants
    something else.
    """

    IN_SYNC = "in_sync"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    OVERRIDDEN = "overridden"


class Standing(VariableName, frozen=True, kw_only=True, omit_defaults=True):
    """One variable of a template at a station.

    Args:
        want: hidden for what is never shown.
        has: as the station last told.
        status: the station's word to the last attempt, or ours (Unconfirmed, Unreachable).
        tried: `version/firmware` of the last attempt.
    """

    want: str
    has: str | None = None
    state: StandingState
    status: str | None = None
    reason: str | None = None
    tried: str | None = None


class ItemState(enum.StrEnum):
    """How far one change is.

    applied: read back and right. accepted: the station took it; it cannot be read back. reboot_required: it takes effect after a
    restart. mismatch: the station took it and tells another value.
    """

    PENDING = "pending"
    SETTING = "setting"
    APPLIED = "applied"
    ACCEPTED = "accepted"
    REBOOT_REQUIRED = "reboot_required"
    REJECTED = "rejected"
    MISMATCH = "mismatch"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ChangeItem(VariableSetting, frozen=True, kw_only=True, omit_defaults=True):
    """One variable that is being changed.

    Args:
        status: the station's word.
        has: what was read back.
    """

    state: ItemState = ItemState.PENDING
    status: str | None = None
    reason: str | None = None
    has: str | None = None
    at: datetime | None = None


class ChangeState(enum.StrEnum):
    """How far a change of several variables is. partly: some were changed."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTLY = "partly"
    FAILED = "failed"
    CANCELLED = "cancelled"


GOOD = frozenset({ItemState.APPLIED, ItemState.ACCEPTED, ItemState.REBOOT_REQUIRED})
"""What counts as changed."""


def ended(items: Sequence[ChangeItem]) -> ChangeState:
    """How a change ended whose items have."""
    good = sum(item.state in GOOD for item in items)
    if good == len(items):
        return ChangeState.SUCCEEDED
    if good:
        return ChangeState.PARTLY
    return ChangeState.FAILED if any(item.state is not ItemState.CANCELLED for item in items) else ChangeState.CANCELLED


class Told(Struct, frozen=True, kw_only=True):
    """What is known of an attribute at a station."""

    value: str | None
    data_type: str | None = None
    mutability: str | None = None


class Wish(Struct, frozen=True, kw_only=True):
    """What one template wants of a station.

    Args:
        order: a wish with a higher one wins.
    """

    template_id: int
    version: int
    order: tuple[int, int]
    variables: tuple[VariableSetting, ...]


def winners(wishes: Iterable[Wish]) -> dict[Place, int]:
    """The template that has its way, by place."""
    found: dict[Place, tuple[tuple[int, int], int]] = {}
    for wish in wishes:
        for setting in wish.variables:
            place = folded(canonical(setting.name).place)
            if place not in found or wish.order > found[place][0]:
                found[place] = (wish.order, wish.template_id)
    return {place: template for place, (_, template) in found.items()}


def attempt_of(version: int, firmware: str | None) -> str:
    """What an attempt is remembered by: another version of the template, or another firmware, is worth another."""
    return f"{version}/{firmware or ''}"


def stand(
    wish: Wish,
    won: Mapping[Place, int],
    told: Mapping[Place, Told],
    earlier: Mapping[Place, Standing],
    firmware: str | None,
) -> tuple[Standing, ...]:
    """How a station stands to each variable of a template.

    Args:
        won, told, earlier: by folded place.
    """
    attempt = attempt_of(wish.version, firmware)
    return tuple(_stand(one, wish, won, told, earlier, attempt) for one in wish.variables)


_TAKEN = ("Accepted", "RebootRequired")
_AWAY = "Unreachable"


def _stand(
    setting: VariableSetting,
    wish: Wish,
    won: Mapping[Place, int],
    told: Mapping[Place, Told],
    earlier: Mapping[Place, Standing],
    attempt: str,
) -> Standing:
    name = canonical(setting.name)
    place = folded(name.place)
    secret = is_secret(name.component or "", name.variable)
    known = told.get(place)
    before = earlier.get(place)
    tried = before is not None and before.tried == attempt
    refused = tried and before is not None and before.status is not None and before.status not in (*_TAKEN, _AWAY)
    has = None if known is None or secret else known.value
    if won.get(place, wish.template_id) != wish.template_id:
        state = StandingState.OVERRIDDEN
    elif secret or (known is not None and known.mutability == "WriteOnly"):
        # it cannot be read: what the station said to the last attempt is all there is
        done = tried and before is not None and before.status in _TAKEN
        state = StandingState.IN_SYNC if done else StandingState.REJECTED if refused else StandingState.DRIFTED
    elif has is None:
        state = StandingState.REJECTED if refused else StandingState.UNKNOWN
    elif same_value(setting.value, has, known.data_type if known is not None else None):
        state = StandingState.IN_SYNC
    elif (tried and before is not None and before.state is StandingState.REJECTED) or (
        tried and before is not None and before.status not in (None, "Accepted", "RebootRequired", "Unreachable")
    ):
        state = StandingState.REJECTED
    else:
        state = StandingState.DRIFTED
    keeps = before if tried and before is not None and state is not StandingState.OVERRIDDEN else None
    return Standing(
        component=name.component,
        component_instance=name.component_instance,
        evse_id=name.evse_id,
        connector_id=name.connector_id,
        variable=name.variable,
        variable_instance=name.variable_instance,
        attribute=name.attribute,
        want=HIDDEN if secret else setting.value,
        has=has,
        state=state,
        status=None if keeps is None else keeps.status,
        reason=None if keeps is None or state is StandingState.IN_SYNC else keeps.reason,
        tried=None if keeps is None else keeps.tried,
    )


_WORST = (StandingState.REJECTED, StandingState.DRIFTED, StandingState.UNKNOWN)


def overall(standings: Iterable[Standing]) -> StandingState:
    """How a station stands to a template."""
    states = {one.state for one in standings}
    return next((state for state in _WORST if state in states), StandingState.IN_SYNC)


def to_apply(standings: Iterable[Standing], *, asked: bool, again: bool = False) -> tuple[Standing, ...]:
    """The variables that a change would be of use for.

    Args:
        asked: the station was asked for its values; before that an unknown one may be right already.
        again: what was refused too: an operator wants it tried.
    """
    return tuple(
        one
        for one in standings
        # what takes effect after a restart waits for it
        if (one.state is StandingState.DRIFTED and (again or one.status != "RebootRequired"))
        # a station that took the value and never tells it is not made to take it again
        or (one.state is StandingState.UNKNOWN and asked and (again or one.status in (None, _AWAY)))
        or (one.state is StandingState.REJECTED and again)
    )
