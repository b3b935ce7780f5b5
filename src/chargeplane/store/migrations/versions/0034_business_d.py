"""Business, continued."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
