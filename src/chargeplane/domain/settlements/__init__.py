"""What partners get and owe: shares of site hosts, what roaming partners' CDRs say.

model.py    what a statement says
shares.py   what a site host gets of a period
booking.py  what the ledger has of it
"""
