"""Which side of which module a role has (OCPI 2.3.0 version_information_endpoint, and each module's chapter)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chargeplane.domain.roaming.connection import PartyRole

S: Final = "SENDER"
R: Final = "RECEIVER"

_CPO: Final = (
    ("locations", S),
    ("sessions", S),
    ("cdrs", S),
    ("tariffs", S),
    ("tokens", R),
    ("commands", R),
    ("chargingprofiles", R),
    ("hubclientinfo", R),
    ("invoicereconciliation", S),
    ("invoicereconciliation", R),
    ("payments", R),
    ("bookings", S),
)
_EMSP: Final = (
    ("locations", R),
    ("sessions", R),
    ("cdrs", R),
    ("tariffs", R),
    ("tokens", S),
    ("commands", S),
    ("chargingprofiles", S),
    ("hubclientinfo", R),
    ("invoicereconciliation", S),
    ("invoicereconciliation", R),
    ("bookings", R),
)
_NSP: Final = (("locations", R), ("tariffs", R), ("hubclientinfo", R))
_SCSP: Final = (("sessions", R), ("chargingprofiles", S), ("hubclientinfo", R))
_PTP: Final = (
    ("locations", R),
    ("sessions", R),
    ("cdrs", R),
    ("tariffs", R),
    ("commands", S),
    ("payments", S),
    ("hubclientinfo", R),
)
_HUB: Final = tuple(
    dict.fromkeys([*((module, side) for module, _ in (*_CPO, *_PTP) for side in (S, R)), ("hubclientinfo", S)])
)

MODULES: Final = {
    PartyRole.CPO: _CPO,
    PartyRole.EMSP: _EMSP,
    PartyRole.HUB: _HUB,
    PartyRole.NAP: (("locations", S), ("locations", R), ("tariffs", S), ("tariffs", R), ("hubclientinfo", R)),
    PartyRole.NSP: _NSP,
    PartyRole.OTHER: _EMSP,
    PartyRole.SCSP: _SCSP,
    PartyRole.PTP: _PTP,
}
"""Modules with the interface that a party in this role has; what is used of the partner's is the other one."""


def modules_of(roles: Iterable[PartyRole]) -> list[tuple[str, str]]:
    """Modules and interfaces of a platform whose parties have these roles."""
    return list(dict.fromkeys(one for role in roles for one in MODULES[role]))


def side_of(module: str, role: PartyRole) -> str | None:
    """The interface that a role has of a module; None where it has none. Of a module with both, the sender's."""
    for name, side in MODULES[role]:
        if name == module:
            return side
    return None


OPPOSITE: Final = {
    PartyRole.CPO: frozenset(
        {PartyRole.EMSP, PartyRole.NSP, PartyRole.OTHER, PartyRole.NAP, PartyRole.SCSP, PartyRole.PTP}
    ),
    PartyRole.EMSP: frozenset({PartyRole.CPO}),
    PartyRole.NSP: frozenset({PartyRole.CPO, PartyRole.NAP}),
    PartyRole.NAP: frozenset({PartyRole.CPO, PartyRole.EMSP, PartyRole.NSP, PartyRole.OTHER}),
    PartyRole.OTHER: frozenset({PartyRole.CPO}),
    PartyRole.SCSP: frozenset({PartyRole.CPO}),
    PartyRole.PTP: frozenset({PartyRole.CPO}),
    PartyRole.HUB: frozenset(PartyRole),
}
"""Whom a broadcast of a role goes to (OCPI 2.3.0 transport_and_format, Broadcast Push; OTHER is as an eMSP)."""
