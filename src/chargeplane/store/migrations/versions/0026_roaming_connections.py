"""Roaming connections."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
