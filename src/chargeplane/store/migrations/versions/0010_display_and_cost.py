"""Display messages, tariffs and costs at stations."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
