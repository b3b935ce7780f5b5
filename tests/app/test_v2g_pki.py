"""What a request for a certificate for Plug & Charge must be, and what is made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.verification import PolicyBuilder, Store

from chargeplane.app import v2g_pki
from chargeplane.app.pki import STATION_URI, CsrError
from chargeplane.app.ports import Signed
from chargeplane.domain.certificates import SigningUse
from tests.support.authority import csr_named

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECC = [("C", "DE"), ("O", "Somebody"), ("CN", "DE*CPL*E1")]
OCSP = "http://127.0.0.1/ocsp"


def of_ed448() -> str:
    key = ed448.Ed448PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "DE*CPL*E1")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)
    return request.public_bytes(serialization.Encoding.PEM).decode()


def of_rsa() -> str:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CS")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def of(curve: ec.EllipticCurve, subject: list[tuple[str, str]] | None = None) -> str:
    return csr_named(SECC if subject is None else subject, ec.generate_private_key(curve))


def signed(csr: str, use: SigningUse, days: int = 90) -> tuple[Signed, list[x509.Certificate], x509.Certificate]:
    request = v2g_pki.check_csr(csr, use, "CS")
    protocol = v2g_pki.protocol_of(request)
    assert protocol is not None
    authorities = v2g_pki.make_authorities("Operator", protocol, NOW, OCSP)
    made = v2g_pki.sign(
        request,
        authorities,
        organization="Operator",
        common_name="CS",
        station_key=7,
        now=NOW,
        days=days,
        ocsp_url=OCSP,
    )
    return made, x509.load_pem_x509_certificates(made.chain.encode()), authorities["root"].certificate


@pytest.mark.parametrize(
    ("use", "curve"), [(SigningUse.V2G, ec.SECP256R1()), (SigningUse.V2G20, ec.SECP521R1())], ids=["2", "20"]
)
def test_chain_leads_to_the_root_of_its_part_of_iso_15118(use: SigningUse, curve: ec.EllipticCurve) -> None:
    _, chain, root = signed(of(curve), use)
    assert len(chain) == 3
    for one, above in zip(chain, [*chain[1:], root], strict=True):
        one.verify_directly_issued_by(above)
        named = one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert named == above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        key = above.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == curve.name
    depths = [
        one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length for one in [*chain[1:], root]
    ]
    assert depths == [0, 1, 2]


def test_subject_is_the_secc_of_the_cpo() -> None:
    made, (leaf, *_), _ = signed(of(ec.SECP256R1()), SigningUse.V2G)
    assert made.subject == leaf.subject.rfc4514_string() == "DC=CPO,CN=DE*CPL*E1,O=Operator,C=DE"
    assert leaf.not_valid_after_utc == NOW + timedelta(days=90)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_agreement, usage.key_cert_sign) == (True, True, False)


def test_request_that_names_nobody_is_for_the_station() -> None:
    made, _, _ = signed(of(ec.SECP256R1(), [("C", "NL"), ("O", "X"), ("OU", "Y")]), SigningUse.V2G)
    assert made.subject == "DC=CPO,CN=CS,O=Operator,C=NL"


def test_certificate_names_the_station_so_that_its_own_name_opens_no_other_door() -> None:
    _, (leaf, *_), _ = signed(of(ec.SECP256R1(), [("CN", "ANOTHER-STATION")]), SigningUse.V2G)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"{STATION_URI}7"]


def test_2_0_1_has_one_word_for_both_parts_and_the_key_says_which() -> None:
    _, (leaf, *_), root = signed(of(ec.SECP521R1()), SigningUse.V2G)
    assert "15118-20" in root.subject.rfc4514_string()
    assert leaf.signature_hash_algorithm is not None
    assert leaf.signature_hash_algorithm.name == "sha512"


def test_ed448_is_a_key_of_iso_15118_20() -> None:
    _, chain, _ = signed(of_ed448(), SigningUse.V2G20)
    assert isinstance(chain[0].public_key(), ed448.Ed448PublicKey)


@pytest.mark.parametrize(
    ("use", "csr", "why"),
    [
        (SigningUse.V2G, lambda: of(ec.SECP384R1()), "secp256r1"),
        (SigningUse.V2G, of_rsa, "secp256r1"),
        (SigningUse.V2G20, lambda: of(ec.SECP256R1()), "secp521r1"),
        (SigningUse.COMBINED, lambda: of(ec.SECP256R1()), "must be 'CS'"),
        (SigningUse.V2G, lambda: of(ec.SECP256R1(), [("CN", "A"), ("CN", "B")]), "at most one"),
        (SigningUse.V2G, lambda: "nonsense", "cannot be read"),
    ],
)
def test_request_that_does_not_fit_is_refused_with_a_sentence(use: SigningUse, csr: object, why: str) -> None:
    assert callable(csr)
    with pytest.raises(CsrError, match=why):
        v2g_pki.check_csr(csr(), use, "CS")


def test_no_certificate_outlives_its_authority() -> None:
    made, chain, _ = signed(of(ec.SECP256R1()), SigningUse.V2G, days=100_000 // 10)
    assert made.not_after == chain[1].not_valid_after_utc


def test_hierarchy_stands_before_a_strict_verifier() -> None:
    """The same rules that TLS libraries of cars go by."""
    _, (leaf, *between), root = signed(of(ec.SECP256R1()), SigningUse.V2G)
    verifier = PolicyBuilder().store(Store([root])).time(NOW).max_chain_depth(3).build_client_verifier()
    assert verifier.verify(leaf, between).chain[-1] == root
