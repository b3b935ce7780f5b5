"""Local lists, reservations, rules of id tokens."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
