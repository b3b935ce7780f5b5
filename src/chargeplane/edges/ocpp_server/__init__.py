"""The WebSocket door of the charging stations: OCPP-J 1.6, 2.0.1 and 2.1 on one port.

`server.OcppServer` is what main wires; everything else is its inside:

    config      what can be set, with units
    admission   how many sockets, and how many failed attempts an address may make
    handshake   URL, credentials, subprotocol and extensions of one opening request
    tls         certificates of the door, and whose a station's certificate is
    protocol    picows' protocol object with our limits around it
    deflate     permessage-deflate without context takeover
    wheel       one timer for pings, deadlines, time-outs and paused sockets
    session     one authenticated socket: frames in, the station's actor, answers out
    metrics     what is counted
"""

from chargeplane.edges.ocpp_server.config import Listener, OcppServerConfig
from chargeplane.edges.ocpp_server.server import OcppServer
from chargeplane.edges.ocpp_server.tls import ServerCertificate, TlsDoor, TlsMaterial

__all__ = ["Listener", "OcppServer", "OcppServerConfig", "ServerCertificate", "TlsDoor", "TlsMaterial"]
