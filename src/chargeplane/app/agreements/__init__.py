"""Service agreements: use cases, what follows from them, and who applies to whom.

agreements.py   create, read, change, remove; actions, amendments, versions
resolving.py    which agreement applies to a token at an EVSE at a moment
usage.py        what was charged under an agreement
following.py    the clock, and what id tokens are held to
ports.py        what others know of drivers and places
"""
