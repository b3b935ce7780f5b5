"""Where stations fetch and upload files: the addresses of the server's own doors for them."""

from __future__ import annotations

import enum
import socket
from typing import Final
from urllib.parse import quote, urlsplit

from chargeplane.kernel.errors import InvalidInputError
from chargeplane.store.queries.firmware import Reachable

FILES: Final = "/files/"
"""Where the paths of these doors begin."""


class Transfer(enum.StrEnum):
    """How a file travels."""

    HTTPS = "https"
    HTTP = "http"
    FTP = "ftp"


class FileAddresses:
    """The doors as stations see them. The ports are known when the doors are open.

    Args:
        public_url: of the doors behind a proxy; None: their own.
        host: name or address that stations reach.
        tls_host: the one that the doors' certificate names; None: the same.
    """

    def __init__(self, *, public_url: str | None, host: str, http_port: int, tls_host: str | None = None) -> None:
        self._public_url = None if public_url is None else public_url.rstrip("/")
        self.host = host
        self._tls_host = tls_host
        self.http_port = http_port
        self.https_port: int | None = None
        self.ftp_port: int | None = None

    def choose(self, station: Reachable | None, wanted: Transfer | None) -> Transfer:
        """How a file travels to or from a station: as is wanted, else the best of what the station says it knows; HTTPS for a station
        of a profile with TLS, HTTP for others.

        Raises:
            InvalidInputError: there is no such door.
        """
        offered = self._offered()
        if wanted is not None:
            if wanted not in offered:
                what = ", ".join(offered)
                raise InvalidInputError(f"There is no door for files by {wanted.value}.", (("/transfer", what),))
            return wanted
        known = offered
        if station is not None and station.protocols:
            words = {word.strip().lower() for word in station.protocols.split(",")}
            known = [one for one in offered if one.value in words] or offered
        secure = station is not None and station.security_profile >= 2
        order = [Transfer.HTTPS, Transfer.HTTP] if secure else [Transfer.HTTP, Transfer.HTTPS]
        return next((one for one in [*order, Transfer.FTP] if one in known), offered[0])

    def _offered(self) -> list[Transfer]:
        offered = []
        if self.https_port is not None or (self._public_url or "").startswith("https:"):
            offered.append(Transfer.HTTPS)
        if self._public_url is None or not self._public_url.startswith("https:"):
            offered.append(Transfer.HTTP)
        if self.ftp_port is not None:
            offered.append(Transfer.FTP)
        return offered

    def base(self, transfer: Transfer) -> str:
        """`https://HOST:PORT`, without a slash."""
        if self._public_url is not None and self._public_url.startswith(f"{transfer.value}:"):
            return self._public_url
        if transfer is Transfer.HTTPS:
            return f"https://{self._host if self._tls_host is None else _bracketed(self._tls_host)}:{self.https_port}"
        return f"{transfer.value}://{self._host}:{self.http_port}"

    def upload(self, transfer: Transfer, token: str) -> str:
        """Where a station uploads a file."""
        if transfer is Transfer.FTP:
            return f"ftp://upload:{token}@{self._host}:{self.ftp_port}/"
        return f"{self.base(transfer)}{FILES}uploads/{token}/"

    def firmware(self, transfer: Transfer, token: str, name: str) -> str:
        """Where a station fetches a firmware."""
        if transfer is Transfer.FTP:
            return f"ftp://firmware:{token}@{self._host}:{self.ftp_port}/{quote(name)}"
        return f"{self.base(transfer)}{FILES}firmware/{token}/{quote(name)}"

    @property
    def _host(self) -> str:
        host = self.host
        if self._public_url is not None:
            host = urlsplit(self._public_url).hostname or host
        return _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def own_host(bind: str) -> str:
    """The name or address by which stations reach a server that is bound to an address."""
    return socket.getfqdn() if bind in ("", "0.0.0.0", "::") else bind  # noqa: S104
