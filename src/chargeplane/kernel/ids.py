"""Identifier types. NewTypes cost nothing at run time and keep a key from standing where another belongs."""

from __future__ import annotations

from typing import NewType

TenantId = NewType("TenantId", int)
"""Our key of a tenant."""

StationKey = NewType("StationKey", int)
"""Our key of a charging station, unique over all tenants."""

StationId = NewType("StationId", str)
"""The identity a charging station connects with (OCPP-J 1.6, 3.1.1), unique within its tenant."""

TransactionId = NewType("TransactionId", int)
"""Our key of a transaction, unique over all tenants, rising with the time it was opened."""

NodeId = NewType("NodeId", int)
"""One running server process that may own stations."""

CommandId = NewType("CommandId", int)
"""Our key of a command or raw call to a station."""
