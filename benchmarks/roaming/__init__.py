"""Roaming over HTTP: what `benchmarks/roaming_http.py` is made of.

documents   Locations as both sides have them
wire        a client and a server of HTTP that cost little
generator   the process that asks: pulls pages, sends PATCHes, asks about tokens
partner     the process of fake partners: a list to be read, and receivers that count what they are sent
peer        `extrawest-ocpi` under uvicorn, with a list in memory
stage       starts all that, registers partners, fills the database
parts       what is measured
report      the tables
"""
