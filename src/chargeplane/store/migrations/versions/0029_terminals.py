"""Payment terminals of partners."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
