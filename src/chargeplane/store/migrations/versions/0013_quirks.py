"""Tenants' own rules about stations."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Adds the column."""
    run_sql_file(__file__)
