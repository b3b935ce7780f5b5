"""Revisions written as plain SQL."""

from __future__ import annotations

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only


def run_sql_file(revision_file: str, suffix: str = ".sql") -> None:
    """Executes the SQL file beside a revision, all statements in the migration's transaction.

    Args:
        revision_file: the revision's `__file__`.
        suffix: takes the place of `.py`.
    """
    run_sql(Path(revision_file).with_suffix(suffix).read_text(encoding="utf-8"))


def run_sql(text: str) -> None:
    """Executes SQL text of several statements (which SQLAlchemy's prepared statements cannot take)."""
    bind = op.get_bind()
    bind.exec_driver_sql("SELECT 1")  # SQLAlchemy's adapter opens the transaction with its first statement
    connection = bind.connection.driver_connection
    assert connection is not None
    await_only(connection.execute(text))
