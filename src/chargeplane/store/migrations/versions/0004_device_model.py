"""The device model and configuration templates."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
