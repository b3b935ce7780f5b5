"""Service agreements."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Adds the tables."""
    run_sql_file(__file__)
