"""What a conversion between versions could not keep, and what it had to make up."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct

from chargeplane.kernel.errors import RuleError
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version


class Why(Enum):
    """The reason of a loss, or of a value that was made up."""

    NO_FIELD = "the version has no such field"
    NO_VALUE = "the version has no such value"
    NEAREST = "the version has no such value; the nearest was taken"
    CUT = "the text is longer than the version allows; it was cut"
    ONE_ONLY = "the version has room for one"
    NO_RESTRICTION = "the version cannot say when this applies; left out, since it would apply always"
    TAXES = "the version has prices without taxes only, and how much of this one is tax is not known"
    ROUNDED = "the amount without taxes has no end; it was rounded"
    EMPTIED = "nothing that the version can say was left of it"
    SHOWN_TO_ALL = "the version shows every location to everybody"
    UNKNOWN_HERE = "the version asks for it and it is not known"
    IMPLIED = "the version does not say it, and means it"


class Loss(Struct, frozen=True):
    """One thing that is not in the converted document, or not as it was.

    Args:
        pointer: JSON pointer in the document that was converted.
        value: what stood there.
        why: the reason.
    """

    pointer: str
    value: Any
    why: Why


class Filled(Struct, frozen=True):
    """One thing that the converted document has and the source had not.

    Args:
        pointer: JSON pointer in the converted document.
        value: what was taken.
        why: the reason.
    """

    pointer: str
    value: Any
    why: Why


class UnconvertibleError(RuleError):
    """The document cannot be said in the version at all.

    Args:
        kind: what it is.
        target: the version.
        reason: a sentence without the kind and the version.
    """

    def __init__(self, kind: Kind, target: Version, reason: str) -> None:
        super().__init__(f"This {kind} cannot be sent in OCPI {target}: {reason}")
        self.kind = kind
        self.target = target
