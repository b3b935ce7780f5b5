"""The database's schema and its history. Alembic's revisions are in versions/; they ship in the wheel.

A revision may be plain SQL: `0001_foundation.py` calls `run_sql_file(__file__)` and `0001_foundation.sql` beside it
holds the statements.
"""

from chargeplane.store.migrations.run import MigrationStatus, migration_status, upgrade_database
from chargeplane.store.migrations.sql import run_sql_file

__all__ = ["MigrationStatus", "migration_status", "run_sql_file", "upgrade_database"]
