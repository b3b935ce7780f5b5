"""Asking servers of others by HTTP."""

from chargeplane.edges.outgoing.fetch import HttpFetcher
from chargeplane.edges.outgoing.vies import ViesRegister

__all__ = ["HttpFetcher", "ViesRegister"]
