"""Queries behind the API, one file per noun. Every one takes the tenant and filters by it.

The structs here are shaped as the API shows them: a list's items and the single resource are the same struct.
"""
