"""Invoices: what is billed, issued, paid, credited, sent."""
