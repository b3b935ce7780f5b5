"""Fees of bookings, settlements with partners, checked VAT numbers, sessions that agreements limited."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
