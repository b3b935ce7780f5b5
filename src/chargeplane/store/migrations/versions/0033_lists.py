"""Lists of the business."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
