"""Which struct a kind of body has in each version."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from chargeplane.ocpi import v2_1_1, v2_2_1, v2_3_0
from chargeplane.ocpi.kinds import Kind
from chargeplane.ocpi.versions import Version

Model = type[Struct] | type[StrEnum]
"""The type of a body: an object, or an enumeration whose value stands alone."""

MODELS: Final[dict[Version, dict[Kind, Model]]] = {
    Version.V2_1_1: v2_1_1.MODELS,
    Version.V2_2_1: v2_2_1.MODELS,
    Version.V2_3_0: v2_3_0.MODELS,
}


def model_of(kind: Kind, version: Version) -> Model:
    """The type of a kind of body in a version.

    Raises:
        KeyError: the version does not have it.
    """
    return MODELS[version][kind]


def knows(version: Version, kind: Kind) -> bool:
    """Whether a version has a kind of body."""
    return kind in MODELS[version]
