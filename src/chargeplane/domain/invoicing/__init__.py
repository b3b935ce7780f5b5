"""Invoices: what is on them, how taxes and sums are made, what state they are in. Pure."""
