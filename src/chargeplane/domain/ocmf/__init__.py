"""The Open Charge Metering Format: signed meter values, read, verified and handed to drivers.

Source: OCMF 1.4 (SAFE). A record is `OCMF|<payload JSON>|<signature JSON>`; what is signed is the payload's text, to the letter.
"""

from chargeplane.domain.ocmf.keys import Curve, MeterPublicKey, public_key_of
from chargeplane.domain.ocmf.proof import Flaw, SessionProof, SignedRecord, prove
from chargeplane.domain.ocmf.record import (
    MeterReading,
    MeterStatus,
    OcmfRecord,
    ReadingReason,
    SignatureSection,
    TimeStatus,
    record_of,
)
from chargeplane.domain.ocmf.transparency import transparency_file
from chargeplane.domain.ocmf.verification import Verdict, Verification, verify

__all__ = [
    "Curve",
    "Flaw",
    "MeterPublicKey",
    "MeterReading",
    "MeterStatus",
    "OcmfRecord",
    "ReadingReason",
    "SessionProof",
    "SignatureSection",
    "SignedRecord",
    "TimeStatus",
    "Verdict",
    "Verification",
    "prove",
    "public_key_of",
    "record_of",
    "transparency_file",
    "verify",
]
