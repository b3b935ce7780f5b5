"""What signed meter values say of a session, as the keeper asks for it."""

from __future__ import annotations

from typing import Protocol

from chargeplane.app.sessions.pricing import Prepared
from chargeplane.app.sessions.settling import Proof
from chargeplane.store.queries.paging import Db


class Proofs(Protocol):
    """Verifies signed meter values."""

    async def of(self, what: Prepared) -> Proof:
        """What the signed values of a session say."""
        ...

    async def keep(self, db: Db, what: Prepared, proof: Proof) -> None:
        """Writes down what came of it, within the change that settles the session."""
        ...


class NoProofs:
    """Nothing is verified."""

    async def of(self, what: Prepared) -> Proof:
        """Nothing."""
        return Proof()

    async def keep(self, db: Db, what: Prepared, proof: Proof) -> None:
        """Nothing."""
