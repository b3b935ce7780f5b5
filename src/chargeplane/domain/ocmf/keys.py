"""Public keys of meters, in all the forms they are handed over in."""

from __future__ import annotations

import base64
import binascii
import enum
import re
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from chargeplane.kernel.errors import InvalidInputError


class Curve(enum.StrEnum):
    """Curves of OCMF (table 23), in its words. secp192k1 is missing: no library we trust has it."""

    SECP192R1 = "secp192r1"
    SECP256R1 = "secp256r1"
    SECP256K1 = "secp256k1"
    SECP384R1 = "secp384r1"
    BRAINPOOL256R1 = "brainpool256r1"
    BRAINPOOL384R1 = "brainpool384r1"


_CURVES: Final[dict[Curve, ec.EllipticCurve]] = {
    Curve.SECP192R1: ec.SECP192R1(),
    Curve.SECP256R1: ec.SECP256R1(),
    Curve.SECP256K1: ec.SECP256K1(),
    Curve.SECP384R1: ec.SECP384R1(),
    Curve.BRAINPOOL256R1: ec.BrainpoolP256R1(),
    Curve.BRAINPOOL384R1: ec.BrainpoolP384R1(),
}
_BY_NAME: Final = {curve.name: name for name, curve in _CURVES.items()}
_LONGEST: Final = 4096


class MeterPublicKey(Struct, frozen=True, kw_only=True):
    """A meter's public key in its one form.

    Args:
        der: SubjectPublicKeyInfo with a named curve and an uncompressed point.
        fingerprint: SHA-256 over `der`, hexadecimal.
    """

    curve: Curve
    der: bytes
    fingerprint: str

    @property
    def as_hex(self) -> str:
        """`der` as lower-case hexadecimal text, as transparency software takes it."""
        return self.der.hex()

    def usable(self) -> ec.EllipticCurvePublicKey:
        """The key as the library takes it."""
        key = serialization.load_der_public_key(self.der)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return key


def public_key_of(text: str, curve: Curve | None = None) -> MeterPublicKey:
    """The key in a text: PEM, or hexadecimal or base64 of a SubjectPublicKeyInfo, of a point, or of a point's two numbers.

    OCPP 2.x stations may put `oca:base16:asn1:` and the like in front (OCA application note "Signed Meter Values in OCPP").

    Args:
        curve: what a bare point lies on where its length leaves several; the commonest of its length otherwise.
    Raises:
        InvalidInputError: it is no key on a curve of OCMF.
    """
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise InvalidInputError("The public key is empty or longer than any key.")
    text = re.sub(r"^oca:(base16|base64):(asn1|point|der)?:?", "", text, flags=re.IGNORECASE)
    for raw in _bytes_of(text):
        key = _from_der(raw) or _from_point(raw, curve)
        if key is not None:
            return _as_key(key)
    raise InvalidInputError(
        "The public key is none: give a SubjectPublicKeyInfo (PEM, hexadecimal or base64) or a point on one of "
        f"{', '.join(Curve)}."
    )


def _as_key(key: ec.EllipticCurvePublicKey) -> MeterPublicKey:
    name = _BY_NAME.get(key.curve.name)
    if name is None:
        raise InvalidInputError(f"Keys on {key.curve.name} are not used by OCMF; it knows {', '.join(Curve)}.")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return MeterPublicKey(curve=name, der=der, fingerprint=digest.finalize().hex())


def _bytes_of(text: str) -> list[bytes]:
    """What the text may stand for; hexadecimal first, for it is base64 as well."""
    if "-----BEGIN" in text:
        body = re.sub(r"-----[A-Z ]+-----|\s", "", text)
        return _base64(body)
    compact = re.sub(r"[\s:]", "", text)
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", compact):
        return [bytes.fromhex(compact), *_base64(compact)]
    return _base64(compact)


def _base64(text: str) -> list[bytes]:
    try:
        return [base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)]
    except (ValueError, binascii.Error):
        return []


def _from_der(raw: bytes) -> ec.EllipticCurvePublicKey | None:
    try:
        key = serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def _from_point(raw: bytes, curve: Curve | None) -> ec.EllipticCurvePublicKey | None:
    names = [curve] if curve is not None else list(_COMMONEST)
    for name in names:
        size = (_CURVES[name].key_size + 7) // 8
        for point in (raw, b"\x04" + raw if len(raw) == 2 * size else b""):
            if len(point) not in (size + 1, 2 * size + 1):
                continue
            try:
                return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[name], point)
            except (ValueError, UnsupportedAlgorithm):
                continue
    return None


_COMMONEST: Final = (
    Curve.SECP256R1,
    Curve.SECP256K1,
    Curve.BRAINPOOL256R1,
    Curve.SECP192R1,
    Curve.SECP384R1,
    Curve.BRAINPOOL384R1,
)
"""A point lies on one curve only, so trying them in turn finds it."""
