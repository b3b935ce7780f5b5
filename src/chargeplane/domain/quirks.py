"""What particular stations are known for, as data: vendor, model, firmware -> repairs and limits.

Repairs that any station may need are the bridge's. A quirk is for what no schema can see, or what must not be forgiven to everybody:
a register in kWh that is labelled Wh, local time that says it is UTC, a request that makes a firmware restart. The rules that come
with the package are in `known_quirks.toml`; an operator's own stand in a file of the same form, a tenant's are set by REST. A rule
replaces the one of the same name before it. They are matched when a station boots, and when it connects with what it said at its last
boot; a station without one pays nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fnmatch import translate
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from chargeplane.domain.charging_dialects import Trait
from chargeplane.kernel import toml_lines
from chargeplane.kernel.errors import InvalidInputError

MEASURED: Final = "measured"
"""A station's time zone that shows in how far its clock is ahead of ours."""

_CACHED: Final = 4096

Pattern = Annotated[str, Meta(min_length=1, max_length=255)]
Patterns = Pattern | Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=50)]
ActionName = Annotated[str, Meta(min_length=1, max_length=64)]
FieldName = Annotated[str, Meta(min_length=1, max_length=64)]


class Limit(enum.StrEnum):
    """What must not be asked of a station, or what it does not give."""

    CONFIGURATION_NOT_READ = "configuration_not_read"
    NO_POWER_SAMPLES = "no_power_samples"
    BOOT_NOT_TRIGGERED = "boot_not_triggered"
    """It is not asked for a BootNotification that it did not send."""
    RESTARTS_ON_CHANGE = "restarts_on_change"
    """It restarts after each change of its configuration: what follows waits until it is back."""
    LOOSE_UPGRADE = "loose_upgrade"
    """Its handshake lacks `Connection: Upgrade`."""


class Scale(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A measurand whose numbers are off by a constant factor.

    Args:
        measurand: OCPP word.
        unit: base unit the sample has when it is wrong.
        factor: what the number must be multiplied by.
        registers: the same fault is in 1.6 meterStart and meterStop (Wh).
    """

    measurand: FieldName
    unit: FieldName
    factor: Decimal
    registers: bool = False


class WireRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is wrong with the text of a message, tried only where the message does not decode, and on answers to our calls.

    Args:
        action: of the message, or of the call that it answers.
        rename: fields by the name the station writes.
        absent: values of fields that the station leaves out.
        words: by field, words that the station writes and what it means by them.
    """

    action: ActionName
    rename: Annotated[dict[FieldName, FieldName], Meta(max_length=20)] = {}
    absent: Annotated[dict[FieldName, str | int | bool], Meta(max_length=20)] = {}
    words: Annotated[dict[FieldName, dict[str, str]], Meta(max_length=20)] = {}


class Quirk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One known behaviour.

    Args:
        name: counted under it; never renamed.
        does: one sentence for the operator.
        source: where it was seen.
        vendor, model, firmware, station: patterns with `*`, `?` and `[0-9]`, one of which must match the whole text of the boot (or the
            station's id), without case; absent ones match anything.
        off: the rule of this name that came before does not apply.
        limits: what is not asked of it.
        scales: measurands that are off by a factor.
        time_zone: its timestamps are local time of this zone, without a zone or as if they were UTC; `measured` takes the zone from how
            far its clock is ahead of ours.
        wire: what is wrong with the text of its messages.
        assumed_version: OCPP version of a station that offers no subprotocol.
        answer_within_s: how long it may take to answer, by action; `*` stands for every action.
        empty_means_accepted: actions whose answer comes without a status and means Accepted.
        close_means_accepted: actions that it carries out and answers by closing the connection.
        max_message_bytes: a longer call is not sent.
        max_items: how many items a list in a call may have, by action.
        charging: what it refuses of charging profiles, beside what is learned of its model.
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{2,63}$")]
    does: Annotated[str, Meta(max_length=500)] = ""
    source: Annotated[str, Meta(max_length=500)] = ""
    vendor: Patterns | None = None
    model: Patterns | None = None
    firmware: Patterns | None = None
    station: Patterns | None = None
    off: bool = False
    limits: frozenset[Limit] = frozenset()
    scales: Annotated[tuple[Scale, ...], Meta(max_length=20)] = ()
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    wire: Annotated[tuple[WireRule, ...], Meta(max_length=20)] = ()
    assumed_version: Literal["1.6", "2.0.1", "2.1"] | None = None
    answer_within_s: Annotated[dict[ActionName, Annotated[float, Meta(gt=0, le=3600)]], Meta(max_length=100)] = {}
    empty_means_accepted: frozenset[ActionName] = frozenset()
    close_means_accepted: frozenset[ActionName] = frozenset()
    max_message_bytes: Annotated[int, Meta(ge=16)] | None = None
    max_items: Annotated[dict[ActionName, Annotated[int, Meta(ge=1)]], Meta(max_length=100)] = {}
    charging: frozenset[Trait] = frozenset()

    def wrong(self) -> str | None:
        """What is wrong with the rule beyond its shape, as field and sentence in one; None where nothing is."""
        if self.off:
            return None
        if not self.does:
            return "does: a rule says in one sentence what it does"
        if self.vendor is self.model is self.firmware is self.station is None:
            return "vendor: a rule names a vendor, model, firmware or station"
        if self.time_zone is not None and self.time_zone != MEASURED:
            try:
                ZoneInfo(self.time_zone)
            except (KeyError, ValueError, OSError):
                return f"time_zone: there is no time zone '{self.time_zone}'"
        if any(not 0 < one.factor <= 1_000_000 for one in self.scales):  # also of NaN
            return "scales: a factor is more than 0 and at most 1,000,000"
        if not any(getattr(self, name) for name in _EFFECTS):
            return "name: a rule has a repair or a limit"
        return None


_EFFECTS: Final = tuple(
    name
    for name in Quirk.__struct_fields__
    if name not in ("name", "does", "source", "vendor", "model", "firmware", "station", "off")
)


class Origin(enum.StrEnum):
    """Where a rule comes from."""

    BUILT_IN = "built_in"
    FILE = "file"
    TENANT = "tenant"


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    quirk: Annotated[tuple[Quirk, ...], Meta(max_length=2000)] = ()


def parse(text: str, name: str) -> tuple[Quirk, ...]:
    """The rules of a file.

    Raises:
        InvalidInputError: the sentence names the file and the line.
    """
    rules = toml_lines.decode(text, _File, name).quirk
    seen: dict[str, int] = {}
    for number, rule in enumerate(rules):
        line = toml_lines.line_of(text, ("quirk", number, "name"))
        if rule.name in seen:
            raise toml_lines.complaint(name, line, f"'{rule.name}' stands in line {seen[rule.name]} already")
        seen[rule.name] = line
        wrong = rule.wrong()
        if wrong is not None:
            field, _, sentence = wrong.partition(": ")
            raise toml_lines.complaint(name, toml_lines.line_of(text, ("quirk", number, field)), sentence)
    return rules


def checked(rules: Sequence[Quirk]) -> tuple[Quirk, ...]:
    """Rules that came as structs.

    Raises:
        InvalidInputError: names the field.
    """
    names: set[str] = set()
    for number, rule in enumerate(rules):
        wrong = "name: another rule has this name" if rule.name in names else rule.wrong()
        names.add(rule.name)
        if wrong is not None:
            field, _, sentence = wrong.partition(": ")
            raise InvalidInputError(f"Quirk '{rule.name}': {sentence}.", ((f"/quirks/{number}/{field}", sentence),))
    return tuple(rules)


@lru_cache(maxsize=1)
def built_in() -> tuple[Quirk, ...]:
    """The rules that come with the package."""
    name = "known_quirks.toml"
    return parse((files("chargeplane.domain") / name).read_text(encoding="utf-8"), name)


class Known:
    """What is known of one station, ready for use."""

    __slots__ = (
        "answer_within_s",
        "assumed_version",
        "charging",
        "close_means_accepted",
        "empty_means_accepted",
        "limits",
        "max_items",
        "max_message_bytes",
        "quirks",
        "wire",
    )

    def __init__(self, quirks: tuple[Quirk, ...]) -> None:
        self.quirks = quirks
        self.limits: Mapping[Limit, str] = {limit: quirk.name for quirk in quirks for limit in quirk.limits}
        """With the rule that says so."""
        self.charging: frozenset[Trait] = frozenset[Trait]().union(*(quirk.charging for quirk in quirks))
        self.wire: tuple[tuple[str, WireRule], ...] = tuple(
            (quirk.name, rule) for quirk in quirks for rule in quirk.wire
        )
        self.assumed_version: tuple[str, str] | None = next(
            ((quirk.assumed_version, quirk.name) for quirk in quirks if quirk.assumed_version is not None), None
        )
        """Version, rule."""
        self.answer_within_s: Mapping[str, tuple[float, str]] = {
            action: (seconds, quirk.name) for quirk in quirks for action, seconds in quirk.answer_within_s.items()
        }
        self.empty_means_accepted: Mapping[str, str] = {
            action: quirk.name for quirk in quirks for action in quirk.empty_means_accepted
        }
        self.close_means_accepted: Mapping[str, str] = {
            action: quirk.name for quirk in quirks for action in quirk.close_means_accepted
        }
        self.max_message_bytes: tuple[int, str] | None = min(
            ((quirk.max_message_bytes, quirk.name) for quirk in quirks if quirk.max_message_bytes is not None),
            default=None,
        )
        self.max_items: Mapping[str, tuple[int, str]] = {
            action: (most, quirk.name) for quirk in quirks for action, most in quirk.max_items.items()
        }

    def __bool__(self) -> bool:
        return bool(self.quirks)

    def answers_within(self, action: str) -> tuple[float, str] | None:
        """Seconds that a station takes to answer at most, and the rule that says so."""
        return self.answer_within_s.get(action) or self.answer_within_s.get("*")

    def wire_of(self, action: str) -> tuple[tuple[str, WireRule], ...]:
        """The rules about the text of one action's messages."""
        return tuple(one for one in self.wire if one[1].action == action) if self.wire else ()


NOTHING: Final = Known(())
"""Of nearly all stations."""


class QuirkTable:
    """Rules in order; a later one replaces an earlier one of the same name."""

    def __init__(self, *parts: tuple[Origin, Sequence[Quirk]]) -> None:
        rules: dict[str, tuple[Quirk, Origin]] = {}
        for origin, quirks in parts:
            for quirk in quirks:
                rules[quirk.name] = (quirk, origin)
        self.rules: tuple[tuple[Quirk, Origin], ...] = tuple(rules.values())
        self._compiled = [
            (quirk, tuple(map(_compiled, (quirk.vendor, quirk.model, quirk.firmware, quirk.station))))
            for quirk, _ in self.rules
            if not quirk.off
        ]
        self._by_station = any(quirk.station is not None for quirk, _ in self._compiled)
        self._found: dict[tuple[str | None, ...], Known] = {}

    def of(self, vendor: str | None, model: str | None, firmware: str | None, station_id: str | None = None) -> Known:
        """What is known of a station, from what it said at boot."""
        key = (vendor, model, firmware, station_id if self._by_station else None)
        known = self._found.get(key)
        if known is None:
            told = [(text or "").lower() for text in key]
            quirks = tuple(
                quirk
                for quirk, patterns in self._compiled
                if all(one is None or one.fullmatch(text) for one, text in zip(patterns, told, strict=True))
            )
            known = Known(quirks) if quirks else NOTHING
            if len(self._found) >= _CACHED:
                self._found.clear()
            self._found[key] = known
        return known

    def rule(self, name: str) -> tuple[Quirk, Origin] | None:
        """A rule by its name."""
        return next((found for found in self.rules if found[0].name == name), None)


def _compiled(patterns: Any) -> re.Pattern[str] | None:
    """Patterns of a shell as one that does not backtrack over several stars."""
    if patterns is None:
        return None
    if isinstance(patterns, str):
        patterns = (patterns,)
    return re.compile("|".join(translate(one.lower()) for one in patterns))
