"""Contract certificates."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
