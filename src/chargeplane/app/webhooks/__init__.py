"""Webhooks by the Standard Webhooks specification: what happened, told to whoever asked to hear of it.

An event is written in the database transaction of what it tells of, with a delivery for each endpoint that wants it: by `note`, or, for
facts of the outbox, by `note_facts` (store/queries/webhooks). `Deliverer` sends them.
"""

from chargeplane.app.webhooks.deliverer import Answer, Deliverer, Sender
from chargeplane.app.webhooks.webhooks import Webhooks
from chargeplane.store.queries.webhooks import note

__all__ = ["Answer", "Deliverer", "Sender", "Webhooks", "note"]
