"""What a virtual station knows of its customers: told and forgotten on request (OCPP 2.0.1 N09, N10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from chargeplane.kernel.time import rfc3339
from chargeplane.ocpp import v201
from chargeplane.simulator.dialect import Draft, Reply
from chargeplane.simulator.faults import Fault

if TYPE_CHECKING:
    from chargeplane.simulator.station import VirtualStation

_PART: Final = 512
"""Characters of one message (NotifyCustomerInformation data)."""


class CustomerState:
    """What a station remembers.

    Attributes:
        known: lines by how the customer is named: an id token (as the CSMS writes it), a certificate's serial number, an identifier;
            in lower case.
    """

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}


def _what_is_known(station: VirtualStation, name: str) -> list[str]:
    lines = list(station.state_of(CustomerState).known.get(name, ()))
    for evse in station.evses:
        session = evse.session
        if session is not None and session.id_token.casefold() == name and session.started_at is not None:
            lines.append(
                f"transaction {session.transaction_id} at EVSE {evse.id} from {rfc3339(session.started_at)}: "
                f"{session.energy_wh} Wh"
            )
    return lines


def _forget(station: VirtualStation, name: str) -> None:
    station.state_of(CustomerState).known.pop(name, None)
    for evse in station.evses:
        session = evse.session
        if session is not None and session.id_token.casefold() == name and not evse.busy:
            evse.session = None


def _parts(station: VirtualStation, request_id: int, text: str) -> list[Draft]:
    pieces = [text[start : start + _PART] for start in range(0, len(text), _PART)] or [""]
    at = rfc3339(station.clock.now())

    def draft(number: int, piece: str) -> Draft:
        return Draft(
            "NotifyCustomerInformation",
            lambda: v201.NotifyCustomerInformationRequest(
                request_id=request_id,
                data=piece,
                seq_no=number,
                generated_at=at,
                tbc=True if number + 1 < len(pieces) else None,
            ),
        )

    return [draft(number, piece) for number, piece in enumerate(pieces)]


def _customer_information(station: VirtualStation, request: Any) -> Reply:
    words = v201.CustomerInformationStatusEnumType
    token, certificate, identifier = request.id_token, request.customer_certificate, request.customer_identifier
    named = [one for one in (token, certificate, identifier) if one is not None]
    if len(named) != 1:
        return Reply(v201.CustomerInformationResponse(status=words.INVALID))  # N09.FR.09
    if station.has(Fault.REJECTS_ALL) or not (request.report or request.clear):
        return Reply(v201.CustomerInformationResponse(status=words.REJECTED))  # N09.FR.03, FR.07
    if token is not None:
        name = token.id_token.casefold()
    elif certificate is not None:
        name = certificate.serial_number.casefold()
    else:
        name = str(identifier).casefold()

    def tell() -> None:
        lines = _what_is_known(station, name)
        if request.clear:
            _forget(station, name)
        if not lines:
            text = "No data found."  # N09.FR.06, N10.FR.04
        elif request.report:
            text = "\n".join(lines)
        else:
            text = "The data was cleared."  # N10.FR.06
        for part in _parts(station, request.request_id, text):
            station.send(part)

    return Reply(v201.CustomerInformationResponse(status=words.ACCEPTED), tell)


HANDLERS16: Final[dict[str, Callable[[Any, Any], Reply]]] = {}
"""OCPP 1.6 has no message for it."""

HANDLERS2X: Final[dict[str, Callable[[Any, Any], Reply]]] = {"CustomerInformation": _customer_information}
"""OCPP 2.0.1 and 2.1."""
