"""Alembic's script folder needs this file; migrations run from code alone (see run.py)."""

from __future__ import annotations

raise RuntimeError("Use `chargeplane db upgrade`: migrations run under a lock, never by the alembic command.")
