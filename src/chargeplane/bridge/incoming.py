"""The hot path's tables, one row a version, and what becomes of a message that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from chargeplane.bridge import ocpp2x, ocpp16
from chargeplane.domain.messages import StationMessage, Unusable
from chargeplane.ocpp.catalogue import CATALOGUE
from chargeplane.ocpp.versions import OcppVersion

Translate = Callable[[Any], StationMessage]
"""A wire request as the domain's message. Never raises on a request that its type's decoder or a repair made."""

Write = Callable[[Any, Any], bytes]
"""(request, answer) as the CALLRESULT's payload. The request may be None where the message was unusable."""

INCOMING: Final[Mapping[OcppVersion, Mapping[str, Translate]]] = {
    OcppVersion.V16: ocpp16.INCOMING,
    OcppVersion.V201: ocpp2x.INCOMING_201,
    OcppVersion.V21: ocpp2x.INCOMING_21,
}
"""What each action of a station means: `INCOMING[version][action](request)`. A plain `"1.6"` is a key too."""

OUTGOING: Final[Mapping[OcppVersion, Mapping[str, Write]]] = {
    OcppVersion.V16: ocpp16.OUTGOING,
    OcppVersion.V201: ocpp2x.OUTGOING_201,
    OcppVersion.V21: ocpp2x.OUTGOING_21,
}
"""The bytes of each answer: `OUTGOING[version][action](request, answer)`."""


def undecodable(version: OcppVersion, action: str, error: object) -> Unusable | None:
    """What a message is that neither decodes nor can be repaired.

    Args:
        error: why, as text or exception.
    Returns:
        `Unusable` for messages about transactions: they go to quarantine and get a CALLRESULT that validates, because a
        CALLERROR would stall the station's queue or lose what it tells. A 1.6 start is answered Invalid with the id
        the app assigns. None for all others: they get a CALLERROR.
    """
    spec = CATALOGUE[version].get(action)
    if spec is None or not spec.transactional or not spec.from_station:
        return None
    return Unusable(action=action, reason=" ".join(str(error).split())[:255])
