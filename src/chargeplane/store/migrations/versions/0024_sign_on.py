"""Sign-on of users by OpenID Connect."""

from chargeplane.store.migrations.sql import run_sql_file

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Adds what is new."""
    run_sql_file(__file__)
