"""Security events, installed certificates, staged changes."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Makes the tables."""
    run_sql_file(__file__)
