"""OCPI 2.3.0 for the public: locations with their status, and prices, as national access points and map makers read them without a key."""

from chargeplane.edges.ocpi_export.export import OcpiExport

__all__ = ["OcpiExport"]
