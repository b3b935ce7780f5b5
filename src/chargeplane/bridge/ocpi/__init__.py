"""OCPI documents from one version to another.

The canonical version is the superset; each other version has a module with two planners, to and from it. A new version is
one more module and a row in the tables here (docs/extending.md).
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from chargeplane.bridge.ocpi import v2_1_1, v2_2_1
from chargeplane.bridge.ocpi.context import NO_CONTEXT, Context, Party
from chargeplane.bridge.ocpi.losses import Filled, Loss, UnconvertibleError, Why
from chargeplane.bridge.ocpi.plan import GONE, Planner, Run
from chargeplane.ocpi.documents import Document, read
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.models import knows, model_of
from chargeplane.ocpi.versions import CANONICAL, Version

__all__ = [
    "NO_CONTEXT",
    "Context",
    "Converted",
    "Filled",
    "Loss",
    "Party",
    "UnconvertibleError",
    "Why",
    "convert",
    "to_canonical",
]

_DOWN: Final[dict[Version, Planner]] = {Version.V2_1_1: v2_1_1.DOWN, Version.V2_2_1: v2_2_1.DOWN}
_UP: Final[dict[Version, Planner]] = {Version.V2_1_1: v2_1_1.UP, Version.V2_2_1: v2_2_1.UP}
_ALIKE: Final = frozenset({Kind.VERSION})
"""Kinds that are before any version is agreed on: the list of versions names those that the reader does not know."""


class Converted(Struct, frozen=True):
    """A document in another version.

    Args:
        tree: it; shares parts with the source, so treat both as frozen.
        losses: what it could not say, or not as it was.
        filled: what it says and the source did not.
    """

    tree: Any
    losses: tuple[Loss, ...] = ()
    filled: tuple[Filled, ...] = ()


def convert(
    kind: Kind, tree: Any, source: Version, target: Version, context: Context = NO_CONTEXT, *, partial: bool = False
) -> Converted:
    """A document of one version in another.

    Args:
        tree: as `ocpi.documents` decoded it, or made it.
        context: what the document does not say; 2.1.1 needs it.
        partial: the body of a PATCH.
    Raises:
        UnconvertibleError: the target has no such object, or cannot say something without which it would be none.
    """
    if source is target or kind in _ALIKE:
        return Converted(tree)
    run = Run(context, partial)
    try:
        if source is not CANONICAL:
            tree = _stepped(kind, tree, source, CANONICAL, _UP[source], run)
        if target is not CANONICAL:
            tree = _stepped(kind, tree, CANONICAL, target, _DOWN[target], run)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        # Documents that were read are never so; one that somebody else made may be.
        raise UnconvertibleError(kind, target, f"it is not the object it should be ({error!r}).") from error
    return Converted(tree, tuple(run.losses), tuple(run.filled))


def to_canonical(document: Document, context: Context = NO_CONTEXT) -> tuple[Document, Converted]:
    """A document that was received, in the canonical version, read again so that its value is the canonical struct.

    Raises:
        UnconvertibleError: it lacks something that the canonical version cannot be without.
        DocumentError: what came of it is no such object.
    """
    if document.version is CANONICAL:
        return document, Converted(document.tree)
    made = convert(document.kind, document.tree, document.version, CANONICAL, context, partial=document.partial)
    canonical = read(document.kind, CANONICAL, made.tree, partial=document.partial)
    return canonical, made


def _stepped(kind: Kind, tree: Any, source: Version, target: Version, planner: Planner, run: Run) -> Any:
    if not knows(target, kind) or not knows(source, kind):
        raise UnconvertibleError(kind, target, "the version does not have it.")
    ours, theirs = model_of(kind, source), model_of(kind, target)
    if not issubclass(ours, Struct) or not issubclass(theirs, Struct):
        return tree
    made = planner.plan(ours, theirs)(run, tree, None)
    if made is GONE:
        lacking = ", ".join(run.lacking) or "what is left of it"
        raise UnconvertibleError(kind, target, f"it would be without what it requires: {lacking}.")
    return made
