"""Chargeplane, the control plane for EV charging."""

__version__ = "0.1.0"
