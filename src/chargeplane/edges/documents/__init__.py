"""Invoices as documents: PDF for people, EN 16931 in two syntaxes for machines."""

from chargeplane.edges.documents.painter import DocumentPainter

__all__ = ["DocumentPainter"]
