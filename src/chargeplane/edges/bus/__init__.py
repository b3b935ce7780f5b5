"""x."""

from chargeplane.edges.bus.in_process import InProcessBus

__all__ = ["InProcessBus"]
