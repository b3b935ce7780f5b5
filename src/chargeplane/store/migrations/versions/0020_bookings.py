"""Reservations for an interval."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
