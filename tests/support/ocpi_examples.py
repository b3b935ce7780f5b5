"""The examples of the specification, where somebody has them: a folder a branch, read in place and never copied here."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CHARGEPLANE_OCPI_EXAMPLES"
_PLACE = Path("shared", "data", "ocpi-examples")


def folder() -> Path | None:
    """The folder that the variable names, else the one beside the checkout; None where there is neither."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    for above in Path(__file__).resolve().parents[2:5]:
        if (above.parent / _PLACE).is_dir():
            return above.parent / _PLACE
    return None
