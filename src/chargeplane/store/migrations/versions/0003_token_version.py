"""The version of id tokens."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
