"""The door for roaming partners: OCPI's endpoints, made of the table."""

from chargeplane.edges.ocpi_server.call import OK, Call, Handler, Page, Reply, not_found, refused

__all__ = ["OK", "Call", "Handler", "Page", "Reply", "not_found", "refused"]
