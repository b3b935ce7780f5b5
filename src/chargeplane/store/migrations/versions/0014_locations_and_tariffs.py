"""Locations, EVSEs and tariffs."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
