"""The embedded PostgreSQL: programs from a wheel, our own supervision."""

from chargeplane.store.embedded.cluster import Cluster, Progress
from chargeplane.store.embedded.supervisor import EmbeddedPostgres, embedded_postgres

__all__ = ["Cluster", "EmbeddedPostgres", "Progress", "embedded_postgres"]
