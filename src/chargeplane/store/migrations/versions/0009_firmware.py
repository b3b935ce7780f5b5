"""Firmware, campaigns, uploads, monitors, events."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
