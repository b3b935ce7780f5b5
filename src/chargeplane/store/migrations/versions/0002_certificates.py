"""Certificates."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the tables of the house's certificate authority and of the certificates it signs."""
    run_sql_file(__file__)
