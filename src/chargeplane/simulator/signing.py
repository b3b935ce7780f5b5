"""A meter that signs what it counts: OCMF records at the beginning and the end of each transaction, with a key of the station's own.

Source: OCMF 1.4 (SAFE); OCA application note "Signed Meter Values in OCPP".
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct, json

from chargeplane.simulator.faults import Fault

if TYPE_CHECKING:
    from chargeplane.simulator.evse import Session
    from chargeplane.simulator.station import VirtualStation

METHOD: Final = "ECDSA-secp256r1-SHA256"
ENCODING: Final = "OCMF"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Signed(Struct, frozen=True, kw_only=True):
    """A signed value as it goes into a message.

    Args:
        data: the record.
        public_key: with the first record of a transaction only; empty otherwise.
    """

    data: str
    public_key: str

    @property
    def as_text(self) -> str:
        """As OCPP 1.6 carries it: OCPP 2.x's object written as text."""
        return json.encode(
            {
                "signedMeterData": base64.b64encode(self.data.encode()).decode(),
                "signingMethod": METHOD,
                "encodingMethod": ENCODING,
                "publicKey": self.public_key,
            }
        ).decode()


class SigningMeter:
    """What a station's signing meter keeps.

    Attributes:
        begun: the first record of each transaction that goes on, which OCPP 1.6 can send only with the stop.
    """

    def __init__(self) -> None:
        self.page = 0
        self.begun: dict[int, Signed] = {}
        self._key: ec.EllipticCurvePrivateKey | None = None

    def key(self, station_id: str) -> ec.EllipticCurvePrivateKey:
        """The meter's key: the same for the same station, so that it can be registered before."""
        if self._key is None:
            self._key = key_of(station_id)
        return self._key


def key_of(station_id: str) -> ec.EllipticCurvePrivateKey:
    """The key of a station's meter. Known to everybody who knows the station's name: a virtual meter proves nothing."""
    number = int.from_bytes(hashlib.sha256(f"meter of {station_id}".encode()).digest()) % (_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def public_key_of(station_id: str) -> str:
    """The public key of a station's meter: hexadecimal of its SubjectPublicKeyInfo."""
    der = key_of(station_id).public_key()
    return der.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()


def began(station: VirtualStation, session: Session, at: datetime) -> Signed | None:
    """The record at the beginning; None where the meter signs nothing."""
    if not station.options.signs:
        return None
    meter = station.state_of(SigningMeter)
    made = _record(
        station, meter, session, at, "B", session.meter_start_wh, f"oca:base16:asn1:{public_key_of(station.station_id)}"
    )
    meter.begun[id(session)] = made
    return made


def ended(station: VirtualStation, session: Session, at: datetime) -> tuple[Signed, Signed] | None:
    """The records at the beginning and the end; None where the meter signs nothing."""
    if not station.options.signs or session.meter_stop_wh is None:
        return None
    meter = station.state_of(SigningMeter)
    first = meter.begun.pop(id(session), None)
    last = _record(station, meter, session, at, "E", session.meter_stop_wh, "")
    return None if first is None else (first, last)


def _record(
    station: VirtualStation, meter: SigningMeter, session: Session, at: datetime, why: str, wh: int, public_key: str
) -> Signed:
    meter.page += 1
    payload = {
        "FV": "1.0",
        "GI": "Virtual gateway",
        "GS": station.station_id,
        "PG": f"T{meter.page}",
        "MV": "Virtual",
        "MM": "VM-1",
        "MS": f"VM{session.evse_id}",
        "IS": True,
        "IT": "ISO14443",
        "ID": session.id_token,
        "RD": [
            {
                "TM": f"{at.strftime('%Y-%m-%dT%H:%M:%S')},{at.microsecond // 1000:03d}+0000 S",
                "TX": why,
                "RV": wh / 1000,
                "RI": "1-0:1.8.0*255",
                "RU": "kWh",
                "ST": "G",
            }
        ],
    }
    text = json.encode(payload).decode()
    signature = meter.key(station.station_id).sign(text.encode(), ec.ECDSA(hashes.SHA256())).hex()
    if station.has(Fault.WRONG_SIGNATURE):
        payload["MS"] = "VM0"
        text = json.encode(payload).decode()
    section = json.encode({"SA": METHOD, "SD": signature}).decode()
    return Signed(data=f"OCMF|{text}|{section}", public_key=public_key)
