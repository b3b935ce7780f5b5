"""Payments."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
