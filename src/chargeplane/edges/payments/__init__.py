"""Payment providers outside of the house."""

from chargeplane.edges.payments.simulator import simulator_provider
from chargeplane.edges.payments.stripe import stripe_provider

__all__ = ["simulator_provider", "stripe_provider"]
