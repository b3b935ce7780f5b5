"""Whether the addresses a server is to listen on can be had; asked before anything is started."""

from __future__ import annotations

import errno
import socket

from chargeplane.kernel.errors import RuleError
from chargeplane.main.config import Config, Role


def check_doors(config: Config) -> None:
    """Returns where every door of the server can be opened.

    Raises:
        RuleError: one cannot; the sentence names the address, why, and the setting.
    """
    doors = []
    if config.role in (Role.ALL, Role.STATIONS):
        doors.append(("stations", "OCPP_PORT", config.ocpp_port))
        if config.tls.certificate_file is not None:
            doors.append(("stations over TLS", "OCPPS_PORT", config.ocpps_port))
    if config.role in (Role.ALL, Role.API):
        doors.append(("REST", "HTTP_PORT", config.http_port))
    for purpose, variable, port in doors:
        try:
            _try(config.bind, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = f"port {port} is taken by another program; stop that, or choose another port"
            elif error.errno == errno.EACCES:
                why = f"port {port} is reserved for root; choose one above 1023"
            else:
                why, variable = (error.strerror or str(error)), "BIND"
                why = f"{why[:1].lower()}{why[1:]}; choose another address"
            raise RuleError(
                f"Cannot listen for {purpose} on {config.bind}:{port}: {why} with CHARGEPLANE_{variable}."
            ) from error


def _try(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the doors do: a connection that lingers from the last run is no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
