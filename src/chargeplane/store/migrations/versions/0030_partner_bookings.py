"""Bookings by partners."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
