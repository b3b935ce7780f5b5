"""What keepers have still to do is on /metrics."""

from __future__ import annotations

from chargeplane.app.keeper_levels import KeeperLevels
from chargeplane.edges.metrics.exposition import Exposition
from chargeplane.kernel.measures import Measures
from tests.support.rest import Rest

KEEPERS = {"sessions", "cdrs", "payments", "payment_webhooks", "invoicing", "bookings", "webhooks"}


def page(measures: Measures) -> str:
    return Exposition(measures).page()[0].decode()


async def test_waiting_failing_and_oldest_work_is_counted_by_keeper(rest: Rest) -> None:
    measures = Measures()
    levels = KeeperLevels(rest.database, measures)
    assert "keeper=" not in page(measures)
    await levels.count()
    before = levels.by("failing")
    assert set(before) == KEEPERS
    await rest.execute(
        "INSERT INTO session_work (transaction_id, tenant_id, due_at, attempts, error)"
        " VALUES (9000001, 1, now() + interval '1 day', 3, 'no'), (9000002, 1, now() + interval '1 day', 1, 'no')"
    )
    await rest.execute(
        "INSERT INTO outbox (tenant_id, topic, key, payload, created_at, parked_at)"
        " VALUES (1, 'cdr.created>nobody', 'nobody session:1', '{}', now() - interval '90 s', NULL),"
        " (1, 'cdr.created>nobody', 'nobody session:2', '{}', now(), now())"
    )
    await levels.count()
    assert levels.by("failing")["sessions"] == before["sessions"] + 2
    assert levels.by("waiting")["cdrs"] >= 1
    assert levels.by("failing")["cdrs"] == before["cdrs"] + 1
    assert levels.by("oldest_s")["cdrs"] >= 90
    assert 'chargeplane_keeper_oldest_seconds{keeper="cdrs"}' in page(measures)
    await rest.execute("DELETE FROM session_work WHERE transaction_id IN (9000001, 9000002)")
    await rest.execute("DELETE FROM outbox WHERE topic = 'cdr.created>nobody'")
