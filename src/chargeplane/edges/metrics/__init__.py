"""The Prometheus door: what the process has measured, in the exposition format.

exposition  the page /metrics gives
commit      what the group commit tells of its batches
"""

from chargeplane.edges.metrics.commit import CommitMeasures
from chargeplane.edges.metrics.exposition import Exposition

__all__ = ["CommitMeasures", "Exposition"]
