"""Bookings: an EVSE for a driver and an interval.

states.py   what becomes of one
policy.py   what a tenant wants of all of them
terms.py    what an agreement allows and what it costs
times.py    when what is due
fees.py     what is charged without a session
"""
