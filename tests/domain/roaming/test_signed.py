"""Signed meter values in partners' CDRs: verified by the key that came with them; what cannot be verified says why, and refuses nothing."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chargeplane.domain.ocmf import Verdict
from chargeplane.domain.roaming.signed import SignedCheck, signed_check, signed_said

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
ENERGY = Decimal(5000)


def public(key: ec.EllipticCurvePrivateKey = KEY) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def record(reason: str, kwh: str, page: int) -> str:
    payload = (
        f'{{"FV":"1.0","GS":"1","PG":"T{page}","MS":"M-1","IS":false,"RD":[{{"TM":"2026-03-01T10:0{page}:00,000+0100 S",'
        f'"TX":"{reason}","RI":"1-b:1.8.0","RU":"kWh","EF":"","ST":"G","RV":{kwh}}}]}}'
    )
    signature = KEY.sign(payload.encode(), ec.ECDSA(hashes.SHA256())).hex()
    return f'OCMF|{payload}|{{"SA":"ECDSA-secp256r1-SHA256","SD":"{signature}"}}'


BEGIN, END = record("B", "100.0", 1), record("E", "105.0", 2)


def value(text: str, nature: str = "Start") -> dict[str, str]:
    return {"nature": nature, "plain_data": text, "signed_data": base64.b64encode(text.encode()).decode()}


def checked(energy_wh: Decimal = ENERGY, **more: Any) -> SignedCheck:
    said = {
        "encoding_method": "OCMF",
        "public_key": public(),
        "signed_values": [value(BEGIN), value(END, "End")],
        **more,
    }
    found = signed_check(signed_said(msgspec.json.encode(said)), energy_wh)
    assert found is not None
    return found


def test_records_of_the_key_prove_the_energy() -> None:
    found = checked()
    assert [one.verdict for one in found.values] == [Verdict.VALID] * 2
    assert [one.data for one in found.values] == [BEGIN, END]
    assert (found.summary.values, found.summary.valid, found.summary.proven, found.summary.agrees) == (2, 2, True, True)
    assert found.summary.energy_wh == ENERGY
    assert found.key is not None


def test_energy_that_the_meter_did_not_sign_does_not_agree() -> None:
    found = checked(Decimal(6000))
    assert found.summary.proven
    assert found.summary.agrees is False
    assert "5000" in found.summary.because[-1]


@pytest.mark.parametrize(
    ("key", "verdict", "words"),
    [
        (public(OTHER), Verdict.INVALID, "The signature is not that"),
        (None, Verdict.NO_KEY, "sent no public key"),
        ("nonsense", Verdict.NO_KEY, "cannot be used"),
    ],
)
def test_values_without_the_right_key_are_not_proven(key: str | None, verdict: Verdict, words: str) -> None:
    found = checked(public_key=key)
    assert {one.verdict for one in found.values} == {verdict}
    assert words in found.values[0].because
    assert not found.summary.proven
    assert found.summary.valid == 0


def test_record_that_was_changed_is_not_valid() -> None:
    found = checked(signed_values=[value(BEGIN), value(END.replace("105.0", "109.0"), "End")])
    assert [one.verdict for one in found.values] == [Verdict.VALID, Verdict.INVALID]
    assert not found.summary.proven


def test_record_in_the_plain_data_alone_is_taken_from_there() -> None:
    hidden = [{**value(one), "signed_data": "AAAA"} for one in (BEGIN, END)]
    assert checked(signed_values=hidden).summary.proven


def test_what_is_no_record_is_told_and_leaves_the_others() -> None:
    found = checked(signed_values=[value(BEGIN), value("hello"), value(END, "End")])
    assert [one.verdict for one in found.values] == [Verdict.VALID, Verdict.UNREADABLE, Verdict.VALID]
    assert not found.summary.proven
    assert "1 of 3 signed values cannot be read." in found.summary.because


def test_other_encodings_are_kept_and_not_verified() -> None:
    found = checked(encoding_method="EDL40 Mennekes")
    assert {one.verdict for one in found.values} == {Verdict.UNSUPPORTED}
    assert "EDL40 Mennekes" in found.summary.because[0]
    assert not found.summary.proven


def test_many_values_are_bounded_and_keep_the_first_and_the_last() -> None:
    found = checked(signed_values=[value(BEGIN), *[value("x")] * 600, value(END, "End")])
    assert len(found.values) == 500
    assert (found.values[0].data, found.values[-1].data) == (BEGIN, END)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b'{"signed_values": [{"nature": 1}]}', b'{"signed_values": 7}']
)
def test_signed_data_that_cannot_be_read_is_none(body: bytes) -> None:
    assert signed_said(body) is None


def test_no_values_are_no_check() -> None:
    assert signed_check(signed_said(b'{"encoding_method": "OCMF", "signed_values": []}'), ENERGY) is None
    assert signed_check(None, ENERGY) is None
