"""Invoices as documents: schemas, the rules of EN 16931, PDF."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from lxml import etree

from chargeplane.domain.invoicing.model import (
    Charge,
    Evidence,
    InvoiceContent,
    InvoiceKind,
    LineKind,
    Proof,
    notes_of,
    summed,
)
from chargeplane.domain.invoicing.parties import Customer, Issuer, PostalAddress
from chargeplane.domain.invoicing.states import InvoiceState
from chargeplane.domain.invoicing.taxes import LineTax, TaxCategory
from chargeplane.domain.ledger import PayerKind
from chargeplane.edges.documents import DocumentPainter
from chargeplane.kernel.errors import ConflictError
from chargeplane.store.queries.invoices import Invoice
from tests.invoicing.making import ISSUER

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STANDARD = LineTax(category=TaxCategory.STANDARD, percent=Decimal(19), place="DE")
REVERSE = LineTax(category=TaxCategory.REVERSE_CHARGE, percent=Decimal(0), place="FR", note="reverse_charge")
EXEMPT = LineTax(category=TaxCategory.EXEMPT, percent=Decimal(0), place="DE", note="exempt", reason="NATO forces")
OUTSIDE = LineTax(category=TaxCategory.NOT_SUBJECT, percent=Decimal(0), place="CH", note="outside_scope")
ZERO = LineTax(category=TaxCategory.ZERO, percent=Decimal(0), place="DE")


def evidence() -> Evidence:
    return Evidence(
        cdr_id="4711",
        session_id="815",
        started_at=NOW,
        ended_at=NOW + timedelta(hours=1),
        time_zone="Europe/Berlin",
        place="Marktplatz <&> \x07",
        address="Markt 1, Berlin",
        evse="DE*LAD*E1",
        energy_kwh=Decimal("21.5"),
        tariff="T v3",
        explanation=("21.5 kWh at 0.55 EUR", "Fee 1.00 EUR"),
        proof=Proof.PROVEN,
        register_begin_wh=Decimal(1000),
        register_end_wh=Decimal(22500),
    )


def charge(
    amount: str, tax: LineTax = STANDARD, *, included: bool = False, kind: LineKind = LineKind.CHARGING
) -> Charge:
    session = kind is LineKind.CHARGING
    return Charge(
        kind=kind,
        text="Charging session: Marktplatz" if session else "Base fee",
        amount=Decimal(amount),
        tax=tax,
        included=included,
        quantity=Decimal(-1 if amount.startswith("-") else 1) if session else Decimal(3),
        evidence=evidence() if session else None,
        since=NOW,
        until=NOW + timedelta(hours=1),
    )


def made(
    *charges: Charge,
    kind: InvoiceKind = InvoiceKind.INVOICE,
    vat_id: str | None = "FR40303265045",
    language: str = "en",
    issuer: Issuer | None = None,
    **more: Any,
) -> tuple[Invoice, InvoiceContent]:
    sums = summed(charges, "EUR")
    content = InvoiceContent(
        kind=kind,
        currency="EUR",
        issuer=issuer or msgspec.convert(ISSUER, Issuer),
        customer=Customer(
            name="Flotte AG",
            address=PostalAddress(lines=("Rue 1",), postal_code="75001", city="Paris", country="FR"),
            vat_id=vat_id,
            email="compta@flotte.example",
        ),
        lines=sums.lines,
        taxes=sums.taxes,
        net=sums.net,
        tax=sums.tax,
        gross=sums.gross,
        terms_days=14,
        language=language,
        since=date(2026, 3, 1),
        until=date(2026, 3, 31),
        reference="04011000-1234512345-06",
        agreement="A-1",
        notes=notes_of(sums.taxes),
        **more,
    )
    invoice = Invoice(
        id=1,
        key="k",
        kind=kind,
        state=InvoiceState.ISSUED,
        number="INV-2026-000001",
        run_id=None,
        agreement_id=None,
        driver_id=None,
        payment_id=None,
        payer_kind=PayerKind.COMPANY,
        payer_id="c1",
        customer="Flotte AG",
        currency="EUR",
        net=sums.net,
        tax=sums.tax,
        gross=sums.gross,
        paid=Decimal(0),
        credited=Decimal(0),
        written_off=Decimal(0),
        credits=None,
        reason=None,
        issued_on=date(2026, 4, 1),
        due_on=date(2026, 4, 15),
        dunning_level=0,
        dunned_at=None,
        sent_at=None,
        revision=1,
        created_at=NOW,
        issued_at=NOW,
    )
    return invoice, content


CASES = {
    "standard": lambda: made(charge("10.00"), charge("3.33"), charge("9.99", kind=LineKind.FEE)),
    "prices with tax": lambda: made(charge("11.90", included=True), charge("0.05", included=True)),
    "both": lambda: made(charge("11.90", included=True), charge("7.77")),
    "taken back within": lambda: made(charge("10.00"), charge("-4.20")),
    "reverse charge": lambda: made(charge("10.00", REVERSE)),
    "exempt": lambda: made(charge("10.00", EXEMPT)),
    "outside": lambda: made(
        charge("10.00", OUTSIDE),
        vat_id=None,
        issuer=msgspec.convert({**ISSUER, "vat_id": None, "tax_number": None}, Issuer),
    ),
    "zero": lambda: made(charge("10.00", ZERO), charge("2.00")),
    "receipt": lambda: made(charge("11.90", included=True), kind=InvoiceKind.RECEIPT, method="card", vat_id=None),
    "credit note": lambda: made(
        charge("10.00"),
        kind=InvoiceKind.CREDIT_NOTE,
        credited_number="INV-2026-000000",
        credited_on=date(2026, 3, 5),
        reason="wrong tariff",
    ),
}


@lru_cache(maxsize=4)
def schema(path: str) -> etree.XMLSchema:
    file = files("facturx").joinpath(f"xsd_and_schematron/{path}")
    return etree.XMLSchema(etree.parse(str(file)))


@pytest.mark.parametrize("case", CASES)
def test_cii_fits_its_schema(case: str) -> None:
    root = etree.fromstring(DocumentPainter().cii(*CASES[case]()))
    schema("facturx-en16931/Factur-X_EN16931.xsd").assertValid(root)


@pytest.mark.parametrize("case", CASES)
def test_ubl_fits_its_schema(case: str) -> None:
    root = etree.fromstring(DocumentPainter().ubl(*CASES[case]()))
    kind = "CreditNote" if case == "credit note" else "Invoice"
    schema(f"ubl-2.1/maindoc/UBL-{kind}-2.1.xsd").assertValid(root)


@pytest.fixture(scope="module")
def rules() -> Any:
    """EN 16931's own rules, as Schematron made them a transformation."""
    from saxonche import PySaxonProcessor

    with PySaxonProcessor(license=False) as processor:
        compiler = processor.new_xslt30_processor()
        sheet = files("facturx").joinpath("xsd_and_schematron/ubl-2.1/EN16931-UBL-validation.xslt")
        yield processor, compiler.compile_stylesheet(stylesheet_file=str(sheet))


@pytest.mark.parametrize("case", CASES)
def test_ubl_keeps_every_rule_of_the_standard(rules: Any, case: str) -> None:
    assert broken(rules, DocumentPainter().ubl(*CASES[case]())) == []


def test_the_rules_are_really_looked_at(rules: Any) -> None:
    xml = DocumentPainter().ubl(*CASES["standard"]())
    assert any(rule == "BR-CO-15" for rule in broken(rules, xml.replace(b">27.75<", b">28.75<")))


def broken(rules: Any, xml: bytes) -> list[str]:
    processor, sheet = rules
    report = sheet.transform_to_string(xdm_node=processor.parse_xml(xml_text=xml.decode()))
    root = etree.fromstring(report.encode())
    return [
        f"{one.get('id')}"
        for one in root.iter("{http://purl.oclc.org/dsdl/svrl}failed-assert")
        if one.get("flag", "fatal") == "fatal"
    ]


@pytest.mark.parametrize("case", CASES)
def test_sums_of_cii_balance(case: str) -> None:
    """BR-CO-10, 13, 14, 15, 16, 17; BR-S-08, 09: checked on what is written."""
    root = etree.fromstring(DocumentPainter().cii(*CASES[case]()))

    def texts(name: str, under: Any = root) -> list[str]:
        return [one.text or "" for one in under.iter(f"{{*}}{name}")]

    def amount(name: str) -> Decimal:
        found = texts(name)
        return Decimal(found[-1]) if found else Decimal(0)

    (sums,) = root.iter("{*}SpecifiedTradeSettlementHeaderMonetarySummation")
    lines = [
        Decimal(texts("LineTotalAmount", one)[0])
        for one in root.iter("{*}SpecifiedTradeSettlementLineMonetarySummation")
    ]
    assert Decimal(texts("LineTotalAmount", sums)[0]) == sum(lines) == amount("TaxBasisTotalAmount")
    (header,) = root.iter("{*}ApplicableHeaderTradeSettlement")
    parts = [one for one in header if one.tag.endswith("}ApplicableTradeTax")]
    assert sum(Decimal(texts("CalculatedAmount", one)[0]) for one in parts) == amount("TaxTotalAmount")
    assert amount("GrandTotalAmount") == amount("TaxBasisTotalAmount") + amount("TaxTotalAmount")
    assert amount("DuePayableAmount") == amount("GrandTotalAmount") - amount("TotalPrepaidAmount")
    for one in parts:
        rate = Decimal((texts("RateApplicablePercent", one) or ["0"])[0])
        exact = Decimal(texts("BasisAmount", one)[0]) * rate / 100
        assert abs(Decimal(texts("CalculatedAmount", one)[0]) - exact) < Decimal("0.02")


def test_lines_outside_the_scope_of_vat_stand_alone() -> None:
    with pytest.raises(ConflictError, match="BR-O-11"):
        DocumentPainter().cii(*made(charge("1.00", OUTSIDE), charge("1.00")))


def test_an_issuer_without_vat_has_a_pdf_and_no_e_invoice() -> None:
    issuer = msgspec.convert({**ISSUER, "address": {"country": "US", "region": "NY"}, "vat_id": None}, Issuer)
    case = made(charge("1.00", ZERO), issuer=issuer)
    with pytest.raises(ConflictError, match="sales tax"):
        DocumentPainter().cii(*case)
    assert b"factur-x.xml" not in DocumentPainter().pdf(*case)


@pytest.mark.parametrize("language", ["de", "en", "sv", "fr"])
def test_pdf_has_the_e_invoice_in_it_and_says_what_it_is(language: str) -> None:
    from facturx import get_xml_from_pdf
    from pypdf import PdfReader

    case = made(charge("10.00"), charge("3.33"), language=language)
    raw = DocumentPainter().pdf(*case)
    name, xml = get_xml_from_pdf(raw, check_xsd=True, check_schematron=False)
    assert (name, xml) == ("factur-x.xml", DocumentPainter().cii(*case))
    reader = PdfReader(io.BytesIO(raw))
    text = "\n".join(page.extract_text() for page in reader.pages)
    word = {"de": "Rechnung", "sv": "Faktura"}.get(language, "Invoice")
    for wanted in (f"{word} INV-2026-000001", "Ladewerk GmbH", "Flotte AG", "DE89 3704", "DE*LAD*E1", "4711"):
        assert wanted in text
    metadata = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in metadata
    assert "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in metadata


@pytest.mark.parametrize("case", CASES)
def test_every_invoice_can_be_drawn(case: str) -> None:
    assert DocumentPainter().pdf(*CASES[case]()).startswith(b"%PDF-")


def test_long_invoices_go_over_many_pages() -> None:
    from pypdf import PdfReader

    raw = DocumentPainter().pdf(*made(*(charge("1.00") for _ in range(60))))
    assert len(PdfReader(io.BytesIO(raw)).pages) > 4


def _texts(content: bytes, page: int) -> list[tuple[float, str]]:
    """Texts of a page with where they stand, from the top, in points."""
    from pypdf import PdfReader

    found: list[tuple[float, str]] = []

    def visit(text: str, _: Any, matrix: list[float], *__: Any) -> None:
        found.extend((-matrix[5], part.strip()) for part in text.split("\n") if part.strip())

    PdfReader(io.BytesIO(content)).pages[page].extract_text(visitor_text=visit)
    return sorted(found)


def _heights(content: bytes, page: int) -> dict[str, float]:
    """Where each text of a page stands."""
    return {text: height for height, text in _texts(content, page)}


@pytest.mark.parametrize("language", ["en", "de", "sv"])
def test_a_long_name_and_address_push_the_title_down(language: str) -> None:
    invoice, content = made(charge("100.00"), language=language)
    lines = tuple(f"Line {number} " + "of a long address " * 4 for number in range(3))
    address = PostalAddress(lines=lines, postal_code="24103", city="Kiel", country="DE")
    long = Customer(name="Gesellschaft für Elektromobilität " * 4, address=address, email="a@b.example")
    heights = _heights(DocumentPainter().pdf(invoice, msgspec.structs.replace(content, customer=long)), 0)
    title = next(height for text, height in heights.items() if text.endswith("INV-2026-000001") and " " in text)
    assert heights["24103 Kiel"] < title
    assert "DE" not in heights  # within a country it is not written


def test_a_line_of_many_words_is_not_cut_by_the_end_of_a_page() -> None:
    charges = [
        msgspec.structs.replace(charge("1.00"), text=f"No {number}: " + "many words of a long name " * (number % 4 + 1))
        for number in range(60)
    ]
    invoice, content = made(*charges)
    pages = DocumentPainter().pdf(invoice, content)
    for page in range(3):
        texts = [text for _, text in _texts(pages, page)]
        # What begins on a page ends there: as many times of sessions as names stand on it.
        assert texts
        assert sum(text.startswith("No ") for text in texts) == sum("DE*LAD*E1" in text for text in texts)


def test_what_was_paid_is_not_asked_for_again_and_a_part_leaves_the_rest() -> None:
    invoice, content = made(charge("100.00"))
    painter = DocumentPainter()

    def said(paid: Decimal) -> str:
        return " ".join(_heights(painter.pdf(msgspec.structs.replace(invoice, paid=paid), content), 0))

    assert "Please pay 119.00 EUR" in said(Decimal(0))
    assert "Please pay 109.00 EUR" in said(Decimal(10))
    assert "Paid. Thank you." in said(Decimal(119))
    assert "Please pay" not in said(Decimal(119))


def test_a_fee_is_for_days_that_it_includes() -> None:
    fee = msgspec.structs.replace(
        charge("30.00", kind=LineKind.FEE),
        since=datetime(2026, 3, 1, tzinfo=UTC),
        until=datetime(2026, 4, 1, tzinfo=UTC),
    )
    invoice, content = made(fee, language="de")
    assert "01.03.2026 – 31.03.2026" in _heights(DocumentPainter().pdf(invoice, content), 0)
