"""A register of VAT numbers that speaks as the European Commission's VIES does over REST: `GET <url>/ms/<country>/vat/<number>`."""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct

from chargeplane.domain.station_exchanges import Company, VatNumberAnswer
from chargeplane.domain.vat_numbers import VatAnswer, VatOutcome
from chargeplane.kernel.errors import PeerError

_MOST: Final = 65_536
_NOBODY: Final = frozenset({"", "---"})


class Getter(Protocol):
    """Who asks over HTTP."""

    async def get(self, url: str, *, limit: int) -> bytes:
        """A body; PeerError where there was none."""
        ...


class _Said(Struct, rename="camel"):
    is_valid: bool | None = None
    valid: bool | None = None
    user_error: str | None = None
    name: str | None = None
    address: str | None = None
    request_identifier: str | None = None


_said = msgspec.json.Decoder(_Said, strict=False).decode


class ViesRegister:
    """Implements `VatRegister` of stations' terminals, and that of invoicing.

    Args:
        url: without the slash at its end.
    """

    def __init__(self, getter: Getter, url: str) -> None:
        self._getter = getter
        self._url = url.rstrip("/")

    async def ask(self, vat_id: str) -> VatAnswer:
        """What the register says; unknown, with the reason, where it says nothing.

        Args:
            vat_id: normalized, in the form of its country.
        """
        country, number = vat_id[:2], vat_id[2:]
        try:
            body = await self._getter.get(
                f"{self._url}/ms/{quote(country, safe='')}/vat/{quote(number, safe='')}", limit=_MOST
            )
            said = _said(body)
        except PeerError as error:
            return VatAnswer(outcome=VatOutcome.UNKNOWN, reason=str(error)[:500])
        except msgspec.MsgspecError as error:
            return VatAnswer(outcome=VatOutcome.UNKNOWN, reason=f"The register's answer cannot be read: {error}"[:500])
        valid = said.is_valid if said.is_valid is not None else said.valid
        error_word = (said.user_error or "VALID").upper()
        # MS_UNAVAILABLE, TIMEOUT, MS_MAX_CONCURRENT_REQ: it does not know, whatever else it says.
        if valid is None or error_word not in ("VALID", "INVALID"):
            return VatAnswer(outcome=VatOutcome.UNKNOWN, reason=f"The register answered {error_word}."[:500])
        if not valid:
            return VatAnswer(outcome=VatOutcome.INVALID)
        return VatAnswer(
            outcome=VatOutcome.VALID,
            name=_known(said.name),
            address=_known(said.address),
            reference=_known(said.request_identifier),
        )

    async def look_up(self, vat_number: str) -> VatNumberAnswer | None:
        """For a station's terminal: None where it cannot be said now."""
        found = await self.ask(vat_number)
        if found.outcome is VatOutcome.UNKNOWN:
            return None
        return VatNumberAnswer(valid=found.outcome is VatOutcome.VALID, company=_company(found, vat_number))


def _company(found: VatAnswer, vat_number: str) -> Company | None:
    lines = [line.strip() for line in (found.address or "").splitlines() if line.strip()]
    if found.name is None or not lines:
        return None
    return Company(name=found.name[:50], address1=lines[0][:100], city=lines[-1][:100], country=vat_number[:2])


def _known(text: str | None) -> str | None:
    said = (text or "").strip()
    return None if said in _NOBODY else said[:1000]
