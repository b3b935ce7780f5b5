"""What can be set of the OCPP door. Read by main/wiring.py alone."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from msgspec import Struct

from chargeplane.app.ports import StationCredentials
from chargeplane.kernel.proxies import TrustedProxies

CertificateCheck = Callable[[StationCredentials, ssl.SSLObject, str], bool]
"""Whether the peer's certificate is the station's (OCPP 2.0.1 A00.FR.403 and on); synchronous, called in the handshake with the
peer's address."""


class Listener(Struct, frozen=True, kw_only=True):
    """One listening address.

    Args:
        host: address to bind; None binds all interfaces.
        port: 0 picks a free one.
        ssl_context: makes it a TLS listener (security profiles 2 and 3).
        certificate_check: binds the client certificate to the station; without one, profile 3 is refused.
    """

    host: str | None = None
    port: int = 9000
    ssl_context: ssl.SSLContext | None = None
    certificate_check: CertificateCheck | None = None

    @property
    def tls(self) -> bool:
        """Whether stations of the security profiles 2 and 3 (and only these) connect here."""
        return self.ssl_context is not None


class OcppServerConfig(Struct, frozen=True, kw_only=True):
    """The OCPP door.

    Args:
        listeners: where to listen; `port` of the others follows from it.
        reuse_port: several worker processes share the port (SO_REUSEPORT).
        versions: OCPP versions in the server's order of preference.
        assumed_version: version, one of `versions`, of a station that offers no subprotocol at all and is not
            registered with one; None closes it, as OCPP-J asks.
        max_connections: sockets in all, also those still in the handshake; the next one gets a 503.
        max_connections_per_address: the same for one peer address. Generous: whole sites stand behind one address.
        failed_attempts_burst: failed handshakes an address may make at once before they are answered with 429.
        failed_attempts_per_s: how fast it gets them back. Successful handshakes are never counted or refused.
        failed_passwords_burst, failed_passwords_per_s: the same for one address and one station's password.
        handshake_timeout_s: a socket that has not finished the handshake by then is closed.
        close_timeout_s: a socket that has not answered our close frame by then is cut.
        max_message_bytes: of one message, after assembly and decompression; a larger one closes with 1009.
        write_buffer_bytes: a station that leaves more than this unread is cut.
        receive_buffer_bytes: kernel receive buffer of a socket, which bounds what one read can hand us.
        compression: whether permessage-deflate is negotiated (OCPP 2.0.1 part 4, 3.3 asks a CSMS for it).
        compression_threshold_bytes: shorter messages are sent as they are.
        ping_interval_s: a station is pinged when nothing came from it for so long; 0 never pings.
        ping_timeout_s: a station that sends nothing for so long after a ping is cut.
        max_backlog: unanswered messages of a station at which its socket is no longer read until half are answered.
        frames_per_turn: frames of one station handled before the others get their turn.
        messages_per_round: messages of all stations, heartbeats apart, that are taken before the loop goes round once; the others
            stand in a line.
        rate_limit_per_s, rate_limit_burst: messages a station may send while the event loop is behind by more than
            `loaded_lag_s`; what is above waits. A loop that keeps up never slows anyone.
        loaded_lag_s: how late the loop must be to count as full.
        tick_s: resolution of all deadlines here.
        backlog: connections the kernel holds for us to accept.
        proxies: reverse proxies whose word is taken for whom they connect; limits and logs are by that address then.
    """

    listeners: tuple[Listener, ...] = (Listener(),)
    reuse_port: bool = False
    versions: tuple[str, ...] = ("2.1", "2.0.1", "1.6")
    assumed_version: str | None = None
    max_connections: int = 19_000
    max_connections_per_address: int = 19_000
    failed_attempts_burst: int = 300
    failed_attempts_per_s: float = 5.0
    failed_passwords_burst: int = 10
    failed_passwords_per_s: float = 0.2
    handshake_timeout_s: float = 20.0
    close_timeout_s: float = 5.0
    max_message_bytes: int = 256 * 1024
    write_buffer_bytes: int = 1024 * 1024
    receive_buffer_bytes: int = 128 * 1024
    compression: bool = True
    compression_threshold_bytes: int = 256
    ping_interval_s: float = 60.0
    ping_timeout_s: float = 30.0
    max_backlog: int = 32
    frames_per_turn: int = 16
    messages_per_round: int = 16
    rate_limit_per_s: float = 50.0
    rate_limit_burst: int = 500
    loaded_lag_s: float = 0.1
    tick_s: float = 0.25
    backlog: int = 4096
    proxies: TrustedProxies = TrustedProxies()
