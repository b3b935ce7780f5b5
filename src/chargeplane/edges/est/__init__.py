"""Another certificate authority in place of the house's, and V2G authorities: clients of EST (RFC 7030)."""

from chargeplane.edges.est.client import EstAuthority, EstConfig
from chargeplane.edges.est.v2g import EstV2gAuthority

__all__ = ["EstAuthority", "EstConfig", "EstV2gAuthority"]
