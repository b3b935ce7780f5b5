"""EN 16931 in the syntax of UN/CEFACT: Cross Industry Invoice D16B, as Factur-X and XRechnung have it. The order of elements is the schema's."""

from __future__ import annotations

from datetime import date
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

_RSM: Final = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
_RAM: Final = "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"
_UDT: Final = "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100"
for _prefix, _space in (("rsm", _RSM), ("ram", _RAM), ("udt", _UDT)):
    register_namespace(_prefix, _space)


def cii(invoice: Invoice, content: InvoiceContent) -> bytes:
    """The invoice as XML.

    Raises:
        ConflictError: it cannot be an EN 16931 invoice.
    """
    facts = facts_of(invoice, content)
    root = Element(f"{{{_RSM}}}CrossIndustryInvoice")
    context = SubElement(root, f"{{{_RSM}}}ExchangedDocumentContext")
    _text(_in(context, "GuidelineSpecifiedDocumentContextParameter"), "ID", GUIDELINE)
    document = SubElement(root, f"{{{_RSM}}}ExchangedDocument")
    _text(document, "ID", facts.number)
    _text(document, "TypeCode", facts.type_code)
    _date(document, "IssueDateTime", facts.issued_on)
    if content.reason:
        _text(_in(document, "IncludedNote"), "Content", content.reason)
    trade = SubElement(root, f"{{{_RSM}}}SupplyChainTradeTransaction")
    for line in content.lines:
        _line(trade, line)
    _agreement(trade, facts)
    delivery = _in(trade, "ApplicableHeaderTradeDelivery")
    if content.until is not None:
        event = _in(delivery, "ActualDeliverySupplyChainEvent")
        _date(event, "OccurrenceDateTime", content.until)
    _settlement(trade, facts)
    made: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _line(trade: Element, line: Line) -> None:
    item = _in(trade, "IncludedSupplyChainTradeLineItem")
    document = _in(item, "AssociatedDocumentLineDocument")
    _text(document, "LineID", str(line.number))
    explained = explanation(line)
    if explained:
        _text(_in(document, "IncludedNote"), "Content", explained)
    product = _in(item, "SpecifiedTradeProduct")
    _text(product, "Name", line.text)
    for name, value in details(line):
        feature = _in(product, "ApplicableProductCharacteristic")
        _text(feature, "Description", name)
        _text(feature, "Value", value)
    quantity, price = priced(line)
    agreed = _in(_in(item, "SpecifiedLineTradeAgreement"), "NetPriceProductTradePrice")
    _text(agreed, "ChargeAmount", amount(price))
    billed = _text(_in(item, "SpecifiedLineTradeDelivery"), "BilledQuantity", f"{quantity:f}")
    billed.set("unitCode", "C62")
    settled = _in(item, "SpecifiedLineTradeSettlement")
    tax = _in(settled, "ApplicableTradeTax")
    _text(tax, "TypeCode", "VAT")
    _text(tax, "CategoryCode", line.tax.category.value)
    if line.tax.category is not TaxCategory.NOT_SUBJECT:
        _text(tax, "RateApplicablePercent", percent(line.tax.percent))
    if line.since is not None and line.until is not None:
        period = _in(settled, "BillingSpecifiedPeriod")
        _date(period, "StartDateTime", line.since.date())
        _date(period, "EndDateTime", max(line.until, line.since).date())
    _text(_in(settled, "SpecifiedTradeSettlementLineMonetarySummation"), "LineTotalAmount", amount(line.net))


def _agreement(trade: Element, facts: Facts) -> None:
    content = facts.content
    agreed = _in(trade, "ApplicableHeaderTradeAgreement")
    if content.reference:
        _text(agreed, "BuyerReference", content.reference)
    _seller(agreed, content.issuer)
    _buyer(agreed, content.customer, facts.buyer_country)
    if content.agreement:
        _text(_in(agreed, "ContractReferencedDocument"), "IssuerAssignedID", content.agreement)


def _seller(agreed: Element, issuer: Issuer) -> None:
    party = _in(agreed, "SellerTradeParty")
    _text(party, "Name", issuer.name)
    if issuer.registration:
        _text(_in(party, "SpecifiedLegalOrganization"), "ID", issuer.registration)
    if issuer.contact or issuer.phone or issuer.email:
        contact = _in(party, "DefinedTradeContact")
        _text(contact, "PersonName", issuer.contact or issuer.name)
        if issuer.phone:
            _text(_in(contact, "TelephoneUniversalCommunication"), "CompleteNumber", issuer.phone)
        if issuer.email:
            _text(_in(contact, "EmailURIUniversalCommunication"), "URIID", issuer.email)
    _address(party, issuer.address)
    _endpoint(party, issuer)
    for scheme, number in (("VA", issuer.vat_id), ("FC", issuer.tax_number)):
        if number:
            _text(_in(party, "SpecifiedTaxRegistration"), "ID", number).set("schemeID", scheme)


def _buyer(agreed: Element, customer: Customer, country: str) -> None:
    party = _in(agreed, "BuyerTradeParty")
    _text(party, "Name", customer.name)
    _address(party, customer.address or PostalAddress(country=country))
    _endpoint(party, customer)
    if customer.vat_id:
        _text(_in(party, "SpecifiedTaxRegistration"), "ID", customer.vat_id).set("schemeID", "VA")


def _address(party: Element, address: PostalAddress) -> None:
    place = _in(party, "PostalTradeAddress")
    if address.postal_code:
        _text(place, "PostcodeCode", address.postal_code)
    for name, line in zip(("LineOne", "LineTwo", "LineThree"), address_lines(address), strict=False):
        _text(place, name, line)
    if address.city:
        _text(place, "CityName", address.city)
    _text(place, "CountryID", address.country)
    if address.region:
        _text(place, "CountrySubDivisionName", address.region)


def _endpoint(party: Element, who: Issuer | Customer) -> None:
    found = endpoint(who)
    if found is not None:
        _text(_in(party, "URIUniversalCommunication"), "URIID", found[1]).set("schemeID", found[0])


def _settlement(trade: Element, facts: Facts) -> None:
    content = facts.content
    settled = _in(trade, "ApplicableHeaderTradeSettlement")
    _text(settled, "PaymentReference", facts.number)
    _text(settled, "InvoiceCurrencyCode", content.currency)
    means = _in(settled, "SpecifiedTradeSettlementPaymentMeans")
    by_transfer = content.method == "transfer" and content.issuer.iban is not None
    _text(means, "TypeCode", CREDIT_TRANSFER if by_transfer else "48" if content.method == "card" else "1")
    if by_transfer:
        account = _in(means, "PayeePartyCreditorFinancialAccount")
        _text(account, "IBANID", content.issuer.iban or "")
        if content.issuer.account_name:
            _text(account, "AccountName", content.issuer.account_name)
        if content.issuer.bic:
            bank = _in(means, "PayeeSpecifiedCreditorFinancialInstitution")
            _text(bank, "BICID", content.issuer.bic)
    for category, rate, base, owed, reason in merged(content.taxes):
        tax = _in(settled, "ApplicableTradeTax")
        _text(tax, "CalculatedAmount", amount(owed))
        _text(tax, "TypeCode", "VAT")
        words = exemption(category, reason, content.language)
        if words is not None:
            _text(tax, "ExemptionReason", words)
        _text(tax, "BasisAmount", amount(base))
        _text(tax, "CategoryCode", category.value)
        if category in EXEMPTION_CODES:
            _text(tax, "ExemptionReasonCode", EXEMPTION_CODES[category])
        if category is not TaxCategory.NOT_SUBJECT:
            _text(tax, "RateApplicablePercent", percent(rate))
    if content.since is not None and content.until is not None:
        period = _in(settled, "BillingSpecifiedPeriod")
        _date(period, "StartDateTime", content.since)
        _date(period, "EndDateTime", content.until)
    _date(_in(settled, "SpecifiedTradePaymentTerms"), "DueDateDateTime", facts.due_on)
    sums = _in(settled, "SpecifiedTradeSettlementHeaderMonetarySummation")
    _text(sums, "LineTotalAmount", amount(content.net))
    _text(sums, "TaxBasisTotalAmount", amount(content.net))
    _text(sums, "TaxTotalAmount", amount(content.tax)).set("currencyID", content.currency)
    _text(sums, "GrandTotalAmount", amount(content.gross))
    if facts.prepaid:
        _text(sums, "TotalPrepaidAmount", amount(facts.prepaid))
    _text(sums, "DuePayableAmount", amount(facts.due))
    if content.credited_number:
        before = _in(settled, "InvoiceReferencedDocument")
        _text(before, "IssuerAssignedID", content.credited_number)


def _in(parent: Element, name: str) -> Element:
    return SubElement(parent, f"{{{_RAM}}}{name}")


def _text(parent: Element, name: str, text: str) -> Element:
    made = _in(parent, name)
    made.text = _clean(text)
    return made


def _date(parent: Element, name: str, day: date) -> None:
    made = SubElement(_in(parent, name), f"{{{_UDT}}}DateTimeString")
    made.set("format", "102")
    made.text = f"{day:%Y%m%d}"


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(char for char in text if char >= " " or char in "\t\n").strip()
