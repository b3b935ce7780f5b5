"""Ids of partners' CDRs."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Has them differ by more than case."""
    run_sql_file(__file__)
