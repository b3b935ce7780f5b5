"""Charging profiles at stations."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
