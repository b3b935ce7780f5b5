"""What can go wrong with partners."""

from __future__ import annotations

from chargeplane.app.roaming.ports import Outcome
from chargeplane.kernel.errors import PeerError


class PulledError(PeerError):
    """A partner's list could not be read to the end.

    Args:
        outcome: of the request that failed.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.sentence or "The partner's list cannot be read.")
        self.outcome = outcome
