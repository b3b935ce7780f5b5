"""What a person should look at."""

from __future__ import annotations

import enum


class Severity(enum.StrEnum):
    """How soon: at night, in the morning, some time."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
