"""What stations report on request, and alerts."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
