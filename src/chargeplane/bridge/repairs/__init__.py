"""Repairs of known faults, tried only where strict decoding failed: a good message never pays for them.

Three steps, each bounded: the text is made JSON (`syntax`), the JSON is fitted to the message's type (`shape`), and
what the station's vendor is known for is undone first (`known`). The caller counts the names per station.
"""

from __future__ import annotations

from msgspec import Struct

from chargeplane.bridge.repairs.empty import tells_nothing
from chargeplane.bridge.repairs.known import NamedRule, undo
from chargeplane.bridge.repairs.rules import Rule
from chargeplane.bridge.repairs.shape import fit, parsed
from chargeplane.bridge.repairs.syntax import Mended, mend
from chargeplane.ocpp.catalogue import CATALOGUE
from chargeplane.ocpp.problems import DECODE_ERRORS
from chargeplane.ocpp.versions import OcppVersion


class Repaired(Struct, frozen=True):
    """A request made from a payload that did not decode.

    Args:
        request: the wire struct, lenient: words unknown to the version are plain text, tolerated absences None.
        names: the rules that fired, for the operator's counts; never empty.
    """

    request: Struct
    names: tuple[str, ...]


def mend_frame(raw: bytes) -> Mended | None:
    """A whole frame that is not JSON (`[2,"7","MeterValues",{"transactionId":,...}]`) with its text repaired.

    Returns:
        The text to parse again, or None where nothing could be done.
    """
    return mend(raw)


def repair(version: OcppVersion, action: str, payload: bytes, known: tuple[NamedRule, ...] = ()) -> Repaired | None:
    """The request behind a payload that strict decoding refused.

    Args:
        payload: the CALL's payload as received; empty where the frame had none.
        known: what the station's quirks say of this action's text; undone first.
    Returns:
        None where the action is unknown, the text is beyond repair, what is missing matters, or a message about a
        transaction says nothing that could be matched or booked.
    """
    spec = CATALOGUE[version].get(action)
    if spec is None or not spec.from_station:
        return None
    names: tuple[str, ...] = ()
    try:
        value = parsed(payload or b"null")
    except ValueError:
        mended = mend(payload)
        if mended is None:
            return None
        try:
            value = parsed(mended.text)
        except ValueError:
            return None
        names = mended.names
    if known:
        value, undone = undo(known, value)
        names = (*names, *undone)
    fitted = fit(spec.request, value)
    if fitted is None:
        return None
    request, more = fitted
    if tells_nothing(request):
        return None
    names = (*names, *(name for name in more if name not in names))
    return Repaired(request, names) if names else None


def fit_response(version: OcppVersion, action: str, payload: bytes) -> Struct | None:
    """A station's answer to a CALL of ours, fitted to its type where it does not decode as it should.

    Returns:
        None where it is beyond repair. What was repaired may hold words its version does not know, as in `Repaired`.
    """
    spec = CATALOGUE[version].get(action)
    if spec is None or spec.response is None or spec.response_decoder is None:
        return None
    try:
        return spec.response_decoder.decode(payload)
    except DECODE_ERRORS:
        pass
    try:
        fitted = fit(spec.response, parsed(payload or b"null"))
    except ValueError:
        return None
    return None if fitted is None else fitted[0]


__all__ = ["Mended", "Repaired", "Rule", "fit_response", "mend_frame", "repair"]
