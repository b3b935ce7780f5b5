"""Another certificate authority in place of the house's: a client of EST (RFC 7030)."""

from chargeplane.edges.est.client import EstAuthority, EstConfig

__all__ = ["EstAuthority", "EstConfig"]
