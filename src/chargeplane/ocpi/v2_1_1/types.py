"""Types that several modules share (OCPI 2.1.1 types)."""

from __future__ import annotations

from chargeplane.ocpi.v2_3_0.types import DisplayText

__all__ = [
    "DisplayText",
]
