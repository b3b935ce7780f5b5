"""Messages of a hub."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
