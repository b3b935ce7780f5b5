"""Pages that the links in mails lead to, and those around signing on by a provider."""

from chargeplane.edges.http.account.pages import AccountPages

__all__ = ["AccountPages"]
