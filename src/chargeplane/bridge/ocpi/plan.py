"""Turns documents of one version into another's by plans that are made from the two schemas.

For each object of the source and its counterpart a plan says per field what becomes of it: copied where both
versions have it and the target takes every value, else checked against the target's values and limits. Rules of a
version name only what the schemas cannot know: other names, other shapes, meanings. So a field that nobody thought of
is copied or reported, never dropped in silence.

A value that the target cannot say makes a loss. Where it was required, the object around it goes too, up to the
document itself: half an object would say something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.ocpi.context import Context
from chargeplane.bridge.ocpi.losses import Filled, Loss, Why
from chargeplane.ocpi.schema import Base, Field, fields_of

Tree = dict[str, Any]
At = tuple[Any, Any] | None
"""Where a value stands: (where the thing around it stands, its name or place). Written out only for a loss."""


class Gone:
    """A value that the target cannot say; its loss is noted."""


GONE: Final = Gone()


class Run:
    """One conversion: what it lost and filled so far."""

    __slots__ = ("context", "filled", "lacking", "losses", "partial")

    def __init__(self, context: Context, partial: bool) -> None:
        self.context = context
        self.partial = partial
        self.losses: list[Loss] = []
        self.filled: list[Filled] = []
        self.lacking: list[str] = []

    def lose(self, at: At, value: Any, why: Why) -> Gone:
        """Notes a loss."""
        self.losses.append(Loss(pointer_of(at), value, why))
        return GONE

    def fill(self, at: At, value: Any, why: Why = Why.UNKNOWN_HERE) -> Any:
        """Notes a value that was made up, and gives it back."""
        self.filled.append(Filled(pointer_of(at), value, why))
        return value


Convert = Callable[[Run, Any, At], Any]
"""A value of the source -> one of the target, or GONE."""

Finish = Callable[[Run, Tree, Tree, At], None]
"""(run, object of the source, object of the target so far, where): what takes more than one field."""


class Rules(Struct, frozen=True, kw_only=True):
    """What the schemas of two versions do not say about one object.

    Args:
        rename: field of the source -> field of the target.
        fields: field of the source -> how its value is converted, before limits.
        told: fields that `finish` reads, or that travel otherwise (in the URL): neither copied nor lost here.
        finish: runs after the fields.
        prepare: makes the object that is converted, in the source's version, from the one that is given.
        closes: restrictions: a field that the target cannot say makes the whole object GONE.
        vital: fields without which the object is GONE, although they are optional.
        nearest: value of an enumeration -> the target's value that comes nearest, by field.
    """

    rename: Mapping[str, str] = {}
    fields: Mapping[str, Convert] = {}
    told: frozenset[str] = frozenset()
    finish: Finish | None = None
    prepare: Callable[[Run, Tree, At], Tree] | None = None
    closes: bool = False
    vital: frozenset[str] = frozenset()
    nearest: Mapping[str, Mapping[str, str]] = {}


class Plan:
    """How one object of the source becomes one of the target."""

    __slots__ = ("_actions", "_closes", "_finish", "_keep", "_prepare", "_required", "_vital")

    def __init__(self, rules: Rules, keep: bool) -> None:
        self._actions: dict[str, tuple[str | None, Convert | None]] = {}
        self._required: tuple[str, ...] = ()
        self._prepare = rules.prepare
        self._finish = rules.finish
        self._closes = rules.closes
        self._vital = rules.vital
        self._keep = keep

    def __call__(self, run: Run, source: Any, at: At) -> Any:
        """The converted object, or GONE where the target cannot say what it requires."""
        if self._prepare is not None:
            source = self._prepare(run, source, at)
        target: Tree = {}
        actions = self._actions
        for name, value in source.items():
            action = actions.get(name)
            if action is None:
                if self._keep:
                    target[name] = value
                elif self._closes:
                    return run.lose((at, name), value, Why.NO_RESTRICTION)
                else:
                    run.lose((at, name), value, Why.NO_FIELD)
                continue
            out, convert = action
            if out is None:
                continue
            if convert is None or value is None:
                target[out] = value
                continue
            made = convert(run, value, (at, name))
            if made is not GONE:
                target[out] = made
            elif self._closes or name in self._vital:
                return run.lose(at, source, Why.NO_RESTRICTION)
        if self._finish is not None:
            self._finish(run, source, target, at)
        if at is not None or not run.partial:
            for name in self._required:
                if name not in target:
                    run.lacking.append(pointer_of((at, name)))
                    return run.lose(at, source, Why.EMPTIED)
        return target

    def compile(self, source: type[Struct], target: type[Struct], rules: Rules, planner: Planner) -> None:
        """Makes the actions. A plan is known to the planner before, so that objects may hold their own kind."""
        theirs = fields_of(target)
        for name, field in fields_of(source).items():
            if name in rules.told:
                self._actions[name] = (None, None)
                continue
            out = rules.rename.get(name, name)
            if name in rules.fields:
                self._actions[name] = (out, rules.fields[name])
            elif out in theirs:
                self._actions[name] = (out, planner.converter(field, theirs[out], rules.nearest.get(name, {})))
        for name in rules.fields.keys() | rules.rename.keys():  # fields that the source's version lacks and carries
            self._actions.setdefault(name, (rules.rename.get(name, name), rules.fields.get(name)))
        for name in rules.told:
            self._actions.setdefault(name, (None, None))
        for name in theirs:
            self._actions.setdefault(name, (name, None))
        self._required = tuple(field.name for field in theirs.values() if field.required)


class Planner:
    """The plans from one version to another."""

    def __init__(self, rules: Mapping[type[Struct] | tuple[type[Struct], type[Struct]], Rules], *, keep: bool) -> None:
        """
        Args:
            rules: by the object of the source, or by it and the target's.
            keep: whether fields that the target does not have are kept (the canonical version takes any).
        """
        self._rules = rules
        self._keep = keep
        self._plans: dict[tuple[type[Struct], type[Struct]], Plan] = {}

    def plan(self, source: type[Struct], target: type[Struct]) -> Plan:
        """The plan of an object and its counterpart."""
        made = self._plans.get((source, target))
        if made is None:
            rules = self._rules.get((source, target)) or self._rules.get(source) or Rules()
            made = self._plans[source, target] = Plan(rules, self._keep)
            made.compile(source, target, rules, self)
        return made

    def converter(self, source: Field, target: Field, nearest: Mapping[str, str]) -> Convert | None:
        """How a field's value is converted; None where every value fits."""
        one = self._single(source, target, nearest)
        if not source.many or one is None:
            return one
        return _each(one, target.required)

    def _single(self, source: Field, target: Field, nearest: Mapping[str, str]) -> Convert | None:
        if source.base is Base.OBJECT:
            assert source.shape is not None
            assert target.shape is not None
            same = source.shape is target.shape and source.shape not in self._rules
            return None if same else self.plan(source.shape, target.shape)
        if source.base is Base.ENUM and target.choices is not None and not target.open:
            assert source.choices is not None
            values = frozenset(target.choices)
            fits = not source.open and values >= frozenset(source.choices)
            return None if fits else _choice(values, nearest)
        if source.base is Base.TEXT and target.max_length is not None and not target.ci and not target.url:
            longer = source.max_length is None or source.max_length > target.max_length
            # What identifies is not cut: it would name something else.
            return _cut(target.max_length) if longer and source.ci == target.ci else None
        return None


def _each(one: Convert, required: bool) -> Convert:
    def convert(run: Run, values: Any, at: At) -> Any:
        made = []
        for place, value in enumerate(values):
            item = one(run, value, (at, place))
            if item is not GONE:
                made.append(item)
        if required and not made and values:
            return GONE
        return made

    return convert


def _choice(values: frozenset[str], nearest: Mapping[str, str]) -> Convert:
    def convert(run: Run, value: Any, at: At) -> Any:
        if value in values:
            return value
        near = nearest.get(value)
        run.lose(at, value, Why.NO_VALUE if near is None else Why.NEAREST)
        return GONE if near is None else near

    return convert


def _cut(limit: int) -> Convert:
    def convert(run: Run, value: Any, at: At) -> Any:
        if len(value) <= limit:
            return value
        run.lose(at, value, Why.CUT)
        return value[:limit]

    return convert


def pointer_of(at: At) -> str:
    """The JSON pointer of a place."""
    parts: list[str] = []
    while at is not None:
        at, name = at
        parts.append(str(name).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in reversed(parts))
