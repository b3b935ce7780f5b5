"""The Prometheus door: what the process has measured, in the exposition format.

exposition  the page /metrics gives
workers     the page of several worker processes
commit      what the group commit tells of its batches
"""

from chargeplane.edges.metrics.commit import CommitMeasures
from chargeplane.edges.metrics.exposition import Exposition
from chargeplane.edges.metrics.workers import WorkersExposition

__all__ = ["CommitMeasures", "Exposition", "WorkersExposition"]
