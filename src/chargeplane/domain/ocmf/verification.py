"""Whether the signature of a record is its meter's."""

from __future__ import annotations

import enum
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec import Struct

from chargeplane.domain.ocmf.keys import Curve, MeterPublicKey
from chargeplane.domain.ocmf.record import OcmfRecord

_ALGORITHM: Final = re.compile(r"ECDSA-(?P<curve>[a-z0-9]+)-SHA256", re.IGNORECASE)
_SPELLINGS: Final = {
    "prime256v1": Curve.SECP256R1,
    "prime192v1": Curve.SECP192R1,
    "brainpoolp256r1": Curve.BRAINPOOL256R1,
    "brainpoolp384r1": Curve.BRAINPOOL384R1,
    "nistp256": Curve.SECP256R1,
    "nistp384": Curve.SECP384R1,
}


class Verdict(enum.StrEnum):
    """What came of a verification."""

    VALID = "valid"
    INVALID = "invalid"
    NO_KEY = "no_key"
    UNSUPPORTED = "unsupported"
    UNREADABLE = "unreadable"


class Verification(Struct, frozen=True, kw_only=True):
    """A verdict, in a sentence too."""

    verdict: Verdict
    because: str


def verify(record: OcmfRecord, key: MeterPublicKey | None) -> Verification:
    """Whether the payload, to the letter, was signed with the private half of `key`.

    Costs up to a millisecond: not to be done for many records in the event loop.

    Source: OCMF 1.4, Signing and Verification Process; tables 8 and 22.
    """
    if key is None:
        return Verification(verdict=Verdict.NO_KEY, because="No public key of the meter is registered.")
    algorithm = record.signature.algorithm
    found = _ALGORITHM.fullmatch(algorithm)
    curve = None if found is None else _curve(found["curve"])
    if curve is None:
        return Verification(verdict=Verdict.UNSUPPORTED, because=f"Signatures by {algorithm} cannot be verified.")
    # The default stands where the section names none: many stations leave it out with whatever curve they have.
    if curve is not key.curve and algorithm != "ECDSA-secp256r1-SHA256":
        return Verification(
            verdict=Verdict.INVALID,
            because=f"The record is signed on {curve}, the registered key is on {key.curve}: it is another meter's.",
        )
    public = key.usable()
    for signature in _forms(record.signature.signature, public):
        try:
            public.verify(signature, record.payload.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return Verification(verdict=Verdict.VALID, because="The signature is that of the registered key.")
    return Verification(
        verdict=Verdict.INVALID,
        because="The signature is not that of the registered key: the record was changed, or another meter signed it.",
    )


def _curve(name: str) -> Curve | None:
    name = name.casefold()
    return next((one for one in Curve if one.value == name), None) or _SPELLINGS.get(name)


def _forms(signature: bytes, key: ec.EllipticCurvePublicKey) -> list[bytes]:
    """The signature as DER; some meters give its two numbers side by side."""
    size = (key.curve.key_size + 7) // 8
    if len(signature) != 2 * size:
        return [signature]
    r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
    return [signature, encode_dss_signature(r, s)]
