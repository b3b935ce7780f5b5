"""The ledger: `post` books within the caller's transaction, `Ledger` shows and checks what is booked."""

from chargeplane.app.ledger.ledger import CheckReport, Ledger
from chargeplane.app.ledger.posting import post, take_back

__all__ = ["CheckReport", "Ledger", "post", "take_back"]
