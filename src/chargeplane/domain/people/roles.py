"""What users may do: roles, and the scopes they stand for, in the words that API keys have."""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    """A user's role in a tenant."""

    OWNER = "owner"
    """Everything, users and keys too."""
    OPERATOR = "operator"
    """Stations, drivers, prices and agreements; no users, keys or tenants."""
    FINANCE = "finance"
    """Money: tariffs, agreements, payments and what comes of them; reads the rest."""
    SUPPORT = "support"
    """Helps drivers: starts, stops, unlocks, blocks; changes no prices."""
    INSTALLER = "installer"
    """Puts stations up: registers, configures, updates them; sees no drivers."""
    READ_ONLY = "read_only"
    """Sees everything but users and keys."""


_SUPPORT_WRITES = frozenset(
    {
        "commands",
        "id-tokens:write",
        "drivers:write",
        "vehicles:write",
        "alerts:write",
        "bookings:write",
        "work-list:write",
        "customer-information",
    }
)
_INSTALLER = frozenset(
    {
        "stations:read",
        "stations:write",
        "calls",
        "commands",
        "messages:read",
        "transactions:read",
        "alerts:read",
        "alerts:write",
        "firmware:read",
        "firmware:write",
        "diagnostics:read",
        "diagnostics:write",
        "certificates:read",
        "certificates:write",
        "quarantine:read",
        "security:read",
        "events:read",
        "locations:read",
        "locations:write",
    }
)
_FINANCE_WRITES = frozenset(
    {
        "tariffs:write",
        "agreements:write",
        "payments:write",
        "sessions:write",
        "cdrs:write",
        "invoices:write",
        "ledger:write",
        "drivers:write",
    }
)
_OWNERS_ALONE = frozenset({"admin", "users:read", "users:write"})


def scopes_of(role: Role, known: frozenset[str]) -> frozenset[str]:
    """The scopes of a role.

    Args:
        known: all scopes there are; a scope that comes later is in the roles that its name says.
    """
    if role is Role.OWNER:
        return frozenset({"admin"})
    if role is Role.INSTALLER:
        return _INSTALLER & known
    if role is Role.OPERATOR:
        return known - _OWNERS_ALONE
    reading = frozenset(scope for scope in known if scope.endswith(":read")) - _OWNERS_ALONE
    if role is Role.FINANCE:
        return reading | (_FINANCE_WRITES & known)
    if role is Role.SUPPORT:
        return (reading - {"audit-log:read"}) | (_SUPPORT_WRITES & known)
    return reading
