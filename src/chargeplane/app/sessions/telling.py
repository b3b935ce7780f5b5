"""Facts about sessions, in the outbox with the change they tell of: for webhooks, and whoever has to hear of every one."""

from __future__ import annotations

from typing import Final

from chargeplane.app.sessions.views import session_view
from chargeplane.store.queries import facts
from chargeplane.store.queries.paging import Db
from chargeplane.store.queries.sessions import Session

CREATED: Final = "session.created"
UPDATED: Final = "session.updated"
SETTLED: Final = "session.settled"
TOPICS: Final = (CREATED, UPDATED, SETTLED)
"""Key `session:<id>`, payload as the API shows sessions."""


async def tell(db: Db, topic: str, session: Session) -> None:
    """Writes a fact within the caller's change."""
    await facts.tell(db, session.tenant_id, topic, f"session:{session.id}", session_view(session))
