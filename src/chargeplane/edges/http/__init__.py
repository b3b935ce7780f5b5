"""The REST door: Litestar on uvicorn in the server's own event loop, no protocol of stations in it."""

from chargeplane.edges.http.server import HttpConfig, HttpServer
from chargeplane.edges.http.services import Services

__all__ = ("HttpConfig", "HttpServer", "Services")
