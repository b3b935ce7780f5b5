"""Foundation."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the foundation's tables."""
    run_sql_file(__file__)
