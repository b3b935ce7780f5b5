"""Roaming, continued."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
