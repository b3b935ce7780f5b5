"""What the stations' TLS door is opened with, kept up to date: configured files, and the certificate authority of the house."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from msgspec.structs import replace

from chargeplane.app.authority import HouseAuthority
from chargeplane.app.ports import Trusted
from chargeplane.edges.ocpp_server import ServerCertificate, TlsDoor, TlsMaterial
from chargeplane.edges.ocpp_server.tls import Revoked, Suspicious
from chargeplane.kernel.errors import InvalidInputError
from chargeplane.main.config import TlsConfig

log = structlog.get_logger(__name__)


class StationTls:
    """Opens the TLS door where there is a certificate, and brings new files to it while it is open.

    Args:
        config: names of the files.
        house: makes the server's certificate where no file holds one and its names are configured.
        authorities: sign the stations' certificates, which are trusted beside those of the configured authorities.
        revoked: what was revoked by hand.
        on_failure: told of every TLS handshake that failed.
        suspicious: told of every certificate that was refused.
    """

    def __init__(
        self,
        config: TlsConfig,
        *,
        house: HouseAuthority | None = None,
        authorities: Sequence[Trusted] = (),
        revoked: Revoked = lambda issuer, serial_number: False,
        on_failure: Callable[[], None] = lambda: None,
        suspicious: Suspicious = lambda credentials, address, details: None,
    ) -> None:
        self._config = config
        self._suspicious = suspicious
        self._house = house
        self._authorities = authorities
        self._revoked = revoked
        self._loading = asyncio.Lock()
        self._on_failure = on_failure
        self._refused: TlsMaterial | None = None
        self._watching: asyncio.Task[None] | None = None
        self.door: TlsDoor | None = None
        """None where there is no certificate."""

    async def open(self) -> TlsDoor | None:
        """The door, watched from now on; None where no certificate is configured.

        Raises:
            InvalidInputError: a file is missing, or they do not fit together.
        """
        material = await self._material()
        if not material.certificates:
            return None
        organizations = frozenset(_parts(self._config.organizations))
        if organizations:
            organizations |= {self._config.organization}
        self.door = await asyncio.to_thread(
            lambda: TlsDoor(
                material,
                organizations=organizations,
                revoked=self._revoked,
                on_failure=self._on_failure,
                suspicious=self._suspicious,
            )
        )
        self._watching = asyncio.create_task(self._watch(self.door), name="tls-files")
        return self.door

    async def close(self) -> None:
        """Watches no more."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def reload(self) -> bool:
        """Takes what the files hold now; whether that was something new and good."""
        door = self.door
        if door is None:
            return False
        async with self._loading:
            return await self._reload(door)

    async def _reload(self, door: TlsDoor) -> bool:
        try:
            material = await self._material()
            if material in (door.material, self._refused):
                return False
            self._refused = material
            await asyncio.to_thread(door.load, material)
        except InvalidInputError as error:
            # Certificate and key are replaced one after the other: the next look may find both.
            log.error("tls_reload_refused", error=str(error))
            return False
        self._refused = None
        log.info("tls_reloaded")
        return True

    async def _watch(self, door: TlsDoor) -> None:
        while True:
            await asyncio.sleep(self._config.reload_interval_s)
            try:
                await self.reload()
            except Exception:
                log.exception("tls_reload_failed")

    async def _material(self) -> TlsMaterial:
        material = await asyncio.to_thread(read_files, self._config)
        names = _parts(self._config.server_names)
        if not material.certificates and self._house is not None and names:
            chain, key = await self._house.server_certificate(names)
            made = ServerCertificate(chain=chain.encode(), key=key)
            material = replace(material, certificates=(made,))
        if material.certificates:
            for authority in self._authorities:
                trust = await authority.trust()
                material = replace(
                    material, client_authorities=(material.client_authorities + b"\n" + trust.encode()).strip()
                )
        return material


def _parts(text: str) -> list[str]:
    return [part for piece in text.split(",") if (part := piece.strip())]


def read_files(config: TlsConfig) -> TlsMaterial:
    """What the configured files hold; without certificates where none is configured.

    Raises:
        InvalidInputError: a file cannot be read, or a certificate is named without its key.
    """
    certificates = []
    for prefix in ("", "second_"):
        chain, key = getattr(config, f"{prefix}certificate_file"), getattr(config, f"{prefix}key_file")
        if (chain is None) != (key is None):
            missing, given = ("key", "certificate") if key is None else ("certificate", "key")
            raise InvalidInputError(f"tls.{prefix}{given}_file is set: set tls.{prefix}{missing}_file too.")
        if chain is not None:
            certificates.append(
                ServerCertificate(chain=_read(chain, f"{prefix}certificate_file"), key=_read(key, f"{prefix}key_file"))
            )
    return TlsMaterial(
        certificates=tuple(certificates),
        client_authorities=_read(config.client_ca_file, "client_ca_file"),
        revocation_lists=_read(config.client_crl_file, "client_crl_file"),
    )


def _read(path: str | None, key: str) -> bytes:
    if path is None:
        return b""
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InvalidInputError(f"tls.{key}: {path} cannot be read ({error.strerror}).") from error
