"""How id tokens are found."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Puts the token first in the index that finds it."""
    run_sql_file(__file__)
