"""The file that drivers check their session's signed values with, as the S.A.F.E. transparency software reads it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from chargeplane.domain.ocmf.keys import MeterPublicKey
from chargeplane.domain.ocmf.record import OcmfRecord


def transparency_file(session_id: str, records: Sequence[tuple[OcmfRecord, MeterPublicKey | None]]) -> bytes:
    """The XML file of a session: each record to the letter, with the public key registered for it.

    Args:
        session_id: number that tells the sessions of a file apart.
    """
    root = ElementTree.Element("values")
    for record, key in records:
        value = ElementTree.SubElement(root, "value", transactionId=session_id, context=_context(record))
        signed = ElementTree.SubElement(value, "signedData", format="OCMF", encoding="plain", transactionId=session_id)
        signed.text = record.text
        if key is not None:
            ElementTree.SubElement(value, "publicKey", encoding="hex").text = key.as_hex
    text: bytes = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return text


def _context(record: OcmfRecord) -> str:
    if record.first is not None:
        return "Transaction.Begin"
    return "Transaction.End" if record.last is not None else "Sample.Periodic"
