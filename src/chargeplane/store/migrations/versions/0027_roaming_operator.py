"""Roaming as an operator."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
