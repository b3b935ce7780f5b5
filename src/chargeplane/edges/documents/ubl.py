"""EN 16931 in the syntax of UBL 2.1. The order of elements is the schema's."""

from __future__ import annotations

from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from chargeplane.domain.invoicing.model import InvoiceContent, Line
from chargeplane.domain.invoicing.parties import Customer, Issuer, PostalAddress
from chargeplane.domain.invoicing.taxes import TaxCategory
from chargeplane.edges.documents.en16931 import (
    CREDIT_TRANSFER,
    EXEMPTION_CODES,
    GUIDELINE,
    Facts,
    address_lines,
    amount,
    details,
    endpoint,
    exemption,
    explanation,
    facts_of,
    merged,
    percent,
    priced,
)
from chargeplane.store.queries.invoices import Invoice

_UBL: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
_CAC: Final = f"{_UBL}CommonAggregateComponents-2"
_CBC: Final = f"{_UBL}CommonBasicComponents-2"
register_namespace("cac", _CAC)
register_namespace("cbc", _CBC)


def ubl(invoice: Invoice, content: InvoiceContent) -> bytes:
    """The invoice, or the credit note, as XML.

    Raises:
        ConflictError: it cannot be an EN 16931 invoice.
    """
    facts = facts_of(invoice, content)
    credit = facts.type_code == "381"
    name = "CreditNote" if credit else "Invoice"
    root = Element(f"{{{_UBL}{name}-2}}{name}")
    _text(root, "CustomizationID", GUIDELINE)
    _text(root, "ID", facts.number)
    _text(root, "IssueDate", facts.issued_on.isoformat())
    if not credit:
        _text(root, "DueDate", facts.due_on.isoformat())
    _text(root, f"{name}TypeCode", facts.type_code)
    if content.reason:
        _text(root, "Note", content.reason)
    _text(root, "DocumentCurrencyCode", content.currency)
    if content.reference:
        _text(root, "BuyerReference", content.reference)
    if content.since is not None and content.until is not None:
        period = _in(root, "InvoicePeriod")
        _text(period, "StartDate", content.since.isoformat())
        _text(period, "EndDate", content.until.isoformat())
    if content.credited_number:
        before = _in(_in(root, "BillingReference"), "InvoiceDocumentReference")
        _text(before, "ID", content.credited_number)
        if content.credited_on is not None:
            _text(before, "IssueDate", content.credited_on.isoformat())
    if content.agreement:
        _text(_in(root, "ContractDocumentReference"), "ID", content.agreement)
    _party(_in(root, "AccountingSupplierParty"), content.issuer, content.issuer.address)
    buyer = content.customer.address or PostalAddress(country=facts.buyer_country)
    _party(_in(root, "AccountingCustomerParty"), content.customer, buyer)
    if content.until is not None:
        _text(_in(root, "Delivery"), "ActualDeliveryDate", content.until.isoformat())
    _means(root, facts)
    if credit:
        _text(_in(root, "PaymentTerms"), "Note", facts.due_on.isoformat())
    _taxes(root, content)
    _sums(root, facts)
    for line in content.lines:
        _line(root, line, content.currency, credit)
    made: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _party(parent: Element, who: Issuer | Customer, address: PostalAddress) -> None:
    party = _in(parent, "Party")
    found = endpoint(who)
    if found is not None:
        _text(party, "EndpointID", found[1]).set("schemeID", found[0])
    _text(_in(party, "PartyName"), "Name", who.name)
    place = _in(party, "PostalAddress")
    lines = address_lines(address)
    for name, line in zip(("StreetName", "AdditionalStreetName"), lines, strict=False):
        _text(place, name, line)
    if address.city:
        _text(place, "CityName", address.city)
    if address.postal_code:
        _text(place, "PostalZone", address.postal_code)
    if address.region:
        _text(place, "CountrySubentity", address.region)
    if len(lines) > 2:
        _text(_in(place, "AddressLine"), "Line", lines[2])
    _text(_in(place, "Country"), "IdentificationCode", address.country)
    if who.vat_id:
        _registration(party, who.vat_id, "VAT")
    if isinstance(who, Issuer) and who.tax_number:
        _registration(party, who.tax_number, "TAX")
    legal = _in(party, "PartyLegalEntity")
    _text(legal, "RegistrationName", who.name)
    if isinstance(who, Issuer):
        if who.registration:
            _text(legal, "CompanyID", who.registration)
        if who.contact or who.phone or who.email:
            contact = _in(party, "Contact")
            _text(contact, "Name", who.contact or who.name)
            if who.phone:
                _text(contact, "Telephone", who.phone)
            if who.email:
                _text(contact, "ElectronicMail", who.email)


def _registration(party: Element, number: str, scheme: str) -> None:
    registered = _in(party, "PartyTaxScheme")
    _text(registered, "CompanyID", number)
    _text(_in(registered, "TaxScheme"), "ID", scheme)


def _means(root: Element, facts: Facts) -> None:
    issuer = facts.content.issuer
    by_transfer = facts.content.method == "transfer" and issuer.iban is not None
    means = _in(root, "PaymentMeans")
    code = CREDIT_TRANSFER if by_transfer else "48" if facts.content.method == "card" else "1"
    _text(means, "PaymentMeansCode", code)
    _text(means, "PaymentID", facts.number)
    if by_transfer:
        account = _in(means, "PayeeFinancialAccount")
        _text(account, "ID", issuer.iban or "")
        if issuer.account_name:
            _text(account, "Name", issuer.account_name)
        if issuer.bic:
            _text(_in(account, "FinancialInstitutionBranch"), "ID", issuer.bic)


def _taxes(root: Element, content: InvoiceContent) -> None:
    total = _in(root, "TaxTotal")
    _money(total, "TaxAmount", content.tax, content.currency)
    for category, rate, base, owed, reason in merged(content.taxes):
        part = _in(total, "TaxSubtotal")
        _money(part, "TaxableAmount", base, content.currency)
        _money(part, "TaxAmount", owed, content.currency)
        tax = _in(part, "TaxCategory")
        _text(tax, "ID", category.value)
        if category is not TaxCategory.NOT_SUBJECT:
            _text(tax, "Percent", percent(rate))
        if category in EXEMPTION_CODES:
            _text(tax, "TaxExemptionReasonCode", EXEMPTION_CODES[category])
        words = exemption(category, reason, content.language)
        if words is not None:
            _text(tax, "TaxExemptionReason", words)
        _text(_in(tax, "TaxScheme"), "ID", "VAT")


def _sums(root: Element, facts: Facts) -> None:
    content = facts.content
    sums = _in(root, "LegalMonetaryTotal")
    _money(sums, "LineExtensionAmount", content.net, content.currency)
    _money(sums, "TaxExclusiveAmount", content.net, content.currency)
    _money(sums, "TaxInclusiveAmount", content.gross, content.currency)
    if facts.prepaid:
        _money(sums, "PrepaidAmount", facts.prepaid, content.currency)
    _money(sums, "PayableAmount", facts.due, content.currency)


def _line(root: Element, line: Line, currency: str, credit: bool) -> None:
    item_line = _in(root, "CreditNoteLine" if credit else "InvoiceLine")
    _text(item_line, "ID", str(line.number))
    explained = explanation(line)
    if explained:
        _text(item_line, "Note", explained)
    quantity, price = priced(line)
    billed = _text(item_line, "CreditedQuantity" if credit else "InvoicedQuantity", f"{quantity:f}")
    billed.set("unitCode", "C62")
    _money(item_line, "LineExtensionAmount", line.net, currency)
    if line.since is not None and line.until is not None:
        period = _in(item_line, "InvoicePeriod")
        _text(period, "StartDate", line.since.date().isoformat())
        _text(period, "EndDate", max(line.until, line.since).date().isoformat())
    item = _in(item_line, "Item")
    _text(item, "Name", line.text)
    tax = _in(item, "ClassifiedTaxCategory")
    _text(tax, "ID", line.tax.category.value)
    if line.tax.category is not TaxCategory.NOT_SUBJECT:
        _text(tax, "Percent", percent(line.tax.percent))
    _text(_in(tax, "TaxScheme"), "ID", "VAT")
    for name, value in details(line):
        feature = _in(item, "AdditionalItemProperty")
        _text(feature, "Name", name)
        _text(feature, "Value", value)
    _money(_in(item_line, "Price"), "PriceAmount", price, currency)


def _in(parent: Element, name: str) -> Element:
    return SubElement(parent, f"{{{_CAC}}}{name}")


def _text(parent: Element, name: str, text: str) -> Element:
    made = SubElement(parent, f"{{{_CBC}}}{name}")
    made.text = "".join(char for char in text if char >= " " or char in "\t\n").strip()
    return made


def _money(parent: Element, name: str, value: Decimal, currency: str) -> None:
    _text(parent, name, amount(value)).set("currencyID", currency)
