"""Charging sessions, CDRs, signed meter values."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
