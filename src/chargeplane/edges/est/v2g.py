"""V2G authorities that speak EST: one for each part of ISO 15118 that has one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chargeplane.app import v2g_pki
from chargeplane.app.ports import Signed, V2gHierarchy
from chargeplane.domain.certificates import SigningUse
from chargeplane.edges.est.client import EstAuthority
from chargeplane.kernel.errors import RuleError
from chargeplane.kernel.ids import StationKey


class EstV2gAuthority:
    """Implements `ports.V2gAuthority`.

    Args:
        authorities: by the certificates they sign, V2G or V2G20.
    """

    name = "est"

    def __init__(self, authorities: Mapping[SigningUse, EstAuthority]) -> None:
        self._authorities = authorities

    def check(self, csr: str, use: SigningUse, common_name: str) -> None:
        """Raises what `sign` would raise for the request itself. Computes: call it in a thread."""
        self._of(v2g_pki.check_csr(csr, use, common_name))

    async def sign(self, csr: str, *, use: SigningUse, common_name: str, station_key: StationKey) -> Signed:
        """A station's certificate.

        Raises:
            RuleError: the authority refuses the request, or what it signed is of no use.
            UnavailableError: it cannot be asked now, or has not decided yet.
        """
        request = await asyncio.to_thread(v2g_pki.check_csr, csr, use, common_name)
        # what names the SECC is between the operator and the authority; what lets the station in must name the station
        return await self._of(request).enroll(request, common_name if use.opens_door else None)

    async def hierarchies(self) -> list[V2gHierarchy]:
        """What the authorities tell of themselves (`cacerts`), or the files in its place."""
        found = []
        for use, authority in self._authorities.items():
            pem = (await authority.trust()).encode()
            known = x509.load_pem_x509_certificates(pem) if pem.strip() else []
            roots = [one for one in known if one.subject == one.issuer]
            between = [one for one in known if one.subject != one.issuer]
            found.append(V2gHierarchy(use=use, roots=_pem(roots), intermediate=_pem(between)))
        return found

    def _of(self, csr: x509.CertificateSigningRequest) -> EstAuthority:
        protocol = v2g_pki.protocol_of(csr)
        authority = None if protocol is None else self._authorities.get(protocol)
        if authority is None:
            part = "15118-20" if protocol is SigningUse.V2G20 else "15118-2"
            raise RuleError(f"Certificates for ISO {part} are not signed here.")
        return authority


def _pem(certificates: list[x509.Certificate]) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)
