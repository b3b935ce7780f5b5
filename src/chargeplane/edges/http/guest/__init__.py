"""Pages for guests: scanned code, payment, charging, receipt. Plain HTML that works without scripts."""

from chargeplane.edges.http.guest.pages import Pages, mail

__all__ = ["Pages", "mail"]
