"""Providers of identities (OpenID Connect), asked over HTTP."""

from chargeplane.edges.oidc.client import OidcProviders
from chargeplane.edges.oidc.tokens import ALGORITHMS, check_id_token

__all__ = ["ALGORITHMS", "OidcProviders", "check_id_token"]
