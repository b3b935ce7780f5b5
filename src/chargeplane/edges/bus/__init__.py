"""The bus between processes: in process for one, NATS for several."""

from chargeplane.edges.bus.embedded_nats import EmbeddedNats
from chargeplane.edges.bus.in_process import InProcessBus
from chargeplane.edges.bus.nats import NatsBus

__all__ = ["EmbeddedNats", "InProcessBus", "NatsBus"]
