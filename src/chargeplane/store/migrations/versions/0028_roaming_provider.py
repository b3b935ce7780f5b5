"""Roaming as a provider: replicas of what partners own."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
