"""Roaming with partners: connections, parties, how they are reached. No OCPI version is known here."""
