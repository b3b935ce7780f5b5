"""A payment provider to try payments with: a real HTTP server with a pay page, a second factor, and signed webhooks that can be late, doubled,
reordered or lost on command. No money moves.
"""

from chargeplane.simulator.payments.book import Book, Card, Intent, RefusalError
from chargeplane.simulator.payments.server import PaymentSimulator

__all__ = ["Book", "Card", "Intent", "PaymentSimulator", "RefusalError"]
