"""OCPI without I/O. Importable on its own."""
