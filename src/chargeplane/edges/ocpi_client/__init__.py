"""Asking roaming partners by OCPI."""
