"""Drivers, users, their logins."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
