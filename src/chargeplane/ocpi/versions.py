"""The versions of OCPI that are spoken."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Version(StrEnum):
    """A version, by its number on the wire (OCPI 2.3.0 version_information_endpoint, VersionNumber)."""

    V2_1_1 = "2.1.1"
    V2_2_1 = "2.2.1"
    V2_3_0 = "2.3.0"

    @property
    def rank(self) -> int:
        """Its place in time, from 0: numbers of versions are not compared as text."""
        return _RANKS[self]


_RANKS: Final = {version: rank for rank, version in enumerate(Version)}

CANONICAL: Final = Version.V2_3_0
"""The version that documents have within the house: the superset of those spoken (docs/decisions/0026-canonical-documents.md)."""
