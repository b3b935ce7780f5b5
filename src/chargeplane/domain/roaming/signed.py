"""Signed meter values in partners' CDRs (OCPI 2.3.0 mod_cdrs, SignedData): verified as those of our own stations.

The key comes with the CDR, from the partner: that a value is valid says that nobody changed it since this key signed it. Whether the key is
the meter's, the driver sees by comparing it with what the meter, or a public register, shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from chargeplane.domain.cdrs.cdr import SignedSummary
from chargeplane.domain.cdrs.proofs import summary_of
from chargeplane.domain.ocmf import (
    MeterPublicKey,
    OcmfRecord,
    SignedRecord,
    Verdict,
    public_key_of,
    record_of,
    verify,
)
from chargeplane.kernel.errors import InvalidInputError

_OCMF: Final = "OCMF"
_MOST: Final = 500


class SignedValueSaid(Struct, frozen=True):
    """OCPI SignedValue."""

    signed_data: str
    nature: str = ""
    plain_data: str = ""


class SignedSaid(Struct, frozen=True):
    """OCPI SignedData."""

    encoding_method: str = ""
    public_key: str | None = None
    signed_values: tuple[SignedValueSaid, ...] = ()


class SignedChecked(Struct, frozen=True, kw_only=True):
    """A signed value of a partner, and what came of verifying it."""

    data: str
    verdict: Verdict
    because: str


class SignedCheck(Struct, frozen=True, kw_only=True):
    """What verifying gave.

    Args:
        key: that came with the CDR; None: none that can be used.
    """

    summary: SignedSummary
    values: tuple[SignedChecked, ...]
    key: MeterPublicKey | None


_said = msgspec.json.Decoder(SignedSaid, strict=False).decode


def signed_said(document: bytes) -> SignedSaid | None:
    """The signed data of a CDR; None where there are none, or none that can be read."""
    try:
        return _said(document) if document and document != b"null" else None
    except (msgspec.MsgspecError, ValueError):
        return None


def signed_check(said: SignedSaid | None, energy_wh: Decimal) -> SignedCheck | None:
    """Verifies the signed values of a CDR; None where there are none. Up to a millisecond a value: not for the event loop.

    Args:
        energy_wh: of the CDR.
    """
    if said is None or not said.signed_values:
        return None
    if said.encoding_method and said.encoding_method.upper() != _OCMF:
        return _of_others(said)
    key, no_key = _key(said.public_key)
    values: list[SignedChecked] = []
    records: list[SignedRecord] = []
    # As the operator's own settling does: the first, and the newest.
    taken = (
        said.signed_values
        if len(said.signed_values) <= _MOST
        else (said.signed_values[0], *said.signed_values[1 - _MOST :])
    )
    for one in taken:
        record, because = _record(one)
        if record is None:
            values.append(SignedChecked(data=one.signed_data, verdict=Verdict.UNREADABLE, because=because))
            continue
        verification = verify(record, key)
        sentence = no_key if verification.verdict is Verdict.NO_KEY else verification.because
        values.append(SignedChecked(data=record.text, verdict=verification.verdict, because=sentence))
        records.append(SignedRecord(record=record, verification=verification))
    unreadable = len(values) - len(records)
    summary = summary_of([one.verdict for one in values], records, unreadable, energy_wh)
    return SignedCheck(summary=summary, values=tuple(values), key=key)


def _of_others(said: SignedSaid) -> SignedCheck:
    because = f"Signed values in the form '{said.encoding_method}' cannot be verified here."
    values = _unsupported(said.signed_values[:_MOST], because)
    summary = SignedSummary(values=len(said.signed_values), valid=0, proven=False, because=(because,))
    return SignedCheck(summary=summary, values=values, key=None)


def _unsupported(said: Sequence[SignedValueSaid], because: str) -> tuple[SignedChecked, ...]:
    return tuple(SignedChecked(data=one.signed_data, verdict=Verdict.UNSUPPORTED, because=because) for one in said)


def _key(text: str | None) -> tuple[MeterPublicKey | None, str]:
    if not text:
        return None, "The partner sent no public key."
    try:
        return public_key_of(text), ""
    except InvalidInputError as error:
        return None, f"The partner's public key cannot be used: {error}"


def _record(one: SignedValueSaid) -> tuple[OcmfRecord | None, str]:
    """The record, from the signed data, or from what some send as plain data."""
    try:
        return record_of(one.signed_data), ""
    except InvalidInputError as error:
        because = str(error)
    try:
        return record_of(one.plain_data), ""
    except InvalidInputError:
        return None, because
