"""Asking servers of others by HTTP."""

from chargeplane.edges.outgoing.fetch import HttpFetcher

__all__ = ["HttpFetcher"]
