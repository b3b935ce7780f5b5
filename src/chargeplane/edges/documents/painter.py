"""Documents of invoices and statements; slow enough to be made in a thread."""

from __future__ import annotations

from chargeplane.domain.invoicing.model import InvoiceContent
from chargeplane.domain.invoicing.parties import InvoicingSettings
from chargeplane.edges.documents.cii import cii
from chargeplane.edges.documents.pdf import pdf
from chargeplane.edges.documents.statement import statement_pdf
from chargeplane.edges.documents.ubl import ubl
from chargeplane.kernel.errors import ConflictError
from chargeplane.store.queries.invoices import Invoice
from chargeplane.store.queries.settlements_of_partners import StoredStatement


class DocumentPainter:
    """Draws invoices and statements."""

    def pdf(self, invoice: Invoice, content: InvoiceContent) -> bytes:
        """A PDF/A-3, with the e-invoice in it where the invoice can be one (Factur-X)."""
        try:
            xml: bytes | None = cii(invoice, content)
        except ConflictError:
            xml = None
        return pdf(invoice, content, xml)

    def statement(self, stored: StoredStatement, settings: InvoicingSettings) -> bytes:
        """A partner's statement, as PDF/A-3."""
        return statement_pdf(stored, settings)

    def cii(self, invoice: Invoice, content: InvoiceContent) -> bytes:
        """EN 16931 in the syntax of UN/CEFACT.

        Raises:
            ConflictError: it cannot be one.
        """
        return cii(invoice, content)

    def ubl(self, invoice: Invoice, content: InvoiceContent) -> bytes:
        """EN 16931 in the syntax of UBL 2.1.

        Raises:
            ConflictError: it cannot be one.
        """
        return ubl(invoice, content)
