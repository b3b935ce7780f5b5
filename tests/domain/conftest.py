"""Property tests here take as long as the machine needs and fail the same way everywhere."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", settings.get_profile("unhurried"), derandomize=True)
settings.load_profile("steady")
