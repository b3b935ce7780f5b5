"""OCPI without I/O: objects of each version, their limits, and what is kept of what partners send. Importable on its own."""
