"""What we publish to roaming partners as operator, and what they ask of our stations."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
