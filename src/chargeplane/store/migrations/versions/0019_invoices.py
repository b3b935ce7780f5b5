"""Invoices and the ledger."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
