"""OCMF records: read, verified on every curve of the field, and what they prove together."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from chargeplane.domain.ocmf import (
    Curve,
    Flaw,
    MeterStatus,
    ReadingReason,
    SignedRecord,
    TimeStatus,
    Verdict,
    prove,
    public_key_of,
    record_of,
    transparency_file,
    verify,
)
from chargeplane.kernel.errors import InvalidInputError

_CURVES: dict[str, Any] = {
    "secp192r1": ec.SECP192R1(),
    "secp256r1": ec.SECP256R1(),
    "secp256k1": ec.SECP256K1(),
    "secp384r1": ec.SECP384R1(),
    "brainpool256r1": ec.BrainpoolP256R1(),
    "brainpool384r1": ec.BrainpoolP384R1(),
}
_KEYS = {name: ec.generate_private_key(curve) for name, curve in _CURVES.items()}


def _reading(reason: str, kwh: str, **more: str) -> str:
    time = more.pop("TM", "2026-03-01T10:00:00,000+0100 S")
    fields = {"TM": time, "TX": reason, "RI": "1-b:1.8.0", "RU": "kWh", "EF": "", "ST": "G"} | more
    return msgspec.json.encode(fields).decode()[:-1] + f',"RV":{kwh}}}'


def _payload(*readings: str, page: str = "T7", **more: str) -> str:
    fields = {"FV": "1.0", "GI": "Gate", "GS": "1", "PG": page, "MS": "M-1", "IT": "NONE"} | more
    return msgspec.json.encode(fields).decode()[:-1] + f',"IS":false,"RD":[{",".join(readings)}]}}'


def _signed(payload: str, curve: str = "secp256r1", **section: str) -> str:
    section.setdefault("SA", f"ECDSA-{curve}-SHA256")
    section.setdefault("SD", _KEYS[curve].sign(payload.encode(), ec.ECDSA(hashes.SHA256())).hex())
    return f"OCMF|{payload}|{msgspec.json.encode(section).decode()}"


def _der(curve: str) -> bytes:
    public = _KEYS[curve].public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


_WHOLE = _payload(_reading("B", "10.500"), _reading("E", "12.75", TM="2026-03-01T10:30:00,000+0100 S"))


def _proof_of(*texts: str, curve: str = "secp256r1") -> Any:
    key = public_key_of(_der(curve).hex())
    records = [record_of(text) for text in texts]
    return prove([SignedRecord(record=one, verification=verify(one, key)) for one in records])


@pytest.mark.parametrize("curve", _CURVES)
def test_signature_on_every_curve_is_verified(curve: str) -> None:
    key = public_key_of(_der(curve).hex())
    assert key.curve == curve
    assert verify(record_of(_signed(_WHOLE, curve)), key).verdict is Verdict.VALID
    changed = _signed(_WHOLE, curve).replace('"RV":12.75', '"RV":12.76')
    assert verify(record_of(changed), key).verdict is Verdict.INVALID


def test_white_space_is_part_of_what_is_signed() -> None:
    key = public_key_of(_der("secp256r1").hex())
    assert verify(record_of(_signed(_WHOLE.replace(",", ", "))), key).verdict is Verdict.VALID
    assert verify(record_of(_signed(_WHOLE).replace(",", ", ", 1)), key).verdict is Verdict.INVALID


def test_algorithm_left_out_is_the_default_and_taken_for_the_keys_own() -> None:
    for curve in ("secp256r1", "secp256k1"):
        signature = _KEYS[curve].sign(_WHOLE.encode(), ec.ECDSA(hashes.SHA256())).hex()
        record = record_of(f'OCMF|{_WHOLE}|{{"SD":"{signature}"}}')
        assert verify(record, public_key_of(_der(curve).hex())).verdict is Verdict.VALID


def test_key_of_another_curve_is_another_meters() -> None:
    found = verify(record_of(_signed(_WHOLE, "secp384r1")), public_key_of(_der("secp256k1").hex()))
    assert found.verdict is Verdict.INVALID
    assert "another meter" in found.because


def test_no_key_and_unknown_algorithms_are_said_to_be_so() -> None:
    assert verify(record_of(_signed(_WHOLE)), None).verdict is Verdict.NO_KEY
    key = public_key_of(_der("secp256r1").hex())
    for algorithm in ("ECDSA-secp192k1-SHA256", "RSA-2048", "ECDSA-secp256r1-SHA512"):
        assert verify(record_of(_signed(_WHOLE, SA=algorithm)), key).verdict is Verdict.UNSUPPORTED


def test_signature_may_be_base64_and_two_numbers_side_by_side() -> None:
    der = _KEYS["secp256r1"].sign(_WHOLE.encode(), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    plain = r.to_bytes(32) + s.to_bytes(32)
    key = public_key_of(_der("secp256r1").hex())
    for section in (
        {"SE": "base64", "SD": base64.b64encode(der).decode()},
        {"SD": plain.hex()},
        {"SE": "hex", "SM": "application/x-der", "SD": der.hex().upper()},
    ):
        assert verify(record_of(_signed(_WHOLE, **section)), key).verdict is Verdict.VALID


@pytest.mark.parametrize("curve", _CURVES)
def test_public_key_is_taken_in_every_form_it_is_handed_over(curve: str) -> None:
    der = _der(curve)
    public = _KEYS[curve].public_key()
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    short = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    texts = [
        der.hex(),
        der.hex().upper(),
        " ".join(der.hex(":").split(":")),
        base64.b64encode(der).decode(),
        pem.decode(),
        "oca:base16:asn1:" + der.hex(),
        point.hex(),
        point[1:].hex(),
        base64.b64encode(point).decode(),
    ]
    assert {public_key_of(text).der for text in texts} == {der}
    assert public_key_of(short.hex(), Curve(curve)).der == der


@pytest.mark.parametrize("text", ["", "zz", "00", "04" * 32, "a" * 5000, "MFkwEw", "ff" * 91])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        public_key_of(text)


def test_key_of_a_kind_that_meters_do_not_use_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP521R1()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidInputError, match="secp521r1"):
        public_key_of(der.hex())


def test_record_is_found_in_every_wrapping() -> None:
    plain = _signed(_WHOLE)
    wrapped = msgspec.json.encode(
        {"signedMeterData": base64.b64encode(plain.encode()).decode(), "encodingMethod": "OCMF"}
    ).decode()
    for data in (
        plain,
        f"  {plain}\n",
        plain.encode().hex(),
        base64.b64encode(plain.encode()).decode(),
        msgspec.json.encode(plain).decode(),
        wrapped,
    ):
        assert record_of(data).text == plain


@pytest.mark.parametrize(
    "data",
    [
        "",
        "OCMF",
        "OCMF|{}",
        "OCMF|{}|{}",
        'OCMF|{"RD":[]}|{"SD":"00"}',
        'OCMF|{"RD":[1]}|{"SD":"00"}',
        'OCMF|{"RD":[{}]}|{"SD":"xy"}',
        'OCMF|[]|{"SD":"00"}',
        'OCMF|{"RD":[{}]}|{}',
        "EDL|x|y",
        "[" * 100_000,
        '"' * 9,
        "x" * 1_000_000,
    ],
)
def test_what_is_no_record_is_refused_with_a_sentence(data: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        record_of(data)
    assert str(caught.value).endswith(".")


def test_reading_takes_over_what_it_leaves_out() -> None:
    second = '{"TX":"C","RV":1.25}'
    last = '{"TM":"2026-03-01T10:30:00,000+0100 R","TX":"E","RV":2}'
    record = record_of(_signed(_payload(_reading("B", "1.000"), second, last)))
    first, middle, end = record.readings
    assert first.value == Decimal("1.000")
    assert str(first.value) == "1.000"
    assert (middle.at, middle.unit, middle.register, middle.status) == (first.at, "kWh", "1-b:1.8.0", MeterStatus.GOOD)
    assert end.reason is ReadingReason.END
    assert end.energy_wh == 2000
    assert end.time_status is TimeStatus.RELATIVE
    assert end.at is not None
    assert end.at.isoformat() == "2026-03-01T09:30:00+00:00"


def test_one_record_with_begin_and_end_proves_the_energy() -> None:
    proof = _proof_of(_signed(_WHOLE))
    assert proof.is_proven
    assert proof.energy_wh == Decimal("2250.00")


def test_records_of_begin_and_end_prove_it_together_in_any_order_and_repeated() -> None:
    begin = _signed(_payload(_reading("B", "1.0"), page="T8"))
    end = _signed(_payload(_reading("E", "3.5"), page="T9"))
    proof = _proof_of(end, begin, end)
    assert proof.is_proven
    assert proof.energy_wh == 2500


def test_each_flaw_is_found() -> None:
    begin = _signed(_payload(_reading("B", "1.0"), page="T8"))
    cases = {
        Flaw.NO_END: (begin,),
        Flaw.NO_BEGIN: (_signed(_payload(_reading("E", "2.0"))),),
        Flaw.PAGE_MISSING: (begin, _signed(_payload(_reading("E", "2.0"), page="T10"))),
        Flaw.OTHER_METER: (begin, _signed(_payload(_reading("E", "2.0"), page="T9", MS="M-2"))),
        Flaw.METER_ERROR: (_signed(_payload(_reading("B", "1.0"), _reading("E", "2.0", ST="M"))),),
        Flaw.ENERGY_UNUSABLE: (_signed(_payload(_reading("B", "1.0"), _reading("E", "2.0", EF="E"))),),
        Flaw.FALLING: (_signed(_payload(_reading("B", "5.0"), _reading("E", "2.0"))),),
        Flaw.NO_ENERGY: (_signed(_payload(_reading("B", "5.0", RU="mOhm"), _reading("E", "2.0", RU="mOhm"))),),
        Flaw.NOT_VERIFIED: (_signed(_WHOLE).replace("12.75", "99.75"),),
    }
    for flaw, texts in cases.items():
        proof = _proof_of(*texts)
        assert flaw in proof.flaws, flaw
        assert not proof.is_proven
        assert len(proof.because) == len(proof.flaws)


def test_energy_that_reached_the_car_is_billed_before_what_the_meter_counted() -> None:
    def at_both(reason: str, mains: str, device: str) -> list[str]:
        return [
            _reading(reason, mains, RI="01-00:B0.08.00*FF"),
            _reading(reason, device, RI="01-00:B1.08.00*FF"),
        ]

    proof = _proof_of(_signed(_payload(*at_both("B", "10", "9"), *at_both("E", "20", "18"))))
    assert proof.energy_wh == 9000
    assert proof.register == "01-00:B1.08.00*FF"


def test_transparency_file_holds_each_record_to_the_letter_with_its_key() -> None:
    record = record_of(_signed(_WHOLE.replace('"GI":"Gate"', '"GI":"<&\\u00fc>"')))
    key = public_key_of(_der("secp256r1").hex())
    root = ElementTree.fromstring(transparency_file("41", [(record, key), (record, None)]))
    values = root.findall("value")
    assert [one.get("transactionId") for one in values] == ["41", "41"]
    assert values[0].findtext("signedData") == record.text
    assert values[0].findtext("publicKey") == _der("secp256r1").hex()
    assert values[1].find("publicKey") is None


@given(st.text(max_size=400), st.integers(0, 400))
def test_no_text_does_more_than_be_refused(noise: str, at: int) -> None:
    whole = _signed(_WHOLE)
    at = min(at, len(whole))
    for text in (noise, whole[:at] + noise + whole[at:], f"OCMF|{noise}|" + '{"SD":"00"}'):
        try:
            record = record_of(text)
        except InvalidInputError:
            continue
        verdict = verify(record, public_key_of(_der("secp256r1").hex())).verdict
        assert verdict is not Verdict.VALID or record.payload == _WHOLE


@given(st.lists(st.decimals(0, 10**6, places=3), min_size=2, max_size=6))
def test_energy_is_the_difference_of_the_ends_whatever_lies_between(values: list[Decimal]) -> None:
    values.sort()
    reasons = ["B", *["C"] * (len(values) - 2), "E"]
    record = record_of(_signed(_payload(*map(_reading, reasons, map(str, values)))))
    proof = prove([SignedRecord(record=record, verification=verify(record, public_key_of(_der("secp256r1").hex())))])
    assert proof.energy_wh == (values[-1] - values[0]) * 1000
