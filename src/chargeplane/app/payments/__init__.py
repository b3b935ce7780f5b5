"""Payments: held before a session, captured after it, by providers behind a port; and guests who pay at an EVSE."""
