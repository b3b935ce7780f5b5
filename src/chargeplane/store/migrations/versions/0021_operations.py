"""Performance, the work list, webhooks."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
