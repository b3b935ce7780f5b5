"""Fees, disputes, saved ways of paying, holds of account holders."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Adds the columns and tables."""
    run_sql_file(__file__)
