"""What is forgotten."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Makes the indexes."""
    run_sql_file(__file__)
