"""Tariffs: made, versioned, retired, put on connectors, and found for a session."""

from chargeplane.app.tariffs.tariffs import Tariffs

__all__ = ["Tariffs"]
